"""How well a packed network does on the Handbook's transactions, scored as the stream would score them.

usage: python -m tests.handbook DATA.parquet [--split test|validation] [--seeds N]

DATA.parquet holds the Handbook's transformed transactions of 2018-07-11 to 2018-08-14; they are simulated, have no
licence, and are no part of this project. A Keras network is trained on a week with each seed, packed with its
scikit-learn preprocessor, and the bundle scores the test week from raw JSON events: decode → transform → model. Exit
code 1 where the mean over the seeds does not reach what is required; the spread shows how much of a figure is luck.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from scorer.infer.runtime import tensorflow
from tests.handbook import network, protocol
from tests.handbook.protocol import Figures

SPLITS = {"test": protocol.TEST, "validation": protocol.VALIDATION}
PUBLISHED = {
    "test": Figures(roc_auc=0.864, average_precision=0.653, card_precision_100=0.286),
    "validation": Figures(roc_auc=0.859, average_precision=0.646, card_precision_100=0.280),
}
"""The book's supervised networks: feed-forward on the test split; the one it compares its autoencoder with."""
REQUIRED = Figures(roc_auc=0.86, average_precision=0.64, card_precision_100=0.28)


def main() -> None:
    """Train, pack, score, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.handbook", description="a packed network on the Handbook")
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    console = Console(highlight=False)
    parts = protocol.published_split(protocol.read(arguments.data), SPLITS[arguments.split])
    console.print("train {:,} transactions, {:,} frauds; test {:,}, {:,}: as published".format(*parts.counts))
    tensorflow()
    found = []
    with tempfile.TemporaryDirectory() as name:
        for seed in range(1, arguments.seeds + 1):
            bundle = network.packed(parts.train, Path(name) / f"seed-{seed}", seed)
            found.append(protocol.measure(parts.test, network.scores(bundle, parts.test)))
            console.print(f"seed {seed}: {_shown(found[-1])}")
    report(found, PUBLISHED[arguments.split], console)
    if not reached(found):
        raise SystemExit(1)


def reached(found: Sequence[Figures]) -> bool:
    """Return whether the mean of every figure is at least what is required."""
    means = np.mean([astuple(figures) for figures in found], axis=0)
    return bool((means >= astuple(REQUIRED)).all())


def report(found: Sequence[Figures], published: Figures, console: Console) -> None:
    """Print the figures of each seed, their mean and spread, and what they are held against."""
    table = Table(title="simulated transactions of the Handbook")
    for heading in ("", "AUC ROC", "AP", "CP@100"):
        table.add_column(heading, justify="right" if heading else "left")
    values = np.array([astuple(figures) for figures in found])
    for seed, row in enumerate(values, 1):
        table.add_row(f"packed network, seed {seed}", *(f"{value:.3f}" for value in row))
    table.add_section()
    spread = zip(values.mean(0), values.max(0) - values.min(0), strict=True)
    table.add_row("mean, and highest - lowest", *(f"{mean:.3f} ({width:.3f})" for mean, width in spread))
    table.add_row("published feed-forward", *(f"{value:.3f}" for value in astuple(published)))
    table.add_row("required of the mean", *(f"{value:.2f}" for value in astuple(REQUIRED)))
    console.print(table)


def _shown(figures: Figures) -> str:
    return "AUC ROC {:.3f}, AP {:.3f}, CP@100 {:.3f}".format(*astuple(figures))


if __name__ == "__main__":
    main()
