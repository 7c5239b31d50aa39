"""An outage is told while it lasts, and once that it is over."""

from __future__ import annotations

from service_story import Clock

from scorer.broker.contract import Fault, Verdict
from scorer.service.outage import Outage
from scorer.telemetry.facts import BrokerAnswered, BrokerAwaited, BrokerTrouble, Client, Fact

SILENT = Fault(Verdict.RETRY, "_TIMED_OUT", "no answer yet")


def test_an_outage_is_told_while_it_lasts() -> None:
    """Each try without an answer tells for how long now; the answer ends it, once; and the next begins at zero."""
    clock, told = Clock(), list[Fact]()
    outage = Outage(told.append, clock)
    outage.over()
    assert told == []
    for _ in range(2):
        outage.lasts(Client.PRODUCER, SILENT)
        clock.wait(8.0)
        outage.lasts(Client.CONSUMER, SILENT)
        clock.wait(2.0)
        outage.over()
        outage.over()
        clock.wait(100.0)
    trouble = [BrokerTrouble(client, "_TIMED_OUT", str(SILENT)) for client in (Client.PRODUCER, Client.CONSUMER)]
    once = [
        *(trouble[0], BrokerAwaited(Client.PRODUCER, 0.0)),
        *(trouble[1], BrokerAwaited(Client.CONSUMER, 8.0)),
        BrokerAnswered(10.0),
    ]
    assert told == once * 2
