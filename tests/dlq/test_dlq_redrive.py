"""Each event once: a redrive that is killed, fails, is repeated with other filters, or runs twice at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

import pytest
from dlq_world import Event, bury, letter_of
from hypothesis import given
from hypothesis import strategies as st

from scorer.broker.contract import Fault, Verdict
from scorer.dlq.families import Origin
from scorer.dlq.ledger import Ledger
from scorer.dlq.letters import DeadLetter
from scorer.dlq.plan import Fate, Tally, Target, Terms
from scorer.dlq.redrive import ATTEMPTS, CHUNK_BYTES, Pace, Redrive
from scorer.errors import BrokerError, FencedError
from scorer.records import Letter, Records

LEDGER = "payments.dlq.redriven"
TERMS = Terms({"payments": Target(4, 30_000_000, 0)}, None, 3)


class Mishap(Enum):
    """What may befall a call to the broker."""

    NONE = auto()
    REFUSED = auto()
    ANSWER_LOST = auto()
    DEAD_BEFORE = auto()
    DEAD_AFTER = auto()


class Killed(Exception):
    """The process is gone."""


@dataclass
class Log:
    """Topics under one transactional id: what was committed, by which of its producers, and what is still open."""

    committed: list[tuple[str, int | None, Letter]] = field(default_factory=list)
    open: list[tuple[str, int | None, Letter]] = field(default_factory=list)
    transactions: list[int] = field(default_factory=list)
    epoch: int = 0

    def ledger(self) -> Ledger:
        """Read the ledger as a `read_committed` consumer does."""
        kept = [letter for topic, _, letter in self.committed if topic == LEDGER]
        keys, values = [letter.key for letter in kept], [letter.value for letter in kept]
        return Ledger([Records.of(LEDGER, [0] * len(kept), range(len(kept)), [0] * len(kept), keys, values)])

    def events(self) -> list[tuple[int | None, bytes | None]]:
        """Return partition and value of every event."""
        return [(partition, letter.value) for topic, partition, letter in self.committed if topic == "payments"]


class Producer:
    """A transactional producer of a Log, as Kafka has it: a newer one shuts it out. `mishaps` befall its calls."""

    suspect: str | None = None

    def __init__(self, log: Log, mishaps: Iterable[Mishap] = ()) -> None:
        self._log = log
        self._mishaps = iter(mishaps)
        self._start()

    def begin(self) -> None:
        """Open a transaction."""
        self._call(lambda: None)

    def send(self, topic: str, partition: int | None, letter: Letter) -> None:
        """Queue a record."""
        self._call(lambda: self._log.open.append((topic, partition, letter)))

    def resume(self, timeout: float) -> None:  # noqa: ARG002 - a commit here takes no time
        """Commit."""
        self._call(self._commit)

    def renew(self) -> None:
        """Begin anew."""
        self._start()

    def _start(self) -> None:
        self._log.epoch += 1
        self._log.open.clear()
        self._epoch = self._log.epoch

    def _commit(self) -> None:
        self._log.transactions.append(len(self._log.open) // 2)
        self._log.committed += self._log.open
        self._log.open.clear()

    def _call(self, act: Callable[[], None]) -> None:
        if self._epoch != self._log.epoch:
            raise Fault(Verdict.RENEW, "_FENCED", "another producer", fenced=True)
        mishap = next(self._mishaps, Mishap.NONE)
        if mishap is Mishap.DEAD_BEFORE:
            raise Killed
        if mishap is Mishap.REFUSED:
            raise Fault(Verdict.ABORT, "REFUSED", "not now")
        act()
        if mishap is Mishap.DEAD_AFTER:
            raise Killed
        if mishap is Mishap.ANSWER_LOST:
            raise Fault(Verdict.RETRY, "TIMED_OUT", "no answer")


def letters(count: int, *, size: int = 2) -> list[DeadLetter]:
    """Return letters of different events, in order."""
    made = (Event(Origin("payments", n % 4, n), value=b"%0*d" % (size, n)) for n in range(count))
    return [letter_of(bury(event), Origin("payments.dlq", 0, n)) for n, event in enumerate(made)]


def batches(letters: Sequence[DeadLetter], size: int) -> Iterator[Sequence[DeadLetter]]:
    """Yield letters as they are read."""
    return (letters[at : at + size] for at in range(0, len(letters), size))


def redrive(
    log: Log,
    letters: Sequence[DeadLetter],
    mishaps: Iterable[Mishap] = (),
    *,
    pace: Pace | None = None,
    stopping: Callable[[], bool] = lambda: False,
    batch: int = 3,
) -> Tally:
    """Redrive letters with a producer of their own, as one run of the command does."""
    work = Redrive(
        Producer(log, mishaps),
        recall=log.ledger,
        ledger_topic=LEDGER,
        terms=TERMS,
        pace=pace or Pace(None, lambda _: None),
        stopping=stopping,
    )
    return work(batches(letters, batch))


MISHAPS = st.lists(
    st.sampled_from(Mishap) | st.just(Mishap.NONE) | st.just(Mishap.NONE) | st.just(Mishap.NONE), max_size=40
)


@given(st.lists(st.tuples(MISHAPS, st.sets(st.integers(0, 9)))), st.integers(1, 5))
def test_every_event_is_redriven_once(runs: list[tuple[list[Mishap], set[int]]], batch: int) -> None:
    """Whatever befalls however many runs with whatever filters, a last one leaves each event there exactly once."""
    log, dead = Log(), letters(10)
    for mishaps, chosen in runs:
        try:
            redrive(log, [dead[n] for n in sorted(chosen)], mishaps, batch=batch)
        except (Killed, BrokerError):
            continue
    redrive(log, dead, batch=batch)

    assert Counter(log.events()) == Counter((n % 4, b"%02d" % n) for n in range(10))


@given(st.integers(0, 12))
def test_a_second_redrive_shuts_out_the_first(after: int) -> None:
    """The first ends by name, at whatever moment the second begins; together they redrive each event once."""
    log, dead = Log(), letters(12)
    waits = []

    def second(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == after:
            redrive(log, dead[:8])

    if 0 < after <= 12:
        with pytest.raises(FencedError, match="another redrive"):
            redrive(log, [*dead, *letters(14)[12:]], pace=Pace(1.0, second))
    else:
        redrive(log, dead, pace=Pace(1.0, second))
    redrive(log, dead)

    assert Counter(log.events()) == Counter((n % 4, b"%02d" % n) for n in range(12))


def test_an_event_that_was_buried_twice_is_redriven_once() -> None:
    """Under at-least-once a crash may leave two letters of one event."""
    log, dead = Log(), letters(3)
    copies = [
        letter_of(bury(Event(Origin("payments", n % 4, n), value=b"%02d" % n)), Origin("d", 1, n)) for n in (0, 1)
    ]

    tally = redrive(log, [*dead, *copies], batch=2)

    assert len(log.events()) == 3
    assert tally.fates == {Fate.REDRIVE: 3, Fate.DONE: 2}


def test_order_is_kept() -> None:
    """Events are published as their letters lie, also where a transaction was tried again."""
    log = Log()
    fails = [*[Mishap.NONE] * 9, Mishap.REFUSED, *[Mishap.NONE] * 7, Mishap.ANSWER_LOST]

    redrive(log, letters(9), fails)

    assert [value for _, value in log.events()] == [b"%02d" % n for n in range(9)]


def test_a_rate_is_kept() -> None:
    """No transaction has more letters than a second may have, and each is followed by the time that it may take."""
    log, waits = Log(), []

    redrive(log, letters(10), pace=Pace(4.0, waits.append), batch=10)

    assert log.transactions == [4, 4, 2]
    assert waits == [1.0, 1.0, 0.5]


def test_large_letters_get_small_transactions() -> None:
    """A transaction is bounded in bytes too."""
    log, dead = Log(), letters(4)
    big = [Event(Origin("payments", 0, n), value=b"%d" % n) for n in range(4)]
    large = [letter_of(bury(event), Origin("d", 0, n)) for n, event in enumerate(big)]
    large = [
        DeadLetter(one.place, one.timestamp, one.key, b"x" * (CHUNK_BYTES // 2), one.headers, one.failure)
        for one in large
    ]

    redrive(log, [*large, *dead], batch=8)

    assert log.transactions == [2, 2, 4]


def test_a_signal_ends_after_the_transaction_in_hand() -> None:
    """What is begun is committed, and nothing more is."""
    log = Log()

    tally = redrive(log, letters(9), stopping=lambda: len(log.transactions) >= 2)

    assert len(log.events()) == tally.fates[Fate.REDRIVE] == 6


def test_what_never_works_ends_with_its_name() -> None:
    """A letter that the broker refuses again and again stays a letter, and the message says which it is."""
    log = Log()
    refusals = [*[Mishap.NONE] * 8, *[Mishap.REFUSED] * ATTEMPTS]

    with pytest.raises(
        BrokerError, match=r"letters payments\.dlq-0-3 to payments\.dlq-0-5 cannot be redriven: REFUSED"
    ):
        redrive(log, letters(9), refusals)

    assert len(log.events()) == 3
