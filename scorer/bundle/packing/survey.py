"""The examples as the stream would bring them, all or evenly spread: what the model says of each, and what it was fed.

Calibration, figures and reference distributions are made of one such walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.bundle.distribution import References, of_column, of_matrices, of_numbers, shortened
from scorer.bundle.golden import as_records
from scorer.bundle.packing.examples import Examples
from scorer.decode import EventSchema, JsonDecoder
from scorer.infer.calibration import Doubles
from scorer.infer.model import Model
from scorer.records import Rejection, survivors
from scorer.transform import Matrix, Plan, Transform

MOST = 100_000
"""Examples looked at, evenly spread, where none of them has a label, and whose fields and features are kept."""
CHUNK = 4096
"""Examples walked at a time: the inputs of an image model are large, and only features of matrices are kept."""

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Survey:
    """What became of examples: the model's own values (float64, (n,)) of those that have one, in order.

    `rows` are theirs among all examples, and `rejected` has the rows of the others. `fields` are the raw columns, as
    decoded, and `matrices` the features by model input, of a bounded number of the n examples: the `kept` (bool, (n,)).
    """

    rows: NDArray[np.intp]
    value: Doubles
    kept: NDArray[np.bool_]
    rejected: Sequence[Rejection]
    fields: Arrays
    matrices: Arrays

    def references(self, plan: Plan, scores: NDArray[np.float32]) -> References:
        """Return the distributions of fields, features and scores (float32, (n,))."""
        return References(
            events=int(self.kept.sum()),
            rejected=len(self.rejected),
            fields={path: of_column(column) for path, column in self.fields.items()},
            features=of_matrices({name: (names, self.matrices[name]) for name, names in _matrices(plan).items()}),
            score=of_numbers(scores[self.kept]),
        )


def spread(count: int) -> NDArray[np.intp]:
    """Return all of `count` rows, or 100,000 of them, evenly spread."""
    return np.linspace(0, count - 1, min(count, MOST)).astype(np.intp)


@dataclass(frozen=True, slots=True)
class Surveyor:
    """Walks examples through the bundle's rooms, a chunk at a time, as they will be served: at the batch shape."""

    schema: EventSchema
    plan: Plan
    decode: JsonDecoder
    transform: Transform
    model: Model
    most: int = MOST

    def __call__(self, examples: Examples, rows: Sequence[int]) -> Survey:
        """Return what became of the examples at `rows`, of which there is at least one."""
        parts, rejected = [], []
        every = -(-len(rows) // self.most)
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            part = self._walk(examples.encode(self.schema, chunk), np.arange(start, start + len(chunk)) % every == 0)
            parts.append(replace(part, rows=np.array(chunk, np.intp)[part.rows]))
            rejected += [replace(rejection, row=int(chunk[rejection.row])) for rejection in part.rejected]
        return Survey(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.kept for part in parts]),
            rejected,
            _joined([part.fields for part in parts]),
            _joined([part.matrices for part in parts]),
        )

    def _walk(self, values: Sequence[bytes], wanted: NDArray[np.bool_]) -> Survey:
        columns, undecoded = self.decode(as_records(values))
        inputs, unfit = self.transform(columns)
        columns, inputs = columns.without(unfit), inputs.without(unfit)
        value, failed = self.model.values(inputs)
        alive = survivors(inputs.rows, failed)
        kept = alive & wanted[inputs.rows]
        return Survey(
            inputs.rows[alive],
            value[alive],
            kept[alive],
            [*undecoded, *unfit, *failed],
            {path: shortened(columns.values[path][kept]) for path in self.transform.fields},
            {name: inputs.arrays[name][kept] for name in _matrices(self.plan)},
        )


def _matrices(plan: Plan) -> dict[str, list[str]]:
    """Return the features of every input that takes a matrix of them."""
    return {name: feed.node.features for name, feed in plan.inputs.items() if isinstance(feed, Matrix)}


def _joined(parts: Sequence[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
