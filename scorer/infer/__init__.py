"""Room 3: Inputs → Scores. The only room that knows TensorFlow, which is imported when a model is loaded.

`spec` is the model's contract as data, `model` calls its signature at the one batch shape, `output` turns what it
says into a probability, `export` writes SavedModels for `pack`, `runtime` starts TensorFlow.
"""

from scorer.infer.spec import ModelSpec, ScoreKind, TensorSpec

__all__ = ["ModelSpec", "ScoreKind", "TensorSpec"]
