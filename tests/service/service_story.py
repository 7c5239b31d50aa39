"""What the tests of the service share: records, a lane of three-line rooms, a clock that is set, and a whole life."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec
import numpy as np

from scorer.broker.memory import MemoryBroker, MemorySink, MemorySource
from scorer.broker.memory.cluster import Entry, Fate, Transaction
from scorer.encode import Encoder, Origin
from scorer.errors import Reason, Stage
from scorer.pipeline import Lane
from scorer.records import Bands, Columns, Inputs, Partition, Records, Rejection, Scores
from scorer.service.batcher import Batcher
from scorer.service.breaker import Breakers
from scorer.service.delivery import Aside, AtLeastOnce, ExactlyOnce, Renewals
from scorer.service.loop import Clocks, Service
from scorer.service.outage import Outage
from scorer.service.pace import Pace
from scorer.telemetry import Telemetry
from scorer.telemetry.facts import BatchSettled, Fact, RenewReason
from scorer.telemetry.health import Health

Infer: TypeAlias = Callable[[Inputs], tuple[Scores, list[Rejection]]]

GROUP = "group"
ROWS = 4
"""Rows of one call of the fake model."""
INPUTS = ("payments", "payouts")
TOPICS = {name: 2 for topic in INPUTS for name in (topic, f"{topic}.decisions", f"{topic}.dlq")}


class Clock:
    """A clock that stands until it is set; waiting sets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:  # noqa: D102
        return self.now

    def wait(self, seconds: float) -> None:  # noqa: D102
        self.now += seconds


class Cluster(MemoryBroker):
    """Two inputs of two partitions each, with first offsets; its clock moves where a poll waits."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(TOPICS, pause=self.clock.wait)
        self.establish(GROUP, *INPUTS)


def records(topic: str, *places: tuple[int, int]) -> Records:
    """Return records of (partition, offset), each with its place as its value."""
    values = [b"%s-%d-%d" % (topic.encode(), *place) for place in places]
    numbers, offsets = [place[0] for place in places], [place[1] for place in places]
    return Records.of(topic, numbers, offsets, [0] * len(places), values, values)


def decode(batch: Records) -> tuple[Columns, list[Rejection]]:
    """An event is a number in [0, 1): its score; what is none is rejected."""
    good = [(value or b"?")[:1].isdigit() for value in batch.values]
    bad = [Rejection(row, Stage.DECODE, Reason.MALFORMED, "", "") for row, fine in enumerate(good) if not fine]
    rows = np.flatnonzero(good)
    scores = np.array([float(batch.values[row] or b"") for row in rows.tolist()], np.float64)
    ids = [b'"%d"' % row for row in rows.tolist()]
    return Columns(rows, {"score": scores}, ids, np.zeros(len(rows), np.int64)), bad


def transform(columns: Columns) -> tuple[Inputs, list[Rejection]]:
    """Hand the scores on."""
    return Inputs(columns.rows, dict(columns.values)), []


def score(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
    """A model that says what it is told."""
    told = inputs.arrays["score"].astype(np.float32)
    return Scores(inputs.rows, told, np.zeros(len(told), np.float32)), []


def lane(topic: str, infer: Infer) -> Lane:
    """Return a lane of fake rooms with the real bands and the real encoder."""
    bands = Bands.of({"review": 0.5, "block": 0.9}, "approve")
    encoder = Encoder(
        Origin("card-fraud", "7", "ab12"),
        bands,
        group=GROUP,
        decisions=f"{topic}.decisions",
        dead_letters=f"{topic}.dlq",
        max_bytes=1_000_000,
    )
    return Lane(topic, decode, transform, infer, bands, encoder, ROWS)


def at_once(call: Callable[[], None]) -> Callable[[], None]:
    """Make a call before anything else happens, and give its outcome to whoever waits for it."""
    future: Future[None] = Future()
    try:
        future.set_result(call())
    except Exception as error:
        future.set_exception(error)
    return future.result


def at_last(call: Callable[[], None]) -> Callable[[], None]:
    """Make a call only when somebody waits for it."""
    return call


def fill(broker: MemoryBroker, count: int) -> set[str]:
    """Write that many events to every partition of every input, each fifth one broken; return their coordinates."""
    for topic in INPUTS:
        for number, offset in ((number, offset) for offset in range(count) for number in range(2)):
            value = b"broken" if offset % 5 == 4 else b"0.%d" % (offset % 10)
            broker.produce(Partition(topic, number), value, key=b"%d" % offset)
    return {f"{topic}-{number}-{offset}" for topic in INPUTS for number in range(2) for offset in range(count)}


def abort_more(broker: MemoryBroker) -> None:
    """Write an event to every partition of every input in a transaction that is aborted."""
    transaction = Transaction()
    for topic in INPUTS:
        for number in range(2):
            broker.append(topic, Entry(b"k", b"0.9", transaction=transaction), number)
    broker.end(transaction, Fate.ABORTED)


def behind(broker: MemoryBroker) -> int:
    """Return how many places of the inputs' logs lie behind the committed offsets, records or not."""
    committed = broker.groups[GROUP].committed
    return sum(len(log.entries) - committed[at] for at, log in broker.logs.items() if at.topic in INPUTS)


def answered(broker: MemoryBroker) -> Counter[str]:
    """Return how often a `read_committed` consumer finds each input event decided or dead-lettered."""
    found: Counter[str] = Counter()
    for topic in INPUTS:
        for _, value, _ in broker.read_committed(f"{topic}.decisions"):
            found[msgspec.json.decode(value or b"")["decision_id"]] += 1
        for _, _, headers in broker.read_committed(f"{topic}.dlq"):
            origin = [(content or b"").decode() for name, content in headers if name.startswith("__dlq.errors.")][:3]
            found["-".join(origin)] += 1
    return found


@dataclass
class Listener:
    """Hears facts, and notes how many events were committed when it heard of each settled batch."""

    broker: MemoryBroker
    facts: list[Fact] = field(default_factory=list)
    committed_when_told: list[int] = field(default_factory=list)

    def hear(self, fact: Fact) -> None:  # noqa: D102
        self.facts.append(fact)
        if isinstance(fact, BatchSettled):
            self.committed_when_told.append(count_answered(self.broker))

    def told(self, kind: type[Fact]) -> list[Fact]:
        """Return the facts of a kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def settled(self) -> list[int]:
        """The sizes of the batches that were told as settled."""
        return [fact.events for fact in self.facts if isinstance(fact, BatchSettled)]


class Life:
    """One run of the service: its own sink, member and producer; a crash drops it without a word."""

    def __init__(
        self,
        broker: Cluster,
        listener: Listener,
        *,
        instance: str = "0",
        max_events: int = 7,
        exactly_once: bool = True,
        stopping: Callable[[], bool] = lambda: False,
        infer: Infer | None = None,
        infers: Mapping[str, Infer] | None = None,
        limits: Mapping[str, float] | None = None,
        aside: Aside | None = None,
    ) -> None:
        clock = broker.clock
        self.broker = broker
        self.renewed: list[RenewReason] = []
        self.sink = MemorySink(broker, GROUP, f"{GROUP}-{instance}" if exactly_once else None)
        self.source = MemorySource(broker, GROUP, INPUTS)
        telemetry = Telemetry(Health(INPUTS, max_silence=300.0, clock=clock), listener)
        self.outage = Outage(telemetry.tell, clock)
        renewals = Renewals(self.sink, self.renewed.append, hurried=lambda _: stopping())
        beside = aside or at_once
        once = ExactlyOnce(self.sink, renewals, beside, hurried=lambda _: stopping())
        pace = Pace(dict.fromkeys(INPUTS, ROWS), max_events)
        self.service = Service(
            source=self.source,
            delivery=once if exactly_once else AtLeastOnce(self.sink, self.source, renewals, beside),
            lanes={topic: lane(topic, (infers or {}).get(topic, infer or score)) for topic in INPUTS},
            pace=pace,
            batcher=Batcher(pace, 0.005),
            breakers=Breakers(limits or {}),
            outage=self.outage,
            telemetry=telemetry,
            stopping=stopping,
            watch=lambda: None,
            clocks=Clocks(clock, clock, clock.wait),
        )

    def crash(self) -> None:
        """End as kill -9 does, and let the session run out: the sink's transaction stays open."""
        self.broker.evict(GROUP, self.source.member)


def places(batch: Iterable[Records]) -> list[tuple[str, int, int]]:
    """Return topic, partition and offset of every record."""
    return [(part.topic, *place) for part in batch for place in zip(part.partitions, part.offsets, strict=True)]


def count_answered(broker: MemoryBroker) -> int:
    """Return how many answers a `read_committed` consumer finds."""
    return sum(len(broker.read_committed(f"{topic}.{end}")) for topic in INPUTS for end in ("decisions", "dlq"))


def counted(counts: Counter[str], expected: Sequence[str] | set[str]) -> dict[str, int]:
    """Return the events that are not answered exactly once, and how often they are."""
    return {name: counts[name] for name in {*counts, *expected} if counts[name] != 1 or name not in expected}
