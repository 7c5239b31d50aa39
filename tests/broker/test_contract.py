"""The promises of `scorer.broker.contract`, asked of the memory broker and of a real Kafka alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from contract_worlds import KafkaWorld, MemoryWorld, World, gather, join, next_offsets, rows, until

from scorer.broker.contract import Change, Fault, Verdict
from scorer.errors import OffsetLostError
from scorer.records import Letter, Outgoing, Partition

HEADERS = [("trace", b"00-ab"), ("trace", b""), ("empty", None)]


@pytest.fixture(params=["memory", "kafka"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Give each of the two worlds, without any committed offset."""
    if request.param == "memory":
        yield MemoryWorld()
        return
    with ExitStack() as stack:
        yield KafkaWorld(request.getfixturevalue("bootstrap"), stack)


def decided(world: World, *values: bytes, letters: tuple[bytes, ...] = ()) -> Outgoing:
    """Return decisions with their values as keys, and dead letters."""
    dead = [Letter(value, value, HEADERS, 1_542_672_000_000) for value in letters]
    return Outgoing(world.decisions, values, values, world.letters, dead)


def visible(world: World, *, settled: bool = True) -> tuple[set[bytes | None], set[bytes | None]]:
    """Return the values of decisions and dead letters that a `read_committed` consumer sees, none of them twice."""
    topics = (world.decisions, world.letters)
    found = [[value for _, value, _ in world.read(topic, settled=settled)] for topic in topics]
    assert all(len(values) == len(set(values)) for values in found), found
    return set(found[0]), set(found[1])


def test_poll_returns_at_its_limit(world: World) -> None:
    """A poll ends as soon as it has as much as it asked for, records and ends of partitions, and brings no more."""
    world.establish()
    source = world.source()
    join(source)
    world.produce(b"a", b"b", b"c", b"d", b"e")
    started = world.now()
    haul = source.poll(3, 30.0)
    assert rows(haul) == [(0, 0, b"a"), (0, 1, b"b"), (0, 2, b"c")][: 3 - len(haul.ends)]
    assert world.now() - started < 30.0


def test_poll_returns_at_its_timeout(world: World) -> None:
    """A poll that gets less than it asked for ends when its time is over, with what there is."""
    world.establish()
    source = world.source()
    join(source)
    world.produce(b"a", b"b")
    started = world.now()
    haul = source.poll(100, 1.5)
    assert rows(haul) == [(0, 0, b"a"), (0, 1, b"b")]
    assert 1.4 < world.now() - started < 10.0


def test_records_come_through_whole(world: World) -> None:
    """A record's partition, offset, key, value, timestamp and headers are what was written; null is not empty."""
    world.establish()
    source = world.source()
    join(source)
    world.produce(b"first", key=b"k", headers=HEADERS, timestamp=1_500_000_000_123, partition=1)
    world.produce(b"", key=b"", partition=1)
    world.produce(None, partition=1)
    records = gather(source, 3)
    assert records.topic == world.input
    assert list(records.partitions) == [1, 1, 1]
    assert list(records.offsets) == [0, 1, 2]
    assert list(records.keys) == [b"k", b"", None]
    assert list(records.values) == [b"first", b"", None]
    assert records.timestamps[0] == 1_500_000_000_123
    assert list(records.headers(0)) == HEADERS
    assert list(records.headers(1)) == []


def test_headers_that_are_not_text_cost_nothing_until_asked_for(world: World) -> None:
    """A header name that is no UTF-8 raises UnicodeDecodeError from `headers(row)`, and from nothing before that."""
    world.establish()
    world.produce_unreadable_header()
    world.produce(b"next", headers=HEADERS)
    records = gather(world.source(), 2)
    assert list(records.values) == [b"value", b"next"]
    assert list(records.headers(1)) == HEADERS
    with pytest.raises(UnicodeDecodeError):
        records.headers(0)


def test_a_partition_keeps_its_order(world: World) -> None:
    """However polls cut the stream, each partition's records come in offset order, without gap or repeat."""
    world.establish()
    for number in range(count := 25):
        world.produce(b"%d" % number, partition=0)
        world.produce(b"%d" % number, partition=1)
    source = world.source()
    parts = [gather(source, size) for size in (1, 7, 2, 30, 10)]
    got = rows(*parts)
    for partition in (0, 1):
        mine = [(offset, value) for number, offset, value in got if number == partition]
        assert mine == [(number, b"%d" % number) for number in range(count)]


def test_a_held_topic_brings_nothing_until_it_is_let_go(world: World) -> None:
    """What is held stays where it is, whatever else happens: let go, it goes on with the next record, none missed."""
    world.establish()
    source = world.source()
    join(source)
    world.produce(*[b"%d" % n for n in range(6)])
    assert list(gather(source, 2).values) == [b"0", b"1"]
    source.hold(frozenset({world.input}))
    for _ in range(5):
        assert not rows(source.poll(10, 0.2))
    source.hold(frozenset({world.input, "another"}))
    assert not rows(source.poll(10, 0.2))
    source.hold(frozenset())
    assert list(gather(source, 4).values) == [b"2", b"3", b"4", b"5"]


def test_a_held_topic_can_be_rewound(world: World) -> None:
    """Going back to the committed offsets counts for what is held too, from the moment it is let go."""
    world.establish()
    source = world.source()
    join(source)
    world.produce(b"a", b"b", b"c")
    gather(source, 2)
    source.hold(frozenset({world.input}))
    assert source.rewind() == next_offsets(world, 0, 0)
    assert not rows(source.poll(10, 0.5))
    source.hold(frozenset())
    assert list(gather(source, 3).values) == [b"a", b"b", b"c"]


def test_a_topic_stays_held_through_a_rebalance(world: World) -> None:
    """Partitions that come, go and come back while their topic is held bring nothing; let go, all of it."""
    world.establish()
    first = world.source("0")
    join(first)
    first.hold(frozenset({world.input}))
    second = world.source("1")
    second.hold(frozenset({world.input}))
    until(lambda: bool(second.poll(1, 0.05).rebalances), first)
    world.produce(b"a", b"b", b"c")
    for _ in range(10):
        assert not rows(first.poll(10, 0.05), second.poll(10, 0.05))
    second.close()
    until(lambda: set(first.rewind()) == set(next_offsets(world, 0, 0)), first)
    assert not rows(*(first.poll(10, 0.1) for _ in range(5)))
    first.hold(frozenset())
    assert list(gather(first, 3).values) == [b"a", b"b", b"c"]


def test_commit_is_all_or_nothing(world: World) -> None:
    """Decisions, dead letters and offsets of a transaction are invisible before its commit, and final after it."""
    world.establish()
    world.produce(b"a", b"b")
    sink, source = world.sink(), world.source()
    records = gather(source, 2)
    sink.begin()
    sink.publish(decided(world, b"a", letters=(b"b",)))
    assert visible(world, settled=False) == (set(), set())
    sink.commit(records.next_offsets(), source.membership(), 8.0)
    assert visible(world) == ({b"a"}, {b"b"})
    assert source.rewind()[Partition(world.input, 0)] == 2
    assert sink.suspect is None


def test_what_is_published_is_what_was_given(world: World) -> None:
    """Keys, values and headers reach the topics byte for byte; null is not empty."""
    world.establish()
    sink, source = world.sink(), world.source()
    join(source)
    letters = [Letter(None, b"", HEADERS, 0), Letter(b"", None, [], 1_500_000_000_123)]
    sink.begin()
    sink.publish(Outgoing(world.decisions, [None, b"", b"k"], [b"1", b"2", b"3"], world.letters, letters))
    sink.commit(next_offsets(world, 0), source.membership(), 8.0)
    assert sorted(world.read(world.decisions), key=str) == sorted(
        [(None, b"1", []), (b"", b"2", []), (b"k", b"3", [])], key=str
    )
    assert sorted(world.read(world.letters), key=str) == sorted([(None, b"", HEADERS), (b"", None, [])], key=str)


def test_decisions_may_have_headers(world: World) -> None:
    """Each its own, byte for byte, in the order given; they are as much of the transaction as those without."""
    world.establish()
    sink, source = world.sink(), world.source()
    join(source)
    headers = [[("ce_id", b"a-0-1"), ("content-type", b"application/json")], [("ce_id", b"")]]
    sink.begin()
    sink.publish(Outgoing(world.decisions, [b"k", None], [b"1", b"2"], world.letters, headers=headers))
    sink.commit(next_offsets(world, 0), source.membership(), 8.0)
    found = sorted(world.read(world.decisions), key=str)
    assert found == sorted([(b"k", b"1", headers[0]), (None, b"2", headers[1])], key=str)
    sink.begin()
    sink.publish(Outgoing(world.decisions, [b"k"], [b"3"], world.letters, headers=headers[:1]))
    sink.abort(8.0)
    assert sorted(world.read(world.decisions), key=str) == found


def test_abort_leaves_nothing(world: World) -> None:
    """After an abort nothing of the transaction is ever visible, its offsets do not count, and the next one can."""
    world.establish()
    world.produce(b"a")
    sink, source = world.sink(), world.source()
    records = gather(source, 1)
    sink.begin()
    sink.publish(decided(world, b"dropped", letters=(b"dropped",)))
    sink.abort(8.0)
    assert source.rewind()[Partition(world.input, 0)] == 0
    sink.begin()
    sink.publish(decided(world, b"a"))
    sink.commit(records.next_offsets(), source.membership(), 8.0)
    assert visible(world) == ({b"a"}, set())


def test_rewind_reads_exactly_the_rest_again(world: World) -> None:
    """After a rewind come the records from the committed offsets on: none before, all after."""
    world.establish()
    world.produce(b"a", b"b", b"c", partition=0)
    world.produce(b"x", b"y", partition=1)
    sink, source = world.sink(), world.source()
    gather(source, 5)
    sink.begin()
    sink.commit(next_offsets(world, 2, 1), source.membership(), 8.0)
    assert source.rewind() == next_offsets(world, 2, 1)
    world.produce(b"z", partition=1)
    assert sorted(rows(gather(source, 3))) == [(0, 2, b"c"), (1, 1, b"y"), (1, 2, b"z")]
    assert rows(source.poll(1, 0.2)) == []


@pytest.mark.parametrize("pause", [0.0, 0.01, 0.05, 0.3])
def test_rewind_may_be_asked_for_right_after_an_assignment(world: World, pause: float) -> None:
    """A source that was just given its partitions can go back to the committed offsets: a rebalance asks for that."""
    world.establish()
    world.produce(b"a", b"b")
    source = world.source()
    while not any(rebalance.partitions for rebalance in source.poll(10, pause).rebalances):
        pass
    assert source.rewind() == next_offsets(world, 0, 0)
    assert rows(gather(source, 2)) == [(0, 0, b"a"), (0, 1, b"b")]


def test_a_stale_membership_is_refused(world: World) -> None:
    """Once the group has moved on, a batch's own membership commits nothing, though the source has joined anew."""
    world.establish()
    world.produce(b"a", partition=0)
    world.produce(b"b", partition=1)
    sink, source = world.sink(), world.source()
    records = gather(source, 2)
    membership, rival = source.membership(), world.source("1")
    theirs: list[Partition] = []

    def taken_over() -> bool:
        theirs.extend(p for each in rival.poll(1, 0.05).rebalances for p in each.partitions)
        return bool(theirs)

    until(taken_over, source)
    sink.begin()
    sink.publish(decided(world, b"a", b"b", letters=(b"c",)))
    with pytest.raises(Fault) as caught:
        sink.commit(records.next_offsets(), membership, 8.0)
    assert (caught.value.verdict, caught.value.fenced) == (Verdict.ABORT, False)
    sink.abort(8.0)
    assert visible(world) == (set(), set())
    assert set(source.rewind().values()) | set(rival.rewind().values()) == {0}


def test_a_second_sink_of_the_same_identity_fences_the_first(world: World) -> None:
    """Two producers of one identity cannot both commit: the first is told that it is fenced, and its work is gone."""
    world.establish()
    world.produce(b"a")
    source, first = world.source(), world.sink()
    records = gather(source, 1)
    first.begin()
    first.publish(decided(world, b"first"))
    second = world.sink()
    with pytest.raises(Fault) as caught:
        first.commit(records.next_offsets(), source.membership(), 8.0)
    assert (caught.value.verdict, caught.value.fenced) == (Verdict.RENEW, True)
    second.begin()
    second.publish(decided(world, b"second"))
    second.commit(records.next_offsets(), source.membership(), 8.0)
    assert visible(world) == ({b"second"}, set())
    first.close()
    assert visible(world) == ({b"second"}, set())


def test_renew_settles_what_was_open(world: World) -> None:
    """A renewed producer has dropped its predecessor's transaction: readers pass it at once, and it can begin anew."""
    world.establish()
    world.produce(b"a")
    sink, source = world.sink(), world.source()
    records = gather(source, 1)
    sink.begin()
    sink.publish(decided(world, b"dropped"))
    sink.renew()
    sink.begin()
    sink.publish(decided(world, b"a"))
    sink.commit(records.next_offsets(), source.membership(), 8.0)
    assert visible(world) == ({b"a"}, set())


def test_closing_a_sink_drops_what_is_open(world: World) -> None:
    """After `close` nothing of an open transaction becomes visible, and nobody waits for it."""
    world.establish()
    sink, source = world.sink(), world.source()
    join(source)
    sink.begin()
    sink.publish(decided(world, b"dropped"))
    sink.close()
    assert visible(world) == (set(), set())
    assert source.rewind() == next_offsets(world, 0, 0)


def test_flush_waits_for_acknowledgements(world: World) -> None:
    """At-least-once: after `flush` everything is there to be read, and the offsets can be committed."""
    world.establish()
    world.produce(b"a", b"b")
    sink, source = world.sink(transactional=False), world.source()
    records = gather(source, 2)
    sink.publish(decided(world, b"a", letters=(b"b",)))
    sink.flush(30.0)
    assert visible(world) == ({b"a"}, {b"b"})
    assert source.commit(records.next_offsets())
    assert source.rewind() == next_offsets(world, 2, 0)


def test_a_member_that_slept_too_long_commits_nothing(world: World) -> None:
    """What a member read before it was thrown out, it can commit neither in a transaction nor outside of one."""
    world.establish()
    world.produce(b"a", partition=0)
    world.produce(b"b", partition=1)
    sink, source = world.sink(), world.source(patience=6.0)
    records = gather(source, 2)
    membership, rival = source.membership(), world.source("1")
    assert sorted(rows(gather(rival, 2))) == [(0, 0, b"a"), (1, 0, b"b")]
    assert source.commit(records.next_offsets()) is False
    sink.begin()
    sink.publish(decided(world, b"a", b"b"))
    with pytest.raises(Fault) as caught:
        sink.commit(records.next_offsets(), membership, 8.0)
    assert caught.value.verdict is Verdict.ABORT
    sink.abort(8.0)
    assert visible(world) == (set(), set())
    assert rival.rewind() == next_offsets(world, 0, 0)


@pytest.mark.parametrize("where", ["decisions", "letters"])
@pytest.mark.parametrize("transactional", [True, False])
def test_an_oversize_record_is_a_fault(world: World, where: str, transactional: bool) -> None:
    """A record too large for the producer is a Fault that drops the batch, never a record less without a word."""
    world.establish()
    sink, source = world.sink(transactional=transactional), world.source()
    join(source)
    large = bytes(1_500_000)
    parcel = decided(world, b"a", large) if where == "decisions" else decided(world, b"a", letters=(b"b", large))
    if transactional:
        sink.begin()
    with pytest.raises(Fault) as caught:
        sink.publish(parcel)
    assert caught.value.verdict is Verdict.ABORT
    assert "MSG_SIZE_TOO_LARGE" in str(caught.value)
    if transactional:
        sink.abort(8.0)
        assert visible(world) == (set(), set())


def test_lag_counts_what_is_behind(world: World) -> None:
    """Lag is the number of records after the last one handed out, for each partition."""
    world.establish()
    source = world.source()
    join(source)
    world.produce(b"a", b"b", b"c", b"d", b"e")
    gather(source, 2)
    deadline = time.monotonic() + 10  # a client knows the end of a partition from its last fetch, ahead of what it gave
    while source.lag()[Partition(world.input, 0)] != 3:
        assert time.monotonic() < deadline
    gather(source, 3)
    assert source.lag()[Partition(world.input, 0)] == 0


def test_rewinding_puts_the_lag_back(world: World) -> None:
    """What will be read again is behind again."""
    world.establish()
    world.produce(b"a", b"b", b"c")
    source = world.source()
    gather(source, 3)
    source.rewind()
    assert source.lag()[Partition(world.input, 0)] == 3


def test_an_end_is_told_behind_the_last_record(world: World) -> None:
    """It lies behind what was aborted there too, so that it can be committed; and lag counts none of that."""
    world.establish()
    world.produce(b"a", b"b")
    sink = world.sink()
    sink.begin()
    sink.publish(Outgoing(world.input, (b"1", b"2", b"3"), (b"x", b"y", b"z"), world.letters))
    sink.flush(8.0)
    sink.abort(8.0)
    world.read(world.input)  # until the marks are there
    source = world.source()
    assert sorted(rows(gather(source, 2))) == [(0, 0, b"a"), (0, 1, b"b")]

    ends: dict[Partition, int] = {}
    deadline = time.monotonic() + 40
    while not ends or set(source.lag().values()) != {0} or len(source.lag()) < 2:
        assert time.monotonic() < deadline
        ends |= source.poll(1, 0.05).ends
    assert sum(ends.values()) > 2
    assert source.commit(ends)
    assert source.rewind() == {Partition(world.input, 0): 2, Partition(world.input, 1): 0} | ends


def test_no_end_is_told_before_the_records_that_lie_before_it(world: World) -> None:
    """Also where a way back made the client drop what it had: an end that is committed too soon would lose them."""
    world.establish()
    source = world.source()
    world.produce(b"a", b"b", b"c")
    for _ in range(5):
        seen, end = 0, None
        deadline = time.monotonic() + 40
        while end is None:
            assert time.monotonic() < deadline
            haul = source.poll(1, 0.05)
            seen += len(rows(haul))
            end = haul.ends.get(Partition(world.input, 0))
        assert (seen, end) == (3, 3)
        source.rewind()
        source.poll(2, 0.05)
        source.rewind()


def test_close_leaves_the_group(world: World) -> None:
    """When a member closes, another takes over at once: long before a session would be over."""
    world.establish()
    world.produce(b"a", partition=0)
    world.produce(b"b", partition=1)
    source = world.source()
    gather(source, 2)
    rival = world.source("1")
    source.close()
    started = world.now()
    assert sorted(rows(gather(rival, 2))) == [(0, 0, b"a"), (1, 0, b"b")]
    assert world.now() - started < 5.0


def test_rebalances_are_told_by_the_poll_that_lived_through_them(world: World) -> None:
    """A member hears what it was given, and what was taken when another joined; together they have everything."""
    world.establish()
    source = world.source()
    join(source)
    rival = world.source("1")
    mine = {Partition(world.input, 0), Partition(world.input, 1)}
    theirs: set[Partition] = set()
    heard: list[Change] = []

    def shared() -> bool:
        for each, hands in ((source, mine), (rival, theirs)):
            for rebalance in each.poll(1, 0.05).rebalances:
                heard.append(rebalance.change)
                given = rebalance.change is Change.ASSIGNED
                (hands.update if given else hands.difference_update)(rebalance.partitions)
        return len(mine) == len(theirs) == 1

    until(shared)
    assert mine | theirs == {Partition(world.input, 0), Partition(world.input, 1)}
    assert {Change.REVOKED, Change.ASSIGNED} <= set(heard)


def test_a_partition_without_a_committed_offset_stops_the_source(world: World) -> None:
    """Nothing is read from anywhere that nobody chose: the error names the partition, whose first record is there."""
    world.produce(b"a")
    source = world.source()
    with pytest.raises(OffsetLostError, match=rf"{world.input}-[01]\b"):
        gather(source, 1)


def test_a_committed_offset_that_retention_has_passed_stops_the_source(world: World) -> None:
    """Where the records at the committed offset are gone, the error names partition, committed and first offset."""
    world.establish()
    world.produce(b"a", b"b", b"c")
    world.delete_before(2)
    source = world.source()
    with pytest.raises(OffsetLostError, match=rf"{world.input}-0\b") as caught:
        gather(source, 1)
    assert "0 is committed" in str(caught.value)
    assert "records 2 to 2 exist" in str(caught.value) or "records from 2" in str(caught.value)
