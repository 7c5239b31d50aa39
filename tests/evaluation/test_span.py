"""The days of a slice: those from its first event to its last, whatever its shape, and no others for a wrong time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scorer.evaluation.assess import assess
from scorer.evaluation.fit import Goal
from scorer.evaluation.propose import propose
from scorer.evaluation.resample import Bootstrap
from scorer.evaluation.scored import Scored
from scorer.evaluation.span import DAY, Span, span, warnings
from tests.evaluation.events import simulated
from tests.report.reports import case

START = 1_750_000_000_000
RANDOM = np.random.default_rng(0)
Times = NDArray[np.int64]


def plain(times: Times) -> float:
    """Return the days from the first event to the last, an hour at least."""
    return max(float(np.ptp(times)), DAY / 24) / DAY


def days(*parts: tuple[float, float, int]) -> Times:
    """Return so many times, evenly drawn from one day to another, of each part."""
    return START + np.concatenate([RANDOM.integers(int(a * DAY), int(b * DAY), count) for a, b, count in parts])


SANE = {
    "a week": days((0, 7, 5_000)),
    "ten minutes": days((0, 1 / 144, 900)),
    "ten minutes and one event the next evening": days((0, 1 / 144, 900), (0.99, 1, 1)),
    "two days with a month between": days((0, 1, 100), (31, 32, 900)),
    "weekends only": days(*((7 * week, 7 * week + 2, 50) for week in range(20))),
    "200 events in three years": days((0, 1_000, 200)),
    "a slow beginning": days((0, 60, 20), (60, 61, 5_000)),
    "a growing topic": START + (DAY * 90 * (1 - np.geomspace(1e-4, 1, 4_000))).astype(np.int64),
    "late events, thinning out": START - (RANDOM.pareto(1.2, 4_000) * DAY / 10).clip(0, 40 * DAY).astype(np.int64),
}


@pytest.mark.parametrize("name", SANE)
def test_slices_of_every_sane_shape_are_as_long_as_they_are(name: str) -> None:
    """To the bit: nothing is left out, also of sparse, late, growing and broken off ones."""
    times = SANE[name]

    found = span([times])

    assert found == Span(int(times.min()), int(times.max()), 0)
    assert found.days == plain(times)
    assert warnings(found) == []


@given(st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=19))
def test_of_a_few_events_nobody_knows_which_time_is_wrong(times: list[int]) -> None:
    found = span([np.array(times)])

    assert found == Span(min(times), max(times), 0)
    assert found.days == (plain(np.array(times)) if len(set(times)) > 1 else None)


@pytest.mark.parametrize("name", [name for name in SANE if name != "200 events in three years"])
@pytest.mark.parametrize("wrong", [[0], [4_102_444_800_000], [0, 0, 1, 1_750_000_000, 4_102_444_800_000]])
def test_wrong_times_are_left_out_at_either_end(name: str, wrong: list[int]) -> None:
    """Of 1970, also in seconds, or of the year 2100: the days are those without them, to the bit, and it is said."""
    times = SANE[name]

    found = span([np.append(times, wrong)])

    assert found == Span(int(times.min()), int(times.max()), len(wrong))
    assert found.days == plain(times)
    assert "look for wrong times" in warnings(found)[0]


def test_at_most_one_event_in_twenty_is_left_out_of_an_end() -> None:
    """What is more is no mistake of a few events, but a part of the slice."""
    times = days((0, 7, 95))

    assert span([np.append(times, [0] * 5)]) == Span(int(times.min()), int(times.max()), 5)
    assert span([np.append(times, [0] * 6)]) == Span(0, int(times.max()), 0)


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=80), st.integers(1, 30), st.booleans())
def test_the_span_is_that_of_a_slow_walk_whatever_pieces_come(hours: list[int], size: int, far: bool) -> None:
    """From the middle outwards, event by event; of a table in pieces as of one that is whole."""
    times = np.array(hours) * DAY // 24
    times[:3] += 4_000 * DAY * far
    ordered = sorted(times.tolist())
    most = int(len(ordered) * 0.05)
    inner = [one // DAY for one in (ordered[most], ordered[len(ordered) - 1 - most])]
    near = [one for one in ordered if inner[0] <= one // DAY <= inner[1]]
    while True:
        reach = max(near[-1] - near[0], 7 * DAY)
        more = [one for one in ordered if near[0] - reach <= one <= near[-1] + reach]
        if more == near:
            break
        near = more

    found = span(times[start : start + size] for start in range(0, len(times), size))

    assert found == Span(near[0], near[-1], len(ordered) - len(near))


def test_without_events_or_times_there_are_no_days() -> None:
    assert span([]) is None
    assert span([np.zeros(0, np.int64)]) is None
    for found in (None, span([np.full(40, 5)])):
        assert warnings(found) == ["the events have no times: a day is the whole slice"]


def test_a_fit_and_a_page_count_days_without_a_wrong_time_and_say_so() -> None:
    """Rates, their intervals, and what a capacity allows are as without it, but for the one event."""
    scored = simulated(6_000, days=62.0)
    time = scored.time.copy()
    time[np.argmax(scored.label < 1)] = 0
    wrong, goal = replace(scored, time=time), Goal(capacity=5)

    def fitted(events: Scored) -> tuple[float, float]:
        made = propose(events, "t", {"review": 0.3, "block": 0.9}, "approve", goal, bootstrap=Bootstrap(rounds=200))
        interval = made.intervals["alerts_per_day"]
        return made.effect.reviews_per_day, interval.high - interval.low

    assert fitted(wrong) == pytest.approx(fitted(scored), rel=0.1)
    said = propose(wrong, "t", {"block": 0.5}, "approve", goal, bootstrap=Bootstrap(rounds=5)).warnings
    page = assess(case(wrong)).warnings
    assert any("1 event lies far outside of all other event times, 2023-11-14 to 2024-01-15" in one for one in said)
    assert any("1 event lies far outside" in one for one in page)
