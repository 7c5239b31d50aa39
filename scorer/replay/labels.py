"""Labels: event_id → fraud or not, from JSON lines, CSV, Parquet, or a topic's values. An event's latest one counts."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.errors import SelectionError
from scorer.replay.sinks import parquet

_ENCODE = msgspec.json.Encoder().encode
_WORDS = {"1": 1, "1.0": 1, "true": 1, "fraud": 1, "0": 0, "0.0": 0, "false": 0, "legitimate": 0}


class Labels:
    """What is known of events; about 150 bytes of memory a label."""

    def __init__(self) -> None:
        self._labels: dict[bytes, tuple[int, Any]] = {}

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
                text, label = _ENCODE(row["event_id"]), label_of(row["label"])
            except (KeyError, TypeError, ValueError) as error:
                raise SelectionError(
                    f"{where}, label {number}: needs event_id, and label as 0, 1, true or false; it is {dict(row)}"
                ) from error
            time = row.get("time") or None
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
    except ValueError as error:
        raise SelectionError(f"{where}: a label is no JSON object: {error}") from error
    return labels


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.suffix == ".parquet":
        for batch in parquet().ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row
                if (row.get("event_id") or "").isdecimal():
                    yield {**row, "event_id": int(row["event_id"])}
    else:
        with path.open("rb") as file:
            yield from (msgspec.json.decode(line) for line in file if line.strip())


def _not_before(time: Any, other: Any, where: str) -> bool:
    try:
        return bool(time >= other)
    except TypeError as error:
        raise SelectionError(f"{where}: times of labels are {time!r} and {other!r}; write all of one kind") from error
