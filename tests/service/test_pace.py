"""The pace: how many events of each topic fit into its share of time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scorer.service.pace import Pace


def test_the_first_batch_is_one_call() -> None:
    """Nobody knows yet what a model costs: one call tells."""
    pace = Pace({"t": 64}, 4096, 0.5)
    assert pace.share("t") == pace.most == 64


def test_a_quick_model_gets_the_whole_batch() -> None:
    """What costs ten microseconds an event is never cut short."""
    pace = Pace({"a": 1024, "b": 1024}, 4096, 0.5)
    for topic in "ab":
        pace.spent(topic, 1024, 0.01)
    assert pace.share("a") == pace.share("b") == pace.most == 4096


def test_a_slow_model_gets_its_share_of_the_time() -> None:
    """At 10 ms an event, two topics, half a second: 25 events."""
    pace = Pace({"slow": 1, "quick": 1}, 4096, 0.5)
    pace.spent("slow", 100, 1.0)
    pace.spent("quick", 100, 0.001)
    assert pace.share("slow") == 25
    assert pace.share("quick") == 4096


def test_a_share_is_no_less_than_one_call() -> None:
    """Calls are filled up: a smaller share would cost as much, and be measured as dearer still."""
    pace = Pace({"t": 16}, 4096, 0.5)
    for _ in range(20):
        pace.spent("t", pace.share("t"), 2.0)
    assert pace.share("t") == 16


def test_a_lone_event_does_not_make_its_topic_dear() -> None:
    """One event costs a whole call: it is the call's rows that are counted."""
    pace = Pace({"t": 1024}, 4096, 0.5)
    pace.spent("t", 1, 0.001)
    assert pace.share("t") == 4096


def test_a_small_batch_is_never_exceeded() -> None:
    """`max_events` holds also for a model of more rows."""
    pace = Pace({"t": 1024}, 7, 0.5)
    assert pace.share("t") == pace.most == 7


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 100)), max_size=30), st.integers(1, 64))
def test_shares_stay_within_their_bounds(past: list[tuple[int, float]], rows: int) -> None:
    """Whatever was measured, a share is at least one call and at most a batch."""
    pace = Pace({"t": rows}, 4096, 0.5)
    for events, seconds in past:
        pace.spent("t", events, seconds)
        assert rows <= pace.share("t") <= 4096
