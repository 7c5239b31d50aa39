"""A tape gives back what was written, in order, and nothing behind the place where it was cut off or altered."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import SelectionError, TopicMissingError
from scorer.records import Header, Records
from scorer.replay.positions import Edge, Named, parse
from scorer.replay.run import choose
from scorer.replay.tape import Tape, record

Row = tuple[int, int, int, bytes | None, bytes | None, Sequence[Header]]
"""Partition, offset, time, key, value, headers."""

TEXTS = st.none() | st.binary(max_size=20) | st.text(max_size=20).map(str.encode)
HEADERS = st.lists(st.tuples(st.text(max_size=8), TEXTS), max_size=3)
TIMES = st.integers(-1, 2**62)


def records(rows: Sequence[Row]) -> Records:
    """Return rows as the client's columns."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return Records.of("payments", *columns[:5], lambda row: rows[row][5])  # type: ignore[arg-type]


def rows_of(batches: Sequence[Records]) -> list[Row]:
    """Return every record, in order."""
    return [
        (number, offset, time, key, value, list(batch.headers(row)))
        for batch in batches
        for row, (number, offset, time, key, value) in enumerate(
            zip(batch.partitions, batch.offsets, batch.timestamps, batch.keys, batch.values, strict=True)
        )
    ]


def written(path: Path, rows: Sequence[Row], selected: dict[int, range], size: int = 3) -> Tape:
    """Write rows in batches of a size; return the tape."""
    batches = [records(rows[start : start + size]) for start in range(0, len(rows), size)]
    assert record(path, "payments", selected, batches) == len(rows)
    return Tape(path)


def simple(path: Path) -> Tape:
    """Write twelve records of two partitions with gaps, a second apart; partition 1 comes half a second later."""
    rows: list[Row] = [
        (number, 10 + 2 * count, 1000 * count + 500 * number, b"k", b'{"n":%d}' % count, [])
        for number in (0, 1)
        for count in range(6)
    ]
    return written(path, rows, {0: range(10, 22), 1: range(8, 30), 2: range(5, 5)})


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(
        st.lists(st.tuples(st.integers(1, 9), TIMES, TEXTS, TEXTS, HEADERS), max_size=5), min_size=1, max_size=3
    ).filter(any),
    size=st.integers(1, 5),
    limit=st.integers(1, 5),
    name=st.sampled_from(["tape.jsonl", "tape.jsonl.gz", "0"]),
)
def test_any_bytes_come_back(
    parts: list[list[tuple[int, int, bytes | None, bytes | None, list[Header]]]], size: int, limit: int, name: str
) -> None:
    """Keys, values, headers, times and offsets are the same, bit for bit, and partitions keep their order."""
    rows: list[Row] = []
    selected = {}
    for number, part in enumerate(parts):
        offsets = list(itertools.accumulate(step for step, *_ in part))
        rows += [(number, offset, *rest) for offset, (_, *rest) in zip(offsets, part, strict=True)]  # type: ignore[misc]
        selected[number] = range(offsets[0], offsets[-1] + 1) if offsets else range(0)
    with tempfile.TemporaryDirectory() as directory:
        tape = written(Path(directory) / name, rows, selected, size)
        batches = list(tape.read("payments", tape.extent("payments"), limit))
        assert list(Path(directory).iterdir()) == [Path(directory) / name]
    assert all(0 < len(batch) <= limit for batch in batches)
    assert sorted(rows_of(batches), key=lambda row: row[0]) == rows
    assert tape.extent("payments") == selected


def test_the_format_is_the_documented_one(tmp_path: Path) -> None:
    """A text is a string, other bytes are base64, what is absent is null, and no headers are no field."""
    rows: list[Row] = [
        (0, 123, 1795428409000, "käy\0".encode(), b"\xff\x00", [("a", b"1"), ("a", None), ("é", b"\xc0\x80")]),
        (0, 125, -1, None, b"", []),
    ]
    written(tmp_path / "t.jsonl", rows, {0: range(120, 126), 1: range(0)})
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_bytes().splitlines()] == [
        {"tape": 1, "topic": "payments", "partitions": 2, "slice": {"0": [120, 126], "1": [0, 0]}, "records": 2},
        {"p": 0, "o": 123, "t": 1795428409000, "k": "käy\0", "v": {"b64": "/wA="}}
        | {"h": [["a", "1"], ["a", None], ["é", {"b64": "wIA="}]]},
        {"p": 0, "o": 125, "t": -1, "k": None, "v": ""},
    ]


def test_partitions_are_merged_by_time(tmp_path: Path) -> None:
    """What came partition by partition lies in the order of time; one that lies back stays behind its predecessor."""
    rows: list[Row] = [(0, count, time, None, b"", []) for count, time in enumerate((100, 300, 200, 400))]
    rows += [(1, count, time, None, b"", []) for count, time in enumerate((50, 250, 350))]
    tape = written(tmp_path / "t", rows, {0: range(4), 1: range(3)})
    (batch,) = tape.read("payments", tape.extent("payments"), 100)
    assert batch.timestamps.tolist() == [50, 100, 250, 300, 200, 350, 400]


def test_a_slice_of_a_tape_is_chosen_like_one_of_a_topic(tmp_path: Path) -> None:
    """By offsets and by times, exactly the records between both ends come; a time may lie where no record is."""
    tape = simple(tmp_path / "t")
    assert tape.extent("payments") == {0: range(10, 22), 1: range(8, 30), 2: range(0)} | {2: range(5, 5)}
    assert choose(tape, "payments", Edge.BEGINNING, Edge.END) == tape.extent("payments")
    by_offset = choose(tape, "payments", Named({0: 13}), Named({0: 18, 1: 11}))
    assert [row[:2] for row in rows_of(list(tape.read("payments", by_offset, 1)))] == [(1, 10), (0, 14), (0, 16)]
    by_time = choose(tape, "payments", parse("1970-01-01T00:00:01.2Z", "--from", 0), parse("-3s", "--to", 6))
    assert by_time == {0: range(14, 16), 1: range(12, 16), 2: range(5, 5)}
    assert tape.offsets_at("payments", [0, 1, 2], 5200) == {1: 20}


def test_a_tape_has_one_topic_only(tmp_path: Path) -> None:
    """Another topic is missing, as it is in a cluster."""
    tape = simple(tmp_path / "t")
    for ask in (tape.extent, lambda topic: tape.offsets_at(topic, [0], 0), lambda topic: next(tape.read(topic, {}, 1))):
        with pytest.raises(TopicMissingError, match=r"is a tape of payments, and has nothing of payments\.decisions"):
            ask("payments.decisions")


def test_partitions_needed_are_those_of_the_slice(tmp_path: Path) -> None:
    """A last partition of which nothing was recorded need not exist where the tape is played."""
    assert simple(tmp_path / "t").partitions == 2


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_a_tape_cut_off_anywhere_is_told(tmp_path: Path, name: str) -> None:
    """Wherever a file ends too early, between two lines too, it is refused with a line, and all before it was whole."""
    path = tmp_path / name
    tape = simple(path)
    whole = rows_of(list(tape.read("payments", tape.extent("payments"), 1)))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        came: list[Records] = []
        with pytest.raises(SelectionError, match=r"t\.jsonl.*, line \d+: "):
            came.extend(Tape(path).read("payments", tape.extent("payments"), 1))
        assert rows_of(came) == whole[: len(came)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"p":0,"o":12,"t":1000,"k":"k"}', "missing required field `v`"),
        (b'{"p":0,"o":12,"t":1000,"k":"k","v":"v","x":1}', "unknown field `x`"),
        (b'{"p":0,"o":12,"t":1000,"k":"k","v":{"b64":"?"}}', "base64"),
        (b'{"p":0,"o":12,"t":1000,"k":"k","v":"\\ud800"}', "truncated|surrogate"),
        (b'{"p":0,"o":12,"t":1000,"k":"k","v":"\xff"}', "utf-8"),
        (b'{"p":0,"o":12,"t":-5,"k":"k","v":"v"}', r"\$\.t"),
        (b'{"p":0,"o":99,"t":1000,"k":"k","v":"v"}', "no record 0-99"),
        (b'{"p":7,"o":12,"t":1000,"k":"k","v":"v"}', "no record 7-12"),
        (b'{"p":0,"o":10,"t":1000,"k":"k","v":"v"}', "no record 0-10 in this tape, or not here"),
        (b"", "truncated"),
        (b"{}\n{}", "required field"),
    ],
)
def test_an_altered_line_is_told(tmp_path: Path, line: bytes, said: str) -> None:
    """A line that no recording has written is refused by its number, and nothing behind it is given."""
    path = tmp_path / "t"
    tape = simple(path)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:3], line, *lines[4:], b""]))
    came: list[Records] = []
    with pytest.raises(SelectionError, match=f"line 4: .*({said})"):
        came.extend(tape.read("payments", tape.extent("payments"), 1))
    assert len(came) == 2


def test_a_line_too_many_is_told(tmp_path: Path) -> None:
    """Records behind the number that the head has are no part of the tape."""
    tape = simple(tmp_path / "t")
    with (tmp_path / "t").open("ab") as file:
        file.write(b'{"p":1,"o":25,"t":9000,"k":null,"v":null}\n')
    with pytest.raises(SelectionError, match="line 14: "):
        list(tape.read("payments", tape.extent("payments"), 100))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1: this is no tape"),
        (b'{"decision_id":"x"}\n', "line 1: this is no tape"),
        (b'{"tape":1,"topic":"\\u001b[2J","partitions":1,"slice":{},"records":0}\n', "line 1: this is no tape"),
        (b'{"tape":2,"topic":"t","partitions":1,"slice":{},"records":0}\n', "format 2, not 1"),
    ],
)
def test_what_is_no_tape_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    """A file of something else, or of another version, is refused when it is opened."""
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(SelectionError, match=said):
        Tape(tmp_path / "t")


@pytest.mark.parametrize("name", ["none.jsonl", "none.jsonl.gz", ""])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    """A file that is not there, or is a directory, is named."""
    with pytest.raises(SelectionError, match="cannot be read: "):
        Tape(tmp_path / name)


def test_a_name_in_gz_must_be_compressed(tmp_path: Path) -> None:
    """A plain tape under a name of compressed ones is refused in the same words."""
    simple(tmp_path / "t")
    (tmp_path / "t").rename(tmp_path / "t.gz")
    with pytest.raises(SelectionError, match=r"line 1: .*Not a gzipped file"):
        Tape(tmp_path / "t.gz")


def test_the_same_slice_compresses_to_the_same_bytes(tmp_path: Path) -> None:
    """A compressed tape has neither its name nor the present time inside, and is the plain one."""
    for name in ("a.gz", "b.gz", "plain"):
        simple(tmp_path / name)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[4:8] == bytes(4), "RFC 1952: the time"
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == (tmp_path / "plain").read_bytes()


def test_a_header_that_no_client_can_publish_is_refused(tmp_path: Path) -> None:
    """A name that is not UTF-8 is told with the record's place, and no file is left."""

    def headers(row: int) -> Sequence[Header]:
        if row:
            b"\xff".decode()
        return ()

    batch = Records.of("payments", [2, 2], [7, 8], [0, 0], [None, None], [b"", b""], headers)
    with pytest.raises(SelectionError, match="payments-2-8: a header's name is not UTF-8"):
        record(tmp_path / "t", "payments", {2: range(7, 9)}, [batch])
    assert not list(tmp_path.iterdir())


def test_a_tape_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    """An error on the way, or a slice without records, leaves what was there before."""
    (tmp_path / "t").write_text("before")

    def broken() -> Sequence[Records]:
        raise TopicMissingError("gone")

    with pytest.raises(TopicMissingError):
        record(tmp_path / "t", "payments", {0: range(9)}, (batch for each in (0,) for batch in broken()))
    with pytest.raises(SelectionError, match="no committed record lies between"):
        record(tmp_path / "t", "payments", {0: range(9)}, [])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("t", "before")]


@pytest.mark.parametrize("name", ["", "no/such/t.jsonl"])
def test_a_tape_that_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    """A directory, or a path that does not exist, is refused before anything is read."""

    def unread() -> Records:
        raise AssertionError("it was read")

    with pytest.raises(SelectionError, match="name a"):
        record(tmp_path / name, "payments", {0: range(9)}, (unread() for _ in range(1)))


def test_a_device_is_not_replaced_by_a_tape(tmp_path: Path) -> None:
    """To put a file into its place, as root may, would take it from everybody."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/null")):
        with pytest.raises(SelectionError, match="a device or a pipe"):
            record(path, "payments", {0: range(9)}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_link_still_leads_to_its_tape(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("before")
    (tmp_path / "link").symlink_to("there")

    simple(tmp_path / "link")

    assert (tmp_path / "link").is_symlink()
    assert Tape(tmp_path / "there").topic == "payments"
