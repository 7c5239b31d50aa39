"""Dead letters as text for a person, or as a document. Whatever an event holds, none of it steers the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final

import msgspec
from rich.console import Console

from scorer.dlq.letters import Census, DeadLetter
from scorer.dlq.plan import Fate, Tally
from scorer.errors import Reason

MESSAGE: Final = 100
"""Characters of a message in a list; `scorer dlq show` has all of it."""
REASONS: Final = 10
"""Reasons named in a doubt at most, the commonest: other systems' are as many as their exceptions."""
LETTER_HEADS: Final = ("letter", "origin", "reason", "stage", "path", "age", "redrives", "redriven", "message")
COUNT_HEADS: Final = ("topic", "reason", "letters", "redriven")


def visible(content: bytes | str | None) -> str:
    """Return text with everything that is not printable escaped; `-` for what is not there."""
    text = content.decode(errors="backslashreplace") if isinstance(content, bytes) else content
    return "-" if text is None else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def listing(census: Census, dead_letters: Sequence[str], console: Console, now: float) -> None:
    """Print counts by topic and reason, then the newest letters. `now` is in seconds since the epoch."""
    if not census.counts:
        passed = ", ".join(f"{visible(reason) or '-'} {count:,}" for reason, count in sorted(census.passed.items()))
        others = f"; by reason, there are others: {passed}" if passed else ""
        console.print(f"{', '.join(dead_letters)}: no dead letters are meant{others}", soft_wrap=True)
        return
    counts = [
        (topic or "-", reason or "-", f"{count:,}", f"{census.redriven[topic, reason]:,}")
        for (topic, reason), count in sorted(census.counts.items())
    ]
    _table(COUNT_HEADS, counts, console)
    newest = census.newest()
    if newest:
        console.print(f"\nthe newest {len(newest):,} of {census.counts.total():,}")
        _table(LETTER_HEADS, [_row(letter, now, redriven=redriven) for letter, redriven in newest], console)


def document(census: Census, dead_letters: Sequence[str]) -> bytes:
    """Return a listing as one JSON object."""
    counts = [
        {"topic": topic or None, "reason": reason or None, "letters": n, "redriven": census.redriven[topic, reason]}
        for (topic, reason), n in sorted(census.counts.items())
    ]
    letters = [_members(letter, redriven=redriven) for letter, redriven in census.newest()]
    return msgspec.json.encode({"dead_letters": dead_letters, "counts": counts, "letters": letters})


def whole(letter: DeadLetter, *, redriven: bool) -> Iterator[str]:
    """Yield the lines of one letter: where it is from, what is said of it, its headers, key and value."""
    failure = letter.failure
    facts: Mapping[str, object] = {
        "letter": letter.place,
        "origin": letter.origin or "-",
        "headers of": failure.family or "no system known",
        "reason": failure.reason or "-",
        "stage": failure.stage or "-",
        "path": failure.path or "-",
        "message": failure.message or "-",
        "group": failure.group or "-",
        "time": _time(letter.timestamp),
        "redriven": f"{'yes' if redriven else 'no'}, and {letter.redrives} times before this letter",
        "not whole": ", ".join(failure.cut) or "-",
    }
    yield from (f"{name:<12}{visible(str(fact))}" for name, fact in facts.items())
    yield f"{'headers':<12}{len(letter.headers)}"
    yield from (f"  {visible(name)} = {_content(content)}" for name, content in letter.headers)
    yield f"{'key':<12}{_content(letter.key)}"
    yield f"{'value':<12}{_kind(letter.value)}"
    yield from _lines(letter.value)


def doubts(reasons: Collection[str], met: Counter[str]) -> Iterator[str]:
    """Yield a line for each reason asked for that is none of the scorer's own and that no letter has.

    `met` counts the reasons of the letters that were looked at. It may be a typo, or another system's exception that
    was not thrown this time: so it is told, and is no mistake.
    """
    known = {name.lower(): name for name in (*Reason, *met) if name}
    there = ", ".join(f"{visible(name) or '-'} {count:,}" for name, count in met.most_common(REASONS))
    more = f" and {len(met) - REASONS:,} more" if len(met) > REASONS else ""
    for asked in sorted(set(reasons) - {*Reason, *met}):
        # Whoever pastes an exception's whole name means its class, which is all that a letter's reason has of it.
        near = get_close_matches(asked.rpartition(".")[2].lower(), known, n=1)
        hint = f"; did you mean {visible(known[near[0]])}?" if near else ""
        looked = f"those that were looked at have {there}{more}" if met else "there were none to look at"
        yield f"no letter has the reason {visible(asked)}: {looked}{hint}"


def plan(dead_letters: str, tally: Tally, doing: str) -> Iterator[str]:
    """Yield the letters of a topic by what becomes of them; `doing` is the word for those that are redriven."""
    total = tally.fates.total()
    yield f"{dead_letters}: {total:,} letter{'' if total == 1 else 's'}"
    for fate in (fate for fate in Fate if tally.fates[fate]):
        redriving = fate is Fate.REDRIVE
        yield f"{tally.fates[fate]:>11,}  {doing if redriving else f'{fate} (the first is {tally.first[fate]})'}"
        if redriving:
            yield from (f"{count:>11,}    into {topic}" for topic, count in sorted(tally.topics.items()))


def _members(letter: DeadLetter, *, redriven: bool) -> dict[str, Any]:
    failure, origin = letter.failure, letter.origin
    return {
        "letter": str(letter.place),
        "origin": str(origin) if origin else None,
        "timestamp": letter.timestamp,
        "family": failure.family,
        "reason": failure.reason,
        "stage": failure.stage,
        "path": failure.path,
        "message": failure.message,
        "group": failure.group,
        "redrives": letter.redrives,
        "redriven": redriven,
        "not_whole": failure.cut,
    }


def _row(letter: DeadLetter, now: float, *, redriven: bool) -> tuple[str, ...]:
    failure = letter.failure
    message = failure.message if len(failure.message) <= MESSAGE else f"{failure.message[: MESSAGE - 1]}…"
    return (
        str(letter.place),
        str(letter.origin or "-"),
        *(text or "-" for text in (failure.reason, failure.stage, failure.path)),
        _age(now - letter.timestamp / 1000),
        f"{letter.redrives}",
        "yes" if redriven else "no",
        message or "-",
    )


def _age(seconds: float) -> str:
    """Return an age in its two largest units; a clock that is behind makes none."""
    left = timedelta(seconds=max(round(seconds), 0))
    hours, minutes = left.seconds // 3600, left.seconds % 3600 // 60
    if left.days:
        return f"{left.days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left.seconds % 60} s" if minutes else f"{left.seconds} s"


def _time(milliseconds: int) -> str:
    """Return a time as RFC 3339; one that no calendar has, as its number."""
    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return f"{milliseconds} ms"
    return moment.isoformat(timespec="milliseconds")


def _content(content: bytes | None) -> str:
    """Return a key or a header: text as text, what is none (such as Java's binary numbers) in hexadecimal."""
    try:
        text = None if content is None else content.decode()
    except UnicodeDecodeError:
        text = "\0"
    return f"0x{content.hex()}" if content and text and "\0" in text else visible(text)


def _kind(value: bytes | None) -> str:
    if value is None:
        return "none: a tombstone"
    return f"{len(value):,} bytes{'' if _formatted(value) is None else ', JSON'}"


def _lines(value: bytes | None) -> Iterator[str]:
    """Yield a value's lines: JSON indented, other text escaped, the rest in hexadecimal."""
    if not value:
        return
    formatted = _formatted(value)
    if formatted is not None:
        yield from map(visible, formatted.split("\n"))
        return
    try:
        yield visible(value.decode())
    except UnicodeDecodeError:
        yield from (f"{at:08x}  {value[at : at + 16].hex(' ')}" for at in range(0, len(value), 16))


def _formatted(value: bytes) -> str | None:
    """Return JSON indented, its numbers and texts as they were written; None for what is no JSON."""
    try:
        msgspec.json.decode(value)
        return msgspec.json.format(value, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], console: Console) -> None:
    """Print one line a row; on a terminal it ends with the window, elsewhere nothing is cut."""
    cells = [heads, *(tuple(map(visible, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        if console.is_terminal:
            console.print(line, no_wrap=True, overflow="ellipsis")
        else:
            console.print(line, soft_wrap=True)
