"""`scorer record`: a slice of a topic into a file, which `scorer play` publishes again."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from scorer.records import Records


def record(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic whose records are written down.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file; one that ends in .gz is compressed.")],
    start: Annotated[
        str, typer.Option("--from", help="First: beginning, a time (RFC 3339), -1h, -30m, -7d, or p0:123,p1:50.")
    ] = "beginning",
    stop: Annotated[str, typer.Option("--to", help="Where to stop, in the same words; not included.")] = "end",
    configuration: Annotated[
        Path | None, typer.Option("--config", help="The service's configuration: its Kafka.")
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Kafka's bootstrap.servers.")] = None,
    properties: Annotated[
        list[str] | None, typer.Option("-X", metavar="PROP=VALUE", help="A librdkafka property, over the file's.")
    ] = None,
) -> None:
    """Write a slice of a topic into a file, byte for byte. Kafka is only read."""
    from scorer.broker.kafka.bounded import SliceReader
    from scorer.cli.stopping import signals
    from scorer.replay import tape
    from scorer.replay.positions import parse
    from scorer.replay.progress import Watcher
    from scorer.replay.run import BATCH, choose

    now = time.time()
    first, last = parse(start, "--from", now), parse(stop, "--to", now)
    kafka, _ = cluster(configuration, bootstrap, properties)
    watch = Watcher(sys.stderr, time.monotonic)
    with signals() as (_, caught), closing(SliceReader(kafka, clock=time.monotonic)) as past:
        selected = choose(past, topic, first, last)
        with closing(watch(past.read(topic, selected, BATCH), "record", selected)) as batches:
            count = tape.record(out, topic, selected, _until(caught, batches, out))
    print(f"{count:,} records of {topic} written to {out}")


def cluster(
    configuration: Path | None, bootstrap: str | None, given: Sequence[str] | None
) -> tuple[Mapping[str, Any], frozenset[str]]:
    """Join the options with the configuration; return Kafka's properties, and the topics that the scorer writes."""
    from scorer import config
    from scorer.cli.lanes import client_properties, written

    # What the client says of its troubles comes back in our own errors.
    logging.getLogger("scorer.librdkafka").addHandler(logging.NullHandler())
    properties = [*(given or []), *([f"bootstrap.servers={bootstrap}"] if bootstrap else [])]
    if configuration is None:
        return client_properties(properties), frozenset()
    settings = config.load(configuration, environment=os.environ, properties=properties)
    return settings.kafka, written(settings.topics.values())


def _until(caught: Sequence[Signals], batches: Iterable[Records], out: Path) -> Iterator[Records]:
    """Yield batches until a signal was caught, which ends the command."""
    for records in batches:
        if caught:
            print(f"stopped by {caught[0].name}; {out} was not written", file=sys.stderr)
            raise typer.Exit(128 + caught[0])
        yield records
