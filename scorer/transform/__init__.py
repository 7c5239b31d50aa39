"""Columns → Inputs: what scikit-learn did in training, done again in the stream with NumPy only, bit for bit."""

from scorer.transform.apply import Transform
from scorer.transform.plan import Feed, Matrix, Node, Plan, Raw

__all__ = ["Feed", "Matrix", "Node", "Plan", "Raw", "Transform"]
