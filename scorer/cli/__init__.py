"""The command line: one file a command.

Heavy libraries (TensorFlow, confluent-kafka, scikit-learn, pydantic) are imported inside the commands, so that
`scorer --help` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys

import typer

from scorer.cli import check, demo, diff, dlq, kafka, pack, play, record, replay, run, show, standard_error, thresholds
from scorer.errors import OutputError, ScorerError

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


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a write is answered with when the place it goes to takes no more."""


def main() -> None:
    """Run the command line; a `ScorerError` becomes one line on standard error and its exit code.

    So does an output that takes no more, be it a file or standard output. Standard error may take nothing at all.
    """
    standard_error.forgive()
    try:
        _told_in_full()
    except ScorerError as error:
        print(f"scorer: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _told_in_full() -> None:
    try:
        try:
            app()
        finally:
            if sys.stdout is not None:  # as where whoever started us has closed it
                sys.stdout.flush()
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        # What is still buffered would be tried again at the interpreter's end, and told with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        where = error.filename or "the output"
        raise OutputError(f"{where} cannot be written: {error.strerror}; make room, or write somewhere else") from error
