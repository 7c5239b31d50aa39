"""Fitted scikit-learn preprocessor → feature plan: objects become data, so that serving needs NumPy only.

The order of operations, the treatment of NaN and the dtypes are those of scikit-learn's own `transform`; tests hold the
plan and the object against each other, bit for bit. Only the classes listed in `_compilers` are read, and no subclass
of one: a subclass may override what its parent does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from scorer.errors import PackError
from scorer.transform import plan
from scorer.transform.plan import Number, Step, Value, is_nan, is_null, number


@dataclass(frozen=True, slots=True)
class Compiled:
    """A preprocessor as data: its node, the raw columns it uses (in order), the names of the features it gives."""

    node: plan.Node
    fields: list[str]
    features: list[str]


class _Flow(NamedTuple):
    """What runs between two transformers: so many columns, perhaps sparse, of this dtype (None: as they came)."""

    width: int
    sparse: bool = False
    dtype: np.dtype[Any] | None = None


_Steps: TypeAlias = tuple[list[Step], _Flow]
_Compiler: TypeAlias = Callable[[str, Any, _Flow], _Steps]


def compile_preprocessor(preprocessor: Any, *, columns: Sequence[str] | None = None) -> Compiled:
    """Compile a fitted ColumnTransformer, Pipeline or single transformer.

    `columns` names the array's columns, for a preprocessor that was fitted without feature names. The features are
    named by `get_feature_names_out`, or x0, x1, … where it cannot.

    Raises PackError for what is not fitted, not named, or not among the supported classes.
    """
    name = type(preprocessor).__name__
    _require_fitted(name, preprocessor)
    fields = _input_names(name, preprocessor, columns)
    steps, flow = _compile(name, preprocessor, _Flow(len(fields)))
    if flow.sparse:
        steps = [*steps, plan.Unsign()]
    features = _output_names(preprocessor, fields, flow.width)
    node = plan.Node(fields, steps, features).pruned()
    return Compiled(node, node.fields, node.features)


def _require_fitted(name: str, preprocessor: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(preprocessor)
    except NotFittedError as error:
        raise PackError(f"preprocessor {name} is not fitted: call its fit before pack") from error
    except TypeError as error:
        raise PackError(f"preprocessor {name} is no scikit-learn transformer; {_supported()}") from error


def _input_names(name: str, preprocessor: Any, columns: Sequence[str] | None) -> list[str]:
    fitted = getattr(preprocessor, "feature_names_in_", columns)
    if fitted is None:
        raise PackError(f"preprocessor {name} was fitted without column names: pass columns=[...], the event's fields")
    names = [str(field) for field in fitted]
    if columns is not None and names != list(columns):
        raise PackError(f"preprocessor {name} was fitted on columns {names}, but columns={list(columns)} was passed")
    width = getattr(preprocessor, "n_features_in_", len(names))
    if width != len(names):
        raise PackError(f"preprocessor {name} was fitted on {width} columns, but columns names {len(names)}")
    return names


def _output_names(preprocessor: Any, fields: list[str], width: int) -> list[str]:
    try:
        names = list(map(str, preprocessor.get_feature_names_out(fields)))
    except (AttributeError, TypeError, ValueError):
        # A FunctionTransformer has no names unless told, and clashing names raise: the model does not need them.
        names = []
    return names if len(names) == width else [f"x{i}" for i in range(width)]


def _compile(name: str, transformer: Any, flow: _Flow) -> _Steps:
    if transformer is None or (isinstance(transformer, str) and transformer == "passthrough"):
        return [], flow
    compiler = _compilers().get(type(transformer))
    if compiler is None:
        kind = f"{type(transformer).__module__}.{type(transformer).__qualname__}"
        raise PackError(f"transformer {name!r} is a {kind}, which cannot be compiled; {_supported()}")
    return compiler(name, transformer, flow)


@cache
def _compilers() -> dict[type, _Compiler]:
    from sklearn import compose, impute, pipeline, preprocessing

    return {
        compose.ColumnTransformer: _column_transformer,
        pipeline.Pipeline: _pipeline,
        preprocessing.StandardScaler: _standard_scaler,
        preprocessing.MinMaxScaler: _min_max_scaler,
        preprocessing.MaxAbsScaler: _max_abs_scaler,
        preprocessing.RobustScaler: _robust_scaler,
        preprocessing.FunctionTransformer: _function_transformer,
        preprocessing.OneHotEncoder: _one_hot_encoder,
        preprocessing.OrdinalEncoder: _ordinal_encoder,
        impute.SimpleImputer: _simple_imputer,
    }


def _supported() -> str:
    names = ", ".join(sorted(kind.__name__ for kind in _compilers()))
    return f"supported, without their subclasses: {names}, 'passthrough' and 'drop'"


def _pipeline(name: str, fitted: Any, flow: _Flow) -> _Steps:
    steps: list[Step] = []
    for key, transformer in fitted.steps:
        more, flow = _compile(f"{name}.{key}", transformer, flow)
        if steps and isinstance(steps[-1], plan.Impute):
            # An encoder that knows None tells that training had None for null, which the imputer before it let pass.
            known = enumerate(getattr(transformer, "categories_", []))
            steps[-1] = steps[-1].leaving([i for i, categories in known if any(raw is None for raw in categories)])
        steps += more
    return steps, flow


def _column_transformer(name: str, fitted: Any, flow: _Flow) -> _Steps:
    branches: list[plan.Branch] = []
    outs: list[_Flow] = []
    for key, transformer, _ in fitted.transformers_:
        take = [int(i) for i in fitted._transformer_to_input_indices[key]]
        if take and not (isinstance(transformer, str) and transformer == "drop"):
            steps, out = _compile(f"{name}.{key}", transformer, flow._replace(width=len(take)))
            more, out = _weighted(f"{name}.{key}", (fitted.transformer_weights or {}).get(key), out)
            end = [plan.Unsign()] if out.sparse and not fitted.sparse_output_ else []
            branches.append(plan.Branch(take, [*steps, *more, *end]))
            outs.append(out)
    dtypes = [out.dtype or np.dtype(np.float64) for out in outs]
    width = sum(out.width for out in outs)
    return [plan.Fork(branches)], _Flow(width, bool(outs) and fitted.sparse_output_, np.result_type(*dtypes, np.int8))


def _weighted(name: str, weight: float | None, flow: _Flow) -> _Steps:
    if weight is None:
        return [], flow
    steps, flow = _numeric(name, flow, infinities=True)
    return [*steps, plan.Multiply([number(weight)] * flow.width)], flow


def _numeric(name: str, flow: _Flow, *, nulls: bool = True, infinities: bool = False) -> _Steps:
    """Return how scikit-learn's float transformers begin: everything float64, and finite."""
    if flow.dtype is not None and flow.dtype.kind == "f" and flow.dtype.itemsize < 8:
        raise PackError(
            f"transformer {name!r} computes in {flow.dtype}, which an encoder before it gives; "
            "fit it again with that encoder's dtype=numpy.float64"
        )
    return [plan.Numbers(nulls, infinities)], flow._replace(dtype=np.dtype(np.float64))


def _numbers(values: Any) -> list[Number]:
    return [number(float(value)) for value in values]


def _divide(fitted: Any, flow: _Flow) -> Step:
    """Return the division by `scale_`: scikit-learn multiplies a sparse matrix by the reciprocal instead."""
    return plan.Multiply(_numbers(1.0 / fitted.scale_)) if flow.sparse else plan.Divide(_numbers(fitted.scale_))


def _standard_scaler(name: str, fitted: Any, flow: _Flow) -> _Steps:
    steps, flow = _numeric(name, flow)
    steps += [plan.Subtract(_numbers(fitted.mean_))] if fitted.with_mean else []
    steps += [_divide(fitted, flow)] if fitted.with_std else []
    return steps, flow


def _robust_scaler(name: str, fitted: Any, flow: _Flow) -> _Steps:
    steps, flow = _numeric(name, flow)
    steps += [plan.Subtract(_numbers(fitted.center_))] if fitted.with_centering else []
    steps += [_divide(fitted, flow)] if fitted.with_scaling else []
    return steps, flow


def _max_abs_scaler(name: str, fitted: Any, flow: _Flow) -> _Steps:
    steps, flow = _numeric(name, flow)
    # `clip` came with scikit-learn 1.9.
    return [*steps, _divide(fitted, flow), *([plan.Clip(-1.0, 1.0)] if getattr(fitted, "clip", False) else [])], flow


def _min_max_scaler(name: str, fitted: Any, flow: _Flow) -> _Steps:
    steps, flow = _numeric(name, flow)
    steps += [plan.Multiply(_numbers(fitted.scale_)), plan.Add(_numbers(fitted.min_))]
    return [*steps, *([plan.Clip(*_numbers(fitted.feature_range))] if fitted.clip else [])], flow


def _function_transformer(name: str, fitted: Any, flow: _Flow) -> _Steps:
    steps, numeric = _numeric(name, flow, nulls=False) if fitted.validate else ([], flow)
    if fitted.func is None:
        return steps, numeric
    functions = {np.log: plan.Apply("log"), np.log1p: plan.Apply("log1p"), np.sqrt: plan.Apply("sqrt")}
    if fitted.func not in functions or fitted.kw_args:
        raise PackError(
            f"transformer {name!r} is a FunctionTransformer of {fitted.func!r}, which cannot be compiled; "
            "supported, without kw_args: None, numpy.log, numpy.log1p, numpy.sqrt"
        )
    return [*steps, functions[fitted.func]], _numeric(name, flow)[1]


def _simple_imputer(name: str, fitted: Any, flow: _Flow) -> _Steps:
    steps: list[Step] = []
    if fitted.strategy not in {"most_frequent", "constant"}:
        steps, flow = _numeric(name, flow)
    missing = None if is_null(fitted.missing_values) else _value(name, fitted.missing_values)
    fills = [
        None if is_nan(fill) and not fitted.keep_empty_features else _value(name, fill)
        for fill in fitted.statistics_.astype(fitted._fill_dtype)
    ]
    indicators = [int(i) for i in fitted.indicator_.features_] if fitted.add_indicator else []
    width = sum(fill is not None for fill in fills) + len(indicators)
    return [*steps, plan.Impute(missing, fills, indicators)], flow._replace(width=width)


def _one_hot_encoder(name: str, fitted: Any, _: _Flow) -> _Steps:
    lookups, widths = [], []
    for i, categories in enumerate(fitted.categories_):
        places, rare = _grouped(fitted, i, len(categories))
        drop = None if fitted._drop_idx_after_grouping is None else fitted._drop_idx_after_grouping[i]
        other = -1 if rare is None or fitted.handle_unknown == "ignore" else _shifted(rare, drop)
        unknown = None if fitted.handle_unknown == "error" else other
        widths.append(max(places) + (drop is None))
        lookups.append(_lookup(name, categories, [_shifted(place, drop) for place in places], unknown))
    step = plan.OneHot(lookups, widths)
    return [step], _Flow(sum(widths), fitted.sparse_output, _encoded_dtype(name, fitted))


def _ordinal_encoder(name: str, fitted: Any, flow: _Flow) -> _Steps:
    dtype, lookups, codes = _encoded_dtype(name, fitted), [], []
    for i, categories in enumerate(fitted.categories_):
        # Only NaN, always the last, has a code of its own; None is a category like others.
        count = len(categories) - is_nan(categories[-1])
        places, _ = _grouped(fitted, i, count)
        table = [*range(count), fitted.encoded_missing_value] if count < len(categories) else [*range(count)]
        unknown = None if fitted.handle_unknown == "error" else len(table)
        table += [] if unknown is None else [fitted.unknown_value]
        codes.append(_numbers(np.array(code).astype(dtype) for code in table))
        lookups.append(_lookup(name, categories, [*places, count][: len(categories)], unknown))
    return [plan.Ordinal(lookups, codes)], flow._replace(dtype=dtype)


def _encoded_dtype(name: str, fitted: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(fitted.dtype)
    if dtype.kind not in "fiub":
        raise PackError(f"transformer {name!r} encodes to {dtype}; fit it again with dtype=numpy.float64")
    return dtype


def _grouped(fitted: Any, column: int, count: int) -> tuple[list[int], int | None]:
    """Return the positions of a column's first `count` categories, and the one that its infrequent ones share."""
    infrequent = fitted._infrequent_indices[column] if fitted._infrequent_enabled else None
    if infrequent is None:
        return list(range(count)), None
    rare = np.isin(np.arange(count), infrequent)
    last = int(np.sum(~rare))
    return np.where(rare, last, np.cumsum(~rare) - 1).tolist(), last


def _shifted(place: int, drop: int | None) -> int:
    """Return a position once the one at `drop` is gone (-1: nowhere)."""
    if drop is None or place < drop:
        return place
    return -1 if place == drop else place - 1


def _lookup(name: str, categories: Any, places: Sequence[int], unknown: int | None) -> plan.Lookup:
    """Return where categories go; a null goes where None went in training, or else NaN."""
    pairs = list(zip(categories, places, strict=True))
    known = [(_value(name, category), place) for category, place in pairs if not is_null(category)]
    null = next((place for category, place in pairs if is_null(category)), unknown)
    return plan.Lookup([key for key, _ in known], [place for _, place in known], null, unknown)


def _value(name: str, raw: object) -> Value:
    try:
        return plan.value(raw)
    except ValueError as error:
        raise PackError(f"transformer {name!r} was fitted on a value that no event can hold: {error}") from error
