"""A broker that may be broken, and the table of what the fault runs found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from auditor import Audit

from scorer.broker.local import LocalBroker

SMOKE = os.environ.get("SMOKE") == "1"
ROUNDS = int(os.environ.get("ROUNDS", "6" if SMOKE else "50"))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `least` is the shortest silence that the fault allows, in seconds."""

    name: str
    audit: Audit
    least: float | None

    def cells(self) -> list[str]:
        """Return the line's cells."""
        audit, least = self.audit, self.least
        told = f"{audit.silence:.1f}" if least is not None else "-"
        limit = f"{least:.1f}" if least is not None else "-"
        ratio = f"{audit.silence / least:.2f}" if least else "-"
        counts = (audit.events, audit.lost, audit.duplicated, audit.wrong, audit.disordered)
        return [self.name, *map(str, counts), told, limit, ratio]


HEADS = ["fault", "events", "LOST", "DUP", "WRONG", "ORDER", "silence s", "least s", "ratio"]
ROWS: list[Row] = []
Report = Callable[[str, Audit, float | None], None]


@pytest.fixture
def report() -> Report:
    """Give what adds a line to the table."""
    return lambda name, audit, least: ROWS.append(Row(name, audit, least))


@pytest.fixture(scope="module")
def broker(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """Give a Kafka of one's own, which may be killed and stopped."""
    with LocalBroker(tmp_path_factory.mktemp("kafka")) as made:
        yield made


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give a directory for one story's files."""
    return tmp_path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long stories to the full run."""
    long = [item for item in items if SMOKE and item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if not ROWS:
        return
    cells = [HEADS, *(row.cells() for row in ROWS)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    terminalreporter.section("fault runs")
    for line in cells:
        fault, *figures = (f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join([fault.strip().ljust(widths[0]), *figures]))
