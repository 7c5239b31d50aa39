"""What a replay that goes on publishes: what the interrupted one did not."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from scorer.records import Outgoing
from scorer.replay.published import Published

PLACES = [(partition, offset) for partition in range(2) for offset in range(6)]


def decision(partition: int, offset: int, topic: str = "payments") -> bytes:
    return json.dumps({"topic": topic, "partition": partition, "offset": offset, "score": 0.5}).encode()


@given(st.sets(st.sampled_from(PLACES)), st.booleans())
def test_nothing_is_published_twice_and_nothing_left_out(there: set[tuple[int, int]], headers: bool) -> None:
    """Keys and headers stay with their decisions, whatever others have written into the topic."""
    found = Published("payments", {1: 3})
    found.add([b"no decision", None, decision(0, 0, "other"), *(decision(*place) for place in sorted(there))])
    given = [place for place in PLACES if place >= (1, 3) or place[0] == 0]
    batch = Outgoing(
        decisions_topic="d",
        keys=[str(place).encode() for place in given],
        values=[decision(*place) for place in given],
        dead_letters_topic="l",
        headers=[[("place", str(place).encode())] for place in given] if headers else (),
    )

    left = found.left(batch)

    wanted = [place for place in given if place not in there]
    assert list(left.values) == [decision(*place) for place in wanted]
    assert list(left.keys) == [str(place).encode() for place in wanted]
    assert list(left.headers) == ([[("place", str(place).encode())] for place in wanted] if headers else [])
