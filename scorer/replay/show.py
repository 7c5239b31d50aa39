"""A Report as text for a person: what was replayed, what differs, and from which decision to which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scorer.replay.compare import Cell, Comparison, Report
from scorer.replay.figures import Segment
from scorer.replay.gate import Study

MOST_PARTITIONS = 8
"""Partitions named one by one; of more, only their number is of use on a screen."""

MOST_SEGMENTS = 12
NULL = "null"
"""How a segment is called whose events do not have the field."""
MOST_FLIPS = 10
MANY = 100_000
"""A figure from which on fractions are not shown: six digits would leave some of its own out."""


def show(report: Report, console: Console, *, file: Path, not_compared: str = "") -> None:
    """Print a report; `not_compared` says why it has no comparison. The console must not read markup."""
    rows = [*_replayed(report), ("written to", str(file))]
    rows += _compared(report.comparison) if report.comparison else [("compared with", f"nothing: {not_compared}")]
    for name, text in rows:
        console.print(f"{name:<20}{text}", soft_wrap=True)
    if report.comparison and report.comparison.matched:
        console.print(_matrix(report.comparison, list(report.decisions)))
        if report.comparison.flips:
            console.print(_flips(report.topic, report.comparison))


def show_study(study: Study, console: Console) -> None:
    """Print figures, the largest segments of each field, and what became of the conditions."""
    for name, figure in study.figures.items():
        share = f" ({figure.value / figure.of:.2%})" if figure.of not in (None, 0, 1) else ""
        console.print(f"{name:<24}{_short(figure.value)}{share}", soft_wrap=True)
    for field in dict.fromkeys(segment.field for segment in study.segments):
        console.print(_segments(field, [segment for segment in study.segments if segment.field == field]))
    for verdict in study.verdicts:
        word = "FAILED" if verdict.failed else "passed"
        console.print(f"{word:<24}{verdict.condition}: {verdict.said}", soft_wrap=True)


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= MANY else f"{number:,.6g}"


def _segments(field: str, segments: Sequence[Segment]) -> Table:
    absent = ": no event has it; is its name right?" if [segment.value for segment in segments] == [NULL] else ""
    table = Table(box=box.SIMPLE, title=_printable(field) + absent, title_justify="left")
    for name in ("", "events", "alerts", "alerts before", "flips"):
        table.add_column(name, justify="right" if name else "left")
    for segment in segments[:MOST_SEGMENTS]:
        numbers = (segment.events, segment.alerts, segment.alerts_before, segment.flips)
        table.add_row(_printable(segment.value), *("" if number is None else f"{number:,}" for number in numbers))
    if len(segments) > MOST_SEGMENTS:
        table.add_row(f"… {len(segments) - MOST_SEGMENTS} more; --json has all")
    return table


def _replayed(report: Report) -> Iterator[tuple[str, str]]:
    pieces = [f"{report.topic}-{number}: {first} to {stop}" for number, (first, stop) in report.slice.items()]
    few = len(pieces) <= MOST_PARTITIONS
    yield "offsets", f"{', '.join(pieces)} (the last not included)" if few else f"of {len(pieces)} partitions"
    yield "replayed with", _printable(report.replayed_with.told())
    yield "events", f"{report.events:,}"
    yield "decided", _counts(report.decided, report.decisions)
    yield "rejected", _counts(sum(report.rejected.values()), report.rejected)


def _compared(comparison: Comparison) -> Iterator[tuple[str, str]]:
    yield "recorded in", comparison.decisions_topic
    for recorded in comparison.recorded_with:
        bundle = "the same bundle" if recorded.same_bundle else "another bundle"
        thresholds = "the same thresholds" if recorded.same_thresholds else "other thresholds"
        yield "recorded with", f"{_printable(recorded.making.told())}: {recorded.decisions:,} ({bundle}, {thresholds})"
    yield "decided both times", f"{comparison.matched:,}"
    yield "not recorded", f"{comparison.not_recorded:,}"
    yield "recorded only", f"{comparison.recorded_only:,}"
    yield "recorded twice", f"{comparison.recorded_twice:,}"
    if comparison.unreadable:
        yield "unreadable", f"{comparison.unreadable:,} records of {comparison.decisions_topic} are no decisions"
    yield "scores", f"{comparison.identical_scores:,} bit-identical, {_different(comparison)}"
    if comparison.different_scores:
        yield "scores moved by", ", ".join(f"{name} {size:.3g}" for name, size in comparison.shift.items())
    yield "decisions changed", f"{comparison.changed:,}"


def _different(comparison: Comparison) -> str:
    largest = f", the largest difference {comparison.largest_difference:.3g}" if comparison.different_scores else ""
    return f"{comparison.different_scores:,} different{largest}"


def _matrix(comparison: Comparison, replayed: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE, title="recorded (rows) and replayed (columns)", title_justify="left")
    table.add_column("")
    for name in replayed:
        table.add_column(name, justify="right")
    for recorded in dict.fromkeys(cell.recorded for cell in comparison.matrix):
        cells = [cell for cell in comparison.matrix if cell.recorded == recorded]
        table.add_row(_printable(recorded), *map(_events, cells))
    return table


def _flips(topic: str, comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE, title="changed decisions, those whose score moved most first", title_justify="left")
    for name in ("event", "decision", "score"):
        table.add_column(name)
    for flip in comparison.flips[:MOST_FLIPS]:
        change = f"{_printable(flip.recorded)} → {flip.replayed}"
        scores = f"{flip.recorded_score:.6g} → {flip.replayed_score:.6g}"
        table.add_row(f"{topic}-{flip.partition}@{flip.offset}", change, scores)
    if comparison.changed > MOST_FLIPS:
        table.add_row(f"… {comparison.changed - MOST_FLIPS:,} more")
    return table


def _events(cell: Cell) -> Text:
    return Text(f"{cell.events:,}", style="bold" if cell.events and cell.recorded != cell.replayed else "")


def _counts(total: int, parts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} {count:,}" for name, count in parts.items())
    return f"{total:,}: {listed}" if listed else f"{total:,}"


def _printable(text: str) -> str:
    """Return a recorded text as one that cannot steer a terminal: anybody may have written it."""
    return text if text.isprintable() else ascii(text)
