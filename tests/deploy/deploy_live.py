"""A real Prometheus with our configuration, and the question whether every panel and rule finds something in it."""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import yaml
from deploy_files import DASHBOARDS, PROMETHEUS, alert_queries, dashboard, operands, panel_queries, tool, without_macros

SECONDS = 5.0


@contextmanager
def running_prometheus(target: str, directory: Path) -> Iterator[str]:
    """Run Prometheus with our configuration and rules, every second, on `target` (host:port); give its URL."""
    port = _free_port()
    settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in settings["scrape_configs"]:
        job["static_configs"] = [{"targets": [target]}]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(settings))
    shutil.copy(PROMETHEUS / "rules.yml", directory)
    command = [
        tool("prometheus"),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def evaluate_all(url: str, *, window: str = "1m") -> list[str]:
    """Return what does not work on the Prometheus at `url`, one line each; an empty list when everything has data.

    Asked are every panel's query, both sides of every comparison of every alert, every dashboard variable, and whether
    Prometheus scrapes its targets and evaluates our rules without an error. Data is at least one finite number; where
    a legend shows a label, every series must have it. `window` stands for `$__rate_interval`.
    """
    failures = [*_unhealthy(url), *_empty_variables(url)]
    for query in panel_queries():
        failures += _faults(url, query.where, without_macros(query.expr, window), query.shows)
    for query in alert_queries():
        for operand in operands(query.expr):
            failures += _faults(url, query.where, operand, frozenset())
    return failures


def _faults(url: str, where: str, expr: str, shows: frozenset[str]) -> list[str]:
    answer = _get(url, "/api/v1/query?" + urlencode({"query": expr}))
    if answer["status"] != "success":
        return [f"{where}: {expr}: {answer['error']}"]
    data = answer["data"]
    series = [({}, data["result"])] if data["resultType"] == "scalar" else _series(data["result"])
    if not any(math.isfinite(float(value)) for _, (_, value) in series):
        return [f"{where}: {expr}: no data ({len(series)} series without a number)"]
    unnamed = {label for labels, _ in series for label in shows - labels.keys()}
    return [f"{where}: {expr}: the legend shows {label}, which a series has not" for label in sorted(unnamed)]


def _series(result: list[dict[str, Any]]) -> list[tuple[dict[str, str], list[Any]]]:
    return [(one["metric"], one["value"]) for one in result]


def _unhealthy(url: str) -> list[str]:
    targets = _get(url, "/api/v1/targets?state=active")["data"]["activeTargets"]
    down = [
        f"target {one['scrapeUrl']}: {one['health']} {one['lastError']}" for one in targets if one["health"] != "up"
    ]
    groups = _get(url, "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    bad = [
        f"rule {rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in rules if rule["health"] != "ok"
    ]
    missing = [] if targets and rules else [f"{len(targets)} targets and {len(rules)} rules: none may be missing"]
    return [*down, *bad, *missing]


def _empty_variables(url: str) -> list[str]:
    failures = []
    for path in DASHBOARDS:
        for variable in dashboard(path)["templating"]["list"]:
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable.get("definition", ""))
            if found:
                match = quote(without_macros(found[1]))
                values = _get(url, f"/api/v1/label/{found[2]}/values?match[]={match}").get("data")
                failures += [] if values else [f"{path.name}: variable {variable['name']}: no values"]
    return failures


def _get(url: str, path: str) -> dict[str, Any]:
    """Return Prometheus' answer, also where it says what is wrong with the query."""
    try:
        with urlopen(url + path, timeout=SECONDS) as response:
            answer: dict[str, Any] = json.load(response)
    except HTTPError as error:
        with error:
            answer = json.load(error)
    return answer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
