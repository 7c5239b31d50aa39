"""An outage is told while it lasts, and once that it is over."""

from __future__ import annotations

from service_story import Clock

from scorer.service.outage import PATIENCE, Outage
from scorer.telemetry.facts import BrokerAnswered, BrokerAwaited, Fact


def test_an_outage_is_told_while_it_lasts() -> None:
    """Each look at a long wait tells for how long now; the answer ends it, once; and the next begins at zero."""
    clock, told = Clock(), list[Fact]()
    outage = Outage(told.append, clock)
    for _ in range(2):
        outage.begin(7)
        for _ in range(2):
            clock.wait(PATIENCE)
            outage.begin(8)
            outage.look()
        clock.wait(1.0)
        for _ in range(2):
            outage.over()
            outage.look()
        clock.wait(100.0)
    once = [BrokerAwaited(PATIENCE, 7), BrokerAwaited(2 * PATIENCE, 7), BrokerAnswered(2 * PATIENCE + 1)]
    assert told == once * 2


def test_a_short_wait_is_not_told() -> None:
    """Every batch waits for its commit: that is no outage."""
    clock, told = Clock(), list[Fact]()
    outage = Outage(told.append, clock)
    for _ in range(10):
        outage.begin(7)
        clock.wait(PATIENCE - 0.1)
        outage.look()
        outage.over()
    assert told == []
