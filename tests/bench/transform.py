"""The compiled plan beside NumPy by hand and scikit-learn's own `transform`: CPU µs a row, as ratios of one run.

All three make the same 36 features of the same 1,024 simulated payments with the card demo's preprocessor: scaling,
imputing, one-hot and ordinal codes. Ours and the one by hand start from decoded columns, scikit-learn from a DataFrame.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

ROWS = 1024
CALLS = {"NumPy by hand": 10, "compiled plan": 10, "scikit-learn": 1}
"""Calls a round: about as many as take the same time."""
MOST_OF_HAND, LEAST_OF_SKLEARN = 2.0, 20.0
"""What is aimed at: at most twice the time of the arithmetic, and at least twenty times faster than scikit-learn."""


class ByHand:
    """The fitted preprocessor's arithmetic, written as one would without any plan, checks or rejections."""

    def __init__(self, fitted: Any) -> None:
        from scorer.demo import cards

        amounts, counts, risks = (fitted.named_transformers_[name] for name in ("amounts", "counts", "risks"))
        imputer, age = fitted.named_transformers_["age"]
        ordinal, country = fitted.named_transformers_["country"]
        words = fitted.named_transformers_["words"]
        self._standard = [
            *zip(cards.AMOUNTS, amounts.mean_, amounts.scale_, range(4), strict=True),
            *zip(cards.RISKS, risks.mean_, risks.scale_, range(10, 13), strict=True),
        ]
        self._counts = list(zip(cards.COUNTS, counts.scale_, counts.min_, range(4, 10), strict=True))
        self._age = (imputer.statistics_[0], age.mean_[0], age.scale_[0])
        self._words = {
            name: {word: place for place, word in enumerate(categories)}
            for name, categories in zip(words.feature_names_in_, words.categories_, strict=True)
        }
        self._codes = {word: float(code) for code, word in enumerate(ordinal.categories_[0])}
        self._country = (country.scale_[0], country.min_[0])

    def __call__(self, values: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return the features (float32, shape (n, 36)) of decoded columns."""
        count = len(values["amount"])
        matrix = np.zeros((count, 36), np.float32)
        for name, mean, scale, at in self._standard:
            matrix[:, at] = (values[name] - mean) / scale
        for name, scale, low, at in self._counts:
            matrix[:, at] = values[name] * scale + low
        fill, mean, scale = self._age
        age = values["customer_age_days"]
        matrix[:, 13] = (np.where(np.isnan(age), fill, age) - mean) / scale
        matrix[:, 14] = values["weekend"]
        matrix[:, 15] = values["night"]
        at = 16
        for name, places in self._words.items():
            # Dictionaries: to compare the column with each category makes the whole take 1.7 times as long.
            found = np.fromiter(map(places.get, values[name].tolist(), repeat(-1)), np.intp, count)
            hits = np.flatnonzero(found >= 0)
            matrix[hits, at + found[hits]] = 1
            at += len(places)
        codes = np.fromiter(map(self._codes.get, values["card.country"].tolist(), repeat(-1.0)), np.float64, count)
        matrix[:, at] = codes * self._country[0] + self._country[1]
        return matrix


def contestants(directory: Path) -> dict[str, Callable[[], Any]]:
    """Return the three, each ready to be called, having made sure that they give the same features."""
    from scorer.infer.runtime import tensorflow

    tensorflow()
    from scorer.bundle import pack
    from scorer.demo import cards
    from scorer.demo.simulator import simulate
    from scorer.records import Records

    payments = simulate(1, days=8, customers=400, terminals=800)
    fitted = cards.build_preprocessor().fit(payments.frame())
    chosen = payments.take(np.arange(ROWS))
    frame = chosen.frame()
    bundle = pack(
        directory / "card-transform",
        name="card-transform",
        version="1",
        model=cards.build_model(36),
        preprocessor=fitted,
        events=frame,
        bands={"review": 0.5},
    )
    values = [_json(event) for event in chosen.events()]
    columns, _ = bundle.decode(Records.of("bench", [0] * ROWS, range(ROWS), [0] * ROWS, [None] * ROWS, values))
    by_hand, decoded = ByHand(fitted), dict(columns.values)
    (features,) = bundle.transform(columns)[0].arrays.values()
    if not (np.array_equal(features, by_hand(decoded)) and np.array_equal(features, _sklearn(fitted, frame))):
        raise SystemExit("the three do not give the same features: what they cost cannot be compared")
    return {
        "NumPy by hand": partial(by_hand, decoded),
        "compiled plan": partial(bundle.transform, columns),
        "scikit-learn": partial(fitted.transform, frame),
    }


def measure(directory: Path, rounds: int) -> dict[str, list[float]]:
    """Return the µs a row of each, one number a round; the rounds are interleaved."""
    ready = contestants(directory)
    taken: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, call in ready.items():
            # The thread's own CPU time: what else the machine does is not counted.
            start = time.thread_time()
            for _ in range(CALLS[name]):
                call()
            taken[name].append((time.thread_time() - start) / CALLS[name] / ROWS * 1e6)
    return taken


def report(taken: dict[str, list[float]], console: Console) -> None:
    """Print the median µs a row, and the median of the rounds' own ratios to the compiled plan."""
    hand, plan, sklearn = (np.array(taken[name]) for name in ("NumPy by hand", "compiled plan", "scikit-learn"))
    slower, faster = median((plan / hand).tolist()), median((sklearn / plan).tolist())
    table = Table(title=f"transform of {ROWS:,} card payments, one thread")
    for heading in ("20 fields to 36 features", "CPU µs/row", "the compiled plan", "aimed at"):
        table.add_column(heading, justify="right" if heading == "CPU µs/row" else "left")
    table.add_row("NumPy by hand", f"{median(hand.tolist()):.2f}", f"{slower:.2f}x its time", f"≤ {MOST_OF_HAND:.0f}x")
    table.add_row("compiled plan", f"{median(plan.tolist()):.2f}", "", "")
    table.add_row(
        "scikit-learn", f"{median(sklearn.tolist()):.2f}", f"{faster:.0f}x faster", f"≥ {LEAST_OF_SKLEARN:.0f}x"
    )
    console.print(table)


def _sklearn(fitted: Any, frame: Any) -> NDArray[np.float32]:
    features: NDArray[np.float32] = fitted.transform(frame).astype(np.float32)
    return features


def _json(event: dict[str, Any]) -> bytes:
    import msgspec

    return msgspec.json.encode(event)
