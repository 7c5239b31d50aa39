"""Where a file may be written, and what is said where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scorer.errors import SelectionError


def vacant(path: Path) -> Path:
    """Return the path at which a file of this name is put once it is whole, in the place of one that is there.

    A link is followed: its target is replaced, not the link. Raises SelectionError for what is there and no file: a
    directory, or a device such as /dev/stdout, which would be gone for everybody.
    """
    if path.is_dir():
        raise SelectionError(f"{path}: is a directory; name a file")
    if path.exists() and not path.is_file():
        raise SelectionError(f"{path}: is a device or a pipe, and only a file can be replaced at once; name a file")
    return path.resolve()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise SelectionError for what the system refuses meanwhile."""
    try:
        yield
    except OSError as error:
        raise SelectionError(f"{path}: cannot be written: {error.strerror}; name another file") from error
