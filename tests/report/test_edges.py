"""Edges on the page: what is typed stays and is what the YAML has, and the counts are of it or say of what."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml

from scorer.config.bands import check_bands
from scorer.evaluation.assess import assess, same_scores
from scorer.evaluation.effect import MOST_EDGES, sweep
from scorer.evaluation.scored import Scored
from scorer.report.page import page
from tests.evaluation.events import simulated
from tests.report import reports
from tests.report.browser import acted
from tests.report.cards import CARDS, check

NOTE = re.compile(r"Counts are of (\w+) from ([0-9.]+), the nearest edge above ([0-9.]+) .*?: ([0-9,]+) at most")


def typed(made: Scored, tries: list[tuple[int, str]], directory: Path) -> list[Any]:
    """Return what the page says after each edge was typed, one after another."""
    report = assess(reports.case(made, costs=reports.COSTS, capacity=20.0))
    script = f"""{CARDS}
return {msgspec.json.encode(tries).decode()}.map(([band, text]) => {{ type(band, text); return read(); }});"""
    said: list[Any] = acted(page(report), script, directory)
    return said


def bands(said: Any) -> list[float]:
    """Return the edges of the YAML; they must be such as the configuration takes."""
    found = yaml.safe_load(said["yaml"])["topics"]["payments"]["bands"]
    assert check_bands(found, "page") == []
    return list(found.values())


def test_a_typed_edge_stays_as_it_was_typed_and_the_page_says_whose_counts_it_shows(tmp_path: Path) -> None:
    """Of 20,000 scores: in its box and in the YAML to the digit; counts of another edge are told with its value."""
    scored = simulated(20_000, rate=0.1, unknown=0.1)
    tries = [(0, text) for text in ("0.0371", "0.0001", "0.3333", "0.35", "0.2", "0.123456", "0.0000001", "0.60000001")]

    said = typed(scored, [*tries, (1, "0.8123"), (1, "0.99999")], tmp_path)

    for (_, text), one in zip(tries, said, strict=False):
        assert one["boxes"][0] == text
        assert f"review: {text}\n" in one["yaml"]
        assert bands(one)[0] == float(text)
    exact = [one for one in said if not one["note"]]
    assert [one["boxes"][0] for one in exact[:4]] == ["0.0001", "0.35", "0.2", "0.0000001"]
    assert {one["boxes"][0] for one in said if one["note"]} >= {"0.3333", "0.123456"}
    for one in said:
        counted = dict(zip(reports.BANDS, bands(one), strict=True))
        for name, next_edge, edge, more in NOTE.findall(one["note"]):
            assert counted[name] == float(edge)
            counted[name] = float(next_edge)
            between = (scored.score >= np.float32(edge)) & (scored.score < np.float32(next_edge))
            assert np.count_nonzero(between) <= int(more.replace(",", ""))
        check(one, scored, list(counted.values()))


def test_of_few_scores_every_edge_is_counted_exactly(tmp_path: Path) -> None:
    scored = simulated(400, rate=0.2)
    texts = [f"{edge:.4f}" for edge in np.random.default_rng(3).uniform(0.0001, 0.7, 60)]

    said = typed(scored, [(0, text) for text in texts], tmp_path)

    for text, one in zip(texts, said, strict=True):
        assert one["note"] == ""
        check(one, scored, [float(text), reports.BANDS["block"]])


@pytest.mark.parametrize(
    ("band", "text", "why"),
    [
        (0, "", ""),
        (0, "1e", ""),
        (0, "0", "0 is not between 0 and 1; review stays at 0.35."),
        (0, "-0.2", "-0.2 is not between 0 and 1; review stays at 0.35."),
        (1, "1.5", "1.5 is not between 0 and 1; block stays at 0.75."),
        (1, "0.99999999999", "0.99999999999 is not between 0 and 1; block stays at 0.75."),
        (0, "0.8", "0.8 is not below 0.75, where block begins; review stays at 0.35."),
        (1, "0.35", "0.35 is not above 0.35, where review begins; block stays at 0.75."),
    ],
)
def test_an_edge_that_cannot_be_changes_nothing(band: int, text: str, why: str, tmp_path: Path) -> None:
    """An empty box, an edge out of (0, 1) or beyond a neighbour: the last edge is back, and the page says why."""
    script = f"""{CARDS} const before = read(); type({band}, {text!r}); return [before, read()];"""

    before, after = acted(page(reports.full()), script, tmp_path)

    assert after == {**before, "note": why}


def test_an_unfinished_number_is_put_back_when_its_box_is_left(tmp_path: Path) -> None:
    script = f"""{CARDS} box(0).focus(); box(0).value = ""; box(0).blur(); return read();"""

    assert acted(page(reports.full()), script, tmp_path)["boxes"] == ["0.35", "0.75"]


def test_arrow_keys_move_a_typed_edge_to_the_edges_beside_it(tmp_path: Path) -> None:
    """In its box, as on its slider; a number that was not taken yet counts."""
    script = f"""{CARDS}
return ["ArrowUp", "ArrowDown", "ArrowDown"].map((key) => {{
  if (key === "ArrowUp") box(0).value = "0.12345";
  press(box(0), key);
  return read();
}});"""
    report = reports.full()

    said = acted(page(report), script, tmp_path)

    grid = np.array(report.sweep.edges, np.float32)
    above = int(np.searchsorted(grid, np.float32(0.12345)))
    edges = [np.float32(bands(one)[0]) for one in said]
    assert edges == [grid[above], grid[above - 1], grid[above - 2]]
    for one in said:
        assert one["note"] == ""
        check(one, simulated(4_000, rate=0.1, unknown=0.1), bands(one))


def test_sliders_push_each_other_on_and_never_onto_one_edge(tmp_path: Path) -> None:
    """To both ends: the YAML stays one that the configuration takes."""
    script = f"""{CARDS}
return [[0, 1000], [1, -1000], [0, 5000], [1, 0], [0, -5000]].map(([band, places]) => {{
  slide(band, places);
  return read();
}});"""

    for report in (reports.full(), reports.lone(), reports.lone(0.0), reports.lone(1.0)):
        for one in acted(page(report), script, tmp_path):
            bands(one)


def test_a_sweep_counts_the_events_between_its_edges_and_has_those_that_matter() -> None:
    """Bands' own edges, hundredths, and no gap of more than a twentieth of the alerts above; all scores if few."""
    scored = simulated(50_000)

    found = sweep(scored, [0.0371, 0.7], None)

    grid = np.array(found.edges, np.float32)
    assert {np.float32(0.0371), np.float32(0.7), np.float32(0.12), scored.score.max()} <= set(grid)
    assert len(grid) <= MOST_EDGES
    for place in range(len(grid) - 1):
        inside = np.count_nonzero((scored.score > grid[place]) & (scored.score < grid[place + 1]))
        assert found.between[place] == inside
        assert inside <= max(0.05 * found.alerts[place + 1], 3)
    assert found.between[-1] == 0
    few = sweep(simulated(400), [0.3], None)
    assert len(few.edges) == len(few.between) > 400
    assert set(few.between) == {0}


def test_edges_before_and_proposed_are_counted_exactly() -> None:
    """They are in the sweep, whatever the other side decided with."""
    made = reports.case(simulated(20_000))
    before = msgspec.structs.replace(made.side, bands={"review": 0.31234, "block": 0.81234})

    found = assess(replace(made, earlier=same_scores(made, before)))

    assert {float(np.float32(edge)) for edge in (0.31234, 0.81234, 0.35, 0.75)} <= set(found.sweep.edges)


def test_a_page_of_many_events_stays_small() -> None:
    report = assess(reports.beside(reports.case(simulated(200_000), costs=reports.COSTS)))

    assert len(page(report).encode()) < 200_000


def test_where_only_bands_changed_the_highest_scores_come_first_and_no_score_is_said_to_move(tmp_path: Path) -> None:
    """The list is of the highest scores among all events that are decided otherwise, under a title that fits."""
    made = reports.case(simulated(5_000))
    before = msgspec.structs.replace(made.side, bands={"review": 0.2, "block": 0.75})
    report = assess(replace(made, earlier=same_scores(made, before)))

    text = acted(page(report), "return document.body.innerText;", tmp_path)

    assert report.difference
    flipped = made.scored.score[(made.scored.score >= np.float32(0.2)) & (made.scored.score < np.float32(0.35))]
    listed = [one.after_score for one in report.difference.worst]
    assert listed == np.sort(flipped)[::-1][:100].tolist()
    assert f"What is decided otherwise: 100 of {len(flipped):,}, the highest scores first" in text
    assert "moved by" not in text
    assert "largest changes" not in text
