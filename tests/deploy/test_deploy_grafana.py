"""The dashboards: readable by whoever did not make them, on any data source, at any zoom."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from deploy_files import DASHBOARDS, DEPLOY, PROMETHEUS, dashboard, panels, read_yaml, series, uses

PANELS = [pytest.param(panel, id=f"{path.stem}: {panel['title']}") for path in DASHBOARDS for panel in panels(path)]
PROVISIONING = DEPLOY / "grafana" / "provisioning"
SHAPE = ["id", "type", "title", "description", "gridPos", "datasource", "targets", "fieldConfig", "options"]


def test_there_are_panels() -> None:
    """The tests below have something to look at."""
    assert len(PANELS) >= 20


@pytest.mark.parametrize("panel", PANELS)
def test_panel_explains_itself(panel: dict[str, Any]) -> None:
    """A panel has a title, a description in sentences, and a unit."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("panel", PANELS)
def test_panel_has_the_one_shape(panel: dict[str, Any]) -> None:
    """Panels have the same keys in the same order; only a table has transformations as well."""
    assert list(panel) == SHAPE + ["transformations"] * (panel["type"] == "table")


@pytest.mark.parametrize("panel", PANELS)
def test_panel_asks_the_chosen_data_source(panel: dict[str, Any]) -> None:
    """No panel is tied to one installation's data source."""
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert not any("datasource" in target for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_panel_follows_the_zoom_and_the_choices(panel: dict[str, Any]) -> None:
    """Every range is `$__rate_interval`, and every selector is narrowed by the job, and the topic where it has one."""
    known = series()
    for target in panel["targets"]:
        assert set(re.findall(r"\[([^\]]*)\]", target["expr"])) <= {"$__rate_interval"}
        for use in uses(target["expr"]):
            chosen = ["job", "topic"] if "topic" in known[use.metric] else ["job"]
            assert [matcher for matcher in use.matchers if "$" in matcher[2]] == [(v, "=~", f"${v}") for v in chosen]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_has_what_its_panels_refer_to(path: Path) -> None:
    """A dashboard has a uid, ids that differ, and a variable for its data source, job and topic."""
    board = dashboard(path)
    assert re.fullmatch(r"[a-z0-9-]{1,40}", board["uid"])
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    types = {name: variable["type"] for name, variable in variables.items()}
    assert types == {"datasource": "datasource", "job": "query", "topic": "query"}
    assert {variables[name]["datasource"]["uid"] for name in ("job", "topic")} == {"${datasource}"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_lie_side_by_side(path: Path) -> None:
    """No panel hides another or leaves the grid of 24 columns."""
    places = [panel["gridPos"] for panel in dashboard(path)["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [pair for pair in combinations(places, 2) if _overlap(*pair)]


def test_provisioned_data_source_knows_the_scrape_interval() -> None:
    """`$__rate_interval` is computed from the data source's interval, which is Prometheus'."""
    (source,) = read_yaml(PROVISIONING / "datasources" / "prometheus.yml")["datasources"]
    assert source["jsonData"]["timeInterval"] == read_yaml(PROMETHEUS / "prometheus.yml")["global"]["scrape_interval"]


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(one[a] < other[a] + other[n] and other[a] < one[a] + one[n] for a, n in (("x", "w"), ("y", "h")))
