"""What an operator looks at has data: a real Prometheus, our rules and dashboard, and a `scorer run` at work."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.error import URLError

from bundles import frame_of, payloads
from deploy_live import evaluate_all, running_prometheus
from e2e_world import Progress, Topics, running, send, write_settings

from scorer.bundle import Bundle

DEADLINE = 90.0


def test_every_panel_and_rule_has_data_from_a_running_scorer(bootstrap: str, cards: Bundle, tmp_path: Path) -> None:
    """Every expression of the dashboard and of the alert rules finds data while a real service scores real messages."""
    topics = Topics.called("dashboards")
    topics.create(bootstrap)
    settings = write_settings(tmp_path / "scorer.yaml", bootstrap, topics, cards.path)
    values = payloads(frame_of(300, seed=11))
    progress = Progress(bootstrap, topics)
    with running(settings) as scorer, running_prometheus(f"127.0.0.1:{scorer.port}", tmp_path) as url:
        sent, deadline, failures = 0, time.monotonic() + DEADLINE, ["nothing was asked yet"]
        while failures and time.monotonic() < deadline:
            send(bootstrap, topics.source, [*((b"key", value) for value in values), (b"key", b"broken")])
            sent += len(values) + 1
            progress.reach(sent, scorer)
            failures = _failures(url)
    progress.close()
    assert not failures


def _failures(url: str) -> list[str]:
    try:
        return evaluate_all(url)
    except URLError as error:
        return [f"Prometheus does not answer: {error}"]
