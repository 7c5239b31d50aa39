"""Files of events as a past to replay: recorded ones (`tape`), JSON lines, or Parquet, one event a line or row.

A file that was not recorded has one partition, 0, and its lines, or rows, counted from 0, are the offsets; its events
have no time of their own but the one that the bundle reads in them. A blank line is no event and takes an offset, as a
transaction's mark does in a topic: an event's offset leads to its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice, takewhile
from pathlib import Path
from typing import TypeAlias

import msgspec

from scorer.errors import SelectionError, TopicMissingError
from scorer.records import Records
from scorer.replay.sinks import parquet
from scorer.replay.tables import lines, of_parquet
from scorer.replay.tape import Tape

Slice: TypeAlias = Mapping[int, range]
UNKNOWN_TIME = 0
TAPE = b'{"tape":'
"""How a recorded file begins."""


def is_recorded(path: Path) -> bool:
    """Return whether a file claims to be of `scorer record`, so that its events have the offsets that they had."""
    return path.suffix == ".gz" or (path.is_file() and _is_tape(path))


def opened(path: Path, topic: str | None) -> Tape | EventFile:
    """Return a file's events by what it holds; `topic` is what a file that was not recorded counts as.

    Raises SelectionError for a file that cannot be read, is damaged, or needs a topic.
    """
    if not path.is_file():
        raise SelectionError(f"--events {path}: no such file")
    if is_recorded(path):
        tape = Tape(path)
        if topic not in (None, tape.topic):
            raise SelectionError(f"--events {path}: is of topic {tape.topic}, not {topic}")
        return tape
    if topic is None:
        raise SelectionError(f"--events {path}: was not made by `scorer record`; say with --topic whose events it has")
    return EventFile(path, topic)


@dataclass(frozen=True, slots=True)
class EventFile:
    """JSON lines or a Parquet table. Read as a stream; memory holds a batch."""

    path: Path
    topic: str

    def extent(self, topic: str) -> dict[int, range]:
        """Return the one partition up to its last event; raises TopicMissingError for another topic."""
        if topic != self.topic:
            raise TopicMissingError(f"{self.path}: holds events of {self.topic}, not of {topic}")
        if self.path.suffix == ".parquet":
            return {0: range(self._count())}
        return {0: range(max((place for place, _ in lines(self.path)), default=-1) + 1)}

    def offsets_at(self, topic: str, partitions: Sequence[int], milliseconds: int) -> dict[int, int]:  # noqa: ARG002
        """Raise SelectionError: lines have no time."""
        raise SelectionError(f"{self.path}: its events have no record time; choose with --from p0:LINE --to p0:LINE")

    def read(self, topic: str, selected: Slice, limit: int) -> Iterator[Records]:
        """Yield the events of a slice in batches of at most `limit`."""
        chosen = selected[0]
        until = takewhile(lambda event: event[0] < chosen.stop, self._events())
        events = dropwhile(lambda event: event[0] < chosen.start, until)
        while batch := list(islice(events, limit)):
            offsets, values = zip(*batch, strict=True)
            count = len(batch)
            yield Records.of(topic, [0] * count, offsets, [UNKNOWN_TIME] * count, [None] * count, values)

    def _events(self) -> Iterator[tuple[int, bytes]]:
        if self.path.suffix != ".parquet":
            yield from lines(self.path)
            return
        try:
            yield from enumerate(map(msgspec.json.encode, of_parquet(self.path)))
        except ValueError as error:
            raise SelectionError(f"--events {self.path}: cannot be read: {error}") from error

    def _count(self) -> int:
        try:
            return int(parquet().ParquetFile(self.path).metadata.num_rows)
        except (OSError, ValueError) as error:
            raise SelectionError(f"--events {self.path}: cannot be read: this is no Parquet: {error}") from error


def _is_tape(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(TAPE)) == TAPE
