"""Standard error that stops nothing: what cannot be written there is dropped.

The disk under it may be full, its reader gone, or whoever started the command has closed it. None of this is a reason
to stop scoring, or to end with another exit code than the one that is documented.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DESCRIPTOR = 2


class _Dropping(io.FileIO):
    """A file that takes everything; it keeps what there is room for."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what can be written, and say that all was: a rest would be tried again, at the latest at the end."""
        size = memoryview(data).nbytes
        try:
            # A stream that may not wait answers None where its reader is behind.
            return super().write(data) or size
        except OSError:
            return size


def forgive() -> None:
    """Let `sys.stderr` drop what cannot be written from now on; one that somebody has put there is left alone."""
    if sys.stderr is None:
        # Closed. Without a stand-in, the next socket would get the descriptor that libraries write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), DESCRIPTOR)
    elif sys.stderr is not sys.__stderr__:
        return
    encoding = getattr(sys.stderr, "encoding", None)
    file = io.BufferedWriter(_Dropping(DESCRIPTOR, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(file, encoding=encoding, errors="backslashreplace", line_buffering=True)
