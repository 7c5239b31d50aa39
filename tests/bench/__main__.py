"""`make bench`: what is fast, beside what it is measured against, as ratios of one run.

usage: python -m tests.bench [stream|transform] [--events N] [--rounds N] [--peers] [--only NAME,…] [--wide] [--json F]

`transform` puts the compiled preprocessing beside NumPy by hand and scikit-learn. `stream` puts `scorer run` beside a
bare pass-through, and with `--peers` beside what else can be had to score the same events with the same model.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench import printer, stream, stream_table, transform
from tests.bench.peers.programs import PROGRAMS, Program
from tests.bench.reference import WORKLOADS

TRANSFORM_ROUNDS = 60
"""Of some hundredths of a second each: short, so that what else the machine does falls on all alike."""


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    console = printer()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if arguments.part != "stream":
            transform.report(transform.measure(directory, TRANSFORM_ROUNDS), console)
        if arguments.part != "transform":
            workloads = list(WORKLOADS) if arguments.wide else list(WORKLOADS)[:1]
            programs = _chosen(arguments.only, peers=arguments.peers)
            outcome = stream.measure(
                directory, workloads, programs, count=arguments.events, rounds=arguments.rounds, console=console
            )
            stream_table.report(outcome, console)
            if arguments.json:
                arguments.json.write_text(json.dumps(stream_table.as_json(outcome), indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description="speed, as ratios of one run")
    parser.add_argument("part", nargs="?", choices=("stream", "transform"), help="only this one")
    parser.add_argument("--events", type=int, default=400_000, help="of each run; slow programs take fewer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="the peers too: fetched into .bench/ at the first time")
    parser.add_argument("--only", type=_names, help=f"comma-separated: {', '.join(p.name for p in PROGRAMS)}")
    parser.add_argument("--wide", action="store_true", help="events of 60 fields too, 1.2 kB each")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - {program.name for program in PROGRAMS}:
        raise argparse.ArgumentTypeError(f"no program is called {', '.join(sorted(unknown))}")
    return names


def _chosen(only: Sequence[str] | None, *, peers: bool) -> list[Program]:
    """Return the programs to measure, in the table's order."""
    return [program for program in PROGRAMS if (program.name in only if only else peers or not program.peer)]


if __name__ == "__main__":
    main()
