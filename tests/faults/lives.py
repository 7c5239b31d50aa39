"""What processes hold of memory, file descriptors and threads, second by second, and whether it grows."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

WARM_UP = 30.0
"""Seconds of a process's life that say nothing: models load, clients connect."""
POINTS = 2000
"""Of a long life's samples, so many are fitted: their pairs are two million."""


@dataclass(slots=True)
class Life:
    """One process: samples of (seconds, resident MB, file descriptors, threads)."""

    name: str
    process: subprocess.Popen[bytes]
    samples: list[tuple[float, float, int, int]] = field(default_factory=list)

    def sample(self, now: float) -> None:
        """Look at the process, if it still lives: once its end was heard, its number may be another's."""
        if self.process.returncode is not None:
            return
        with suppress(OSError, KeyError):
            about = Path(f"/proc/{self.process.pid}")
            status = dict(line.split(":", 1) for line in (about / "status").read_text().splitlines())
            resident, threads = int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"])
            self.samples.append((now, resident, len(os.listdir(about / "fd")), threads))

    def __str__(self) -> str:
        """Return what it held last."""
        if not self.samples:
            return "not seen yet"
        _, resident, files, threads = self.samples[-1]
        return f"{resident:.0f} MB, {files} fds, {threads} threads"

    @property
    def warm(self) -> Sequence[tuple[float, float, int, int]]:
        """Return the samples after the warm-up."""
        return [sample for sample in self.samples if sample[0] >= self.samples[0][0] + WARM_UP]


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the median slope of all pairs of points, per unit of `times`: what a third of outliers does not move.

    Theil (1950), Sen (1968). Of more than 2,000 points, so many are taken at equal steps.
    """
    take = np.unique(np.linspace(0, len(times) - 1, min(len(times), POINTS)).astype(int))
    x, y = np.asarray(times)[take], np.asarray(values, float)[take]
    later, earlier = np.tril_indices(len(x), -1)
    return float(np.median((y[later] - y[earlier]) / (x[later] - x[earlier])))


class Watch:
    """Samples processes once a second, in a thread; a context manager."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def follow(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Watch one more process."""
        self.lives.append(Life(name, process))

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            for life in list(self.lives):
                life.sample(time.monotonic())
