"""What the scorer does with a batch of a topic's records, called from Python: events in, decisions out."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scorer.bundle import Bundle
from scorer.pipeline import process
from scorer.records import Records


def decide(bundle: Bundle, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the decision that is published for each event; raises ValueError where one would be dead-lettered."""
    count = len(events)
    values = [json.dumps(event).encode() for event in events]
    records = Records.of("events", [0] * count, range(count), [0] * count, [None] * count, values)
    lane = bundle.lane("events", group="example", decisions="decisions", dead_letters="dead-letters")
    outcome = process(records, lane, clock=time.monotonic, first_seen=time.monotonic())
    if outcome.rejections:
        raise ValueError(f"{len(outcome.rejections)} events are rejected, the first: {outcome.rejections[0]}")
    return [json.loads(value) for value in outcome.outgoing.values if value is not None]


def show(decisions: Sequence[dict[str, Any]]) -> None:
    """Print the five highest scores, and what was decided."""
    for decision in sorted(decisions, key=lambda decision: -decision["score"])[:5]:
        print(f"{decision['event_id']}: {decision['score']:.4f} {decision['decision']}")  # noqa: T201


def directory(name: str) -> Path:
    """Return where the command line wants the bundle: `--out DIR`, or `bundles/<name>`."""
    parser = argparse.ArgumentParser(description=f"train, pack and try the bundle {name}")
    parser.add_argument("--out", type=Path, default=Path("bundles") / name)
    return parser.parse_args().out
