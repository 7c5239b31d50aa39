"""DeadLetters → their events again, each once whatever happens: killed, repeated, with other filters, twice at a time.

The order is the promise. The writer's start shuts out any other redrive of the same dead letters and settles what it
left open; only then the ledger is read, whole; and every transaction holds events together with their receipts. One
that was shut out can commit nothing more, and what it had committed is in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from scorer.broker.contract import Fault, Verdict
from scorer.dlq.ledger import Ledger, receipt
from scorer.dlq.letters import DeadLetter
from scorer.dlq.plan import Fate, Tally, Terms, event, size
from scorer.errors import BrokerError, FencedError
from scorer.records import Letter

CHUNK = 1000
"""Letters of a transaction at most: what is done again after a fault, and how long a signal may have to wait."""
CHUNK_BYTES = 16 * 1024 * 1024
"""Bytes of a transaction, but for its last letter: what the client's queue and the transaction's time can take."""
COMMIT_TIMEOUT = 8.0
"""Seconds for a commit: below the client's `socket.timeout.ms`, so that no request outlives its answer."""
ATTEMPTS = 5
"""Producers in a row that may fail before an operator is called."""


class Writer(Protocol):
    """A transactional producer, as `broker.kafka.sink` has it; all but `close` may raise Fault."""

    @property
    def suspect(self) -> str | None:
        """Why it must not begin another transaction, if so."""

    def begin(self) -> None:
        """Open a transaction."""

    def send(self, topic: str, partition: int | None, letter: Letter) -> None:
        """Queue a record; without a partition, its key chooses."""

    def resume(self, timeout: float) -> None:
        """Commit."""

    def renew(self) -> None:
        """Replace the producer, which settles its transaction."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Holds a rate of letters a second, if there is one: `pause(seconds)` waits."""

    rate: float | None
    pause: Callable[[float], object]

    @property
    def chunk(self) -> int:
        """Letters of a transaction: a second's at most."""
        return CHUNK if self.rate is None else max(1, min(CHUNK, int(self.rate)))

    def keep(self, sent: int) -> None:
        """Wait after letters were sent, as long as so many may take."""
        if self.rate is not None:
            self.pause(sent / self.rate)


class Redrive:
    """Publishes letters' events. `recall` reads the ledger anew; `stopping` is asked between two transactions."""

    def __init__(
        self,
        writer: Writer,
        *,
        recall: Callable[[], Ledger],
        ledger_topic: str,
        terms: Terms,
        pace: Pace,
        stopping: Callable[[], bool],
    ) -> None:
        self._writer = writer
        self._recall = recall
        self._ledger_topic = ledger_topic
        self._terms = terms
        self._pace = pace
        self._stopping = stopping

    def __call__(self, batches: Iterable[Sequence[DeadLetter]]) -> Tally:
        """Redrive letters until there are no more, or until told to stop; return what became of those met.

        Raises FencedError where another redrive has begun, BrokerError for what trying again does not mend.
        """
        ledger, tally = self._recall(), Tally()
        for letters in batches:
            for chunk in self._chunks(letters, ledger, tally):
                self._publish(chunk)
                for letter in chunk:
                    tally.add(letter, Fate.REDRIVE, self._terms.topic(letter))
                self._pace.keep(len(chunk))
                if self._stopping():
                    return tally
            if self._stopping():
                return tally
        return tally

    def _chunks(self, letters: Sequence[DeadLetter], ledger: Ledger, tally: Tally) -> Iterator[list[DeadLetter]]:
        """Yield the letters to redrive in transactions' portions, and count the others."""
        chunk: list[DeadLetter] = []
        weight = 0
        for letter in letters:
            fate = self._terms.fate(letter, ledger)
            if fate is not Fate.REDRIVE:
                tally.add(letter, fate, None)
                continue
            ledger.add(letter)
            chunk.append(letter)
            weight += size(event(letter))
            if len(chunk) >= self._pace.chunk or weight >= CHUNK_BYTES:
                yield chunk
                chunk, weight = [], 0
        if chunk:
            yield chunk

    def _publish(self, chunk: Sequence[DeadLetter]) -> None:
        """Publish letters in one transaction. After any fault a new producer settles it, and the ledger knows it."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if attempt > 1 or self._writer.suspect:
                    self._writer.renew()
                    ledger = self._recall()
                    chunk = [letter for letter in chunk if letter not in ledger]
                self._transact(chunk)
                return
            except Fault as fault:
                self._refuse(fault, chunk, last=attempt == ATTEMPTS)

    def _transact(self, chunk: Sequence[DeadLetter]) -> None:
        if not chunk:
            return
        self._writer.begin()
        for letter in chunk:
            topic, partition = self._terms.destination(letter)
            self._writer.send(topic, partition, event(letter))
            self._writer.send(self._ledger_topic, None, receipt(letter, topic))
        self._writer.resume(COMMIT_TIMEOUT)

    def _refuse(self, fault: Fault, chunk: Sequence[DeadLetter], *, last: bool) -> None:
        """Raise what trying again does not mend."""
        where = f"letters {chunk[0].place} to {chunk[-1].place}" if chunk else self._ledger_topic
        if fault.fenced:
            raise FencedError(
                f"{where}: another redrive of the same dead letters has begun, and this one stopped: {fault}. Nothing "
                "is redriven twice; let the other finish"
            ) from fault
        if fault.verdict is Verdict.STOP:
            raise BrokerError(f"{where}: {fault}; give the user this permission (docs/dead-letters.md)") from fault
        if last:
            raise BrokerError(
                f"{where} cannot be redriven: {fault}. They stay dead letters; mend it and run this again: what was "
                "redriven is not redriven twice"
            ) from fault
