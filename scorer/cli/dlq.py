"""`scorer dlq`: dead letters listed, shown, and redriven."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scorer.cli.choosing import Setting, Span, allowed, joined
from scorer.cli.stopping import signals

if TYPE_CHECKING:
    from scorer.dlq.door import Office
    from scorer.dlq.letters import Selection
    from scorer.dlq.plan import Tally, Terms

app = typer.Typer(help="Look into dead letters, and publish their events again, each once.", no_args_is_help=True)

Configuration = Annotated[
    Path | None, typer.Argument(help="The service's configuration, YAML or TOML.", metavar="SCORER.YAML")
]
DeadLetters = Annotated[
    str | None, typer.Option("--dead-letters", metavar="TOPIC", help="A topic of dead letters, of whichever system.")
]
Bootstrap = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Kafka's bootstrap.servers.")]
Properties = Annotated[
    list[str] | None, typer.Option("-X", metavar="PROP=VALUE", help="A librdkafka property, over the file's.")
]
Topic = Annotated[str | None, typer.Option(help="Only letters whose events came from this topic.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only letters of this reason; may be repeated.")]
Start = Annotated[
    str, typer.Option("--from", help="First: beginning, a time (RFC 3339), -1h, -30m, -7d, or p0:123,p1:50.")
]
Stop = Annotated[str, typer.Option("--to", help="Where to stop, in the same words; not included.")]


def _rate(text: str) -> float:
    """Read a rate in letters a second."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(?:/s)?", text)
    if match is None or not float(match[1]):
        raise typer.BadParameter(f"{text!r} is no rate; write 50/s")
    return float(match[1])


@app.command("list")
def list_(
    *,
    configuration: Configuration = None,
    dead_letters: DeadLetters = None,
    bootstrap: Bootstrap = None,
    properties: Properties = None,
    topic: Topic = None,
    reasons: Reasons = None,
    start: Start = "beginning",
    stop: Stop = "end",
    limit: Annotated[int, typer.Option(help="Letters to list, the newest; all are counted.", min=0, max=10_000)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count dead letters by topic and reason, and list the newest. Kafka is only read."""
    from rich.console import Console

    from scorer.dlq import show
    from scorer.dlq.letters import Census

    now = time.time()
    span = Span.of(start, stop, now)
    setting = joined(configuration, dead_letters, bootstrap, properties, topic)
    selection, census = span.selection(topic, reasons), Census(limit)
    with closing(_office(setting)) as office:
        for name, selected in span.slices(office.reader, setting).items():
            ledger = office.recall(name)
            for letter in office.letters(name, selected):
                census.add(letter, meant=letter in selection, redriven=letter in ledger)
    _doubt(selection, office)
    if as_json:
        print(show.document(census, setting.dead_letters).decode())
        return
    show.listing(census, setting.dead_letters, Console(markup=False, highlight=False), now)


@app.command("show")
def show_(
    *,
    arguments: Annotated[list[str], typer.Argument(metavar="[SCORER.YAML] TOPIC-PARTITION-OFFSET")],
    bootstrap: Bootstrap = None,
    properties: Properties = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write the value's exact bytes, and nothing else.")] = False,
) -> None:
    """Print one dead letter, all of it."""
    from scorer.dlq import show
    from scorer.dlq.letters import place
    from scorer.errors import SelectionError

    *first, last = arguments
    if len(first) > 1:
        raise SelectionError(f"one letter at a time: write scorer dlq show {first[0]} {last}")
    at = place(last)
    setting = joined(Path(first[0]) if first else None, at.topic, bootstrap, properties, None)
    with closing(_office(setting)) as office:
        letter = office.letter(at)
        redriven = letter in office.recall(at.topic)
    if raw:
        sys.stdout.buffer.write(letter.value or b"")
        sys.stdout.buffer.flush()
        return
    print("\n".join(show.whole(letter, redriven=redriven)))


@app.command("redrive")
def redrive(
    *,
    configuration: Configuration = None,
    dead_letters: DeadLetters = None,
    bootstrap: Bootstrap = None,
    properties: Properties = None,
    topic: Topic = None,
    reasons: Reasons = None,
    start: Start = "beginning",
    stop: Stop = "end",
    to_topic: Annotated[str | None, typer.Option(help="Publish here, not where the events came from.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and publish nothing.")] = False,
    rate: Annotated[float | None, typer.Option(parser=_rate, metavar="N/s", help="Letters a second at most.")] = None,
    max_redrives: Annotated[int, typer.Option(help="Leave events that were redriven so often already.", min=1)] = 3,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where there is no terminal.")] = False,
) -> None:
    """Publish dead letters' events again: key, value, headers, time and partition as they were, each event once."""
    from scorer.dlq.door import targets
    from scorer.dlq.plan import Fate, Terms

    now = time.time()
    span = Span.of(start, stop, now)
    setting = joined(configuration, dead_letters, bootstrap, properties, topic)
    selection, names = span.selection(topic, reasons), allowed(setting, topic, to_topic)
    with closing(_office(setting)) as office:
        slices = span.slices(office.reader, setting)
        terms = Terms(targets(setting.kafka, setting.dead_letters[0], names, now), to_topic, max_redrives)
        plans = {name: office.plan(name, selected, selection, terms) for name, selected in slices.items()}
        _doubt(selection, office)
        _print(plans, "to redrive")
        count = sum(tally.fates[Fate.REDRIVE] for tally in plans.values())
        if count and not dry_run:
            _confirm(count, yes=yes)
            _redrive(office, slices, selection, terms, rate)


def _redrive(
    office: Office, slices: Mapping[str, dict[int, range]], selection: Selection, terms: Terms, rate: float | None
) -> None:
    """Redrive each topic's letters; ends after the transaction in hand where a signal says so."""
    from scorer.dlq.redrive import Pace

    done = {}
    with signals() as (stopping, caught):
        pace = Pace(rate, stopping.wait)
        for name, selected in slices.items():
            if not stopping.is_set():
                done[name] = office.redrive(name, selected, selection, terms=terms, pace=pace, stopping=stopping.is_set)
    _print(done, "redriven")
    if caught:
        print(f"stopped by {caught[0].name}; run it again for the rest: nothing is redriven twice", file=sys.stderr)
        raise typer.Exit(128 + caught[0])


def _office(setting: Setting) -> Office:
    from scorer.dlq.door import Office
    from scorer.replay.progress import Watcher

    return Office(setting.kafka, clock=time.monotonic, watch=Watcher(sys.stderr, time.monotonic))


def _print(tallies: Mapping[str, Tally], doing: str) -> None:
    from scorer.dlq import show

    for name, tally in tallies.items():
        print("\n".join(show.plan(name, tally, doing)), flush=True)
    if not tallies:
        print("no dead letters", flush=True)


def _doubt(selection: Selection, office: Office) -> None:
    """Say on standard error which reasons asked for no letter has: "0 letters" would be believed of a typo."""
    from scorer.dlq import show

    for line in show.doubts(selection.reasons, office.met):
        print(line, file=sys.stderr)


def _confirm(count: int, *, yes: bool) -> None:
    """Ask, unless told not to; raises SelectionError where nobody can be asked."""
    from scorer.errors import SelectionError

    if yes:
        return
    if not sys.stdin.isatty():
        raise SelectionError("there is no terminal to ask on: add --yes, or --dry-run for the plan alone")
    typer.confirm(f"redrive {count:,} letter{'' if count == 1 else 's'}?", abort=True)
