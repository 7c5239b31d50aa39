"""The compiled reader and msgspec give the same columns, bit for bit, and the same rejections, whatever comes."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_decode_json import BAD, FINE, GOOD, SCHEMA, STAMP, event

from scorer.compiled import BUILT
from scorer.decode import EventSchema, Field, FieldType, JsonDecoder
from scorer.decode.reader import Reader
from scorer.records import Columns, Records, Rejection

pytestmark = pytest.mark.skipif(not BUILT, reason="columns.c was not compiled: Python's headers are missing")

COMPILED, PLAIN = JsonDecoder(SCHEMA), JsonDecoder(SCHEMA, compiled=False)


def records(values: Sequence[bytes | None]) -> Records:
    count = len(values)
    return Records.of("payments", [3] * count, range(100, 100 + count), [STAMP] * count, [None] * count, list(values))


def bits(found: tuple[Columns, list[Rejection]]) -> Any:
    """Return everything that a decoder gives, so that equal means equal in every bit."""
    columns, rejections = found
    held = {
        path: (values.dtype, values.tolist() if values.dtype == object else values.tobytes())
        for path, values in columns.values.items()
    }
    return list(held), held, columns.rows.tolist(), columns.event_ids, columns.event_times.tolist(), rejections


def agree(values: Sequence[bytes | None], schema: EventSchema = SCHEMA) -> None:
    """Both decoders, each event between two good ones of the same batch."""
    compiled, plain = (
        (COMPILED, PLAIN) if schema is SCHEMA else (JsonDecoder(schema), JsonDecoder(schema, compiled=False))
    )
    assert bits(compiled(records(values))) == bits(plain(records(values)))


def left(text: bytes, schema: EventSchema) -> list[int]:
    """Return [0] where the compiled reader leaves an event alone."""
    reader = Reader.of(schema)
    assert reader is not None
    return reader([text])[2]


@pytest.mark.parametrize("case", [*BAD, *FINE])
def test_the_known_cases_are_the_same_between_others(case: str) -> None:
    value = BAD[case][0] if case in BAD else FINE[case]

    agree([event(id="before"), value, event(id="behind"), value])


def near_json(draw: st.DrawFn) -> bytes:
    """Draw an event whose members come in any order, twice, misspelt, unknown or broken, and are then damaged."""
    values = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**64), 2**64),
        st.integers(-200, 200),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=12),
        st.sampled_from(["2018-11-20T00:00:00.5Z", "2020-02-29T23:59:59+05:30", "tx-1", "FI"]),
        st.dictionaries(st.sampled_from(["country", "limits", "daily", "ß"]), st.none() | st.floats(0, 1), max_size=3),
        st.lists(st.integers(0, 3), max_size=3),
    )
    members = dict(GOOD)
    members |= draw(st.dictionaries(st.sampled_from([*GOOD, "extra", "ü", "amoun", "amount2", ""]), values, max_size=4))
    pairs = draw(st.permutations(list(members.items()))) if draw(st.booleans()) else list(members.items())
    twice = pairs[: draw(st.integers(0, 1))]
    space = draw(st.sampled_from(["", " ", "\n\t", "\r"]))
    ascii_ = draw(st.booleans())
    told = [
        f"{space}{json.dumps(k, ensure_ascii=ascii_)}{space}:{space}{json.dumps(v, ensure_ascii=ascii_)}"
        for k, v in [*pairs, *twice]
    ]
    text = (space + "{" + ",".join(told) + space + "}" + space).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 3))
        text = (
            text[:place]
            + draw(st.sampled_from([b"", b'"', b"\\", b"0", b"-", b"e5", b",", b"}", b"\x00", b"\xc3", b".", b" "]))
            + text[place + cut :]
        )
    return text


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_whatever_comes_is_read_alike(data: st.DataObject) -> None:
    agree([near_json(data.draw) for _ in range(data.draw(st.integers(1, 6)))])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.none() | st.binary(max_size=80), max_size=8))
def test_any_bytes_are_read_alike(values: list[bytes | None]) -> None:
    agree(values)


NUMBERS = EventSchema({"x": Field(FieldType.NUMBER)})


def number_texts() -> st.SearchStrategy[str]:
    """Every way in which programs write numbers, and some in which they do not."""
    digits = st.text("0123456789", min_size=1, max_size=22)
    parts = st.tuples(
        st.sampled_from(["", "-", "+"]),
        digits,
        st.one_of(st.just(""), digits.map(lambda d: f".{d}"), st.just(".")),
        st.one_of(
            st.just(""), st.integers(-340, 330).map(lambda e: f"e{e}"), st.sampled_from(["E+5", "e", "e-", "E05"])
        ),
    )
    floats = st.floats(allow_nan=False, allow_infinity=False)
    return st.one_of(parts.map("".join), floats.map(repr), floats.map(lambda x: f"{x:.6f}"), st.integers().map(str))


@settings(max_examples=1500, deadline=None)
@given(st.lists(number_texts(), min_size=1, max_size=20))
@example(
    [
        "9007199254740993",
        "9007199254740993.0",
        "18446744073709551615",
        "1e23",
        "-0",
        "-0.0",
        "0e5",
        "0.0e-30",
        "-1e-400",
    ]
)
@example(["9223372036854775807", "9223372036854775808", "-9223372036854775808", "8.5e27", "1.7976931348623157e308"])
@pytest.mark.parametrize("kind", [FieldType.NUMBER, FieldType.INTEGER])
@pytest.mark.parametrize("nullable", [False, True])
def test_numbers_are_the_same_double(kind: FieldType, nullable: bool, texts: list[str]) -> None:
    agree([b'{"x":%b}' % text.encode() for text in texts], EventSchema({"x": Field(kind, nullable)}))


def test_a_million_doubles_in_pythons_own_words_are_those_doubles() -> None:
    """Of the sizes that features have none is left to msgspec, and each comes back with every bit."""
    draw = random.Random(7)
    wanted = np.array(
        [draw.choice((-1, 1)) * draw.uniform(1, 10) * 10.0 ** draw.randint(-9, 15) for _ in range(1_000_000)]
    )
    reader = Reader.of(NUMBERS)
    assert reader is not None

    found, _, alone = reader([b'{"x":%b}' % repr(x).encode() for x in wanted.tolist()])

    assert alone == []
    assert found["x"].tobytes() == wanted.tobytes()


def test_doubles_halfway_between_two_are_rounded_to_even() -> None:
    """The text of each exact middle of neighbouring doubles, as far as 19 digits hold it, and its two neighbours."""
    texts = []
    for exponent in range(53, 63):
        step = 2 ** (exponent - 52)
        for odd in range(1, 200, 2):
            middle = 2**exponent + odd * step // 2
            texts += [str(middle), f"{middle}.0", str(middle - 1), str(middle + 1), f"{middle}e1", f"{middle}e-3"]

    agree([b'{"x":%b}' % text.encode() for text in texts], NUMBERS)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_any_pattern_of_bits_is_read_alike(pattern: int) -> None:
    (value,) = struct.unpack("<d", struct.pack("<Q", pattern))
    agree([b'{"x":%b}' % repr(value).encode()], NUMBERS)


TIMES = EventSchema({"x": Field(FieldType.TIMESTAMP, nullable=True)}, event_time="x")


def time_texts() -> st.SearchStrategy[str]:
    """RFC 3339, and what comes near to it."""
    two = st.integers(0, 62).map(lambda n: f"{n:02d}")
    zones = st.one_of(
        st.sampled_from(["", "Z", "z", "+00:00", "-00:00", "+0000", "Z ", "+24:00", "\x00"]),
        st.tuples(st.sampled_from("+-"), two, two).map(lambda z: f"{z[0]}{z[1]}:{z[2]}"),
    )
    fraction = st.one_of(st.just(""), st.text("0123456789", max_size=9).map(lambda d: f".{d}"), st.just(","))
    return st.tuples(
        st.one_of(st.integers(0, 9999).map(lambda y: f"{y:04d}"), st.just("1969"), st.just("2024")),
        st.integers(0, 13).map(lambda n: f"{n:02d}"),
        st.integers(0, 32).map(lambda n: f"{n:02d}"),
        st.sampled_from(["T", "T", "t", " "]),
        st.integers(0, 24).map(lambda n: f"{n:02d}"),
        two,
        two,
        fraction,
        zones,
    ).map(lambda t: f"{t[0]}-{t[1]}-{t[2]}{t[3]}{t[4]}:{t[5]}:{t[6]}{t[7]}{t[8]}")


@settings(max_examples=600, deadline=None)
@given(st.lists(time_texts(), min_size=1, max_size=20))
def test_moments_are_the_same_millisecond(texts: list[str]) -> None:
    agree([json.dumps({"x": text}).encode() for text in texts], TIMES)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.booleans(), st.integers(-5, 5))
def test_strings_and_ids_are_the_same(text: str, ascii_: bool, count: int) -> None:
    schema = EventSchema({"id": Field(FieldType.STRING), "x": Field(FieldType.STRING, nullable=True)}, event_id="id")
    long = json.dumps({"id": "ä" * (1024 + count), "x": text}, ensure_ascii=ascii_).encode("utf-8", "surrogatepass")

    agree([json.dumps({"x": text, "id": text}, ensure_ascii=ascii_).encode("utf-8", "surrogatepass"), long], schema)


NULLABLE = EventSchema(
    {
        "yes": Field(FieldType.BOOLEAN, nullable=True),
        "whole": Field(FieldType.INTEGER, nullable=True, range=(-2.5, 7.5)),
        "id": Field(FieldType.INTEGER),
        "a.yes": Field(FieldType.BOOLEAN),
        "a.b.text": Field(FieldType.STRING, nullable=True),
        "a.b.share": Field(FieldType.NUMBER, nullable=True, range=(0.0, 1.0)),
    },
    event_id="id",
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_type_is_read_alike_with_null_and_without(data: st.DataObject) -> None:
    value = st.sampled_from([None, True, False, 0, 1, 7, 8, -2, -3, 0.5, 1.0, 1.5, "x", "", "ü"])
    b = st.none() | st.fixed_dictionaries({}, optional={"text": value, "share": value})
    a = st.fixed_dictionaries({"yes": st.booleans()}, optional={"b": b})
    members = st.fixed_dictionaries({"id": st.integers(), "a": a}, optional={"yes": value, "whole": value})

    agree([json.dumps(data.draw(members)).encode() for _ in range(data.draw(st.integers(1, 5)))], NULLABLE)


def test_an_ordinary_event_is_not_left_to_msgspec() -> None:
    """Else the reader would be right, and of no use: any order, spaces, nulls, other fields, alphabets and escapes."""
    ordinary = [
        event(),
        json.dumps(dict(reversed(GOOD.items())), indent=2, ensure_ascii=False).encode(),
        json.dumps(GOOD | {"more": {"a": [1, {"b": None}], "ß": "ü", "c": 'ü"\n'}}, ensure_ascii=False).encode(),
        event(balance=None, note=None, at=None, card={"country": "FI"}),
        event(balance=0.1 + 0.2, amount=1e-7, at="2018-11-20T00:00:00+02:00", note='\\"/\b\f\n\r\t\u20ac'),
    ]

    assert [left(each, SCHEMA) for each in ordinary] == [[]] * 5


def test_what_the_reader_remembers_of_an_event_does_not_reach_the_next() -> None:
    """Order of fields, strings and which fields were met are remembered; an event without them is read as such."""
    schema = EventSchema({"a": Field(FieldType.NUMBER, nullable=True), "b.c": Field(FieldType.STRING, nullable=True)})

    agree(
        [b'{"a":1,"b":{"c":"x"}}', b"{}", b'{"b":null}', b'{"b":{},"a":null}', b'{"b":{"c":"x"},"b":{}}', b"{}"], schema
    )


def test_a_schema_with_an_unreadable_type_is_left_to_msgspec() -> None:
    assert Reader.of(EventSchema({"x": Field(FieldType.BYTES)})) is None
    assert Reader.of(EventSchema({"x": Field(FieldType.NUMBER)}, event_id="x")) is None


def test_doubles_keep_the_sign_of_zero() -> None:
    columns, _ = JsonDecoder(NUMBERS)(records([b'{"x":-0.0}', b'{"x":0.0}']))

    assert [math.copysign(1, x) for x in columns.values["x"].tolist()] == [-1.0, 1.0]
