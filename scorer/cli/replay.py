"""`scorer replay`: a topic's past, or recorded events, against a bundle and bands of one's choice."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scorer.cli import staging, targets
from scorer.errors import SelectionError

if TYPE_CHECKING:
    from scorer.cli.lanes import Setting
    from scorer.cli.rerun import Rerun
    from scorer.cli.staging import Wish
    from scorer.evaluation.findings import Report as Findings
    from scorer.replay.compare import Report
    from scorer.replay.gate import Study
    from scorer.replay.journal import Plan
    from scorer.replay.run import Past


def replay(
    *,
    topic: Annotated[str | None, typer.Option(help="The topic whose events are scored again.")] = None,
    start: Annotated[
        str, typer.Option("--from", help="First: beginning, a time (RFC 3339), -1h, -30m, -7d, or p0:123,p1:50.")
    ] = "beginning",
    stop: Annotated[str, typer.Option("--to", help="Where to stop, in the same words; not included.")] = "end",
    events: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Events of a file instead: recorded, JSON lines, or Parquet.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle's directory, if not the configuration's.")] = None,
    configuration: Annotated[
        Path | None, typer.Option("--config", help="The service's configuration: Kafka, bundle, decisions, bands.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(metavar="NAME=SCORE,…", help="Bands, ascending, such as review=0.5,block=0.9.")
    ] = None,
    decisions: Annotated[str | None, typer.Option(help="Topic of the recorded decisions to compare with.")] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Compare with what this bundle decides instead.")
    ] = None,
    against_bands: Annotated[
        str | None, typer.Option(metavar="NAME=SCORE,…", help="Compare with what these bands decide instead.")
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Kafka's bootstrap.servers.")] = None,
    properties: Annotated[
        list[str] | None, typer.Option("-X", metavar="PROP=VALUE", help="A librdkafka property, over the file's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the decisions: .jsonl, .parquet.", show_default="replay-TOPIC.jsonl")
    ] = None,
    out_topic: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Publish the decisions too, to a topic that is made for it.")
    ] = None,
    allow_existing_topic: Annotated[
        bool, typer.Option("--allow-existing-topic", help="Let --out-topic exist already.")
    ] = False,
    rate: Annotated[float, typer.Option(min=0, help="Events a second at most.", show_default="no limit")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed, and do nothing.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a replay that was interrupted.")] = False,
    labels: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Labels: event_id, label, time; .csv, .jsonl, .parquet, or topic:NAME."),
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option("--by", metavar="FIELD", help="Count by a field of the event, card.country.")
    ] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option("--fail-if", metavar="CONDITION", help="End with 51 if so: 'flips > 0.5%'.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what became of --fail-if as JUnit's XML.")
    ] = None,
    costs: Annotated[
        str | None, typer.Option(metavar="NAME=COST,…", help="false_positive=40,missed=amount,review=5: what it costs.")
    ] = None,
    capacity: Annotated[
        float | None, typer.Option(min=0, help="Events a day that people can review, for the report.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page for a browser, and its JSON beside it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Score a slice of a topic again, and count what differs from the recorded decisions. Kafka is only read."""
    from scorer.cli.lanes import compared, joined
    from scorer.replay import gate
    from scorer.replay.files import is_recorded
    from scorer.replay.positions import parse
    from scorer.replay.rows import check_paths
    from scorer.replay.sinks import finisher

    # What the client says of its troubles comes back in our own errors.
    logging.getLogger("scorer.librdkafka").addHandler(logging.NullHandler())
    now = time.time()
    between = parse(start, "--from", now), parse(stop, "--to", now)
    conditions = [gate.parse(text) for text in fail_if or ()]
    check_paths(by or ())
    name = _topic(topic, events)
    given = [*(properties or []), *([f"bootstrap.servers={bootstrap}"] if bootstrap else [])]
    file = out or Path(f"replay-{name}.jsonl")
    targets.check_files(
        {"--events": events, "--labels": labels, "--config": configuration},
        {"--out": file, "--junit": junit, "--report": report},
    )
    if not math.isfinite(rate):
        raise SelectionError(f"--rate {rate}: is no number of events a second; leave it out for no limit")
    finished = finisher(file)
    setting = joined(name, configuration, given, bundle=bundle, decisions=decisions, bands=bands, local=bool(events))
    if events and not decisions and not is_recorded(events):
        setting = replace(setting, decisions="")  # its lines are no offsets of the topic, by which to join
    other = compared(setting, against, against_bands)
    wish = staging.Wish(
        start, stop, between, events, file, out_topic, allow_existing_topic, dry_run, rate, resume,
        labels=labels, by=by or (), conditions=conditions, junit=junit, as_json=as_json,
        report=report, costs=costs, capacity=capacity,
    )  # fmt: skip
    targets.check_topic(wish, setting)
    with staging.past(wish, setting) as past:
        _run(wish, setting, other, past, finished)


def _run(
    wish: Wish, setting: Setting, other: Setting | None, past: Past, finished: Callable[[Path, Path], None]
) -> None:
    from scorer.cli import lanes
    from scorer.cli.rerun import rerun, write_report
    from scorer.evaluation.assess import assess

    judge = lanes.judge(setting)
    wish.priced(judge.lane.bands.names[1:])
    plan = staging.plan(wish, setting, other, past, judge.making)
    if wish.dry_run:
        targets.check_plan(wish, setting)
        _tell(plan, wish)
        return
    with rerun(wish, setting, other, past, judge=judge, plan=plan) as found:
        findings = assess(found.case("replay")) if wish.assessed else None
        study = _study(found, findings)
        found.journal.finish(finished)
    if wish.report and findings:
        write_report(findings, wish.report)
    _print(found.report, wish, found.not_compared, study)
    _judge(wish, study)


def _topic(topic: str | None, events: Path | None) -> str:
    from scorer.replay.files import opened

    if topic is None and events is None:
        raise SelectionError("what is to be replayed? Name a topic with --topic, or a file with --events")
    return topic or opened(events or Path(), None).topic


def _tell(plan: Plan, wish: Wish) -> None:
    """Print a plan."""
    made = plan.making
    offsets = sum(map(len, plan.selected().values()))
    rows = [
        ("topic", plan.topic),
        *((f"  {plan.topic}-{number}", f"{a:,} to {b:,}: {b - a:,} offsets") for number, (a, b) in plan.slice.items()),
        ("offsets", f"{offsets:,} (transactions' marks and what was compacted away among them)"),
        (
            "replayed with",
            f"{made.model} {made.model_version}, bundle {made.bundle_sha256[:12]}, "
            f"thresholds {made.thresholds_version}",
        ),
        ("compared with", plan.against or "nothing"),
        ("written to", f"{wish.out}{f' and topic {wish.out_topic}' if wish.out_topic else ''}"),
    ]
    for name, text in rows:
        print(f"{name:<20}{text}")


def _study(found: Rerun, findings: Findings | None) -> Study:
    """Return the figures and segments of what was decided; they are computed only where somebody asked."""
    from scorer.replay.figures import figures, of_findings, segments
    from scorer.replay.gate import Study, judge

    wish = found.wish
    if not (wish.labels or wish.by or wish.conditions or findings):
        return Study({}, [], [])
    rows, recorded, report = found.journal.rows(), found.recorded, found.report
    known = figures(report, rows, recorded) | (of_findings(findings) if findings else {})
    parts = segments(rows, wish.by, found.sheet.values, recorded, report)
    return Study(known, parts, judge(known, wish.conditions))


def _judge(wish: Wish, study: Study) -> None:
    from scorer.errors import GateError
    from scorer.replay.gate import junit
    from scorer.replay.writing import writing

    if wish.junit:
        with writing(wish.junit):
            wish.junit.write_bytes(junit(study.verdicts, f"scorer replay {wish.out}"))
    if failed := [verdict for verdict in study.verdicts if verdict.failed]:
        raise GateError("; ".join(f"{verdict.said}, and --fail-if {verdict.condition!r}" for verdict in failed))


def _print(report: Report, wish: Wish, not_compared: str, study: Study) -> None:
    import msgspec
    from rich.console import Console

    from scorer.replay.show import show, show_study

    if wish.as_json:
        parts = {name: getattr(report, name) for name in report.__dataclass_fields__}
        found = {name: getattr(study, name) for name in study.__struct_fields__}
        print(msgspec.json.encode(parts | found).decode())
        return
    console = Console(markup=False, highlight=False)
    show(report, console, file=wish.out, not_compared=not_compared)
    show_study(study, console)
