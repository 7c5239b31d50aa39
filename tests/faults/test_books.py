"""The soak's auditor finds what the auditor finds, and its slopes are slopes."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest
from auditor import Answer, Seen, audit
from books import Books
from lives import Life, slope
from test_auditor import answered, reference, sent

WRONG: dict[str, dict[str, object]] = {
    "score": {"score": 0.010002},
    "no score": {"score": None},
    "name": {"name": "block"},
    "key": {"key": b"card-2"},
    "beyond the end": {"about": (0, 7)},
    "another partition": {"about": (1, 1)},
}


def changed(**how: object) -> list[Answer]:
    """Return three answers, the second one changed."""
    answers = answered(0, 1, 2)
    answers[1] = replace(answers[1], **how)  # type: ignore[arg-type]
    return answers


STORIES: dict[str, tuple[list[Seen], list[Answer]]] = {
    "sound": (sent(0, 1, 2), answered(0, 1, 2)),
    "lost": (sent(0, 1, 2), answered(0, 2)),
    "never sent": (sent(0, 2), answered(0, 1, 2)),
    "all lost": (sent(0, 1), []),
    "twice": (sent(0, 1), answered(0, 1, 1, 1)),
    "out of order": (sent(0, 1, 2), answered(0, 2, 1)),
    "decided again": (sent(0, 1, 2), answered(0, 1, 0, 1, 2)),
    "other topics are free": (sent(0, 1, 2), [*answered(0, 2), replace(answered(1)[0], at=("dlq", 0, 0))]),
    **{f"wrong: {name}": (sent(0, 1, 2), changed(**how)) for name, how in WRONG.items()},
}


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("part", [1, 100])
def test_it_finds_what_the_auditor_finds(name: str, part: int) -> None:
    """However the stream is cut into parts, the counts are those of the auditor that holds everything at once."""
    inputs, answers = STORIES[name]
    books = Books(reference)
    for at in range(0, len(inputs), part):
        books.enter(inputs[at : at + part])
    for at in range(0, len(answers), part):
        books.settle(answers[at : at + part])
    found, expected = books.close(), audit(inputs, answers, reference)
    counts = ("events", "lost", "duplicated", "wrong", "disordered", "silence", "clean")
    assert {count: getattr(found, count) for count in counts} == {count: getattr(expected, count) for count in counts}
    assert bool(found.examples) is not found.clean


def test_a_slope_is_not_moved_by_outliers() -> None:
    """A leak of 2 a second shows as 2, with a quarter of the samples wild, and with more samples than are fitted."""
    for count in (20, 10_000):
        values = [2.0 * second if second % 4 else 1e9 for second in range(count)]
        assert slope(range(count), values) == pytest.approx(2.0, rel=0.05)


def test_a_level_has_no_slope() -> None:
    """A process whose file descriptors come and go in pairs does not grow."""
    assert slope(range(100), [27 + 2 * (second % 10 == 0) for second in range(100)]) == 0.0


def test_a_number_that_is_another_process_now_is_not_looked_at() -> None:
    """The kernel gives a dead process's number to somebody else, whose memory is no business of its life."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    ended.pid = os.getpid()
    life = Life("scorer 1", ended)

    life.sample(1.0)

    assert life.samples == []
