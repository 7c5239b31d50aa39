"""The loop, on the memory broker with fake rooms: every event is answered exactly once, whatever goes wrong where."""

# ruff: noqa: PT012 - the service stops in one of its next turns

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service_story import (
    GROUP,
    INPUTS,
    ROWS,
    Cluster,
    Life,
    Listener,
    abort_more,
    answered,
    at_last,
    at_once,
    behind,
    count_answered,
    counted,
    fill,
    score,
)

from scorer.broker.contract import Fault, Verdict
from scorer.broker.memory import Again, AnswerLost, Before, MemoryBroker, Refuse, Slow
from scorer.errors import BrokerError, FencedError, ModelFailedError, OffsetLostError, Reason, Stage
from scorer.records import Inputs, Partition, Rejection, Scores
from scorer.service.breaker import ENOUGH
from scorer.service.delivery import Aside
from scorer.service.loop import FIRST_PAUSE, LONGEST_PAUSE, LOOK_EVERY
from scorer.telemetry.facts import (
    AbortReason,
    BatchAborted,
    BatchSettled,
    BrokerAnswered,
    BrokerAwaited,
    LagMeasured,
    PartitionsAssigned,
    PartitionsRevoked,
    TopicResumed,
    TopicStopped,
)

TURNS = 400


def turn_until_answered(life: Life, expected: set[str], turns: int = TURNS) -> None:
    """Turn the loop until every event is answered, and a little longer: a second answer would show."""
    for _ in range(turns):
        life.service.turn()
        if count_answered(life.broker) >= len(expected):
            break
    for _ in range(4):
        life.service.turn()
    assert counted(answered(life.broker), expected) == {}


def abortable() -> Fault:
    return Fault(Verdict.ABORT, "CONCURRENT_TRANSACTIONS", "again")


def unknown() -> Fault:
    return Fault(Verdict.RENEW, "_TRANSPORT", "the connection is gone")


def retry() -> Fault:
    return Fault(Verdict.RETRY, "_TIMED_OUT", "no answer yet")


@pytest.mark.parametrize("exactly_once", [True, False])
@pytest.mark.parametrize("max_events", [1, 7, 100])
def test_every_event_is_answered_once(max_events: int, exactly_once: bool) -> None:
    """In fair weather every event is decided or dead-lettered, once, in either mode, however batches are cut."""
    broker = Cluster()
    expected = fill(broker, 10)
    listener = Listener(broker)
    life = Life(broker, listener, max_events=max_events, exactly_once=exactly_once)
    turn_until_answered(life, expected)
    assert life.service.settled == sum(listener.settled) == len(expected)
    assert {fact.reason for fact in listener.facts if isinstance(fact, BatchAborted)} <= {AbortReason.REBALANCE}
    for topic in INPUTS:
        assert len(broker.read_committed(f"{topic}.dlq")) == 4


def test_membership_is_taken_with_the_batch() -> None:
    """A batch's membership is the one of its last poll, taken before the model runs; the commit is the last act."""
    broker = Cluster()
    expected = fill(broker, 5)

    def after_membership(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        assert [call for call in broker.journal if call in {"poll", "membership"}][-2:] == ["poll", "membership"]
        return score(inputs)

    turn_until_answered(Life(broker, Listener(broker), infer=after_membership), expected)
    text = " ".join(broker.journal)
    assert text.count("poll membership") == text.count("membership") == text.count("begin publish") > 0
    assert text.count("commit end") == text.count("commit") == text.count("begin")


def test_while_a_full_batch_is_committed_the_next_is_decided() -> None:
    """The wait for a commit is used: the model runs between publishing the batch before and its commit."""
    broker = Cluster()
    expected = fill(broker, 20)
    before_model: list[str] = []

    def model(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        before_model.append(broker.journal[-1])
        return score(inputs)

    turn_until_answered(Life(broker, Listener(broker), infer=model, aside=at_last), expected)
    assert before_model.count("publish") > len(before_model) / 2


def test_what_was_decided_behind_a_failed_batch_is_decided_again() -> None:
    """A commit that fails drops the batch behind it too, which is read again in its order; each event is told once."""
    broker = Cluster()
    expected = fill(broker, 20)
    listener = Listener(broker)
    broker.script("commit", None, None, abortable(), None, unknown())
    turn_until_answered(Life(broker, listener, aside=at_last), expected)
    assert sum(listener.settled) == len(expected)
    aborted = [fact.events for fact in listener.facts if isinstance(fact, BatchAborted)]
    assert len(aborted) == 4


def test_a_lone_batch_does_not_wait_for_another() -> None:
    """A batch that was not full is delivered in the turn in which it was decided."""
    broker = Cluster()
    listener = Listener(broker)
    life = Life(broker, listener, max_events=100)
    life.service.turn()
    broker.produce(Partition("payments", 0), b"0.1")
    while not listener.settled:
        life.service.turn()
    assert broker.journal[broker.journal.index("membership") :].count("poll") == 0


def test_a_rebalance_during_scoring_commits_nothing() -> None:
    """Partitions that go to somebody else while the model runs are decided by them alone: the old place is refused."""
    broker = Cluster()
    expected = fill(broker, 4)
    rival = Life(broker, Listener(broker), instance="1")

    def taken_over(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        broker.evict(GROUP, slow.source.member)
        turn_until_answered(rival, expected)
        return score(inputs)

    slow = Life(broker, Listener(broker), infer=taken_over)
    turn_until_answered(slow, expected)
    for _ in range(8):
        slow.service.turn()
        rival.service.turn()
    assert counted(answered(broker), expected) == {}


def test_what_somebody_else_decided_is_not_told_as_ours() -> None:
    """A batch that was aborted because its partitions were taken over settles nothing here: its new owner tells it."""
    broker = Cluster()
    expected = fill(broker, 4)
    slow_hears, rival_hears = Listener(broker), Listener(broker)
    slow, rival = Life(broker, slow_hears), Life(broker, rival_hears, instance="1")

    def take_over() -> None:
        broker.evict(GROUP, slow.source.member)
        turn_until_answered(rival, expected)

    broker.script("begin", Before(take_over))
    turn_until_answered(slow, expected)
    assert sum(rival_hears.settled) == len(expected)
    assert (slow_hears.settled, slow.service.settled) == ([], 0)


def test_no_poll_happens_while_a_transaction_is_open() -> None:
    """Between begin and the end of a transaction nothing is polled, whatever goes wrong inside."""
    broker = Cluster()
    expected = fill(broker, 10)
    broker.script("publish", Refuse(1), None, abortable())
    broker.script("end", None, retry(), AnswerLost(retry()), unknown(), AnswerLost(unknown()))
    broker.script("abort", None, abortable())
    turn_until_answered(Life(broker, Listener(broker)), expected)
    is_open = False
    for call in broker.journal:
        assert not (is_open and call in {"poll", "begin", "rewind"}), broker.journal
        is_open = call == "begin" or (is_open and call not in {"end", "abort", "renew"})


def test_facts_are_told_after_the_commit() -> None:
    """When a batch is told as settled, a reader can see all of it; what is aborted is never told as settled."""
    broker = Cluster()
    expected = fill(broker, 10)
    broker.script("publish", None, Refuse(1), None, abortable())
    broker.script("end", None, unknown(), AnswerLost(retry()))
    listener = Listener(broker)
    turn_until_answered(Life(broker, listener), expected)
    told = 0
    for events, committed in zip(listener.settled, listener.committed_when_told, strict=True):
        told += events
        assert committed >= told
    assert told == len(expected)


def test_a_settled_batch_is_told_in_full() -> None:
    """The fact counts events as decisions by band and dead letters by reason, with a score and an age for each."""
    broker = Cluster()
    for value in (b"0.1", b"0.5", b"0.95", b"broken"):
        broker.produce(Partition("payments", 0), value, timestamp=0)
    listener = Listener(broker)
    life = Life(broker, listener, max_events=4)
    while not listener.settled:
        life.service.turn()
    (fact,) = listener.told(BatchSettled)
    assert isinstance(fact, BatchSettled)
    assert fact.decisions == {"approve": 1, "review": 1, "block": 1}
    assert fact.dead_letters == {Reason.MALFORMED: 1}
    assert (fact.topic, fact.events, len(fact.scores), len(fact.ages)) == ("payments", 4, 3, 4)


def test_a_commit_whose_answer_was_lost_is_not_told_as_aborted() -> None:
    """A batch that turns out to be committed is told once, as settled."""
    broker = Cluster()
    expected = fill(broker, 2)
    broker.script("end", AnswerLost(unknown()))
    listener = Listener(broker)
    turn_until_answered(Life(broker, listener, max_events=100), expected)
    assert sum(listener.settled) == len(expected)
    assert AbortReason.FAULT not in [fact.reason for fact in listener.facts if isinstance(fact, BatchAborted)]


def test_an_aborted_batch_is_read_again_after_a_growing_pause() -> None:
    """Faults in a row are spaced out, up to a longest pause; a batch that goes through makes it short again."""
    broker = Cluster()
    listener = Listener(broker)
    life = Life(broker, listener, max_events=1)
    life.service.turn()
    broker.produce(Partition("payments", 0), b"0.1")
    broker.script("commit", *[abortable() for _ in range(8)])
    pauses = []
    while not listener.settled:
        before = broker.clock.now
        life.service.turn()
        pauses.append(broker.clock.now - before)
    assert list(filter(None, pauses)) == pytest.approx([min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(8)])
    broker.produce(Partition("payments", 0), b"0.1")
    broker.script("commit", abortable())
    before = broker.clock.now
    for _ in range(2):
        life.service.turn()
    assert broker.clock.now - before == pytest.approx(FIRST_PAUSE)


def test_no_batch_spans_a_rebalance() -> None:
    """What was in hand when the group moved on, and what came with the news, is dropped and read again."""
    broker = Cluster()
    expected = fill(broker, 10)
    listener = Listener(broker)
    broker.script("poll", None, None, Before(lambda: broker.rebalance(GROUP)))
    turn_until_answered(Life(broker, listener), expected)
    reasons = [fact.reason for fact in listener.facts if isinstance(fact, BatchAborted)]
    assert AbortReason.REBALANCE in reasons
    everything = {Partition(topic, number) for topic in INPUTS for number in range(2)}
    (revoked,) = listener.told(PartitionsRevoked)
    assert isinstance(revoked, PartitionsRevoked)
    assert (set(revoked.partitions), revoked.lost) == (everything, False)
    assert len(listener.told(PartitionsAssigned)) == 2


def test_a_member_that_was_thrown_out_tells_so() -> None:
    """Partitions that were lost without being asked for are told as lost, and are read on from where they stand."""
    broker = Cluster()
    expected = fill(broker, 3)
    listener = Listener(broker)
    life = Life(broker, listener)
    turn_until_answered(life, expected)
    broker.evict(GROUP, life.source.member)
    life.service.turn()
    (revoked,) = listener.told(PartitionsRevoked)
    assert isinstance(revoked, PartitionsRevoked)
    assert revoked.lost
    turn_until_answered(life, expected | fill_more(broker))


def fill_more(broker: MemoryBroker) -> set[str]:
    """Write one more event, and return its coordinates."""
    offset = len(broker.logs[Partition("payments", 0)].entries)
    broker.produce(Partition("payments", 0), b"0.3")
    return {f"payments-0-{offset}"}


@pytest.mark.parametrize("settled", [0, 1])
def test_a_repeated_record_is_not_decided_again(settled: int) -> None:
    """Should the broker hand out a record again, settled or in hand, we go back to the committed offsets instead."""
    broker = Cluster()
    expected = fill(broker, 5)
    listener = Listener(broker)
    life = Life(broker, listener, max_events=3)
    for _ in range(2):  # the assignment, and a first record
        life.service.turn()
    while len(listener.settled) < settled:
        life.service.turn()
    broker.script("poll", Again())
    turn_until_answered(life, expected)
    assert AbortReason.REPEATED in [fact.reason for fact in listener.facts if isinstance(fact, BatchAborted)]


def test_a_broken_model_stops_before_anything_is_written() -> None:
    """A model that fails as a whole ends the service; no transaction was begun, and no event is dead-lettered."""
    broker = Cluster()
    fill(broker, 3)

    def broken(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        raise ModelFailedError("the model fails on every event")

    life = Life(broker, Listener(broker), infer=broken)
    with pytest.raises(ModelFailedError):
        for _ in range(TURNS):
            life.service.turn()
    assert "begin" not in broker.journal
    assert count_answered(broker) == 0


def test_a_model_that_breaks_beside_a_commit_leaves_that_batch_whole() -> None:
    """The batch whose commit is under way when the model breaks is settled and told before the service stops."""
    broker = Cluster()
    fill(broker, 20)
    calls = iter(range(3))

    def breaks(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        if next(calls, None) is None:
            raise ModelFailedError("the model fails on every event")
        return score(inputs)

    listener = Listener(broker)
    life = Life(broker, listener, infer=breaks, aside=at_last)
    with pytest.raises(ModelFailedError):
        for _ in range(TURNS):
            life.service.turn()
    assert broker.journal.count("begin") == broker.journal.count("end") > 0
    assert sum(listener.settled) == count_answered(broker) > 0


def test_a_lost_offset_stops_the_service() -> None:
    """What waiting does not mend is not waited for."""
    broker = Cluster()
    fill(broker, 3)
    broker.logs[Partition("payouts", 1)].low = 2
    life = Life(broker, Listener(broker))
    with pytest.raises(OffsetLostError, match="payouts-1"):
        for _ in range(TURNS):
            life.service.turn()


def test_stopping_leaves_the_batch_in_hand_for_later() -> None:
    """`run` ends between two turns; what was being filled is told as given up, and the next life reads it again."""
    broker = Cluster()
    expected = fill(broker, 5)
    turns = iter(range(2))
    listener = Listener(broker)
    first = Life(broker, listener, max_events=100, stopping=lambda: next(turns, None) is None)
    assert first.service.run() == 0
    aborted = listener.told(BatchAborted)[-1]
    assert isinstance(aborted, BatchAborted)
    assert (aborted.reason, aborted.events) == (AbortReason.STOPPING, 1)
    first.source.close()
    first.sink.close()
    turn_until_answered(Life(broker, listener), expected)


def test_run_counts_what_it_settled() -> None:
    """`run` returns the number of events that became final in this life."""
    broker = Cluster()
    expected = fill(broker, 5)
    done = [False]

    def stopping() -> bool:
        done[0] = done[0] or count_answered(broker) == len(expected)
        return done[0]

    assert Life(broker, Listener(broker), stopping=stopping).service.run() == len(expected)


def test_a_commit_in_doubt_at_the_end_is_settled_by_the_next_life() -> None:
    """Stopped while a commit's answer is out, nothing is told of it; the next life neither loses nor repeats."""
    for happened in (True, False):
        broker = Cluster()
        expected = fill(broker, 3)
        stop: list[bool] = []
        broker.script("end", AnswerLost(retry()) if happened else retry())
        broker.script("commit", Before(lambda stop=stop: stop.append(True)))
        listener = Listener(broker)
        assert Life(broker, listener, stopping=lambda stop=stop: bool(stop)).service.run() == 0
        assert listener.settled == []
        broker.evict(GROUP, "member-0")
        turn_until_answered(Life(broker, Listener(broker)), expected)


def test_what_no_batch_covers_is_committed_too() -> None:
    """Marks of transactions behind the last event, once it is settled: else retention makes them a lost offset."""
    broker = Cluster()
    fill(broker, 3)
    life = Life(broker, Listener(broker))
    for _ in range(3):
        abort_more(broker)
        due = broker.clock.now + 3 * LOOK_EVERY
        while broker.clock.now < due:
            life.service.turn()
        assert behind(broker) == 0
        assert set(life.source.lag().values()) == {0}
    assert broker.journal.count("commit_offsets") == 3


def test_marks_before_the_first_event_are_committed_too() -> None:
    """A partition of which nothing was ever decided, and where only aborted records came."""
    broker = Cluster()
    abort_more(broker)
    life = Life(broker, Listener(broker))
    while broker.clock.now < 3 * LOOK_EVERY:
        life.service.turn()
    assert behind(broker) == 0


def test_lag_is_measured_now_and_then() -> None:
    """The lag is told about once a second, not with every poll."""
    broker = Cluster()
    fill(broker, 3)
    listener = Listener(broker)
    life = Life(broker, listener)
    while broker.clock.now < 10 * LOOK_EVERY:
        life.service.turn()
    measured = listener.told(LagMeasured)
    assert 9 <= len(measured) <= 11
    last = measured[-1]
    assert isinstance(last, LagMeasured)
    assert set(last.lag.values()) == {0}


class Crash(BaseException):
    """kill -9: nothing that the service wrote after this line runs."""


@dataclass
class Story:
    """A script of faults, drawn by Hypothesis, on one broker with one or two instances of the service."""

    broker: Cluster = field(default_factory=Cluster)

    def sentinel(self, kind: str) -> Fault | AnswerLost | Before | Refuse | Slow | None:
        """Return the fault of a name."""
        return {
            "pass": lambda: None,
            "retry": retry,
            "answer lost": lambda: AnswerLost(retry()),
            "abort": abortable,
            "unknown": unknown,
            "unknown, but done": lambda: AnswerLost(unknown()),
            "slow": Slow,
            "refuse": lambda: Refuse(1),
            "rebalance": lambda: Before(lambda: self.broker.rebalance(GROUP)),
            "evict": lambda: Before(self.evict_all),
            "fence": lambda: Before(lambda: [self.broker.fence(f"{GROUP}-{instance}") for instance in "01"]),
            "crash": lambda: Before(self.crash),
        }[kind]()

    def evict_all(self) -> None:
        """Throw every member out."""
        for member in list(self.broker.groups[GROUP].members):
            self.broker.evict(GROUP, member)

    def crash(self) -> None:
        """End the service that is calling."""
        raise Crash


ANYWHERE = ("pass", "rebalance", "evict", "crash")
ANY_SINK = (*ANYWHERE, "abort", "unknown", "unknown, but done", "fence")
STEPS: dict[str, tuple[str, ...]] = {
    "poll": ANYWHERE,
    "membership": ANYWHERE,
    "begin": ANY_SINK,
    "publish": (*ANY_SINK, "refuse"),
    "commit": ANY_SINK,
    "end": (*ANY_SINK, "retry", "answer lost", "slow"),
    "abort": ANY_SINK,
    "renew": ("pass", "abort", "unknown", "crash"),
    "rewind": ANYWHERE,
}
AT_LEAST_ONCE = ("poll", "publish", "flush", "commit_offsets")
SCRIPTS = st.lists(
    st.sampled_from(sorted(STEPS)).flatmap(lambda call: st.tuples(st.just(call), st.sampled_from(STEPS[call]))),
    max_size=14,
)


ASIDES = st.sampled_from([at_once, at_last])


def play(
    script: list[tuple[str, str]], turns: Callable[[], int], instances: int, max_events: int, aside: Aside
) -> None:
    """Play a script until every event is answered; a service that crashes or stops is started again at once.

    After half of the turns every instance gets its own: one that is never run answers nothing, which is no fault.
    Behind the events lies what a transaction has aborted: the committed offsets pass it in the end.
    """
    story = Story()
    broker = story.broker
    expected = fill(broker, 6)
    abort_more(broker)
    for call, kind in script:
        broker.script(call, story.sentinel(kind))
    listener = Listener(broker)
    lives = [
        Life(broker, listener, instance=str(number), max_events=max_events, aside=aside) for number in range(instances)
    ]
    for turn in range(TURNS):
        number = (turns() if turn < TURNS // 2 else turn) % instances
        try:
            lives[number].service.turn()
        except (Crash, BrokerError):
            lives[number].crash()
            lives[number] = Life(broker, listener, instance=str(number), max_events=max_events, aside=aside)
        found = answered(broker)
        assert max(found.values(), default=1) == 1, (script, counted(found, expected))
        if len(found) == len(expected) and behind(broker) == 0:
            break
    assert counted(answered(broker), expected) == {}, (script, broker.journal)
    assert behind(broker) == 0, (script, broker.journal)
    for told, committed in zip(accumulated(listener.settled), listener.committed_when_told, strict=True):
        assert told <= committed


def accumulated(sizes: list[int]) -> list[int]:
    """Return running sums."""
    return [sum(sizes[: end + 1]) for end in range(len(sizes))]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCRIPTS, st.integers(1, 9), ASIDES)
def test_no_script_of_faults_loses_or_repeats_an_event(
    script: list[tuple[str, str]], max_events: int, aside: Aside
) -> None:
    """Faults, rebalances, fencing and crashes at any step: what readers see is the input, each event once."""
    play(script, lambda: 0, 1, max_events, aside)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCRIPTS, st.integers(1, 9), st.randoms(use_true_random=False), ASIDES)
def test_nor_do_two_instances_in_one_group(
    script: list[tuple[str, str]], max_events: int, random: object, aside: Aside
) -> None:
    """The same with two instances whose turns come in any order, and which take over from each other."""
    play(script, lambda: random.randrange(2), 2, max_events, aside)  # type: ignore[attr-defined]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(AT_LEAST_ONCE), st.sampled_from(ANYWHERE)), max_size=8), ASIDES)
def test_at_least_once_loses_nothing(script: list[tuple[str, str]], aside: Aside) -> None:
    """At-least-once: every event is answered, some perhaps twice, and the offsets never run ahead of the answers."""
    story = Story()
    broker = story.broker
    expected = fill(broker, 6)
    for call, kind in script:
        broker.script(call, story.sentinel(kind))
    life = Life(broker, Listener(broker), exactly_once=False, aside=aside)
    for _ in range(TURNS):
        try:
            life.service.turn()
        except Crash:
            life.crash()
            life = Life(broker, Listener(broker), exactly_once=False, aside=aside)
        found = answered(broker)
        for (topic, number), offset in broker.groups[GROUP].committed.items():
            assert all(f"{topic}-{number}-{earlier}" in found for earlier in range(offset if topic in INPUTS else 0))
    assert set(answered(broker)) == expected


def test_twins_do_not_shut_each_other_out_for_ever() -> None:
    """Two scorers of one identity: one of them stops with a FencedError before long, and the other answers all."""
    broker = Cluster()
    expected = fill(broker, 30)
    listener = Listener(broker)
    lives = [Life(broker, listener, max_events=5), Life(broker, listener, max_events=5)]
    stopped: Counter[int] = Counter()
    for turn in range(TURNS):
        number = turn % 2
        if stopped[number]:
            continue
        try:
            lives[number].service.turn()
        except FencedError:
            stopped[number] += 1
            lives[number].source.close()
            lives[number].sink.close()
    assert sum(stopped.values()) == 1
    assert counted(answered(broker), expected) == {}


def storm(broker: MemoryBroker, topic: str, count: int, *, broken: bool) -> set[str]:
    """Write events to one partition of a topic, all of them broken or none; return their coordinates."""
    partition = Partition(topic, 0)
    start = len(broker.logs[partition].entries)
    for _ in range(count):
        broker.produce(partition, b"broken" if broken else b"0.1")
    return {f"{topic}-0-{offset}" for offset in range(start, start + count)}


def test_a_storm_of_dead_letters_stops_its_topic_and_no_other() -> None:
    """Once enough events tell, nothing of it is delivered or dropped; the other topic goes on; trials are told."""
    broker = Cluster()
    listener = Listener(broker)
    stormy = storm(broker, "payments", 300, broken=True)
    calm = storm(broker, "payouts", 300, broken=False)
    life = Life(broker, listener, max_events=200, limits={"payments": 0.5, "payouts": 0.5})
    for _ in range(TURNS):
        life.service.turn()
    delivered = {name for name in stormy if answered(broker)[name]}
    assert counted(answered(broker), calm | delivered) == {}
    assert life.source.rewind()[Partition("payments", 0)] == len(delivered) < ENOUGH
    stops = listener.told(TopicStopped)
    assert len(stops) >= 2
    assert stops[0] == TopicStopped("payments", 1.0, 0.5, {Reason.MALFORMED: stops[0].reasons[Reason.MALFORMED]})
    assert not listener.told(TopicResumed)


def test_a_stopped_topic_goes_on_by_itself_when_its_events_are_sound_again() -> None:
    """The trial that passes is delivered like any batch, and what waited behind it follows."""
    broken = {"now": True}

    def moody(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        scores, _ = score(inputs)
        bad = [Rejection(row, Stage.INFER, Reason.BAD_SCORE, "", "") for row in inputs.rows.tolist()]
        return (scores.without(bad), bad) if broken["now"] else (scores, [])

    broker = Cluster()
    listener = Listener(broker)
    expected = storm(broker, "payments", 300, broken=False)
    life = Life(broker, listener, max_events=200, infer=moody, limits={"payments": 0.5})
    while not listener.told(TopicStopped):
        life.service.turn()
    broken["now"] = False
    turn_until_answered(life, expected)
    assert listener.told(TopicResumed) == [TopicResumed("payments")]
    assert {fact.reason for fact in listener.told(BatchAborted) if isinstance(fact, BatchAborted)} >= {
        AbortReason.DEAD_LETTERS
    }


def test_a_slow_flooded_topic_keeps_no_other_waiting() -> None:
    """One topic's model takes a second an event and has a backlog: the other's events still go with each batch."""
    broker = Cluster()
    listener = Listener(broker)

    def slow(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        broker.clock.wait(float(len(inputs.rows)))
        return score(inputs)

    backlog = storm(broker, "payments", 200, broken=False)
    life = Life(broker, listener, max_events=100, infers={"payments": slow})
    while not listener.settled:
        life.service.turn()
    sent, late = set(), []
    for _ in range(20):
        begun = broker.clock()
        sent |= storm(broker, "payouts", 1, broken=False)
        while not sent <= set(answered(broker)):
            life.service.turn()
        late.append(broker.clock() - begun)
    assert max(late) <= 3 * ROWS  # two batches of one call each, and polls
    assert len(set(answered(broker)) & backlog) < len(backlog)
    turn_until_answered(life, backlog | sent)


def test_what_is_left_in_hand_is_read_again_after_a_fault() -> None:
    """Leftovers of a share do not outlive a rewind: they come again from the committed offsets, once."""
    broker = Cluster()

    def slow(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        broker.clock.wait(float(len(inputs.rows)))
        return score(inputs)

    expected = storm(broker, "payments", 60, broken=False)
    broker.script("commit", None, None, abortable(), None, unknown())
    turn_until_answered(Life(broker, Listener(broker), max_events=50, infer=slow), expected)


def test_a_broker_that_is_away_is_waited_for_before_going_back() -> None:
    """The committed offsets cannot be asked for: the loop waits, however long, and then goes on from them."""
    broker = Cluster()
    expected = fill(broker, 5)
    broker.script("commit", None, abortable())
    listener = Listener(broker)
    life = Life(broker, listener)
    while broker.journal.count("commit") < 2:
        life.service.turn()
        if broker.journal.count("commit") == 1:
            broker.script("rewind", *[retry() for _ in range(50)])
    turn_until_answered(life, expected)
    assert broker.clock() > 50 * LONGEST_PAUSE


def test_a_wait_for_the_broker_is_told_until_it_answers() -> None:
    """What another thread sees of a batch whose commit hangs, and of the way back: one wait, then its end."""
    broker = Cluster()
    expected = fill(broker, 5)
    listener = Listener(broker)
    life = Life(broker, listener, aside=at_last)

    def hang() -> None:
        broker.clock.wait(10.0)
        life.outage.look()

    broker.script("commit", Before(hang), abortable())
    turn_until_answered(life, expected)
    assert [(fact.seconds, fact.events > 0) for fact in listener.facts if isinstance(fact, BrokerAwaited)] == [
        (10.0, True)
    ]
    assert [fact.seconds for fact in listener.facts if isinstance(fact, BrokerAnswered)] == [10.0]


def test_a_service_that_waits_for_its_broker_can_be_stopped() -> None:
    """SIGTERM while the committed offsets cannot be asked for: the loop ends."""
    broker = Cluster()
    fill(broker, 5)
    broker.script("begin", abortable())
    broker.script("rewind", *[retry() for _ in range(1000)])
    stopping = iter([False] * 20)
    life = Life(broker, Listener(broker), stopping=lambda: next(stopping, True))
    assert life.service.run() == 0
    assert broker.journal.count("rewind") > 10


def test_records_lost_on_the_way_are_read_again() -> None:
    """A poll that raised has cost what it had fetched: everything since the committed offsets comes again, once."""
    broker = Cluster()
    expected = fill(broker, 10)
    broker.script("poll", None, None, AnswerLost(abortable()), None, AnswerLost(abortable()))
    turn_until_answered(Life(broker, Listener(broker)), expected)
