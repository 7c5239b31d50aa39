"""`scorer thresholds fit`: bands from scores, labels, and what mistakes cost."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scorer.evaluation.findings import Report

app = typer.Typer(no_args_is_help=True, help="The bands of a topic, chosen by what they do.")


@app.callback()
def thresholds() -> None:
    """Choose the bands of a topic."""


@app.command("fit")
def fit(
    *,
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Decided events: score, label, event_time; .jsonl, .csv, .parquet."),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="The topic that the bands are for; its events are replayed.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Replay a file's events: recorded, JSON lines, or Parquet.")
    ] = None,
    start: Annotated[str, typer.Option("--from", help="Replay from: beginning, a time, -7d, p0:123.")] = "beginning",
    stop: Annotated[str, typer.Option("--to", help="Where to stop, not included.")] = "end",
    bundle: Annotated[Path | None, typer.Option(help="The bundle that replays, if not the configuration's.")] = None,
    configuration: Annotated[
        Path | None, typer.Option("--config", help="The service's configuration: Kafka, bundle, today's bands.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(metavar="NAME=SCORE,…", help="Today's bands, which name those that are fitted.")
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Kafka's bootstrap.servers.")] = None,
    properties: Annotated[
        list[str] | None, typer.Option("-X", metavar="PROP=VALUE", help="A librdkafka property, over the file's.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Labels: event_id, label, time; .csv, .jsonl, .parquet, or topic:NAME."),
    ] = None,
    costs: Annotated[
        str | None, typer.Option(metavar="NAME=COST,…", help="Least cost: false_positive=40,missed=amount,review=5.")
    ] = None,
    precision: Annotated[float | None, typer.Option(min=0, max=1, help="The lowest edge of this precision.")] = None,
    recall: Annotated[float | None, typer.Option(min=0, max=1, help="The highest edge of this recall.")] = None,
    capacity: Annotated[
        float | None, typer.Option(min=0, help="Events a day that people can review; with --costs or alone.")
    ] = None,
    band: Annotated[
        str | None, typer.Option(help="The band whose edge is sought, without --costs.", show_default="the lowest")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option("--by", metavar="FIELD", help="Show the effect by a field of the event.")
    ] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Share of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap: the same gives the same intervals.")] = 0,
    write: Annotated[bool, typer.Option("--write", help="Write the bands into the --config file.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page for a browser, and its JSON beside it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Find the bands that cost least, or meet a precision, a recall or a capacity; say what they do, how surely."""
    from scorer.cli.fitting import Ask, fitted, of_file, of_replay
    from scorer.cli.rerun import write_report
    from scorer.cli.targets import check_files
    from scorer.config.rewriting import write_bands
    from scorer.errors import SelectionError
    from scorer.evaluation.fit import Goal
    from scorer.evaluation.resample import Bootstrap

    logging.getLogger("scorer.librdkafka").addHandler(logging.NullHandler())
    check_files({"--scores": scores, "--events": events, "--labels": labels}, {"--report": report})
    if write and configuration is None:
        raise SelectionError("--write writes into the --config file; name it")
    ask = Ask(
        topic, events, start, stop, bundle, configuration, bands,
        [*(properties or []), *([f"bootstrap.servers={bootstrap}"] if bootstrap else [])],
        labels, costs, Goal(None, precision, recall, capacity, band), by or (), report,
    )  # fmt: skip
    with of_file(ask, scores) if scores else of_replay(ask) as case:
        found = fitted(case, ask.goal, Bootstrap(seed=seed, confidence=confidence))
    if write and configuration and found.proposal:
        write_bands(configuration, found.subject.topic, found.proposal.bands)
    if report:
        write_report(found, report)
    _print(found, as_json=as_json)
    if write:
        print(f"written into {configuration}", file=sys.stderr)


def _print(found: Report, *, as_json: bool) -> None:
    import msgspec
    from rich.console import Console

    from scorer.report.terminal import show_fit

    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        show_fit(found, Console(markup=False, highlight=False))
