"""One small bundle and one small past on a real Kafka, made once for all tests of the replay."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from replay_world import World, live, pack_cards, publish

from scorer.broker.kafka.bounded import SliceReader
from scorer.bundle import Bundle, load


@pytest.fixture(scope="session")
def card_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Give a bundle whose model has random weights: its scores spread, and mean nothing."""
    path = tmp_path_factory.mktemp("bundles") / "card"
    pack_cards(path)
    return load(path)


@pytest.fixture(scope="session")
def world(bootstrap: str, card_bundle: Bundle) -> World:
    """Give a topic of three partitions with gaps, and the decisions that a service has published of it."""
    made = publish(bootstrap)
    live(made, card_bundle)
    return made


@pytest.fixture
def past(world: World) -> Iterator[SliceReader]:
    """Give a reader that soon loses its patience."""
    with closing(SliceReader({"bootstrap.servers": world.bootstrap}, clock=time.monotonic, patience=20.0)) as reader:
        yield reader


@pytest.fixture
def scorer_yaml(world: World, card_bundle: Bundle, tmp_path: Path) -> Path:
    """Give the configuration of the service that published the decisions."""
    path = tmp_path / "scorer.yaml"
    path.write_text(
        f"kafka: {{bootstrap.servers: '{world.bootstrap}'}}\n"
        f"group: {world.group}\n"
        f"topics:\n  {world.topic}: {{bundle: '{card_bundle.path}', decisions: {world.decisions}, "
        f"dead_letters: {world.dead_letters}}}\n",
        "utf-8",
    )
    return path
