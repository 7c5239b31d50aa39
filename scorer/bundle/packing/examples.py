"""Example events for packing: columns of plain values, and their schema."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import numpy as np

from scorer.bundle.packing.gathering import gather
from scorer.decode import EventSchema, Field, FieldType
from scorer.errors import PackError

TYPES = {
    "number": FieldType.NUMBER,
    "float": FieldType.NUMBER,
    "integer": FieldType.INTEGER,
    "int": FieldType.INTEGER,
    "string": FieldType.STRING,
    "str": FieldType.STRING,
    "boolean": FieldType.BOOLEAN,
    "bool": FieldType.BOOLEAN,
    "timestamp": FieldType.TIMESTAMP,
    "bytes": FieldType.BYTES,
}

LARGEST_EXACT = 2**53
"""The largest whole number up to which float64 holds all of them."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Raw example events as columns: by path (`card.country`), plain Python values with None for null."""

    columns: Mapping[str, Sequence[Any]]
    count: int
    labels: Sequence[int] | None = None
    """The examples' own labels, 0 or 1 each, where a dataset had (features, label)."""

    @classmethod
    def of(cls, events: Any, *, names: Sequence[str] | None = None, binary: Collection[str] = ()) -> Examples:
        """Read events of any kind that `gathering` lists; `names` are the columns of a matrix, in order.

        The fields in `binary` hold bytes: their text is base64. Raises PackError for what holds no events.
        """
        if hasattr(events, "iloc") and not events.columns.is_unique:
            raise PackError(f"events: columns {sorted({*events.columns[events.columns.duplicated()]})} come twice")
        found = gather(events, names)
        if not found.count:
            raise PackError("events: there are none; give at least one example event, better some thousands")
        columns = {}
        for name, values in found.columns.items():
            if not name or re.search(r'["\\\x00-\x1f]', name):
                raise PackError(
                    f"events: field {name!r} is empty or has a quote, backslash or control character; rename it"
                )
            plain = [_plain(value) for value in values]
            columns[name] = [_bytes(name, value) for value in plain] if name in binary else plain
        return cls(columns, found.count, found.labels)

    @property
    def texts(self) -> list[str]:
        """The fields of text or bytes."""
        return [
            name
            for name, column in self.columns.items()
            if isinstance(next((value for value in column if value is not None), None), str | bytes)
        ]

    def schema(
        self,
        paths: Sequence[str],
        *,
        integers: set[str],
        event_id: str | None,
        event_time: str | None,
        given: Mapping[str, Mapping[str, Any]],
    ) -> EventSchema:
        """Return the schema of the fields at `paths`: inferred from the values, where `given` is silent.

        Whole numbers become `number`, since a stream may well carry 12.5 where the examples had only 12; but
        `integer` where they are named in `integers`, or too large for a float64 to tell apart. Raises PackError for
        fields that no event has, or that mix types.
        """
        for name in {*paths, event_id, event_time} - {None} - self.columns.keys():
            raise PackError(f"events: no field {name!r}, which the bundle reads; there are {sorted(self.columns)}")
        unknown = given.keys() - self.columns.keys()
        if unknown:
            raise PackError(f"schema: no event has the fields {sorted(unknown)}")
        nested = {name: parent for name in paths for parent in paths if name.startswith(f"{parent}.")}
        for name, parent in nested.items():
            raise PackError(f"events: the field {parent!r} cannot be a value and hold {name!r} too; rename one of them")
        names = dict.fromkeys([*paths, *([event_id] if event_id else []), *([event_time] if event_time else [])])
        ids = {name for name in (event_id, event_time) if name}
        fields = {name: self._field(name, integer=name in integers | ids, given=given.get(name, {})) for name in names}
        names_events = (FieldType.STRING, FieldType.INTEGER)
        if event_id and (fields[event_id].nullable or fields[event_id].type not in names_events):
            raise PackError(f"event_id {event_id!r}: must be text or an integer, and never null")
        if event_time and fields[event_time].type in (FieldType.STRING, FieldType.BOOLEAN, FieldType.BYTES):
            raise PackError(
                f"event_time {event_time!r}: must be milliseconds since the epoch, or RFC 3339 text with "
                f"schema={{{event_time!r}: {{'type': 'timestamp'}}}}"
            )
        return EventSchema(fields, event_id, event_time)

    def encode(self, schema: EventSchema, rows: Sequence[int]) -> list[bytes]:
        """Return events as JSON with the schema's fields, as they would come from the topic."""
        return [msgspec.json.encode(self._event(schema, row)) for row in rows]

    def _event(self, schema: EventSchema, row: int) -> dict[str, Any]:
        event: dict[str, Any] = {}
        for path in schema.fields:
            *parents, name = path.split(".")
            inner = event
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[name] = self.columns[path][row]
        return event

    def _field(self, name: str, *, integer: bool, given: Mapping[str, Any]) -> Field:
        unknown = given.keys() - {"type", "nullable", "range"}
        if unknown or given.get("type", "number") not in TYPES:
            raise PackError(f"schema {name!r}: {dict(given)}; it may say type ({', '.join(TYPES)}), nullable and range")
        values = [value for value in self.columns[name] if value is not None]
        if infinite := [row for row, value in enumerate(self.columns[name]) if value in (math.inf, -math.inf)]:
            raise PackError(
                f"events: {name!r} is infinite in example {infinite[0]}, which JSON cannot carry; leave it out"
            )
        kind = TYPES[given["type"]] if "type" in given else _infer(name, values, integer=integer)
        nullable = given.get("nullable", len(values) < self.count)
        if not nullable and len(values) < self.count:
            raise PackError(f"schema {name!r}: not nullable, but {self.count - len(values)} example events have null")
        return Field(kind, nullable, _limits(name, kind, given.get("range")))


def _limits(name: str, kind: FieldType, limits: Any) -> tuple[float, float] | None:
    if limits is None:
        return None
    try:
        low, high = map(float, limits)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if kind not in (FieldType.NUMBER, FieldType.INTEGER) or not -math.inf < low <= high < math.inf:
        raise PackError(f"schema {name!r}: range {limits!r}; a number's range is [low, high], both finite")
    return low, high


def _infer(name: str, values: Sequence[Any], *, integer: bool) -> FieldType:
    kinds = {type(value) for value in values}
    if not kinds:
        raise PackError(f"events: {name!r} is null in every example; say its type: schema={{{name!r}: {{'type': …}}}}")
    if kinds == {bool}:
        return FieldType.BOOLEAN
    if kinds == {int}:
        large = max(map(abs, values)) > LARGEST_EXACT
        return FieldType.INTEGER if integer or large else FieldType.NUMBER
    if kinds <= {int, float}:
        return FieldType.NUMBER
    if kinds == {str}:
        return FieldType.STRING
    if kinds == {datetime}:
        return FieldType.TIMESTAMP
    if kinds == {bytes}:
        return FieldType.BYTES
    raise PackError(f"events: {name!r} mixes {sorted(kind.__name__ for kind in kinds)}; a field has one type")


def _bytes(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise PackError(
            f"events: field {name!r} holds bytes, as base64, but {value[:40]!r} is none: {error}"
        ) from error


def _plain(value: Any) -> Any:
    """Return a plain Python value; every marker of a missing one becomes None."""
    value = _unwrapped(value)
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    return value


def _unwrapped(value: Any) -> Any:
    """Return what NumPy's and pandas' scalars, decimals and views of bytes stand for."""
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]").item()
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if hasattr(value, "to_pydatetime"):
        return None if value != value else value.to_pydatetime(warn=False)  # noqa: PLR0124 - NaT is not itself
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return str(value) if isinstance(value, UUID) else value
