"""Delivery: how a batch becomes final, and what is done about each fault; with faults scripted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from service_story import GROUP, Cluster, at_once

from scorer.broker.contract import Fault, Membership, Verdict
from scorer.broker.memory import AnswerLost, Before, MemorySink, MemorySource, Refuse, Slow
from scorer.errors import BrokerError, FencedError
from scorer.records import Letter, Offsets, Outgoing, Partition
from scorer.service.delivery import MAX_REFUSALS, MAX_RENEWALS, MAX_RESUMES, AtLeastOnce, ExactlyOnce, Renewals
from scorer.service.ledger import covers
from scorer.telemetry.facts import RenewReason

PARTITION = Partition("payments", 0)
LETTER = Letter(b"dead", b"dead", [], 0)


def retry() -> Fault:
    return Fault(Verdict.RETRY, "_TIMED_OUT", "no answer yet")


def unknown() -> Fault:
    return Fault(Verdict.RENEW, "_TRANSPORT", "the connection is gone")


def abortable() -> Fault:
    return Fault(Verdict.ABORT, "ILLEGAL_GENERATION", "the group has moved on")


def away() -> Fault:
    return Fault(Verdict.ABORT, "_TIMED_OUT", "no answer to InitProducerId")


def invalid() -> Fault:
    return Fault(Verdict.ABORT, "INVALID_RECORD", "payments.decisions")


def fenced() -> Fault:
    return Fault(Verdict.RENEW, "_FENCED", "by a newer instance", fenced=True)


def forbidden() -> Fault:
    return Fault(Verdict.STOP, "TOPIC_AUTHORIZATION_FAILED", "payments.decisions")


class Bench:
    """A sink and a member beside each other, and a delivery over them."""

    def __init__(self, *, exactly_once: bool = True, hurried: Callable[[Fault], bool] = lambda _: False) -> None:
        self.broker = Cluster()
        self.sink = MemorySink(self.broker, GROUP, f"{GROUP}-0" if exactly_once else None)
        self.source = MemorySource(self.broker, GROUP, ["payments"])
        self.source.poll(1, 0.0)
        self.renewed: list[RenewReason] = []
        self.renewals = Renewals(self.sink, self.renewed.append, hurried=hurried)
        once = ExactlyOnce(self.sink, self.renewals, at_once, hurried=hurried)
        self.delivery = once if exactly_once else AtLeastOnce(self.sink, self.source, self.renewals, at_once)
        self.broker.journal.clear()

    def deliver(self, name: str = "a", offset: int = 1, membership: Membership | None = None) -> bool:
        """Deliver one decision of each topic and a dead letter."""
        text = name.encode()
        first = Outgoing("payments.decisions", [text], [text], "payments.dlq", [LETTER])
        second = Outgoing("payouts.decisions", [text], [text], "payouts.dlq")
        place = membership or self.source.membership()
        return self.delivery.start([first, second], {PARTITION: offset}, place)()

    def committed(self) -> Offsets:
        """Return the group's committed offsets."""
        return self.source.rewind()

    def seen(self) -> list[bytes | None]:
        """Return the decided values of the first topic."""
        return [value for _, value, _ in self.broker.read_committed("payments.decisions")]

    def calls(self) -> list[str]:
        """Return the sink's calls in order, and forget them."""
        calls = [call for call in self.broker.journal if call not in {"membership", "rewind", "poll"}]
        self.broker.journal.clear()
        return calls


def test_a_batch_is_one_transaction() -> None:
    """All parcels and the offsets go through in one begin … commit, and the renewals hear of nothing."""
    bench = Bench()
    assert bench.deliver()
    assert bench.calls() == ["begin", "publish", "publish", "commit", "end"]
    assert bench.seen() == [b"a"]
    assert len(bench.broker.read_committed("payments.dlq")) == 1
    assert len(bench.broker.read_committed("payouts.decisions")) == 1
    assert bench.committed()[PARTITION] == 1
    assert bench.renewed == []


@pytest.mark.parametrize("doubt", [retry(), AnswerLost(retry())], ids=["request lost", "answer lost"])
def test_a_commit_in_doubt_is_asked_for_until_it_is_definite(doubt: Fault | AnswerLost) -> None:
    """RETRY is resumed, the same call again and again; then the batch is final, once, whichever message was lost."""
    bench = Bench()
    bench.broker.script("end", doubt, retry(), retry())
    assert bench.deliver()
    assert bench.calls() == ["begin", "publish", "publish", "commit", "end", "end", "end", "end", "renew"]
    assert bench.seen() == [b"a"]
    assert bench.committed()[PARTITION] == 1


def test_a_commit_that_stays_in_doubt_is_left_to_a_new_producer() -> None:
    """A client that gets no answer, ever, is replaced: the new one settles the transaction, the offsets tell how."""
    bench = Bench()
    bench.broker.script("end", *[retry() for _ in range(MAX_RESUMES + 1)])
    assert bench.deliver() is None
    assert bench.calls()[-2:] == ["end", "renew"]
    assert bench.renewed == [RenewReason.COMMIT_UNKNOWN]
    assert bench.seen() == []
    assert bench.committed()[PARTITION] == 0
    assert bench.deliver()
    assert bench.seen() == [b"a"]


def test_a_producer_under_suspicion_is_replaced_before_the_next_begin() -> None:
    """After a slow commit its request may still arrive: a new producer's epoch keeps it from committing what comes."""
    bench = Bench()
    bench.broker.script("end", Slow())
    assert bench.deliver("a", 1)
    bench.broker.script("commit", abortable())
    assert not bench.deliver("dropped", 2)
    assert bench.calls()[:7] == ["begin", "publish", "publish", "commit", "end", "renew", "begin"]
    assert bench.seen() == [b"a"]
    assert bench.renewed == [RenewReason.COMMIT_SLOW]


def test_without_renewal_the_late_request_would_tear_a_transaction() -> None:
    """The test above can fail: used on, a suspect producer makes an aborted transaction's records visible."""
    bench = Bench()
    bench.broker.script("end", Slow())
    for name in (b"a", b"dropped"):
        bench.sink.begin()
        bench.sink.publish(Outgoing("payments.decisions", [name], [name], "payments.dlq"))
        if name == b"a":
            bench.sink.commit({PARTITION: 1}, bench.source.membership(), 8.0)
    bench.sink.abort(8.0)
    assert bench.seen() == [b"a", b"dropped"]


@pytest.mark.parametrize("happened", [True, False])
def test_after_an_unknown_outcome_the_committed_offsets_tell(happened: bool) -> None:
    """RENEW in the middle of a commit: not final by its own word; a new producer settles it, then the offsets know."""
    bench = Bench()
    bench.broker.script("end", AnswerLost(unknown()) if happened else unknown())
    assert not bench.deliver()
    assert bench.calls() == ["begin", "publish", "publish", "commit", "end", "renew"]
    assert covers(bench.committed(), {PARTITION: 1}) is happened
    assert bench.seen() == ([b"a"] if happened else [])
    assert len(bench.renewed) == 1


def test_a_doubt_that_only_a_new_producer_ends_is_told_as_such() -> None:
    """A commit that was asked for again and then failed for good is renewed because its outcome is unknown."""
    bench = Bench()
    bench.broker.script("end", retry(), unknown())
    assert not bench.deliver()
    assert bench.renewed == [RenewReason.COMMIT_UNKNOWN]


@pytest.mark.parametrize(
    ("call", "sentinel"), [("publish", Refuse(1)), ("publish", abortable()), ("commit", abortable())]
)
def test_an_abortable_fault_is_aborted(call: str, sentinel: Fault | Refuse) -> None:
    """ABORT drops the transaction: nothing is visible, the producer stays, and the next batch goes through."""
    bench = Bench()
    bench.broker.script(call, sentinel)
    assert not bench.deliver("dropped")
    assert bench.calls()[-1] == "abort"
    assert (bench.seen(), bench.committed()[PARTITION], bench.renewed) == ([], 0, [])
    assert bench.deliver("a")
    assert bench.seen() == [b"a"]


def test_a_stale_membership_is_aborted() -> None:
    """A batch whose member has been replaced is dropped, and its producer stays."""
    bench = Bench()
    membership = bench.source.membership()
    MemorySource(bench.broker, GROUP, ["payments"]).poll(1, 0.0)
    assert not bench.deliver(membership=membership)
    assert (bench.seen(), bench.renewed) == ([], [])
    assert bench.calls() == ["begin", "publish", "publish", "commit", "abort"]


@pytest.mark.parametrize("abort", [abortable(), unknown(), AnswerLost(abortable())], ids=["refused", "fatal", "lost"])
def test_an_abort_that_fails_renews(abort: Fault | AnswerLost) -> None:
    """What cannot be aborted is settled by a new producer, without a second try: that would be refused for ever."""
    bench = Bench()
    bench.broker.script("publish", abortable())
    bench.broker.script("abort", abort)
    assert not bench.deliver("dropped")
    assert bench.calls() == ["begin", "publish", "abort", "renew"]
    assert bench.deliver("a")
    assert bench.seen() == [b"a"]


def test_a_commit_in_doubt_that_ends_in_an_abort_renews() -> None:
    """Where a commit request may still be on its way, an abort alone would not keep it from the next transaction."""
    bench = Bench()
    bench.broker.script("end", retry(), abortable())
    assert not bench.deliver("dropped")
    assert bench.calls() == ["begin", "publish", "publish", "commit", "end", "end", "abort", "renew"]
    bench.broker.script("commit", abortable())
    assert not bench.deliver("dropped too")
    assert bench.seen() == []


def test_fenced_once_is_survived() -> None:
    """A transaction that the cluster timed out fences its own producer: a new one goes on, and may be fenced later."""
    bench = Bench()
    for name in ("a", "b"):
        bench.broker.script("commit", Before(lambda: bench.broker.fence(f"{GROUP}-0")))
        assert not bench.deliver("dropped")
        assert bench.deliver(name)
    assert bench.renewed == [RenewReason.FENCED, RenewReason.FENCED]
    assert bench.seen() == [b"a", b"b"]


@pytest.mark.parametrize("call", ["begin", "publish", "commit", "end"])
def test_fenced_twice_in_a_row_is_a_twin(call: str) -> None:
    """Two of one identity would shut each other out for ever: the second time, the service stops and says why."""
    bench = Bench()
    bench.broker.script(call, *[Before(lambda: bench.broker.fence(f"{GROUP}-0"))] * 2)
    assert not bench.deliver()
    with pytest.raises(FencedError, match=r"transactional\.id.*stop one of the two"):
        bench.deliver()
    assert bench.seen() == []


def test_being_fenced_is_noticed_in_the_abort_too() -> None:
    """A fenced client's `publish` says only `_FATAL`, abortable; its `abort` then names the reason, which counts."""
    bench = Bench()
    for _ in range(2):
        bench.broker.script("publish", Fault(Verdict.ABORT, "_FATAL", "Local: Fatal error"))
        bench.broker.script("abort", fenced())
    assert not bench.deliver()
    assert bench.renewed == [RenewReason.FENCED]
    with pytest.raises(FencedError):
        bench.deliver()


def test_a_renewal_that_fails_is_tried_again() -> None:
    """A new producer that cannot begin is replaced too, until one can."""
    bench = Bench()
    bench.broker.script("commit", unknown())
    bench.broker.script("renew", abortable(), unknown())
    assert not bench.deliver("dropped")
    assert bench.calls() == ["begin", "publish", "publish", "commit", "renew", "renew", "renew"]
    assert bench.deliver("a")


def test_renewals_are_bounded() -> None:
    """When producer after producer fails without a batch between, the service stops instead of trying for ever."""
    bench = Bench()
    bench.broker.script("begin", *[unknown() for _ in range(MAX_RENEWALS + 1)])
    for _ in range(MAX_RENEWALS):
        assert not bench.deliver()
    with pytest.raises(BrokerError, match="_TRANSPORT"):
        bench.deliver()
    assert len(bench.renewed) == MAX_RENEWALS


def test_a_broker_that_is_away_is_waited_for() -> None:
    """A new producer that gets no answer is tried again and again, and counts once; nobody need restart the scorer."""
    bench = Bench()
    bench.broker.script("begin", unknown())
    bench.broker.script("renew", *[away() for _ in range(3 * MAX_RENEWALS)])
    assert not bench.deliver("dropped")
    assert bench.renewed == [RenewReason.FATAL]
    assert bench.deliver("a")
    assert bench.seen() == [b"a"]


def test_a_broker_that_is_away_keeps_nobody_from_stopping() -> None:
    """SIGTERM while a new producer waits for its broker: the wait is over with the try in hand."""
    asked: list[None] = []

    def hurried(_: Fault) -> bool:
        asked.append(None)
        return len(asked) > 2

    bench = Bench(hurried=hurried)
    bench.broker.script("begin", unknown())
    bench.broker.script("renew", *[away() for _ in range(10)])
    assert not bench.deliver()
    assert len(asked) == 3


@pytest.mark.parametrize(("exactly_once", "call"), [(True, "commit"), (False, "flush")])
def test_records_that_the_broker_never_takes_stop_the_service(exactly_once: bool, call: str) -> None:
    """A batch refused for what it is, not for the moment, is tried a few times; then an operator is told what to do."""
    bench = Bench(exactly_once=exactly_once)
    bench.broker.script(call, *[invalid() for _ in range(MAX_REFUSALS + 1)])
    for _ in range(MAX_REFUSALS):
        assert not bench.deliver()
    with pytest.raises(BrokerError, match=r"INVALID_RECORD.*cleanup\.policy"):
        bench.deliver()


def test_a_settled_batch_forgives_the_renewals_before_it() -> None:
    """Only failures in a row count."""
    bench = Bench()
    for offset in range(1, 3 * MAX_RENEWALS):
        bench.broker.script("begin", unknown())
        assert not bench.deliver("dropped", offset)
        assert bench.deliver(str(offset), offset)
    assert len(bench.seen()) == 3 * MAX_RENEWALS - 1


@pytest.mark.parametrize(
    ("call", "exactly_once"),
    [("begin", True), ("publish", True), ("commit", True), ("end", True), ("publish", False), ("flush", False)],
)
def test_missing_permissions_stop(call: str, exactly_once: bool) -> None:
    """STOP is for an operator: the error names what is missing, and what to do; nothing becomes visible after it."""
    bench = Bench(exactly_once=exactly_once)
    bench.broker.script(call, forbidden())
    with pytest.raises(BrokerError, match=r"TOPIC_AUTHORIZATION_FAILED: payments\.decisions.*permission"):
        bench.deliver()
    assert bench.seen() == []


def test_a_renewal_without_permission_stops() -> None:
    """A producer that may not begin at all is not tried again."""
    bench = Bench()
    bench.broker.script("begin", unknown())
    bench.broker.script("renew", forbidden())
    with pytest.raises(BrokerError, match="TOPIC_AUTHORIZATION_FAILED"):
        bench.deliver()


@pytest.mark.parametrize("happened", [True, False])
def test_in_a_hurry_an_open_commit_is_left_to_the_next_producer(happened: bool) -> None:
    """When the service must stop, it does not wait for an answer; the next life's producer settles it, either way."""
    bench = Bench(hurried=lambda _: True)
    bench.broker.script("end", AnswerLost(retry()) if happened else retry())
    assert not bench.deliver()
    assert bench.calls() == ["begin", "publish", "publish", "commit", "end"]
    MemorySink(bench.broker, GROUP, f"{GROUP}-0")
    assert (bench.seen(), bench.committed()[PARTITION]) == (([b"a"], 1) if happened else ([], 0))


def test_at_least_once_commits_after_acknowledgements() -> None:
    """Offsets follow the records: they are committed when every record is acknowledged, not before."""
    bench = Bench(exactly_once=False)
    assert bench.deliver()
    assert bench.calls() == ["publish", "publish", "flush", "commit_offsets"]
    assert (bench.seen(), bench.committed()[PARTITION]) == ([b"a"], 1)


@pytest.mark.parametrize(("call", "renewals"), [("publish", 0), ("flush", 0), ("publish", 1), ("flush", 1)])
def test_at_least_once_commits_nothing_that_is_not_acknowledged(call: str, renewals: int) -> None:
    """A record that is refused, or a producer that fails, leaves the offsets where they are; the batch comes again."""
    bench = Bench(exactly_once=False)
    bench.broker.script(call, unknown() if renewals else abortable())
    assert not bench.deliver()
    assert "commit_offsets" not in bench.calls()
    assert bench.committed()[PARTITION] == 0
    assert len(bench.renewed) == renewals
    assert bench.deliver()
    assert bench.committed()[PARTITION] == 1


def test_at_least_once_is_not_final_after_a_rebalance() -> None:
    """Where somebody else has taken over, the batch is not final: that member decides it again."""
    bench = Bench(exactly_once=False)
    bench.broker.script("commit_offsets", Before(lambda: bench.broker.rebalance(GROUP)))
    assert not bench.deliver()
    assert bench.committed()[PARTITION] == 0


FAULTS = st.sampled_from(["pass", "retry", "lost", "abort", "unknown", "lost unknown", "slow", "fence"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["begin", "publish", "commit", "end", "abort"]), FAULTS), max_size=8))
def test_no_script_of_faults_makes_a_batch_half_final(script: list[tuple[str, str]]) -> None:
    """Whatever goes wrong where: what is called final is, what is not the offsets tell, each batch once."""
    bench = Bench()
    for call, kind in script:
        bench.broker.script(call, SENTINELS[kind if call == "end" or kind not in {"retry", "lost"} else "abort"](bench))
    offset = 0
    for attempt in range(40):
        if offset == 3:
            break
        final = deliver_or_stop(bench, f"{offset}", offset + 1)
        assert not (final and bench.committed()[PARTITION] != offset + 1), attempt
        offset = bench.committed()[PARTITION]
        assert bench.seen() == [b"%d" % number for number in range(offset)]
    assert offset == 3


SENTINELS: dict[str, Callable[[Bench], Fault | AnswerLost | Before | Slow | None]] = {
    "pass": lambda _: None,
    "retry": lambda _: retry(),
    "lost": lambda _: AnswerLost(retry()),
    "abort": lambda _: abortable(),
    "unknown": lambda _: unknown(),
    "lost unknown": lambda _: AnswerLost(unknown()),
    "slow": lambda _: Slow(),
    "fence": lambda bench: Before(lambda: bench.broker.fence(f"{GROUP}-0")),
}


def deliver_or_stop(bench: Bench, name: str, offset: int) -> bool:
    """Deliver; where the service would stop, start again with a new producer, as an operator would."""
    try:
        return bench.deliver(name, offset)
    except BrokerError:
        bench.sink = MemorySink(bench.broker, GROUP, f"{GROUP}-0")
        renewals = Renewals(bench.sink, bench.renewed.append, hurried=lambda _: False)
        bench.delivery = ExactlyOnce(bench.sink, renewals, at_once, hurried=lambda _: False)
        return False
