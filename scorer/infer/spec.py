"""A model's contract as data; it is part of the manifest."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta


class ScoreKind(StrEnum):
    """What the model's output means."""

    PROBABILITY = "probability"
    LOGIT = "logit"
    SOFTMAX = "softmax"


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor: TensorFlow's dtype name, and its shape with None for the batch."""

    dtype: str
    shape: list[int | None]


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which signature is called with what, and how its output becomes a score.

    `batch_shape` is the number of rows of every call: short batches are padded, long ones are cut. `positive_class`
    is the column of a softmax that means fraud.
    """

    signature: str
    inputs: dict[str, TensorSpec]
    output: str
    score: ScoreKind
    batch_shape: Annotated[int, Meta(ge=1, le=1_048_576)]
    positive_class: Annotated[int, Meta(ge=0)] | None = None
