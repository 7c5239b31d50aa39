"""Files of scores, such as a replay has written: JSON lines, CSV, or Parquet, one decided event a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.errors import SelectionError
from scorer.evaluation.scored import Scored
from scorer.replay.labels import Labels, label_of
from scorer.replay.tables import rows as rows_of

_ENCODE = msgspec.json.Encoder().encode
BATCH = 65_536
"""Rows that are objects at a time; what stays of a row is 25 bytes and its fields' values."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a file of scores holds: events, the values of fields by name (texts, shape (n,)), and its topics."""

    scored: Scored
    fields: Mapping[str, NDArray[Any]]
    topics: Sequence[str]


def read(path: Path, *, topic: str | None, labels: Labels | None, amount: str | None, by: Sequence[str]) -> Table:
    """Read a file's rows of one topic: `score`, and `label` unless `labels` know it by `event_id`; perhaps a time.

    The time is `event_time`, or `time`: milliseconds, or RFC 3339. `amount` and `by` name columns. Raises
    SelectionError for a file that cannot be read, lacks a column, or holds more topics than one, where none is named.
    """
    parts: list[tuple[NDArray[Any], ...]] = []
    topics: dict[str, None] = {}
    rows = (row for row in _rows(path) if topic is None or row.get("topic", topic) == topic)
    try:
        while batch := list(islice(rows, BATCH)):
            topics |= dict.fromkeys(str(row["topic"]) for row in batch if "topic" in row)
            parts.append(_columns(batch, labels, amount, by))
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        said = f"a row has no {error}" if isinstance(error, KeyError) else getattr(error, "strerror", None) or error
        raise SelectionError(f"--scores {path}: cannot be read: {said}") from error
    if not parts:
        raise SelectionError(f"--scores {path}: holds no scores{f' of topic {topic}' if topic else ''}")
    if len(topics) > 1:
        raise SelectionError(f"--scores {path}: has the topics {', '.join(topics)}; say with --topic which one")
    if labels and not any((columns[2] >= 0).any() for columns in parts):
        raise SelectionError(f"--scores {path}: no event_id is that of a label, such as {labels.examples()}")
    time, score, label, money, *values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    scored = Scored(time, score, label, money if amount else None)
    return Table(scored, dict(zip(by, values, strict=True)), list(topics))


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.is_file():
        raise SelectionError(f"--scores {path}: no such file")
    for number, row in enumerate(rows_of(path), 1):
        if not isinstance(row, Mapping):
            raise ValueError(f"row {number} is no object: {row!r:.60}")  # noqa: TRY004
        yield row


def _columns(
    rows: Sequence[Mapping[str, Any]], labels: Labels | None, amount: str | None, by: Sequence[str]
) -> tuple[NDArray[Any], ...]:
    score = np.array([float(row["score"]) for row in rows], np.float32)
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("a score is not between 0 and 1")
    known = labels([_ENCODE(row["event_id"]) for row in rows]) if labels else _labels(rows)
    time = np.array([_time(row.get("event_time", row.get("time"))) for row in rows], np.int64)
    money = np.array([_amount(row.get(amount)) if amount else np.nan for row in rows])
    return time, score, known, money, *(np.array([str(row[name]) for row in rows], object) for name in by)


def _labels(rows: Iterable[Mapping[str, Any]]) -> NDArray[np.int8]:
    return np.array([-1 if row["label"] in (None, "") else label_of(row["label"]) for row in rows], np.int8)


def _time(value: Any) -> int:
    if isinstance(value, str) and not value.isdecimal():
        return int(datetime.fromisoformat(value).timestamp() * 1000) if value else 0
    return int(value or 0)


def _amount(value: Any) -> float:
    return float(value) if value not in (None, "") else float("nan")
