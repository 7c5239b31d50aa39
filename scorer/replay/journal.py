"""An unfinished replay on disk: a directory beside the file-to-be, which `--resume` goes on with after any end.

    FILE.unfinished/decisions.jsonl    what will be FILE
    FILE.unfinished/rows               one fixed-size row a decision, as `rows` describes it: what is evaluated
    FILE.unfinished/checkpoint.json    the plan, how far all of this is true, and what was counted up to there
    FILE.unfinished/lock               held by the one replay that is at work

Both files are only appended to, and cut back to the checkpoint's lengths when the work goes on: what a killed process
wrote behind its last checkpoint is scored again, to the same bits. Memory holds none of it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.errors import SelectionError
from scorer.replay.recorded import Making
from scorer.replay.writing import vacant, writing


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a replay does, as far as its results depend on it: a replay that goes on must have the same plan.

    `start` and `stop` are the options' words; `slice` what they meant when the replay began, per partition [from, to).
    `against` is what decided before: a topic of decisions, or a bundle's digest with its bands. `out_topic` gets the
    decisions, behind the offsets `out_from` that its partitions ended at when the replay began.
    """

    topic: str
    source: str
    start: str
    stop: str
    slice: dict[int, tuple[int, int]]
    making: Making
    against: str
    fields: list[str]
    out_topic: str = ""
    out_from: dict[int, int] = {}

    def selected(self) -> dict[int, range]:
        """Return the slice as ranges of offsets."""
        return {number: range(first, stop) for number, (first, stop) in self.slice.items()}


class Counted(msgspec.Struct, frozen=True):
    """What is counted beside the rows: all events, the rejected by reason, the values of fields, and the drift."""

    events: int = 0
    rejected: dict[str, int] = {}
    values: list[list[str]] = []
    drift: dict[str, list[int]] = {}


class Checkpoint(msgspec.Struct, frozen=True):
    """How far a replay has come: the next offsets, what the files have that far, and what was counted."""

    plan: Plan
    next: dict[int, int]
    bytes: int
    rows: int
    counted: Counted


class Journal:
    """Appends decisions and rows. Raises SelectionError where a file cannot be written."""

    def __init__(self, file: Path, plan: Plan, dtype: np.dtype[Any], *, resume: bool) -> None:
        """Begin, or go on where the last checkpoint of the same plan is.

        Raises SelectionError for an unfinished replay that nobody wants to resume, or one of another plan, or one that
        is still at work.
        """
        self.file = vacant(file)
        self._directory = unfinished(file)
        self._dtype = dtype
        saved(self._directory, resume=resume)  # before there is a directory
        self._lock = _locked(self._directory, file)
        try:
            begun = saved(self._directory, resume=resume)
            self.fresh = begun is None
            self.plan = _same(plan, begun.plan, self._directory) if begun else plan
            self.next = begun.next if begun else {number: first for number, (first, _) in plan.slice.items()}
            self.counted = begun.counted if begun else Counted()
            with writing(file):
                self._lines = _cut(self._directory / "decisions.jsonl", begun.bytes if begun else 0)
                self._rows = _cut(self._directory / "rows", begun.rows * dtype.itemsize if begun else 0)
        except BaseException:
            self._lock.close()
            raise

    @property
    def left(self) -> dict[int, range]:
        """The offsets that are still to be replayed."""
        return {number: range(self.next[number], offsets.stop) for number, offsets in self.plan.selected().items()}

    @property
    def directory(self) -> Path:
        """Where the unfinished work is."""
        return self._directory

    def places(self, lines: Sequence[bytes]) -> NDArray[np.int64]:
        """Return where each of the lines that come next will begin in the file; shape (len(lines),)."""
        sizes = np.fromiter(map(len, lines), np.int64, len(lines)) + 1
        return np.cumsum(sizes) - sizes + int(self._lines.tell())

    def add(self, lines: Sequence[bytes], rows: NDArray[Any], positions: Mapping[int, int]) -> None:
        """Append a batch's decisions and their rows; everything before `positions` is done then."""
        with writing(self.file):
            self._lines.write(b"\n".join([*lines, b""]))
            self._rows.write(rows.tobytes())
        self.next.update(positions)

    def checkpoint(self, counted: Counted) -> None:
        """Make sure of what was added so far."""
        self.counted = counted
        with writing(self.file):
            for file in (self._lines, self._rows):
                file.flush()
                os.fsync(file.fileno())
            rows = self._rows.tell() // self._dtype.itemsize
            saved = Checkpoint(self.plan, self.next, self._lines.tell(), rows, counted)
            path = self._directory / "checkpoint.json"
            fresh = path.with_suffix(".fresh")
            fresh.write_bytes(msgspec.json.encode(saved))
            fresh.replace(path)

    def rows(self) -> NDArray[Any]:
        """Return all rows up to now; they stay on disk."""
        self._rows.flush()
        path = self._directory / "rows"
        if not path.stat().st_size:
            return np.empty(0, self._dtype)
        return np.memmap(path, self._dtype, mode="r")

    def line(self, place: int) -> bytes:
        """Return the decision that begins at a place."""
        self._lines.flush()
        with (self._directory / "decisions.jsonl").open("rb") as file:
            file.seek(place)
            return file.readline().rstrip(b"\n")

    def finish(self, finished: Callable[[Path, Path], None]) -> None:
        """Give the decisions their name: `finished(decisions, file)` moves or converts them; the rest is removed."""
        with writing(self.file):
            self._shut()
            finished(self._directory / "decisions.jsonl", self.file)
            shutil.rmtree(self._directory)
        self._lock.close()

    def discard(self) -> None:
        """Throw away what was done: it is of no use to anybody."""
        self._shut()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._lock.close()

    def close(self) -> None:
        """Close the files; without a checkpoint there is nothing to go on with, and nothing stays."""
        with suppress(OSError):  # told already, or less than what ends the replay
            self._shut()
        if not self._lock.closed and not (self._directory / "checkpoint.json").exists():
            shutil.rmtree(self._directory, ignore_errors=True)
        self._lock.close()

    def _shut(self) -> None:
        self._lines.close()
        self._rows.close()


def unfinished(file: Path) -> Path:
    """Return the directory of what will be `file`, or what that links to."""
    file = file.resolve()
    return file.with_name(f"{file.name}.unfinished")


def saved(directory: Path, *, resume: bool) -> Checkpoint | None:
    """Return what an unfinished replay has left to go on with; None where it begins anew.

    Raises SelectionError for unfinished work that nobody wants to resume, for none that somebody does, and for what
    this version does not read.
    """
    path = directory / "checkpoint.json"
    if not path.exists():
        if resume and not directory.exists():  # else it was killed before there was anything to go on with
            raise SelectionError(f"{directory}: no unfinished replay is there; begin one without --resume")
        return None
    if not resume:
        raise SelectionError(
            f"{directory}: an unfinished replay is there; go on with it by --resume, or delete the directory"
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except (OSError, ValueError) as error:
        raise SelectionError(f"{path}: no checkpoint that this version reads: {error}; delete it") from error


def _same(plan: Plan, saved: Plan, directory: Path) -> Plan:
    """Return the saved plan, whose slice counts, if all else is as it was."""
    wanted = msgspec.structs.replace(plan, slice=saved.slice, out_from=saved.out_from)
    for name in plan.__struct_fields__:
        now, then = getattr(wanted, name), getattr(saved, name)
        if now != then:
            was, is_ = (then.told(), now.told()) if isinstance(then, Making) else (f"{name} {then}", now)
            raise SelectionError(f"{directory}: began with {was}, not {is_}; resume it with the same options")
    return saved


def _locked(directory: Path, file: Path) -> IO[bytes]:
    """Make the directory and take it for as long as the lock's file is open; the kernel drops it with the process."""
    with writing(file):
        directory.mkdir(exist_ok=True)
        lock = (directory / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise SelectionError(f"{file}: another replay is writing it now; wait for that one, or name another") from error
    return lock


def _cut(path: Path, size: int) -> Any:
    """Open a file to append to, as long as it was at the checkpoint."""
    file = path.open("ab")
    held = file.tell()
    if held < size:
        file.close()
        raise SelectionError(f"{path}: has {held:,} bytes, the checkpoint says {size:,}; delete the directory")
    file.truncate(size)
    file.seek(size)
    return file
