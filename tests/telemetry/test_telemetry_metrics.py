"""The promises of the metrics page."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families
from telemetry_story import BANDS, FIRST, Clock, loaded, one_of_each, settled

from scorer.errors import Reason, Stage
from scorer.records import Partition
from scorer.telemetry import facts as f
from scorer.telemetry.catalogue import table
from scorer.telemetry.metrics import METRICS, Histogram, Metrics


def told(*facts: f.Fact) -> Metrics:
    metrics = Metrics(Clock())
    for fact in facts:
        metrics.hear(fact)
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read the page as Prometheus does."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, frozenset(labels.items())))


def label_values(metrics: Metrics, name: str, label: str) -> set[str]:
    return {dict(labels)[label] for found, labels in samples(metrics) if found == name}


def test_the_story_tells_every_fact() -> None:
    """The tests below leave out no kind of fact."""
    assert {type(fact) for fact in one_of_each()} == set(get_args(f.Fact))


def test_the_page_shows_the_catalogue_and_nothing_else() -> None:
    """Every metric of the catalogue has samples, with its type, labels and meaning; no other scorer_ name exists."""
    page = generate_latest(told(*one_of_each()).registry).decode()
    families = [x for x in text_string_to_metric_families(page) if x.name.startswith("scorer_")]

    shown = {}
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        assert family.samples, name
        shown[name] = (family.type, frozenset(family.samples[0].labels) - {"le"}, family.documentation)

    kinds = {"info": "gauge"}  # the text format has no info
    assert shown == {m.name: (kinds.get(m.kind, m.kind), frozenset(m.labels), m.meaning) for m in METRICS}


def test_the_page_is_valid_openmetrics() -> None:
    """A scraper that negotiates OpenMetrics, whose parser is strict, reads the same page."""
    page = exposition.generate_latest(told(*one_of_each()).registry).decode()

    names = {family.name for family in parser.text_string_to_metric_families(page)}

    assert {"scorer_events", "scorer_bundle", "process_cpu_seconds", "python_gc_collections"} <= names


def test_the_catalogue_keeps_prometheus_conventions() -> None:
    """Counters end in _total, info in _info, and only histograms have edges, which ascend."""
    for metric in METRICS:
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        assert (metric.kind == "info") == metric.name.endswith("_info"), metric.name
        assert (metric.kind == "histogram") == bool(metric.buckets), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets)), metric.name


def test_the_table_has_a_row_for_every_metric() -> None:
    """The README's table is made from the catalogue: one row a metric, all of the same width."""
    rows = table().splitlines()[2:]

    assert [row.split("|")[1].strip(" `") for row in rows] == [m.name for m in METRICS]
    assert {row.count("|") for row in rows} == {5}


edges = st.lists(st.floats(0, 100, width=32), min_size=1, max_size=8, unique=True).map(lambda xs: tuple(sorted(xs)))
numbers = st.lists(st.floats(0, 200, width=32), max_size=30)


@given(edges=edges, batches=st.lists(numbers, max_size=4), singles=numbers)
def test_histograms_count_as_a_slow_reference(
    edges: tuple[float, ...], batches: list[list[float]], singles: list[float]
) -> None:
    """However values arrive, each bucket holds the number of values at or below its edge, and +Inf all of them."""
    histogram = Histogram(edges, np.float32)
    for batch in batches:
        histogram.add_all(np.array(batch + list(edges), np.float32))
    for single in singles:
        histogram.add(single)

    everything = [x for batch in batches for x in (*batch, *edges)] + singles
    expected = [sum(x <= edge for x in everything) for edge in (*edges, math.inf)]
    assert [count for _, count in histogram.cumulative()] == expected
    assert [float(edge) for edge, _ in histogram.cumulative()] == [*edges, math.inf]
    assert histogram.total == pytest.approx(sum(everything))


def test_settled_batches_add_up() -> None:
    """Events, decisions, dead letters, stages, ages and scores of several batches are their sums."""
    metrics = told(
        loaded(),
        settled([0.1, 0.7, 0.95], dead={Reason.MALFORMED: 2}, ages=[0.002] * 4 + [7.0], stages={Stage.INFER: 0.002}),
        settled([0.2], ages=[0.5], stages={Stage.INFER: 0.2, Stage.PUBLISH: 0.1}),
    )

    page = samples(metrics)

    def at(name: str, **labels: str) -> float:
        return page[name, frozenset({"topic": "payments", **labels}.items())]

    assert at("scorer_events_total") == 6
    assert [at("scorer_decisions_total", decision=d) for d in ("approve", "review", "block")] == [2, 1, 1]
    assert at("scorer_dead_letters_total", reason="malformed") == 2
    assert at("scorer_stage_duration_seconds_count", stage="infer") == 2
    assert at("scorer_stage_duration_seconds_sum", stage="infer") == pytest.approx(0.202)
    assert at("scorer_stage_duration_seconds_count", stage="publish") == 1
    assert at("scorer_batch_events_sum") == 6
    assert at("scorer_event_age_seconds_count") == 6
    assert at("scorer_event_age_seconds_bucket", le="0.0025") == 4
    assert at("scorer_score_count") == 4
    assert at("scorer_score_bucket", le="0.1") == 1
    assert at("scorer_last_settled_timestamp_seconds") == Clock().now


def test_a_scrape_is_of_one_instant() -> None:
    """A batch that settles while a page is being written is on the next page, and no half of it on this one."""
    metrics = told(loaded(), settled([0.1]))

    page = metrics.collect()
    families = [next(page)]
    metrics.hear(settled([0.2] * 5))
    families += page

    counts = {s.name: s.value for family in families for s in family.samples if s.labels == {"topic": "payments"}}
    assert counts["scorer_events_total"] == counts["scorer_score_count"] == counts["scorer_batch_events_count"] == 1


def test_a_score_on_an_edge_is_inside_it() -> None:
    """A float32 score that prints as an edge counts up to that edge, although its double is a little larger."""
    assert float(np.float32(0.6)) > 0.6

    metrics = told(loaded(), settled([0.6]))

    assert value(metrics, "scorer_score_bucket", topic="payments", le="0.6") == 1
    assert value(metrics, "scorer_score_bucket", topic="payments", le="0.55") == 0


def test_the_future_has_age_zero() -> None:
    """A producer whose clock is ahead does not make a sum fall, which Prometheus would take for a restart."""
    metrics = told(loaded(), settled([0.1, 0.2], ages=[-60.0, 1.0]))

    assert value(metrics, "scorer_event_age_seconds_sum", topic="payments") == 1.0
    assert value(metrics, "scorer_event_age_seconds_bucket", topic="payments", le="0.001") == 1


def test_a_batch_of_dead_letters_only() -> None:
    """A batch without a single score is counted like any other."""
    metrics = told(loaded(), settled([], dead={Reason.TOMBSTONE: 3}))

    assert value(metrics, "scorer_events_total", topic="payments") == 3
    assert value(metrics, "scorer_score_count", topic="payments") == 0


def test_a_stopped_topic_shows_until_it_goes_on() -> None:
    """The gauge is there at 0, 1 while the topic is stopped however often it is said, and 0 again."""
    stopped = f.TopicStopped("payments", 0.5, 0.2, {})
    told_so_far = [loaded(), stopped, stopped, f.TopicResumed("payments")]
    seen = [value(told(*told_so_far[:n]), "scorer_topic_stopped", topic="payments") for n in (1, 2, 3, 4)]
    assert seen == [0, 1, 1, 0]


def test_a_stuck_partition_shows_while_it_is_stuck() -> None:
    """Each assigned partition has a sample: 1 for those that are stuck now, 0 for the others."""
    stuck = f.PartitionsStuck({FIRST[0]: 17})
    story = [
        loaded(),
        f.PartitionsAssigned(FIRST),
        stuck,
        f.PartitionsStuck({}),
        stuck,
        f.PartitionsRevoked(FIRST, lost=False),
    ]
    seen = [
        [value(told(*story[:n]), "scorer_partition_stuck", topic="payments", partition=number) for number in "01"]
        for n in range(2, len(story) + 1)
    ]
    assert seen == [[0, 0], [1, 0], [0, 0], [1, 0], [None, None]]


def test_label_sets_are_open_at_zero_from_the_start() -> None:
    """Before the first event every band, reason, stage and client of the enums exists, at zero, and nothing else."""
    metrics = told(loaded())

    assert label_values(metrics, "scorer_decisions_total", "decision") == {"approve", *BANDS}
    assert label_values(metrics, "scorer_dead_letters_total", "reason") == set(Reason)
    assert label_values(metrics, "scorer_stage_duration_seconds_count", "stage") == set(Stage)
    assert label_values(metrics, "scorer_batches_aborted_total", "reason") == set(f.AbortReason)
    assert label_values(metrics, "scorer_producer_renewals_total", "reason") == set(f.RenewReason)
    assert label_values(metrics, "scorer_broker_troubles_total", "client") == set(f.Client)
    counters = [
        v for (name, _), v in samples(metrics).items() if name.startswith("scorer_") and name.endswith("_total")
    ]
    assert set(counters) == {0.0}


@pytest.mark.parametrize(
    "fact",
    [
        settled([0.1], topic="other"),
        f.BatchAborted("whim", 1),  # type: ignore[arg-type]  # what the type forbids, the page refuses too
    ],
)
def test_label_sets_are_closed(fact: f.Fact) -> None:
    """A topic or reason that nobody announced is refused, and leaves no trace on the page."""
    metrics = told(loaded())
    before = {key for key in samples(metrics) if key[0].startswith("scorer_")}

    with pytest.raises(KeyError):
        metrics.hear(fact)

    assert {key for key in samples(metrics) if key[0].startswith("scorer_")} == before


def test_a_reload_replaces_the_bundle_and_keeps_the_counts() -> None:
    """After a reload the page names the new version and bands only, and no counter of the topic falls."""
    metrics = told(loaded(), loaded("payouts"), settled([0.95]), loaded(version="8", bands={"hold": 0.5}))

    assert label_values(metrics, "scorer_bundle_info", "version") == {"7", "8"}
    assert value(metrics, "scorer_band_edge", topic="payments", band="hold") == 0.5
    assert value(metrics, "scorer_band_edge", topic="payments", band="block") is None
    assert value(metrics, "scorer_band_edge", topic="payouts", band="block") == 0.92
    assert value(metrics, "scorer_events_total", topic="payments") == 1
    assert value(metrics, "scorer_decisions_total", topic="payments", decision="block") == 1


def test_lag_of_a_revoked_partition_disappears() -> None:
    """A partition that another scorer holds has no lag here, not even when it was measured just before."""
    lag = f.LagMeasured({FIRST[0]: 3, FIRST[1]: 4})
    metrics = told(f.PartitionsAssigned(FIRST), lag)
    assert value(metrics, "scorer_consumer_lag", topic="payments", partition="1") == 4

    metrics.hear(f.PartitionsRevoked((FIRST[1],), lost=True))

    assert label_values(metrics, "scorer_consumer_lag", "partition") == {"0"}
    metrics.hear(lag)
    assert label_values(metrics, "scorer_consumer_lag", "partition") == {"0"}
    assert value(metrics, "scorer_assigned_partitions") == 1


def test_assignments_are_additions() -> None:
    """Partitions handed over one rebalance after another are held together."""
    metrics = told(f.PartitionsAssigned(FIRST), f.PartitionsAssigned((Partition("payments", 2),)))

    assert value(metrics, "scorer_assigned_partitions") == 3
    assert value(metrics, "scorer_rebalances_total") == 2


def test_a_label_cannot_break_the_page() -> None:
    """Quotes, backslashes and line breaks in a bundle's name are escaped."""
    nasty = 'a"} 1\nscorer_evil 1\\'
    metrics = told(f.BundleLoaded("payments", nasty, "7", "ab", "9f", BANDS, "approve"))

    assert label_values(metrics, "scorer_bundle_info", "bundle") == {nasty}
    assert not any(name == "scorer_evil" for name, _ in samples(metrics))
