"""`scorer diff`: what changed between two bundles, and what that does to the decisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from scorer.bundle.diff.difference import Change, Difference, Shift
    from scorer.bundle.diff.stability import Stability
    from scorer.bundle.diff.verdicts import Verdicts
    from scorer.bundle.trust.custody import Held
    from scorer.cli.contract import Row
    from scorer.cli.forecast import Forecast, Look

MOST = 12
"""Lines of one kind; a program that wants all of them asks for JSON."""
SMALL = 0.0005
"""The least PSI that is told; 0.1 is the rule of thumb for a shift."""
SHORT = 60
"""Characters of a value in a table."""


def diff(
    before: Annotated[Path, typer.Argument(help="The bundle to compare with.", metavar="A")],
    after: Annotated[Path, typer.Argument(help="The bundle that is compared.", metavar="B")],
    *,
    scores: Annotated[
        bool, typer.Option("--scores/--no-scores", help="Score the golden events of both with both models.")
    ] = True,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where they differ, as git does.")] = False,
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", metavar="WHERE", help="Replay this with both: a file of events, or topic:NAME."),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="The topic of a file that does not say it.")] = None,
    start: Annotated[str, typer.Option("--from", help="Of topics: beginning, a time, -7d, or p0:123.")] = "beginning",
    stop: Annotated[str, typer.Option("--to", help="Where to stop, not included.")] = "end",
    configuration: Annotated[
        Path | None, typer.Option("--config", help="The service's configuration: Kafka, and today's bands.")
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(metavar="NAME=SCORE,…", help="Today's bands.", show_default="the configuration's, or A's"),
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Kafka's bootstrap.servers.")] = None,
    properties: Annotated[
        list[str] | None, typer.Option("-X", metavar="PROP=VALUE", help="A librdkafka property, over the file's.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="Labels, for the page: event_id, label, time; or topic:NAME.")
    ] = None,
    by: Annotated[list[str] | None, typer.Option("--by", metavar="FIELD", help="Segments, for the page.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page about the slice, and its JSON beside it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the difference as one JSON object.")] = False,
) -> None:
    """Print what changed from one bundle to another: contract, features, statistics, bands, scores.

    With a slice, say what the second does to each band's share of events, and which edges keep it. The exit code is 0
    whether they differ or not, unless --exit-code is given.
    """
    import msgspec

    from scorer.cli.forecast import Look, check_slices

    given = [*(properties or []), *([f"bootstrap.servers={bootstrap}"] if bootstrap else [])]
    looks = [
        Look(before, after, where, topic, start, stop, configuration, bands, given, labels, by or (), report)
        for where in slices or ()
    ]
    of_slices = {
        "--topic": topic, "--from": start != "beginning", "--to": stop != "end", "--config": configuration,
        "--bands": bands, "--bootstrap": bootstrap, "-X": properties, "--labels": labels, "--by": by,
        "--report": report,
    }  # fmt: skip
    check_slices(slices or (), report, [option for option, value in of_slices.items() if value])
    from scorer.bundle.diff.difference import difference
    from scorer.bundle.trust.custody import take

    with take(before) as old, take(after) as new:
        values = [value for held in (old, new) for value in _golden(held)]
    found = difference(old.manifest, new.manifest)
    differs = old.sha256 != new.sha256
    said = _verdicts(before, after, values) if scores and differs else None
    forecasts = [_forecast(look) for look in looks]
    if as_json:
        sides = {"before": _identity(old), "after": _identity(new), "differs": differs}
        parts = {name: getattr(found, name) for name in found.__struct_fields__}
        print(msgspec.json.encode({**sides, **parts, "verdicts": said, "forecasts": forecasts}).decode())
    else:
        _print(old, new, found, said)
        _show(forecasts)
    if differs and exit_code:
        raise typer.Exit(1)


def _forecast(look: Look) -> Forecast:
    from scorer.cli.forecast import forecast
    from scorer.cli.rerun import write_report

    found, page = forecast(look)
    if look.report and page:
        write_report(page, look.report)
    return found


def _show(forecasts: Sequence[Forecast]) -> None:
    from rich.console import Console

    from scorer.report.terminal import show_forecast

    for one in forecasts:
        show_forecast(one.topic, one.bands, one.events, one.yaml, Console(markup=False, highlight=False))


def _golden(held: Held) -> Sequence[bytes]:
    from scorer.bundle import golden
    from scorer.bundle.feeds import consistent

    manifest = held.manifest
    consistent(manifest.plan, manifest.model.inputs, manifest.events, held.path)
    return golden.read(held.directory, manifest.events.event_id, held.path).values


def _identity(held: Held) -> dict[str, Any]:
    manifest = held.manifest
    return {"path": str(held.path), "name": manifest.name, "version": manifest.version, "sha256": held.sha256}


def _verdicts(before: Path, after: Path, values: Sequence[bytes]) -> Verdicts:
    from scorer.bundle.diff.verdicts import verdicts
    from scorer.bundle.opening import OTHERWISE
    from scorer.cli.check import opened
    from scorer.cli.waiting import waiting

    with waiting(f"loading {before}") as step:
        old = opened(before, ())
        step(f"loading {after}")
        new = opened(after, ())
        step("scoring the golden events of both")
        return verdicts(old, new, values, OTHERWISE)


def _print(old: Held, new: Held, found: Difference, said: Verdicts | None) -> None:
    from scorer.cli.contract import line

    for label, held in (("from", old), ("to", new)):
        manifest = held.manifest
        print(line((label, f"{manifest.name} version {manifest.version}, {held.sha256[:16]}, {held.path}")))
    if old.sha256 == new.sha256:
        print("the same bundle: no byte of it differs")
        return
    for row in (*_contract(found), *_learned(found), *(_scores(said) if said else ())):
        print(line(row))


def _contract(found: Difference) -> Iterator[Row]:
    for name, changes in found.sections.items():
        yield from _listed(name, [_changed(change) for change in changes])
    yield from _fields(found)
    features = found.features
    yield from _listed("feature", [f"+ {name}" for name in features.added])
    yield from _listed("feature", [f"- {name}" for name in features.removed])
    yield from _listed("feature", [_changed(change) for change in features.retyped])
    for change in features.remade[:MOST]:
        yield from (("feature", f"{change.path} was {change.before}"), ("", f"{change.path} is {change.after}"))
    if len(features.remade) > MOST:
        yield "feature", _more(len(features.remade))
    if features.moved:
        yield "features", "in another order"
    yield from _listed("file", [f"+ {name}" for name in found.files.added])
    yield from _listed("file", [f"- {name}" for name in found.files.removed])
    yield from _listed("file", [f"{name}: other contents" for name in found.files.altered])


def _fields(found: Difference) -> Iterator[Row]:
    from scorer.cli.contract import field_words

    fields = found.fields
    yield from _listed("event field", [f"+ {name}: {field_words(field)}" for name, field in fields.added.items()])
    yield from _listed("event field", [f"- {name}: {field_words(field)}" for name, field in fields.removed.items()])
    words = [f"{one.path}: {field_words(one.before)} → {field_words(one.after)}" for one in fields.retyped]
    yield from _listed("event field", [*words, *map(_changed, fields.ids)])


def _learned(found: Difference) -> Iterator[Row]:
    yield from _listed("statistic", [_shifted(shift) for shift in found.shifts])
    for known in found.vocabularies:
        parts = [
            f"{word} {_short(values)}" for word, values in (("gained", known.gained), ("lost", known.lost)) if values
        ]
        yield "categories", f"{known.field}: {', '.join(parts)}"
    if found.stability:
        yield from _drifted(found.stability)


def _shifted(shift: Shift) -> str:
    first, others = shift.features[0], len(shift.features) - 1
    of = f"{first} and {others} more" if others else first
    at = "" if shift.at is None else f"[{shift.at}]"
    return f"{of}: {shift.name}{at} {_short(shift.before)} → {_short(shift.after)} ({shift.relative:.2%})"


def _drifted(found: Stability) -> Iterator[Row]:
    yield "PSI", f"score {found.score:.4f}"
    for kind, indices in (("field", found.fields), ("feature", found.features)):
        moved = [f"{kind} {name} {index:.4f}" for name, index in indices.items() if index >= SMALL]
        yield from _listed("PSI", moved)


def _scores(said: Verdicts) -> Iterator[Row]:
    alone = f"{said.before_alone} by the first alone, {said.after_alone} by the second alone"
    yield "golden events", f"{said.events} of both bundles: {said.both} scored by both, {alone}"
    if not (said.before and said.after and said.largest):
        return
    pairs = {"mean": (said.before.mean, said.after.mean)}
    pairs |= {name: (value, said.after.quantiles[name]) for name, value in said.before.quantiles.items()}
    yield "scores", ", ".join(f"{name} {a:.4f} → {b:.4f}" for name, (a, b) in pairs.items())
    yield "", f"{said.identical} bit-identical, {said.both - said.identical} different"
    if said.identical < said.both:
        largest = said.largest
        yield "largest change", f"{largest.before:.6g} → {largest.after:.6g}: {bytes(largest.event).decode()}"
    yield "decisions", f"{said.changed} of {said.both} changed"
    yield from (("", f"{cell.before} → {cell.after}: {cell.events}") for cell in said.matrix)


def _listed(label: str, texts: Sequence[str]) -> Iterator[Row]:
    yield from ((label, text) for text in texts[:MOST])
    if len(texts) > MOST:
        yield label, _more(len(texts))


def _more(count: int) -> str:
    return f"… and {count - MOST} more; --json has all"


def _changed(change: Change) -> str:
    if not change.path:
        return f"only {'the second' if change.before is None else 'the first'} has any"
    return f"{change.path}: {_short(change.before)} → {_short(change.after)}"


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"
