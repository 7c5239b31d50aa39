"""What the latency benchmark makes of times."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.latency import NUMBER, RANKS, Run, first_seen, medians, percentiles


def test_a_percentile_is_a_time_that_was_seen_and_that_share_of_events_took_no_longer() -> None:
    """Of 1 to 1,000 ms, the ranks are the 500th, 950th, 990th, 999th and the last, whatever the order."""
    seconds = np.random.default_rng(0).permutation(np.arange(1, 1001)) / 1000

    assert percentiles(seconds) == pytest.approx({"p50": 500, "p95": 950, "p99": 990, "p99.9": 999, "max": 1000})


def test_the_first_sight_of_an_event_counts_in_an_echo_and_in_a_decision() -> None:
    """An event that comes again keeps its first time; a decision's own id is no event's."""
    echo, decision = b'{"id":1,"a":2.5}', b'{"decision_id":"in-0-7","event_id":0,"topic":"in"}'

    assert NUMBER.findall(decision) == [b"0"]
    assert first_seen([(1.0, [echo]), (2.0, [decision]), (3.0, [echo])], 2).tolist() == [2.0, 1.0]


def test_an_event_that_never_came_is_no_result() -> None:
    """Two sights of one event do not stand for two events."""
    with pytest.raises(RuntimeError, match="1 of 2 events"):
        first_seen([(1.0, [b'{"id":1}', b'{"id":1}'])], 2)


def test_medians_are_of_the_rounds_of_one_program_mode_and_rate() -> None:
    """Other programs, modes and rates have no part in them."""
    runs = [Run("echo", "exactly-once", 1000, dict.fromkeys(RANKS, ms)) for ms in (1.0, 9.0, 2.0)]
    others = [Run("scorer run", "exactly-once", 1000, {}), Run("echo", "exactly-once", 5000, {})]

    assert medians([*runs, *others], "echo", "exactly-once", 1000) == dict.fromkeys(RANKS, 2.0)
