"""What `scorer dlq` is about: options and configuration → a cluster, and which dead letters of which topics."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scorer.broker.kafka.bounded import SliceReader
    from scorer.dlq.letters import Selection
    from scorer.replay.positions import Position


@dataclass(frozen=True, slots=True)
class Setting:
    """Which topics of dead letters, on which cluster, and the configured topics that events may go back to.

    `outputs` are the topics that the scorer writes: no event belongs there.
    """

    kafka: Mapping[str, Any]
    dead_letters: tuple[str, ...]
    origins: tuple[str, ...]
    outputs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Span:
    """From where to where, as the options say; a time is the event's own."""

    start: Position
    stop: Position

    @classmethod
    def of(cls, start: str, stop: str, now: float) -> Span:
        """Read both options; raises SelectionError where no time lies between them."""
        from scorer.errors import SelectionError
        from scorer.replay.positions import At, parse

        span = cls(parse(start, "--from", now), parse(stop, "--to", now))
        if (
            isinstance(span.start, At)
            and isinstance(span.stop, At)
            and span.start.milliseconds >= span.stop.milliseconds
        ):
            raise SelectionError(f"--from {start} is not before --to {stop}: nothing lies between")
        return span

    def selection(self, topic: str | None, reasons: list[str] | None) -> Selection:
        """Return which letters are meant."""
        from scorer.dlq.letters import Selection
        from scorer.replay.positions import At

        times = [edge.milliseconds if isinstance(edge, At) else None for edge in (self.start, self.stop)]
        return Selection(topic, frozenset(reasons or ()), *times)

    def slices(self, reader: SliceReader, setting: Setting) -> dict[str, dict[int, range]]:
        """Return each topic's offsets to read; empty topics are left out.

        Letters of old events come late: a time cuts off what lies before the first record at or after it, and each
        letter is asked for its own.
        """
        from scorer.errors import SelectionError
        from scorer.replay.positions import At, Edge, Named, select

        if len(setting.dead_letters) > 1 and Named in (type(self.start), type(self.stop)):
            named = ", ".join(setting.dead_letters)
            raise SelectionError(f"offsets are of one topic, but there are {named}; choose with --dead-letters")
        found = {}
        for topic in setting.dead_letters:
            extent = reader.extent(topic)
            if isinstance(self.start, At):
                first = reader.offsets_at(topic, list(extent), self.start.milliseconds)
                extent = {n: range(min(first.get(n, held.stop), held.stop), held.stop) for n, held in extent.items()}
            if any(extent.values()):
                ends = [edge if isinstance(edge, Named | Edge) else None for edge in (self.start, self.stop)]
                found[topic] = select(topic, extent, ends[0] or Edge.BEGINNING, ends[1] or Edge.END, lambda _: {})
        return found


def joined(
    configuration: Path | None,
    dead_letters: str | None,
    bootstrap: str | None,
    given: list[str] | None,
    topic: str | None,
) -> Setting:
    """Join the options with the configuration; an option goes first."""
    from scorer import config
    from scorer.cli.lanes import client_properties, written
    from scorer.errors import ConfigError, SelectionError

    # What the client says of its troubles comes back in our own errors.
    logging.getLogger("scorer.librdkafka").addHandler(logging.NullHandler())
    properties = [*(given or []), *([f"bootstrap.servers={bootstrap}"] if bootstrap else [])]
    if configuration is None:
        if dead_letters is None:
            raise SelectionError(
                "whose dead letters? Give SCORER.YAML, or --dead-letters TOPIC and --bootstrap HOST:PORT"
            )
        if not any(one.startswith("bootstrap.servers=") for one in properties):
            raise ConfigError("no Kafka to read from: name a broker with --bootstrap HOST:PORT, or give SCORER.YAML")
        return Setting(client_properties(properties), (dead_letters,), ())
    settings = config.load(configuration, environment=os.environ, properties=properties)
    if topic is not None and dead_letters is None and topic not in settings.topics:
        raise SelectionError(f"{configuration} has no topic {topic}; it has {', '.join(settings.topics)}")
    lanes = [lane for name, lane in settings.topics.items() if topic in (None, name)]
    names = (dead_letters,) if dead_letters else tuple(dict.fromkeys(lane.dead_letters for lane in lanes))
    return Setting(settings.kafka, names, tuple(settings.topics), written(settings.topics.values()))


def allowed(setting: Setting, topic: str | None, to_topic: str | None) -> tuple[str, ...]:
    """Return the topics that events may be published to: no header names one that is not here."""
    from scorer.dlq.ledger import ledger_of
    from scorer.errors import SelectionError

    if to_topic in setting.dead_letters:
        raise SelectionError(f"--to-topic {to_topic}: that is where the letters are; name a topic that is read")
    if to_topic in setting.outputs | set(map(ledger_of, setting.dead_letters)):
        raise SelectionError(f"--to-topic {to_topic}: the scorer itself writes there; name a topic that is read")
    if to_topic is not None:
        return (to_topic,)
    if not setting.origins:
        raise SelectionError("letters go back to configured topics only: give SCORER.YAML, or name one with --to-topic")
    return tuple(name for name in setting.origins if topic in (None, name))
