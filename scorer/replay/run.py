"""A source's slice → `pipeline.process` → a file of decisions and a Report. Handed all its parts, it has no clock.

The recorded decisions are read first, whole, then the slice streams past them: memory grows with the slice's length,
never with the topic's or the events' size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeAlias

from scorer.errors import SelectionError
from scorer.pipeline import Clock, Lane, process
from scorer.records import Records
from scorer.replay.compare import Making, Recorded, Report, Tally
from scorer.replay.positions import Position, select

BATCH = 4096
"""Most events of a micro-batch, as the service has it."""

Slice: TypeAlias = Mapping[int, range]
Watch: TypeAlias = Callable[[Iterable[Records], str, Slice], Iterable[Records]]
"""Passes on what it is given, and may tell somebody of it: batches, what is being done, out of which slice."""

Write: TypeAlias = Callable[[Iterable[bytes | None]], None]
"""Appends lines, those that there are."""


class Past(Protocol):
    """Where slices of topics come from, as `broker.kafka.bounded` reads them; it raises what is said there."""

    def extent(self, topic: str) -> Mapping[int, range]:
        """Return the offsets that each partition holds."""

    def offsets_at(self, topic: str, partitions: Sequence[int], milliseconds: int) -> Mapping[int, int]:
        """Return each partition's first offset at or after a time, where there is one."""

    def read(self, topic: str, selected: Slice, limit: int) -> Iterator[Records]:
        """Yield a slice's records in batches of at most `limit`."""


def choose(past: Past, topic: str, start: Position, stop: Position) -> dict[int, range]:
    """Return the offsets between two positions; raises SelectionError where there are none."""
    extent = past.extent(topic)
    return select(topic, extent, start, stop, lambda at: past.offsets_at(topic, list(extent), at))


def recall(past: Past, topic: str, selected: Slice, decisions_topic: str, watch: Watch) -> Recorded:
    """Return what was decided on a slice: the decisions topic is read whole, since an event's may lie anywhere."""
    recorded = Recorded(topic, selected, decisions_topic)
    everything = past.extent(decisions_topic)
    for records in watch(past.read(decisions_topic, everything, BATCH), "recorded decisions", everything):
        recorded.add(records.values)
    return recorded


def replay_slice(
    past: Past,
    lane: Lane,
    selected: Slice,
    making: Making,
    recorded: Recorded | None,
    *,
    write: Write,
    watch: Watch,
    clock: Clock,
) -> Report:
    """Score a slice of the lane's topic again, write every decision, and return what differs from `recorded`.

    Raises SelectionError for a slice without records, ModelFailedError for a broken model.
    """
    tally = Tally(lane.topic, selected, making, lane.bands.names, recorded)
    for records in watch(past.read(lane.topic, selected, BATCH), "replay", selected):
        outcome = process(records, lane, clock, clock())
        tally.add(outcome)
        write(outcome.outgoing.values)
    if not tally.events:
        raise SelectionError(
            f"{lane.topic}: no committed record lies between --from and --to, only transactions' marks or what was "
            "aborted or compacted away; choose a longer slice"
        )
    return tally.report()


@contextmanager
def whole_file(path: Path) -> Iterator[Write]:
    """Give what appends lines to a file, which gets its name only when it is whole.

    Raises SelectionError where it cannot be written.
    """
    if path.is_dir():
        raise SelectionError(f"{path}: is a directory; name a file")
    unfinished = path.with_name(f"{path.name}.unfinished")
    with _writing(path):
        file = unfinished.open("wb")

    def write(lines: Iterable[bytes | None]) -> None:
        with _writing(path):
            file.writelines(b"%b\n" % line for line in lines if line is not None)

    try:
        yield write
        with _writing(path):
            file.close()
            unfinished.replace(path)
    finally:
        with suppress(OSError):  # told already, or less than what ends the replay
            file.close()
        unfinished.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SelectionError(f"{path}: cannot be written: {error.strerror}; name another file") from error
