"""What can happen to a scorer's process: killed, ended, starved, its clock moved. Rows 1 to 3, 10 to 12, 14 and 16."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundles import Trained
from conftest import ROUNDS, SMOKE, Report
from e2e_world import Progress, Scorer, wait_for
from failing import ACKNOWLEDGED_POINTS, CALLBACKS, POINTS
from world import DELIVERIES, SESSION, Traffic, World, ask, kept, says, world

from scorer.broker.local import LocalBroker
from scorer.bundle import Bundle

pytestmark = pytest.mark.faults
FAILING = str(Path(__file__).with_name("failing.py"))
RATE = 500
GRACE = 10.0
"""Seconds within which a scorer ends after SIGTERM."""
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
JUMPS = ("+1h", "-1h", "+0", "+400d")
WAITS = """
#include <errno.h>
#include <pthread.h>
#include <threads.h>
/* librdkafka waits with C11's name of the call, which libfaketime leaves alone: until then by the true clock. */
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    int code = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
    return code == 0 ? thrd_success : code == ETIMEDOUT ? thrd_timedout : thrd_error;
}
"""
STIR = 1.0
"""Seconds without an answer that a clock may cost."""
SPARE = 24 << 20
"""Bytes that a scorer may take beyond what it has when it is quiet: less than what it reads ahead."""
BOUND = 224 << 20
"""Bytes that a flood may take: 64 MB read ahead, 32 MB in hand, and copies of both on their way."""


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_killed_at_every_failpoint(  # noqa: PLR0917 - fixtures
    delivery: str, broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """`kill -9` at each point of a batch, round after round, under steady traffic: nothing lost, nothing twice.

    Each life settles what the one before it left open, because all have the same transactional id.
    """
    draw = random.Random(7)
    exact = delivery == DELIVERIES[0]
    points = POINTS if exact else ACKNOWLEDGED_POINTS
    rounds = ROUNDS if exact or not SMOKE else 2
    with world(broker.bootstrap, directory, cards.path, "failpoints", delivery=delivery) as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=1000):
            for number in range(rounds):
                point = points[(2 + number) % len(points)]
                # In every other life batches are full, so that each is committed while the next one is decided.
                small = {"max_events": 8} if number % 2 else {}
                scorer = story.start(program=(FAILING, "die", point, str(draw.randrange(1, 40))), batch=small)
                assert scorer.process.wait(story.patience) == -9, scorer.tail()
            story.start()
        story.await_settled()
        found = story.audit(trained)
    report(f"1 2 3 kill -9 at {len(points)} failpoints, {rounds} rounds, {delivery}", found, SESSION)
    kept(found, delivery)
    assert transactional_ids(story) == ([f"{story.topics.group}-0"] if exact else [])


def transactional_ids(story: World) -> list[str]:
    """Return the ids of all transactional producers that the group's scorers have had: ListTransactions, version 0."""
    answer = ask(story.bootstrap, 66, b"\0\1\1\0")  # in its flexible form: no tags; no filters by state or producer
    return sorted(set(re.findall(rf"{story.topics.group}[\w.-]*", answer.decode("latin-1"))))


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_terminated_at_random(  # noqa: PLR0917 - fixtures
    delivery: str, broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """SIGTERM at any time, while it loads or while it decides, ends a scorer with code 0 within 10 s."""
    draw = random.Random(10)
    rounds = ROUNDS if not SMOKE else {"exactly-once": 4, "at-least-once": 2}[delivery]
    took = []
    with world(broker.bootstrap, directory, cards.path, "terminated", delivery=delivery) as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=1000):
            for number in range(rounds):
                scorer = story.start()
                awaited = "bundle_loaded" if number % 4 == 3 else "partitions_assigned"
                wait_for(lambda: says(scorer, awaited), scorer, awaited)  # noqa: B023 - called at once
                time.sleep(draw.uniform(0.0, 1.0))
                code, seconds = scorer.terminate()
                assert code == 0, scorer.tail()
                took.append(seconds)
            story.start()
        story.await_settled()
        found = story.audit(trained)
    report(f"10 {rounds} SIGTERM, slowest {max(took):.1f} s, {delivery}", found, None)
    kept(found, delivery)
    assert max(took) < GRACE


def test_raising_callbacks(
    broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """Whatever raises inside the client, or in telemetry: a scorer goes on, or ends and is started again."""
    ends = {}
    with world(broker.bootstrap, directory, cards.path, "raising") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            for callback in CALLBACKS[:3] if SMOKE else CALLBACKS:
                rare = callback in CALLBACKS[3:]
                scorer = story.start(program=(FAILING, "raise", callback, "1" if rare else "30"))
                while scorer.process.poll() is None and not says(scorer, "partitions_assigned"):
                    time.sleep(0.05)
                if rare:
                    broker.kill()
                    broker.start()
                ends[callback] = outcome(story, traffic.sent + 3 * RATE)
                assert "raised on purpose" in scorer.log.read_text(encoding="utf-8"), callback
            story.start()
        story.await_settled()
        found = story.audit(trained)
    by_end = {end: ", ".join(name for name in ends if ends[name] == end) for end in ends.values()}
    report(f"11 12 raising {'; '.join(f'{names}: {end}' for end, names in by_end.items())}", found, None)
    kept(found)
    assert ends["listeners"] == "went on"


def outcome(story: World, goal: int) -> str:
    """Return how a scorer took its fault: it ended, or went on to settle so many records and is killed."""
    scorer = story.scorers[-1]
    progress = Progress(story.bootstrap, story.topics)
    deadline = time.monotonic() + story.patience
    while scorer.process.poll() is None and progress() < goal:
        assert time.monotonic() < deadline, f"neither ends nor goes on: {scorer.tail()}"
        time.sleep(0.05)
    progress.close()
    if scorer.process.poll() is None:
        scorer.kill()
        return "went on"
    assert scorer.process.returncode != 0, scorer.tail()
    return f"ended with {scorer.process.returncode}"


def test_memory_limit(broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report) -> None:
    """A flood of 200 kB events, and no memory for it: it ends, or not; without the limit the flood takes little."""
    flood = 800 if SMOKE else 3000
    with world(broker.bootstrap, directory, cards.path, "memory") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE):
            scorer = story.begin()
        pid, quiet = scorer.process.pid, memory(scorer, "VmRSS")
        limit = memory(scorer, "VmData") + SPARE
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))
        with Traffic(broker.bootstrap, story.topics.source, rate=0, padding=200_000) as big:
            big.send(flood)
        end = outcome(story, Progress(broker.bootstrap, story.topics).ends())
        with Traffic(broker.bootstrap, story.topics.source, rate=0, padding=200_000) as big:
            big.send(flood)
        scorer = story.start()
        story.await_settled()
        peak = memory(scorer, "VmHWM") - quiet
        found = story.audit(trained)
    report(f"14 memory limit: {end}; {flood * 2 // 5} MB of events take {peak >> 20} MB", found, None)
    kept(found)
    assert peak < BOUND


def memory(scorer: Scorer, name: str) -> int:
    """Return a figure of a process's memory, in bytes."""
    status = Path(f"/proc/{scorer.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"(?m)^{name}:\s+(\d+) kB$", status)
    assert found, status
    return int(found[1]) << 10


@pytest.fixture
def clock(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Give what sets the wall clock of processes that are started meanwhile; the monotonic one goes on."""
    compiler = shutil.which("cc")
    if not FAKETIME or compiler is None:
        assert os.environ.get("SCORER_REQUIRE_ALL") != "1", "libfaketime and a C compiler are needed"
        pytest.skip("libfaketime and a C compiler are needed")
    waits, told = directory / "waits", directory / "clock"
    waits.with_suffix(".c").write_text(WAITS, encoding="utf-8")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", f"{waits}.so", f"{waits}.c"], check=True)

    def jump(offset: str) -> None:
        told.with_suffix(".new").write_text(f"{offset}\n", encoding="utf-8")
        told.with_suffix(".new").rename(told)

    jump("+0")
    monkeypatch.setenv("LD_PRELOAD", f"{waits}.so {FAKETIME[0]}")
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(told))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    yield jump
    monkeypatch.undo()


def test_clock_jumps(  # noqa: PLR0917 - fixtures
    broker: LocalBroker,
    directory: Path,
    trained: Trained,
    cards: Bundle,
    report: Report,
    clock: Callable[[str], None],
) -> None:
    """The wall clock jumps by an hour and by 400 days, there and back: nobody's patience ends, nothing is dropped."""
    with world(broker.bootstrap, directory, cards.path, "clock") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=RATE) as traffic:
            scorer = story.begin()
            for jump in JUMPS:
                clock(jump)
                story.await_settled(traffic.sent + RATE)
        story.await_settled()
        code, _ = scorer.terminate()
        found = story.audit(trained)
    years = {line["ts"][:4] for line in scorer.events()}
    report(f"16 clock jumps {', '.join(JUMPS)}", found, STIR)
    kept(found)
    assert (code, len(years)) == (0, 2), years
    assert not says(scorer, "partitions_revoked")
