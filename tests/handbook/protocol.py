"""The protocol of the Fraud Detection Handbook: transactions in; a split of them and figures of scores on it out.

Le Borgne, Siblini, Lebichot, Bontempi, *Reproducible Machine Learning for Credit Card Fraud Detection - Practical
Handbook* (ULB, 2022). Written anew from its prose. Its transactions are simulated, and carry no licence: they stay
where they are, and nothing made from them is kept in this repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

WEEK = 7
"""Days of each part: to train on, to wait for its labels, to test on."""
ID, TIME, CUSTOMER, LABEL = "TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TX_FRAUD"
WINDOWS = (1, 7, 30)
FEATURES = [
    "TX_AMOUNT",
    "TX_DURING_WEEKEND",
    "TX_DURING_NIGHT",
    *(f"CUSTOMER_ID_{what}_{days}DAY_WINDOW" for days in WINDOWS for what in ("NB_TX", "AVG_AMOUNT")),
    *(f"TERMINAL_ID_{what}_{days}DAY_WINDOW" for days in WINDOWS for what in ("NB_TX", "RISK")),
]
VALIDATION, TEST = date(2018, 7, 11), date(2018, 7, 25)
"""First days of the split that a model is chosen on, and of the one that it is judged by."""
COUNTS: Mapping[date, tuple[int, int, int, int]] = MappingProxyType(
    {VALIDATION: (66_928, 633, 58_505, 374), TEST: (67_240, 598, 58_264, 385)}
)
"""Transactions and frauds trained on, then tested on. Those of the test are published."""


@dataclass(frozen=True, slots=True)
class Split:
    """Two weeks of transactions, the one between them left out: its frauds are not yet known when the test begins."""

    train: pd.DataFrame
    test: pd.DataFrame

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Transactions and frauds to train on, then to test on."""
        train, test = self.train[LABEL], self.test[LABEL]
        return len(train), int(train.sum()), len(test), int(test.sum())


@dataclass(frozen=True, slots=True)
class Figures:
    """Areas under the ROC and the precision-recall curve, and the card precision of the top 100 a day."""

    roc_auc: float
    average_precision: float
    card_precision_100: float


def read(path: Path) -> pd.DataFrame:
    """Return the transactions of a Parquet file.

    Raises SystemExit where the file cannot be read or lacks a column.
    """
    from pyarrow import parquet

    try:
        return parquet.read_table(path, columns=[ID, TIME, CUSTOMER, LABEL, *FEATURES]).to_pandas()
    except (OSError, ValueError) as error:
        raise SystemExit(
            f"{path}: {error}; give the Handbook's transformed transactions as one Parquet file"
        ) from error


def split(frame: pd.DataFrame, start: date) -> Split:
    """Return the split that begins on `start`.

    A card is left out of a test day where its fraud is known by then: one of the training week, or one of any day from
    the week's last on that is seven days past or more.
    """
    day = day_of(frame, start)
    train = frame[(day >= 0) & (day < WEEK)]
    fraud = frame[LABEL].to_numpy() == 1
    parts, known = [], set(train.loc[train[LABEL] == 1, CUSTOMER])
    for today in range(2 * WEEK, 3 * WEEK):
        known |= set(frame.loc[fraud & (day == today - WEEK - 1), CUSTOMER])
        parts.append(frame[(day == today) & ~frame[CUSTOMER].isin(known)])
    return Split(train, pd.concat(parts))


def published_split(frame: pd.DataFrame, start: date) -> Split:
    """Return a split whose counts are known; raises SystemExit where the data give others."""
    parts = split(frame, start)
    if parts.counts != COUNTS[start]:
        raise SystemExit(f"split of {start}: {parts.counts} instead of {COUNTS[start]}: these are other transactions")
    return parts


def day_of(frame: pd.DataFrame, start: date) -> NDArray[np.int64]:
    """Return the day of each transaction, 0 being `start` (int64, shape (n,))."""
    days: NDArray[np.int64] = (frame[TIME].to_numpy("datetime64[D]") - np.datetime64(start)).astype(np.int64)
    return days


def measure(frame: pd.DataFrame, scores: NDArray[np.floating[Any]]) -> Figures:
    """Return the figures of scores (shape (n,)) on n transactions."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels = frame[LABEL].to_numpy()
    return Figures(
        float(roc_auc_score(labels, scores)),
        float(average_precision_score(labels, scores)),
        card_precision(frame, scores, top=100),
    )


def card_precision(frame: pd.DataFrame, scores: NDArray[np.floating[Any]], *, top: int) -> float:
    """Return the share of compromised cards among the `top` most suspicious of a day, averaged over the days.

    A card counts with its highest score of the day, and is not looked at again once found. Of equal scores, the lower
    card number is looked at first.
    """
    cards = pd.DataFrame(
        {
            "day": frame[TIME].to_numpy("datetime64[D]"),
            "card": frame[CUSTOMER].to_numpy(),
            "fraud": frame[LABEL].to_numpy(),
            "score": scores,
        }
    )
    found: set[int] = set()
    shares = []
    for _, today in cards.groupby("day"):
        worst = today[~today["card"].isin(found)].groupby("card")[["score", "fraud"]].max()
        looked_at = worst.sort_values("score", ascending=False, kind="stable").head(top)
        caught = looked_at.index[looked_at["fraud"] == 1]
        found |= set(caught)
        shares.append(len(caught) / top)
    return float(np.mean(shares))
