"""The ledger: a batch earns its own last offsets + 1, and what came before is not decided again."""

# ruff: noqa: D102 - the methods of a state machine are its rules

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from service_story import records

from scorer.records import Offsets, Partition, Records
from scorer.service.ledger import Ledger, covers

PARTITIONS = [Partition(topic, number) for topic in "ab" for number in (0, 1)]


def parts(places: list[tuple[Partition, int]]) -> tuple[Records, ...]:
    """Return records of partitions and offsets, one `Records` a topic."""
    by_topic: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for partition, offset in places:
        by_topic[partition.topic].append((partition.number, offset))
    return tuple(records(topic, *found) for topic, found in by_topic.items())


def stream(choices: list[tuple[Partition, int]]) -> list[tuple[Partition, int]]:
    """Return a stream in which each partition's offsets ascend, with gaps as transaction markers leave them."""
    at: dict[Partition, int] = defaultdict(int)
    places = []
    for partition, gap in choices:
        at[partition] += gap
        places.append((partition, at[partition]))
        at[partition] += 1
    return places


STREAMS = st.lists(st.tuples(st.sampled_from(PARTITIONS), st.integers(0, 3)), min_size=1, max_size=40).map(stream)


@given(STREAMS, st.lists(st.integers(0, 40), max_size=8))
def test_offsets_earned_are_the_last_ones_plus_one(places: list[tuple[Partition, int]], cuts: list[int]) -> None:
    """However a stream is cut into batches, each batch earns last + 1 of its own partitions, and no other's."""
    ledger = Ledger()
    for start, end in pairwise(sorted({0, len(places), *(cut for cut in cuts if cut < len(places))})):
        batch = places[start:end]
        earned = ledger.earn(parts(batch))
        assert earned == {partition: offset + 1 for partition, offset in batch}
        assert ledger.take(parts(batch)) is None
    assert ledger.earn(()) == {}


@given(STREAMS, st.data())
def test_a_record_that_came_before_is_known_again(places: list[tuple[Partition, int]], data: st.DataObject) -> None:
    """Any record that came before, anywhere in what comes later, is found, and its partition is named."""
    ledger = Ledger()
    assert ledger.take(parts(places)) is None
    again, offset = data.draw(st.sampled_from(places))
    ends = ledger.earn(parts(places))
    later = [(partition, end + 7) for partition, end in ends.items() if partition != again]
    assert ledger.take(parts([*later, (again, offset), (again, ends[again] + 7)])) == again


def test_earning_moves_nothing() -> None:
    """What a batch earns may be asked as often as one likes."""
    ledger = Ledger()
    batch = parts([(PARTITIONS[0], 5)])
    ledger.earn(batch)
    assert ledger.take(batch) is None


def test_forgotten_partitions_may_come_back() -> None:
    """A partition that was taken away is somebody else's: wherever it starts when it returns is right."""
    ledger = Ledger()
    ledger.restart({PARTITIONS[0]: 10, PARTITIONS[1]: 10})
    ledger.forget([PARTITIONS[0], PARTITIONS[3]])
    assert ledger.take(parts([(PARTITIONS[0], 3)])) is None
    assert ledger.take(parts([(PARTITIONS[1], 3)])) == PARTITIONS[1]


def test_a_restart_takes_the_brokers_word() -> None:
    """After a restart only the committed offsets count, whether they are behind or ahead of what came before."""
    ledger = Ledger()
    ledger.take(parts([(PARTITIONS[0], 9), (PARTITIONS[1], 9)]))
    committed = {PARTITIONS[0]: 4, PARTITIONS[1]: 20}
    ledger.restart(committed)
    committed[PARTITIONS[0]] = 99
    assert ledger.take(parts([(PARTITIONS[0], 3)])) == PARTITIONS[0]
    assert ledger.take(parts([(PARTITIONS[1], 19)])) == PARTITIONS[1]
    assert ledger.take(parts([(PARTITIONS[0], 4), (PARTITIONS[1], 20)])) is None


def test_covered_is_every_partition_or_none() -> None:
    """A commit happened if every one of its partitions is committed that far; a missing one is not."""
    offsets = {PARTITIONS[0]: 5, PARTITIONS[1]: 7}
    assert covers({PARTITIONS[0]: 5, PARTITIONS[1]: 7, PARTITIONS[2]: 0}, offsets)
    assert not covers({PARTITIONS[0]: 5, PARTITIONS[1]: 6}, offsets)
    assert not covers({PARTITIONS[0]: 5}, offsets)


class LedgerMachine(RuleBasedStateMachine):
    """Every input in every state, against the plain ends of what came."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.ends: Offsets = {}

    @rule(partition=st.sampled_from(PARTITIONS), offset=st.integers(0, 30), count=st.integers(1, 5))
    def take(self, partition: Partition, offset: int, count: int) -> None:
        repeated = self.ledger.take(parts([(partition, offset + n) for n in range(count)]))
        assert repeated == (partition if offset < self.ends.get(partition, 0) else None)
        if repeated is None:
            self.ends[partition] = offset + count

    @rule(gone=st.lists(st.sampled_from(PARTITIONS)))
    def forget(self, gone: list[Partition]) -> None:
        self.ledger.forget(gone)
        self.ends = {partition: end for partition, end in self.ends.items() if partition not in gone}

    @rule(committed=st.dictionaries(st.sampled_from(PARTITIONS), st.integers(0, 30)))
    def restart(self, committed: Offsets) -> None:
        self.ledger.restart(committed)
        self.ends = dict(committed)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
