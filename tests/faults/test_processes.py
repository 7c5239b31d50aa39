"""What can happen to a scorer's process: killed, stopped, ended, starved. Rows 1 to 5, 10 to 12, 14 and 16."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from bundles import Trained
from conftest import ROUNDS, Report
from failing import POINTS
from world import SESSION, Traffic, world

from scorer.broker.local import LocalBroker
from scorer.bundle import Bundle

pytestmark = pytest.mark.faults
FAILING = str(Path(__file__).with_name("failing.py"))


def test_killed_at_every_failpoint(
    broker: LocalBroker, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """`kill -9` at each point of a batch, round after round, under steady traffic: nothing lost, nothing twice."""
    draw = random.Random(7)
    with world(broker.bootstrap, directory, cards.path, "failpoints") as story:
        with Traffic(broker.bootstrap, story.topics.source, rate=1000):
            for number in range(ROUNDS):
                point = POINTS[number % len(POINTS)]
                scorer = story.start(program=(FAILING, point, str(draw.randrange(1, 40))))
                assert scorer.process.wait(story.patience) == -9, scorer.tail()
            story.start()
        story.await_settled()
        found = story.audit(trained)
    report(f"kill -9 at 6 failpoints, {ROUNDS} rounds", found, SESSION)
    assert found.clean, found.examples
