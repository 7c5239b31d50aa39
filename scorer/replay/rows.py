"""A replayed batch → rows of fixed size, one a decision, as `journal` keeps them and as the evaluation reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.errors import SelectionError
from scorer.pipeline import Outcome
from scorer.records import Records

BASE = [("partition", "<i4"), ("offset", "<i8"), ("time", "<i8"), ("score", "<f4"), ("band", "u1"), ("place", "<i8")]
"""Where the event is, when it happened, what was decided, and where its decision begins in the file."""
MOST_VALUES = 65_535
"""Values of a field that are told apart; the code of all others is the last one there is."""

Labels = Callable[[Sequence[bytes]], NDArray[np.int8]]
"""Events' ids as JSON texts → 1 for fraud, 0 for none, -1 where nobody knows; shape (n,)."""


class Sheet:
    """Writes rows, with what is asked of events: labels, and values of fields.

    A field, and that of the amount, is named by its path in the event, such as `card.country`; the bundle need not
    read it.
    """

    def __init__(self, fields: Sequence[str] = (), labels: Labels | None = None, amount: str | None = None) -> None:
        self._fields = [field.split(".") for field in fields]
        self._labels = labels
        self._amount = amount.split(".") if amount else None
        self._codes: list[dict[str, int]] = [{} for _ in fields]
        extra = [*([("label", "i1")] if labels else []), *([("amount", "<f8")] if amount else [])]
        self.dtype = np.dtype([*BASE, *extra, *((f"field{at}", "<u2") for at in range(len(fields)))])

    @property
    def values(self) -> list[list[str]]:
        """Each field's values, by their codes."""
        return [list(codes) for codes in self._codes]

    def resume(self, values: Sequence[Sequence[str]]) -> None:
        """Go on with the codes of an earlier part, if there was one."""
        for codes, names in zip(self._codes, values, strict=False):
            codes.update({name: code for code, name in enumerate(names)})

    def __call__(self, outcome: Outcome, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of a batch; `places` are where its decisions begin."""
        scores, records = outcome.decisions.scores, outcome.records
        rows = np.empty(len(scores.rows), self.dtype)
        rows["partition"] = records.partitions[scores.rows]
        rows["offset"] = records.offsets[scores.rows]
        rows["time"] = outcome.columns.event_times
        rows["score"], rows["band"], rows["place"] = scores.score, outcome.decisions.band, places
        if self._labels:
            rows["label"] = self._labels(outcome.columns.event_ids)
        if self._fields or self._amount:
            self._read(records, scores.rows.tolist(), rows)
        return rows

    def _read(self, records: Records, alive: Sequence[int], rows: NDArray[Any]) -> None:
        events = [msgspec.json.decode(records.values[row] or b"null") for row in alive]
        if self._amount:
            rows["amount"] = [_number(_at(event, self._amount)) for event in events]
        for at, path in enumerate(self._fields):
            codes = self._codes[at]
            rows[f"field{at}"] = [_code(codes, _text(_at(event, path))) for event in events]


def _at(event: Any, path: Sequence[str]) -> Any:
    for name in path:
        event = event.get(name) if isinstance(event, Mapping) else None
    return event


def _code(codes: dict[str, int], text: str) -> int:
    return codes.setdefault(text, len(codes)) if len(codes) < MOST_VALUES else codes.get(text, MOST_VALUES)


def _number(value: Any) -> float:
    """Return an amount; NaN for what is none, such as a text."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def check_paths(paths: Sequence[str]) -> None:
    """Raise SelectionError for a field that is named twice, or not at all."""
    for path in paths:
        if not all(path.split(".")) or paths.count(path) > 1:
            raise SelectionError(f"field {path!r}: name each field once, as its path in the event: card.country")
