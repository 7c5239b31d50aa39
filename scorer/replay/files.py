"""Files of events as a past to replay: recorded ones (`tape`), JSON lines, or Parquet, one event a line or row.

A file that was not recorded has one partition, 0, and offsets counted from 0; its events have no time of their own but
the one that the bundle reads in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import msgspec

from scorer.errors import SelectionError, TopicMissingError
from scorer.records import Records
from scorer.replay.sinks import parquet
from scorer.replay.tables import of_parquet
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
        """Return the one partition with its number of events; raises TopicMissingError for another topic."""
        if topic != self.topic:
            raise TopicMissingError(f"{self.path}: holds events of {self.topic}, not of {topic}")
        if self.path.suffix == ".parquet":
            return {0: range(self._count())}
        with self.path.open("rb") as file:
            return {0: range(sum(1 for _ in file))}

    def offsets_at(self, topic: str, partitions: Sequence[int], milliseconds: int) -> dict[int, int]:  # noqa: ARG002
        """Raise SelectionError: lines have no time."""
        raise SelectionError(f"{self.path}: its events have no record time; choose with --from p0:LINE --to p0:LINE")

    def read(self, topic: str, selected: Slice, limit: int) -> Iterator[Records]:
        """Yield the lines of a slice in batches of at most `limit`."""
        chosen = selected[0]
        lines = islice(self._values(), chosen.start, chosen.stop)
        at = chosen.start
        while values := list(islice(lines, limit)):
            count = len(values)
            offsets = range(at, at + count)
            yield Records.of(topic, [0] * count, offsets, [UNKNOWN_TIME] * count, [None] * count, values)
            at += count

    def _values(self) -> Iterator[bytes]:
        if self.path.suffix != ".parquet":
            with self.path.open("rb") as file:
                yield from (line.rstrip(b"\r\n") for line in file)
            return
        try:
            yield from map(msgspec.json.encode, of_parquet(self.path))
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
