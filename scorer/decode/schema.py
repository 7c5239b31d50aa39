"""What an event holds: the fields that the bundle reads, by their paths. Data only; it is part of the manifest."""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec
import numpy as np

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


class FieldType(StrEnum):
    """The types of a field, in JSON Schema's words; `timestamp` is RFC 3339 text, `bytes` are base64 text."""

    NUMBER = "number"
    INTEGER = "integer"
    STRING = "string"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    BYTES = "bytes"


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One field: its type, whether it may be null or absent, and the closed range of a number."""

    type: FieldType
    nullable: bool = False
    range: tuple[float, float] | None = None


DTYPES = {
    FieldType.NUMBER: np.float64,
    FieldType.INTEGER: np.int64,
    FieldType.BOOLEAN: np.bool_,
    FieldType.TIMESTAMP: np.float64,
}
"""Of columns without null."""


def integer_bounds(field: Field) -> tuple[int, int]:
    """Return the least and the greatest whole number that an integer field takes."""
    low, high = field.range or (INT64_MIN, INT64_MAX)
    return max(math.ceil(low), INT64_MIN), min(math.floor(high), INT64_MAX)


class EventSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of an event by path: `card.country` is `country` inside the object `card`.

    Fields that are not listed are skipped, unread. `event_id` names the field that identifies the event for people
    (without one, the decision's own id stands in); `event_time` the one that says when it happened, in milliseconds
    since the epoch or as RFC 3339 text (without one, or where it is null, the record's timestamp).
    """

    fields: dict[str, Field]
    event_id: str | None = None
    event_time: str | None = None
