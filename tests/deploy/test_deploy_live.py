"""Every panel and rule finds data in a real Prometheus that scrapes the scorer's own telemetry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from deploy_live import evaluate_all, running_prometheus

from scorer.errors import Reason, Stage
from scorer.records import Partition
from scorer.telemetry import facts as f
from scorer.telemetry.health import Health
from scorer.telemetry.http import HttpServer
from scorer.telemetry.metrics import Metrics

TOPICS = ("payments", "payouts")
PARTITIONS = tuple(Partition(topic, number) for topic in TOPICS for number in range(2))
DEADLINE = 60.0


def beginning() -> list[f.Fact]:
    """The facts of a start, until the partitions are assigned."""
    bands = {"review": 0.6, "block": 0.92}
    return [
        f.ServiceStarted("card-scorer", "0", "exactly-once", TOPICS, {"scorer": "0.1.0"}),
        *(f.BundleLoaded(topic, "card-fraud", "7", "ab12", "9f31c2", bands, "approve") for topic in TOPICS),
        f.PartitionsAssigned(PARTITIONS),
    ]


def work() -> Iterator[list[f.Fact]]:
    """Without end, the facts of one micro-batch a topic: every decision, one dead letter, and a lag that moves."""
    rng = np.random.default_rng(7)
    for turn in count():
        batches = [
            f.BatchSettled(
                topic=topic,
                events=65,
                decisions={"approve": 60, "review": 3, "block": 1},
                dead_letters={Reason.MALFORMED: 1},
                stages={stage: rng.uniform(0.0005, 0.005) for stage in Stage},
                scores=rng.beta(0.5, 5.0, 64).astype(np.float32),
                ages=rng.exponential(0.02, 65),
            )
            for topic in TOPICS
        ]
        yield [*batches, f.LagMeasured(dict.fromkeys(PARTITIONS, 10 + turn % 5))]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(clock=time.time)


@pytest.fixture
def target(metrics: Metrics) -> Iterator[str]:
    """Give host:port of a page that serves the metrics."""
    health = Health(TOPICS, max_silence=60.0, clock=time.monotonic)
    server = HttpServer("127.0.0.1:0", metrics.registry, health, clock=time.monotonic)
    yield f"127.0.0.1:{server.port}"
    server.close()


def failures_now(url: str) -> list[str]:
    """Return what does not work, which is everything until Prometheus answers."""
    try:
        return evaluate_all(url)
    except URLError as error:
        return [f"Prometheus does not answer: {error}"]


def names(failures: list[str], where: str) -> bool:
    """Return whether something at that place fails, or Prometheus is not there at all."""
    return any(line.startswith(("Prometheus", f"{where}: ")) for line in failures)


def test_every_panel_and_rule_has_data(metrics: Metrics, target: str, tmp_path: Path) -> None:
    """A scorer that works fills every panel, every side of every alert's comparison, and every variable."""
    for fact in beginning():
        metrics.hear(fact)
    with running_prometheus(target, tmp_path) as url:
        end = time.monotonic() + DEADLINE
        for facts in work():
            for fact in facts:
                metrics.hear(fact)
            failures = failures_now(url)
            if not failures or time.monotonic() > end:
                break
            # Prometheus lives in real time, and scrapes every second.
            time.sleep(0.5)
    assert not failures, "\n".join(failures)


def test_what_is_not_there_is_reported(metrics: Metrics, target: str, tmp_path: Path) -> None:
    """A scorer that has loaded no bundle leaves panels without data, and each is named."""
    metrics.hear(beginning()[0])
    with running_prometheus(target, tmp_path) as url:
        end = time.monotonic() + DEADLINE
        failures = failures_now(url)
        # Two scrapes make a rate: what does not need a bundle has data then.
        while names(failures, "scorer.json: Broker troubles") and time.monotonic() < end:
            time.sleep(0.5)
            failures = failures_now(url)
    assert not names(failures, "scorer.json: Broker troubles"), "\n".join(failures)
    assert names(failures, "scorer.json: variable topic")
    assert names(failures, "scorer.json: Scores")
    assert names(failures, "rules.yml: ScorerEventsLate")
