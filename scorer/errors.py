"""What can go wrong, in two kinds.

A broken world is an exception: `ScorerError` and its children, one exit code each, one line a stranger can act on.
Bad data is a value: a `Rejection` (see `records`) with a `Reason` from the closed enum below. The same member is the
metric's label, the header on the dead letter and the word in the log.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class ScorerError(Exception):
    """A broken world: the command stops, prints this one line, and exits with `exit_code`.

    The message says what is wrong, where (file, key, topic-partition-offset), and what to do.
    """

    exit_code: ClassVar[int] = 1


class ConfigError(ScorerError):
    """The configuration has unknown, missing or ill-typed keys; the message lists all of them."""

    exit_code = 10


class OwnedPropertyError(ConfigError):
    """A librdkafka property was set that the scorer must own, or that would let a configuration run code."""

    exit_code = 11


class BandsError(ConfigError):
    """Bands are out of order, equal, or outside (0, 1)."""

    exit_code = 12


class BundleError(ScorerError):
    """A bundle is missing, incomplete, altered, or of a format this version does not read."""

    exit_code = 20


class GoldenError(BundleError):
    """A bundle is whole, but its golden events do not give the packed features or scores on this machine."""

    exit_code = 21


class PackError(BundleError):
    """A model, preprocessor or set of events cannot be packed; the message says which part, and what is supported."""

    exit_code = 22


class BrokerError(ScorerError):
    """Kafka refused or failed for a reason that waiting does not mend."""

    exit_code = 30


class BrokerUnreachableError(BrokerError):
    """No broker answered within the bounded wait."""

    exit_code = 31


class TopicMissingError(BrokerError):
    """A topic does not exist and `create_topics` is not set, or an input was deleted under a running scorer."""

    exit_code = 32


class OffsetLostError(BrokerError):
    """A committed offset is missing, or points to records that retention has deleted."""

    exit_code = 33


class FencedError(BrokerError):
    """Another scorer runs with the same group and instance."""

    exit_code = 34


class ModelFailedError(ScorerError):
    """The model fails on every event: the service stops instead of emptying the topic into its dead letters."""

    exit_code = 35


class PortTakenError(ScorerError):
    """A port to listen on is in use."""

    exit_code = 40


class LocalBrokerError(ScorerError):
    """The local Kafka cannot start: directory, disk, jars or Java."""

    exit_code = 41


class SelectionError(ScorerError):
    """A replay or `scorer dlq` names a slice, topic, letter or file that does not exist, or may not be used so."""

    exit_code = 50


class GateError(ScorerError):
    """A condition of `scorer replay --fail-if` holds: the bundle or the bands are not to be promoted."""

    exit_code = 51


class OutputError(ScorerError):
    """What a command writes, to a file or to standard output, cannot be written: the disk is full."""

    exit_code = 52


class Reason(StrEnum):
    """Why an event was rejected. Closed: a metric label may take no other value."""

    TOMBSTONE = "tombstone"
    MALFORMED = "malformed"
    TOO_DEEP = "too_deep"
    WRONG_TYPE = "wrong_type"
    MISSING_FIELD = "missing_field"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_CATEGORY = "unknown_category"
    BAD_IMAGE = "bad_image"
    BAD_SCORE = "bad_score"
    MODEL_FAILED = "model_failed"
    OVERSIZE = "oversize"


class Stage(StrEnum):
    """The room that rejected an event, or that a duration was measured in."""

    DECODE = "decode"
    TRANSFORM = "transform"
    INFER = "infer"
    DECIDE = "decide"
    ENCODE = "encode"
    PUBLISH = "publish"
