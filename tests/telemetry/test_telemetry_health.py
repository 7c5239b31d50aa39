"""The promises of liveness and readiness, and of telling."""

from __future__ import annotations

import logging

import pytest
from telemetry_story import FIRST, Clock, loaded, one_of_each

from scorer.telemetry import Telemetry
from scorer.telemetry import facts as f
from scorer.telemetry.health import Health


class Notebook:
    """A listener that keeps what it hears, or raises if told to."""

    def __init__(self, *, broken: bool = False) -> None:
        self.heard: list[f.Fact] = []
        self.broken = broken

    def hear(self, fact: f.Fact) -> None:
        """Keep a fact."""
        if self.broken:
            raise OSError("disk full")
        self.heard.append(fact)


def health(clock: Clock | None = None) -> Health:
    return Health(["payouts", "payments"], max_silence=60.0, clock=clock or Clock())


def test_silence_ends_life_and_a_beat_restores_it() -> None:
    """Alive is a last beat younger than the allowed silence, counted from birth; a late beat makes alive again."""
    clock = Clock(1000.0)
    subject = health(clock)

    clock.now = 1059.9
    assert subject.alive
    clock.now = 1060.0
    assert not subject.alive
    subject.beat()
    assert subject.alive
    clock.now = 1119.0
    assert subject.alive


def test_ready_needs_every_bundle_and_an_assignment() -> None:
    """A scorer is ready once the bundles of all its topics are verified and the group has spoken, in any order."""
    subject = health()
    verdicts = []
    for fact in (loaded("payments"), f.PartitionsAssigned(FIRST), loaded("payments"), loaded("payouts")):
        subject.hear(fact)
        verdicts.append(subject.ready)

    assert verdicts == [False, False, False, True]


def test_a_standby_without_partitions_is_ready() -> None:
    """One scorer more than there are partitions must not hold up a rolling deployment."""
    subject = health()
    for fact in (loaded("payments"), loaded("payouts"), f.PartitionsAssigned(())):
        subject.hear(fact)

    assert subject.ready


def test_a_broker_that_is_away_is_explained_and_no_verdict() -> None:
    """A restart mends no broker, so both verdicts stand; the explanation says for how long it has been awaited."""
    subject = health()
    for fact in (loaded("payments"), loaded("payouts"), f.PartitionsAssigned(FIRST)):
        subject.hear(fact)
    subject.hear(f.BrokerAwaited(12.5, 512))
    assert (subject.alive, subject.ready, subject.explain()["broker_awaited"]) == (True, True, 12.5)
    subject.hear(f.BrokerAnswered(14.0))
    assert subject.explain()["broker_awaited"] == 0.0


@pytest.mark.parametrize("end", [f.ServiceStopping("SIGTERM"), f.ServiceStopped(1, 1.0)])
def test_stopping_ends_readiness_for_good(end: f.Fact) -> None:
    """Once it stops, a scorer is alive but never ready again, whatever is still assigned to it."""
    subject = health()
    for fact in (loaded("payments"), loaded("payouts"), f.PartitionsAssigned(FIRST), end, f.PartitionsAssigned(FIRST)):
        subject.hear(fact)

    assert not subject.ready
    assert subject.alive


def test_a_rebalance_does_not_unready() -> None:
    """Revoked partitions, aborted batches and broker troubles are weather: they do not take a scorer out of service."""
    subject = health()
    for fact in (loaded("payments"), loaded("payouts"), f.PartitionsAssigned(FIRST)):
        subject.hear(fact)
    for weather in one_of_each():
        if not isinstance(weather, f.ServiceStopping | f.ServiceStopped):
            subject.hear(weather)

    assert subject.ready


def test_the_explanation_names_what_is_missing() -> None:
    """The JSON body says which topics wait, and how long the loop has been silent."""
    clock = Clock(1000.0)
    subject = health(clock)
    subject.hear(loaded("payments"))
    clock.now = 1061.5

    assert subject.explain() == {
        "alive": False,
        "ready": False,
        "silence": 61.5,
        "max_silence": 60.0,
        "unverified_topics": ["payouts"],
        "assigned": False,
        "broker_awaited": 0.0,
        "stopping": False,
    }


def test_telling_reaches_every_listener() -> None:
    """Health and all other listeners hear each fact once, in order; a beat reaches health."""
    clock = Clock(1000.0)
    subject, one, two = health(clock), Notebook(), Notebook()
    telemetry = Telemetry(subject, one, two)

    for fact in one_of_each():
        telemetry.tell(fact)
    clock.now = 2000.0
    telemetry.beat()

    assert one.heard == two.heard == one_of_each()[:3] + one.heard[3:]
    assert len(one.heard) == len(one_of_each())
    assert subject.alive
    assert subject.explain()["stopping"]


def test_a_broken_listener_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises costs neither the service nor the others a fact; it is reported once and counted."""
    sound = Notebook()
    telemetry = Telemetry(health(), Notebook(broken=True), sound)

    with caplog.at_level(logging.ERROR):
        for fact in one_of_each():
            telemetry.tell(fact)

    assert len(sound.heard) == len(one_of_each())
    assert telemetry.failures == {"Notebook": len(one_of_each())}
    (report,) = caplog.messages
    assert "Notebook" in report
    assert "disk full" in report
