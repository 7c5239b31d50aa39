"""Fitted scikit-learn preprocessor → feature plan: objects become data, so that serving needs no scikit-learn.

The order of operations, the treatment of NaN and the dtypes are those of scikit-learn's own `transform`; tests hold the
plan and the object against each other, bit for bit. Only the classes listed in `_compilers` are read, and no subclass
of one: a subclass may override what its parent does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from itertools import accumulate
from typing import Any

from scorer.bundle.packing.compile import categorical, missing, numeric, structure
from scorer.bundle.packing.compile.compiled import Compiled, Part
from scorer.bundle.packing.compile.flow import Compiler, Flow, Steps
from scorer.errors import PackError
from scorer.transform import plan
from scorer.transform.steps import prepare

__all__ = ["Compiled", "Part", "compile_preprocessor"]


def compile_preprocessor(preprocessor: Any, *, columns: Sequence[str] | None = None) -> Compiled:
    """Compile a fitted ColumnTransformer, FeatureUnion, Pipeline or single transformer.

    `columns` names the array's columns, for a preprocessor that was fitted without feature names. The features are
    named by `get_feature_names_out`, or x0, x1, … where it cannot.

    Raises PackError for what is not fitted, not named, or not among the supported classes.
    """
    name = type(preprocessor).__name__
    _require_fitted(name, preprocessor)
    fields = _input_names(name, preprocessor, columns)
    named = hasattr(preprocessor, "feature_names_in_")
    steps, flow = _compile(name, preprocessor, Flow(len(fields), frame=named, fortran=named))
    if flow.sparse:
        steps = [*steps, plan.Unsign()]
    features = _output_names(preprocessor, fields, flow.width)
    node = plan.Node(fields, steps, features).pruned()
    return Compiled(node, node.fields, node.features, _parts(preprocessor, node))


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


def _parts(preprocessor: Any, node: plan.Node) -> dict[str, Part]:
    from sklearn.compose import ColumnTransformer

    if type(preprocessor) is not ColumnTransformer or not isinstance(fork := node.steps[0], plan.Fork):
        return {}
    widths = [prepare(branch.steps, len(branch.take))[1] for branch in fork.branches]
    starts = accumulate(widths, initial=0)
    keys = [key for key, *_ in structure.taken(preprocessor)]
    return {key: Part(i, start, width) for i, (key, start, width) in enumerate(zip(keys, starts, widths, strict=False))}


def _compile(name: str, transformer: Any, flow: Flow) -> Steps:
    if structure.is_passthrough(transformer):
        return [], flow
    compiler = _compilers().get(type(transformer))
    if compiler is None:
        kind = f"{type(transformer).__module__}.{type(transformer).__qualname__}"
        raise PackError(f"transformer {name!r} is a {kind}, which cannot be compiled; {_supported()}")
    steps, out = compiler(name, transformer, flow)
    if not _gives_frames(transformer):
        return steps, out
    # A frame around a matrix leaves it as it lies; one of several frames' columns lies by columns.
    several = any(isinstance(step, plan.Fork) and len(step.branches) > 1 for step in steps[-1:])
    return steps, out._replace(frame=True, fortran=out.fortran or several)


def _gives_frames(transformer: Any) -> bool:
    """Return whether `set_output` makes the transformer's result a DataFrame."""
    from sklearn.utils._set_output import _auto_wrap_is_configured, _get_output_config

    container = _get_output_config("transform", transformer)["dense"]
    return container != "default" and bool(_auto_wrap_is_configured(transformer))


@cache
def _compilers() -> dict[type, Compiler]:
    from sklearn import compose, impute, pipeline, preprocessing

    return {
        compose.ColumnTransformer: partial(structure.column_transformer, _compile),
        pipeline.Pipeline: partial(structure.pipeline, _compile),
        pipeline.FeatureUnion: partial(structure.feature_union, _compile),
        preprocessing.StandardScaler: numeric.standard_scaler,
        preprocessing.MinMaxScaler: numeric.min_max_scaler,
        preprocessing.MaxAbsScaler: numeric.max_abs_scaler,
        preprocessing.RobustScaler: numeric.robust_scaler,
        preprocessing.PowerTransformer: numeric.power_transformer,
        preprocessing.QuantileTransformer: numeric.quantile_transformer,
        preprocessing.KBinsDiscretizer: numeric.k_bins_discretizer,
        preprocessing.Normalizer: numeric.normalizer,
        preprocessing.PolynomialFeatures: numeric.polynomial_features,
        preprocessing.FunctionTransformer: numeric.function_transformer,
        preprocessing.OneHotEncoder: categorical.one_hot_encoder,
        preprocessing.OrdinalEncoder: categorical.ordinal_encoder,
        preprocessing.TargetEncoder: categorical.target_encoder,
        impute.SimpleImputer: missing.simple_imputer,
        impute.MissingIndicator: missing.missing_indicator,
    }


def _supported() -> str:
    names = ", ".join(sorted(kind.__name__ for kind in _compilers()))
    return f"supported, without their subclasses: {names}, 'passthrough' and 'drop'"
