"""What this machine remembers between runs: small files of one user, written whole or not at all.

A file counts only if this user owns it and its directory, and nobody else may write to them. A cache that is missing
or cannot be written makes things slower or less strict, never impossible.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

_MAX = 1 << 16
"""Bytes of a file here; what is longer was not written by us."""


@dataclass(frozen=True, slots=True)
class Cache:
    """A directory for this user's memory; None where the environment names no place for one."""

    directory: Path | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Cache:
        """Return that of `SCORER_CACHE`, else `$XDG_CACHE_HOME/scorer`, else `~/.cache/scorer`."""
        if own := environment.get("SCORER_CACHE"):
            return cls(Path(own))
        # Relative paths are to be ignored, says the XDG Base Directory Specification.
        if (xdg := environment.get("XDG_CACHE_HOME", "")).startswith("/"):
            return cls(Path(xdg) / "scorer")
        home = environment.get("HOME")
        return cls(Path(home) / ".cache" / "scorer" if home else None)

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None where there is none to be trusted."""
        if self.directory is None:
            return None
        path = self.directory / name
        with suppress(OSError), ExitStack() as stack:
            above = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, above)
            file = os.open(path.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
            stack.callback(os.close, file)
            if _ours(os.fstat(above)) and _ours(found := os.fstat(file)) and stat.S_ISREG(found.st_mode):
                return os.read(file, _MAX)
        return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, replacing it at one stroke; raises OSError where that cannot be."""
        if self.directory is None:
            raise FileNotFoundError(errno.ENOENT, "none of HOME, XDG_CACHE_HOME and SCORER_CACHE says where")
        path = self.directory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _ours(path.parent.stat()):
            raise PermissionError(errno.EPERM, "another user owns it or may write to it", str(path.parent))
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise


def _ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
