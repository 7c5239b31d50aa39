"""Signals may come while the main thread holds any lock: whoever handles them must not wait for it."""

from __future__ import annotations

import subprocess
import sys

import pytest


def said_by(program: str) -> str:
    """Run a program, and return what it printed before it ended."""
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return found.stdout


def test_a_scorer_that_is_asked_to_stop_while_it_counts_stops() -> None:
    """It used to wait for the lock of its own metrics until it was given up, 9 s later, with its last batch open."""
    program = """
import io, signal, time
from threading import Event
from scorer.cli import run
from scorer.telemetry import Telemetry
from scorer.telemetry.facts import ServiceStarted
from scorer.telemetry.health import Health
from scorer.telemetry.log import JsonLog
from scorer.telemetry.metrics import Metrics

def interrupted():
    signal.raise_signal(signal.SIGTERM)
    return time.time()

stopping, stream = Event(), io.StringIO()
log = JsonLog(stream, clock=time.time, ticks=time.monotonic)
health = Health(("payments",), max_silence=60, clock=time.monotonic)
telemetry = Telemetry(health, Metrics(clock=interrupted), log)
run._stop_on_signals(stopping, telemetry, log)
telemetry.tell(ServiceStarted("cards", "0", "exactly-once", ("payments",), {}))
while "SIGTERM" not in stream.getvalue():
    time.sleep(0.01)
print("stopping", stopping.is_set())
"""

    assert said_by(program) == "stopping True\n"


def test_long_work_that_is_asked_to_stop_as_it_begins_to_wait_stops() -> None:
    program = """
import signal
from scorer.cli.stopping import signals

with signals() as (stopping, caught):
    with stopping._cond:  # which `wait` holds for a moment
        signal.raise_signal(signal.SIGINT)
    print(stopping.wait(30), *(one.name for one in caught))
"""

    assert said_by(program) == "True SIGINT\n"


@pytest.mark.parametrize("reader", ["gone", "asleep"])
def test_a_scorer_that_cannot_stop_in_time_ends_whether_or_not_its_log_can_be_written(reader: str) -> None:
    """The last line used to raise before the end, in a thread that nobody waits for."""
    program = f"""
import os, signal, time
from threading import Event
from scorer.cli import run
from scorer.telemetry import Telemetry
from scorer.telemetry.health import Health
from scorer.telemetry.log import JsonLog

reading, writing = os.pipe()
if {reader!r} == "gone":
    os.close(reading)
else:
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writing, True)
run.GRACE = 0.2
log = JsonLog(open(writing, "w"), clock=time.time, ticks=time.monotonic)
telemetry = Telemetry(Health(("payments",), max_silence=60, clock=time.monotonic), log)
run._stop_on_signals(Event(), telemetry, log)
print("hangs", flush=True)
signal.raise_signal(signal.SIGTERM)
time.sleep(20)
print("still here", flush=True)
"""

    assert said_by(program) == "hangs\n"
