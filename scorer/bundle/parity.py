"""The proof at packing: the stream's features against the fitted preprocessor's own, scores against other company."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.bundle.examples import Examples
from scorer.bundle.golden import ulps
from scorer.errors import PackError
from scorer.infer.model import Model
from scorer.records import Inputs, Scores
from scorer.transform import Matrix, Plan


@dataclass(frozen=True, slots=True)
class Reference:
    """The fitted preprocessor itself, on the examples as they were given."""

    preprocessor: Any
    columns: Sequence[str] | None
    examples: Examples

    def check(self, plan: Plan, events: Any, rows: Sequence[int], inputs: Inputs) -> None:
        """Hold the plan's features of examples against the preprocessor's own; raises PackError where a bit differs."""
        expected = self._transformed(events, rows)
        for name, feed in plan.inputs.items():
            if not isinstance(feed, Matrix):
                continue
            found, wanted = inputs.arrays[name], expected.astype(feed.dtype)
            apart = ulps(found, wanted)
            if apart.any():
                row, column = np.unravel_index(int(np.argmax(apart)), apart.shape)
                raise PackError(
                    f"parity: example {rows[int(row)]}, feature {feed.node.features[int(column)]!r}: "
                    f"the stream gives {found[row, column]!r}, the preprocessor {wanted[row, column]!r}. JSON carries "
                    "float64: if the examples are float32, pack them as float64, as the stream will bring them"
                )

    def _transformed(self, events: Any, rows: Sequence[int]) -> NDArray[Any]:
        """Return what the fitted preprocessor itself gives for some examples, as a dense matrix."""
        if hasattr(events, "iloc"):
            chosen = events.iloc[list(rows)]
            raw = chosen[list(self.columns)].to_numpy() if self.columns is not None else chosen
        else:
            fitted_on: Sequence[str] = getattr(self.preprocessor, "feature_names_in_", list(self.examples.columns))
            names = list(self.columns or fitted_on)
            cells = [[self.examples.columns[name][row] for name in names] for row in rows]
            raw = np.array(cells, object) if self.columns is not None else _frame(cells, names)
        result = self.preprocessor.transform(raw)
        return np.asarray(result.toarray() if hasattr(result, "toarray") else result)


def check_independence(model: Model, inputs: Inputs, scores: Scores) -> None:
    """Score the golden events in other company: an event's score may depend on nothing but the event."""
    others = np.roll(np.arange(len(inputs.rows))[::-1], len(inputs.rows) // 3)
    for half in np.array_split(others, 2):
        again, _ = model(Inputs(inputs.rows[half], {name: array[half] for name, array in inputs.arrays.items()}))
        if again.score.tobytes() != scores.score[half].tobytes():
            raise PackError(
                "model: an event's score depends on the events that share its batch, so that no replay could repeat "
                "it; is a layer in training mode, or does the model average over the batch?"
            )


def _frame(cells: Sequence[Sequence[Any]], names: Sequence[str]) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise PackError("a preprocessor of named columns needs pandas: pip install 'scorer[pack]'") from error
    return pd.DataFrame(cells, columns=list(names))
