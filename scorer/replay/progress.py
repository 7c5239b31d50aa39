"""How far a replay or a tape is: a bar on a terminal, elsewhere a line every few seconds. Batches pass unchanged."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import TextIO, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from scorer.pipeline import Clock
from scorer.records import Records

EVERY = 5.0
"""Seconds between two lines."""
Passed: TypeAlias = Generator[Records, None, None]


class Watcher:
    """Tells `stream` of slices being read; `watcher(batches, what, selected)` gives the batches on.

    Counted are offsets passed, not records: only of those is the whole number known.
    """

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock

    def __call__(self, batches: Iterable[Records], what: str, selected: Mapping[int, range]) -> Passed:
        """Yield the batches; whoever leaves off early closes it, so that no bar stands in the way of a message."""
        return self._bar(batches, what, selected) if self._stream.isatty() else self._lines(batches, what, selected)

    def _bar(self, batches: Iterable[Records], what: str, selected: Mapping[int, range]) -> Passed:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        total = sum(map(len, selected.values()))
        with Progress(*columns, console=Console(file=self._stream)) as progress:
            task = progress.add_task(what, total=total)
            for records, done in _counted(batches, selected):
                yield records
                progress.update(task, completed=done)
            progress.update(task, completed=total)

    def _lines(self, batches: Iterable[Records], what: str, selected: Mapping[int, range]) -> Passed:
        total = sum(map(len, selected.values()))
        told = began = self._clock()
        for records, done in _counted(batches, selected):
            yield records
            now = self._clock()
            if now - told >= EVERY:
                told = now
                rate = done / (now - began)
                self._stream.write(f"{what}: {done:,} of {total:,} offsets, {rate:,.0f} a second\n")
                self._stream.flush()


class _Rate(ProgressColumn):
    """Offsets a second, of late."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} a second")


def _counted(batches: Iterable[Records], selected: Mapping[int, range]) -> Iterator[tuple[Records, int]]:
    """Yield each batch with the number of offsets passed at its end."""
    passed = dict.fromkeys(selected, 0)
    for records in batches:
        for partition, position in records.next_offsets().items():
            passed[partition.number] = position - selected[partition.number].start
        yield records, sum(passed.values())
