"""Signals that ask a command to stop.

A handler interrupts the main thread anywhere, also where that holds a lock: of the log, of a metric, of an event. A
handler that took the same lock would wait for ever. So a handler hands the signal's number on, and a thread does the
rest.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread
from types import FrameType


def beside(react: Callable[[int], None]) -> Callable[[int], None]:
    """Return what a handler may call: it has `react` called, in a thread, with the same signal's number."""
    numbers: SimpleQueue[int] = SimpleQueue()  # the one queue whose `put` may interrupt itself

    def attend() -> None:
        while True:
            react(numbers.get())

    Thread(target=attend, name="signals", daemon=True).start()
    return numbers.put


@contextmanager
def signals() -> Iterator[tuple[Event, list[signal.Signals]]]:
    """Let SIGTERM and Ctrl-C set an event and name themselves; a second one ends the process at once."""
    stopping = Event()
    caught: list[signal.Signals] = []
    hand_on = beside(lambda _: stopping.set())

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        caught.append(signal.Signals(number))
        hand_on(number)
        signal.signal(number, signal.SIG_DFL)  # loses and repeats nothing either: a transaction is whole or not at all

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopping, caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
