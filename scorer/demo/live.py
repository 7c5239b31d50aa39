"""The demo's live table, fed from the service's own `/metrics` as Prometheus would be."""

from __future__ import annotations

import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table


@dataclass(slots=True)
class TopicFigures:
    """One topic's row: settled events, decisions by band, dead letters, lag, and the ages' cumulative buckets."""

    events: float = 0
    decisions: dict[str, float] = field(default_factory=dict)
    dead_letters: float = 0
    lag: float = 0
    ages: list[tuple[float, float]] = field(default_factory=list)

    def age(self, quantile: float) -> float:
        """Return a quantile of the events' ages in seconds, interpolated in its bucket as Prometheus does."""
        rank = quantile * (self.ages[-1][1] if self.ages else 0)
        below, before = 0.0, 0.0
        for edge, count in self.ages:
            if count >= rank and count > before:
                return below if edge == float("inf") else below + (edge - below) * (rank - before) / (count - before)
            below, before = edge, count
        return 0.0


def scrape(port: int) -> dict[str, TopicFigures]:
    """Read the metrics page; raises OSError where nobody answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        text = page.read().decode()
    figures: dict[str, TopicFigures] = defaultdict(TopicFigures)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "topic" in sample.labels:
                _note(figures[sample.labels["topic"]], sample.name, sample.labels, sample.value)
    return dict(figures)


def _note(figures: TopicFigures, name: str, labels: dict[str, str], value: float) -> None:
    match name:
        case "scorer_events_total":
            figures.events = value
        case "scorer_decisions_total":
            figures.decisions[labels["decision"]] = value
        case "scorer_dead_letters_total":
            figures.dead_letters += value
        case "scorer_consumer_lag":
            figures.lag += value
        case "scorer_event_age_seconds_bucket":
            figures.ages.append((float(labels["le"]), value))
        case _:
            pass


def table(topics: Sequence[str], now: dict[str, TopicFigures], rates: dict[str, float]) -> Table:
    """Return the live table: one row a topic."""
    grid = Table(title="scorer, live", title_justify="left")
    for heading in ("topic", "events/s", "events", "decisions", "dead letters", "lag", "age p50", "age p99"):
        grid.add_column(heading, justify="left" if heading in {"topic", "decisions"} else "right")
    for topic in topics:
        row = now.get(topic, TopicFigures())
        decisions = "  ".join(f"{name} {count:,.0f}" for name, count in row.decisions.items())
        ages = [f"{row.age(quantile) * 1000:,.0f} ms" for quantile in (0.5, 0.99)]
        rate = f"{rates.get(topic, 0):,.0f}"
        grid.add_row(topic, rate, f"{row.events:,.0f}", decisions, f"{row.dead_letters:,.0f}", f"{row.lag:,.0f}", *ages)
    return grid
