"""Takes facts, gives Prometheus samples. A micro-batch costs one vectorised count a histogram.

Every label set is opened at zero when its bundle is loaded, so that rates exist from the first event on, and counting
into one that was not opened is a KeyError: the label sets are closed by construction.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from operator import attrgetter
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.utils import floatToGoString

from scorer.errors import Reason, Stage
from scorer.records import Partition
from scorer.telemetry import catalogue as c
from scorer.telemetry.catalogue import METRICS, Kind, Metric
from scorer.telemetry.facts import (
    AbortReason,
    BatchAborted,
    BatchSettled,
    BrokerAnswered,
    BrokerAwaited,
    BrokerTrouble,
    BundleLoaded,
    Client,
    Fact,
    LagMeasured,
    PartitionsAssigned,
    PartitionsRevoked,
    PartitionsStuck,
    ProducerRenewed,
    RenewReason,
    ServiceStarted,
    TopicResumed,
    TopicStopped,
)

__all__ = ["METRICS", "Histogram", "Metrics"]

Labels: TypeAlias = tuple[str, ...]
Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily


class Histogram:
    """How many values lie at or below each of some ascending edges, how many there are, and their sum.

    A value equal to an edge is inside, as Prometheus has it (`le`); `dtype` is the precision of that comparison.
    """

    __slots__ = ("_edges", "_vector", "counts", "total")

    def __init__(self, edges: tuple[float, ...], dtype: type[np.floating] = np.float64) -> None:
        self._edges = edges
        self._vector = np.array(edges, dtype)
        self.counts = np.zeros(len(edges) + 1, np.int64)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self._edges, value) :] += 1
        self.total += value

    def add_all(self, values: NDArray[np.floating]) -> None:
        """Count an array of finite values, of shape (n,); n may be 0.

        The values are sorted and the edges looked up among them: looking up every value among the edges mispredicts
        a branch a step, and takes several times as long.
        """
        self.counts[:-1] += np.searchsorted(np.sort(values), self._vector, side="right")
        self.counts[-1] += len(values)
        self.total += float(values.sum(dtype=np.float64))

    def __copy__(self) -> Histogram:
        twin = Histogram.__new__(Histogram)
        twin._edges, twin._vector = self._edges, self._vector
        twin.counts, twin.total = self.counts.copy(), self.total
        return twin

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (edge as text, count of values up to it), the last for +Inf."""
        names = map(floatToGoString, (*self._edges, np.inf))
        return list(zip(names, self.counts.tolist(), strict=True))


_COUNTED: Mapping[type[Fact], tuple[Metric, Callable[[Any], str]]] = {
    BatchAborted: (c.BATCHES_ABORTED, attrgetter("reason")),
    ProducerRenewed: (c.PRODUCER_RENEWALS, attrgetter("reason")),
    BrokerTrouble: (c.BROKER_TROUBLES, attrgetter("client")),
}
"""What is counted by one label."""
_SET: Mapping[type[Fact], tuple[Metric, Callable[[Any], tuple[Labels, float]]]] = {
    TopicStopped: (c.TOPIC_STOPPED, lambda fact: ((fact.topic,), 1.0)),
    TopicResumed: (c.TOPIC_STOPPED, lambda fact: ((fact.topic,), 0.0)),
    BrokerAwaited: (c.BROKER_AWAITED, lambda fact: ((), fact.seconds)),
    BrokerAnswered: (c.BROKER_AWAITED, lambda _: ((), 0.0)),
}
"""What a gauge is set by."""


class Metrics:
    """A listener that counts, and a collector in a registry of its own (`registry`) that shows the counts.

    `clock` gives Unix seconds. The loop's thread counts and a scrape's thread reads: the lock makes a scrape see a
    micro-batch whole or not at all.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._numbers: dict[Metric, dict[Labels, float]] = {m: {} for m in METRICS if m.kind is not Kind.HISTOGRAM}
        self._histograms: dict[Metric, dict[Labels, Histogram]] = {m: {} for m in METRICS if m.kind is Kind.HISTOGRAM}
        self._held: set[Partition] = set()
        self._open(c.ASSIGNED_PARTITIONS, ())
        self._open(c.REBALANCES, ())
        self._open(c.BROKER_AWAITED, ())
        for metric, labels in (
            (c.BATCHES_ABORTED, AbortReason),
            (c.PRODUCER_RENEWALS, RenewReason),
            (c.BROKER_TROUBLES, Client),
        ):
            self._open(metric, *((label.value,) for label in labels))
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def hear(self, fact: Fact) -> None:
        """Count a fact. Raises KeyError for a topic or decision that no loaded bundle has named."""
        with self._lock:
            self._count(fact)

    def collect(self) -> Iterator[Family]:
        """Yield every metric with its samples, all of one instant."""
        with self._lock:
            numbers = {metric: dict(cells) for metric, cells in self._numbers.items()}
            histograms = {
                metric: {labels: copy(histogram) for labels, histogram in cells.items()}
                for metric, cells in self._histograms.items()
            }
        for metric in METRICS:
            if metric.kind is Kind.HISTOGRAM:
                yield _histogram_family(metric, histograms[metric])
            else:
                yield _number_family(metric, numbers[metric])

    def _count(self, fact: Fact) -> None:
        numbers = self._numbers
        match fact:
            case BatchSettled():
                self._settle(fact)
            case LagMeasured(lag=lag):
                # What a revoked partition was measured at is nobody's lag any more.
                numbers[c.CONSUMER_LAG] = {(p.topic, str(p.number)): n for p, n in lag.items() if p in self._held}
            case PartitionsStuck(offsets=offsets):
                numbers[c.PARTITION_STUCK] = {(p.topic, str(p.number)): float(p in offsets) for p in self._held}
            case BatchAborted() | ProducerRenewed() | BrokerTrouble():
                metric, label = _COUNTED[type(fact)]
                numbers[metric][(label(fact),)] += 1
            case TopicStopped() | TopicResumed() | BrokerAwaited() | BrokerAnswered():
                metric, setting = _SET[type(fact)]
                labels, value = setting(fact)
                numbers[metric][labels] = value
            case PartitionsAssigned(partitions=partitions):
                numbers[c.REBALANCES][()] += 1
                self._hold(self._held.union(partitions))
            case PartitionsRevoked(partitions=partitions):
                self._hold(self._held.difference(partitions))
            case BundleLoaded():
                self._load(fact)
            case ServiceStarted():
                numbers[c.START_TIME][()] = self._clock()
            case _:
                pass

    def _settle(self, fact: BatchSettled) -> None:
        topic = (fact.topic,)
        numbers, histograms = self._numbers, self._histograms
        for decision, count in fact.decisions.items():
            numbers[c.DECISIONS][fact.topic, decision] += count
        for reason, count in fact.dead_letters.items():
            numbers[c.DEAD_LETTERS][fact.topic, reason] += count
        numbers[c.EVENTS][topic] += fact.events
        for stage, seconds in fact.stages.items():
            histograms[c.STAGE_DURATION][fact.topic, stage].add(seconds)
        histograms[c.BATCH_EVENTS][topic].add(fact.events)
        histograms[c.SCORE][topic].add_all(fact.scores)
        # A producer whose clock is ahead gives negative ages, and a histogram's sum must not fall.
        histograms[c.EVENT_AGE][topic].add_all(np.maximum(fact.ages, 0.0))
        numbers[c.LAST_SETTLED][topic] = self._clock()

    def _load(self, fact: BundleLoaded) -> None:
        topic = fact.topic
        self._open(c.EVENTS, (topic,))
        self._open(c.TOPIC_STOPPED, (topic,))
        self._open(c.DECISIONS, *((topic, name) for name in (fact.otherwise, *fact.bands)))
        self._open(c.DEAD_LETTERS, *((topic, reason.value) for reason in Reason))
        for stage in Stage:
            self._histograms[c.STAGE_DURATION].setdefault((topic, stage.value), Histogram(c.STAGE_DURATION.buckets))
        for metric in (c.BATCH_EVENTS, c.EVENT_AGE):
            self._histograms[metric].setdefault((topic,), Histogram(metric.buckets))
        # float32 on both sides, as bands are compared: a score that prints as 0.6 is inside le="0.6".
        self._histograms[c.SCORE].setdefault((topic,), Histogram(c.SCORE.buckets, np.float32))
        info = (topic, fact.bundle, fact.version, fact.sha256, fact.thresholds_version)
        self._replace(c.BUNDLE_INFO, topic, {info: 1.0})
        self._replace(c.BAND_EDGE, topic, {(topic, name): edge for name, edge in fact.bands.items()})

    def _open(self, metric: Metric, *labels: Labels) -> None:
        """Start label sets at zero; those that count already go on (a bundle may be loaded again)."""
        for one in labels:
            self._numbers[metric].setdefault(one, 0.0)

    def _replace(self, metric: Metric, topic: str, cells: dict[Labels, float]) -> None:
        others = {labels: value for labels, value in self._numbers[metric].items() if labels[0] != topic}
        self._numbers[metric] = others | cells

    def _hold(self, partitions: set[Partition]) -> None:
        self._held = partitions
        self._numbers[c.ASSIGNED_PARTITIONS][()] = len(partitions)
        names = {(p.topic, str(p.number)) for p in partitions}
        lags = self._numbers[c.CONSUMER_LAG]
        self._numbers[c.CONSUMER_LAG] = {labels: lag for labels, lag in lags.items() if labels in names}
        stuck = self._numbers[c.PARTITION_STUCK]
        self._numbers[c.PARTITION_STUCK] = {labels: stuck.get(labels, 0.0) for labels in names}


def _number_family(metric: Metric, cells: dict[Labels, float]) -> Family:
    if metric.kind is Kind.INFO:
        info = InfoMetricFamily(metric.name.removesuffix("_info"), metric.meaning, labels=metric.labels)
        for labels in cells:
            info.add_metric(labels, {})
        return info
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = make(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in cells.items():
        family.add_metric(labels, value)
    return family


def _histogram_family(metric: Metric, cells: dict[Labels, Histogram]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, histogram in cells.items():
        family.add_metric(labels, histogram.cumulative(), histogram.total)
    return family
