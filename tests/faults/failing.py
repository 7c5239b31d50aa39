"""`python failing.py ACT POINT COUNT run SETTINGS`: the scorer, and what happens to it at its COUNTth time at a point.

It dies, halts, dawdles, or raises. The product has no such switch: its doors and callbacks are wrapped from outside.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scorer.broker.kafka import KafkaSink, KafkaSource, sink, source
from scorer.cli import assembly, main
from scorer.pipeline import Outcome
from scorer.records import Outgoing
from scorer.service import loop
from scorer.telemetry.log import JsonLog
from scorer.telemetry.metrics import Metrics

POINTS = ("after_consume", "after_begin", "mid_produce", "after_send_offsets", "during_commit", "after_commit")
ACKNOWLEDGED_POINTS = ("after_consume", "mid_produce", "after_flush", "during_offsets", "after_offsets")
"""The points of a batch that is delivered at least once: without a transaction."""
CALLBACKS = ("listeners", "stats_cb", "on_delivery", "logger", "error_cb")
"""What runs inside the client or for it; the last two only where the broker gives a reason."""
DAWDLE = 9.0
"""Seconds: half as much again as a member may be silent in these tests."""
Act = Callable[[], object]


def die() -> None:
    """End as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)


def halt() -> None:
    """Stand still until SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def dawdle() -> None:
    """Take too long."""
    time.sleep(DAWDLE)


def fail() -> None:
    """Raise what nobody expects; it is said, too, since whoever catches it may not tell."""
    sys.stderr.write("raised on purpose\n")
    raise RuntimeError("on purpose")


ACTS: dict[str, Act] = {"die": die, "halt": halt, "dawdle": dawdle, "raise": fail}


def counted(act: Act, count: int, *, lasting: bool = False) -> Callable[..., bool]:
    """Return what acts the COUNTth time that it is called, and, if lasting, every time from then on."""
    left = [count]

    def strike(*_: object) -> bool:
        left[0] -= 1
        if left[0] == -1 or (lasting and left[0] < 0):
            act()
        return True

    return strike


def before(kind: type, name: str, strike: Callable[..., object]) -> None:
    """Call `strike` before a method, with the method's arguments."""
    method = getattr(kind, name)

    def wrapped(self: Any, *arguments: Any) -> Any:
        strike(self, *arguments)
        return method(self, *arguments)

    setattr(kind, name, wrapped)


def after(kind: type, name: str, strike: Callable[[Any], object]) -> None:
    """Call `strike` with what a method returned."""
    method = getattr(kind, name)

    def wrapped(self: Any, *arguments: Any) -> Any:
        result = method(self, *arguments)
        strike(result)
        return result

    setattr(kind, name, wrapped)


def halfway(act: Act, count: int) -> Callable[[KafkaSink, Outgoing], object]:
    """Return what acts when half of the COUNTth batch is on its way."""
    publish = KafkaSink.publish
    left = [count]

    def strike(sink: KafkaSink, outgoing: Outgoing) -> None:
        left[0] -= 1
        if left[0] == -1:
            half = len(outgoing.values) // 2
            publish(sink, replace(outgoing, keys=outgoing.keys[:half], values=outgoing.values[:half], dead_letters=()))
            time.sleep(0.05)  # some of it is on its way
            act()

    return strike


def shortly(act: Act) -> Act:
    """Return what acts a moment later, while the caller goes on."""
    return lambda: threading.Timer(0.002, act).start()


def arm(act: Act, point: str, count: int) -> None:
    """Wrap the door at which the scorer is to be struck."""
    strike, soon = counted(act, count), counted(shortly(act), count)
    lasting = counted(act, count, lasting=True)
    doors: dict[str, Callable[[], object]] = {
        "after_consume": lambda: after(KafkaSource, "poll", lambda haul: strike() if haul.records else None),
        "before_score": lambda: before_score(strike),
        "after_begin": lambda: after(KafkaSink, "begin", strike),
        "mid_produce": lambda: before(KafkaSink, "publish", halfway(act, count)),
        "after_flush": lambda: after(KafkaSink, "flush", strike),
        "before_offsets": lambda: before(KafkaSink, "commit", strike),
        "after_send_offsets": lambda: before(KafkaSink, "resume", strike),
        "during_commit": lambda: before(KafkaSink, "resume", soon),
        "after_commit": lambda: after(KafkaSink, "commit", strike),
        "during_offsets": lambda: before(KafkaSource, "commit", soon),
        "after_offsets": lambda: after(KafkaSource, "commit", strike),
        "listeners": lambda: before_hearing(lasting),
        "stats_cb": lambda: extend(source, "consumer_properties", stats_cb=strike, **{"statistics.interval.ms": 50}),
        "on_delivery": lambda: replace_reports(strike),
        "logger": lambda: logging.getLogger("scorer.librdkafka").addFilter(strike),
        "error_cb": lambda: vars(assembly).update(hearing=lambda _: strike),
        "static_member": lambda: extend(source, "consumer_properties", **{"group.instance.id": "the-same"}),
    }
    if point not in doors:
        raise SystemExit(f"no point {point!r}: {', '.join(doors)}")
    doors[point]()


def before_hearing(strike: Callable[..., bool]) -> None:
    """Wrap the listeners that telemetry tells."""
    before(Metrics, "hear", strike)
    before(JsonLog, "hear", strike)


def before_score(strike: Callable[..., bool]) -> None:
    """Wrap the rooms."""
    process = vars(loop)["process"]

    def wrapped(*arguments: Any) -> Outcome:
        strike()
        outcome: Outcome = process(*arguments)
        return outcome

    vars(loop)["process"] = wrapped


def replace_reports(strike: Callable[..., bool]) -> None:
    """Let the client report every delivery, and take the reports."""
    extend(sink, "producer_properties", **{"delivery.report.only.error": False})
    vars(sink)["_report"] = strike


def extend(module: Any, name: str, **more: object) -> None:
    """Add properties to a client's."""
    properties = getattr(module, name)
    vars(module)[name] = lambda *arguments, **options: {**properties(*arguments, **options), **more}


if __name__ == "__main__":
    _, act, point, count, *arguments = sys.argv
    arm(ACTS[act], point, int(count))
    sys.argv = ["scorer", *arguments]
    main()
