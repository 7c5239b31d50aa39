"""Signals that ask long work to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType


@contextmanager
def signals() -> Iterator[tuple[Event, list[signal.Signals]]]:
    """Let SIGTERM and Ctrl-C set an event and name themselves; a second one ends the process at once."""
    stopping = Event()
    caught: list[signal.Signals] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        caught.append(signal.Signals(number))
        stopping.set()
        signal.signal(number, signal.SIG_DFL)  # loses and repeats nothing either: a transaction is whole or not at all

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping, caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
