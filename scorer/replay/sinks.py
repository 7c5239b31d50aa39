"""Where the decisions of a replay end: a file of JSON lines, or the same as Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from scorer.errors import SelectionError

GROUP = 100_000
"""Decisions of a Parquet file's row group, and in memory at a time."""
SUFFIXES = (".jsonl", ".parquet")


def finisher(file: Path) -> Callable[[Path, Path], None]:
    """Return what makes `file` of finished JSON lines, by its ending.

    Raises SelectionError for an ending that is neither, and where Parquet's library is not installed.
    """
    if file.suffix not in SUFFIXES:
        raise SelectionError(f"--out {file}: decisions are written as {' or '.join(SUFFIXES)}; give it such an ending")
    if file.suffix == ".parquet":
        parquet()
        return _convert
    return _move


def parquet() -> Any:
    """Return pyarrow's module for Parquet; raises SelectionError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise SelectionError(f"Parquet needs pyarrow, which is not installed ({error}): pip install pyarrow") from error
    return pyarrow.parquet


def _move(lines: Path, target: Path) -> None:
    lines.replace(target)


def _convert(lines: Path, target: Path) -> None:
    """Write decisions as a table: the object of the band becomes a struct, times stay numbers of milliseconds."""
    import pyarrow as pa

    fresh = target.with_name(f"{target.name}.fresh")
    writer = None
    with lines.open("rb") as file:
        for group in _groups(file):
            table = pa.Table.from_pylist(group, schema=writer.schema if writer else None)
            writer = writer or parquet().ParquetWriter(fresh, table.schema)
            writer.write_table(table)
    if writer is None:
        raise SelectionError(f"{target}: nothing was decided, and a table without rows has no columns; write .jsonl")
    writer.close()
    fresh.replace(target)


def _groups(lines: Iterator[bytes]) -> Iterator[list[Any]]:
    decode = msgspec.json.decode
    while group := [decode(line) for line in islice(lines, GROUP)]:
        yield group
