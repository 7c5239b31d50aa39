"""One service's life in facts: what the tests of the telemetry room tell."""

from __future__ import annotations

import numpy as np

from scorer.errors import Reason, Stage
from scorer.records import Partition
from scorer.telemetry import facts as f

BANDS = {"review": 0.6, "block": 0.92}
FIRST = (Partition("payments", 0), Partition("payments", 1))


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, now: float = 1_542_672_000.25) -> None:
        self.now = now

    def __call__(self) -> float:  # noqa: D102
        return self.now


def loaded(topic: str = "payments", version: str = "7", bands: dict[str, float] | None = None) -> f.BundleLoaded:
    return f.BundleLoaded(topic, "card-fraud", version, "ab12", "9f31c2", bands or BANDS, "approve")


def settled(
    scores: list[float],
    *,
    topic: str = "payments",
    dead: dict[Reason, int] | None = None,
    ages: list[float] | None = None,
    stages: dict[Stage, float] | None = None,
) -> f.BatchSettled:
    exact = np.array(scores, np.float32)
    edges = np.array(list(BANDS.values()), np.float32)
    names = np.array(["approve", *BANDS])[np.searchsorted(edges, exact, side="right")].tolist()
    events = len(scores) + sum((dead or {}).values())
    return f.BatchSettled(
        topic=topic,
        events=events,
        decisions={name: names.count(name) for name in set(names)},
        dead_letters=dead or {},
        stages=stages or {Stage.INFER: 0.002},
        scores=exact,
        ages=np.array([0.0] * events if ages is None else ages, np.float64),
    )


def one_of_each() -> list[f.Fact]:
    """Every kind of fact once, in the order of a life."""
    return [
        f.ServiceStarted("card-scorer", "0", "exactly-once", ("payments",), {"scorer": "0.1.0"}),
        loaded(),
        f.PartitionsAssigned(FIRST),
        settled([0.1, 0.95], dead={Reason.MALFORMED: 1}),
        f.LagMeasured(dict.fromkeys(FIRST, 5)),
        f.PartitionsStuck({FIRST[0]: 17}),
        f.BatchAborted(f.AbortReason.FAULT, 512),
        f.TopicStopped("payments", 0.5, 0.2, {Reason.MALFORMED: 256}),
        f.TopicResumed("payments"),
        f.ProducerRenewed(f.RenewReason.FENCED),
        f.BrokerTrouble(f.Client.CONSUMER, "_TRANSPORT", "broker down"),
        f.BrokerAwaited(8.0, 512),
        f.BrokerAnswered(9.5),
        f.ServiceStopping("SIGTERM"),
        f.PartitionsRevoked((FIRST[0],), lost=False),
        f.ServiceStopped(3, 12.5),
    ]
