"""Decided events as columns: what the evaluation looks at."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scorer.evaluation.findings import Costs
from scorer.evaluation.span import Span, span

Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scored:
    """Events with their scores, each array of shape (n,).

    `time` is int64 milliseconds since the epoch, `score` float32 in [0, 1], `label` int8: 1 for fraud, 0 for none, -1
    where nobody knows. `amount` is float64 money, NaN where an event has none; None where no field was named for it.
    """

    time: NDArray[np.int64]
    score: NDArray[np.float32]
    label: NDArray[np.int8]
    amount: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.score)

    def where(self, mask: Mask | NDArray[np.intp]) -> Scored:
        """Return the events of a mask, or in an order."""
        taken = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: array[mask] for name, array in taken.items() if array is not None})

    @property
    def fraud(self) -> Mask:
        """Which events are known to be fraud."""
        fraud: Mask = self.label == 1
        return fraud

    @property
    def legitimate(self) -> Mask:
        """Which events are known not to be."""
        legitimate: Mask = self.label == 0
        return legitimate

    @property
    def span(self) -> Span | None:
        """From when to when the events are, but for strays; None without an event."""
        return span([self.time])

    @property
    def days(self) -> float | None:
        """The days of the span; None where all events have the same time, as in a file without times."""
        found = self.span
        return found.days if found else None

    def losses(self, costs: Costs) -> NDArray[np.float64]:
        """Return what each fraud costs if it is missed, 0 for all others.

        A fraud without an amount costs the mean of those that have one.
        """
        fraud = self.fraud
        if self.amount is None:
            return np.where(fraud, costs.missed, 0.0)
        known = self.amount[fraud & np.isfinite(self.amount)]
        mean = float(known.mean()) if len(known) else 0.0
        return np.where(fraud, np.where(np.isfinite(self.amount), self.amount, mean), 0.0)


def band_of(score: NDArray[np.float32], edges: Any) -> NDArray[np.intp]:
    """Return each score's band as `decide` does: 0 below the lowest of the ascending float32 `edges`."""
    return np.searchsorted(np.asarray(edges, np.float32), score, side="right")
