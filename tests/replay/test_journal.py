"""The journal: what an interruption leaves is gone on with, and nothing of it is there twice."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from scorer.errors import SelectionError
from scorer.replay.journal import Counted, Journal, Plan
from scorer.replay.recorded import Making
from scorer.replay.rows import Sheet
from scorer.replay.sinks import finisher

PLAN = Plan("t", "here", "beginning", "end", {0: (10, 20), 1: (0, 5)}, Making("card", "1", "a" * 64, "t1"), "", [])
DTYPE = Sheet().dtype


def opened(file: Path, plan: Plan = PLAN, *, resume: bool = False) -> Journal:
    return Journal(file, plan, DTYPE, resume=resume)


def rows(journal: Journal, lines: list[bytes]) -> np.ndarray:
    made = np.zeros(len(lines), DTYPE)
    made["place"] = journal.places(lines)
    return made


def add(journal: Journal, positions: dict[int, int], *lines: bytes) -> None:
    journal.add(lines, rows(journal, list(lines)), positions)


def finished(journal: Journal, file: Path) -> bytes:
    journal.finish(finisher(file))
    return file.read_bytes()


def test_what_lies_behind_the_checkpoint_is_cut_and_done_again(tmp_path: Path) -> None:
    """After a sudden end, the files end at the checkpoint, and the slice goes on there."""
    file = tmp_path / "out.jsonl"
    first = opened(file)
    add(first, {0: 12}, b"a", b"bb")
    first.checkpoint(Counted(3, {"malformed": 1}))
    add(first, {0: 15}, b"lost")
    first.close()

    second = opened(file, resume=True)
    assert (second.left, second.counted) == ({0: range(12, 20), 1: range(5)}, Counted(3, {"malformed": 1}))
    assert second.rows()["place"].tolist() == [0, 2]
    add(second, {0: 20, 1: 5}, b"ccc")
    assert [second.line(place) for place in second.rows()["place"].tolist()] == [b"a", b"bb", b"ccc"]
    assert finished(second, file) == b"a\nbb\nccc\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    """Until its end, a replay leaves alone what was there before; without a checkpoint, it leaves nothing."""
    file = tmp_path / "out.jsonl"
    file.write_text("before")
    with closing(opened(file)) as journal:
        add(journal, {0: 12}, b"after")
        assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_unfinished_work_is_not_thrown_away_by_chance(tmp_path: Path) -> None:
    """Where an unfinished replay is, one without --resume is refused; and --resume where there is none."""
    file = tmp_path / "out.jsonl"
    with pytest.raises(SelectionError, match="begin one without --resume"):
        opened(file, resume=True)
    with closing(opened(file)) as journal:
        add(journal, {0: 12}, b"a")
        journal.checkpoint(Counted(1))
    with pytest.raises(SelectionError, match="go on with it by --resume, or delete"):
        opened(file)


def test_what_was_killed_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    """Whoever goes on with --resume after every crash need not know how far it had come."""
    file = tmp_path / "out.jsonl"
    directory = tmp_path / "out.jsonl.unfinished"
    directory.mkdir()
    (directory / "decisions.jsonl").write_bytes(b"a\n")

    again = opened(file, resume=True)
    assert (again.fresh, again.left) == (True, PLAN.selected())
    add(again, {0: 20, 1: 5}, b"b")
    assert finished(again, file) == b"b\n"


def test_two_replays_do_not_write_the_same_file(tmp_path: Path) -> None:
    """The second one is told, whether the first has a checkpoint or not; it takes nothing away."""
    file = tmp_path / "out.jsonl"
    with closing(opened(file)) as first:
        add(first, {0: 12}, b"a")
        with pytest.raises(SelectionError, match="another replay is writing it now"):
            opened(file)
        first.checkpoint(Counted(1))
        with pytest.raises(SelectionError, match="another replay is writing it now"):
            opened(file, resume=True)
        add(first, {0: 20, 1: 5}, b"b")
        assert finished(first, file) == b"a\nb\n"
    with closing(opened(file)) as second:
        assert second.fresh


@pytest.mark.parametrize("change", [{"topic": "u"}, {"start": "-1h"}, {"against": "d"}, {"fields": ["x"]}])
def test_another_replay_does_not_go_on_with_this_one(tmp_path: Path, change: dict[str, object]) -> None:
    """What the results depend on must be the same; the slice is the one that the words meant at first."""
    file = tmp_path / "out.jsonl"
    with closing(opened(file)) as journal:
        add(journal, {0: 12}, b"a")
        journal.checkpoint(Counted(1))
    with pytest.raises(SelectionError, match=f"began with {next(iter(change))}"):
        opened(file, msgspec.structs.replace(PLAN, **change), resume=True)
    with closing(opened(file, msgspec.structs.replace(PLAN, slice={0: (10, 99)}), resume=True)) as again:
        assert again.plan.slice == PLAN.slice


def test_other_bands_do_not_go_on_with_a_replay_either(tmp_path: Path) -> None:
    """Which were the first ones is said as everywhere, not as Python would."""
    file = tmp_path / "out.jsonl"
    with closing(opened(file)) as journal:
        add(journal, {0: 12}, b"a")
        journal.checkpoint(Counted(1))
    other = msgspec.structs.replace(PLAN.making, thresholds_version="t9")
    with pytest.raises(SelectionError, match=r"began with \w+ \w+, bundle \w+, thresholds \w+, not .*, thresholds t9;"):
        opened(file, msgspec.structs.replace(PLAN, making=other), resume=True)


def test_a_link_still_leads_to_its_decisions(tmp_path: Path) -> None:
    (tmp_path / "there.jsonl").write_text("before")
    (tmp_path / "link.jsonl").symlink_to("there.jsonl")
    with closing(opened(tmp_path / "link.jsonl")) as journal:
        add(journal, {0: 12}, b"a")
        journal.finish(finisher(tmp_path / "link.jsonl"))
    assert (tmp_path / "link.jsonl").is_symlink()
    assert (tmp_path / "there.jsonl").read_bytes() == b"a\n"


def test_a_journal_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    """A file shorter than its checkpoint says, or a checkpoint that cannot be read, ends in a word."""
    file = tmp_path / "out.jsonl"
    with closing(opened(file)) as journal:
        add(journal, {0: 12}, b"abc")
        journal.checkpoint(Counted(1))
    (journal.directory / "decisions.jsonl").write_bytes(b"a")
    with pytest.raises(SelectionError, match="has 1 bytes, the checkpoint says 4"):
        opened(file, resume=True)
    (journal.directory / "checkpoint.json").write_bytes(b"{}")
    with pytest.raises(SelectionError, match="no checkpoint that this version reads"):
        opened(file, resume=True)


@pytest.mark.parametrize("name", ["", "no/such/out.jsonl"])
def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    """A directory, or a path that does not exist, raises SelectionError."""
    with pytest.raises(SelectionError, match="name a"):
        opened(tmp_path / name)


def test_a_pipe_is_not_replaced_by_decisions(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.jsonl")
    with pytest.raises(SelectionError, match="a device or a pipe"):
        opened(tmp_path / "out.jsonl")


def test_parquet_has_the_same_decisions(tmp_path: Path) -> None:
    """A table has one row a decision, with its scores' bits."""
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "out.parquet"
    score = float(np.float32(0.3))
    with closing(opened(file)) as journal:
        add(journal, {0: 20, 1: 5}, *(msgspec.json.encode({"offset": at, "score": score}) for at in range(3)))
        journal.finish(finisher(file))
    assert parquet.read_table(file).to_pylist() == [{"offset": at, "score": score} for at in range(3)]
    assert list(tmp_path.iterdir()) == [file]


def test_another_ending_is_refused(tmp_path: Path) -> None:
    """Only the two formats there are can be asked for."""
    with pytest.raises(SelectionError, match=r"written as \.jsonl or \.parquet"):
        finisher(tmp_path / "out.csv")
