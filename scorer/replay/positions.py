"""Where a slice begins and ends: a text → a Position → offsets. Pure: the clock and the look-up of times are arguments.

A slice is half-open, per partition [from, to). A time stands for the first record at or after it, as the broker finds
it: by the records' own timestamps, and the broker's clock for marks of transactions. Where these are out of order, as
in a topic that was filled with old timestamps, a slice by time is still one piece of the partition, and offsets say
better what is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

from scorer.errors import SelectionError

UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
"""Milliseconds of what a relative time may be counted in."""

_RELATIVE: Final = re.compile(r"-([0-9]{1,9})([smhd])")
_NAMED: Final = re.compile(r"p([0-9]{1,9}):([0-9]{1,18})")
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_OF_TIMES: Final = (
    ". Times are those of records' timestamps, and of the broker's clock where a transaction ends; of a topic filled "
    "with old timestamps, name offsets: --from p0:123"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Edge(StrEnum):
    """An end of what a partition holds."""

    BEGINNING = "beginning"
    END = "end"


@dataclass(frozen=True, slots=True)
class At:
    """A time, in milliseconds since the epoch."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class Named:
    """Offsets of some partitions; the others are taken whole."""

    offsets: Mapping[int, int]


Position: TypeAlias = Edge | At | Named
LookUp: TypeAlias = Callable[[int], Mapping[int, int]]
"""Milliseconds since the epoch → each partition's first offset at or after it, where there is one."""


def parse(text: str, option: str, now: float) -> Position:
    """Read a position; `now` is in seconds since the epoch, `option` the word for messages.

    Raises SelectionError for what is none of `beginning`, `end`, an RFC 3339 time, `-1h`, or `p0:123,p1:50`.
    """
    if text in set(Edge):
        return Edge(text)
    if relative := _RELATIVE.fullmatch(text):
        return At(max(round(now * 1000) - int(relative[1]) * UNITS[relative[2]], 0))
    if text.startswith("p"):
        return _named(text, option)
    if not _RFC_3339.fullmatch(text.upper()):
        raise SelectionError(
            f"{option} {text!r}: write `beginning`, `end`, a time with its zone (2026-01-31T08:00:00Z), a time ago "
            "(-30m, -1h, -7d), or offsets (p0:123,p1:50)"
        )
    try:
        return At(_milliseconds(datetime.fromisoformat(text.upper())))
    except ValueError as error:
        raise SelectionError(f"{option} {text!r}: there is no such time: {error}") from error


def select(
    topic: str, extent: Mapping[int, range], start: Position, stop: Position, look_up: LookUp
) -> dict[int, range]:
    """Return the offsets of `topic` from `start` to before `stop`; `extent` is what each partition holds.

    Raises SelectionError for a partition that does not exist, offsets that a partition does not hold, a start after
    its stop, and a slice without any offset.
    """
    if isinstance(start, At) and isinstance(stop, At) and start.milliseconds > stop.milliseconds:
        raise SelectionError(f"{topic}: the time of --from is after that of --to; exchange them")
    first = _offsets(topic, extent, start, look_up, whole=Edge.BEGINNING, option="--from")
    last = _offsets(topic, extent, stop, look_up, whole=Edge.END, option="--to")
    for number in extent:
        if first[number] > last[number]:
            raise SelectionError(
                f"{topic}-{number}: --from is offset {first[number]}, after --to at {last[number]}; exchange them"
            )
    selected = {number: range(first[number], last[number]) for number in extent}
    if not any(selected.values()):
        held = ", ".join(f"{topic}-{number} holds {_held(offsets)}" for number, offsets in extent.items())
        timed = At in (type(start), type(stop))
        raise SelectionError(f"{topic}: nothing lies between --from and --to; {held}{_OF_TIMES if timed else ''}")
    return selected


def _offsets(
    topic: str, extent: Mapping[int, range], position: Position, look_up: LookUp, *, whole: Edge, option: str
) -> Mapping[int, int]:
    match position:
        case Edge():
            return _edge(extent, position)
        case At(milliseconds):
            found = look_up(milliseconds)
            # What came after the extent was asked for lies behind it: the replay would never end.
            return {number: min(found.get(number, held.stop), held.stop) for number, held in extent.items()}
        case Named(offsets):
            _check(topic, extent, offsets, option)
            return {**_edge(extent, whole), **offsets}


def _edge(extent: Mapping[int, range], edge: Edge) -> dict[int, int]:
    return {number: held.start if edge is Edge.BEGINNING else held.stop for number, held in extent.items()}


def _check(topic: str, extent: Mapping[int, range], offsets: Mapping[int, int], option: str) -> None:
    for number, offset in offsets.items():
        if number not in extent:
            raise SelectionError(f"{option} p{number}: {topic} has partitions 0 to {len(extent) - 1} only")
        held = extent[number]
        if not held.start <= offset <= held.stop:
            raise SelectionError(f"{option} p{number}:{offset}: {topic}-{number} holds {_held(held)}")


def _held(offsets: range) -> str:
    return f"offsets {offsets.start} to {offsets.stop - 1}" if offsets else "nothing"


def _named(text: str, option: str) -> Named:
    offsets: dict[int, int] = {}
    for part in text.split(","):
        match = _NAMED.fullmatch(part)
        if match is None:
            raise SelectionError(f"{option} {text!r}: {part!r} is no offset of a partition; write p0:123,p1:50")
        if int(match[1]) in offsets:
            raise SelectionError(f"{option} {text!r}: names partition {int(match[1])} twice; give it one offset")
        offsets[int(match[1])] = int(match[2])
    return Named(offsets)


def _milliseconds(time: datetime) -> int:
    """Return the first millisecond at or after a time, 0 at least: Kafka reads negative ones as something else."""
    return max(-((_EPOCH - time) // timedelta(milliseconds=1)), 0)
