"""A producer in the memory cluster, transactional or with acknowledgements alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast

from scorer.broker.contract import Fault, Membership, Verdict
from scorer.broker.memory.cluster import SETTLED, Entry, Fate, MemoryBroker, Place, Tenure, Transaction
from scorer.broker.memory.faults import Refuse, Slow
from scorer.records import Offsets, Outgoing


class MemorySink:
    """Writes under a transactional id, which it takes from whoever had it; without one, at-least-once."""

    def __init__(self, broker: MemoryBroker, group: str, transactional_id: str | None) -> None:
        self._broker = broker
        self._group = group
        self._id = transactional_id
        self._epoch = 0
        self._queued: list[tuple[str, Entry]] = []
        self._suspect: str | None = None
        self._take_id()

    @property
    def suspect(self) -> str | None:
        """Why this producer must not begin another transaction: a commit request of it is still on its way."""
        return self._suspect

    def begin(self) -> None:
        """Open a transaction."""
        with self._broker.call("begin"):
            tenure = self._tenure()
            if tenure.transaction is not None:
                raise Fault(Verdict.RENEW, "_STATE", "a transaction is open already")
            tenure.transaction = Transaction(self._group)

    def publish(self, outgoing: Outgoing) -> None:
        """Queue records; one that is too large is refused, as `Refuse` does."""
        with self._broker.call("publish") as sentinel:
            tenure = self._tenure() if self._id else None
            owner = _open(tenure) if tenure else SETTLED
            for number, (topic, entry) in enumerate(_entries(outgoing, owner)):
                if isinstance(sentinel, Refuse) and number == sentinel.after:
                    raise Fault(Verdict.ABORT, "_QUEUE_FULL", f"record {number} cannot be queued")
                if _size(entry) > self._broker.max_bytes:
                    raise Fault(Verdict.ABORT, "MSG_SIZE_TOO_LARGE", f"{topic}: {_size(entry)} bytes")
                self._queue(topic, entry)
            if tenure and tenure.late and tenure.transaction:
                # The request that was on its way arrives, and commits what it was not meant for (KIP-890).
                self._broker.end(tenure.transaction, Fate.COMMITTED)
                tenure.transaction, tenure.late = Transaction(self._group), False

    def flush(self, timeout: float) -> None:  # noqa: ARG002
        """Write what is queued."""
        queued, self._queued = self._queued, []
        with self._broker.call("flush"):
            for topic, entry in queued:
                self._broker.append(topic, entry)

    def commit(self, offsets: Offsets, membership: Membership, timeout: float) -> None:
        """Put the offsets into the transaction, if the member is still in its place, and commit it."""
        with self._broker.call("commit"):
            transaction = _open(self._tenure())
            if not self._broker.groups[self._group].holds(cast(Place, membership)):
                raise Fault(Verdict.ABORT, "ILLEGAL_GENERATION", f"group {self._group} has moved on")
            transaction.offsets = dict(offsets)
        self.resume(timeout)

    def resume(self, timeout: float) -> None:  # noqa: ARG002
        """Commit, or ask again; a request whose answer did not come may arrive a second time later."""
        with self._doubting(), self._broker.call("end") as sentinel:
            tenure = self._tenure()
            transaction = _open(tenure, but=Fate.COMMITTED)
            if transaction.fate is Fate.OPEN:
                self._broker.end(transaction, Fate.COMMITTED)
            if isinstance(sentinel, Slow):
                self._suspect, tenure.late = sentinel.why, True
        tenure.transaction = None

    def abort(self, timeout: float) -> None:  # noqa: ARG002
        """Drop the open transaction."""
        with self._broker.call("abort"):
            tenure = self._tenure()
            self._broker.end(_open(tenure), Fate.ABORTED)
            tenure.transaction = None

    def renew(self) -> None:
        """Take the id anew."""
        with self._broker.call("renew"):
            self._take_id()
            self._suspect = None

    def serve(self) -> None:
        """Return at once: nobody says anything here."""

    def close(self) -> None:
        """Drop what is open, if it is still ours to drop."""
        self._queued.clear()
        with suppress(Fault):
            self._broker.end(_open(self._tenure()), Fate.ABORTED)

    def _take_id(self) -> None:
        self._queued.clear()
        if self._id:
            self._epoch = self._broker.fence(self._id)

    def _tenure(self) -> Tenure:
        return self._broker.tenure(self._id or "", self._epoch)

    def _queue(self, topic: str, entry: Entry) -> None:
        if self._id:
            self._broker.append(topic, entry)
        else:
            self._queued.append((topic, entry))

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        try:
            yield
        except Fault as fault:
            self._suspect = "the outcome of a commit was in doubt"
            if not fault.fenced:
                self._tenure().late = True
            raise


def _entries(outgoing: Outgoing, owner: Transaction) -> Iterator[tuple[str, Entry]]:
    headers = outgoing.headers or [()] * len(outgoing.values)
    for key, value, own in zip(outgoing.keys, outgoing.values, headers, strict=True):
        yield outgoing.decisions_topic, Entry(key, value, own, transaction=owner)
    for letter in outgoing.dead_letters:
        yield outgoing.dead_letters_topic, Entry(letter.key, letter.value, letter.headers, letter.timestamp, owner)


def _size(entry: Entry) -> int:
    return len(entry.key or b"") + len(entry.value or b"") + sum(len(n) + len(c or b"") for n, c in entry.headers)


def _open(tenure: Tenure, but: Fate = Fate.OPEN) -> Transaction:
    """Return the open transaction, or one of the fate `but`."""
    if tenure.transaction is None or tenure.transaction.fate not in {Fate.OPEN, but}:
        raise Fault(Verdict.RENEW, "_STATE", "no transaction is open")
    return tenure.transaction
