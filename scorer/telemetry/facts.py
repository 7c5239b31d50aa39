"""What happened, as frozen facts: the only thing that the service says to its telemetry.

Adapters (metrics, log, health) hear facts and never meet each other. A fact is told after the deed, so that nothing
is ever counted that was aborted. What becomes a metric's label is a closed enum, or is known from the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scorer.errors import Reason, Stage
from scorer.records import Partition


class AbortReason(StrEnum):
    """Why a micro-batch was given up before its commit; its events are read again."""

    REBALANCE = "rebalance"
    FAULT = "fault"
    STOPPING = "stopping"
    REPEATED = "repeated"
    DEAD_LETTERS = "dead_letters"


class RenewReason(StrEnum):
    """Why a producer was thrown away and a new one made."""

    FATAL = "fatal"
    FENCED = "fenced"
    COMMIT_UNKNOWN = "commit_unknown"
    COMMIT_SLOW = "commit_slow"


class Client(StrEnum):
    """Which of the scorer's Kafka clients is speaking."""

    CONSUMER = "consumer"
    PRODUCER = "producer"


@dataclass(frozen=True, slots=True)
class ServiceStarted:
    """The service has read its configuration and begins; `versions` is by library; `compiled` is "yes" or "no"."""

    group: str
    instance: str
    delivery: str
    topics: tuple[str, ...]
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class BundleLoaded:
    """A topic's bundle is verified and serves from now on; `otherwise` names the decision below the lowest band."""

    topic: str
    bundle: str
    version: str
    sha256: str
    thresholds_version: str
    bands: Mapping[str, float]
    otherwise: str


@dataclass(frozen=True, slots=True)
class PartitionsAssigned:
    """The group handed these partitions to this scorer, in addition to those it has; there may be none."""

    partitions: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class PartitionsRevoked:
    """The group took these partitions away; `lost` says that it did so before they could be given up in order."""

    partitions: tuple[Partition, ...]
    lost: bool


@dataclass(frozen=True, slots=True)
class BatchSettled:
    """One topic's share of a micro-batch is committed; told once a topic and micro-batch, after the commit.

    `events` = sum of `decisions` (by band name) + sum of `dead_letters`. `stages` are seconds. `scores` is float32 of
    shape (decided events,), in [0, 1]. `ages` is float64 of shape (events,): finite seconds from each record's
    timestamp until it was settled, negative where a producer's clock is ahead.
    """

    topic: str
    events: int
    decisions: Mapping[str, int]
    dead_letters: Mapping[Reason, int]
    stages: Mapping[Stage, float]
    scores: NDArray[np.float32]
    ages: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BatchAborted:
    """A micro-batch of so many events, of all topics, was given up and will be read again."""

    reason: AbortReason
    events: int


@dataclass(frozen=True, slots=True)
class TopicStopped:
    """Too large a share of a topic's events are dead letters: nothing of it is read or delivered until a trial passes.

    `share` and `limit` are 0 to 1; `reasons` are those of the batch that was given up. Told again at each trial.
    """

    topic: str
    share: float
    limit: float
    reasons: Mapping[Reason, int]


@dataclass(frozen=True, slots=True)
class TopicResumed:
    """A topic that had been stopped has settled a batch, and goes on."""

    topic: str


@dataclass(frozen=True, slots=True)
class ProducerRenewed:
    """The producer was replaced by a new one."""

    reason: RenewReason


@dataclass(frozen=True, slots=True)
class LagMeasured:
    """The events still to be read, for every partition that could be asked; replaces what was measured before."""

    lag: Mapping[Partition, int]


@dataclass(frozen=True, slots=True)
class PartitionsStuck:
    """These partitions, and no others, cannot be read on from these offsets; told when that changes."""

    offsets: Mapping[Partition, int]


@dataclass(frozen=True, slots=True)
class BrokerTrouble:
    """A Kafka client reported an error that it goes on from; `code` is the client library's name of it."""

    client: Client
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class BrokerAwaited:
    """So many events in hand have waited for Kafka for so many seconds; told again every few seconds.

    Nothing is settled meanwhile, and nothing is lost.
    """

    seconds: float
    events: int


@dataclass(frozen=True, slots=True)
class BrokerAnswered:
    """Kafka answers again, after so many seconds of being awaited."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ServiceStopping:
    """The service reads nothing more and settles what it holds; `cause` is a signal's name or an error's message."""

    cause: str


@dataclass(frozen=True, slots=True)
class ServiceStopped:
    """The service has left its group, after so many settled events and seconds."""

    events: int
    seconds: float


Fact: TypeAlias = (
    ServiceStarted
    | BundleLoaded
    | PartitionsAssigned
    | PartitionsRevoked
    | BatchSettled
    | BatchAborted
    | TopicStopped
    | TopicResumed
    | ProducerRenewed
    | LagMeasured
    | PartitionsStuck
    | BrokerTrouble
    | BrokerAwaited
    | BrokerAnswered
    | ServiceStopping
    | ServiceStopped
)
