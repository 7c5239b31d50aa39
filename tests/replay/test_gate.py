"""The gate: figures against brute force, conditions read and judged, and what CI reads of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import SelectionError
from scorer.replay.compare import Report, Tally
from scorer.replay.figures import Figure, figures, segments
from scorer.replay.gate import METRICS, SHARELESS, judge, junit, parse
from scorer.replay.labels import Labels, of_values, read
from scorer.replay.recorded import Making, Recorded
from scorer.replay.rows import Sheet

HERE = Making("card", "1", "a" * 64, "t1")
BANDS = ("approve", "review", "block")
SLICE = {0: range(100), 1: range(100)}
HOURS = 3_600_000

Event = tuple[int, int, str | None, int, str]
"""Partition, band now, decision before, label, and the value of a field."""
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 2),
        st.sampled_from([None, "approve", "review", "block", "hold"]),
        st.integers(-1, 1),
        st.sampled_from("abc"),
    ),
    max_size=60,
)


def world(events: list[Event]) -> tuple[Report, np.ndarray, Recorded, list[str]]:
    """Build what a replay of these events leaves: its report, its rows, and what was decided before."""
    recorded = Recorded("t", SLICE, "d")
    sheet = Sheet(["kind"], lambda ids: np.zeros(len(ids), np.int8))
    rows = np.zeros(len(events), sheet.dtype)
    values: list[str] = []
    for at, (partition, band, before, label, value) in enumerate(events):
        values += [value] if value not in values else []
        row = (partition, at, at * HOURS, 0.25 * band, band, 0, label, values.index(value))
        rows[at] = row
        if before:
            made = {"topic": "t", "partition": partition, "offset": at, "score": 0.5, "decision": before}
            recorded.add([msgspec.json.encode({**made, **msgspec.to_builtins(HERE)})])
    tally = Tally("t", SLICE, HERE, BANDS, recorded)
    tally.recount(rows, len(events), {})
    return tally.report(), rows, recorded, values


@given(EVENTS)
def test_figures_are_those_of_a_slow_count(events: list[Event]) -> None:
    """Every count and rate equals one that goes through the events one by one."""
    report, rows, recorded, _ = world(events)
    found = figures(report, rows, recorded)
    alerts = [band > 0 for _, band, _, _, _ in events]
    caught = sum(alert and label == 1 for alert, (*_, label, _) in zip(alerts, events, strict=True))
    labelled = sum(alert and label >= 0 for alert, (*_, label, _) in zip(alerts, events, strict=True))
    frauds = sum(label == 1 for *_, label, _ in events)
    days = (len(events) - 1) / 24
    both = [(before, BANDS[band]) for _, band, before, _, _ in events if before]
    assert found["events"].value == len(events)
    assert found["alerts"].value == sum(alerts)
    assert found["labelled"] == Figure(sum(label >= 0 for *_, label, _ in events), len(events))
    if len(events) > 1:
        assert found["alerts_per_day"].value == pytest.approx(sum(alerts) / days)
    else:
        assert "alerts_per_day" not in found
    flips = Figure(sum(before != now for before, now in both), len(both))
    assert found.get("flips") == (flips if both else None), "what was compared with nothing is not known"
    assert ("max_change" in found) == bool(both)
    assert found["alerts_before"].value == sum(before != "approve" for before, _ in both)
    assert found.get("precision") == (Figure(caught / labelled, 1.0) if labelled else None)
    assert found.get("recall") == (Figure(caught / frauds, 1.0) if frauds else None)
    assert set(found) <= set(METRICS)
    assert {name for name, figure in found.items() if figure.of is None} <= SHARELESS
    assert not SHARELESS & {name for name, figure in found.items() if figure.of is not None}


def test_a_wrong_time_does_not_thin_out_the_alerts_of_a_day() -> None:
    """One event of 1970 makes no twenty thousand days, and no gate passes by it; it is counted as a stray time."""
    report, rows, recorded, _ = world([(0, at % 3, "review", 0, "a") for at in range(60)])
    rows["time"] += 1_750_000_000_000
    plain = figures(report, rows, recorded)
    rows["time"][0] = 0

    found = figures(report, rows, recorded)

    assert plain["alerts_per_day"].value == 40 / (59 / 24)
    assert plain["stray_times"] == Figure(0, 60)
    assert found["alerts_per_day"].value == 40 / (58 / 24)
    assert found["alerts_per_day_before"].value == 60 / (58 / 24)
    assert found["stray_times"] == Figure(1, 60)
    assert judge(found, [parse("stray_times > 1%"), parse("alerts_per_day > 10")])[0].failed


@given(EVENTS)
def test_segments_add_up(events: list[Event]) -> None:
    """Each value of a field has its own counts, the most frequent first."""
    report, rows, recorded, values = world(events)
    found = segments(rows, ["kind"], [values], recorded, report)
    assert {segment.value: segment.events for segment in found} == Counter(value for *_, value in events)
    assert [segment.events for segment in found] == sorted((segment.events for segment in found), reverse=True)
    for segment in found:
        own = [event for event in events if event[-1] == segment.value]
        assert segment.alerts == sum(band > 0 for _, band, *_ in own)
        assert segment.flips == sum(before is not None and before != BANDS[band] for _, band, before, *_ in own)
        assert segment.alerts_before == sum(before not in (None, "approve") for _, _, before, *_ in own)


@pytest.mark.parametrize(
    ("text", "value", "failed"),
    [
        ("flips > 0.5%", 1.0, True),
        ("flips>1%", 1.0, False),
        ("flips >= 10", 10.0, True),
        ("flips > -1", 10.0, True),
        ("recall < 0.8", 0.75, True),
        ("recall < 75%", 75.0, False),
        ("alerts_per_day > 5e2", 500.0, False),
        ("max_change != 0", 0.0, False),
    ],
)
def test_conditions_are_judged_as_they_read(text: str, value: float, failed: bool) -> None:
    """A limit in percent is compared with the share, another one with the number."""
    known = {
        "flips": Figure(10, 1000),
        "recall": Figure(0.75, 1.0),
        "alerts_per_day": Figure(500),
        "max_change": Figure(0),
    }
    (verdict,) = judge(known, [parse(text)])
    assert (verdict.value, verdict.failed) == (value, failed)


def test_what_is_not_known_fails() -> None:
    """A gate on a figure that is missing does not let anything through, and says what is missing."""
    verdicts = judge({"events": Figure(5)}, [parse("recall < 0"), parse("flips > 1")])
    assert [verdict.failed for verdict in verdicts] == [True, True]
    assert "there are no labels" in verdicts[0].said
    assert "no decisions to compare with" in verdicts[1].said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flips", "write METRIC OP"),
        ("flip > 1", "did you mean flips"),
        ("x > 1", "there are events"),
        *(
            (f"{metric} > 10%", f"{metric} is no share of anything; write a number without %")
            for metric in sorted(SHARELESS)
        ),
    ],
)
def test_a_wrong_condition_is_told(text: str, said: str) -> None:
    """A gate that cannot be read, or is set on nothing, is an error before anything is replayed."""
    with pytest.raises(SelectionError, match=said):
        parse(text)


def test_junit_has_a_case_for_each_condition() -> None:
    """CI counts tests and failures, and reads why; what XML cannot hold does not break it."""
    verdicts = judge({"flips": Figure(10, 1000)}, [parse("flips > 0.5%"), parse("flips > 5%")])
    root = fromstring(junit(verdicts, "replay <&\x00>"))
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert [case.get("name") for case in root.iter("testcase")] == ["flips > 0.5%", "flips > 5%"]
    assert [failure.get("message") for failure in root.iter("failure")] == ["flips is 1%"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.csv", "event_id,label,time\n17,1,\nx,0,\nx,true,\n"),
        ("l.jsonl", '{"event_id": 17, "label": 1}\n{"event_id": "17", "label": true}\n{"event_id": "x", "label": 1}\n'),
    ],
)
def test_labels_of_a_file(tmp_path: Path, name: str, text: str) -> None:
    """A CSV's digits name a number and a text alike; the last label of an event counts; others are not known."""
    path = tmp_path / name
    path.write_text(text)
    assert read(path)([b"17", b'"17"', b'"x"', b'"y"']).tolist() == [1, 1, 1, -1]


def test_the_latest_label_counts() -> None:
    """By its time, wherever it comes."""
    labels = of_values(
        [b'{"event_id":"a","label":1,"time":2}', None, b'{"event_id":"a","label":0,"time":1}'], "topic labels"
    )
    assert labels([b'"a"']).tolist() == [1]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("9", "10"),
        ("2026-01-01T01:00:00+02:00", "2026-01-01T00:00:00Z"),
        ("2026-01-01", "2026-01-01 00:00:01"),
        ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.25-01:00"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_times_of_labels_are_compared_as_times(tmp_path: Path, earlier: str, later: str, swapped: bool) -> None:
    """A CSV has only texts: the order of their letters is none of time, and that of the lines is not asked."""
    rows = [f"a,0,{earlier}\n", f"a,1,{later}\n"]
    path = tmp_path / "l.csv"
    path.write_text("event_id,label,time\n" + "".join(rows[::-1] if swapped else rows))

    assert read(path)([b'"a"']).tolist() == [1]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"event_id": "a", "label": 1, "time": "yesterday"}, "it has event_id 'a', label 1, time 'yesterday'"),
        ({"event_id": "a", "label": 1, "time": float("nan")}, "time nan"),
        ({"event_id": "a", "label": 1, "time": True}, "time True"),
        ({"event_id": "a", "label": 7}, "it has event_id 'a', label 7$"),
        ({"decision_id": "x" * 500, "score": 0.5}, "it has decision_id, score$"),
        (["a", 1], r"it has \['a', 1\]"),
    ],
)
def test_a_row_that_is_no_label_is_told_shortly(row: Any, said: str) -> None:
    with pytest.raises(SelectionError, match=said) as caught:
        Labels().add([{"event_id": "a", "label": 0}, row], "l.jsonl")
    assert "l.jsonl, label 2: needs event_id, label" in str(caught.value)


def test_labels_whose_times_cannot_be_compared_are_told() -> None:
    rows = [{"event_id": "a", "label": 0, "time": 5}, {"event_id": "a", "label": 0, "time": "2026-01-01"}]
    with pytest.raises(SelectionError, match="write all of one kind"):
        Labels().add(rows, "l.jsonl")


def test_what_a_spreadsheet_saves_as_csv_is_read(tmp_path: Path) -> None:
    """It begins with a byte order mark, and ends its lines as Windows does."""
    path = tmp_path / "l.csv"
    path.write_bytes("\ufeffevent_id,label\r\na,1\r\n".encode())

    assert read(path)([b'"a"']).tolist() == [1]


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "holds no label"), ('{"event_id": 1}', "needs event_id, label as"), ("{", "cannot be read")],
)
def test_a_file_of_no_labels_is_told(tmp_path: Path, text: str, said: str) -> None:
    """What is wrong is said with the row."""
    path = tmp_path / "l.jsonl"
    path.write_text(text)
    with pytest.raises(SelectionError, match=said):
        read(path)


def test_a_missing_file_of_labels_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match=r"no\.csv: cannot be read: No such file or directory$"):
        read(tmp_path / "no.csv")
