"""Files that are damaged, or saved by an editor: what cannot be read is told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from replay_world import event
from typer.testing import CliRunner

from scorer.bundle import Bundle
from scorer.cli import app
from scorer.errors import SelectionError
from scorer.replay import labels

DEEP = "[" * 100_000


def refused(*arguments: str) -> str:
    """Run `scorer`, and return the one line that it ends with."""
    with pytest.raises(SelectionError, match=r"\A[^\n]*\Z") as error:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    return str(error.value)


def damaged(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write a table whose foot is whole, and whose data are not."""
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(rows), path, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 3] = b"\xa5" * (len(data) // 3 - 4)
    path.write_bytes(data)
    return path


def test_a_damaged_table_of_events_is_told(card_bundle: Bundle, tmp_path: Path) -> None:
    """Its number of rows is in the foot: what is wrong only shows when they are read."""
    path = damaged(tmp_path / "events.parquet", [event(number) for number in range(2_000)])
    options = ["--topic", "t", "--bundle", str(card_bundle.path), "--out", str(tmp_path / "o.jsonl")]

    said = refused("replay", "--events", str(path), *options)

    assert f"--events {path}: cannot be read: this is no Parquet, or it is damaged" in said


def test_damaged_tables_of_scores_and_labels_are_told(tmp_path: Path) -> None:
    scores = damaged(tmp_path / "s.parquet", [{"score": n / 2_000, "label": n % 2} for n in range(2_000)])
    books = damaged(tmp_path / "l.parquet", [{"event_id": f"t{n}", "label": n % 2} for n in range(2_000)])

    assert "or it is damaged" in refused(*fit(scores))
    assert "or it is damaged" in refused(*fit(scores), "--labels", str(books))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.csv", 'event_id,label\na,0\n"b,1\n' + "c,1\n" * 50_000, "line 3: field larger than field limit"),
        ("l.jsonl", '{"event_id": "a", "label": 0, "score": 0}\n' + DEEP + "\n", "line 2: is nested too deeply"),
        ("l.jsonl", '{"event_id": "a", "label": 0, "score": 0}\n\n{"eve\n', "line 3: Input data was truncated"),
    ],
)
def test_a_file_that_goes_wrong_midway_is_told_with_its_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    """A quotation mark without an end takes all that follows for one field; brackets may never end either."""
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(SelectionError, match=f"--labels .*: cannot be read: {said}"):
        labels.read(path)
    assert f"--scores {path}: cannot be read: {said}" in refused(*fit(path))


def test_a_time_beyond_all_numbers_is_none(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text('{"event_id": "a", "label": 0, "time": 1' + "0" * 400 + "}\n")

    with pytest.raises(SelectionError, match="label 1: needs event_id, label as"):
        labels.read(tmp_path / "l.jsonl")


def test_a_topics_value_that_is_nested_without_end_is_no_label() -> None:
    with pytest.raises(SelectionError, match="topic labels: a label is no JSON object"):
        labels.of_values([b'{"event_id": "a", "label": 0}', DEEP.encode()], "topic labels")


@pytest.mark.parametrize(
    ("row", "said"), [("[1]", "row 1 is no object: [1]"), ('{"score": 0.5, "label": 1, "time": 1e30}', "too large")]
)
def test_rows_that_are_no_scores_are_told(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "s.jsonl").write_text(row)

    assert said in refused(*fit(tmp_path / "s.jsonl"))


@pytest.mark.parametrize("name", ["f.jsonl", "f.csv"])
def test_a_byte_order_mark_is_no_part_of_labels_or_scores(tmp_path: Path, name: str) -> None:
    """As editors and spreadsheets of Windows save them."""
    path = tmp_path / name
    row = {"event_id": "a", "label": 1, "score": 0.5}
    lines = [json.dumps(row)] if name.endswith("l") else [",".join(row), ",".join(map(str, row.values()))]
    path.write_bytes("\r\n".join(["\ufeff" + lines[0], *lines[1:], "", ""]).encode())

    assert labels.read(path)([b'"a"']).tolist() == [1]
    assert "labels are too few to fit bands on: 1 frauds" in refused(*fit(path))


def test_a_mark_and_blank_lines_are_no_events(card_bundle: Bundle, tmp_path: Path) -> None:
    """Every event is decided, and its offset leads to its line, counted from 0, in a slice of the file too."""
    path, out = tmp_path / "events.jsonl", tmp_path / "o.jsonl"
    texts = [json.dumps(event(number)) for number in range(4)]
    path.write_bytes("\r\n".join(["\ufeff" + texts[0], "", texts[1], "  ", texts[2], texts[3], "", "\n"]).encode())
    options = ["--topic", "t", "--bundle", str(card_bundle.path), "--out", str(out), "--json"]

    for ends, expected in (
        ([], {0: "t0", 2: "t1", 4: "t2", 5: "t3"}),
        (["--from", "p0:1", "--to", "p0:5"], {2: "t1", 4: "t2"}),
    ):
        told = CliRunner().invoke(app, ["replay", "--events", str(path), *options, *ends], catch_exceptions=False)
        report = json.loads(told.stdout)
        assert (report["events"], report["decided"], report["rejected"]) == (len(expected), len(expected), {})
        made = [json.loads(line) for line in out.read_bytes().splitlines()]
        assert {one["offset"]: one["event_id"] for one in made} == expected
    path.write_bytes(b"\n \n")
    assert "nothing lies between --from and --to; t-0 holds nothing" in refused(
        "replay", "--events", str(path), *options
    )


def fit(scores: Path) -> list[str]:
    """Return the arguments of a fit on a file of scores."""
    options = ["--topic", "t", "--bands", "block=0.5", "--recall", "0.5"]
    return ["thresholds", "fit", "--scores", str(scores), *options]
