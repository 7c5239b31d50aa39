"""The demo's props: a directory, a Kafka, two bundles, and `scorer run` as a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scorer.broker.local import free_ports
from scorer.demo import cards, sms
from scorer.demo.simulator import Payments, simulate
from scorer.errors import LocalBrokerError, ScorerError
from scorer.infer.runtime import tensorflow

SEED = 7
CARD, TEXT = "card-fraud", "sms-spam"
READY_SECONDS = 90.0
STOP_SECONDS = 12.0

CONFIGURATION = """\
# The demo's configuration. Everything not said here is the default.
kafka:
  bootstrap.servers: {bootstrap}
group: demo
create_topics: true
topics:
  payments:
    bundle: bundles/card-fraud          # its own bands
    decisions: payments.decisions
    dead_letters: payments.dlq
  payouts:
    bundle: bundles/card-fraud          # the same model, stricter: money that leaves does not come back
    decisions: payouts.decisions
    dead_letters: payouts.dlq
    bands: {{review: {review}, block: {block}}}
  messages:
    bundle: bundles/sms-spam
    decisions: messages.decisions
    dead_letters: messages.dlq
http:
  listen: 127.0.0.1:{port}
"""


def clean(directory: Path) -> None:
    """Empty the demo's directory; raises LocalBrokerError where it holds something that is not the demo's."""
    if directory.exists() and not (directory / "scorer.yaml").exists() and any(directory.iterdir()):
        raise LocalBrokerError(f"{directory}: holds files that are not the demo's; choose another --dir")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "scorer.yaml").touch()  # from now on this is a demo's directory, however the demo ends


def train_cards(directory: Path, say: Callable[[str], None]) -> cards.Trained:
    """Simulate payments, train on some, and pack `card-fraud` below `directory`."""
    tensorflow()  # before Keras brings it with its notes
    payments: Payments = simulate(SEED)
    say(f"simulated {len(payments):,} payments, {payments.fraud.mean():.2%} of them fraud")
    trained = cards.train(payments, seed=SEED, progress=lambda done, all_: say(f"card model: epoch {done} of {all_}"))
    cards.pack_bundle(trained, directory / CARD)
    return trained


def train_text(directory: Path) -> sms.Trained:
    """Train on real messages and pack `sms-spam` below `directory`."""
    texts, labels = sms.load()
    trained = sms.train(texts, labels, seed=SEED)
    sms.pack_bundle(trained, directory / TEXT)
    return trained


def write_configuration(directory: Path, bootstrap: str, bands: dict[str, float]) -> tuple[Path, int]:
    """Write `scorer.yaml` and return its path, and the port that the service will listen on."""
    port = free_ports(1)[0]
    stricter = {name: round(edge / 2, 4) for name, edge in bands.items()}
    path = directory / "scorer.yaml"
    path.write_text(CONFIGURATION.format(bootstrap=bootstrap, port=port, **stricter))
    return path, port


@contextmanager
def service(configuration: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run `scorer run` beside us until the block ends; its log goes to `scorer.log`.

    Raises ScorerError with the log's last line where it ends by itself or is not ready in time.
    """
    log = configuration.with_name("scorer.log")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "scorer", "run", str(configuration)], stdout=stream, stderr=stream
        )
        try:
            _await_ready(process, port, log)
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> int:
    """End the service as an operator would, and return its exit code."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _await_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").strip().splitlines() or ["its log is empty"]
            raise ScorerError(f"`scorer run` is not ready: {lines[-1]}; see {log}")
        time.sleep(0.2)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False
