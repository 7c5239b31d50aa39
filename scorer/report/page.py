"""A Report → one HTML file that holds all it needs: figures as text, and its JSON for the small program that draws.

Nothing is fetched, and the page's policy forbids it. What comes from the data is escaped here, and is only ever set as
text there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

import msgspec

from scorer.evaluation.findings import Difference, Effect, Report, Side

PARTS = {"style": "page.css", "charts": "charts.js", "counts": "counts.js", "bands": "bands.js", "program": "page.js"}
KINDS = {"replay": "Replay", "diff": "Two models", "fit": "Fitted bands"}


def page(report: Report) -> str:
    """Return the page; its JSON twin is the report itself."""
    room = files("scorer.report")
    data = msgspec.json.encode(report).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028")
    filled = {
        "title": escape(f"{KINDS.get(report.kind, report.kind)} of {report.subject.topic}"),
        "verdict": "".join(f"<p>{escape(sentence)}</p>" for sentence in verdict(report)),
        "warnings": "".join(f"<li>{escape(warning)}</li>" for warning in report.warnings),
        "facts": "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _facts(report)),
        "figures": _figures(report),
        "data": data,
        **{name: room.joinpath(file).read_text(encoding="utf-8") for name, file in PARTS.items()},
    }
    # One pass over the template: what is filled in may hold anything, a placeholder's text too.
    pieces = room.joinpath("page.html").read_text(encoding="utf-8").split("%%")
    return "".join(filled[piece] if at % 2 else piece for at, piece in enumerate(pieces))


def verdict(report: Report) -> Iterator[str]:
    """Yield what was found, in sentences."""
    flow = report.flow
    rejected = sum(flow.rejected.values())
    refused = f", {rejected:,} were rejected" if rejected else ""
    yield f"{flow.decided:,} of {flow.events:,} events were decided{refused}."
    if report.difference and report.before:
        yield from _changes(report.difference, report.before)
    yield from _rates(report.effect, report.effect_before)
    if report.proposal:
        edges = ", ".join(f"{name} from {edge:g}" for name, edge in report.proposal.bands.items())
        yield f"Proposed, for {report.proposal.objective}: {edges}."


def _changes(difference: Difference, before: Side) -> Iterator[str]:
    matched, moved = difference.matched, difference.matched - difference.identical
    if not matched:
        yield f"Nothing of it was decided before by {before.title}: there is nothing to compare."
        return
    scores = (
        "every score is the same to the bit"
        if not moved
        else f"{moved:,} scores moved, by {difference.largest:.3g} at most"
    )
    changed = f"{difference.flips:,} of {matched:,} decisions change ({difference.flips / matched:.2%})"
    yield f"Beside {before.title}, {changed if difference.flips else 'no decision changes'}; {scores}."
    if difference.missing or difference.extra:
        yield f"{difference.missing:,} events were decided only before, {difference.extra:,} only now."


def _rates(effect: Effect, before: Effect | None) -> Iterator[str]:
    def said(name: str, now: float | None, then: float | None, form: str) -> str | None:
        if now is None:
            return None
        was = f", {then:{form}} before" if then is not None else ""
        return f"{name} {now:{form}}{was}"

    then = before.confusion if before else None
    now = effect.confusion
    parts = [said("alerts a day", effect.alerts_per_day, before.alerts_per_day if before else None, ",.1f")]
    if now:
        parts += [
            said("precision", now.precision, then.precision if then else None, ".1%"),
            said("recall", now.recall, then.recall if then else None, ".1%"),
            said("cost", now.cost, then.cost if then else None, ",.0f"),
        ]
    sentence = "; ".join(part for part in parts if part)
    yield f"{sentence[0].upper()}{sentence[1:]}."


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    subject = report.subject
    yield "topic", subject.topic
    yield "from", subject.source
    if subject.slice:
        pieces = [f"{number}: {first:,} to {stop:,}" for number, (first, stop) in sorted(subject.slice.items())]
        yield "offsets", f"{'; '.join(pieces[:8])}{f'; … {len(pieces)} partitions' if len(pieces) > 8 else ''}"
    if subject.first_time is not None and subject.last_time is not None:
        yield "event times", f"{_when(subject.first_time)} to {_when(subject.last_time)}, {subject.days:.1f} days"
    for side in filter(None, (report.before, report.after)):
        yield side.title, _side(side)
    yield "labels", f"{report.labels:,}, of which {report.frauds:,} frauds" if report.labels else "none"
    yield "made", f"{_when(report.made)} by scorer {report.scorer}"


def _side(side: Side) -> str:
    model = f"{side.model} {side.model_version}, bundle {side.bundle_sha256[:12]}" if side.model else ""
    edges = ", ".join(f"{name} from {edge:g}" for name, edge in side.bands.items())
    mixed = "several bundles or bands, the most frequent first" if side.mixed else ""
    return "; ".join(filter(None, (model, edges, mixed))) or "not known"


def _figures(report: Report) -> str:
    """Return the main figures as a table: what is left where no program runs."""
    rows = []
    before = dict(_named(report.effect_before)) if report.effect_before else {}
    for name, value in _named(report.effect):
        cells = [name, *([before.get(name, "")] if before else []), value]
        rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    heads = ["", *(["before"] if before else []), "now"]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    return f"<thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody>"


def _named(effect: Effect) -> Iterator[tuple[str, str]]:
    yield "alerts", f"{effect.alerts:,}"
    yield "alerts a day", f"{effect.alerts_per_day:,.1f}"
    yield "reviews a day", f"{effect.reviews_per_day:,.1f}"
    yield from ((f"decided {name}", f"{events:,}") for name, events in effect.bands.items())
    confusion = effect.confusion
    if confusion:
        yield "precision", "" if confusion.precision is None else f"{confusion.precision:.1%}"
        yield "recall", "" if confusion.recall is None else f"{confusion.recall:.1%}"
        yield "false positives", f"{confusion.false_positives:,}"
        yield "missed frauds", f"{confusion.missed:,}"
        if confusion.cost is not None:
            yield "cost", f"{confusion.cost:,.0f}"


def _when(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"
