"""`scorer play`: a file of `scorer record` into a topic."""

from __future__ import annotations

import re
import sys
import time
from contextlib import closing
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scorer.broker.kafka.player import Player
    from scorer.replay.tape import Tape

AT_ONCE = 1000
"""Records of a batch where nothing is waited for; else each is one, so that the progress is told in time."""


def _speed(text: str) -> float:
    """Read a speed: times as fast as recorded."""
    if text == "max":
        return inf
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)x", text)
    if match is None or not float(match[1]):
        raise typer.BadParameter(f"{text!r} is no speed; write 1x, 10x, 0.5x, or max")
    return float(match[1])


def play(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What scorer record has written.")],
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic to publish to; it must exist.")],
    *,
    speed: Annotated[
        float | None,
        typer.Option(
            parser=_speed, metavar="1x|10x|max", help="Times as fast as recorded, or at once.", show_default="max"
        ),
    ] = None,
    original_timestamps: Annotated[
        bool, typer.Option("--original-timestamps", help="Keep the records' times; else each has the present one.")
    ] = False,
    configuration: Annotated[
        Path | None, typer.Option("--config", help="The service's configuration: its Kafka, and where not to publish.")
    ] = None,
    bootstrap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Kafka's bootstrap.servers.")] = None,
    properties: Annotated[
        list[str] | None, typer.Option("-X", metavar="PROP=VALUE", help="A librdkafka property, over the file's.")
    ] = None,
) -> None:
    """Publish a recorded slice again: keys, values, headers and partitions as they were, each partition in order."""
    from scorer.broker.kafka.player import Player, Tempo
    from scorer.cli.record import cluster
    from scorer.cli.stopping import signals
    from scorer.errors import SelectionError
    from scorer.replay.tape import Tape

    kafka, outputs = cluster(configuration, bootstrap, properties)
    if topic in outputs:
        raise SelectionError(f"{topic}: the scorer itself writes there ({configuration}); name a topic that is read")
    tape = Tape(file)
    began = time.monotonic()
    with signals() as (stopping, caught):
        tempo = Tempo(speed or inf, time.monotonic, stopping.wait)
        player = Player(
            kafka,
            topic,
            partitions=tape.partitions,
            tempo=tempo,
            original_timestamps=original_timestamps,
            stopping=stopping.is_set,
        )
        with closing(player):
            _play(player, tape, AT_ONCE if tempo.speed == inf else 1)
            published = player.acknowledged
    seconds = time.monotonic() - began
    told = f"{published:,} records published to {topic} in {seconds:,.1f} s, {published / seconds:,.0f} a second"
    if caught:
        print(f"stopped by {caught[0].name}; {told}", file=sys.stderr)
        raise typer.Exit(128 + caught[0])
    print(told)


def _play(player: Player, tape: Tape, limit: int) -> None:
    """Play the whole tape; where it is torn, say how far it went."""
    from scorer.errors import SelectionError
    from scorer.replay.progress import Watcher

    everything = tape.extent(tape.topic)
    watch = Watcher(sys.stderr, time.monotonic)
    try:
        with closing(watch(tape.read(tape.topic, everything, limit), "play", everything)) as batches:
            player.play(batches)
    except SelectionError as error:
        player.finish()
        raise SelectionError(f"{error}. {player.acknowledged:,} records before it were published") from error
    player.finish()
