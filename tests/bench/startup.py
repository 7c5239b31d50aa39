"""`make bench-start`: how long is a scorer not ready, beside a Python that only loads the same model?

usage: python -m tests.bench.startup [--rounds N] [--json FILE]

Bare is `import tensorflow` and `saved_model.load` of the bundle's model, to the end of the process. A scorer is ready
when `/readyz` says so: bundle proved, topics looked at, partitions assigned. Both in turn, medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from statistics import median
from urllib.request import urlopen

import yaml
from rich.table import Table

from scorer.broker.local import LocalBroker
from tests.bench import printer, reference
from tests.bench.flat import configure, make_topics, running

BARE = "import sys, tensorflow as tf; tf.saved_model.load(sys.argv[1]).signatures['serving_default']"
PATIENCE = 90.0
"""Seconds to wait for a scorer."""
AIM = 2.0
"""How many times the bare start a scorer's may be."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name) / "kafka") as broker:
        rounds = list(measure(Path(name), broker.bootstrap, arguments.rounds))
    bare, ready = (median(seconds) for seconds in zip(*rounds, strict=True))
    table = Table(title=f"seconds to be ready, medians of {len(rounds)} rounds", title_justify="left")
    for column in ("", "seconds", "times the bare start", "aim"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("bare import and load", f"{bare:.2f}", "1.00", "")
    table.add_row("scorer run", f"{ready:.2f}", f"{ready / bare:.2f}", f"≤ {AIM:g}")
    printer().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"bare_s": bare, "ready_s": ready, "ratio": ready / bare}))


def measure(directory: Path, bootstrap: str, rounds: int) -> Iterator[tuple[float, float]]:
    """Yield each round's seconds: bare, and a scorer's."""
    reference.pack_bundle(directory / "bundle")
    for number in range(rounds):
        yield bare(directory / "bundle" / "model"), scorer(directory, bootstrap, number)


def bare(model: Path) -> float:
    """Return the seconds of a process that loads a model and ends."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", BARE, str(model)], check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def scorer(directory: Path, bootstrap: str, number: int) -> float:
    """Return the seconds from a scorer's start until it is ready, on topics of its own."""
    source, target = f"in{number}", f"out{number}"
    make_topics(bootstrap, (source, target, f"{target}.dlq"), 4, {})
    path = configure(directory, bootstrap, source, target, "exactly-once")
    listen = yaml.safe_load(path.read_text())["http"]["listen"]
    began = time.monotonic()
    with running("-m", "scorer", "run", str(path), log=path.with_suffix(".log")) as process:
        while not _ready(f"http://{listen}/readyz"):
            assert process.poll() is None, f"ended with {process.returncode}"
            assert time.monotonic() - began < PATIENCE, "not ready"
            time.sleep(0.02)
        return time.monotonic() - began


def _ready(url: str) -> bool:
    with suppress(OSError, HTTPException), urlopen(url, timeout=1) as answer:
        return bool(answer.status == 200)
    return False


if __name__ == "__main__":
    main()
