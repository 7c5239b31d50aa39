"""`python failing.py POINT COUNT run SETTINGS`: the scorer, killed by itself at a chosen point of its COUNTth batch.

The product has no such switch: the doors to Kafka are wrapped here, from outside.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scorer.broker.kafka import KafkaSink, KafkaSource
from scorer.cli import main
from scorer.records import Outgoing

POINTS = ("after_consume", "after_begin", "mid_produce", "after_send_offsets", "during_commit", "after_commit")


def die() -> None:
    """End as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)


def before(kind: type, name: str, act: Callable[..., object]) -> None:
    """Call `act` before a method."""
    method = getattr(kind, name)

    def wrapped(self: Any, *arguments: Any) -> Any:
        act(self, *arguments)
        return method(self, *arguments)

    setattr(kind, name, wrapped)


def after(kind: type, name: str, act: Callable[[Any], object]) -> None:
    """Call `act` with what a method returned."""
    method = getattr(kind, name)

    def wrapped(self: Any, *arguments: Any) -> Any:
        result = method(self, *arguments)
        act(result)
        return result

    setattr(kind, name, wrapped)


def arm(point: str, count: int) -> None:
    """Wrap the door at which the scorer is to die, the COUNTth time it is used."""
    left = [count]

    def due() -> bool:
        left[0] -= 1
        return left[0] < 0

    def halfway(sink: KafkaSink, outgoing: Outgoing) -> None:
        if due():
            half = len(outgoing.values) // 2
            publish(sink, replace(outgoing, keys=outgoing.keys[:half], values=outgoing.values[:half], dead_letters=()))
            sink._producer.poll(0.05)  # some of it is on its way
            die()

    publish = KafkaSink.publish
    match point:
        case "after_consume":
            after(KafkaSource, "poll", lambda haul: die() if haul.records and due() else None)
        case "after_begin":
            after(KafkaSink, "begin", lambda _: die() if due() else None)
        case "mid_produce":
            before(KafkaSink, "publish", halfway)
        case "after_send_offsets":
            before(KafkaSink, "resume", lambda *_: die() if due() else None)
        case "during_commit":
            before(KafkaSink, "resume", lambda *_: threading.Timer(0.002, die).start() if due() else None)
        case "after_commit":
            after(KafkaSink, "commit", lambda _: die() if due() else None)
        case _:
            raise SystemExit(f"no failpoint {point!r}: {', '.join(POINTS)}")


if __name__ == "__main__":
    _, point, count, *arguments = sys.argv
    arm(point, int(count))
    sys.argv = ["scorer", *arguments]
    main()
