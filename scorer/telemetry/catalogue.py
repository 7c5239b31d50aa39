"""Every metric of the scorer, in one closed table: the page, the README, the rules and the dashboards follow it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The Prometheus type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric, by the name a query uses; `buckets` are a histogram's upper edges, in the unit of its name.

    Compared by identity: a metric is a key of the hot path, and hashing all its fields would cost a microsecond.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()


# Three edges a decade around a batch's few milliseconds; a stage of ten seconds is an incident whatever its length.
_STAGE_EDGES = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_BATCH_EDGES = (1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
# 1 ms to 1 h: fine where a freshness objective lies, coarse where a backlog is worked off.
_AGE_EDGES = (1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
# Twentieths, and finer at both ends, where the scores of rare events crowd and bands are drawn.
_SCORE_EDGES = (0.001, 0.005, 0.01, 0.025, *(step / 20 for step in range(1, 20)), 0.975, 0.99, 0.995, 0.999, 1.0)

EVENTS: Final = Metric(
    "scorer_events_total", Kind.COUNTER, ("topic",), "Events settled: decided or dead-lettered, and committed."
)
DECISIONS: Final = Metric("scorer_decisions_total", Kind.COUNTER, ("topic", "decision"), "Decisions, by band.")
DEAD_LETTERS: Final = Metric(
    "scorer_dead_letters_total", Kind.COUNTER, ("topic", "reason"), "Events sent to the dead-letter topic, by reason."
)
STAGE_DURATION: Final = Metric(
    "scorer_stage_duration_seconds",
    Kind.HISTOGRAM,
    ("topic", "stage"),
    "Seconds that a micro-batch spent in a stage.",
    _STAGE_EDGES,
)
BATCH_EVENTS: Final = Metric(
    "scorer_batch_events", Kind.HISTOGRAM, ("topic",), "Events of a topic in a micro-batch.", _BATCH_EDGES
)
EVENT_AGE: Final = Metric(
    "scorer_event_age_seconds",
    Kind.HISTOGRAM,
    ("topic",),
    "Seconds from an event's record timestamp until it was settled.",
    _AGE_EDGES,
)
SCORE: Final = Metric("scorer_score", Kind.HISTOGRAM, ("topic",), "Scores of decided events, 0 to 1.", _SCORE_EDGES)
CONSUMER_LAG: Final = Metric(
    "scorer_consumer_lag", Kind.GAUGE, ("topic", "partition"), "Events still to be read from an assigned partition."
)
PARTITION_STUCK: Final = Metric(
    "scorer_partition_stuck",
    Kind.GAUGE,
    ("topic", "partition"),
    "1 while an assigned partition cannot be read on, since the same offset fails again and again, else 0.",
)
ASSIGNED_PARTITIONS: Final = Metric(
    "scorer_assigned_partitions", Kind.GAUGE, (), "Partitions that this scorer holds now."
)
REBALANCES: Final = Metric(
    "scorer_rebalances_total", Kind.COUNTER, (), "Assignments received from the group; the first is the start's."
)
BATCHES_ABORTED: Final = Metric(
    "scorer_batches_aborted_total", Kind.COUNTER, ("reason",), "Micro-batches given up before commit, to be read again."
)
TOPIC_STOPPED: Final = Metric(
    "scorer_topic_stopped",
    Kind.GAUGE,
    ("topic",),
    "1 while a topic is stopped because too many of its events are dead letters, else 0.",
)
PRODUCER_RENEWALS: Final = Metric(
    "scorer_producer_renewals_total", Kind.COUNTER, ("reason",), "Producers replaced by a new one."
)
BROKER_TROUBLES: Final = Metric(
    "scorer_broker_troubles_total", Kind.COUNTER, ("client",), "Errors that a Kafka client reported and went on from."
)
BROKER_AWAITED: Final = Metric(
    "scorer_broker_awaited_seconds",
    Kind.GAUGE,
    (),
    "For how long Kafka has left a call unanswered, while nothing is settled; 0 when it answers.",
)
BUNDLE_INFO: Final = Metric(
    "scorer_bundle_info",
    Kind.INFO,
    ("topic", "bundle", "version", "sha256", "thresholds_version"),
    "The bundle and thresholds that a topic is scored with; always 1.",
)
BAND_EDGE: Final = Metric("scorer_band_edge", Kind.GAUGE, ("topic", "band"), "The lowest score inside a band, 0 to 1.")
LAST_SETTLED: Final = Metric(
    "scorer_last_settled_timestamp_seconds",
    Kind.GAUGE,
    ("topic",),
    "Unix time of the topic's last commit; absent until the first.",
)
START_TIME: Final = Metric("scorer_start_time_seconds", Kind.GAUGE, (), "Unix time at which the service started.")

METRICS: Final = (
    EVENTS,
    DECISIONS,
    DEAD_LETTERS,
    STAGE_DURATION,
    BATCH_EVENTS,
    EVENT_AGE,
    SCORE,
    CONSUMER_LAG,
    PARTITION_STUCK,
    ASSIGNED_PARTITIONS,
    REBALANCES,
    BATCHES_ABORTED,
    TOPIC_STOPPED,
    PRODUCER_RENEWALS,
    BROKER_TROUBLES,
    BROKER_AWAITED,
    BUNDLE_INFO,
    BAND_EDGE,
    LAST_SETTLED,
    START_TIME,
)


def table() -> str:
    """Return the catalogue as a Markdown table, as the README shows it."""
    rows = (
        f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels) or '-'} | {m.meaning} |"
        for m in METRICS
    )
    return "\n".join(("| metric | type | labels | meaning |", "|---|---|---|---|", *rows)) + "\n"
