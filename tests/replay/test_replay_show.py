"""What a person is told: of progress while a replay runs, and of its report when it has ended."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
from rich.console import Console

from scorer.records import Records
from scorer.replay.compare import Cell, Comparison, Flip, Making, RecordedWith, Report
from scorer.replay.figures import Figure, Segment
from scorer.replay.gate import Study
from scorer.replay.progress import Watcher
from scorer.replay.show import show, show_study

HERE = Making("card", "2", "b" * 64, "t2")
THERE = Making("card\x1b[31m", "1", "a" * 64, "t1")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def batch(*offsets: int, partition: int = 0) -> Records:
    """Build records of which only the coordinates count."""
    nothing = [None] * len(offsets)
    return Records.of("t", [partition] * len(offsets), list(offsets), [0] * len(offsets), nothing, nothing)


def report(comparison: Comparison | None) -> Report:
    """Build a report of four events."""
    decisions = {"approve": 2, "block": 1}
    return Report("t", {0: (10, 20)}, HERE, 4, 3, decisions, {"malformed": 1}, comparison)


def shown(made: Report, **options: str) -> str:
    """Return a report as it is printed into a pipe."""
    stream = io.StringIO()
    show(made, Console(file=stream, markup=False, highlight=False), file=Path("r.jsonl"), **options)
    return stream.getvalue()


def test_a_line_tells_of_progress_every_five_seconds() -> None:
    """Without a terminal there is a line after 5 s and not before, counting offsets passed, gaps included."""
    stream, ticks = io.StringIO(), itertools.count(0.0, 2.5)
    batches = [batch(10, 11), batch(12, 14), batch(17), batch(3, partition=1)]
    watcher = Watcher(stream, lambda: next(ticks))
    assert list(watcher(batches, "replay", {0: range(10, 20), 1: range(10)})) == batches
    assert stream.getvalue() == ("replay: 5 of 20 offsets, 1 a second\nreplay: 12 of 20 offsets, 1 a second\n")


def test_a_terminal_gets_a_bar_that_ends_full() -> None:
    """On a terminal the bar reaches its end though offsets at the slice's end hold no record."""
    stream = Terminal()
    batches = [batch(10, 11)]
    assert list(Watcher(stream, lambda: 0.0)(batches, "replay", {0: range(10, 20)})) == batches
    assert "10/10" in stream.getvalue()


def test_the_report_says_what_differs() -> None:
    """Counts, both bundles, the largest difference and the changed decisions are all there."""
    cells = (Cell("approve", "approve", 1), Cell("approve", "block", 1))
    with_ = (RecordedWith(THERE, 2, same_bundle=False, same_thresholds=False),)
    flips = (Flip(0, 17, "approve", "block", 0.25, 0.5),)
    text = shown(report(Comparison("t.decisions", 2, 0, 3, 2, 0, 1, 1, 1, 0.25, 1, {"p99": 0.25}, cells, flips, with_)))
    for line in (
        "offsets             t-0: 10 to 20 (the last not included)",
        "replayed with       card 2, bundle bbbbbbbbbbbb, thresholds t2",
        "decided             3: approve 2, block 1",
        "rejected            1: malformed 1",
        "unreadable          3 records of t.decisions are no decisions",
        "scores              1 bit-identical, 1 different, the largest difference 0.25",
        "scores moved by     p99 0.25",
        "decisions changed   1",
        "written to          r.jsonl",
    ):
        assert f"{line}\n" in text
    assert "t-0@17" in text
    assert "approve → block" in text


def test_recorded_names_cannot_steer_the_terminal() -> None:
    """What stands in a decisions topic is printed without its escape sequences, and is no markup."""
    cells = (Cell("[red]x\x1b[2J", "approve", 2),)
    with_ = (RecordedWith(THERE, 2, same_bundle=False, same_thresholds=False),)
    text = shown(report(Comparison("t.decisions", 2, 0, 0, 2, 0, 1, 2, 0, 0.0, 2, {}, cells, (), with_)))
    assert "\x1b" not in text
    assert r"[red]x\x1b[2J" in text


def test_a_report_without_comparison_says_why() -> None:
    """Where nothing was compared, the reason is in the comparison's place."""
    assert "compared with       nothing: no topic was named\n" in shown(report(None), not_compared="no topic was named")


def test_a_figure_is_shown_in_all_its_digits() -> None:
    """Millions of events are counted to the last; shares and costs keep six digits."""
    stream = io.StringIO()
    figures = {"alerts": Figure(2_375_271, 5_000_000), "recall": Figure(0.6375661375, 1.0)}

    show_study(Study(figures, [], []), Console(file=stream, markup=False, highlight=False))

    assert "2,375,271 (47.51%)" in stream.getvalue()
    assert "0.637566\n" in stream.getvalue()


@pytest.mark.parametrize(("values", "told"), [(["null"], True), (["null", "web"], False), (["web"], False)])
def test_a_field_that_no_event_has_is_told(values: list[str], told: bool) -> None:
    """Else a slip in its name would look like a field that is always null."""
    stream = io.StringIO()
    segments = [Segment("chanel", value, 5, 1, 0, 1) for value in values]

    show_study(Study({}, segments, []), Console(file=stream, markup=False, highlight=False))

    assert ("chanel: no event has it; is its name right?" in stream.getvalue()) is told
