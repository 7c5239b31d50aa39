"""`scorer replay`: a topic's past, or recorded events, against a bundle and bands of one's choice."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scorer.cli.lanes import Setting
    from scorer.records import Outgoing
    from scorer.replay.compare import Report
    from scorer.replay.journal import Journal, Plan
    from scorer.replay.positions import Position
    from scorer.replay.recorded import Making, Recorded
    from scorer.replay.run import Before, Past, Watch


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options say of a replay's course, besides what it replays with."""

    start: str
    stop: str
    between: tuple[Position, Position]
    events: Path | None
    out: Path
    out_topic: str | None
    existing: bool
    dry_run: bool
    rate: float
    resume: bool
    as_json: bool


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
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Score a slice of a topic again, and count what differs from the recorded decisions. Kafka is only read."""
    from scorer.cli.lanes import compared, joined
    from scorer.replay.positions import parse
    from scorer.replay.sinks import finisher

    # What the client says of its troubles comes back in our own errors.
    logging.getLogger("scorer.librdkafka").addHandler(logging.NullHandler())
    now = time.time()
    between = parse(start, "--from", now), parse(stop, "--to", now)
    name = _topic(topic, events)
    given = [*(properties or []), *([f"bootstrap.servers={bootstrap}"] if bootstrap else [])]
    file = out or Path(f"replay-{name}.jsonl")
    finished = finisher(file)
    setting = joined(name, configuration, given, bundle=bundle, decisions=decisions, bands=bands, local=bool(events))
    other = compared(setting, against, against_bands)
    wish = Wish(start, stop, between, events, file, out_topic, allow_existing_topic, dry_run, rate, resume, as_json)
    with _past(wish, setting) as past:
        _run(wish, setting, other, past, finished)


def _run(
    wish: Wish, setting: Setting, other: Setting | None, past: Past, finished: Callable[[Path, Path], None]
) -> None:
    from scorer.cli.dlq import _signals
    from scorer.cli.lanes import lane
    from scorer.replay.compare import Tally
    from scorer.replay.journal import Journal
    from scorer.replay.progress import Watcher
    from scorer.replay.rows import Sheet
    from scorer.replay.run import Pace, Parts, replay_slice

    made, making = lane(setting)
    plan = _plan(wish, setting, other, past, making)
    if wish.dry_run:
        _tell(plan, wish)
        return
    sheet = Sheet([], None, None)
    watch = Watcher(sys.stderr, time.monotonic)
    with closing(Journal(wish.out, plan, sheet.dtype, resume=wish.resume)) as journal:
        recorded, before, not_compared = _compared_with(journal, setting, other, watch)
        tally = Tally(made.topic, journal.plan.selected(), making, made.bands.names, recorded)
        with _signals() as (stopping, caught), _publisher(wish, setting, journal.plan) as publish:
            pace = Pace(time.monotonic, stopping.wait, wish.rate)
            parts = Parts(past, made, journal, sheet, tally)
            report = replay_slice(parts, watch, pace, before=before, publish=publish, stopping=stopping.is_set)
        if report is None:
            print(f"stopped by {caught[0].name}; go on with the same command and --resume", file=sys.stderr)
            raise typer.Exit(128 + caught[0])
        journal.finish(finished)
    _print(report, wish.out, not_compared, as_json=wish.as_json)


def _topic(topic: str | None, events: Path | None) -> str:
    from scorer.errors import SelectionError
    from scorer.replay.files import opened

    if topic is None and events is None:
        raise SelectionError("what is to be replayed? Name a topic with --topic, or a file with --events")
    return topic or opened(events or Path(), None).topic


@contextmanager
def _past(wish: Wish, setting: Setting) -> Iterator[Past]:
    from scorer.broker.kafka.bounded import SliceReader
    from scorer.replay.files import opened

    if wish.events:
        yield opened(wish.events, setting.topic)
        return
    with closing(SliceReader(setting.kafka, clock=time.monotonic)) as past:
        yield past


def _plan(wish: Wish, setting: Setting, other: Setting | None, past: Past, making: Making) -> Plan:
    """Return what is to be done; a replay that goes on takes its slice from where it began."""
    from scorer.replay.journal import Plan
    from scorer.replay.run import choose

    selected = choose(past, setting.topic, *wish.between)
    return Plan(
        topic=setting.topic,
        source=str(wish.events or setting.kafka.get("bootstrap.servers", "")),
        start=wish.start,
        stop=wish.stop,
        slice={number: (offsets.start, offsets.stop) for number, offsets in selected.items()},
        making=making,
        against=other.title if other else setting.decisions,
        fields=[],
    )


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


def _compared_with(
    journal: Journal, setting: Setting, other: Setting | None, watch: Watch
) -> tuple[Recorded | None, Before | None, str]:
    """Return what was decided before, who decides it on the way, or why there is nothing to compare with."""
    from scorer.broker.kafka.bounded import SliceReader
    from scorer.cli.lanes import lane
    from scorer.errors import TopicMissingError
    from scorer.replay.recorded import Recorded
    from scorer.replay.run import Before, recall

    selected = journal.plan.selected()
    if other:
        made, making = lane(other)
        recorded = Recorded.beside(
            setting.topic, selected, other.title, names=made.bands.names, making=making, directory=journal.directory
        )
        return recorded, Before(made, recorded), ""
    if not setting.decisions or not setting.kafka:
        return None, None, "no --decisions topic was named" if setting.kafka else "there is no Kafka to ask"
    try:
        with closing(SliceReader(setting.kafka, clock=time.monotonic)) as past:
            recorded = Recorded(setting.topic, selected, setting.decisions, journal.directory)
            return recall(past, recorded, watch), None, ""
    except TopicMissingError:
        if setting.must_exist:
            raise
        return None, None, f"the configuration's decisions topic {setting.decisions} does not exist yet"


@contextmanager
def _publisher(wish: Wish, setting: Setting, plan: Plan) -> Iterator[Callable[[Outgoing], object]]:
    """Give what publishes a batch's decisions; nothing is published unless a topic was named for it."""
    from scorer.errors import SelectionError

    if wish.out_topic is None:
        yield lambda _: None
        return
    if wish.resume:
        raise SelectionError(f"--out-topic {wish.out_topic}: what it holds already is not known; begin with a new one")
    if wish.out_topic in setting.live:
        raise SelectionError(f"--out-topic {wish.out_topic}: the service reads or writes it; name a topic of its own")
    from scorer.broker.kafka.publisher import publisher

    with publisher(setting.kafka, wish.out_topic, partitions=len(plan.slice), existing=wish.existing) as publish:
        yield publish


def _print(report: Report, file: Path, not_compared: str, *, as_json: bool) -> None:
    import msgspec
    from rich.console import Console

    from scorer.replay.show import show

    if as_json:
        print(msgspec.json.encode(report).decode())
        return
    show(report, Console(markup=False, highlight=False), file=file, not_compared=not_compared)
