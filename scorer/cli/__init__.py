"""The command line: one file a command.

Heavy libraries (TensorFlow, confluent-kafka, scikit-learn, pydantic) are imported inside the commands, so that
`scorer --help` answers at once.
"""

from __future__ import annotations

import sys

import typer

from scorer.cli import check, demo, diff, dlq, kafka, pack, play, record, replay, run, show, thresholds
from scorer.errors import ScorerError

app = typer.Typer(
    name="scorer",
    help="Score Kafka events with TensorFlow models: exactly once, bit for bit as they were trained.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("replay")(replay.replay)
app.command("record")(record.record)
app.command("play")(play.play)
app.command("pack")(pack.pack)
app.command("check")(check.check)
app.command("show")(show.show)
app.command("diff")(diff.diff)
app.add_typer(demo.app, name="demo")
app.add_typer(dlq.app, name="dlq")
app.add_typer(thresholds.app, name="thresholds")
app.command("kafka")(kafka.kafka)


def main() -> None:
    """Run the command line; a `ScorerError` becomes one line on standard error and its exit code."""
    try:
        app()
    except ScorerError as error:
        print(f"scorer: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
