"""Columns → Inputs: what scikit-learn (or Pillow) did in training, done again in the stream, bit for bit."""

from scorer.transform.apply import Transform
from scorer.transform.plan import Feed, Image, Matrix, Node, Pillow, Plan, Raw

__all__ = ["Feed", "Image", "Matrix", "Node", "Pillow", "Plan", "Raw", "Transform"]
