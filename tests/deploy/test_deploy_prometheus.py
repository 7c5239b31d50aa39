"""The alerts: their syntax, what they ask for, what they tell a person, and when they fire."""

from __future__ import annotations

import re
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from deploy_files import (
    PROMETHEUS,
    Query,
    alert_queries,
    alerts,
    operands,
    panel_queries,
    read_yaml,
    series,
    tool,
    uses,
    without_macros,
)

from scorer.errors import Reason, Stage
from scorer.telemetry.catalogue import METRICS
from scorer.telemetry.facts import AbortReason, Client, RenewReason

TARGET = frozenset({"job", "instance"})
"""What Prometheus itself adds to every sample."""
CLOSED: dict[str, dict[str, type[StrEnum]]] = {
    "scorer_dead_letters_total": {"reason": Reason},
    "scorer_batches_aborted_total": {"reason": AbortReason},
    "scorer_producer_renewals_total": {"reason": RenewReason},
    "scorer_broker_troubles_total": {"client": Client},
    "scorer_stage_duration_seconds": {"stage": Stage},
}
QUERIES = [*panel_queries(), *alert_queries()]


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_configuration_is_valid() -> None:
    """Prometheus accepts the configuration and the rules that it names."""
    promtool("check", "config", PROMETHEUS / "prometheus.yml")
    promtool("check", "rules", PROMETHEUS / "rules.yml")


def test_alerts_fire_when_they_should_and_only_then() -> None:
    """Every expectation in rules_test.yml comes true."""
    promtool("test", "rules", PROMETHEUS / "rules_test.yml")


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_alert_is_tested_both_ways(alert: dict[str, Any]) -> None:
    """rules_test.yml has a test named after the alert, with a time at which it fires and one at which nothing does."""
    named = [test for test in read_yaml(PROMETHEUS / "rules_test.yml")["tests"] if _is_of(test, alert["alert"])]
    expected = [case.get("exp_samples", []) for test in named for case in test["promql_expr_test"]]
    assert any(f'"{alert["alert"]}"' in sample["labels"] for samples in expected for sample in samples)
    assert [] in expected


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_alert_tells_what_to_do(alert: dict[str, Any]) -> None:
    """An alert waits, has a severity, a one-line summary, and a description of more than a sentence."""
    assert re.fullmatch(r"[1-9]\d*m", alert["for"])
    assert alert["labels"]["severity"] in {"critical", "warning"}
    summary, description = alert["annotations"]["summary"], alert["annotations"]["description"]
    assert summary.endswith(".")
    assert len(summary) < 120
    assert "\n" not in summary
    assert len(re.findall(r"[.;:](?: |$)", description)) >= 2


@pytest.mark.parametrize("query", alert_queries(), ids=str)
def test_alert_shows_only_labels_that_its_result_has(query: Query) -> None:
    """`$labels.x` in a text is a label that the expression keeps, or the text would have a hole."""
    first = operands(query.expr)[0]
    (use, *_) = uses(first)
    kept = use.labels if re.search(r"\bby\b", first) else series()[use.metric] | TARGET
    assert query.shows <= kept


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_names_only_metrics_and_labels_that_exist(query: Query) -> None:
    """Every metric is one of the page's, every label is one of that metric's, and a closed label has such a value."""
    known = series()
    found = list(uses(query.expr))
    assert found, query.expr
    for use in found:
        assert use.metric in known
        assert use.labels <= known[use.metric] | TARGET
        for label, _, text in use.matchers:
            values = CLOSED.get(re.sub(r"_(bucket|sum|count)$", "", use.metric), {}).get(label)
            assert values is None or set(text.split("|")) <= {member.value for member in values}


def test_every_metric_is_looked_at() -> None:
    """No metric of the catalogue is missing from both the dashboard and the alerts."""
    used = {use.metric for query in QUERIES for use in uses(query.expr)}
    ends = ("", "_bucket", "_sum", "_count")
    assert [m.name for m in METRICS if not any(m.name + end in used for end in ends)] == []


def test_panel_expressions_are_promql(tmp_path: Path) -> None:
    """Prometheus parses every panel's expression, as a recording rule that is made of it here."""
    rules = [{"record": f"panel_{n}", "expr": without_macros(q.expr)} for n, q in enumerate(panel_queries())]
    lines = "".join(f"  - {{record: {rule['record']}, expr: '{rule['expr']}'}}\n" for rule in rules)
    path = tmp_path / "panels.yml"
    path.write_text(f"groups:\n- name: panels\n  rules:\n{lines}")
    promtool("check", "rules", path)


@pytest.mark.parametrize(
    ("expr", "parts"),
    [
        ("up == 0", ["up", "0"]),
        ('a{b!="c"} / (d > 1) >= 3\nand\ne == 0', ['a{b!="c"} / (d > 1)', "3", "e", "0"]),
        ("sum by (and) (x) unless y", ["sum by (and) (x)", "y"]),
    ],
)
def test_operands(expr: str, parts: list[str]) -> None:
    """An alert is cut at its outermost comparisons and joints, and nowhere else."""
    assert operands(expr) == parts


def test_uses() -> None:
    """Selectors and the grouping around a metric are its labels; those around another metric are not."""
    expr = 'sum by (a, le) (rate(x_bucket{b=~"c|d"}[5m])) / on (k) max by (e) (y)'
    found = {use.metric: use for use in uses(expr.replace("on (k) ", ""))}
    assert found["x_bucket"].labels == {"a", "le", "b"}
    assert found["x_bucket"].matchers == (("b", "=~", "c|d"),)
    assert found["y"].labels == {"e"}


def _is_of(test: dict[str, Any], alert: str) -> bool:
    return bool(re.match(rf"{alert}\b", test["name"]))
