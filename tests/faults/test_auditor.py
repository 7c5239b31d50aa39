"""Who audits the auditor: it finds each kind of fault where there is one, and none where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from auditor import Answer, Expected, Seen, audit

KEY = b"card-1"


def sent(*offsets: int) -> list[Seen]:
    """Return input records of one partition and key, one a second."""
    return [Seen("in", (0, offset), KEY, b"%d" % offset, {}, float(offset)) for offset in offsets]


def answered(*offsets: int) -> list[Answer]:
    """Return right decisions about these offsets, in this order, a second apart."""
    return [
        Answer((0, offset), ("out", 0, at), KEY, offset / 100, "approve", b"bits", float(at))
        for at, offset in enumerate(offsets)
    ]


def reference(values: Sequence[bytes | None]) -> list[Expected]:
    """Score a record with a hundredth of what it holds."""
    return [Expected(int(value or b"0") / 100, frozenset({"approve"})) for value in values]


def test_a_sound_stream_is_clean() -> None:
    """One right answer to each record, in order: nothing is found."""
    found = audit(sent(0, 1, 2), answered(0, 1, 2), reference)
    assert found.clean
    assert (found.events, found.silence, found.examples) == (3, 1.0, [])


def test_a_lost_record_is_found() -> None:
    """A record without an answer counts as lost, and is named."""
    found = audit(sent(0, 1, 2), answered(0, 2), reference)
    assert (found.lost, found.clean) == (1, False)
    assert found.examples == ["lost (0, 1)"]


def test_a_record_answered_twice_is_found() -> None:
    """Each answer beyond the first counts, also where one is a dead letter."""
    found = audit(sent(0, 1), answered(0, 1, 1, 1), reference)
    assert (found.duplicated, found.disordered, found.clean) == (2, 0, False)


@pytest.mark.parametrize(
    "changed",
    [{"score": 0.010002}, {"score": None}, {"name": "block"}, {"key": b"card-2"}, {"about": (0, 7)}, {"about": (1, 1)}],
    ids=str,
)
def test_a_wrong_answer_is_found(changed: dict[str, object]) -> None:
    """Another score, decision or key is wrong, and so is an answer to what no reader of committed records sees."""
    answers = answered(0, 1, 2)
    answers[1] = replace(answers[1], **changed)  # type: ignore[arg-type]
    found = audit(sent(0, 1, 2), answers, reference)
    assert (found.wrong, found.clean) == (1, False)


def test_a_key_out_of_order_is_found() -> None:
    """An answer after the answer to a later record of its key is out of order; other keys and topics are free."""
    assert audit(sent(0, 1, 2), answered(0, 2, 1), reference).disordered == 1
    answers = answered(0, 2, 1)
    assert audit(sent(0, 1, 2), [*answers[:2], replace(answers[2], at=("dlq", 0, 0))], reference).disordered == 0


def test_a_repeat_is_not_out_of_order() -> None:
    """What an at-least-once scorer decides again after a crash counts as repeated, where it was first in order."""
    found = audit(sent(0, 1, 2), answered(0, 1, 0, 1, 2), reference)
    assert (found.disordered, found.duplicated, found.repeats_differ) == (0, 2, 0)


def test_repeats_that_differ_are_found() -> None:
    """A repeat must say the same, bit for bit."""
    answers = answered(0, 1, 1)
    answers[2] = replace(answers[2], bits=b"others")
    assert audit(sent(0, 1), answers, reference).repeats_differ == 1


def test_silence_is_the_longest_gap() -> None:
    """Recovery shows as the longest time between two answers."""
    answers = [replace(answer, time=time) for answer, time in zip(answered(0, 1, 2), (0.0, 9.5, 10.0), strict=True)]
    assert audit(sent(0, 1, 2), answers, reference).silence == 9.5
