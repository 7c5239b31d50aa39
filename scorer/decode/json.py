"""JSON events: a msgspec Struct is built from the schema once, so decoding validates types and ranges on the way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Annotated, Any, cast

import msgspec
import numpy as np
from msgspec import Meta
from msgspec.structs import astuple
from numpy.typing import NDArray

from scorer.decode.reader import Reader
from scorer.decode.schema import DTYPES, EventSchema, Field, FieldType, integer_bounds
from scorer.errors import BundleError, Reason, Stage
from scorer.records import Columns, Records, Rejection

MAX_EVENT_ID = 1024
"""Characters of an event's id: it is copied into the decision, which must fit into a Kafka record."""
MAX_EVENT_TIME = 2**53
"""Milliseconds since the epoch, before or after: what float64 counts exactly, some 285,000 years."""
CHUNK = 256
"""Events decoded at a time: what is made of them is turned into columns before it has left the processor's cache."""
MAX_MESSAGE = 300
"""Characters of a rejection's message: field names come from outside and may be of any length."""

_PATH = re.compile(r" - at `(\$.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(.*)`$", re.DOTALL)
_OUTSIDE = re.compile(r"^(Number|Integer value) out of range|^Expected (?!.*, got `)", re.DOTALL)
_ENCODER = msgspec.json.Encoder()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class JsonDecoder:
    """Decodes JSON objects by a schema: `decoder(records)` gives columns of what is sound and a rejection for the rest.

    Rejected are: tombstones, text that is not JSON, nesting too deep to read, missing fields, other types than the
    schema's (bytes that are not base64 among them: RFC 4648's standard alphabet, padded), and numbers outside their
    range or the 64-bit types. Never raises for what an event holds.
    """

    def __init__(self, schema: EventSchema, *, compiled: bool = True) -> None:
        """Prepare for a schema; without `compiled`, msgspec reads every event: the same, more slowly."""
        self.schema = schema
        bounded = _bounded(schema)
        self._root = _Branch.of(bounded)
        self._decode = msgspec.json.Decoder(self._root.prepared("Event")).decode
        self._reader = Reader.of(bounded) if compiled else None

    def __call__(self, records: Records) -> tuple[Columns, list[Rejection]]:
        """Decode a batch; the columns' rows are those of `records` that are sound."""
        if self._reader is None:
            values, ids, rejections = self._read(records.values)
        else:
            values, ids, rejections = self._read_fast(self._reader, records.values)
        rows = np.arange(len(records), dtype=np.intp)
        if rejections:
            rows = np.delete(rows, [r.row for r in rejections])
        if self.schema.event_id is None:
            ids = [_ENCODER.encode(records.coordinate(row)) for row in rows.tolist()]
        return Columns(rows, values, ids, self._times(records, rows, values)), rejections

    def _read(self, events: Sequence[bytes | None]) -> tuple[dict[str, NDArray[Any]], list[bytes], list[Rejection]]:
        """Return the columns and ids of the sound events, and a rejection for each other one."""
        rejections: list[Rejection] = []
        ids: list[bytes] = []
        parts: list[dict[str, NDArray[Any]]] = []
        for start in range(0, max(len(events), 1), CHUNK):
            sound = self._events(events[start : start + CHUNK], start, rejections)
            fields = dict(self._root.columns(sound))
            parts.append({path: _column(self.schema.fields[path], values) for path, values in fields.items()})
            if self.schema.event_id is not None:
                ids.extend(map(_ENCODER.encode, fields[self.schema.event_id]))
        return {path: np.concatenate([part[path] for part in parts]) for path in self.schema.fields}, ids, rejections

    def _read_fast(
        self, reader: Reader, events: Sequence[bytes | None]
    ) -> tuple[dict[str, NDArray[Any]], list[bytes], list[Rejection]]:
        """Return what `_read` does: plain events by the compiled reader, and what that left alone by `_read`."""
        values, ids, left = reader(events)
        if not left:
            return values, ids, []
        others, other_ids, found = self._read([events[row] for row in left])
        rejections = [replace(rejection, row=left[rejection.row]) for rejection in found]
        refused = [rejection.row for rejection in rejections]
        sound = np.delete(np.array(left, np.intp), [rejection.row for rejection in found])
        for path, column in values.items():
            column[sound] = others[path]
        for row, each in zip(sound.tolist(), other_ids, strict=False):
            ids[row] = each
        kept = np.delete(np.arange(len(events), dtype=np.intp), refused)
        return (
            {path: column[kept] for path, column in values.items()},
            [ids[row] for row in kept.tolist() if ids],
            rejections,
        )

    def _events(self, values: Sequence[bytes | None], start: int, rejections: list[Rejection]) -> list[Any]:
        """Return the sound events of a chunk, which begins at row `start`, and add a rejection for each other one."""
        # `extend` keeps what it had appended when the iterator raises, and the iterator goes on behind the bad
        # event: one C loop over the chunk, and no event is decoded twice.
        events: list[Any] = []
        before = len(rejections)
        stream: Iterator[Any] = map(self._decode, values)  # type: ignore[arg-type]  # None is a tombstone
        while len(events) + len(rejections) - before < len(values):
            try:
                events.extend(stream)
            except (ValueError, TypeError, RecursionError) as error:
                place = len(events) + len(rejections) - before
                rejections.append(_rejection(start + place, values[place], error))
        return events

    def _times(self, records: Records, rows: NDArray[np.intp], values: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
        stamps = records.timestamps[rows]
        if self.schema.event_time is None:
            return stamps
        times = values[self.schema.event_time]
        if times.dtype == np.float64:
            return np.where(np.isfinite(times), times, stamps).astype(np.int64)
        return times.astype(np.int64)


def _bounded(schema: EventSchema) -> EventSchema:
    """Return the schema with an event time that whole milliseconds can hold, unless it says a range itself."""
    field = schema.fields.get(schema.event_time or "")
    if field is None or field.range or field.type not in (FieldType.NUMBER, FieldType.INTEGER):
        return schema
    bounded = msgspec.structs.replace(field, range=(-MAX_EVENT_TIME, MAX_EVENT_TIME))
    return msgspec.structs.replace(schema, fields={**schema.fields, cast(str, schema.event_time): bounded})


class _Branch:
    """An object in the schema's tree: its own fields and the objects inside."""

    def __init__(self) -> None:
        self.children: dict[str, _Branch | tuple[Field, bool]] = {}

    @classmethod
    def of(cls, schema: EventSchema) -> _Branch:
        root = cls()
        for path, spec in schema.fields.items():
            *parents, name = path.split(".")
            branch = root
            for parent in parents:
                inner = branch.children.setdefault(parent, cls())
                branch = cls._object(inner, path)
            if any(character in path for character in '"\\') or not path.isprintable():
                raise BundleError(f"event field {path!r}: JSON would escape its name, which cannot be read; rename it")
            if name in branch.children:
                raise BundleError(f"event field {path!r} is both a value and an object; a field is one or the other")
            branch.children[name] = (spec, path == schema.event_id)
        return root

    @staticmethod
    def _object(child: _Branch | tuple[Field, bool], path: str) -> _Branch:
        if isinstance(child, _Branch):
            return child
        raise BundleError(f"event field {path!r} lies inside a field that is a value; a field is one or the other")

    def prepared(self, name: str) -> type[msgspec.Struct]:
        """Make the Structs; attributes are numbered, since a JSON key need not be a Python name."""
        fields: list[tuple[str, Any, Any]] = []
        rename: dict[str, str] = {}
        for number, (key, child) in enumerate(self.children.items()):
            rename[f"f{number}"] = key
            if isinstance(child, _Branch):
                inner = child.prepared(f"{name}_{number}")
                entry = (inner | None, None) if child.nullable else (inner, msgspec.field())
                fields.append((f"f{number}", *entry))
            else:
                spec, is_id = child
                annotation = _annotation(spec, is_id=is_id)
                entry = (annotation | None, None) if spec.nullable else (annotation, msgspec.field())
                fields.append((f"f{number}", *entry))
        self._struct = msgspec.defstruct(name, fields, rename=rename, gc=False, frozen=True, kw_only=True)
        return self._struct

    @property
    def nullable(self) -> bool:
        """An object may be null or absent where everything in it may be."""
        return all(c.nullable if isinstance(c, _Branch) else c[0].nullable for c in self.children.values())

    def columns(self, events: Sequence[Any], prefix: str = "") -> Iterator[tuple[str, Sequence[Any]]]:
        """Yield each field's path and its values in all events; inside an object that is null, every value is."""
        columns: Iterable[Sequence[Any]] = zip(*map(astuple, events), strict=True) if events else repeat(())
        for (name, child), values in zip(self.children.items(), columns, strict=False):
            if not isinstance(child, _Branch):
                yield prefix + name, values
                continue
            if child.nullable:
                nothing = child._struct()
                values = [nothing if event is None else event for event in values]  # noqa: PLW2901
            yield from child.columns(values, f"{prefix}{name}.")


def _annotation(field: Field, *, is_id: bool) -> Any:
    match field.type:
        case FieldType.NUMBER:
            low, high = field.range or (None, None)
            return Annotated[float, Meta(ge=low, le=high)] if field.range else float
        case FieldType.INTEGER:
            least, most = integer_bounds(field)
            return Annotated[int, Meta(ge=least, le=most)]
        case FieldType.STRING:
            return Annotated[str, Meta(max_length=MAX_EVENT_ID)] if is_id else str
        case FieldType.BOOLEAN:
            return bool
        case FieldType.TIMESTAMP:
            return datetime
        case FieldType.BYTES:
            return bytes


def _column(field: Field, values: Sequence[Any]) -> NDArray[Any]:
    """Return one field's values as the array that `Columns` promises."""
    count = len(values)
    if field.type in (FieldType.STRING, FieldType.BYTES):
        return np.fromiter(values, object, count)
    if field.type is FieldType.TIMESTAMP:
        return np.fromiter(map(_milliseconds, values), np.float64, count)
    if field.nullable:
        return np.array(values, np.float64)  # None becomes NaN
    return np.fromiter(values, DTYPES[field.type], count)


def _milliseconds(moment: datetime | None) -> float:
    if moment is None:
        return np.nan
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)


def _rejection(row: int, value: bytes | None, error: Exception) -> Rejection:
    """Translate what msgspec says into a reason of the closed enum and the path of the field."""

    def rejected(reason: Reason, message: str, path: str = "") -> Rejection:
        return Rejection(row, Stage.DECODE, reason, path[:MAX_MESSAGE], message[:MAX_MESSAGE])

    if value is None:
        return rejected(Reason.TOMBSTONE, "the record has no value")
    if isinstance(error, RecursionError):
        return rejected(Reason.TOO_DEEP, "the event is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        return rejected(Reason.MALFORMED, str(error))
    message = str(error)
    where = _PATH.search(message)
    path = where.group(1) if where else "$"
    said = message[: where.start()] if where else message
    missing = _MISSING.match(said)
    if missing:
        return rejected(Reason.MISSING_FIELD, said, f"{path}.{missing.group(1)}")
    return rejected(Reason.OUT_OF_RANGE if _OUTSIDE.match(said) else Reason.WRONG_TYPE, said, path)
