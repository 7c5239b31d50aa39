"""The batcher: full at `max_events`, or `max_wait` seconds after the *first* event came. Times are plain numbers."""

# ruff: noqa: D102 - the methods of a state machine are its rules

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from service_story import places, records

from scorer.records import Records
from scorer.service.batcher import IDLE, LONGEST_POLL, MAX_BYTES, Batcher
from scorer.service.pace import Pace


def one(offset: int, topic: str = "t") -> tuple[Records, ...]:
    return (records(topic, (0, offset)),)


def batching(max_events: int, max_wait: float, *topics: str) -> Batcher:
    """Return a batcher that knows no cost: each topic may fill the batch."""
    return Batcher(Pace(dict.fromkeys(topics or "tab", max_events), max_events), max_wait)


def test_max_wait_does_not_run_from_the_last_event() -> None:
    """A slow trickle does not keep a batch open: events at 0, 4 and 8 s of a wait of 10 close it at 10, not at 18."""
    batcher = batching(100, 10.0)
    for offset, now in enumerate([0.0, 4.0, 8.0]):
        batcher.add(one(offset), now)
        assert not batcher.due(now)
    assert batcher.ask(8.0) == (97, LONGEST_POLL)
    assert not batcher.due(9.9)
    assert batcher.due(10.0)


def test_max_wait_does_not_run_from_when_collecting_began() -> None:
    """After an idle spell an event has its whole wait for company: asked since 0 s, come at 60, it leaves at 70."""
    batcher = batching(100, 10.0)
    for now in (0.0, 20.0, 40.0):
        assert batcher.ask(now) == (1, IDLE)
        batcher.add((), now)
        assert not batcher.due(now)
    batcher.add(one(0), 60.0)
    assert not batcher.due(60.0)
    batcher.ask(60.0)
    assert not batcher.due(69.9)
    assert batcher.due(70.0)


def test_max_wait_does_not_run_from_when_the_batch_object_was_made() -> None:
    """The wait begins anew with every batch's own first event, not where the batch before was taken."""
    batcher = batching(2, 10.0)
    batcher.add(one(0), 1.0)
    batcher.add(one(1), 2.0)
    assert batcher.due(2.0)
    assert batcher.take().first_seen == {"t": 1.0}
    batcher.add(one(2), 30.0)
    batcher.ask(30.0)
    assert not batcher.due(39.9)
    assert batcher.due(40.0)
    assert batcher.take().first_seen == {"t": 30.0}


def test_without_a_wait_what_is_there_comes_along() -> None:
    """A wait of 0 is no batch of one: once more is asked for, without waiting, and then the batch goes."""
    batcher = batching(100, 0.0)
    batcher.add(one(0), 1.0)
    assert not batcher.due(1.0)
    assert batcher.ask(1.0) == (99, 0.0)
    batcher.add(one(1), 1.0)
    assert batcher.due(1.0)
    assert len(batcher.take()) == 2


def test_a_long_wait_is_waited_in_pieces() -> None:
    """However long a batch may wait, the loop looks up now and then: somebody may want it to stop."""
    batcher = batching(100, 60.0)
    batcher.add(one(0), 0.0)
    assert batcher.ask(10.0) == (99, LONGEST_POLL)
    assert batcher.ask(59.9)[1] == pytest.approx(0.1)
    assert not batcher.due(59.9)


def test_an_empty_batch_is_never_due() -> None:
    """Without an event there is nothing to close, however late it is."""
    batcher = batching(1, 0.0)
    assert not batcher.due(1e9)
    batcher.add((), 1e9)
    assert not batcher.due(2e9)


def test_a_first_event_is_waited_for_alone() -> None:
    """While empty, one record is asked for: so that the poll ends with it, and its clock starts."""
    assert batching(4096, 0.005).ask(17.0) == (1, IDLE)


def test_an_overdue_batch_asks_without_waiting() -> None:
    """A wait is never negative, which a client would take for `for ever`."""
    batcher = batching(3, 1.0)
    batcher.add(one(0), 0.0)
    assert batcher.ask(5.0) == (2, 0.0)


def test_a_batch_holds_one_records_a_topic() -> None:
    """Hauls of several topics become one `Records` each, in the order consumed."""
    batcher = batching(10, 1.0)
    batcher.add((records("a", (0, 5)), records("b", (1, 0))), 0.0)
    batcher.add((records("b", (0, 3)), records("a", (0, 6), (1, 9))), 0.5)
    batch = batcher.take()
    assert len(batch) == 5
    assert [part.topic for part in batch.records] == ["a", "b"]
    assert places(batch.records) == [("a", 0, 5), ("a", 0, 6), ("a", 1, 9), ("b", 1, 0), ("b", 0, 3)]


def test_what_is_more_than_a_share_stays_in_hand() -> None:
    """A topic gives a batch its share, the rest leaves with the next ones, in order; meanwhile it is full."""
    batcher = Batcher(Pace({"slow": 2, "quick": 100}, 100), 1.0)
    batcher.add((records("slow", *((0, n) for n in range(5))), records("quick", (0, 0))), 0.0)
    assert batcher.due(0.0)
    assert batcher.full == {"slow"}
    taken = [places(batcher.take().records)]
    batcher.add((records("quick", (0, 1)),), 0.5)
    batch = batcher.take()
    assert batch.first_seen == {"slow": 0.0, "quick": 0.5}
    taken.append(places(batch.records))
    assert not batcher.full
    taken.append(places(batcher.take().records))
    assert taken == [
        [("slow", 0, 0), ("slow", 0, 1), ("quick", 0, 0)],
        [("slow", 0, 2), ("slow", 0, 3), ("quick", 0, 1)],
        [("slow", 0, 4)],
    ]
    assert len(batcher) == 0


def test_what_stays_in_hand_takes_no_place_from_the_others() -> None:
    """However much of a slow topic is left over, the batch still has room for what the others may bring."""
    batcher = Batcher(Pace({"slow": 2, "quick": 98}, 100), 1.0)
    batcher.add((records("slow", *((0, n) for n in range(90))),), 0.0)
    assert batcher.ask(5.0) == (98, 0.0)


def test_what_is_dropped_is_gone() -> None:
    """After a drop nothing is in hand, also nothing that a share had left over."""
    batcher = Batcher(Pace({"t": 2}, 100), 1.0)
    batcher.add((records("t", (0, 0), (0, 1), (0, 2)),), 0.0)
    batcher.take()
    assert batcher.drop() == 1
    assert not batcher.due(9.0)
    assert batcher.ask(9.0) == (1, IDLE)


def test_large_events_close_a_batch_by_their_bytes() -> None:
    """Memory is bounded whatever an event weighs: fewer are asked for, and enough bytes are enough events."""
    batcher = batching(4096, 60.0)
    megabyte = replace(records("t", (0, 0)), values=[b"x" * 1_000_000])
    batcher.add((megabyte,), 0.0)
    assert batcher.ask(0.0) == (MAX_BYTES // 1_000_000, LONGEST_POLL)
    while len(batcher) < MAX_BYTES / 1_000_000:
        assert not batcher.due(1.0)
        batcher.add((megabyte,), 1.0)
    assert batcher.due(1.0)
    assert batcher.full == {"t"}


class BatcherMachine(RuleBasedStateMachine):
    """A broker and a clock that do whatever they may, against what the batcher promises.

    The machine plays the loop: it polls for what the batcher asks, gets any number of records up to that after any
    time up to the timeout and somewhat beyond, and takes the batch where it is due, or where a rebalance wants it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.max_events, self.max_wait = 5, 1.0
        self.batcher = batching(self.max_events, self.max_wait)
        self.now = 0.0
        self.came: list[tuple[str, int, int]] = []
        self.held: list[tuple[str, int, int]] = []
        self.first: float | None = None

    @rule(share=st.lists(st.sampled_from("ab"), max_size=5), spent=st.floats(0, 1), late=st.sampled_from([0.0, 3.0]))
    def poll(self, share: list[str], spent: float, late: float) -> None:
        limit, timeout = self.batcher.ask(self.now)
        assert 1 <= limit <= self.max_events
        assert 0 <= timeout <= max(self.max_wait, IDLE) + 1e-9
        if self.first is not None:
            assert self.now + timeout <= max(self.first + self.max_wait, self.now) + 1e-9
        self.now += timeout * spent + late
        haul = []
        for topic in sorted(set(share[:limit])):
            start = sum(1 for name, _, _ in self.came if name == topic)
            haul.append(records(topic, *((0, start + n) for n in range(share[:limit].count(topic)))))
        new = places(haul)
        self.came += new
        self.held += new
        self.first = self.now if self.first is None and new else self.first
        self.batcher.add(tuple(haul), self.now)
        if self.batcher.due(self.now):
            self.take_it()

    @precondition(lambda self: self.held)
    @rule()
    def rebalance(self) -> None:
        self.take_it()

    def take_it(self) -> None:
        first, batch = self.first, self.batcher.take()
        assert 0 < len(batch) <= self.max_events
        assert min(batch.first_seen.values()) == first
        for topic in "ab":
            held = [place for place in self.held if place[0] == topic]
            assert [place for place in places(batch.records) if place[0] == topic] == held
        self.held, self.first = [], None

    @invariant()
    def nothing_is_held_beyond_its_time(self) -> None:
        assert len(self.batcher) == len(self.held) < self.max_events
        if self.first is not None:
            assert self.now < self.first + self.max_wait


TestBatcherMachine = BatcherMachine.TestCase
TestBatcherMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.lists(st.floats(0, 0.4), min_size=1, max_size=40), st.integers(1, 9))
def test_batches_are_the_stream_cut_into_pieces(gaps: list[float], max_events: int) -> None:
    """All batches put together are the stream: nothing lost, nothing twice, nothing out of order."""
    batcher, now, taken = batching(max_events, 1.0), 0.0, []
    for offset, gap in enumerate(gaps):
        now += gap
        if batcher.due(now):
            taken.append(batcher.take())
        batcher.add(one(offset), now)
        if batcher.due(now):
            taken.append(batcher.take())
    taken.append(batcher.take())
    assert all(len(batch) <= max_events for batch in taken)
    assert [place for batch in taken for place in places(batch.records)] == [("t", 0, n) for n in range(len(gaps))]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9)), min_size=1, max_size=30),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_shares_cut_each_topic_in_order(hauls: list[tuple[str, int]], a: int, b: int) -> None:
    """However much comes at once, each topic's batches put together are its stream, none larger than its share."""
    shares = {"a": a, "b": b}
    batcher, counts, taken = Batcher(Pace(shares, 100), 0.0), {"a": 0, "b": 0}, []
    for topic, count in hauls:
        start = counts[topic]
        counts[topic] += count
        batcher.add((records(topic, *((0, n) for n in range(start, start + count))),), 0.0)
        taken.append(batcher.take())
    while len(batcher):
        taken.append(batcher.take())
    for topic, share in shares.items():
        pieces = [[place for place in places(batch.records) if place[0] == topic] for batch in taken]
        assert max(map(len, pieces)) <= share
        assert [place for piece in pieces for place in piece] == [(topic, 0, n) for n in range(counts[topic])]
