"""What the service may expect of a broker. `kafka` and `memory` keep the same promises; one suite tests both.

Order of calls in one micro-batch, exactly-once:

    source.poll()… → source.membership() → sink.begin() → sink.publish()… → sink.commit(offsets, membership)

and at-least-once:

    source.poll()… → sink.publish()… → sink.flush() → source.commit(offsets)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType, Protocol

from scorer.records import Offsets, Outgoing, Partition, Records

Membership = NewType("Membership", object)
"""The consumer's place in its group at one moment: member and generation. Opaque.

Taken together with a batch and handed to the commit, it lets the broker refuse a batch whose partitions have gone to
somebody else since. One fetched at commit time would vouch for partitions that were taken over meanwhile, and their
events would be decided twice.
"""


class Verdict(StrEnum):
    """What has to be done about a producer's error; `broker.kafka.verdict` says which gets which."""

    RETRY = "retry"
    """Repeat the same call."""
    ABORT = "abort"
    """Abort the transaction and start again from the committed offsets."""
    RENEW = "renew"
    """The producer is done: replace it (which settles its transaction), then start again from the committed offsets."""
    STOP = "stop"
    """An operator must act: permissions, for example."""


class Fault(Exception):
    """A call to the broker failed; `verdict` says what to do. `fenced` if another producer took the same id."""

    def __init__(self, verdict: Verdict, code: str, message: str, *, fenced: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.verdict = verdict
        self.code = code
        self.fenced = fenced


class Change(StrEnum):
    """What happened to partitions in a rebalance; `lost` ones were taken without asking first."""

    ASSIGNED = "assigned"
    REVOKED = "revoked"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Rebalance:
    """Partitions given to this member or taken from it."""

    change: Change
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class Haul:
    """What one poll brought: records by topic, in the order consumed, and the rebalances that it lived through.

    Where there were any, no record from before or in this haul may be used: its partition may be somebody else's.
    `ends` are partitions that were read to their end, each with the offset there. All records before it were handed
    out; behind the last of them only transactions' marks, and what they aborted, may lie.
    """

    records: tuple[Records, ...] = ()
    rebalances: tuple[Rebalance, ...] = ()
    ends: Mapping[Partition, int] = field(default_factory=dict)


class Source(Protocol):
    """Records of the subscribed topics, as one member of a consumer group. One thread uses it."""

    def poll(self, limit: int, timeout: float) -> Haul:
        """Wait until `limit` records and ends of partitions came or `timeout` seconds are over, whichever is first.

        Raises Fault (ABORT) where records were lost on the way: start again from the committed offsets.
        Raises OffsetLostError, TopicMissingError or BrokerError for what waiting does not mend.
        """

    def hold(self, topics: frozenset[str]) -> None:
        """Read nothing of these topics, and of no others, until told otherwise; their offsets stay where they are."""

    def membership(self) -> Membership:
        """Return the place in the group, to be taken together with a batch."""

    def commit(self, offsets: Offsets) -> bool:
        """Commit outside a transaction; False if the group has moved on and somebody else reads on from before."""

    def rewind(self) -> Offsets:
        """Read again from the committed offsets, the truth after anything that went wrong, and return them.

        Raises Fault (RETRY) where the broker does not answer: it can be asked again. Raises OffsetLostError, or
        BrokerError for what waiting does not mend.
        """

    def stuck(self) -> dict[Partition, int]:
        """Return the partitions that cannot be read on, each with the offset that fails again and again."""

    def lag(self) -> dict[Partition, int]:
        """Return for each assigned partition how many records lie behind the last one handed out, where known."""

    def close(self) -> None:
        """Leave the group."""


class Sink(Protocol):
    """Where decisions and dead letters go. One thread uses it. Every method but `close` may raise Fault."""

    def begin(self) -> None:
        """Open a transaction."""

    def publish(self, outgoing: Outgoing) -> None:
        """Queue records; raises Fault if even one could not be queued."""

    def flush(self, timeout: float) -> None:
        """Wait until every queued record is acknowledged; raises Fault (ABORT) if one is refused or time runs out."""

    def commit(self, offsets: Offsets, membership: Membership, timeout: float) -> None:
        """Commit the transaction with `offsets` in it, all or nothing.

        Raises Fault: RETRY means that the outcome is still open, and that calling `resume` may settle it.
        """

    def resume(self, timeout: float) -> None:
        """Ask again for the outcome of a commit that ended in RETRY."""

    def abort(self, timeout: float) -> None:
        """Drop the open transaction."""

    def renew(self) -> None:
        """Replace the producer by a new one of the same identity; its start settles whatever was left open."""

    def serve(self) -> None:
        """Take note of what the client has to say, without waiting; called now and then, also when nothing is sent."""

    @property
    def suspect(self) -> str | None:
        """Why this producer must not begin another transaction, if so: its last commit may still be in flight."""

    def close(self) -> None:
        """Drop what is open and disconnect."""
