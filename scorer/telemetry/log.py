"""Takes facts, gives one JSON line for each event of the service's life, and a progress line every ten seconds.

A line is ASCII and has no line break inside, whatever a broker or an event wrote into it; every value is cut at a
length; the same thing is said at most five times in ten seconds, and the next line says how many were left out.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter
from threading import RLock
from typing import Any, Final, TextIO

from scorer.records import Partition
from scorer.telemetry.facts import (
    AbortReason,
    BatchAborted,
    BatchSettled,
    BrokerAwaited,
    BrokerTrouble,
    BundleLoaded,
    Fact,
    LagMeasured,
    PartitionsRevoked,
    PartitionsStuck,
    ProducerRenewed,
    ServiceStopped,
    TopicResumed,
    TopicStopped,
)
from scorer.telemetry.rate import RateLimit

MAX_TEXT: Final = 2_000
MAX_ITEMS: Final = 100
PROGRESS_SECONDS: Final = 10.0

# What makes two lines "the same" beside the event: five topics may load their bundles in one second.
_CODES: Final[Mapping[type[Fact], Callable[[Any], str]]] = {
    BundleLoaded: attrgetter("topic"),
    BatchAborted: attrgetter("reason"),
    ProducerRenewed: attrgetter("reason"),
    BrokerTrouble: attrgetter("code"),
    TopicStopped: attrgetter("topic"),
    TopicResumed: attrgetter("topic"),
}
_EXPECTED_ABORTS: Final = frozenset({AbortReason.REBALANCE, AbortReason.STOPPING})


@dataclass(slots=True)
class _Progress:
    """What was settled since `since`, in monotonic seconds."""

    since: float
    events: int = 0
    dead_letters: int = 0


class JsonLog:
    """A listener that writes to `stream`, one line and one flush an event.

    `clock` gives Unix seconds for `ts`; `ticks` gives monotonic seconds for the rate limit and the progress, because a
    wall clock set back by an hour would silence the log for an hour.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float], ticks: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock
        self._ticks = ticks
        self._limit = RateLimit()
        self._progress = _Progress(ticks())
        self._max_lag: int | None = None
        # Re-entrant: the garbage collector may raise a warning in the middle of a line, on the same thread.
        self._lock = RLock()

    def hear(self, fact: Fact) -> None:
        """Write a fact, or add it to the progress. Raises OSError or ValueError where the stream is gone."""
        match fact:
            case BatchSettled():
                self._report_progress(self._ticks() - PROGRESS_SECONDS)
                self._progress.events += fact.events
                self._progress.dead_letters += sum(fact.dead_letters.values())
            case LagMeasured(lag=lag):
                self._max_lag = max(lag.values(), default=0)
                self._report_progress(self._ticks() - PROGRESS_SECONDS)
            case _:
                if isinstance(fact, ServiceStopped):
                    self._report_progress(self._ticks())
                code = _CODES.get(type(fact))
                values = {entry.name: getattr(fact, entry.name) for entry in fields(fact)}
                self.write(_level(fact), event_name(type(fact)), values, code(fact) if code else "")

    def write(self, level: str, event: str, values: Mapping[str, object], code: str = "") -> None:
        """Write one line, unless the rate limit of (`event`, `code`) leaves it out.

        `level` is info, warning or error. Raises OSError or ValueError where the stream is gone.
        """
        with self._lock:
            suppressed = self._limit.admit((event, code), self._ticks())
            if suppressed is None:
                return
            line: dict[str, object] = {"ts": _rfc3339(self._clock()), "level": level, "event": event}
            line.update((name, plain(value)) for name, value in values.items())
            if suppressed:
                line["suppressed"] = suppressed
            self._stream.write(json.dumps(line, allow_nan=False) + "\n")
            self._stream.flush()

    def python_logger(self, name: str) -> logging.Logger:
        """Return Python's logger of that name, made to write here and nowhere else, from INFO on.

        For librdkafka's `logger` property and, as `py.warnings` after `logging.captureWarnings(True)`, for warnings.
        """
        logger = logging.getLogger(name)
        logger.handlers = [_Handler(self)]
        logger.propagate = False
        logger.setLevel(logging.INFO)
        return logger

    def _report_progress(self, started_before: float) -> None:
        """Write what was settled and begin anew, if the present stretch began that long ago."""
        progress = self._progress
        if progress.since > started_before:
            return
        now = self._ticks()
        self._progress = _Progress(now)
        if not progress.events:
            return
        seconds = max(now - progress.since, 1e-3)
        values = {
            "seconds": round(seconds, 3),
            "events": progress.events,
            "events_per_second": round(progress.events / seconds, 1),
            "dead_letters": progress.dead_letters,
            "max_lag": self._max_lag,
        }
        self.write("info", "progress", values)


class _Handler(logging.Handler):
    """Turns Python's log records into lines. Never raises: librdkafka calls it from inside a poll."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as the event `log`; an exception with it is told by its type and message."""
        with suppress(Exception):
            values = {"logger": record.name, "message": record.getMessage()}
            if record.exc_info and record.exc_info[1]:
                values["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            self._log.write(_python_level(record.levelno), "log", values, f"{record.name} {record.levelno}")


def event_name(kind: type[Fact]) -> str:
    """Return a fact's name in the log: `ProducerRenewed` is `producer_renewed`."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", kind.__name__).lower()


def plain(value: object) -> object:
    """Return a value as JSON has it: text cut at `MAX_TEXT` characters and collections at `MAX_ITEMS`, both marked."""
    match value:
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case Mapping():
            entries = {_cut(str(key)): plain(item) for key, item in islice(value.items(), MAX_ITEMS)}
            return entries if len(value) <= MAX_ITEMS else entries | {"...": f"{len(value) - MAX_ITEMS} more"}
        case tuple() if not isinstance(value, Partition):
            items = [plain(item) for item in value[:MAX_ITEMS]]
            return items if len(value) <= MAX_ITEMS else [*items, f"... {len(value) - MAX_ITEMS} more"]
        case _:
            return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({len(text) - MAX_TEXT} more characters)"


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(fact: Fact) -> str:
    match fact:
        case BatchAborted(reason=reason):
            return "info" if reason in _EXPECTED_ABORTS else "warning"
        case PartitionsRevoked(lost=lost):
            return "warning" if lost else "info"
        case ProducerRenewed() | BrokerTrouble() | BrokerAwaited():
            return "warning"
        case TopicStopped():
            return "error"
        case PartitionsStuck(offsets=offsets):
            return "error" if offsets else "info"
        case _:
            return "info"


def _python_level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    return "warning" if number >= logging.WARNING else "info"
