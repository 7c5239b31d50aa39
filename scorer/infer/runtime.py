"""TensorFlow, started once and the same way everywhere, so that the same event gives the same bits."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

THREADS = 1
"""Intra- and inter-op threads: one process serves one core, and a sum is always taken in the same order."""


@functools.cache
def tensorflow() -> Any:
    """Import TensorFlow, quiet and with its threads set; a process that already uses it keeps its own threads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silence(), _without_keras():
        import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # the context exists: this process trains
        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    # Fused kernels give other last bits than Keras itself, and make a plausible score of a NaN: their ReLU drops it.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    return tf


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the native start-up notes, which no log level reaches, off standard error: it carries JSON lines."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Keep TensorFlow from importing Keras, and with it scikit-learn and pandas: serving needs none of them.

    That is 140 MB and a second or more. `tf.keras` is still imported when it is first used.
    """
    blocked = [name for name in ("keras", "tf_keras") if name not in sys.modules]
    sys.modules |= dict.fromkeys(blocked)  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in blocked:
            del sys.modules[name]


def fingerprint() -> dict[str, str]:
    """Return what decides the last bits of a result: CPU, TensorFlow's version, oneDNN.

    Features and scores are promised bit for bit between machines of one fingerprint, and within a tolerance elsewhere.
    """
    tf = tensorflow()
    return {
        "cpu": _cpu(),
        "tensorflow": str(tf.__version__),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
    }


def _cpu() -> str:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        facts = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    return f"{platform.machine()} {platform.processor()}"
