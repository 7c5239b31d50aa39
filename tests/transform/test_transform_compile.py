"""The compiler: which columns it reads, what it names, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)
from transform_oracle import assert_parity, assert_same_bits, columns_of, fit, reference, transform_of

from scorer.bundle.packing.compile import compile_preprocessor
from scorer.errors import PackError
from scorer.transform import Matrix, Plan, Transform

FRAME = pd.DataFrame(
    {"a": [1.0, 2.0, 4.0], "b": [3, 5, 9], "c": pd.Series(["x", "y", "x"], dtype="str"), "d": [0.5, 0.1, 9.0]}
)


class Shouting(StandardScaler):
    """A subclass, which may do anything."""


COLUMNS = [
    ["d", "a"],
    [3, 0],
    [-1, 0],
    slice(0, 2),
    slice("a", "b"),
    [True, False, False, True],
    np.array([True, True, False, False]),
    lambda frame: list(frame)[:1],
    make_column_selector(dtype_include=np.number),
]


@pytest.mark.parametrize("columns", COLUMNS)
def test_every_way_to_name_columns_selects_the_same(columns: Any) -> None:
    """Names, positions, slices, masks and callables, as they were resolved when fitted."""
    fitted = fit(ColumnTransformer([("scale", StandardScaler(), columns)], remainder="drop"), FRAME)
    assert_parity(fitted, FRAME)


def test_only_the_used_columns_are_asked_of_an_event() -> None:
    """What is dropped need not be sent; the fields keep the order of the training data."""
    pair = [("late", StandardScaler(), ["d"]), ("early", OneHotEncoder(sparse_output=False), ["a"])]
    compiled = compile_preprocessor(fit(ColumnTransformer(pair), FRAME))
    assert compiled.fields == ["a", "d"]
    assert compiled.features == ["late__d", "early__a_1.0", "early__a_2.0", "early__a_4.0"]
    assert (compiled.node.fields, compiled.node.features) == (compiled.fields, compiled.features)


def test_a_preprocessor_fitted_on_arrays_takes_its_names_from_columns() -> None:
    """`columns` names an array's columns, also those that are reached by position."""
    array = FRAME[["a", "b", "d"]].to_numpy()
    fitted = fit(make_pipeline(ColumnTransformer([("s", StandardScaler(), [2, 0])], remainder="passthrough")), array)
    inputs, rejections = transform_of(fitted, columns=["a", "b", "d"])(columns_of(FRAME))
    assert rejections == []
    assert_same_bits(inputs.arrays["x"], reference(fitted, array))


def test_features_without_names_are_numbered() -> None:
    """A FunctionTransformer has no names for its output."""
    compiled = compile_preprocessor(fit(FunctionTransformer(np.log1p), FRAME[["a", "d"]]))
    assert compiled.features == ["x0", "x1"]


ONE = FRAME[["a", "d"]]
REFUSED = [
    (make_pipeline(StandardScaler(), PCA()), ONE, r"'Pipeline.pca' is a sklearn\.decomposition.*PCA"),
    (
        ColumnTransformer([("odd", SplineTransformer(), ["a"])]),
        ONE,
        r"'ColumnTransformer.odd' is a .*SplineTransformer",
    ),
    (ColumnTransformer([("loud", Shouting(), ["a"])]), ONE, r"'ColumnTransformer.loud' is a .*Shouting"),
    (ColumnTransformer([], remainder=PCA()), ONE, r"'ColumnTransformer.remainder' is a .*PCA"),
    (FunctionTransformer(np.isnan), ONE, "FunctionTransformer of <ufunc 'isnan'>.*supported, .*numpy.log1p, "),
    (FunctionTransformer(np.cumsum), ONE, "FunctionTransformer of <function cumsum"),
    (make_pipeline(OneHotEncoder(), FunctionTransformer(np.cos)), ONE, r"applies numpy\.cos to a sparse matrix"),
    (make_pipeline(OrdinalEncoder(dtype=np.int8), FunctionTransformer(np.log1p)), ONE, "computes from int8"),
    (PolynomialFeatures(3), ONE, "has degree 3; PolynomialFeatures compile up to 2"),
    (KBinsDiscretizer(2, dtype=np.float32, quantile_method="linear"), ONE, "computes in float32; fit it again"),
    (FunctionTransformer(np.log, kw_args={"where": True}), ONE, "kw_args"),
    (make_pipeline(OneHotEncoder(dtype=np.float32), StandardScaler(with_mean=False)), ONE, "computes in float32"),
    (OneHotEncoder(dtype=object, sparse_output=False), ONE, "encodes to object"),
    (OrdinalEncoder(), FRAME[["c"]].map(str.encode), "a value that no event can hold: b'x'"),
]


@pytest.mark.parametrize(("preprocessor", "frame", "complaint"), REFUSED)
def test_what_cannot_be_compiled_is_refused_by_name(preprocessor: Any, frame: pd.DataFrame, complaint: str) -> None:
    """Nothing is approximated: the class, its place in the preprocessor and the way out are in the message."""
    with pytest.raises(PackError, match=complaint):
        compile_preprocessor(fit(preprocessor, frame))


def test_a_refusal_lists_what_is_supported() -> None:
    """The reader learns what to use instead."""
    with pytest.raises(PackError, match=r"supported.*ColumnTransformer, .*OneHotEncoder, .*StandardScaler.*'drop'"):
        compile_preprocessor(fit(PCA(), ONE))


def test_an_estimator_at_the_end_is_refused() -> None:
    """A classifier is a model, not a preprocessor."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(ONE, [0, 1, 0])
    with pytest.raises(PackError, match="LogisticRegression"):
        compile_preprocessor(pipeline)


@pytest.mark.parametrize("unfitted", [StandardScaler(), make_pipeline(SimpleImputer()), ColumnTransformer([])])
def test_an_unfitted_preprocessor_is_refused(unfitted: Any) -> None:
    """There is nothing to compile before fit."""
    with pytest.raises(PackError, match="is not fitted: call its fit"):
        compile_preprocessor(unfitted, columns=["a"])


def test_what_is_no_transformer_is_refused() -> None:
    """A function, or a class instead of its instance, is a mistake that a message can mend."""
    with pytest.raises(PackError, match="is no scikit-learn transformer"):
        compile_preprocessor(np.log1p, columns=["a"])


MISNAMED = [
    (ONE.to_numpy(), None, "fitted without column names: pass columns="),
    (ONE.to_numpy(), ["a"], "fitted on 2 columns, but columns names 1"),
    (ONE, ["d", "a"], r"fitted on columns \['a', 'd'\]"),
]


@pytest.mark.parametrize(("data", "columns", "complaint"), MISNAMED)
def test_columns_must_fit_the_training_data(data: Any, columns: list[str] | None, complaint: str) -> None:
    """Names that are missing, too few or in another order than in training would feed the wrong features."""
    with pytest.raises(PackError, match=complaint):
        compile_preprocessor(fit(StandardScaler(), data), columns=columns)


PARTS = ColumnTransformer(
    [
        ("hot", OneHotEncoder(), ["c"]),
        ("unused", "drop", ["b"]),
        ("log", FunctionTransformer(np.log1p), ["d"]),
        ("none", StandardScaler(), []),
    ],
    remainder="passthrough",
)


@pytest.mark.parametrize("sparse_threshold", [0.0, 1.0])
@pytest.mark.parametrize("names", [["hot"], ["log", "hot"], ["remainder"], ["remainder", "log", "hot"]])
def test_a_part_is_those_transformers_columns_in_that_order(names: list[str], sparse_threshold: float) -> None:
    """A model of several inputs takes some transformers' features on each, bit-equal to where the whole has them."""
    fitted = fit(clone(PARTS).set_params(sparse_threshold=sparse_threshold), FRAME)
    whole = compile_preprocessor(fitted)
    node, places = whole.part(names), whole.outputs(names)
    wanted = {"hot": [0, 1], "log": [2], "remainder": [3]}
    assert places == [place for name in names for place in wanted[name]]
    assert node.features == [whole.features[place] for place in places]
    fields = {"hot": "c", "log": "d", "remainder": "a"}
    assert node.fields == [field for field in FRAME if field in {fields[name] for name in names}]
    inputs, rejections = Transform(Plan({"x": Matrix(node, "float64")}))(columns_of(FRAME[node.fields]))
    assert rejections == []
    assert_same_bits(inputs.arrays["x"], reference(fitted, FRAME)[:, places])


@pytest.mark.parametrize("names", [["hat"], ["hot", "unused"], ["none"]])
def test_a_part_that_gives_no_features_is_refused_with_those_that_do(names: list[str]) -> None:
    """Unknown, dropped and empty transformers feed no input."""
    compiled = compile_preprocessor(fit(clone(PARTS), FRAME))
    for ask in (compiled.part, compiled.outputs):
        with pytest.raises(PackError, match=f"no transformer '{names[-1]}' .*it has 'hot', 'log', 'remainder'"):
            ask(names)


def test_only_a_column_transformer_has_parts() -> None:
    """Elsewhere no names say which features belong together."""
    compiled = compile_preprocessor(fit(StandardScaler(), ONE))
    with pytest.raises(PackError, match="it is no ColumnTransformer"):
        compiled.part(["a"])
