"""The service's one thread: poll, fill a batch, score it, deliver it, settle it; and again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from scorer.broker.contract import Change, Fault, Haul, Membership, Source, Verdict
from scorer.errors import BrokerError, Stage
from scorer.pipeline import Clock, Lane, Outcome, process
from scorer.records import Offsets, Partition, Records
from scorer.service.batcher import Batch, Batcher
from scorer.service.breaker import Breakers
from scorer.service.delivery import Delivery, Finish
from scorer.service.ledger import Ledger, covers
from scorer.service.outage import Outage
from scorer.service.pace import Pace
from scorer.telemetry import Telemetry
from scorer.telemetry.facts import (
    AbortReason,
    BatchAborted,
    BatchSettled,
    BrokerTrouble,
    Client,
    LagMeasured,
    PartitionsAssigned,
    PartitionsRevoked,
    PartitionsStuck,
    TopicResumed,
    TopicStopped,
)

LOOK_EVERY = 1.0
"""Seconds between two looks at the lag, and at what else may have changed around."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds to wait after a batch that did not go through; doubled each time in a row."""


@dataclass(frozen=True, slots=True)
class _Decided:
    """A batch that is decided, and not delivered yet."""

    events: int
    outcomes: Sequence[Outcome]
    offsets: Offsets
    membership: Membership


@dataclass(frozen=True, slots=True)
class Clocks:
    """Time as an argument: seconds that never go back, seconds since the epoch, and how to wait."""

    monotonic: Clock = time.monotonic
    wall: Clock = time.time
    pause: Callable[[float], object] = time.sleep


class Service:
    """Scores what `source` brings through the topics' lanes, until `stopping()`.

    `watch` is called now and then, and raises where the world is no longer the one that the service started in.

    The order of a batch is its safety: membership is taken with the batch, no poll happens while a transaction is
    open, the offsets are the last act, and whatever goes wrong leads back to the committed offsets. While a full batch
    is committed, the next one, polled before, is decided: the wait is used, and nothing of it leaves the process.
    """

    def __init__(
        self,
        *,
        source: Source,
        delivery: Delivery,
        lanes: Mapping[str, Lane],
        pace: Pace,
        batcher: Batcher,
        breakers: Breakers,
        outage: Outage,
        telemetry: Telemetry,
        stopping: Callable[[], bool],
        watch: Callable[[], None],
        clocks: Clocks | None = None,
    ) -> None:
        self._source = source
        self._delivery = delivery
        self._lanes = lanes
        self._pace = pace
        self._batcher = batcher
        self._breakers = breakers
        self._outage = outage
        self._telemetry = telemetry
        self._stopping = stopping
        self._watch = watch
        self._clocks = clocks or Clocks()
        self._ledger = Ledger()
        self._look_due = 0.0
        self._stuck: dict[Partition, int] = {}
        self._wait = FIRST_PAUSE
        self._decided: _Decided | None = None
        self.settled = 0

    def run(self) -> int:
        """Turn until `stopping()`; a batch that is being filled then is left for later. Return the events settled.

        Raises ScorerError for what an operator must mend.
        """
        while not self._stopping():
            self.turn()
        if self._in_hand:
            self._telemetry.tell(BatchAborted(AbortReason.STOPPING, self._in_hand))
        return self.settled

    def turn(self) -> None:
        """Poll once, and settle the batch if that closed it."""
        self._telemetry.beat()
        now = self._clocks.monotonic()
        self._source.hold(self._batcher.full | self._breakers.stopped(now))
        try:
            haul = self._source.poll(*self._batcher.ask(now, hurry=self._decided is not None))
        except Fault as fault:
            self._telemetry.tell(BrokerTrouble(Client.CONSUMER, fault.code, str(fault)))
            self._give_up(AbortReason.FAULT, self._in_hand)
            return
        now = self._clocks.monotonic()
        if haul.rebalances:
            self._rebalanced(haul)
        elif self._ledger.take(haul.records) is not None:
            self._give_up(AbortReason.REPEATED, self._in_hand)
        else:
            self._ledger.reach(haul.ends)
            self._batcher.add(haul.records, now)
            if self._batcher.due(now):
                self._decide(self._batcher.take())
            else:
                self._start()()
        if now >= self._look_due:
            self._look_due = now + LOOK_EVERY
            self._look_around()

    def _look_around(self) -> None:
        self._watch()
        self._pass_marks()
        self._delivery.serve()
        self._telemetry.tell(LagMeasured(self._source.lag()))
        stuck = self._source.stuck()
        if stuck != self._stuck:
            self._stuck = stuck
            self._telemetry.tell(PartitionsStuck(stuck))

    def _pass_marks(self) -> None:
        """Commit past transactions' marks behind the last record: no batch would, and retention may delete them."""
        passed = self._ledger.passed()
        if passed and self._source.commit(passed):
            self._ledger.settle(passed)

    def _rebalanced(self, haul: Haul) -> None:
        """No batch spans a rebalance: what is in hand may belong to somebody else now, and is read again."""
        for rebalance in haul.rebalances:
            if rebalance.change is Change.ASSIGNED:
                self._telemetry.tell(PartitionsAssigned(rebalance.partitions))
            else:
                self._ledger.forget(rebalance.partitions)
                self._telemetry.tell(PartitionsRevoked(rebalance.partitions, rebalance.change is Change.LOST))
        in_hand = self._in_hand
        if in_hand or haul.records or haul.ends:
            self._restart()
        if in_hand:
            self._telemetry.tell(BatchAborted(AbortReason.REBALANCE, in_hand))

    def _decide(self, batch: Batch) -> None:
        """Decide a batch while the one before it is delivered; unless more is waiting, deliver it too."""
        offsets = self._ledger.earn(batch.records)
        membership = self._source.membership()
        finish = self._start()
        try:
            outcomes = [self._score(records, batch.first_seen[records.topic]) for records in batch.records]
        finally:
            through = finish()
        if not through:
            self._telemetry.tell(BatchAborted(AbortReason.FAULT, len(batch)))
            return
        stopped = [outcome for outcome in outcomes if self._stops(outcome)]
        if stopped:
            self._give_up(AbortReason.DEAD_LETTERS, len(batch))
            return
        self._decided = _Decided(len(batch), outcomes, offsets, membership)
        if not batch.full:
            self._start()()

    def _start(self) -> Callable[[], bool]:
        """Begin to deliver what is decided, if anything is, and return what ends that.

        It says whether what was polled since is still to be used; if not, it was dropped, to be read again.
        """
        decided, self._decided = self._decided, None
        if decided is None:
            return lambda: True
        begun = self._clocks.monotonic()
        parcels = [outcome.outgoing for outcome in decided.outcomes]
        finish = self._delivery.start(parcels, decided.offsets, decided.membership)
        return partial(self._settle, decided, finish, self._clocks.monotonic() - begun)

    def _settle(self, decided: _Decided, finish: Finish, spent: float) -> bool:
        begun = self._clocks.monotonic()
        self._outage.begin(decided.events)
        final = finish()
        spent += self._clocks.monotonic() - begun
        through = bool(final)
        if not through and not self._stopping():
            self._clocks.pause(self._wait)
            self._wait = min(self._wait * 2, LONGEST_PAUSE)
            committed = self._restart()
            final = final is None and covers(committed, decided.offsets)
        if not final:
            self._telemetry.tell(BatchAborted(AbortReason.FAULT, decided.events))
            return through
        self._wait = FIRST_PAUSE
        self._outage.over()
        if through:
            self._ledger.settle(decided.offsets)
        self.settled += decided.events
        for outcome in decided.outcomes:
            self._tell(outcome, spent)
        return through

    def _score(self, records: Records, first_seen: float) -> Outcome:
        outcome = process(records, self._lanes[records.topic], self._clocks.monotonic, first_seen)
        self._pace.spent(records.topic, len(records), sum(outcome.stages.values()))
        return outcome

    def _stops(self, outcome: Outcome) -> bool:
        """Return whether a topic's dead letters are too many to go on with it."""
        topic, events, dead = outcome.records.topic, len(outcome.records), len(outcome.rejections)
        share = self._breakers.breach(topic, events, dead, self._clocks.monotonic())
        if share is None:
            return False
        reasons = Counter(rejection.reason for rejection in outcome.rejections)
        self._telemetry.tell(TopicStopped(topic, round(share, 4), self._breakers.limit(topic), reasons))
        return True

    @property
    def _in_hand(self) -> int:
        """How many events are in hand, decided or not."""
        return len(self._batcher) + (self._decided.events if self._decided else 0)

    def _give_up(self, reason: AbortReason, events: int) -> None:
        self._restart()
        self._telemetry.tell(BatchAborted(reason, events))

    def _restart(self) -> Offsets:
        """Start again from the committed offsets, and return them; waits for a broker that is away."""
        self._outage.begin(self._in_hand)
        self._decided = None
        self._batcher.drop()
        committed = self._rewound()
        while committed is None and not self._stopping():
            self._telemetry.beat()  # waiting for a broker is not being dead: a restart would not help
            self._clocks.pause(LONGEST_PAUSE)
            committed = self._rewound()
        committed = committed or {}
        self._ledger.restart(committed)
        return committed

    def _rewound(self) -> Offsets | None:
        try:
            committed = self._source.rewind()
        except Fault as fault:
            if fault.verdict is not Verdict.RETRY:
                raise BrokerError(str(fault)) from fault
            self._telemetry.tell(BrokerTrouble(Client.CONSUMER, fault.code, str(fault)))
            return None
        self._outage.over()
        return committed

    def _tell(self, outcome: Outcome, delivery: float) -> None:
        fact = self._fact(outcome, delivery)
        if self._breakers.settle(fact.topic, fact.events, len(outcome.rejections)):
            self._telemetry.tell(TopicResumed(fact.topic))
        self._telemetry.tell(fact)

    def _fact(self, outcome: Outcome, delivery: float) -> BatchSettled:
        names = self._lanes[outcome.records.topic].bands.names
        counts = np.bincount(outcome.decisions.band, minlength=len(names)).tolist()
        return BatchSettled(
            topic=outcome.records.topic,
            events=len(outcome.records),
            decisions=dict(zip(names, counts, strict=True)),
            dead_letters=Counter(rejection.reason for rejection in outcome.rejections),
            stages={**outcome.stages, Stage.PUBLISH: delivery},
            scores=outcome.decisions.scores.score,
            ages=self._clocks.wall() - outcome.records.timestamps / 1000,
        )
