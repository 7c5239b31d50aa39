"""The proof at packing: the stream's features against the fitted preprocessor's own, scores against other company."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.bundle.golden import ulps
from scorer.bundle.packing.choosing import Case
from scorer.bundle.packing.examples import Examples
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
    shares: Mapping[str, Sequence[int]]
    """Which of its columns each model input takes, by the input's name; inputs of other sources are not in it."""

    def check(self, plan: Plan, events: Any, rows: Sequence[int], inputs: Inputs) -> None:
        """Hold the plan's features of examples against the preprocessor's own; raises PackError where a bit differs."""
        expected = self._transformed(events, rows)
        for feed, found, wanted in self._held(plan, inputs, expected):
            apart = ulps(found, wanted)
            if apart.any():
                row, column = np.unravel_index(int(np.argmax(apart)), apart.shape)
                feature, here, there = feed.node.features[int(column)], found[row, column], wanted[row, column]
                raise PackError(
                    f"parity: example {rows[int(row)]}, feature {feature!r}: the stream gives {here!r}, the "
                    f"preprocessor {there!r}. {_hint(events)}"
                )

    def agreeing(self, plan: Plan, events: Any, cases: Sequence[Case], inputs: Inputs) -> list[Case]:
        """Hold the plan's features of made-up events against the preprocessor's own.

        Returns those events that the preprocessor takes: a changed cell may change its column's dtype,
        and an object column be refused where one of numbers was fitted. Raises PackError where a bit differs. A null
        was NaN or None in training, which nobody can tell without an example: one of them must agree.
        """
        if not cases:
            return []
        worst = self._apart(plan, events, cases, inputs, np.arange(len(cases)), null=np.nan)
        changes = [case.change for case in cases]
        nulls = [at for at, change in enumerate(changes) if change and change[1] is None and worst[at] != 0]
        if nulls:
            worst[nulls] = np.fmin(worst[nulls], self._apart(plan, events, cases, inputs, np.array(nulls), null=None))
        if (worst > 0).any():
            at = int(np.nanargmax(worst))
            raise PackError(
                f"parity: example {cases[at].row} with {cases[at].why}: a feature of the stream is "
                f"{worst[at]:.0f} ulp from the preprocessor's own; the plan would not serve such an event as training "
                "would: report it, and meanwhile narrow the field's range or nullability in schema={…}"
            )
        return [case for case, apart in zip(cases, worst.tolist(), strict=True) if apart == 0]

    def _apart(
        self, plan: Plan, events: Any, cases: Sequence[Case], inputs: Inputs, places: NDArray[np.intp], *, null: Any
    ) -> NDArray[np.float64]:
        """Return the largest distance of a feature of each case in `places`, in ulps; NaN where it is refused."""
        try:
            expected = self._changed(events, [cases[at] for at in places], null)
        except (TypeError, ValueError, LookupError, ArithmeticError):
            if len(places) == 1:
                return np.array([np.nan])
            halves = np.array_split(places, 2)  # whatever is refused is found by halving
            return np.concatenate([self._apart(plan, events, cases, inputs, half, null=null) for half in halves])
        worst = np.zeros(len(places))
        for _, found, wanted in self._held(plan, inputs, expected, places):
            worst = np.maximum(worst, ulps(found, wanted).max(axis=1, initial=0.0))
        return worst

    def _changed(self, events: Any, cases: Sequence[Case], null: Any) -> NDArray[Any]:
        """Return what the fitted preprocessor gives for the changed examples."""
        rows = [case.row for case in cases]
        frame = self._frame(events, rows)
        for name in self._names():
            cells = {at: case.change[1] for at, case in enumerate(cases) if case.change and case.change[0] == name}
            if cells:
                frame[name] = _altered(frame[name], cells, null)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # extremes overflow, and unknown categories are told of
            return _dense(self.preprocessor.transform(frame if self.columns is None else _array(frame)))

    def _transformed(self, events: Any, rows: Sequence[int]) -> NDArray[Any]:
        """Return what the fitted preprocessor itself gives for some examples, as a dense matrix."""
        if self.columns is not None and not hasattr(events, "iloc"):
            cells = [[self.examples.columns[name][row] for name in self.columns] for row in rows]
            return _dense(self.preprocessor.transform(np.array(cells, object)))
        frame = self._frame(events, rows)
        return _dense(self.preprocessor.transform(frame if self.columns is None else _array(frame)))

    def _frame(self, events: Any, rows: Sequence[int]) -> Any:
        """Return some examples as a DataFrame: of the given one's dtypes, or of what dictionaries hold."""
        names = self._names()
        if hasattr(events, "iloc"):
            return events[names].iloc[list(rows)].reset_index(drop=True)
        pd = _pandas()
        columns = {name: [self.examples.columns[name][row] for row in rows] for name in names}
        return pd.DataFrame({name: pd.Series(cells, dtype=_dtype(cells)) for name, cells in columns.items()})

    def _names(self) -> list[str]:
        """Return the fields that the preprocessor was fitted on; a column transformer may have ignored some."""
        fitted_on: Sequence[str] = getattr(self.preprocessor, "feature_names_in_", list(self.examples.columns))
        return list(self.columns or [name for name in fitted_on if name in self.examples.columns])

    def _held(
        self, plan: Plan, inputs: Inputs, expected: NDArray[Any], places: NDArray[np.intp] | None = None
    ) -> Iterator[tuple[Matrix, NDArray[Any], NDArray[Any]]]:
        """Yield each feed of features, the plan's (those of the events in `places`), and the preprocessor's own."""
        for name, share in self.shares.items():
            feed = plan.inputs[name]
            if isinstance(feed, Matrix):
                found = inputs.arrays[name]
                with np.errstate(all="ignore"):
                    wanted = expected[:, list(share)].astype(feed.dtype)
                yield feed, found if places is None else found[places], wanted


def check_independence(model: Model, inputs: Inputs, scores: Scores) -> None:
    """Score the golden events in other company: an event's score may depend on nothing but the event.

    Once in halves, backwards and rotated, and once shuffled in ragged parts, so that every event is at other places of
    the batch, the first of them alone with the padding.
    """
    count = len(inputs.rows)
    backwards = np.roll(np.arange(count)[::-1], count // 3)
    shuffled = np.random.default_rng(count).permutation(count)
    for part in [*np.array_split(backwards, 2), *np.split(shuffled, [1, 3, 10, count // 2])]:
        again, _ = model(Inputs(inputs.rows[part], {name: array[part] for name, array in inputs.arrays.items()}))
        if again.score.tobytes() != scores.score[part].tobytes():
            raise PackError(
                "model: an event's score depends on the events that share its batch, or on its place there, so that no "
                f"replay could repeat it (at {model.spec.batch_shape} rows a call); is a layer in training mode, does "
                "the model average over the batch, or is it fixed to a number of rows that is no multiple of eight?"
            )


def _hint(events: Any) -> str:
    """Return what usually makes examples differ from the stream that will bring them."""
    if any(getattr(dtype, "kind", "") == "f" and dtype.itemsize < 8 for dtype in getattr(events, "dtypes", ())):
        return (
            "JSON carries float64, and some examples are float32: pack them as float64, as the stream will bring them"
        )
    return (
        "Null has one meaning in the stream: if it was both None and NaN in training, make it one with "
        "fillna(numpy.nan) and fit again; otherwise please report this"
    )


def _dense(result: Any) -> NDArray[Any]:
    return np.asarray(result.toarray() if hasattr(result, "toarray") else result)


def _array(frame: Any) -> NDArray[Any]:
    """Return a frame's values row by row: scikit-learn sums rows in another order where columns lie together."""
    return np.ascontiguousarray(frame.to_numpy())


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise PackError("a preprocessor of named columns needs pandas: pip install 'scorer[pack]'") from error
    return pd


def _dtype(cells: Sequence[Any]) -> str | None:
    """Return the dtype under which None stays None: pandas would make it NaN beside text, which is another category."""
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds == {bool} and None not in cells:
        return "bool"
    return "float64" if kinds <= {int, float} and None in cells else None if kinds <= {int, float} else "object"


def _altered(column: Any, cells: Mapping[int, Any], null: Any) -> Any:
    """Return a column with some cells changed, of its own dtype where that can hold them."""
    pd = _pandas()
    altered = column.astype(object)
    for at, cell in cells.items():
        altered.iloc[at] = null if cell is None else cell
    if column.dtype.kind in "iuf" and isinstance(column.dtype, np.dtype):
        return pd.Series([np.nan if cell is None else cell for cell in altered], index=column.index)
    if isinstance(column.dtype, pd.CategoricalDtype) or None in cells.values():
        return altered
    try:
        return altered.astype(column.dtype)
    except (TypeError, ValueError):
        return altered
