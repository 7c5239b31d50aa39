"""Files of rows, one a line of JSON or CSV, or of Parquet → dicts. What cannot be read is a ValueError in words."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from scorer.replay.sinks import parquet

MARK = b"\xef\xbb\xbf"
"""How some editors begin a file of UTF-8: a byte order mark."""


def rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield a file's rows by its ending: .csv, .parquet, or JSON lines, of which blank ones are none.

    Raises OSError for a file that cannot be opened, and ValueError, with the line if there are any, for a damaged one.
    What JSON has in a line need not be an object.
    """
    if path.suffix == ".parquet":
        return of_parquet(path)
    return _of_csv(path) if path.suffix == ".csv" else _of_json(path)


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield a file's lines, each with its place, counted from 0, and without its end.

    Blank ones are left out, and take a place; a byte order mark is no part of the first.
    """
    with path.open("rb") as file:
        for place, line in enumerate(file):
            text = line if place else line.removeprefix(MARK)
            if text.strip():
                yield place, text.rstrip(b"\r\n")


def of_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield a table's rows, and hold a batch of them; raises as `rows` does."""
    try:
        for batch in parquet().ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except (OSError, ValueError, TypeError, LookupError, RuntimeError, MemoryError) as error:
        # pyarrow's own errors are children of all these, by what the bytes happen to look like.
        raise ValueError(f"this is no Parquet, or it is damaged: {' '.join(str(error).split())}") from error


def _of_csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            yield from reader
        except csv.Error as error:
            begins = reader.line_num + 1  # the row: what is wrong with it may only show many lines later
            raise ValueError(f"line {begins}: {error}; is there a quotation mark that has no end?") from error


def _of_json(path: Path) -> Iterator[Mapping[str, Any]]:
    for place, line in lines(path):
        try:
            yield msgspec.json.decode(line)
        except ValueError as error:
            raise ValueError(f"line {place + 1}: {error}") from error
        except RecursionError as error:
            raise ValueError(f"line {place + 1}: is nested too deeply") from error
