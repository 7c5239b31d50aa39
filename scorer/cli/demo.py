"""`scorer demo`: the whole product in three minutes; and its parts, for a compose file."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

app = typer.Typer(help="Watch a real Kafka, two trained models and three topics; everything is gone afterwards.")

Directory = Annotated[Path, typer.Option("--dir", help="Where everything is put; emptied first if it is a demo's.")]


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    directory: Directory = Path(".demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave Kafka and the service up until Ctrl-C.")] = False,
) -> None:
    """Start Kafka, train and pack two bundles, stream events through `scorer run`, and check the books."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from scorer.demo.show import show

    console = Console()
    if not console.is_terminal:
        console = Console(width=132)
    _end_on_signals()
    try:
        show(directory, keep=keep, console=console)
    except KeyboardInterrupt:
        raise typer.Exit(0 if keep else 130) from None


@app.command()
def bundles(directory: Directory = Path("bundles")) -> None:
    """Train and pack the demo's bundles, `card-fraud` and `sms-spam`."""
    from scorer.demo import stage

    directory.mkdir(parents=True, exist_ok=True)
    stage.train_cards(directory, print)
    stage.train_text(directory)
    print(f"packed {directory / stage.CARD} and {directory / stage.TEXT}")


@app.command()
def stream(
    bootstrap: Annotated[str, typer.Option(help="Where Kafka is, as host:port.")] = "localhost:9092",
    rate: Annotated[float, typer.Option(help="Events a second, over all topics.", min=0.1)] = 200.0,
) -> None:
    """Stream simulated payments and real messages into the demo's topics until SIGTERM or Ctrl-C."""
    from scorer.demo.endless import stream as send

    _end_on_signals()
    try:
        send(bootstrap, rate)
    except KeyboardInterrupt:
        return


def _end_on_signals() -> None:
    """Make SIGTERM end the command as Ctrl-C does, and Ctrl-C even where whoever started us had it ignored."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
