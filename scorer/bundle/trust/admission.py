"""A bundle that this machine has never seen is first opened in a process of its own, under limits of time and memory.

A model that hangs, eats all memory or crashes TensorFlow then costs that process, not the service. What opened is
remembered by the bundle's digest, the machine's fingerprint (TensorFlow's version included) and the scorer's version;
what did not is tried again, since a busy machine may have been to blame.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scorer import errors
from scorer.bundle.trust.cache import Cache
from scorer.bundle.trust.custody import Held
from scorer.bundle.trust.trial import Verdict
from scorer.errors import BundleError, ScorerError
from scorer.infer.runtime import fingerprint

SECONDS = 120.0
MEMORY = 4 << 30
"""Bytes on top of what TensorFlow itself has."""
INHERITED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"),
    *("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "CUDA_VISIBLE_DEVICES"),
)
"""The variables that a trial sees: what finds the libraries and decides the bits. No secret is among them."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A gate of `load`: `admission(held)` returns where the bundle opens on this machine, and raises where not."""

    cache: Cache
    environment: Mapping[str, str]
    seconds: float = SECONDS
    memory: int = MEMORY

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Admission:
        """Return the admission with this user's memory and the default limits."""
        return cls(Cache.of(environment), environment)

    def __call__(self, held: Held) -> None:
        """Open a held bundle in a trial, unless one that opened is remembered.

        Raises what the trial raised (BundleError, GoldenError), or BundleError where it took too long, too much
        memory, or died.
        """
        name, entry = _entry(held.sha256)
        if self.cache.read(name) == entry:
            return
        verdict = self._trial(held)
        if verdict.error:
            kind = getattr(errors, verdict.error, BundleError)
            raise kind(verdict.message) if issubclass(kind, ScorerError) else BundleError(verdict.message)
        self.remember(held.sha256)

    def remember(self, sha256: str) -> None:
        """Note that a bundle opened here; where that cannot be noted, the next start tries it again."""
        with suppress(OSError):
            self.cache.write(*_entry(sha256))

    def _trial(self, held: Held) -> Verdict:
        command = [sys.executable, "-P", "-m", "scorer.bundle.trust.trial", str(held.directory), str(held.path)]
        with tempfile.TemporaryDirectory(prefix="scorer-trial-") as scratch:
            try:
                found = subprocess.run(
                    [*command, str(self.seconds), str(self.memory)],
                    cwd=scratch,
                    env=self._inherited() | {"TMPDIR": scratch},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    timeout=self.seconds,
                    check=False,
                    start_new_session=True,  # a Ctrl-C is for the service, which says what it means
                )
            except subprocess.TimeoutExpired as error:
                raise BundleError(
                    f"{held.path}: did not load within {self.seconds:g} s; do not serve this bundle here"
                ) from error
        try:
            return msgspec.json.decode(found.stdout, type=Verdict)
        except msgspec.MsgspecError as error:
            raise BundleError(f"{held.path}: {self._death(found.returncode)}") from error

    def _inherited(self) -> dict[str, str]:
        """Return the trial's environment, in which it finds this very package."""
        kept = {name: self.environment[name] for name in INHERITED if name in self.environment}
        paths = [str(Path(__file__).resolve().parents[3]), kept.get("PYTHONPATH", "")]
        return kept | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONDONTWRITEBYTECODE": "1"}

    def _death(self, code: int) -> str:
        if code >= 0:
            return f"does not load: its trial ended with exit code {code} and no word; do not serve this bundle here"
        name = signal.Signals(-code).name
        if name in ("SIGXCPU", "SIGALRM"):
            return f"did not load within {self.seconds:g} s; do not serve this bundle here"
        gibibytes = f"{self.memory / 2**30:g} GiB"
        return f"does not load: its trial died with {name}, as it does where more than {gibibytes} of memory are needed"


def _entry(sha256: str) -> tuple[str, bytes]:
    """Return the name and the content of what is remembered of a bundle that opened."""
    facts = {"bundle": sha256, "scorer": importlib.metadata.version("scorer"), "fingerprint": fingerprint()}
    content = msgspec.json.encode(facts, order="sorted")
    return f"admitted/{hashlib.sha256(content).hexdigest()}.json", content
