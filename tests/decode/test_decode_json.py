"""Room 1 on JSON: every reason with its path, neighbours unharmed, and nothing that an event holds ever raises."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scorer.decode import EventSchema, Field, FieldType, JsonDecoder
from scorer.decode.json import MAX_EVENT_ID, MAX_MESSAGE
from scorer.errors import Reason, Stage
from scorer.records import Columns, Records, Rejection

SCHEMA = EventSchema(
    {
        "id": Field(FieldType.STRING),
        "amount": Field(FieldType.NUMBER, range=(0, 1e6)),
        "balance": Field(FieldType.NUMBER, nullable=True),
        "age": Field(FieldType.INTEGER, range=(0, 150)),
        "count": Field(FieldType.INTEGER),
        "online": Field(FieldType.BOOLEAN),
        "note": Field(FieldType.STRING, nullable=True),
        "at": Field(FieldType.TIMESTAMP, nullable=True),
        "card.country": Field(FieldType.STRING),
        "card.limits.daily": Field(FieldType.NUMBER, nullable=True),
    },
    event_id="id",
    event_time="at",
)
GOOD: dict[str, Any] = {
    "id": "tx-1",
    "amount": 12.5,
    "balance": 100.25,
    "age": 42,
    "count": -7,
    "online": True,
    "note": "grüße",
    "at": "2018-11-20T00:00:00.123Z",
    "card": {"country": "FI", "limits": {"daily": 500.0}},
}
STAMP = 1_700_000_000_000


def event(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def raw(field: str, text: bytes) -> bytes:
    """Return the good event with a field's value replaced by bytes that need not be JSON."""
    return event(**{field: "\N{PILCROW SIGN}"}).replace(rb'"\u00b6"', text)


def decode(values: Sequence[bytes | None], schema: EventSchema = SCHEMA) -> tuple[Columns, list[Rejection]]:
    count = len(values)
    return JsonDecoder(schema)(
        Records.of("payments", [3] * count, range(100, 100 + count), [STAMP] * count, [None] * count, values)
    )


def one(kind: FieldType, text: str, **spec: Any) -> tuple[Columns, list[Rejection]]:
    """Decode the event `{"x": <text>}` by a schema of that one field, which may be the event's time or id."""
    roles = {role: "x" for role in ("event_id", "event_time") if spec.pop(role, False)}
    return decode([b'{"x":%b}' % text.encode()], EventSchema({"x": Field(kind, **spec)}, **roles))


BAD: dict[str, tuple[bytes | None, Reason, str]] = {
    "tombstone": (None, Reason.TOMBSTONE, ""),
    "empty": (b"", Reason.MALFORMED, ""),
    "spaces": (b" \n", Reason.MALFORMED, ""),
    "not JSON": (b"hello", Reason.MALFORMED, ""),
    "cut short": (event()[:-1], Reason.MALFORMED, ""),
    "trailing": (event() + b"{}", Reason.MALFORMED, ""),
    "BOM": (b"\xef\xbb\xbf" + event(), Reason.MALFORMED, ""),
    "UTF-16": (event().decode().encode("utf-16"), Reason.MALFORMED, ""),
    "lone surrogate": (raw("note", rb'"\ud800"'), Reason.MALFORMED, ""),
    "invalid UTF-8": (raw("note", b'"\xff"'), Reason.MALFORMED, ""),
    "raw NUL": (raw("note", b'"\x00"'), Reason.MALFORMED, ""),
    "NaN": (raw("amount", b"NaN"), Reason.MALFORMED, ""),
    "Infinity": (raw("amount", b"-Infinity"), Reason.MALFORMED, ""),
    "deep array": (raw("more", b"[" * 100_000 + b"]" * 100_000), Reason.TOO_DEEP, ""),
    "deep object": (raw("more", b'{"a":' * 2_000 + b"1" + b"}" * 2_000), Reason.TOO_DEEP, ""),
    "null": (b"null", Reason.WRONG_TYPE, "$"),
    "array": (b"[]", Reason.WRONG_TYPE, "$"),
    "number": (b"1", Reason.WRONG_TYPE, "$"),
    "text": (b'"x"', Reason.WRONG_TYPE, "$"),
    "boolean for number": (event(amount=True), Reason.WRONG_TYPE, "$.amount"),
    "text for number": (event(amount="1.5"), Reason.WRONG_TYPE, "$.amount"),
    "null for number": (event(amount=None), Reason.WRONG_TYPE, "$.amount"),
    "fraction for integer": (event(count=1.5), Reason.WRONG_TYPE, "$.count"),
    "number for text": (event(note=1), Reason.WRONG_TYPE, "$.note"),
    "number for boolean": (event(online=1), Reason.WRONG_TYPE, "$.online"),
    "array for object": (event(card=[]), Reason.WRONG_TYPE, "$.card"),
    "nested wrong type": (event(card={"country": 1}), Reason.WRONG_TYPE, "$.card.country"),
    "twice nested": (event(card={"country": "FI", "limits": {"daily": "x"}}), Reason.WRONG_TYPE, "$.card.limits.daily"),
    "missing": (
        json.dumps({k: v for k, v in GOOD.items() if k != "amount"}).encode(),
        Reason.MISSING_FIELD,
        "$.amount",
    ),
    "missing object": (
        json.dumps({k: v for k, v in GOOD.items() if k != "card"}).encode(),
        Reason.MISSING_FIELD,
        "$.card",
    ),
    "nested missing": (event(card={}), Reason.MISSING_FIELD, "$.card.country"),
    "below range": (event(amount=-0.01), Reason.OUT_OF_RANGE, "$.amount"),
    "above range": (event(age=151), Reason.OUT_OF_RANGE, "$.age"),
    "1e400": (raw("balance", b"1e400"), Reason.OUT_OF_RANGE, "$.balance"),
    "5,000 digits": (raw("count", b"9" * 5000), Reason.OUT_OF_RANGE, "$.count"),
    "400 digits": (raw("count", b"-" + b"9" * 400), Reason.OUT_OF_RANGE, "$.count"),
    "5,000 digits for number": (raw("balance", b"9" * 5000), Reason.OUT_OF_RANGE, "$.balance"),
    "64 bits and one": (event(count=2**63), Reason.OUT_OF_RANGE, "$.count"),
    "unsigned 64 bits and one": (event(count=2**64), Reason.OUT_OF_RANGE, "$.count"),
    "long id": (event(id="x" * (MAX_EVENT_ID + 1)), Reason.OUT_OF_RANGE, "$.id"),
}
FINE: dict[str, bytes] = {
    "good": event(),
    "nulls": event(balance=None, note=None, at=None, card={"country": "SE", "limits": {"daily": None}}),
    "absent": json.dumps({k: v for k, v in GOOD.items() if k not in ("balance", "note", "at")}).encode(),
    "absent object": event(card={"country": "SE"}),
    "more fields": event(more={"deep": [[1], {"a": None}]}, card={"country": "SE", "pan": 1}),
    "edges": event(amount=0, age=150, count=-(2**63)),
    "long id": event(id="ä" * MAX_EVENT_ID),
    "empty texts": event(id="", note=""),
    "NUL in text": event(note="\x00"),
    "minus zero": raw("balance", b"-0.0"),
    "denormal": raw("balance", b"5e-324"),
}


@pytest.mark.parametrize("case", BAD)
def test_each_broken_event_is_rejected_once_with_its_reason_and_path(case: str) -> None:
    """What is wrong with an event is one member of the closed enum, and the path leads to the place."""
    value, reason, path = BAD[case]

    columns, rejections = decode([value])

    assert [(r.row, r.stage, r.reason, r.path) for r in rejections] == [(0, Stage.DECODE, reason, path)]
    assert rejections[0].message
    assert len(columns.rows) == 0


@pytest.mark.parametrize("case", FINE)
def test_every_sound_event_is_decoded(case: str) -> None:
    """Nulls, absent fields, more fields than the schema has, and the edges of ranges and types are no faults."""
    columns, rejections = decode([FINE[case]])

    assert not rejections
    assert columns.rows.tolist() == [0]


def test_values_are_those_of_the_event_in_the_promised_types() -> None:
    """A column holds what the event said: float64, int64, bool, or str, nested fields under their path."""
    columns, _ = decode([event()])

    found = {path: (column.dtype.kind, column.tolist()[0]) for path, column in columns.values.items()}
    assert found == {
        "id": ("O", "tx-1"),
        "amount": ("f", 12.5),
        "balance": ("f", 100.25),
        "age": ("i", 42),
        "count": ("i", -7),
        "online": ("b", True),
        "note": ("O", "grüße"),
        "at": ("f", 1542672000123.0),
        "card.country": ("O", "FI"),
        "card.limits.daily": ("f", 500.0),
    }
    assert columns.event_ids == [b'"tx-1"']
    assert columns.event_times.tolist() == [1542672000123]


@pytest.mark.parametrize("case", ["nulls", "absent", "absent object"])
def test_null_and_absent_are_the_same(case: str) -> None:
    """A field that may be null is null whether the event says so, leaves it out, or leaves out its object."""
    columns, _ = decode([FINE[case]])

    assert np.isnan(columns.values["balance"][0]) == (case != "absent object")
    assert (columns.values["note"][0] is None) == (case != "absent object")
    assert np.isnan(columns.values["card.limits.daily"][0]) == (case != "absent")


def test_an_object_of_nullable_fields_may_itself_be_null() -> None:
    """`"limits": null` says the same as leaving `limits` out: every field in it is null."""
    columns, rejections = decode([event(card={"country": "FI", "limits": None})])

    assert not rejections
    assert np.isnan(columns.values["card.limits.daily"]).tolist() == [True]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1000)), max_size=30))
def test_neighbours_of_broken_events_are_unharmed(draws: list[tuple[bool, int]]) -> None:
    """In any mix and order the sound events give the columns they give alone; each bad row is one fault."""
    fine, bad = list(FINE.values()), [value for value, _, _ in BAD.values()]
    values = [fine[at % len(fine)] if good else bad[at % len(bad)] for good, at in draws]
    good_rows = [row for row, (good, _) in enumerate(draws) if good]

    columns, rejections = decode(values)
    alone, none = decode([values[row] for row in good_rows])

    assert not none
    assert columns.rows.tolist() == good_rows
    assert [r.row for r in rejections] == [row for row, (good, _) in enumerate(draws) if not good]
    assert columns.event_ids == alone.event_ids
    assert columns.event_times.tobytes() == alone.event_times.tobytes()
    for path, column in columns.values.items():
        assert column.dtype == alone.values[path].dtype
        assert column.tolist() == alone.values[path].tolist() or column.tobytes() == alone.values[path].tobytes()


@given(st.lists(st.one_of(st.none(), st.binary(max_size=60), st.text(max_size=30).map(str.encode))))
def test_no_bytes_ever_raise(values: list[bytes | None]) -> None:
    """Whatever bytes come, every record is either a row of the columns or one rejection."""
    columns, rejections = decode(values)

    assert sorted([*columns.rows.tolist(), *(r.row for r in rejections)]) == list(range(len(values)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*GOOD, "country", "daily"]), inner),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(list(GOOD)), json_values))
def test_no_json_ever_raises_and_paths_lead_into_the_event(changes: dict[str, Any]) -> None:
    """Any JSON in any field is a row or a rejection whose path begins at the event's root."""
    columns, rejections = decode([event(**changes)])

    assert len(columns.rows) + len(rejections) == 1
    assert all(r.path.startswith("$") for r in rejections if r.reason is not Reason.MALFORMED)


def test_the_last_of_repeated_keys_counts() -> None:
    """JSON leaves it open; as in nearly every reader the last one wins, and the event is not rejected for it."""
    columns, rejections = one(FieldType.NUMBER, '1,"x":2')

    assert not rejections
    assert columns.values["x"].tolist() == [2.0]


@pytest.mark.parametrize("name", ["a b", "class", "1", "ü", "forgot", "", "a/b", "$", "f0", "got `x`"])
def test_a_field_name_need_not_be_an_identifier(name: str) -> None:
    """Whatever a JSON key is called, its value is read, and its faults have its path and reason."""
    schema = EventSchema({name: Field(FieldType.INTEGER, range=(0, 9))})

    columns, rejections = decode([json.dumps({name: v}).encode() for v in (5, 10, "x")] + [b"{}"], schema)

    assert columns.values[name].tolist() == [5]
    assert [r.reason for r in rejections] == [Reason.OUT_OF_RANGE, Reason.WRONG_TYPE, Reason.MISSING_FIELD]
    assert [r.path for r in rejections] == [f"$.{name}"] * 3


def test_a_very_long_field_name_does_not_flood_the_rejection() -> None:
    """Message and path are cut: both go into headers and logs."""
    schema = EventSchema({"x" * 10_000: Field(FieldType.INTEGER)})

    _, rejections = decode([b"{}"], schema)

    assert len(rejections[0].message) <= MAX_MESSAGE
    assert len(rejections[0].path) <= MAX_MESSAGE


def test_a_text_of_five_million_characters_is_a_text() -> None:
    """Size alone is no fault: Kafka has bounded the record already."""
    columns, rejections = one(FieldType.STRING, f'"{"x" * 5_000_000}"')

    assert not rejections
    assert len(columns.values["x"][0]) == 5_000_000


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (FieldType.STRING, r'"a\"\u0001é"', r'"a\"\u0001é"'),
        (FieldType.INTEGER, "-9223372036854775808", "-9223372036854775808"),
    ],
)
def test_an_event_id_is_json_ready_to_be_embedded(kind: FieldType, text: str, expected: str) -> None:
    """The id keeps its type: text stays text, an integer stays an integer of all its digits."""
    columns, _ = one(kind, text, event_id=True)

    assert columns.event_ids == [expected.encode()]


def test_without_an_event_id_the_decisions_own_id_stands_in() -> None:
    """Topic, partition and offset identify any record."""
    columns, _ = decode([b'{"x":1}', None, b'{"x":2}'], EventSchema({"x": Field(FieldType.NUMBER)}))

    assert columns.event_ids == [b'"payments-3-100"', b'"payments-3-102"']


def test_without_an_event_time_the_records_timestamp_counts() -> None:
    """So it does where the field may be null and is."""
    absent, _ = decode([b'{"x":1}'], EventSchema({"x": Field(FieldType.NUMBER)}))
    null, _ = one(FieldType.TIMESTAMP, "null", event_time=True, nullable=True)

    assert absent.event_times.tolist() == null.event_times.tolist() == [STAMP]


@example(1_079_337_347_472, 0)
@example(-8_762_108_546_491, 90)
@given(st.integers(-62_135_596_800_000, 253_402_300_799_999), st.integers(-14 * 60, 14 * 60))
def test_rfc_3339_text_gives_its_exact_milliseconds(milliseconds: int, zone: int) -> None:
    """A moment written with milliseconds in any zone is that integer of milliseconds since the epoch, none lost."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    try:
        text = moment.astimezone(timezone(timedelta(minutes=zone))).isoformat(timespec="milliseconds")
    except OverflowError:  # the zone's calendar has left the years 1 to 9999
        return

    columns, rejections = one(FieldType.TIMESTAMP, f'"{text}"', event_time=True)

    assert not rejections
    assert columns.event_times.tolist() == [milliseconds]


@pytest.mark.parametrize("text", ["yesterday", "2018-11-20", "2016-12-31T23:59:60Z", "2018-13-01T00:00:00Z"])
def test_text_that_is_no_rfc_3339_moment_is_of_the_wrong_type(text: str) -> None:
    """There is no range that such a text is outside of."""
    _, rejections = one(FieldType.TIMESTAMP, json.dumps(text))

    assert [(r.reason, r.path) for r in rejections] == [(Reason.WRONG_TYPE, "$.x")]


@pytest.mark.parametrize("kind", [FieldType.NUMBER, FieldType.INTEGER])
def test_milliseconds_may_be_numbers(kind: FieldType) -> None:
    """An event time of 1542672000000 is that time, whether the schema calls it a number or an integer."""
    columns, _ = one(kind, "1542672000000", event_time=True)

    assert columns.event_times.tolist() == [1542672000000]


@pytest.mark.parametrize(
    ("kind", "nullable", "text"),
    [
        (FieldType.NUMBER, False, "1e300"),
        (FieldType.NUMBER, True, "-1e19"),
        (FieldType.INTEGER, True, "9223372036854775807"),
    ],
)
def test_an_event_time_beyond_64_bits_is_out_of_range(kind: FieldType, nullable: bool, text: str) -> None:
    """It is a fault of the event, never a made-up moment in the decision."""
    columns, rejections = one(kind, text, event_time=True, nullable=nullable)

    assert [(r.reason, r.path) for r in rejections] == [(Reason.OUT_OF_RANGE, "$.x")]
    assert len(columns.event_times) == 0


def test_bytes_are_read_from_base64() -> None:
    """Any bytes, zeros at the end among them, with None for null, in a column of objects."""
    column = decode(
        [b'{"x": "iVBORw0KGgoA"}', b'{"x": ""}', b"{}"], EventSchema({"x": Field(FieldType.BYTES, nullable=True)})
    )[0].values["x"]

    assert column.dtype == object
    assert column.tolist() == [b"\x89PNG\r\n\x1a\n\x00", b"", None]


@pytest.mark.parametrize("text", ['"no base64!"', '"aGVsbG8"', '"-_-_"', "7", "null", '["aGVsbG8="]'])
def test_bytes_that_are_no_base64_have_the_wrong_type(text: str) -> None:
    """The alphabet is the standard one, and padded: a URL's alphabet would be read as other bytes elsewhere."""
    _, rejections = one(FieldType.BYTES, text)

    assert [(r.reason, r.path) for r in rejections] == [(Reason.WRONG_TYPE, "$.x")]


def test_a_batch_of_nothing_but_broken_events_gives_empty_columns_of_the_promised_types() -> None:
    """The rooms behind need no special case for a batch without survivors."""
    columns, rejections = decode([None, b"x"])
    sound, _ = decode([event()])

    assert len(rejections) == 2
    assert {p: c.dtype for p, c in columns.values.items()} == {p: c.dtype for p, c in sound.values.items()}
    assert columns.event_times.dtype == np.int64
