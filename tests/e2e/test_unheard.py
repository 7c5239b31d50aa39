"""Standard error is full, closed, or its reader has gone: scoring does not depend on who is told of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from bundles import frame_of, payloads
from e2e_world import PATIENCE, Progress, Topics, send, write_settings

from scorer.bundle import Bundle

COUNT = 300


def ready(port: int) -> bool:
    """Return whether the scorer on this port says that it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def begin(unheard: str, path: Path) -> subprocess.Popen[bytes]:
    """Start a scorer that nobody hears."""
    redirected = {"full": "2>/dev/full", "closed": "2>&-", "gone": ""}[unheard]
    command = ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "scorer", "run", str(path)]
    reading, writing = os.pipe()
    os.close(reading)
    scorer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=writing)
    os.close(writing)
    return scorer


@pytest.mark.parametrize("unheard", ["full", "closed", "gone"])
def test_a_scorer_that_nobody_hears_scores(unheard: str, bootstrap: str, cards: Bundle, tmp_path: Path) -> None:
    """It used to end at its first line, with exit code 1 and without a word."""
    if unheard == "full" and not Path("/dev/full").exists():
        pytest.skip("needs a device that takes nothing")
    topics, port = Topics.called("unheard"), free_port()
    topics.create(bootstrap)
    send(bootstrap, topics.source, [(b"key", value) for value in payloads(frame_of(COUNT, 5))])
    path = tmp_path / "scorer.yaml"
    write_settings(path, bootstrap, topics, cards.path, http={"listen": f"127.0.0.1:{port}"})
    scorer = begin(unheard, path)
    progress, deadline = Progress(bootstrap, topics), time.monotonic() + PATIENCE
    try:
        while not (ready(port) and progress() == COUNT):
            assert scorer.poll() is None, f"ended with {scorer.returncode}"
            assert time.monotonic() < deadline
            time.sleep(0.1)
        scorer.terminate()
        assert scorer.wait(30) == 0
    finally:
        scorer.kill()
        progress.close()
