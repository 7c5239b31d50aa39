"""`python slowed.py SECONDS PREFIX run SETTINGS`: the scorer, its model slower by so much an event on some topics.

The topics are those whose names begin with PREFIX. The product has no such switch: a room is wrapped, from outside.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from scorer.cli import main
from scorer.pipeline import Lane, Outcome
from scorer.records import Records
from scorer.service import loop


def slow(seconds: float, prefix: str) -> None:
    """Make every event of the topics cost that much more."""
    process = loop.process

    def slowed(records: Records, lane: Lane, clock: Any, first_seen: float) -> Outcome:
        def dear(inputs: Any) -> Any:
            time.sleep(seconds * len(inputs.rows))
            return lane.infer(inputs)

        wrapped = Lane(lane.topic, lane.decode, lane.transform, dear, lane.bands, lane.encode, lane.rows)
        return process(records, wrapped if records.topic.startswith(prefix) else lane, clock, first_seen)

    vars(loop)["process"] = slowed


if __name__ == "__main__":
    _, seconds, prefix, *arguments = sys.argv
    slow(float(seconds), prefix)
    sys.argv = ["scorer", *arguments]
    main()
