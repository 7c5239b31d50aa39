"""When Python looks for garbage: between batches, and at no other time.

A batch makes thousands of objects, and frees them by itself. To look for cycles among them every 700 took an eighth of
the service's time, and more of a replay's.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

EVERY = 1.0
"""Seconds between two looks."""
Batch = TypeVar("Batch")


@contextmanager
def held() -> Iterator[None]:
    """Look for no garbage in this block but where it is asked for. What is there already is taken to live for ever."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def between(batches: Iterable[Batch], clock: Callable[[], float]) -> Iterator[Batch]:
    """Pass batches on, and look for garbage once a second, when one of them has been dealt with."""
    looked = clock()
    for batch in batches:
        yield batch
        if clock() >= looked + EVERY:
            gc.collect()
            looked = clock()
