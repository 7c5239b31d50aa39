"""Plain events go into columns without a Python object in between, where `compiled` was built.

It decides nothing: an event of which it is not sure is left to `json.py`, which is right about every event, and with
which it agrees bit for bit wherever it is sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scorer import compiled
from scorer.decode.schema import DTYPES, EventSchema, Field, FieldType, integer_bounds

_KINDS = [FieldType.NUMBER, FieldType.INTEGER, FieldType.BOOLEAN, FieldType.STRING, FieldType.TIMESTAMP]
_OBJECT = len(_KINDS)
_IDS = (FieldType.STRING, FieldType.INTEGER)

Spec: TypeAlias = tuple[bytes, int, bool, bool, float, float, int, int, tuple[Any, ...]]


class Reader:
    """Reads events by a schema: `reader(values)` gives columns, ids, and the rows that it has left alone."""

    def __init__(self, schema: EventSchema) -> None:
        self._fields: dict[str, Field] = {}
        self._order = tuple(schema.fields)
        self._has_id = schema.event_id is not None
        self._plan = compiled.Plan(self._specs(schema.fields, "", schema.event_id))

    @classmethod
    def of(cls, schema: EventSchema) -> Reader | None:
        """Return a reader; None where it was not built, or cannot read some field's type at all."""
        known = all(field.type in _KINDS for field in schema.fields.values())
        event_id = schema.fields.get(schema.event_id or "")
        return cls(schema) if compiled.BUILT and known and (event_id is None or event_id.type in _IDS) else None

    def __call__(self, values: Sequence[bytes | None]) -> tuple[dict[str, NDArray[Any]], list[bytes], list[int]]:
        """Return an array of `len(values)` a field, the ids as JSON, and the rows in which nothing of both counts.

        Strings are in object arrays, as `Columns` promises all the others. Without an event id there are no ids.
        """
        count = len(values)
        targets = tuple(_target(field, count) for field in self._fields.values())
        ids: list[bytes] = [b""] * count if self._has_id else []
        left = self._plan.read(list(values), targets, ids if self._has_id else None)
        found = dict(zip(self._fields, targets, strict=True))
        return {path: _array(found[path], count) for path in self._order}, ids, left

    def _specs(self, fields: Mapping[str, Field], prefix: str, event_id: str | None) -> tuple[Spec, ...]:
        """Return what `Plan` takes, and note the fields in the order in which it counts its targets."""
        inside: dict[str, dict[str, Field]] = {}
        for path, field in fields.items():
            name, _, rest = path.partition(".")
            inside.setdefault(name, {})[rest] = field
        return tuple(self._spec(name, each, prefix + name, event_id) for name, each in inside.items())

    def _spec(self, name: str, inside: Mapping[str, Field], path: str, event_id: str | None) -> Spec:
        if "" not in inside:
            within = self._specs(inside, f"{path}.", event_id)
            return name.encode(), _OBJECT, False, False, 0.0, 0.0, 0, 0, within
        field = inside[""]
        self._fields[path] = field
        low, high = field.range or (-np.inf, np.inf)
        kind, bounds = _KINDS.index(field.type), integer_bounds(field)
        return name.encode(), kind, field.nullable, path == event_id, float(low), float(high), *bounds, ()


def _target(field: Field, count: int) -> NDArray[Any] | list[None]:
    if field.type is FieldType.STRING:
        return [None] * count
    return np.empty(count, np.float64 if field.nullable else DTYPES[field.type])


def _array(target: NDArray[Any] | list[None], count: int) -> NDArray[Any]:
    return np.fromiter(target, object, count) if isinstance(target, list) else target
