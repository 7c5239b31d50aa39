"""Example events for packing: from dictionaries or a DataFrame to columns of plain values, and their schema."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec
import numpy as np

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
}


GOLDEN_EVENTS = 256


@dataclass(frozen=True, slots=True)
class Examples:
    """Raw example events as columns: by path (`card.country`), plain Python values with None for null."""

    columns: Mapping[str, Sequence[Any]]
    count: int

    @classmethod
    def of(cls, events: Any) -> Examples:
        """Read a sequence of dictionaries, nested or with dotted keys, or a DataFrame with paths as column names."""
        if hasattr(events, "columns") and hasattr(events, "iloc"):
            columns = {str(name): [_plain(item) for item in events[name]] for name in events.columns}
            return cls._some(columns, len(events))
        if isinstance(events, Sequence) and events and all(isinstance(event, Mapping) for event in events):
            rows = [dict(_flat(event)) for event in events]
            paths = dict.fromkeys(path for row in rows for path in row)
            return cls._some({path: [_plain(row.get(path)) for row in rows] for path in paths}, len(rows))
        raise PackError(f"events: a {type(events).__name__}; give example events as dictionaries or as a DataFrame")

    @classmethod
    def _some(cls, columns: Mapping[str, Sequence[Any]], count: int) -> Examples:
        if not count:
            raise PackError("events: there are none; give at least one example event, better some thousands")
        for name in columns:
            if re.search(r'["\\\x00-\x1f]', name):
                raise PackError(f"events: field {name!r} has a quote, backslash or control character; rename it")
        return cls(columns, count)

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
        `integer` where they are named in `integers`. Raises PackError for fields that no event has, or that mix types.
        """
        for name in {*paths, event_id, event_time} - {None} - self.columns.keys():
            raise PackError(f"events: no field {name!r}, which the bundle reads; there are {sorted(self.columns)}")
        unknown = given.keys() - self.columns.keys()
        if unknown:
            raise PackError(f"schema: no event has the fields {sorted(unknown)}")
        names = dict.fromkeys([*paths, *([event_id] if event_id else []), *([event_time] if event_time else [])])
        ids = {name for name in (event_id, event_time) if name}
        fields = {name: self._field(name, integer=name in integers | ids, given=given.get(name, {})) for name in names}
        names_events = (FieldType.STRING, FieldType.INTEGER)
        if event_id and (fields[event_id].nullable or fields[event_id].type not in names_events):
            raise PackError(f"event_id {event_id!r}: must be text or an integer, and never null")
        if event_time and fields[event_time].type in (FieldType.STRING, FieldType.BOOLEAN):
            raise PackError(
                f"event_time {event_time!r}: must be milliseconds since the epoch, or RFC 3339 text with "
                f"schema={{{event_time!r}: {{'type': 'timestamp'}}}}"
            )
        return EventSchema(fields, event_id, event_time)

    def encode(self, schema: EventSchema, rows: Sequence[int]) -> list[bytes]:
        """Return events as JSON with the schema's fields, as they would come from the topic."""
        return [msgspec.json.encode(self._event(schema, row)) for row in rows]

    def golden_rows(self, schema: EventSchema) -> list[int]:
        """Return rows of examples: evenly spread, and each field's least and greatest value, a null, every category.

        At most eight rare categories a field, so that a field of many does not crowd out the rest.
        """
        chosen = dict.fromkeys(np.linspace(0, self.count - 1, min(GOLDEN_EVENTS, self.count)).astype(int).tolist())
        for path in schema.fields:
            column = self.columns[path]
            present = [row for row, value in enumerate(column) if value is not None]
            chosen |= dict.fromkeys([row for row, value in enumerate(column) if value is None][:1])
            if not present or path in (schema.event_id, schema.event_time):
                continue
            if isinstance(column[present[0]], str):
                firsts = {column[row]: row for row in reversed(present)}
                chosen |= dict.fromkeys(list(firsts.values())[:8])
            else:
                chosen |= dict.fromkeys([min(present, key=column.__getitem__), max(present, key=column.__getitem__)])
        return sorted(chosen)

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
        return FieldType.INTEGER if integer else FieldType.NUMBER
    if kinds <= {int, float}:
        return FieldType.NUMBER
    if kinds == {str}:
        return FieldType.STRING
    if kinds == {datetime}:
        return FieldType.TIMESTAMP
    raise PackError(f"events: {name!r} mixes {sorted(kind.__name__ for kind in kinds)}; a field has one type")


def _flat(event: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in event.items():
        path = f"{prefix}{key}"
        pairs += _flat(value, f"{path}.") if isinstance(value, Mapping) else [(path, value)]
    return pairs


def _plain(value: Any) -> Any:
    """Return a plain Python value; every marker of a missing one becomes None."""
    if isinstance(value, np.generic):
        value = value.item()
    if hasattr(value, "to_pydatetime"):
        value = None if value != value else value.to_pydatetime()  # noqa: PLR0124 - NaT is not itself
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, float):
        if math.isinf(value):
            raise PackError("events: an infinite number, which JSON cannot carry; leave such examples out")
        return None if math.isnan(value) else value
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    return value
