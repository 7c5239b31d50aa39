"""Fitted bands and forecasts as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from scorer.evaluation.carry import Carried
from scorer.evaluation.findings import Effect, Interval, Proposal, Report, Segment

MOST_SEGMENTS = 12


def show_fit(report: Report, console: Console) -> None:
    """Print a report that has a proposal. The console must not read markup."""
    proposal, before = report.proposal, report.before
    assert proposal
    assert before
    subject = report.subject
    rows = [
        ("topic", subject.topic),
        ("looked at", f"{report.flow.decided:,} decided events of {subject.source}, {subject.days:.1f} days"),
        ("labels", f"{report.labels:,}, of which {report.frauds:,} frauds"),
        ("wanted", proposal.objective),
        *((f"band {name}", _edge(name, before.bands.get(name), proposal)) for name in proposal.bands),
        ("calibration", report.quality.calibration.verdict if report.quality else "not known"),
        *(("note", warning) for warning in report.warnings),
    ]
    for name, text in rows:
        console.print(f"{name:<16}{_printable(text)}", soft_wrap=True)
    console.print(_effects(report.effect_before, proposal))
    for segments in report.segments:
        console.print(_segments(segments.field, segments.rows))
    console.print(proposal.yaml, soft_wrap=True, end="")


def show_forecast(topic: str, carried: Sequence[Carried], events: int, yaml: str, console: Console) -> None:
    """Print what another model does to a topic's bands, and which ones keep their share of events."""
    console.print(f"{topic}: {events:,} events that both decided; share of them at or above each edge", soft_wrap=True)
    table = Table(box=box.SIMPLE)
    for name in ("band", "edge", "first model", "second model", "change", "edge that keeps it", "gives"):
        table.add_column(name, justify="left" if name == "band" else "right")
    for one in carried:
        change = f"{one.left / one.share - 1:+.1%}" if one.share else "new" if one.left else "none"
        shares = (f"{one.share:.4%}", f"{one.left:.4%}", change)
        table.add_row(_printable(one.band), f"{one.before:g}", *shares, f"{one.edge:g}", f"{one.kept:.4%}")
    console.print(table)
    console.print(yaml, soft_wrap=True, end="")


def _edge(name: str, before: float | None, proposal: Proposal) -> str:
    text = f"{proposal.bands[name]:g}"
    if before is not None:
        text = f"{before:g} → {text}"
    interval = proposal.intervals.get(f"edge.{name}")
    return f"{text}, {proposal.confidence:.0%} of resamples within {_span(interval)}" if interval else text


def _effects(before: Effect | None, proposal: Proposal) -> Table:
    table = Table(box=box.SIMPLE, title="what they do", title_justify="left")
    for name in ("", "today", "fitted", f"{proposal.confidence:.0%} interval"):
        table.add_column(name, justify="right" if name else "left")
    now, then = _numbers(proposal.effect), _numbers(before) if before else {}
    for name, value in now.items():
        interval = proposal.intervals.get(name)
        was = then.get(name)
        shown = ("" if was is None else _short(was), _short(value), _span(interval) if interval else "")
        table.add_row(name.replace("_per_day", " a day"), *shown)
    return table


def _numbers(effect: Effect) -> dict[str, float]:
    return dict(_known(effect))


def _known(effect: Effect) -> Iterator[tuple[str, float]]:
    yield "alerts_per_day", effect.alerts_per_day
    yield "reviews_per_day", effect.reviews_per_day
    confusion = effect.confusion
    if confusion:
        named: Mapping[str, float | None] = {
            "precision": confusion.precision,
            "recall": confusion.recall,
            "cost": confusion.cost,
            "false positives": confusion.false_positives,
            "missed frauds": confusion.missed,
        }
        yield from ((name, value) for name, value in named.items() if value is not None)


def _segments(field: str, segments: Sequence[Segment]) -> Table:
    table = Table(box=box.SIMPLE, title=_printable(field), title_justify="left")
    for name in ("", "events", "alerts today", "alerts", "precision", "recall"):
        table.add_column(name, justify="right" if name else "left")
    for segment in segments[:MOST_SEGMENTS]:
        confusion = segment.after.confusion
        rates = (confusion.precision, confusion.recall) if confusion else (None, None)
        shown = ("" if rate is None else f"{rate:.3f}" for rate in rates)
        before = f"{segment.before.alerts:,}" if segment.before else ""
        table.add_row(_printable(segment.value), f"{segment.events:,}", before, f"{segment.after.alerts:,}", *shown)
    if len(segments) > MOST_SEGMENTS:
        table.add_row(f"… {len(segments) - MOST_SEGMENTS} more; --json has them")
    return table


def _span(interval: Interval) -> str:
    return f"{_short(interval.low)} to {_short(interval.high)}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def _printable(text: str) -> str:
    """Return a text from the data as one that cannot steer a terminal."""
    return text if text.isprintable() else ascii(text)
