"""What `deploy/` holds, as the tests see it: panels and rules down to their PromQL."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from scorer.telemetry.catalogue import METRICS, Kind
from scorer.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, where it stands, and the labels that a legend or a text shows of its result."""

    where: str
    expr: str
    shows: frozenset[str]

    def __str__(self) -> str:
        return self.where


def tool(name: str) -> str:
    """Return the path of a program; skip where it is missing, fail under SCORER_REQUIRE_ALL=1."""
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not installed; Debian's package `prometheus` has it"
        if os.environ.get("SCORER_REQUIRE_ALL") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def dashboard(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def panels(path: Path) -> list[dict[str, Any]]:
    """Return a dashboard's panels, those inside collapsed rows too, but not the rows."""
    top = dashboard(path)["panels"]
    return [panel for panel in [*top, *(inner for row in top for inner in row.get("panels", []))] if _draws(panel)]


def panel_queries() -> list[Query]:
    """Return every panel's queries, with Grafana's macros still in them."""
    return [
        Query(
            f"{path.name}: {panel['title']}",
            target["expr"],
            frozenset(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"])),
        )
        for path in DASHBOARDS
        for panel in panels(path)
        for target in panel["targets"]
    ]


def alerts() -> list[dict[str, Any]]:
    """Return the alerting rules, as written."""
    return [rule for group in read_yaml(PROMETHEUS / "rules.yml")["groups"] for rule in group["rules"]]


def alert_queries() -> list[Query]:
    """Return every alert's expression, whole."""
    return [
        Query(
            f"rules.yml: {rule['alert']}",
            rule["expr"],
            frozenset(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))),
        )
        for rule in alerts()
    ]


def without_macros(expr: str, window: str = "1m") -> str:
    """Return a panel's expression as Grafana would send it, with everything chosen in its variables."""
    expr = expr.replace("$__rate_interval", window)
    return re.sub(r"\$\{?(job|topic)\}?", ".+", expr)


def operands(expr: str) -> list[str]:
    """Return what an alert compares and joins: the parts between comparisons, `and`, `or` and `unless`.

    They have data while all is well, where the whole has none.
    """
    # Whatever stands in brackets is blanked out, at equal length: only operators of the outermost level are left.
    outer, depth = [], 0
    for character in expr:
        depth -= character in ")}]"
        outer.append(character if depth == 0 else " ")
        depth += character in "({["
    cuts = [match.span() for match in re.finditer(r"\b(?:and|or|unless)\b|[<>=!]=|[<>]", "".join(outer))]
    starts, ends = [0, *(end for _, end in cuts)], [*(start for start, _ in cuts), len(expr)]
    return [" ".join(expr[start:end].split()) for start, end in zip(starts, ends, strict=True)]


@dataclass(frozen=True, slots=True)
class Use:
    """One place where an expression names a metric: the labels that it selects or groups by there."""

    metric: str
    labels: frozenset[str]
    matchers: tuple[tuple[str, str, str], ...] = ()


def uses(expr: str) -> Iterator[Use]:
    """Yield every metric of an expression with its selectors' labels, and with those that are aggregated by over it."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without)\s*\([^)]*\)", lambda m: " " * len(m[0]), expr)
    # What an opening bracket follows is a function.
    words = re.finditer(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)
    names = [(m.start(), m[0]) for m in words if m[0] not in {"and", "or", "unless"}]
    for start, name in names:
        selector = re.match(r"\{([^}]*)\}", expr[start + len(name) :])
        matchers = tuple(re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', selector[1] if selector else ""))
        yield Use(name, frozenset(label for label, _, _ in matchers) | _grouped(expr, start), matchers)


def series() -> dict[str, frozenset[str]]:
    """Return the labels of every series that the metrics page can show, by its name in a query; and of `up`."""
    names = {"up": frozenset[str]()}
    for metric in METRICS:
        labels = frozenset(metric.labels)
        parts = {"_bucket": labels | {"le"}, "_sum": labels, "_count": labels}
        names |= {metric.name + part: had for part, had in parts.items()} if metric.kind is Kind.HISTOGRAM else {}
        names |= {} if metric.kind is Kind.HISTOGRAM else {metric.name: labels}
    # What the page shows beside the catalogue: the process' own.
    for family in Metrics(clock=lambda: 0.0).registry.collect():
        names |= {sample.name: frozenset(sample.labels) for sample in family.samples if sample.name not in names}
    return names


def _grouped(expr: str, position: int) -> frozenset[str]:
    """Return the labels of every `by (…) (…)` whose second bracket holds the position."""
    labels: set[str] = set()
    for match in re.finditer(r"\bby\s*\(([^)]*)\)\s*\(", expr):
        if match.end() <= position < _closing(expr, match.end()):
            labels.update(label.strip() for label in match[1].split(","))
    return frozenset(labels)


def _closing(expr: str, start: int) -> int:
    depth = 1
    for position in range(start, len(expr)):
        depth += (expr[position] == "(") - (expr[position] == ")")
        if depth == 0:
            return position
    raise ValueError(f"unbalanced brackets: {expr}")


def _draws(panel: dict[str, Any]) -> bool:
    return bool(panel["type"] != "row")
