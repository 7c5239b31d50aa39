"""What was decided before on a slice: one code and one score an offset, read from a topic or by another lane.

Kept as two columns a partition, indexed by offset: 5 bytes an event, in files where a directory is given, so that
memory does not grow with the slice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from scorer.errors import SelectionError
from scorer.pipeline import Outcome
from scorer.records import Records, Rows

MOST_KINDS = 255
"""Different decisions, or makings of them, in one decisions topic: more is no scorer's, and a code has 8 bits."""

Codes: TypeAlias = NDArray[np.uint8]
"""Recorded decisions: 0 for none, else 1 + the index in `Recorded.names`."""


class Making(msgspec.Struct, frozen=True):
    """What made a decision: the bundle, and the thresholds (by the digest of the effective bands)."""

    model: str
    model_version: str
    bundle_sha256: str
    thresholds_version: str

    def told(self) -> str:
        """Return it for a person, digests shortened."""
        bundle, thresholds = self.bundle_sha256[:12], self.thresholds_version
        return f"{self.model} {self.model_version}, bundle {bundle}, thresholds {thresholds}"


class _Decision(msgspec.Struct, frozen=True, gc=False):
    """Of a decision record, what a replay compares."""

    topic: str
    partition: int
    offset: int
    score: Annotated[float, Meta(ge=0, le=1)]
    decision: str
    model: str
    model_version: str
    bundle_sha256: str
    thresholds_version: str


class Recorded:
    """What was decided before on a slice of a topic: read from its decisions topic, or by another bundle or bands.

    `decisions_topic` is its name, or says in words what decided. The columns lie in `directory`, if one is given.
    Raises SelectionError for a slice that memory or the disk does not hold: compaction may leave few records in many
    offsets.
    """

    def __init__(
        self,
        topic: str,
        selected: Mapping[int, range],
        decisions_topic: str,
        directory: Path | None = None,
        *,
        keep: bool = False,
    ) -> None:
        self.decisions_topic = decisions_topic
        self.events = self.twice = self.unreadable = 0
        self._topic = topic
        self._start = {number: offsets.start for number, offsets in selected.items()}
        self._codes: dict[int, Codes] = {}
        self._scores: dict[int, NDArray[np.float32]] = {}
        try:
            for number, part in selected.items():
                self._codes[number] = _column("uint8", directory, number, len(part), keep=keep)
                self._scores[number] = _column("float32", directory, number, len(part), keep=keep)
        except (MemoryError, OSError) as error:
            count = sum(map(len, selected.values()))
            raise SelectionError(
                f"{topic}: a slice of {count:,} offsets is too long ({error}); choose a shorter one"
            ) from error
        self._code_of: dict[str, int] = {}
        self._by: Making | None = None
        self._makings: Counter[tuple[str, str, str, str]] = Counter()
        self._decode = msgspec.json.Decoder(_Decision).decode

    @classmethod
    def beside(
        cls,
        topic: str,
        selected: Mapping[int, range],
        title: str,
        *,
        names: Sequence[str],
        making: Making,
        directory: Path | None = None,
    ) -> Recorded:
        """Return what another lane decides in the same replay, for `note`; what lies in `directory` already counts."""
        recorded = cls(topic, selected, title, directory, keep=True)
        recorded._code_of = {name: code for code, name in enumerate(names, 1)}
        recorded.events = sum(int(np.count_nonzero(codes)) for codes in recorded._codes.values())
        recorded._by = making
        return recorded

    @property
    def names(self) -> tuple[str, ...]:
        """The recorded decisions' names, as they came."""
        return tuple(self._code_of)

    @property
    def makings(self) -> Iterable[tuple[Making, int]]:
        """What made the recorded decisions, and how many of them; the most frequent first."""
        if self._by:
            return [(self._by, self.events)]
        return [(Making(*fields), count) for fields, count in self._makings.most_common()]

    def add(self, values: Iterable[bytes | None]) -> None:
        """Take decision records; those of other events are left out. Of an event's several, the first one counts.

        Raises SelectionError for a topic that cannot be one of decisions.
        """
        for value in values:
            try:
                decision = self._decode(value or b"")
            except (ValueError, RecursionError):
                self.unreadable += 1
                continue
            if decision.topic == self._topic and decision.partition in self._codes:
                self._keep(decision)
        if max(len(self._code_of), len(self._makings)) > MOST_KINDS:
            raise SelectionError(
                f"topic {self.decisions_topic} has more than {MOST_KINDS} different decisions or bundles for "
                f"{self._topic}: it is no topic of decisions, name the right one"
            )

    def note(self, outcome: Outcome) -> None:
        """Take what the other lane decided of a batch; the same again, as after an interruption, changes nothing."""
        scores = outcome.decisions.scores
        for number, here, offsets in by_partition(outcome.records, scores.rows):
            places = offsets - self._start[number]
            self.events += int(np.count_nonzero(self._codes[number][places] == 0))
            self._codes[number][places] = outcome.decisions.band[here] + 1
            self._scores[number][places] = scores.score[here]

    def at(self, number: int, offsets: NDArray[np.int64]) -> tuple[Codes, NDArray[np.float32]]:
        """Return a partition's recorded decisions and scores at `offsets`, in their shape; a score is 0 for none."""
        places = offsets - self._start[number]
        return self._codes[number][places], self._scores[number][places]

    def _keep(self, decision: _Decision) -> None:
        codes, place = self._codes[decision.partition], decision.offset - self._start[decision.partition]
        if not 0 <= place < len(codes):
            return
        if codes[place]:
            self.twice += 1
            return
        # A code too many is cut to 8 bits here, and refused at the end of the batch.
        codes[place] = self._code_of.setdefault(decision.decision, len(self._code_of) + 1) & MOST_KINDS
        self._scores[decision.partition][place] = decision.score
        self._makings[decision.model, decision.model_version, decision.bundle_sha256, decision.thresholds_version] += 1
        self.events += 1


def by_partition(records: Records, rows: Rows) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.int64]]]:
    """Yield each partition's number, which of the rows are its own, and their offsets."""
    partitions, offsets = records.partitions[rows], records.offsets[rows]
    for number in np.unique(partitions).tolist():
        here = partitions == number
        yield number, here, offsets[here]


def _column(dtype: str, directory: Path | None, number: int, length: int, *, keep: bool) -> NDArray[Any]:
    """Return zeros, or what the file has already, if that is kept; only what is written takes room on the disk."""
    if directory is None or not length:
        return np.zeros(length, dtype)
    path = directory / f"before-{number}.{dtype}"
    return np.memmap(path, dtype, mode="r+" if keep and path.exists() else "w+", shape=(length,))
