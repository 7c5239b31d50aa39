"""The nouns that cross doorways, all frozen; a batch is columns, never a list of dictionaries.

    Records → Columns → Inputs → Scores → Decisions → Outgoing
                 └ Rejection (in any room)

`rows` is the thread through them: the positions, in the `Records` that came in, of the events that are still alive.
A room that rejects an event hands its row to the caller as a `Rejection`, and the others go on without it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.errors import Reason, Stage

Header: TypeAlias = tuple[str, bytes | None]
Rows: TypeAlias = NDArray[np.intp]


class Partition(NamedTuple):
    """A topic's partition."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.number}"


Offsets: TypeAlias = dict[Partition, int]
"""Per partition the next offset to read: the last processed one + 1, as Kafka commits it."""


@dataclass(frozen=True, slots=True)
class Records:
    """A micro-batch of one topic's records, in the order consumed.

    All columns have one entry a record. `timestamps` are the records' own, in milliseconds since the epoch.
    `headers(row)` fetches one record's headers, which only dead letters need; it raises UnicodeDecodeError where a
    header's name is not UTF-8.
    """

    topic: str
    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Callable[[int], Sequence[Header]] = field(default=lambda _: ())

    @classmethod
    def of(  # noqa: PLR0917 - the fields, in their order
        cls,
        topic: str,
        partitions: Iterable[int],
        offsets: Iterable[int],
        timestamps: Iterable[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Callable[[int], Sequence[Header]] = lambda _: (),
    ) -> Records:
        """Return records of whatever yields one number a record."""
        columns = (np.fromiter(each, np.int64, len(values)) for each in (partitions, offsets, timestamps))
        return cls(topic, next(columns), next(columns), next(columns), keys, values, headers)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> Records:
        """Return a stretch of the records; `rows` has no step."""
        start = rows.indices(len(self))[0]
        return Records(
            self.topic,
            self.partitions[rows],
            self.offsets[rows],
            self.timestamps[rows],
            self.keys[rows],
            self.values[rows],
            lambda row: self.headers(row + start),
        )

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return sum(map(len, filter(None, self.values)))

    @classmethod
    def join(cls, parts: Sequence[Records]) -> Records:
        """Return one batch of several of the same topic, in their order."""
        if len(parts) == 1:
            return parts[0]
        starts = [0, *accumulate(map(len, parts))]

        def headers(row: int) -> Sequence[Header]:
            part = bisect_right(starts, row) - 1
            return parts[part].headers(row - starts[part])

        return cls(
            parts[0].topic,
            np.concatenate([part.partitions for part in parts]),
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.timestamps for part in parts]),
            list(chain.from_iterable(part.keys for part in parts)),
            list(chain.from_iterable(part.values for part in parts)),
            headers,
        )

    def next_offsets(self) -> Offsets:
        """Return per partition the last record's offset + 1; within a partition, records are in offset order."""
        ends = np.append(self._changes, len(self) - 1)[: len(self)]
        return self._positions(ends, self.offsets[ends] + 1)

    def first_offsets(self) -> Offsets:
        """Return per partition the first record's offset."""
        starts = np.append(self._changes[::-1] + 1, 0)[: len(self)]  # of a partition's runs the first one stays
        return self._positions(starts, self.offsets[starts])

    @property
    def _changes(self) -> NDArray[np.intp]:
        """The rows behind which another partition's records come: the client hands them out in long runs."""
        return np.flatnonzero(self.partitions[1:] != self.partitions[:-1])

    def _positions(self, rows: NDArray[np.intp], offsets: NDArray[np.int64]) -> Offsets:
        numbers = self.partitions[rows].tolist()
        return {Partition(self.topic, n): offset for n, offset in zip(numbers, offsets.tolist(), strict=True)}

    def coordinate(self, row: int) -> str:
        """Return `topic-partition-offset` of a row: the decision's id."""
        return f"{self.topic}-{self.partitions[row]}-{self.offsets[row]}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """One event that cannot be decided: bad data as a value.

    `row` is its position in the `Records`; `path` points into the event (`$.amount`) or is empty.
    """

    row: int
    stage: Stage
    reason: Reason
    path: str
    message: str


def survivors(rows: Rows, rejections: Iterable[Rejection]) -> NDArray[np.bool_]:
    """Return, for each entry of `rows`, whether no rejection names it (bool, shape of `rows`)."""
    return ~np.isin(rows, np.fromiter((r.row for r in rejections), np.intp))


@dataclass(frozen=True, slots=True)
class Columns:
    """Decoded events as columns, one array of `len(rows)` entries a field (by its path, such as `card.country`).

    Numbers are float64 with NaN for null, or int64 where the field is an integer that may not be null; booleans are
    bool; strings are object arrays of `str`, with None for null. `event_ids` are JSON texts, ready to be embedded.
    `event_times` are int64 milliseconds since the epoch.
    """

    rows: Rows
    values: Mapping[str, NDArray[Any]]
    event_ids: Sequence[bytes]
    event_times: NDArray[np.int64]

    def without(self, rejections: Iterable[Rejection]) -> Columns:
        """Return the columns without the rejected rows."""
        keep = survivors(self.rows, rejections)
        return Columns(
            rows=self.rows[keep],
            values={name: column[keep] for name, column in self.values.items()},
            event_ids=[text for text, kept in zip(self.event_ids, keep.tolist(), strict=True) if kept],
            event_times=self.event_times[keep],
        )


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the model takes: named arrays whose first axis is `len(rows)` long, in the model's dtypes."""

    rows: Rows
    arrays: Mapping[str, NDArray[Any]]

    def without(self, rejections: Iterable[Rejection]) -> Inputs:
        """Return the inputs without the rejected rows."""
        keep = survivors(self.rows, rejections)
        return Inputs(self.rows[keep], {name: array[keep] for name, array in self.arrays.items()})


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model says: `score` in [0, 1] and its log-odds, both float32 of shape (len(rows),)."""

    rows: Rows
    score: NDArray[np.float32]
    log_odds: NDArray[np.float32]

    def without(self, rejections: Iterable[Rejection]) -> Scores:
        """Return the scores without the rejected rows."""
        keep = survivors(self.rows, rejections)
        return replace(self, rows=self.rows[keep], score=self.score[keep], log_odds=self.log_odds[keep])


@dataclass(frozen=True, slots=True)
class Bands:
    """The effective bands of a topic: `names[0]` is what a score below the lowest edge gets, and `edges[0]` is 0.

    Edges are float32, as scores are: `0.92` in a configuration and 0.92 from a model are then the same number.
    """

    names: tuple[str, ...]
    edges: NDArray[np.float32]
    version: str

    @classmethod
    def of(cls, bands: Mapping[str, float], otherwise: str) -> Bands:
        """Build from name → lowest score, ascending (as `config` has checked them)."""
        edges = np.array([0.0, *bands.values()], np.float32)
        names = (otherwise, *bands)
        text = msgspec.json.encode([[name, float(edge)] for name, edge in zip(names, edges, strict=True)])
        return cls(names, edges, hashlib.sha256(text).hexdigest()[:12])


@dataclass(frozen=True, slots=True)
class Decisions:
    """Scores with the band that each fell into: `band` is an int index, 0 for below the lowest edge."""

    scores: Scores
    band: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Letter:
    """One record to publish with headers, such as a dead letter. `timestamp` is in milliseconds since the epoch."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]
    timestamp: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a micro-batch publishes to one lane: decisions as columns (`keys[i]` with `values[i]`), and dead letters.

    `headers[i]` are the decisions' headers; there are none where it is empty.
    """

    decisions_topic: str
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    dead_letters_topic: str
    dead_letters: Sequence[Letter] = ()
    headers: Sequence[Sequence[Header]] = ()

    def __len__(self) -> int:
        return len(self.values) + len(self.dead_letters)
