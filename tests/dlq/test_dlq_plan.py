"""Which letters are meant, what becomes of each, and the event that is made of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from dlq_world import Event, bury, letter_of
from hypothesis import given
from hypothesis import strategies as st

from scorer.dlq.families import Origin
from scorer.dlq.ledger import Ledger, receipt
from scorer.dlq.letters import OF, REDRIVES, Census, DeadLetter, Selection, place
from scorer.dlq.plan import Fate, Target, Terms, event, size
from scorer.dlq.show import doubts
from scorer.errors import Reason, SelectionError
from scorer.records import Header, Records

PLACE = Origin("payments.dlq", 1, 7)
TERMS = Terms({"payments": Target(3, 1_000_000, 0)}, None, 3)
NAMES = st.text(max_size=8) | st.sampled_from([OF, REDRIVES])
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=8)), max_size=5)
EVENTS = st.builds(
    Event,
    st.builds(Origin, st.sampled_from(["payments", "payouts"]), st.integers(0, 5), st.integers(0, 3)),
    st.none() | st.binary(max_size=3),
    st.none() | st.binary(max_size=3),
    HEADERS.map(tuple),
    st.integers(0, 50),
)


def letter(event: Event, reason: Reason = Reason.MALFORMED, at: Origin = PLACE) -> DeadLetter:
    """Bury an event, and read its letter."""
    return letter_of(bury(event, reason), at)


def redriven(headers: tuple[Header, ...]) -> DeadLetter:
    """Return the letter of a payment with headers."""
    return letter(Event(Origin("payments", 0, 1), headers=headers))


@given(EVENTS)
def test_a_redriven_event_is_the_event(buried: Event) -> None:
    """Key, value, time and own headers are as they were; of the redrive's headers there is one each, at the end."""
    made = event(letter(buried))

    assert (made.key, made.value, made.timestamp) == (buried.key, buried.value, buried.timestamp)
    assert list(made.headers[:-2]) == [header for header in buried.headers if header[0] not in (OF, REDRIVES)]
    assert [name for name, _ in made.headers[-2:]] == [OF, REDRIVES]
    assert made.headers[-2][1] == b"payments.dlq-1-7"


def test_the_count_survives_every_failure() -> None:
    """An event that is redriven and fails again is known to have been redriven once, then twice."""
    buried = Event(Origin("payments", 0, 1), headers=(("trace", b"1"),))
    for count in range(3):
        dead = letter(buried)
        assert dead.redrives == count
        buried = replace(buried, headers=tuple(event(dead).headers))
    assert buried.headers == (("trace", b"1"), (OF, b"payments.dlq-1-7"), (REDRIVES, b"3"))
    assert TERMS.fate(letter(buried), Ledger()) is Fate.WORN


@pytest.mark.parametrize("content", [None, b"", b"-1", b"many", b"9" * 40, "٣".encode()])
def test_what_is_no_count_is_none(content: bytes | None) -> None:
    """Whoever wrote such a header, no redrive of ours did."""
    assert redriven(((REDRIVES, content),)).redrives == 0


@given(EVENTS, EVENTS)
def test_an_identity_is_an_events_own(one: Event, other: Event) -> None:
    """Two letters have one identity if, and only if, origin, key and value are the same; their places do not matter."""
    same = (one.origin, one.key, one.value) == (other.origin, other.key, other.value)

    assert (letter(one).identity == letter(other, at=Origin("x", 0, 0)).identity) == same


def test_letters_of_unknown_origin_stand_for_themselves() -> None:
    """Equal contents at two places are two letters."""
    unknown = [replace(letter(Event(PLACE)), place=Origin("x", 0, offset)) for offset in range(2)]
    unknown = [replace(one, failure=replace(one.failure, origin=None)) for one in unknown]

    assert unknown[0].identity != unknown[1].identity


@given(EVENTS, st.sampled_from(["payments", "payouts", None]), st.sets(st.sampled_from(Reason), max_size=2))
def test_a_selection_is_all_of_its_parts(buried: Event, topic: str | None, reasons: set[Reason]) -> None:
    """Topic, reason and time each leave out what they must, and nothing else; a time is the event's own."""
    dead = letter(buried, Reason.TOMBSTONE)
    meant = (topic in (None, buried.origin.topic)) and (not reasons or Reason.TOMBSTONE in reasons)

    assert (dead in Selection(topic, frozenset(reasons), 10, 40)) == (meant and 10 <= buried.timestamp < 40)
    assert (dead in Selection(topic, frozenset(reasons))) == meant


@pytest.mark.parametrize(
    ("dead", "terms", "fate"),
    [
        (redriven(()), TERMS, Fate.REDRIVE),
        (redriven(((REDRIVES, b"2"),)), TERMS, Fate.REDRIVE),
        (redriven(((REDRIVES, b"3"),)), TERMS, Fate.WORN),
        (letter(Event(Origin("payments", 0, 1), value=b"v" * 30_000)), TERMS, Fate.CUT),
        (letter(Event(Origin("secrets", 0, 1))), TERMS, Fate.FOREIGN),
        (letter(Event(Origin("secrets", 0, 1))), replace(TERMS, to_topic="payments"), Fate.REDRIVE),
        (redriven(()), replace(TERMS, targets={"payments": Target(3, 50, 0)}), Fate.LARGE),
        (redriven(()), replace(TERMS, targets={"payments": Target(3, 999, 1_700_000_000_001)}), Fate.OLD),
        (redriven(()), replace(TERMS, targets={"payments": Target(3, 999, 1_700_000_000_000)}), Fate.REDRIVE),
        (letter_of(bury(Event(PLACE)), PLACE), TERMS, Fate.FOREIGN),
    ],
)
def test_fate(dead: DeadLetter, terms: Terms, fate: Fate) -> None:
    """Every reason not to redrive a letter has its name, and no header opens a topic that is not a target."""
    assert terms.fate(dead, Ledger()) is fate


def test_without_an_origin_a_topic_must_be_named() -> None:
    """A letter that nobody knows goes nowhere, or where the operator says, and there its key chooses."""
    dead = letter_of(replace(bury(Event(PLACE)), headers=[("trace", b"1")]), PLACE)
    named = replace(TERMS, to_topic="payments")

    assert TERMS.fate(dead, Ledger()) is Fate.LOST
    assert named.fate(dead, Ledger()) is Fate.REDRIVE
    assert named.destination(dead) == ("payments", None)


@pytest.mark.parametrize(("partition", "expected"), [(0, 0), (2, 2), (3, None), (7, None)])
def test_the_partition_is_the_origins(partition: int, expected: int | None) -> None:
    """An event goes back into its partition; where there is none such, its key chooses."""
    assert TERMS.destination(letter(Event(Origin("payments", partition, 1)))) == ("payments", expected)


@given(EVENTS)
def test_a_receipt_is_remembered(buried: Event) -> None:
    """What the ledger's topic says was redriven is not redriven again, until somebody voids the receipt."""
    dead, noted = letter(buried), receipt(letter(buried), "payments")

    def ledger(*contents: bytes | None) -> Ledger:
        count = len(contents)
        return Ledger([Records.of("l", [0] * count, range(count), [0] * count, [noted.key] * count, contents)])

    assert dead in ledger(noted.value)
    assert dead not in ledger(noted.value, None)
    assert dead in ledger(noted.value, None, noted.value)
    assert dead not in Ledger()


@given(EVENTS)
def test_a_size_is_an_upper_bound(buried: Event) -> None:
    """No record is larger than it is said to be: lengths as varints, one byte of attributes."""
    made = event(letter(buried))
    contents = [made.key or b"", made.value or b"", *(part or b"" for _, part in made.headers)]
    names = [name.encode() for name, _ in made.headers]

    assert size(made) >= sum(map(len, contents + names)) + 2 * 5 * len(names) + 4 * 5 + 2 * 10 + 1


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(0, 5))
def test_a_census_keeps_the_newest(times: list[int], keep: int) -> None:
    """However letters come, the newest by their events' time are listed, the newest first, and all are counted."""
    letters = [letter(Event(PLACE, timestamp=t), at=Origin("d", 0, n)) for n, t in enumerate(times)]
    census = Census(keep)
    for dead in letters:
        census.add(dead, meant=True, redriven=False)

    assert [one.timestamp for one, _ in census.newest()] == sorted(times, reverse=True)[:keep]
    assert census.counts.total() == len(times)


@pytest.mark.parametrize("text", ["", "payments", "payments-1", "pay ments-1-2", "-1-2", "payments-1-x", "p-1-2\n"])
def test_what_is_no_coordinate_is_refused(text: str) -> None:
    """A coordinate has a topic, a partition and an offset; the message says how to write it."""
    with pytest.raises(SelectionError, match="write TOPIC-PARTITION-OFFSET"):
        place(text)
    assert place("payments-eu.dlq-1-23") == Origin("payments-eu.dlq", 1, 23)


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("malfromed", "; did you mean malformed?"),
        ("Wrong-Type", "; did you mean wrong_type?"),
        ("org.apache.kafka.connect.errors.DataException", "; did you mean DataException?"),
        ("zzz", ""),
    ],
)
def test_a_reason_that_no_letter_has_is_doubted(asked: str, near: str) -> None:
    """It is named once, with the reasons that there are and the nearest one, if one is near."""
    met = Counter({"DataException": 3, "": 1})

    said = list(doubts(["malformed", asked, asked], met))

    assert said == [f"no letter has the reason {asked}: those that were looked at have DataException 3, - 1{near}"]


def test_a_reason_that_could_be_is_not_doubted() -> None:
    """A reason of the scorer's own may have no letter today, and another system's is known by its letters."""
    assert list(doubts([*Reason, "DataException"], Counter({"DataException": 1}))) == []
    assert list(doubts(["nope"], Counter())) == ["no letter has the reason nope: there were none to look at"]


def test_a_doubt_is_one_line_of_bounded_length() -> None:
    """Other systems' reasons are as many as their exceptions, and whatever they hold, the terminal is not steered."""
    met = Counter({f"E{n}\x1b": 100 - n for n in range(50)})

    (said,) = doubts(["zzz\n"], met)

    assert said.isprintable()
    assert said.endswith("E9\\x1b 91 and 40 more")
