"""A tape: a slice of a topic in a file, byte for byte. Records → lines, and lines → Records as from the topic itself.

Its first line says of which slice it is; then every record is one JSON object of a line. Bytes that are UTF-8 are a
JSON string, others `{"b64": …}`, and what is absent is null. Records lie in the order of their time, those of a
partition in the order of their offsets, so that whoever plays a tape reads it once, from its beginning to its end.
"""

from __future__ import annotations

import gzip
import heapq
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, BinaryIO, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Meta

from scorer.errors import SelectionError, TopicMissingError
from scorer.records import Records
from scorer.replay.writing import vacant, writing

FORMAT = 1
BATCH_BYTES = 32 * 1024 * 1024
"""Characters or bytes of values after which a batch is closed, as the service closes its own."""
LONGEST = 256 * 1024 * 1024
"""Bytes of a line at most: a file of something else may have no line's end at all."""

Slice: TypeAlias = Mapping[int, range]
Parsed = TypeVar("Parsed")
_Offset: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Base64(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Bytes that are no UTF-8."""

    b64: bytes


_Text: TypeAlias = str | _Base64 | None


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of which topic and offsets a tape is, and how many records follow: a file that was cut off is known by that."""

    tape: int
    topic: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
    partitions: Annotated[int, Meta(ge=1, le=1_000_000)]
    slice: dict[int, tuple[_Offset, _Offset]]
    records: int


class _Line(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """One record: partition, offset, time in milliseconds since the epoch (-1 for none), key, value, headers."""

    p: int
    o: int
    t: Annotated[int, Meta(ge=-1, le=2**63 - 1)]
    k: _Text
    v: _Text
    h: tuple[tuple[str, _Text], ...] = ()


class _Time(msgspec.Struct, frozen=True, gc=False):
    """Of a line, what it is sorted by."""

    t: int


def record(path: Path, topic: str, selected: Slice, batches: Iterable[Records]) -> int:
    """Write a slice's records as a tape, which gets its name only when it is whole; return their number.

    A path that ends in `.gz` is compressed. Partitions come one after the other from a topic: each is written to a file
    of its own first, beside the tape, and then all are merged by time. Raises SelectionError for a slice without
    records, a header that no client can publish, and where nothing can be written, or only a device is.
    """
    path = vacant(path)
    with ExitStack() as stack:
        with writing(path):
            beside = TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent, ignore_cleanup_errors=True)
        parts = _Parts(Path(stack.enter_context(beside)), stack)
        count = 0
        for records in batches:
            with writing(path):
                parts.add(records)
            count += len(records)
        if not count:
            raise SelectionError(f"{topic}: no committed record lies between --from and --to; choose a longer slice")
        ends = {number: (offsets.start, offsets.stop) for number, offsets in selected.items()}
        head = _Head(FORMAT, topic, len(selected), ends, count)
        with writing(path):
            parts.merged(msgspec.json.encode(head), packed=path.name.endswith(".gz")).replace(path)
    return count


class Tape:
    """The past of one topic, as `replay.run.Past` has it: what was recorded, with its own offsets.

    Raises SelectionError, with the line's number, for a file that is no tape, and later for a line that was cut off or
    altered; nothing behind such a line is given.
    """

    def __init__(self, path: Path) -> None:
        """Read the first line."""
        self._path = path
        with self._opened() as lines:
            self._head = self._parsed(msgspec.json.Decoder(_Head), next(lines, b""), 1)
        if self._head.tape != FORMAT:
            raise SelectionError(f"{path}: is a tape of format {self._head.tape}, not {FORMAT}: update scorer")

    @property
    def topic(self) -> str:
        """The topic that was recorded."""
        return self._head.topic

    @property
    def partitions(self) -> int:
        """How many partitions a topic needs to take the tape: the slice may leave out the last ones."""
        return max((number + 1 for number, (start, stop) in self._head.slice.items() if start < stop), default=0)

    def extent(self, topic: str) -> dict[int, range]:
        """Return the offsets of the slice that was recorded; raises TopicMissingError for another topic."""
        if topic != self.topic:
            raise TopicMissingError(f"{self._path}: is a tape of {self.topic}, and has nothing of {topic}")
        return {number: range(*self._head.slice.get(number, (0, 0))) for number in range(self._head.partitions)}

    def offsets_at(self, topic: str, partitions: Sequence[int], milliseconds: int) -> dict[int, int]:
        """Return for each partition the offset of its first record at or after a time, where there is one.

        The tape is read for it. The broker would also find transactions' marks, which no tape has.
        """
        self.extent(topic)
        found: dict[int, int] = {}
        for line in self._records():
            if line.t >= milliseconds and line.p in partitions:
                found.setdefault(line.p, line.o)
        return found

    def read(self, topic: str, selected: Slice, limit: int) -> Iterator[Records]:
        """Yield the records of a slice in batches of at most `limit`, of some 32 MB; each partition keeps its order."""
        self.extent(topic)
        batch: list[_Line] = []
        size = 0
        for line in self._records():
            if line.o not in selected.get(line.p, ()):
                continue
            batch.append(line)
            size += len(line.v) if isinstance(line.v, str) else len(line.v.b64) if line.v else 0
            if len(batch) == limit or size >= BATCH_BYTES:
                yield _columns(topic, batch)
                batch, size = [], 0
        if batch:
            yield _columns(topic, batch)

    def _records(self) -> Iterator[_Line]:
        """Yield all records, each looked at: whether it lies in the slice, and behind its partition's last one."""
        free = self.extent(self.topic)
        decoder = msgspec.json.Decoder(_Line)
        number = 1
        with self._opened() as lines:
            next(lines, b"")
            for number, text in enumerate(lines, 2):
                line = self._parsed(decoder, text, number)
                held = free.get(line.p, range(0))
                if line.o not in held or number > self._head.records + 1:
                    raise self._torn(number, f"there is no record {line.p}-{line.o} in this tape, or not here")
                free[line.p] = range(line.o + 1, held.stop)
                yield line
        if number <= self._head.records:
            raise self._torn(number, f"the tape ends here, though it should have {self._head.records:,} records")

    @contextmanager
    def _opened(self) -> Iterator[Iterator[bytes]]:
        """Give the file's lines; a compressed one may break off anywhere."""
        try:
            with gzip.open(self._path) if self._path.name.endswith(".gz") else self._path.open("rb") as file:
                yield self._read_lines(cast(BinaryIO, file))
        except OSError as error:
            raise SelectionError(f"{self._path}: cannot be read: {error.strerror or error}; name a tape") from error

    def _read_lines(self, file: BinaryIO) -> Iterator[bytes]:
        number = 1
        while True:
            try:
                line = file.readline(LONGEST)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise self._torn(number, str(error)) from error
            if not line:
                return
            if not line.endswith(b"\n"):
                raise self._torn(number, "the line has no end")
            yield line
            number += 1

    def _parsed(self, decoder: msgspec.json.Decoder[Parsed], line: bytes, number: int) -> Parsed:
        try:
            return decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._torn(number, str(error)) from error

    def _torn(self, number: int, said: str) -> SelectionError:
        return SelectionError(
            f"{self._path}, line {number}: this is no tape, or was cut off or altered here: {said}; record it again"
        )


class _Parts:
    """A tape's partitions, each in a file of its own until all are merged."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._files: dict[int, BinaryIO] = {}

    def add(self, records: Records) -> None:
        for number, line in zip(records.partitions.tolist(), _lines(records), strict=True):
            if number not in self._files:
                self._files[number] = self._stack.enter_context((self._directory / str(number)).open("w+b"))
            self._files[number].write(line)

    def merged(self, head: bytes, *, packed: bool) -> Path:
        """Write the head and all records by time into a file, and return its path."""
        path = self._directory / "tape"
        parts = [_timed(self._files[number]) for number in sorted(self._files)]
        with path.open("wb") as raw, ExitStack() as stack:
            file: BinaryIO = raw
            if packed:
                through = gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0)
                file = cast(BinaryIO, stack.enter_context(through))
            file.write(head + b"\n")
            file.writelines(line for _, line in heapq.merge(*parts, key=itemgetter(0)))
        return path


def _lines(records: Records) -> Iterator[bytes]:
    """Yield a line a record; raises SelectionError for a header's name that no client can carry."""
    encode = msgspec.json.Encoder().encode
    numbers = (records.partitions.tolist(), records.offsets.tolist(), records.timestamps.tolist())
    for row, (number, offset, time, key, value) in enumerate(zip(*numbers, records.keys, records.values, strict=True)):
        try:
            headers = tuple((name, _text(data)) for name, data in records.headers(row))
        except UnicodeDecodeError as error:
            raise SelectionError(
                f"{records.coordinate(row)}: a header's name is not UTF-8, and cannot be published again; leave this "
                "record out with --from and --to"
            ) from error
        yield encode(_Line(number, offset, time, _text(key), _text(value), headers)) + b"\n"


def _timed(part: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield a partition's lines with their times; a merge keeps their order, also where a time lies back."""
    decode = msgspec.json.Decoder(_Time).decode
    part.seek(0)
    return ((decode(line).t, line) for line in part)


def _columns(topic: str, lines: Sequence[_Line]) -> Records:
    return Records.of(
        topic,
        [line.p for line in lines],
        [line.o for line in lines],
        [line.t for line in lines],
        [_bytes(line.k) for line in lines],
        [_bytes(line.v) for line in lines],
        lambda row: [(name, _bytes(value)) for name, value in lines[row].h],
    )


def _text(data: bytes | None) -> _Text:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _Base64(data)


def _bytes(text: _Text) -> bytes | None:
    if isinstance(text, str):
        return text.encode()
    return None if text is None else text.b64
