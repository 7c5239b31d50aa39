"""Labels: event_id → fraud or not, from JSON lines, CSV, Parquet, or a topic's values. An event's latest one counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.errors import SelectionError
from scorer.replay.tables import rows as rows_of

_ENCODE = msgspec.json.Encoder().encode
Moment: TypeAlias = int | float | datetime
_COLUMNS = ("event_id", "label", "time")
_WORDS = {"1": 1, "1.0": 1, "true": 1, "fraud": 1, "0": 0, "0.0": 0, "false": 0, "legitimate": 0}


class Labels:
    """What is known of events; about 150 bytes of memory a label."""

    def __init__(self) -> None:
        self._labels: dict[bytes, tuple[int, Moment | None]] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def __call__(self, event_ids: Sequence[bytes]) -> NDArray[np.int8]:
        """Return 1 for fraud, 0 for none, -1 where nobody knows; `event_ids` are JSON texts, shape (n,)."""
        nobody = (-1, None)
        return np.array([self._labels.get(text, nobody)[0] for text in event_ids], np.int8)

    def add(self, rows: Iterable[Mapping[str, Any]], where: str) -> None:
        """Take rows with `event_id`, `label` and perhaps `time`: of an event's several, the one of the latest time.

        Where times are missing or equal, the last row counts. Raises SelectionError for a row that is no label.
        """
        for number, row in enumerate(rows, 1):
            try:
                text, label, time = _ENCODE(row["event_id"]), label_of(row["label"]), moment_of(row.get("time"))
            except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
                raise SelectionError(
                    f"{where}, label {number}: needs event_id, label as 0, 1, true or false, and perhaps time, as RFC "
                    f"3339 or a number; it has {_found(row)}"
                ) from error
            held = self._labels.get(text)
            if held is None or time is None or held[1] is None or _not_before(time, held[1], where):
                self._labels[text] = label, time

    def examples(self) -> str:
        """Return a few of the ids, as JSON."""
        return ", ".join(text.decode() for text, _ in zip(self._labels, range(3), strict=False))


def label_of(value: Any) -> int:
    """Return 1 for fraud, 0 for none; raises ValueError for what says neither."""
    label = _WORDS.get(str(value).lower())
    if label is None:
        raise ValueError(f"label {value!r} is none of 0, 1, true, false, fraud, legitimate")
    return label


def moment_of(value: Any) -> Moment | None:
    """Return a number, or a time (UTC where it names no zone); None for nothing, ValueError for what is neither."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"time {value!r} is none")
    return value


def read(path: Path) -> Labels:
    """Read a file by its ending: .csv, .parquet, or JSON lines.

    A CSV's ids have no type: digits name both the number and the text. Raises SelectionError.
    """
    labels = Labels()
    try:
        labels.add(_rows(path), str(path))
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise SelectionError(f"--labels {path}: cannot be read: {said}") from error
    if not len(labels):
        raise SelectionError(f"--labels {path}: holds no label")
    return labels


def of_values(values: Iterable[bytes | None], where: str) -> Labels:
    """Read a topic's values, JSON objects; a tombstone says nothing."""
    labels = Labels()
    try:
        labels.add((msgspec.json.decode(value) for value in values if value), where)
    except (ValueError, RecursionError) as error:
        raise SelectionError(f"{where}: a label is no JSON object: {error}") from error
    return labels


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for row in rows_of(path):
        yield row
        if path.suffix == ".csv" and (row.get("event_id") or "").isdecimal():
            yield {**row, "event_id": int(row["event_id"])}


def _found(row: Any) -> str:
    """Return what a row has, shortly: it may be anything."""
    if not isinstance(row, Mapping):
        return f"{row!r:.60}"
    shown = {name: row[name] for name in _COLUMNS if name in row}
    return ", ".join(f"{name} {value!r:.60}" for name, value in shown.items()) or f"{', '.join(map(str, row)):.120}"


def _not_before(time: Moment, other: Moment, where: str) -> bool:
    if isinstance(time, datetime) and isinstance(other, datetime):
        return time >= other
    if isinstance(time, datetime) or isinstance(other, datetime):
        raise SelectionError(f"{where}: a label's time is {time}, another's {other}; write all of one kind")
    return time >= other
