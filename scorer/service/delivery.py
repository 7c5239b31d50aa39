"""How a batch becomes final, and what is done when it does not. Exactly-once by transactions, or at-least-once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias

from scorer.broker.contract import Fault, Membership, Sink, Source, Verdict
from scorer.errors import BrokerError, FencedError
from scorer.records import Offsets, Outgoing
from scorer.telemetry.facts import RenewReason

COMMIT_TIMEOUT = 8.0
"""Seconds for one commit call: below the client's `socket.timeout.ms`, so that no request outlives its answer."""
ABORT_TIMEOUT = 8.0
FLUSH_TIMEOUT = 35.0
"""Seconds for all acknowledgements: longer than `message.timeout.ms`, which ends every record's wait."""
REFUSALS = frozenset({"MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "INVALID_MSG", "INVALID_TIMESTAMP"})
"""What a broker says of records that it will never take, however often they are sent."""
MAX_RESUMES = 5
"""Times that a commit's outcome is asked for again: a client that lost its coordinator may ask for ever."""
MAX_REFUSALS = 5
MAX_RENEWALS = 5
"""Producers replaced in a row, without a batch settled between, before an operator is called."""


Aside: TypeAlias = Callable[[Callable[[], None]], Callable[[], None]]
"""Begins a call, beside what the caller does next; what it returns waits for the end, and raises what was raised."""


Finish: TypeAlias = Callable[[], bool | None]
"""Waits until a batch is settled. Returns True if it is final, False if it was dropped, None if only the committed
offsets can tell. Unless it is final, the caller starts again from the committed offsets. Raises BrokerError or
FencedError for what an operator must mend."""


class Delivery(Protocol):
    """Delivers a batch: all of it, or nothing that a `read_committed` reader would see."""

    def start(self, parcels: Sequence[Outgoing], offsets: Offsets, membership: Membership) -> Finish:
        """Publish the batch and begin to make it final; what is returned is to be called before the next poll."""

    def serve(self) -> None:
        """Let the client say what it has to say; called now and then, also when nothing is delivered."""


class Renewals:
    """Replaces the producer, and counts what went wrong in a row; `hear` is told of each renewal and why."""

    def __init__(self, sink: Sink, hear: Callable[[RenewReason], None], *, hurried: Callable[[Fault], bool]) -> None:
        """`hurried` is told what is waited for, and says whether the service must stop."""
        self._sink = sink
        self._hear = hear
        self._hurried = hurried
        self._in_a_row = 0
        self._refusals = 0
        self._fenced = False

    def settled(self) -> None:
        """Note that a batch went through."""
        self._in_a_row, self._fenced, self._refusals = 0, False, 0

    def refused(self, fault: Fault) -> None:
        """Note that a batch was dropped; gives up where the broker refuses its records again and again."""
        self._refusals += fault.code in REFUSALS
        if self._refusals > MAX_REFUSALS:
            raise BrokerError(
                f"{fault}: the broker refused the same batch {self._refusals} times; compare the topic's "
                "`max.message.bytes` and `cleanup.policy` (a compacted topic takes no record without a key)"
            )

    def renew(self, reason: RenewReason, why: str) -> None:
        """Replace the producer, or give up.

        Being fenced once may be our own transaction that timed out; twice in a row means a twin, and two that
        renew in turn would shut each other out for ever.
        """
        fenced = reason is RenewReason.FENCED
        if fenced and self._fenced:
            raise FencedError(f"another producer took this scorer's transactional.id: {why}; stop one of the two")
        self._fenced = self._fenced or fenced
        self._in_a_row += 1
        if self._in_a_row > MAX_RENEWALS:
            raise BrokerError(f"{MAX_RENEWALS} producers in a row failed, the last with {why}")
        self._hear(reason)
        fault = self._replaced()
        if fault is not None:
            self.renew(_reason(fault), str(fault))

    def _replaced(self) -> Fault | None:
        """Replace the producer, waiting as long as the broker is away; return why another one is needed, if so."""
        while True:
            try:
                self._sink.renew()
            except Fault as fault:
                if fault.verdict is Verdict.STOP:
                    raise BrokerError(str(fault)) from fault
                if fault.verdict is Verdict.RENEW:
                    return fault
                if not self._hurried(fault):
                    continue
            return None


class ExactlyOnce:
    """Decisions, dead letters and offsets in one transaction."""

    def __init__(self, sink: Sink, renewals: Renewals, aside: Aside, *, hurried: Callable[[Fault], bool]) -> None:
        """`hurried` is told what is waited for; an open commit is left to the next producer where it says so."""
        self._sink = sink
        self._renewals = renewals
        self._aside = aside
        self._hurried = hurried

    def start(self, parcels: Sequence[Outgoing], offsets: Offsets, membership: Membership) -> Finish:
        """Open a transaction, fill it, and begin its commit."""
        try:
            self._sink.begin()
            for parcel in parcels:
                self._sink.publish(parcel)
        except Fault as fault:
            return partial(self._recover, fault)
        return partial(self._finish, self._aside(partial(self._sink.commit, offsets, membership, COMMIT_TIMEOUT)))

    def _finish(self, wait: Callable[[], None]) -> bool | None:
        try:
            wait()
        except Fault as fault:
            return self._recover(fault)
        finally:
            del wait  # with the error's traceback it would make a circle that keeps a replaced producer alive
        return self._through()

    def serve(self) -> None:
        """Let the client say what it has to say."""
        self._sink.serve()

    def _through(self) -> bool:
        self._renewals.settled()
        self._replace_suspect()
        return True

    def _recover(self, fault: Fault) -> bool | None:
        """Do what the fault asks for, and return what became of the batch."""
        for _ in range(MAX_RESUMES):
            if fault.verdict is not Verdict.RETRY:
                break
            if self._hurried(fault):
                return None
            try:
                self._sink.resume(COMMIT_TIMEOUT)
                return self._through()
            except Fault as again:
                fault = again
        if fault.verdict is Verdict.STOP:
            raise BrokerError(f"{fault}; give the scorer this permission, or correct its credentials") from fault
        if fault.verdict is Verdict.ABORT:
            refused = self._abort()
            if refused is None:
                self._renewals.refused(fault)
                self._replace_suspect()
                return False
            fault = refused if refused.fenced else fault  # only the abort may say so
        in_doubt = self._sink.suspect is not None
        settled_late = RenewReason.COMMIT_UNKNOWN if in_doubt else RenewReason.FATAL
        self._renewals.renew(RenewReason.FENCED if fault.fenced else settled_late, str(fault))
        return None if in_doubt else False

    def _abort(self) -> Fault | None:
        try:
            self._sink.abort(ABORT_TIMEOUT)
        except Fault as fault:
            return fault
        return None

    def _replace_suspect(self) -> None:
        """Replace a producer whose last commit may still be in flight, before it begins another transaction."""
        if self._sink.suspect:
            self._renewals.renew(RenewReason.COMMIT_SLOW, self._sink.suspect)


class AtLeastOnce:
    """Offsets after acknowledgements: nothing is lost, and what was in flight at a crash is decided again."""

    def __init__(self, sink: Sink, source: Source, renewals: Renewals, aside: Aside) -> None:
        self._sink = sink
        self._source = source
        self._renewals = renewals
        self._aside = aside

    def start(self, parcels: Sequence[Outgoing], offsets: Offsets, membership: Membership) -> Finish:  # noqa: ARG002
        """Publish, and begin to wait for every acknowledgement; the offsets are committed when that has ended."""
        try:
            for parcel in parcels:
                self._sink.publish(parcel)
        except Fault as fault:
            return partial(self._recover, fault)
        return partial(self._finish, self._aside(partial(self._sink.flush, FLUSH_TIMEOUT)), offsets)

    def _finish(self, wait: Callable[[], None], offsets: Offsets) -> bool:
        try:
            wait()
        except Fault as fault:
            return self._recover(fault)
        finally:
            del wait  # with the error's traceback it would make a circle that keeps a replaced producer alive
        self._renewals.settled()
        return self._source.commit(offsets)

    def _recover(self, fault: Fault) -> bool:
        if fault.verdict is Verdict.STOP:
            raise BrokerError(f"{fault}; give the scorer this permission, or correct its credentials") from fault
        if fault.verdict is Verdict.RENEW:
            self._renewals.renew(_reason(fault), str(fault))
        self._renewals.refused(fault)
        return False

    def serve(self) -> None:
        """Let the client say what it has to say."""
        self._sink.serve()


def _reason(fault: Fault) -> RenewReason:
    return RenewReason.FENCED if fault.fenced else RenewReason.FATAL
