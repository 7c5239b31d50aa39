"""That something long is under way: a spinner on a terminal, elsewhere a line now and then. On standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

EVERY = 10.0
"""Seconds between two lines."""


@contextmanager
def waiting(what: str, *, lines: bool = True) -> Iterator[Callable[[str], None]]:
    """Tell of `what` while the block runs; call what is given with the words for its next step.

    Without `lines`, nothing is told but on a terminal.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape

        with Console(stderr=True).status(escape(what)) as status:
            yield lambda now: status.update(escape(now))
        return
    if not lines:
        yield lambda _: None
        return
    doing, done, began = [what], Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(EVERY):
            print(f"scorer: {doing[-1]}, {time.monotonic() - began:.0f} s so far", file=sys.stderr, flush=True)

    thread = Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield doing.append
    finally:
        done.set()
        thread.join()
