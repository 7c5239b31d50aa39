"""A model's contract as data; it is part of the manifest."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from scorer.infer.calibration import Calibration


class ScoreKind(StrEnum):
    """What the model's output means.

    `reconstruction_error` and `anomaly` are of any range, more being more suspicious; the others are probabilities or
    their log-odds.
    """

    PROBABILITY = "probability"
    LOGIT = "logit"
    SOFTMAX = "softmax"
    RECONSTRUCTION_ERROR = "reconstruction_error"
    ANOMALY = "anomaly"


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor: TensorFlow's dtype name, and its shape with None for the batch."""

    dtype: str
    shape: list[int | None]


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which signature is called with what, and how its output becomes a score.

    `batch_shape` is the number of rows of every call: short batches are padded, long ones are cut. `positive_class`
    is the column of a softmax that means fraud. `reconstructs` names the input that the output is compared with, by
    the `error`; without it, the output is one float an event already.
    """

    signature: str
    inputs: dict[str, TensorSpec]
    output: str
    score: ScoreKind
    batch_shape: Annotated[int, Meta(ge=1, le=1_048_576)]
    positive_class: Annotated[int, Meta(ge=0)] | None = None
    reconstructs: str | None = None
    error: Literal["mse", "mae"] | None = None
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.reconstructs is not None and (self.reconstructs not in self.inputs or self.error is None):
            raise ValueError(f"the model reconstructs {self.reconstructs!r} by {self.error}; it takes {[*self.inputs]}")
