"""What several rooms' tests share: a real Kafka, one for the whole session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import cards, trained  # noqa: F401

from scorer.broker.jars import java_command
from scorer.broker.local import LocalBroker
from scorer.errors import LocalBrokerError


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the session, and every process that it starts, a memory of its own: what a test packs, it has admitted."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCORER_CACHE", str(directory))
        yield directory


@pytest.fixture(scope="session")
def java() -> None:
    """Skip where neither Java nor Kafka's jars can be had; fail under SCORER_REQUIRE_ALL=1."""
    try:
        java_command()
    except LocalBrokerError as error:
        if os.environ.get("SCORER_REQUIRE_ALL") == "1":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def bootstrap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the `bootstrap.servers` of SCORER_TEST_BOOTSTRAP, or of a Kafka that lives as long as the session."""
    if given := os.environ.get("SCORER_TEST_BOOTSTRAP"):
        yield given
        return
    request.getfixturevalue("java")
    with LocalBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker.bootstrap
