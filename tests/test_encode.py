"""Room 5: the decision record field by field, the dead letter byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.compiled import BUILT
from scorer.decide import decide
from scorer.encode import MAX_DECISION, OVERHEAD, Encoder, Origin, Timing, weave, woven
from scorer.errors import Reason, Stage
from scorer.records import Bands, Columns, Header, Letter, Records, Rejection, Scores

ORIGIN = Origin("card-fraud", "7", "ab12" * 16)
BANDS = Bands.of({"review": 0.60, "block": 0.92}, "approve")
TIMING = Timing(0.0031, 0.0019, 0.006)
ROOM = 20_000
"""Bytes of room in a record, beside the overhead: small, so that little is oversize."""


def encoder(room: int = ROOM, **changes: Any) -> Encoder:
    arguments: dict[str, Any] = {"group": "grüppe", "decisions": "out", "dead_letters": "dlq"} | changes
    return Encoder(ORIGIN, BANDS, max_bytes=room + OVERHEAD, **arguments)


def records(
    keys: Sequence[bytes | None], values: Sequence[bytes | None] | None = None, headers: Sequence[Header] = ()
) -> Records:
    count = len(keys)
    return Records.of(
        "payments",
        [row % 2 for row in range(count)],
        [2**40 + row for row in range(count)],
        [1_700_000_000_000 + row for row in range(count)],
        keys,
        values or [b"{}"] * count,
        lambda _: headers,
    )


def decided(score: Sequence[float] | Any, event_ids: Sequence[bytes] | None = None) -> list[bytes]:
    """Encode a batch of the scores; every second record, the odd rows, is no decision of it."""
    scores = np.array(score, np.float32)
    rows = np.arange(len(scores)) * 2
    columns = Columns(
        rows, {}, event_ids or [b'"tx-%d"' % row for row in rows], 1_542_672_000_000 + rows.astype(np.int64)
    )
    decisions = decide(Scores(rows, scores, (scores * 8 - 4).astype(np.float32)), BANDS)
    batch = records([b"key-%d" % row for row in range(2 * len(scores))])
    outgoing = encoder()(batch, columns, decisions, [], TIMING)
    assert outgoing.keys == [b"key-%d" % row for row in rows]
    assert (outgoing.decisions_topic, outgoing.dead_letters_topic, outgoing.dead_letters) == ("out", "dlq", [])
    return list(outgoing.values)


def test_a_decision_is_the_designs_field_by_field_in_its_order() -> None:
    """What a consumer may rely on, names, order, types and values, is exactly this."""
    values = decided([0.9296875, 0.25])

    assert list(json.loads(values[0]).items()) == [
        ("decision_id", "payments-0-1099511627776"),
        ("event_id", "tx-0"),
        ("topic", "payments"),
        ("partition", 0),
        ("offset", 2**40),
        ("event_time", 1542672000000),
        ("score", 0.9296875),
        ("log_odds", 3.4375),
        ("decision", "block"),
        ("band", {"name": "block", "from": 0.92}),
        ("model", "card-fraud"),
        ("model_version", "7"),
        ("bundle_sha256", "ab12" * 16),
        ("thresholds_version", BANDS.version),
        ("metrics", {"batch_events": 4, "wait_ms": 3.1, "score_ms": 1.9, "total_ms": 6.0}),
    ]
    second = json.loads(values[1])
    assert (second["decision_id"], second["event_id"], second["offset"]) == (
        "payments-0-1099511627778",
        "tx-2",
        2**40 + 2,
    )
    assert (second["decision"], second["band"]) == ("approve", {"name": "approve", "from": 0.0})


def test_cloudevents_headers_name_the_decision_and_leave_it_as_it_is() -> None:
    """CloudEvents 1.0, binary mode: the required attributes, and the event's time where RFC 3339 can write it."""
    rows = np.arange(4)
    times = np.array([1_542_672_000_123, -(2**53), 253_402_300_799_999, 253_402_300_800_000])
    columns = Columns(rows, {}, [b'"a"', b'"b"', b'"c"', b'"d"'], times)
    decisions = decide(Scores(rows, np.zeros(4, np.float32), np.zeros(4, np.float32)), BANDS)
    batch = records([b"k"] * 4)

    plain = encoder()(batch, columns, decisions, [], TIMING)
    outgoing = encoder(cloudevents=True)(batch, columns, decisions, [], TIMING)

    assert (outgoing.keys, outgoing.values) == (plain.keys, plain.values)
    assert plain.headers == ()
    assert [name for name, _ in outgoing.headers[0]] == [
        *("content-type", "ce_specversion", "ce_type", "ce_source", "ce_id", "ce_time"),
    ]
    told = [dict(headers) for headers in outgoing.headers]
    assert [one["ce_id"].decode() for one in told] == [json.loads(value)["decision_id"] for value in outgoing.values]
    assert {one["ce_source"] for one in told} == {b"/scorer/gr%C3%BCppe/payments"}
    assert {(one["ce_specversion"], one["content-type"]) for one in told} == {(b"1.0", b"application/json")}
    assert [one.get("ce_time") for one in told] == [
        *(b"2018-11-20T00:00:00.123Z", None, b"9999-12-31T23:59:59.999Z", None),
    ]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_a_scores_text_reads_back_to_the_same_bits(scores: list[float]) -> None:
    """The text is the shortest of its float32: as float64 it may be another number, as float32 it is the same."""
    texts = decided(scores)

    back = np.array([json.loads(text)["score"] for text in texts], np.float32)
    log_odds = np.array([json.loads(text)["log_odds"] for text in texts], np.float32)

    assert back.tobytes() == np.array(scores, np.float32).tobytes()
    assert log_odds.tobytes() == (np.array(scores, np.float32) * 8 - 4).astype(np.float32).tobytes()


@given(st.lists(st.text(max_size=20) | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5))
def test_event_ids_of_any_text_or_integer_come_back_as_they_were(event_ids: list[str | int]) -> None:
    """Quotes, control characters and big integers do not break the record around them."""
    texts = decided([0.5] * len(event_ids), [json.dumps(event_id).encode() for event_id in event_ids])

    assert [json.loads(text)["event_id"] for text in texts] == event_ids


def test_names_that_need_escapes_stay_inside_their_strings() -> None:
    """A bundle's name, a version or a band with quotes cannot forge a field."""
    bands = Bands.of({'"block",': 0.5}, 'ok"')
    origin = Origin('x","decision":"approve', '7"\n', "ff")
    made = Encoder(origin, bands, group="g", decisions="out", dead_letters="dlq", max_bytes=ROOM)
    columns = Columns(np.arange(1), {}, [b'"e"'], np.zeros(1, np.int64))
    score = np.array([0.75], np.float32)

    outgoing = made(records([None]), columns, decide(Scores(np.arange(1), score, score), bands), [], TIMING)

    decision = json.loads(outgoing.values[0])
    assert (decision["model"], decision["model_version"]) == (origin.model, origin.model_version)
    assert decision["decision"] == decision["band"]["name"] == '"block",'
    assert outgoing.keys == [None]


def test_a_batch_without_survivors_has_no_decisions() -> None:
    """Only dead letters are left then."""
    assert decided([]) == []


REJECTION = Rejection(0, Stage.DECODE, Reason.WRONG_TYPE, "$.amount", "Expected `float`, got `str`")


def letter(batch: Records, rejection: Rejection = REJECTION, room: int = ROOM) -> Letter:
    nothing = np.zeros(0, np.intp)
    none = Scores(nothing, np.zeros(0, np.float32), np.zeros(0, np.float32))
    columns = Columns(nothing, {}, [], np.zeros(0, np.int64))
    outgoing = encoder(room)(batch, columns, decide(none, BANDS), [rejection], TIMING)
    assert (len(outgoing.values), len(outgoing.dead_letters), len(outgoing)) == (0, 1, 1)
    return outgoing.dead_letters[0]


def size(found: Letter) -> int:
    """Return the bytes of a record as the client counts them: key, value, and headers with their lengths."""
    headers = sum(len(name) + len(content or b"") + 8 for name, content in found.headers)
    return len(found.key or b"") + len(found.value or b"") + headers


HEADERS: list[Header] = [("trace", b"\xff\x00"), ("trace", b"twice"), ("ä", None), ("empty", b"")]


@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe not JSON", b"{}"])
@pytest.mark.parametrize("key", [None, b"", b"\x00key"])
def test_a_dead_letter_is_the_record_byte_for_byte(key: bytes | None, value: bytes | None) -> None:
    """Key, value, timestamp and every header, in order, are those that came; null and empty stay apart."""
    found = letter(records([key], [value], HEADERS))

    assert (found.key, found.value, found.timestamp) == (key, value, 1_700_000_000_000)
    assert list(found.headers[: len(HEADERS)]) == HEADERS


def test_a_dead_letter_says_where_it_came_from_and_why() -> None:
    """Origin and reason are headers, after the record's own: a consumer finds them without reading the event."""
    found = letter(records([None, b"k"]), replace(REJECTION, row=1))

    assert list(found.headers) == [
        ("__dlq.errors.topic", b"payments"),
        ("__dlq.errors.partition", b"1"),
        ("__dlq.errors.offset", b"1099511627777"),
        ("__dlq.errors.group", "grüppe".encode()),
        ("__dlq.errors.message", b"Expected `float`, got `str`"),
        ("scorer.error.stage", b"decode"),
        ("scorer.error.reason", b"wrong_type"),
        ("scorer.error.path", b"$.amount"),
    ]


@pytest.mark.parametrize(
    ("key", "value"), [(10, ROOM + 1), (ROOM + 1, 10), (3 * ROOM, 3 * ROOM), (ROOM // 2, ROOM // 2 + 1)]
)
def test_a_dead_letter_too_large_is_cut_and_marked(key: int, value: int) -> None:
    """What is kept is the beginning; size and SHA-256 of what was cut let it be known again."""
    original = {"key": b"k" * key, "value": b"v" * value}

    found = letter(records([original["key"]], [original["value"]]))

    headers = dict(found.headers)
    kept = {"key": found.key or b"", "value": found.value or b""}
    for part, content in original.items():
        assert content.startswith(kept[part])
        if kept[part] != content:
            assert headers[f"scorer.error.{part}.bytes"] == b"%d" % len(content)
            assert headers[f"scorer.error.{part}.sha256"] == hashlib.sha256(content).hexdigest().encode()
        else:
            assert f"scorer.error.{part}.sha256" not in headers
    assert kept != original
    assert size(found) <= ROOM + OVERHEAD


def test_what_just_fits_is_not_cut() -> None:
    """The bound itself is inside."""
    found = letter(records([b"k" * (ROOM // 2)], [b"v" * (ROOM - ROOM // 2)]))

    assert len(found.key or b"") + len(found.value or b"") == ROOM
    assert not any(name.endswith("sha256") for name, _ in found.headers)


def test_headers_too_large_are_left_out_and_said_to_be() -> None:
    """They would leave no room for the event; the mark says that they are missing."""
    found = letter(records([b"k"], [b"v"], [("big", b"x" * ROOM)]))

    assert (found.key, found.value) == (b"k", b"v")
    assert "big" not in dict(found.headers)
    assert dict(found.headers)["scorer.error.headers"] == b"cut: too large"


def test_headers_that_cannot_be_read_are_said_to_be() -> None:
    """A header whose name is not UTF-8 cannot be re-emitted; the event itself is, and the mark says what is missing."""

    def unreadable(_: int) -> Sequence[Header]:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    found = letter(replace(records([b"k"], [b"v"]), headers=unreadable))

    assert (found.key, found.value) == (b"k", b"v")
    assert (dict(found.headers)["scorer.error.headers"] or b"").startswith(b"unreadable")


@given(
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=300),
    st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=60)), max_size=4),
    st.text(max_size=300),
)
def test_no_dead_letter_is_larger_than_a_record_may_be(
    key: bytes | None, value: bytes | None, headers: list[Header], said: str
) -> None:
    """Whatever came, the letter fits: an oversize one would abort its whole batch for ever."""
    scale = 200
    big = records([key and key * scale], [value and value * scale], [(n, c and c * scale) for n, c in headers])

    found = letter(big, replace(REJECTION, message=said, path="$." + said[:298]))

    assert size(found) <= ROOM + OVERHEAD


def test_a_letter_of_the_longest_names_still_fits() -> None:
    """Group, message and path of the greatest length, in characters of four bytes, stay inside the overhead."""
    nothing = np.zeros(0, np.intp)
    none = decide(Scores(nothing, np.zeros(0, np.float32), np.zeros(0, np.float32)), BANDS)
    columns = Columns(nothing, {}, [], np.zeros(0, np.int64))
    batch = replace(records([b"k" * ROOM], [b"v" * ROOM]), topic="t" * 249)
    worst = Rejection(0, Stage.TRANSFORM, Reason.UNKNOWN_CATEGORY, "🎉" * 300, "🎉" * 300)

    found = encoder(group="🎉" * 249)(batch, columns, none, [worst], TIMING).dead_letters[0]

    assert size(found) <= ROOM + OVERHEAD


def test_a_key_that_leaves_no_room_for_a_decision_is_oversize() -> None:
    """It is rejected before it is decided, since the decision would carry the key too."""
    most = ROOM - MAX_DECISION
    batch = records([b"k" * most, b"k" * (most + 1), None])

    found = encoder().oversize(batch, np.arange(3))

    assert [(r.row, r.stage, r.reason) for r in found] == [(1, Stage.ENCODE, Reason.OVERSIZE)]
    assert encoder().oversize(batch, np.array([0, 2])) == []


def test_the_largest_decision_stays_within_what_is_kept_for_it() -> None:
    """An event's id of 1,024 characters, each written as an escape, and long names, are within MAX_DECISION."""
    origin = Origin("🎉" * 249, "v" * 249, "f" * 64)
    bands = Bands.of({"🎉" * 249: 0.5}, "approve")
    made = Encoder(origin, bands, group="g", decisions="out", dead_letters="dlq", max_bytes=10**6)
    columns = Columns(np.arange(1), {}, [json.dumps("\x01" * 1024).encode()], np.full(1, -(2**63), np.int64))
    score = np.array([0.75], np.float32)
    batch = replace(records([None]), topic="t" * 249)

    outgoing = made(batch, columns, decide(Scores(np.arange(1), score, score), bands), [], TIMING)

    assert len(outgoing.values[0]) <= MAX_DECISION


compiled = pytest.mark.skipif(not BUILT, reason="weave.c was not compiled: Python's headers are missing")


@st.composite
def parts_of_rows(draw: st.DrawFn) -> tuple[tuple[Any, ...], int]:
    """Draw parts of every kind, for none to twenty rows."""
    rows = draw(st.integers(0, 20))
    texts = st.lists(st.binary(max_size=12), min_size=rows, max_size=rows)
    table = st.lists(st.binary(max_size=12), min_size=1, max_size=4)
    choice = table.flatmap(
        lambda t: st.lists(st.integers(0, len(t) - 1), min_size=rows, max_size=rows).map(
            lambda chosen: (t, np.array(chosen, np.int64))
        )
    )
    numbers = st.lists(st.integers(-(10**12), 10**12), min_size=rows, max_size=rows).map(
        lambda all_: (None, ",".join(map(str, all_)).encode())
    )
    return tuple(draw(st.lists(st.one_of(st.binary(max_size=12), texts, choice, numbers), min_size=1))), rows


@compiled
@given(parts_of_rows())
def test_the_compiled_weaver_weaves_what_python_does(drawn: tuple[tuple[Any, ...], int]) -> None:
    parts, rows = drawn
    assert weave(parts, rows) == woven(parts, rows)


@compiled
@pytest.mark.parametrize(
    "part",
    [[b"1"], [b"1", b"2", b"3"], (None, b"1"), ([b"1"], np.array([0])), ([b"1"], np.array([0, 1])), [b"1", "2"]],
    ids=["too few", "too many", "too few numbers", "too few choices", "a choice of none", "no bytes"],
)
def test_the_compiled_weaver_raises_for_what_is_no_part_of_two_rows(part: Any) -> None:
    """It reads memory: whatever does not fit must be an exception there."""
    with pytest.raises((ValueError, TypeError, IndexError)):
        weave((b"{", part), 2)
