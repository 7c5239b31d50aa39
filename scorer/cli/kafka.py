"""`scorer kafka`: a real Apache Kafka on this machine."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer


def kafka(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 9092,
    directory: Annotated[
        Path, typer.Option("--dir", help="Where Kafka keeps its data; created if need be, kept when it stops.")
    ] = Path("kafka"),
) -> None:
    """Run a real Apache Kafka until Ctrl-C: one node, on loopback, from pip alone (the extra `local`)."""
    from scorer.broker.local import LocalBroker

    logging.basicConfig(format="%(message)s")
    logging.getLogger("scorer").setLevel(logging.INFO)
    for number in (signal.SIGTERM, signal.SIGINT):  # the latter may have been ignored by whoever started us
        signal.signal(number, _interrupt)
    try:
        with LocalBroker(directory, port) as broker:
            print(f"bootstrap.servers={broker.bootstrap}", flush=True)
            broker.wait()
    except KeyboardInterrupt:
        return


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End the command as Ctrl-C does."""
    raise KeyboardInterrupt
