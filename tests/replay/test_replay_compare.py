"""The comparison: both sides meet at their coordinates, and every difference is counted once."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from scorer.errors import Reason, SelectionError, Stage
from scorer.pipeline import Outcome
from scorer.records import Columns, Decisions, Outgoing, Records, Rejection, Scores
from scorer.replay.compare import QUANTILES, Cell, Tally
from scorer.replay.recorded import Making, Recorded

HERE = Making("card", "1", "a" * 64, "t1")
MADE_HERE = msgspec.to_builtins(HERE)
BANDS = ("approve", "review", "block")
SLICE = {0: range(10, 20), 1: range(5)}
LONE_BIT = float(np.nextafter(np.float32(0.3), np.float32(1)))


def record(partition: int, offset: int, score: float, decision: str, /, **changes: object) -> bytes:
    """Build a decision record as `encode` writes it, in what a replay reads of it."""
    made = {"topic": "t", "partition": partition, "offset": offset, "score": score, "decision": decision}
    return json.dumps(
        {
            "decision_id": f"t-{partition}-{offset}",
            **made,
            **MADE_HERE,
            "metrics": {"batch_events": 1},
            **changes,
        }
    ).encode()


def recorded(*values: bytes | None) -> Recorded:
    """Build what was recorded on the slice."""
    found = Recorded("t", SLICE, "t.decisions")
    found.add(values)
    return found


def outcome(decided: Sequence[tuple[int, int, float, str]], rejected: Sequence[tuple[int, int]] = ()) -> Outcome:
    """Build a replayed batch: (partition, offset, score, decision), and the coordinates of what was rejected."""
    at = [*[(partition, offset) for partition, offset, _, _ in decided], *rejected]
    rows = np.arange(len(decided))
    scores = Scores(rows, np.array([row[2] for row in decided], np.float32), np.zeros(len(decided), np.float32))
    nothing = [None] * len(at)
    return Outcome(
        Records.of("t", [p for p, _ in at], [o for _, o in at], [0] * len(at), nothing, nothing),
        Columns(rows, {}, [], np.zeros(len(rows), np.int64)),
        Outgoing("t.decisions", [], [], "t.dlq"),
        Decisions(scores, np.array([BANDS.index(row[3]) for row in decided], np.intp)),
        [Rejection(len(decided) + k, Stage.DECODE, Reason.MALFORMED, "", "") for k in range(len(rejected))],
        {},
    )


def tally(found: Recorded | None, *outcomes: Outcome) -> Tally:
    """Build a tally of a replay with this bundle and these bands."""
    counted = Tally("t", SLICE, HERE, BANDS, found)
    for each in outcomes:
        counted.add(each)
    return counted


def test_the_same_decisions_have_no_difference() -> None:
    """Scores of the same float32 bits and the same names are identical, wherever the batches were cut."""
    found = recorded(record(0, 10, 0.1, "approve"), record(1, 4, 0.7, "review"), record(0, 19, 0.95, "block"))
    report = tally(found, outcome([(0, 10, 0.1, "approve"), (0, 19, 0.95, "block")]), outcome([(1, 4, 0.7, "review")]))
    made = report.report().comparison
    assert made is not None
    assert (made.recorded, made.matched, made.identical_scores) == (3, 3, 3)
    assert (made.different_scores, made.largest_difference, made.changed, made.not_recorded) == (0, 0.0, 0, 0)


def test_one_bit_is_a_difference() -> None:
    """A score that is off by its last bit is different, and the largest difference says by how much."""
    made = tally(recorded(record(0, 10, 0.3, "approve")), outcome([(0, 10, LONE_BIT, "approve")])).report().comparison
    assert made is not None
    assert (made.identical_scores, made.different_scores, made.changed) == (0, 1, 0)
    assert made.largest_difference == LONE_BIT - float(np.float32(0.3))


def test_changed_decisions_are_counted_from_which_to_which() -> None:
    """The matrix has a cell for each recorded and each replayed decision, names known to one side only included."""
    found = recorded(record(0, 10, 0.3, "hold"), record(0, 11, 0.3, "hold"), record(0, 12, 0.3, "approve"))
    replayed = outcome([(0, 10, 0.3, "approve"), (0, 11, 0.3, "block"), (0, 12, 0.3, "approve")])
    made = tally(found, replayed).report().comparison
    assert made is not None
    assert made.changed == 2
    assert [cell for cell in made.matrix if cell.events] == [
        Cell("hold", "approve", 1),
        Cell("hold", "block", 1),
        Cell("approve", "approve", 1),
    ]


def test_what_only_one_side_decided_is_counted_apart() -> None:
    """An event that is rejected now but was decided then is `recorded_only`; the reverse is `not_recorded`."""
    found = recorded(record(0, 10, 0.3, "approve"), record(0, 11, 0.3, "approve"))
    report = tally(found, outcome([(0, 10, 0.3, "approve"), (0, 12, 0.3, "approve")], rejected=[(0, 11)])).report()
    made = report.comparison
    assert made is not None
    assert (made.matched, made.recorded_only, made.not_recorded) == (1, 1, 1)
    assert (report.events, report.decided, report.rejected) == (3, 2, {"malformed": 1})
    assert report.decisions == {"approve": 2, "review": 0, "block": 0}


def test_a_score_of_zero_is_a_recorded_one() -> None:
    """Score 0.0 is not mistaken for no record."""
    made = tally(recorded(record(1, 0, 0.0, "approve")), outcome([(1, 0, 0.0, "approve")])).report().comparison
    assert made is not None
    assert (made.matched, made.identical_scores, made.not_recorded) == (1, 1, 0)


def test_an_event_recorded_twice_is_told_and_its_first_decision_counts() -> None:
    """A second record of the same coordinates is counted, and changes nothing else."""
    found = recorded(record(0, 10, 0.3, "approve"), record(0, 10, 0.9, "block"), record(0, 10, 0.3, "approve"))
    made = tally(found, outcome([(0, 10, 0.3, "approve")])).report().comparison
    assert made is not None
    assert (made.recorded, made.recorded_twice, made.changed, made.different_scores) == (1, 2, 0, 0)


def test_only_coordinates_in_the_slice_are_kept() -> None:
    """Decisions of other offsets, partitions and topics are no part of it."""
    outside = [record(0, 9, 0.3, "approve"), record(0, 20, 0.3, "approve"), record(2, 3, 0.3, "approve")]
    found = recorded(*outside, record(0, -1, 0.3, "approve"), record(0, 10, 0.3, "approve", topic="u"))
    assert (found.events, found.twice, found.unreadable, list(found.makings)) == (0, 0, 0, [])


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"{}", b"null", b"\xff", b"[" * 100_000, record(0, 10, 1.5, "approve")),
        *(record(0, 10, 0.5, "approve", partition=None), record(0, 10, 0.5, "approve", score="high")),
    ],
)
def test_what_is_no_decision_is_counted_as_unreadable(value: bytes | None) -> None:
    """Tombstones and foreign records in the decisions topic cost nobody else."""
    found = recorded(value, record(0, 11, 0.3, "approve"))
    assert (found.unreadable, found.events) == (1, 1)


def test_another_bundle_or_other_thresholds_are_named() -> None:
    """What the decisions were recorded with is listed with its count, and whether it is what they are replayed with."""
    found = recorded(
        record(0, 10, 0.3, "approve"),
        record(0, 11, 0.3, "approve", thresholds_version="t0"),
        record(0, 12, 0.3, "approve", bundle_sha256="b" * 64, model_version="0"),
        record(0, 13, 0.3, "approve"),
    )
    made = tally(found).report().comparison
    assert made is not None
    listed = {(each.making.model_version, each.making.thresholds_version): each for each in made.recorded_with}
    assert {key: (each.decisions, each.same_bundle, each.same_thresholds) for key, each in listed.items()} == {
        ("1", "t1"): (2, True, True),
        ("1", "t0"): (1, True, False),
        ("0", "t1"): (1, False, True),
    }


def test_a_topic_of_something_else_is_refused() -> None:
    """More different decisions than any scorer has: it is the wrong topic, and memory stays bounded."""
    found = Recorded("t", {0: range(1000)}, "t.other")
    with pytest.raises(SelectionError, match=r"topic t\.other has more than 255 different decisions"):
        found.add(record(0, number, 0.3, f"d{number}") for number in range(1000))


def test_a_slice_that_memory_does_not_hold_is_refused() -> None:
    """A slice of more offsets than a machine has memory for is told as too long."""
    with pytest.raises(SelectionError, match="1,000,000,000,000,000 offsets is too long"):
        Recorded("t", {0: range(10**15)}, "t.decisions")


def test_without_recorded_decisions_nothing_is_compared() -> None:
    """A replay of a topic that nobody decided still counts its own decisions."""
    report = tally(None, outcome([(0, 10, 0.3, "approve"), (0, 11, 0.95, "block")])).report()
    assert report.comparison is None
    assert (report.decided, report.decisions) == (2, {"approve": 1, "review": 0, "block": 1})


def test_the_shift_has_the_quantiles_of_a_slow_count_and_the_flips_that_moved_most() -> None:
    """Over batches cut anywhere: quantiles to within a hundredth, flips the largest first, ties by their place."""
    random = np.random.default_rng(7)
    then, now = random.random(10, np.float32), random.random(10, np.float32)
    found = recorded(*(record(0, 10 + at, float(score), "approve") for at, score in enumerate(then)))
    rows = [(0, 10 + at, float(score), "block" if at % 2 else "approve") for at, score in enumerate(now)]
    made = tally(found, outcome(rows[:3]), outcome(rows[3:])).report().comparison
    assert made is not None
    moved = np.abs(then.astype(np.float64) - now)
    for name, share in QUANTILES.items():
        exact = np.quantile(moved, share, method="inverted_cdf")
        assert exact <= made.shift[name] * 1.0000001 <= exact * 1.01
    flipped = sorted(range(1, 10, 2), key=lambda at: -moved[at])
    assert [flip.offset for flip in made.flips] == [10 + at for at in flipped]
    assert {(flip.recorded, flip.replayed) for flip in made.flips} == {("approve", "block")}
