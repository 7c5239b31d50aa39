"""Whether a score may be read as a probability: expected calibration error, over bins of equal count.

ECE = Σ nᵦ/n · |mean score of bin b - share of fraud in bin b|     (Naeini, Cooper, Hauskrecht, AAAI 2015)
"""

from __future__ import annotations

import numpy as np

from scorer.evaluation.findings import Bin, Calibration
from scorer.evaluation.scored import Scored

BINS = 15
GOOD, POOR = 0.1, 0.5
"""Shares of the rate of fraud by which the error is judged: where fraud is rare, so is every error."""


def calibration(scored: Scored) -> Calibration | None:
    """Return the error and its bins; None without labels. Equal scores always share a bin."""
    labelled = scored.where(scored.label >= 0)
    if not len(labelled):
        return None
    order = np.argsort(labelled.score, kind="stable")
    score, fraud = labelled.score[order].astype(np.float64), labelled.label[order] == 1
    wanted = score[(np.arange(1, BINS) * len(score)) // BINS]
    cuts = np.unique([0, *np.searchsorted(score, wanted, side="left").tolist()])
    sizes = np.diff(cuts, append=len(score))
    means, rates = np.add.reduceat(score, cuts) / sizes, np.add.reduceat(fraud.astype(np.float64), cuts) / sizes
    error = float((sizes * np.abs(means - rates)).sum() / len(score))
    bins = [Bin(*row) for row in zip(means.tolist(), rates.tolist(), sizes.tolist(), strict=True)]
    return Calibration(error, bins, _verdict(error, float(score.mean()), float(fraud.mean())))


def _verdict(error: float, mean: float, rate: float) -> str:
    scale = min(rate, 1.0 - rate)
    if error <= GOOD * scale:
        return f"ECE {error:.2g}: scores are close to probabilities of fraud"
    far = f"the mean score is {mean:.3g}, the share of fraud {rate:.3g}"
    if error <= POOR * scale:
        return f"ECE {error:.2g}: scores are roughly probabilities of fraud; {far}"
    return (
        f"ECE {error:.2g}: scores are no probabilities here ({far}). Choose bands by what they do on these labels, "
        "not by reading an edge as a probability; packing with a calibration mends it"
    )
