"""The rooms joined: every record of a micro-batch is decided or rejected, exactly once, whatever the rooms refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scorer.decode import EventSchema, Field, FieldType, JsonDecoder
from scorer.encode import MAX_DECISION, OVERHEAD, Encoder, Origin
from scorer.errors import Reason, Stage
from scorer.pipeline import Lane, Outcome, process
from scorer.records import Bands, Columns, Inputs, Records, Rejection, Scores
from scorer.transform import Plan, Raw, Transform

BANDS = Bands.of({"block": 0.5}, "approve")
ROOM = OVERHEAD + MAX_DECISION + 100


@dataclass
class Ticks:
    """A clock that goes on by one second a look."""

    now: float = 100.0

    def __call__(self) -> float:
        """Return the next second."""
        self.now += 1
        return self.now


def lane(undecodable: set[int], untransformable: set[int], unscorable: set[int]) -> Lane:
    """Return a lane of three-line rooms that refuse the given rows; a score is the row's number over a thousand."""

    def decode(records: Records) -> tuple[Columns, list[Rejection]]:
        bad = _rejected(range(len(records)), undecodable, Stage.DECODE)
        rows = np.array([row for row in range(len(records)) if row not in undecodable], np.intp)
        return Columns(rows, {"x": rows * 1.0}, [b"%d" % row for row in rows], rows.astype(np.int64)), bad

    def transform(columns: Columns) -> tuple[Inputs, list[Rejection]]:
        return Inputs(columns.rows, {"x": columns.values["x"]}), _rejected(
            columns.rows, untransformable, Stage.TRANSFORM
        )

    def infer(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        score = (inputs.arrays["x"] / 1000).astype(np.float32)
        return Scores(inputs.rows, score, score), _rejected(inputs.rows, unscorable, Stage.INFER)

    return Lane("t", decode, transform, infer, BANDS, encoder(), 4)


def _rejected(rows: Any, refused: set[int], stage: Stage) -> list[Rejection]:
    return [Rejection(int(row), stage, Reason.MALFORMED, "", "refused") for row in rows if int(row) in refused]


def encoder() -> Encoder:
    return Encoder(Origin("m", "1", "ff"), BANDS, group="g", decisions="d", dead_letters="q", max_bytes=ROOM)


def batch(count: int, oversize: Collection[int] = ()) -> Records:
    keys = [b"k" * 200 if row in oversize else b"k%d" % row for row in range(count)]
    return Records.of("t", [0] * count, range(count), [0] * count, keys, [b"v%d" % row for row in range(count)])


rows = st.sets(st.integers(0, 39))


@given(st.integers(0, 40), rows, rows, rows, rows)
def test_every_record_is_decided_or_rejected_exactly_once(
    count: int, undecodable: set[int], untransformable: set[int], unscorable: set[int], oversize: set[int]
) -> None:
    """Whatever each room refuses, nothing is lost, nothing is both, and every decision is of its own record."""
    outcome = process(batch(count, oversize), lane(undecodable, untransformable, unscorable), Ticks(), 0.0)

    rejected = [r.row for r in outcome.rejections]
    decided = outcome.decisions.scores.rows.tolist()
    assert sorted([*decided, *rejected]) == list(range(count))
    assert decided == sorted(set(range(count)) - undecodable - untransformable - unscorable - oversize)
    for row, key, value in zip(decided, outcome.outgoing.keys, outcome.outgoing.values, strict=True):
        decision = json.loads(value)
        assert (key, decision["offset"], decision["event_id"]) == (b"k%d" % row, row, row)
        assert np.float32(decision["score"]) == np.float32(row / 1000)
    assert [letter.value for letter in outcome.outgoing.dead_letters] == [b"v%d" % row for row in rejected]
    assert len(outcome.outgoing) == count


@given(st.integers(1, 40), rows, rows, rows)
def test_an_event_is_rejected_by_the_first_room_that_refuses_it(
    count: int, undecodable: set[int], untransformable: set[int], unscorable: set[int]
) -> None:
    """Its stage is that room's, and no later room sees it."""
    outcome = process(batch(count), lane(undecodable, untransformable, unscorable), Ticks(), 0.0)

    rooms = [(undecodable, Stage.DECODE), (untransformable, Stage.TRANSFORM), (unscorable, Stage.INFER)]
    expected = {row: stage for refused, stage in reversed(rooms) for row in refused if row < count}
    assert {r.row: r.stage for r in outcome.rejections} == expected


def real_lane(sound: Callable[[Any], Any]) -> Lane:
    """Return a lane of the real rooms with a fake model: `sound` gives the scores of the field `x`."""
    decode = JsonDecoder(EventSchema({"x": Field(FieldType.NUMBER)}))
    transform = Transform(Plan({"x": Raw("x", "float32", 1)}))

    def infer(inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        score = sound(inputs.arrays["x"])
        bad = [Rejection(int(r), Stage.INFER, Reason.BAD_SCORE, "", "") for r in inputs.rows[np.isnan(score)]]
        return Scores(inputs.rows, score, score), bad

    return Lane("t", decode, transform, infer, BANDS, encoder(), 4)


def scored(values: list[bytes | None]) -> Outcome:
    count = len(values)
    records = Records.of("t", [0] * count, range(count), [0] * count, [None] * count, values)
    return process(records, real_lane(lambda x: np.where(x < 0, np.nan, x).astype(np.float32)), Ticks(), 0.0)


@given(st.permutations([b'{"x":0.25}', b'{"x":0.75}', b'{"x":1e39}', b'{"x":-1}', b'{"x":"no"}', None, b"{"]))
def test_the_rooms_agree_on_who_is_alive(values: list[bytes | None]) -> None:
    """With rejections in three rooms at once, the two sound events keep their scores, ids and decisions."""
    outcome = scored(values)

    found = {
        json.loads(v)["offset"]: (json.loads(v)["score"], json.loads(v)["decision"]) for v in outcome.outgoing.values
    }
    assert found == {values.index(b'{"x":0.25}'): (0.25, "approve"), values.index(b'{"x":0.75}'): (0.75, "block")}
    reasons = {values[r.row]: r.reason for r in outcome.rejections}
    assert reasons == {
        b'{"x":1e39}': Reason.OUT_OF_RANGE,
        b'{"x":-1}': Reason.BAD_SCORE,
        b'{"x":"no"}': Reason.WRONG_TYPE,
        None: Reason.TOMBSTONE,
        b"{": Reason.MALFORMED,
    }


def test_the_same_batch_gives_the_same_bytes() -> None:
    """The function is pure: with the same clock, nothing in what it publishes differs."""
    values: list[bytes | None] = [b'{"x":0.25}', None, b'{"x":0.75}']

    first, second = scored(values).outgoing, scored(values).outgoing

    assert list(first.values) == list(second.values)
    assert list(first.dead_letters) == list(second.dead_letters)


def test_times_are_the_clocks() -> None:
    """Waiting ends when the batch is begun, the total when it is decided; each room has its own lap."""
    outcome = process(batch(3), lane(set(), set(), set()), Ticks(100.0), first_seen=99.0)

    metrics = json.loads(outcome.outgoing.values[0])["metrics"]
    assert metrics == {"batch_events": 3, "wait_ms": 2000.0, "score_ms": 1000.0, "total_ms": 6000.0}
    assert dict(outcome.stages) == dict.fromkeys(
        [Stage.DECODE, Stage.TRANSFORM, Stage.INFER, Stage.DECIDE, Stage.ENCODE], 1.0
    )
