"""Positions: every form is read as it is written, and a slice that cannot be is refused in one line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import SelectionError
from scorer.replay.positions import UNITS, At, Edge, Named, Position, parse, select

NOW = 1_542_672_000.0
EXTENT = {0: range(10, 20), 1: range(5), 2: range(7, 7)}


def times(milliseconds: int) -> Mapping[int, int]:
    """Look up times in a past where the record at offset n has the time n, in milliseconds."""
    return {number: max(milliseconds, held.start) for number, held in EXTENT.items() if milliseconds < held.stop}


def chosen(start: Position = Edge.BEGINNING, stop: Position = Edge.END) -> dict[int, range]:
    return select("t", EXTENT, start, stop, times)


@given(st.dictionaries(st.integers(0, 10**9 - 1), st.integers(0, 10**18 - 1), min_size=1))
def test_offsets_are_read_as_written(offsets: dict[int, int]) -> None:
    """`p0:123,p1:50` gives these offsets, whatever their number and size."""
    text = ",".join(f"p{number}:{offset}" for number, offset in offsets.items())
    assert parse(text, "--from", NOW) == Named(offsets)


ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=ZONES))
def test_a_time_is_the_first_millisecond_at_or_after_it(time: datetime) -> None:
    """An RFC 3339 time in any zone becomes milliseconds, rounded up: no record before it is in the slice."""
    position = parse(time.isoformat(), "--from", NOW)
    assert isinstance(position, At)
    rest = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=position.milliseconds) - time
    assert timedelta(0) <= rest < timedelta(milliseconds=1)


@given(st.integers(0, 10**5), st.sampled_from(sorted(UNITS)))
def test_a_time_ago_is_counted_from_the_given_clock(count: int, unit: str) -> None:
    """`-30m` is thirty minutes before the clock's time; before 1970 there is nothing to go back to."""
    assert parse(f"-{count}{unit}", "--to", NOW) == At(max(1_542_672_000_000 - count * UNITS[unit], 0))


def test_z_and_small_letters_are_rfc_3339_too() -> None:
    """`Z` is UTC, and letters may be small."""
    assert parse("2018-11-20t00:00:00z", "--from", 0.0) == At(1_542_672_000_000)


@pytest.mark.parametrize(
    "text",
    [
        *("", "start", "1h", "-1", "-1y", "--1h", "-1.5h", "now", "123", "2018-11-20", "2018-11-20T00:00:00"),
        *("2018-13-20T00:00:00Z", "2018-11-20T00:00:61Z", "2018-11-20T00:00:00+25:00", "0:12", "p0", "p0:", "p0:-1"),
        *("p0:1,", "p0:1,,p1:1", "p0:1;p1:1", "p0:1,p0:2", "p0:1,p00:2", "pa:1", "p0:1 "),
        *("p٣:1", "٢٠١٨-11-20T00:00:00Z", "p0:" + "9" * 5000),
    ],
)
def test_what_is_no_position_is_refused_with_its_option(text: str) -> None:
    """A bad position raises SelectionError in one line that names the option it was given to."""
    with pytest.raises(SelectionError, match=r"\A--from [^\n]*\Z"):
        parse(text, "--from", NOW)


@given(st.text(max_size=30))
def test_any_text_is_a_position_or_refused(text: str) -> None:
    """No text raises anything but SelectionError."""
    try:
        parse(text, "--from", NOW)
    except SelectionError:
        return


def test_by_default_everything_is_selected() -> None:
    """Beginning to end is what each partition holds."""
    assert chosen() == EXTENT


def test_partitions_that_are_not_named_are_taken_whole() -> None:
    """`--from p0:12 --to p1:3` leaves partition 0 its end and partition 1 its beginning."""
    assert chosen(Named({0: 12}), Named({1: 3})) == {0: range(12, 20), 1: range(3), 2: range(7, 7)}


def test_a_time_selects_half_open() -> None:
    """The record at the time of --from is in, the one at the time of --to is not; without one, it is the end."""
    assert chosen(At(3), At(12)) == {0: range(10, 12), 1: range(3, 5), 2: range(7, 7)}


def test_what_came_after_the_extent_was_asked_for_is_left_out() -> None:
    """A time that is found behind the extent, in records that came since, is the extent's end."""
    assert select("t", {0: range(10, 20)}, Edge.BEGINNING, At(1), lambda _: {0: 25}) == {0: range(10, 20)}


@pytest.mark.parametrize(
    ("start", "stop", "said"),
    [
        (Named({3: 1}), Edge.END, "--from p3: t has partitions 0 to 2 only"),
        (Edge.BEGINNING, Named({9: 1}), "--to p9: t has partitions 0 to 2 only"),
        (Named({0: 9}), Edge.END, "--from p0:9: t-0 holds offsets 10 to 19"),
        (Edge.BEGINNING, Named({0: 21}), "--to p0:21: t-0 holds offsets 10 to 19"),
        (Named({2: 8}), Edge.END, "--from p2:8: t-2 holds nothing"),
        (Named({0: 15}), Named({0: 14}), "t-0: --from is offset 15, after --to at 14"),
        (Edge.END, Edge.BEGINNING, "t-0: --from is offset 20, after --to at 10"),
        (At(900), At(800), "the time of --from is after that of --to"),
        (Edge.END, Edge.END, "nothing lies between --from and --to; t-0 holds offsets 10 to 19"),
        (At(100), Edge.END, "nothing lies between"),
    ],
)
def test_a_slice_that_cannot_be_is_refused(start: Position, stop: Position, said: str) -> None:
    """Unknown partitions, offsets not held, a start after the stop and an empty slice are told, with what there is."""
    with pytest.raises(SelectionError) as refused:
        chosen(start, stop)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("start", "stop", "hinted"),
    [(At(100), Edge.END, True), (Edge.BEGINNING, At(0), True), (Edge.END, Edge.END, False)],
)
def test_where_times_find_nothing_offsets_are_recommended(start: Position, stop: Position, hinted: bool) -> None:
    """A transaction's end has the broker's time: behind old timestamps, it is what a time finds."""
    with pytest.raises(SelectionError) as refused:
        select("t", {0: range(10, 20)}, start, stop, lambda at: {0: 10} if at == 0 else {})
    assert ("name offsets: --from p0:123" in str(refused.value)) == hinted


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_selected_slice_lies_in_the_extent(start: int, stop: int) -> None:
    """Whatever times are asked for, the slice is a part of what there is, and not empty."""
    try:
        selected = chosen(At(start), At(stop))
    except SelectionError:
        return
    assert any(selected.values())
    for number, held in EXTENT.items():
        assert held.start <= selected[number].start <= selected[number].stop <= held.stop
