"""The breaker: a topic whose events turn into dead letters is stopped before they are delivered. Times are numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.service.breaker import ENOUGH, PROBE_SECONDS, WINDOW, Breakers


def test_a_storm_is_stopped_by_the_batch_that_shows_it() -> None:
    """All of a large batch is dead: it may not be delivered, and the topic is not to be read."""
    breakers = Breakers({"t": 0.2})
    assert breakers.breach("t", 4096, 4096, now=10.0) == 1.0
    assert breakers.stopped(10.0) == breakers.stopped(10.0 + PROBE_SECONDS - 0.1) == {"t"}
    assert breakers.stopped(10.0 + PROBE_SECONDS) == frozenset()


def test_a_few_events_prove_nothing() -> None:
    """Three tombstones on a quiet topic are three dead letters, no storm."""
    breakers = Breakers({"t": 0.2})
    for _ in range(3):
        assert breakers.breach("t", 1, 1, now=0.0) is None
        assert breakers.settle("t", 1, 1) is False
    for _ in range(ENOUGH - 4):
        assert breakers.breach("t", 1, 0, now=0.0) is None
        breakers.settle("t", 1, 0)


def test_small_batches_add_up() -> None:
    """A storm in batches of one is found once enough of it came, and most of a window of good events is no excuse."""
    breakers = Breakers({"t": 0.2})
    breakers.settle("t", WINDOW, 0)
    delivered = 0
    while breakers.breach("t", 1, 1, now=0.0) is None:
        breakers.settle("t", 1, 1)
        delivered += 1
    assert delivered == pytest.approx(0.25 * WINDOW, abs=2)


def test_a_trial_that_fails_stops_the_topic_again() -> None:
    """After the pause one batch is tried; also one event is enough to see that nothing has changed."""
    breakers = Breakers({"t": 0.2})
    breakers.breach("t", 200, 200, now=0.0)
    assert breakers.breach("t", 1, 1, now=PROBE_SECONDS) == 1.0
    assert breakers.stopped(PROBE_SECONDS + 1) == {"t"}


def test_a_trial_that_passes_resumes_the_topic() -> None:
    """A batch within the limit ends the stop, once it is delivered; the past is forgotten."""
    breakers = Breakers({"t": 0.2})
    breakers.breach("t", 200, 200, now=0.0)
    assert breakers.breach("t", 200, 10, now=PROBE_SECONDS) is None
    assert breakers.settle("t", 200, 10) is True
    assert breakers.settle("t", 200, 10) is False
    assert breakers.stopped(PROBE_SECONDS) == frozenset()


def test_topics_are_told_apart() -> None:
    """One topic's storm is nothing to another, and a topic without a limit never stops."""
    breakers = Breakers({"a": 0.2, "b": 0.2})
    breakers.breach("a", 200, 200, now=0.0)
    assert breakers.breach("b", 200, 10, now=0.0) is None
    assert breakers.breach("c", 200, 200, now=0.0) is None
    assert breakers.settle("c", 200, 200) is False
    assert breakers.stopped(1.0) == {"a"}


@given(st.lists(st.tuples(st.integers(1, 300), st.floats(0, 1)), max_size=60), st.floats(0, 0.9))
def test_what_is_delivered_stays_within_the_limit(batches: list[tuple[int, float]], limit: float) -> None:
    """Until the first stop, no window of enough delivered events holds a larger share of dead letters."""
    breakers, past = Breakers({"t": limit}), []
    for events, share in batches:
        dead = int(events * share)
        if breakers.breach("t", events, dead, now=0.0) is not None:
            break
        breakers.settle("t", events, dead)
        past.append((events, dead))
        recent = past[-1:]
        while len(recent) < len(past) and sum(e for e, _ in recent) < WINDOW:
            recent = past[-len(recent) - 1 :]
        if sum(e for e, _ in recent) >= ENOUGH:
            assert sum(d for _, d in recent) / sum(e for e, _ in recent) <= limit
