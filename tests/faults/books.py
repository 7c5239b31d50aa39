"""The auditor for a stream that no memory should hold: it keeps numbers for each coordinate, and no record.

It finds what `auditor.audit` finds, at 17 bytes an event: which of the distinct values and keys it had, whether it
was answered, and when. All input goes in first, then the answers in the order of each output partition.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from auditor import Answer, Audit, Coordinate, Expected, Reference, Seen, fault_of

NOTHING = -1
EXAMPLES = 3


class Numbered:
    """Distinct values, numbered as they come."""

    def __init__(self) -> None:
        self.known: list[bytes | None] = []
        self._numbers: dict[bytes | None, int] = {}

    def number(self, value: bytes | None) -> int:
        """Return a value's number."""
        found = self._numbers.setdefault(value, len(self.known))
        if found == len(self.known):
            self.known.append(value)
        return found


class Column:
    """One input partition: for each offset the numbers of value and key, and whether an answer came."""

    def __init__(self) -> None:
        self.values, self.keys, self.answers = array("i"), array("i"), array("B")

    def enter(self, offset: int, value: int, key: int) -> None:
        """Note the record at an offset; what lies between it and the last one does not exist."""
        gap = offset - len(self.values)
        self.values.extend([NOTHING] * gap + [value])
        self.keys.extend([NOTHING] * gap + [key])
        self.answers.extend([0] * (gap + 1))


class Books:
    """What was sent, and what became of it."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._columns: dict[int, Column] = defaultdict(Column)
        self._values, self._keys = Numbered(), Numbered()
        self._expected: list[Expected] = []
        self._latest: dict[tuple[str, bytes | None, int], int] = defaultdict(lambda: NOTHING)
        self._times = array("d")
        self._wrong = self._disordered = self._repeated = 0
        self._examples: list[str] = []

    def enter(self, records: Iterable[Seen]) -> None:
        """Take a part of the input."""
        for record in records:
            partition, offset = record.at
            value, key = self._values.number(record.value), self._keys.number(record.key)
            self._columns[partition].enter(offset, value, key)

    def settle(self, answers: Iterable[Answer]) -> None:
        """Hold a part of the decisions or dead letters against the input."""
        fresh = self._values.known[len(self._expected) :]
        self._expected += self._reference(fresh) if fresh else []
        for answer in answers:
            self._times.append(answer.time)
            sent, expected = self._about(answer.about)
            if fault := fault_of(answer, sent, expected):
                self._wrong += 1
                self._note(f"{answer.about} {fault}")
            self._order(answer, self._columns[answer.about[0]].answers if sent else None)

    def close(self) -> Audit:
        """Return what was found."""
        existing = {number: np.asarray(column.values) != NOTHING for number, column in self._columns.items()}
        unanswered = {
            number: np.flatnonzero(there & (np.asarray(self._columns[number].answers) == 0)).tolist()
            for number, there in existing.items()
        }
        for number, offsets in unanswered.items():
            self._examples += [f"lost {(number, offset)}" for offset in offsets[:EXAMPLES]]
        return Audit(
            events=sum(int(there.sum()) for there in existing.values()),
            lost=sum(map(len, unanswered.values())),
            duplicated=self._repeated,
            wrong=self._wrong,
            disordered=self._disordered,
            silence=max((length for _, length in self.silences()), default=0.0),
            examples=self._examples,
        )

    def silences(self) -> list[tuple[float, float]]:
        """Return the three longest times between two answers: when each began, as answers tell time, and its length."""
        times = np.sort(np.asarray(self._times))
        lengths = np.diff(times)
        return [(float(times[at]), float(lengths[at])) for at in np.argsort(-lengths)[:EXAMPLES]]

    def _about(self, at: Coordinate) -> tuple[dict[Coordinate, Seen], dict[Coordinate, Expected]]:
        """Return the input record of a coordinate, and what must become of it, as the auditor takes them."""
        partition, offset = at
        values = self._columns[partition].values if partition in self._columns else ()
        if not 0 <= offset < len(values) or values[offset] == NOTHING:
            return {}, {}
        key = self._keys.known[self._columns[partition].keys[offset]]
        value = values[offset]
        return {at: Seen("", at, key, self._values.known[value], {}, 0.0)}, {at: self._expected[value]}

    def _order(self, answer: Answer, counts: array[int] | None) -> None:
        """Count an answer, and see whether it came after the answer to a later record of its key."""
        partition, offset = answer.about
        line = (answer.at[0], answer.key, partition)
        if counts is not None and counts[offset]:
            self._repeated += 1
            self._note(f"{answer.about} answered again")
        elif offset < self._latest[line]:
            self._disordered += 1
            self._note(f"{answer.about} came after a later one of its key")
        if counts is not None:
            counts[offset] = 1
        self._latest[line] = max(offset, self._latest[line])

    def _note(self, example: str) -> None:
        if len(self._examples) < EXAMPLES:
            self._examples.append(example)
