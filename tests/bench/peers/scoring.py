"""What every Python peer does with a batch: msgspec decodes, NumPy scales, the SavedModel's signature scores.

The contract (`reference.write_contract`) is a JSON file: where the SavedModel is, the event's fields, the scaler's
means and scales, and the bands, ascending from 0.
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

BATCH = 4096
"""Most events that a peer scores and commits together: the scorer's own default."""


class Contract(msgspec.Struct, frozen=True):
    """What a peer has to know of the model."""

    name: str
    version: str
    saved_model: str
    keras_model: str
    fields: list[str]
    mean: list[float]
    scale: list[float]
    bands: dict[str, float]


class Arguments(NamedTuple):
    """What every peer is started with."""

    bootstrap: str
    source: str
    target: str
    exactly_once: bool
    contract: str


class Decision(msgspec.Struct, frozen=True):
    """What a peer publishes: about what the scorer does."""

    decision_id: str
    event_id: int
    topic: str
    partition: int
    offset: int
    score: float
    decision: str
    model: str
    model_version: str


def arguments() -> Arguments:
    """Return the command line's: BOOTSTRAP INPUT OUTPUT exactly-once|at-least-once CONTRACT."""
    bootstrap, source, target, mode, contract = sys.argv[1:]
    return Arguments(bootstrap, source, target, mode == "exactly-once", contract)


def tensorflow() -> Any:
    """Import TensorFlow, with one thread as the scorer has."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


class Scoring:
    """Turns a batch of events into decisions, ready to be published."""

    def __init__(self, contract: str) -> None:
        self.contract = msgspec.json.decode(Path(contract).read_bytes(), type=Contract)
        fields = self.contract.fields
        event = msgspec.defstruct("Event", [("id", int), *((name, float) for name in fields)], gc=False)
        self._decode = msgspec.json.Decoder(event).decode
        self._id, self._row = attrgetter("id"), attrgetter(*fields)
        self._mean, self._scale = np.array(self.contract.mean), np.array(self.contract.scale)
        self._names, self._edges = list(self.contract.bands), list(self.contract.bands.values())
        self._encode = msgspec.json.Encoder().encode
        tf = tensorflow()
        self._loaded = tf.saved_model.load(self.contract.saved_model)  # the signature borrows its variables
        self._signature, self._tensor = self._loaded.signatures["serving_default"], tf.constant
        self.scores(np.zeros((1, len(fields)), np.float32))

    def scores(self, features: NDArray[np.float32]) -> list[float]:
        """Return the model's scores of features (float32, shape (n, fields)); another model may be put in its place."""
        scores: list[float] = self._signature(features=self._tensor(features))["score"].numpy()[:, 0].tolist()
        return scores

    def __call__(
        self, topic: str, partitions: Iterable[int], offsets: Iterable[int], values: Sequence[bytes]
    ) -> list[bytes]:
        """Return the decisions of a batch, in its order."""
        events = list(map(self._decode, values))
        features = ((np.array(list(map(self._row, events))) - self._mean) / self._scale).astype(np.float32)
        rows = zip(partitions, offsets, map(self._id, events), self.scores(features), strict=True)
        model, version, encode = self.contract.name, self.contract.version, self._encode
        return [
            encode(Decision(f"{topic}-{p}-{o}", event, topic, p, o, score, self._band(score), model, version))
            for p, o, event, score in rows
        ]

    def _band(self, score: float) -> str:
        return self._names[bisect_right(self._edges, score) - 1]
