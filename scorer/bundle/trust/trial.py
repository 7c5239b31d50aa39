"""What admission runs in a process of its own: open a private copy of a bundle under limits, and say how that went.

    python -m scorer.bundle.trust.trial DIRECTORY PATH SECONDS BYTES

`DIRECTORY` is a private copy that was verified already, `PATH` what messages call it. One JSON object comes out:
`{"error": "", "message": ""}`, or the name of the ScorerError's class and its message.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
from pathlib import Path

import msgspec

from scorer.bundle.opening import open_held
from scorer.bundle.trust.custody import reopen
from scorer.errors import BundleError, ScorerError
from scorer.infer.runtime import tensorflow

WRITABLE = 1 << 20
"""Bytes of the largest file it may write; the copy was made before, and nothing of a bundle writes."""


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a trial went: `error` is the name of a class of `scorer.errors`, or "" where the bundle opened."""

    error: str
    message: str


def main(directory: str, path: str, seconds: str, memory: str) -> None:
    """Open the copy, and write the verdict to what standard output was; everything else is silent."""
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    # Who started this may be killed and then waits for nobody: the trial ends all the same.
    signal.alarm(math.ceil(float(seconds)) + 1)
    try:
        verdict = _opened(Path(directory), Path(path), float(seconds), int(memory))
    except MemoryError:
        verdict = Verdict(BundleError.__name__, _too_large(path, int(memory)))
    os.write(answer, msgspec.json.encode(verdict))
    os._exit(0)  # what a model started need not be wound up


def _opened(directory: Path, path: Path, seconds: float, memory: int) -> Verdict:
    tf = tensorflow()
    _limit(seconds, memory)
    try:
        open_held(reopen(directory, path))
    except ScorerError as error:
        if isinstance(error.__cause__ and error.__cause__.__cause__, tf.errors.ResourceExhaustedError):
            return Verdict(BundleError.__name__, _too_large(str(path), memory))
        return Verdict(type(error).__name__, str(error))
    except MemoryError:
        raise
    except Exception as error:  # a stranger's bundle may fail in any way, and none is a crash of ours
        said = str(error).replace(str(directory), str(path)).partition("\n")[0]
        return Verdict(BundleError.__name__, f"{path}: does not open: {type(error).__name__}: {said}; pack it anew")
    return Verdict("", "")


def _limit(seconds: float, memory: int) -> None:
    """Bound what comes on top of TensorFlow itself, which has reserved far more addresses than it uses."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, WRITABLE)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds))
    statm = Path("/proc/self/statm")
    if statm.exists():  # elsewhere the system does not count addresses, and time alone is limited
        pages = int(statm.read_text(encoding="ascii").split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (limit, hard))


def _too_large(path: str, memory: int) -> str:
    return f"{path}: needs more than {memory / 2**30:g} GiB of memory to open; do not serve this bundle here"


if __name__ == "__main__":
    main(*sys.argv[1:])
