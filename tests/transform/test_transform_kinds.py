"""Every kind of transformer that needs more than arithmetic, in every mode, against scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
    TargetEncoder,
)
from transform_oracle import FIRST_ROW, assert_parity, assert_same_bits, columns_of, fit, reference, serve, transform_of

from scorer.bundle.packing.compile import compile_preprocessor
from scorer.errors import Reason
from scorer.transform.plan import Function

NAN = float("nan")
WIDTH = 11
"""More columns than the 8 from which NumPy sums a row in pairs."""
RANDOM = np.random.default_rng(4)


def _random(rows: int) -> NDArray[np.float64]:
    scales = 10.0 ** RANDOM.integers(-3, 4, (rows, WIDTH))
    return RANDOM.normal(size=(rows, WIDTH)) * scales


TRAINING = pd.DataFrame(_random(60), columns=[f"n{i}" for i in range(WIDTH)])
EVENTS = pd.DataFrame(_random(200), columns=TRAINING.columns)
POSITIVE, POSITIVE_EVENTS = TRAINING.abs() + 1e-3, EVENTS.abs() + 1e-9
EXTREMES = pd.DataFrame(
    {name: [0.0, -0.0, 5e-324, -5e-324, 1e-8, -1e-8, 1e150, -1e150, 1e308, -1.7e308, 1.0] for name in TRAINING}
)
HOLED = EVENTS.mask(RANDOM.random(EVENTS.shape) < 0.2)
UNBOUNDED = pd.concat([EVENTS.head(), EVENTS.head(3).assign(n4=[float("inf"), NAN, -float("inf")])], ignore_index=True)


@pytest.mark.parametrize(("method", "standardize"), list(product(["yeo-johnson", "box-cox"], [True, False])))
def test_powers_have_parity(method: str, standardize: bool) -> None:
    """Both powers, with their scaler and without, null and infinity among the events."""
    fitted = fit(PowerTransformer(method, standardize=standardize), POSITIVE)
    assert_parity(fitted, POSITIVE_EVENTS)
    assert_parity(fitted, HOLED.abs() + 1e-9)
    assert_parity(fitted, UNBOUNDED)
    assert_parity(fitted, EXTREMES)


@pytest.mark.parametrize("exponent", [0.0, 1e-17, 1.0, 2.0, 2.0 + 2**-50, -3.5])
def test_powers_have_parity_at_their_special_exponents(exponent: float) -> None:
    """Yeo-Johnson changes its formula at 0 and at 2, Box-Cox at 0."""
    for method in ("yeo-johnson", "box-cox"):
        fitted = fit(PowerTransformer(method, standardize=False), POSITIVE)
        fitted.lambdas_ = np.full(WIDTH, exponent)
        assert_parity(fitted, POSITIVE_EVENTS)
        assert_parity(fitted, EVENTS.head(10))
        assert_parity(fitted, EXTREMES)


def test_box_cox_rejects_the_one_event_that_is_not_positive() -> None:
    """scikit-learn raises for the whole batch."""
    fitted = fit(PowerTransformer("box-cox"), POSITIVE[["n0"]])
    _, rejections = serve(fitted, pd.DataFrame({"n0": [1.0, 0.0, 2.0, NAN, -1.5]}))
    assert [(r.row - FIRST_ROW, r.reason, r.message.split(",")[0]) for r in rejections] == [
        (1, Reason.OUT_OF_RANGE, "0.0 is not positive"),
        (4, Reason.OUT_OF_RANGE, "-1.5 is not positive"),
    ]


@pytest.mark.parametrize(("output", "count"), list(product(["uniform", "normal"], [1, 2, 7, 60])))
def test_quantiles_have_parity(output: str, count: int) -> None:
    """Inside, outside and at the bounds of training, with repeated quantiles among the others."""
    training = TRAINING.assign(n0=[1.0, 2.0, 2.0] * 20, n1=0.0, n2=-TRAINING["n2"].abs())
    fitted = fit(QuantileTransformer(n_quantiles=count, output_distribution=output), training)
    for events in (EVENTS, HOLED, EXTREMES, UNBOUNDED, training, training + 5e-8, training - 5e-8):
        assert_parity(fitted, events)


@pytest.mark.parametrize("ignore", [True, False])
@pytest.mark.parametrize("output", ["uniform", "normal"])
def test_quantiles_of_a_sparse_matrix_leave_zero(output: str, ignore: bool) -> None:
    """What a sparse matrix does not store is 0 before and after; where zeros count, what is negative is refused."""
    events = EVENTS[["n0", "n1"]].round(0)
    sparse = ColumnTransformer([("n", "passthrough", ["n0"]), ("k", OneHotEncoder(), ["n1"])], sparse_threshold=1)
    ranks = QuantileTransformer(n_quantiles=9, output_distribution=output, ignore_implicit_zeros=ignore)
    fitted = fit(make_pipeline(sparse, ranks), events if ignore else events.abs())
    assert_parity(fitted, (events if ignore else events.assign(n1=events["n1"].abs())).head(20))


@pytest.mark.parametrize(
    ("encode", "strategy"), list(product(["ordinal", "onehot", "onehot-dense"], ["uniform", "quantile", "kmeans"]))
)
def test_bins_have_parity(encode: str, strategy: str) -> None:
    """Every encoding and strategy, on the edges too; null and infinity are rejected as scikit-learn raises for them."""
    bins = KBinsDiscretizer(4, encode=encode, strategy=strategy, quantile_method="averaged_inverted_cdf")
    fitted = fit(bins, TRAINING.assign(n3=1.0))
    edges = pd.DataFrame({name: np.resize(table, 5) for name, table in zip(TRAINING, fitted.bin_edges_, strict=True)})
    for events in (EVENTS, EXTREMES, UNBOUNDED, edges[np.isfinite(edges).all(axis=1)]):
        assert_parity(fitted, events)


@pytest.mark.parametrize("function", msgspec.inspect.type_info(Function).values)
def test_functions_have_parity(function: str) -> None:
    """Every function that a plan may name, on floats and on integers, alone and after a scaler."""
    log = FunctionTransformer(getattr(np, function))
    numbers = EVENTS.assign(n0=np.arange(len(EVENTS)) - 50, n1=np.arange(len(EVENTS)) + 1)
    assert_parity(fit(log, numbers), numbers)
    assert_parity(fit(log, EXTREMES), EXTREMES)
    assert_parity(fit(make_pipeline(StandardScaler(), log), TRAINING), HOLED)
    assert_parity(fit(FunctionTransformer(getattr(np, function), validate=True), EVENTS), UNBOUNDED)


@pytest.mark.parametrize("function", [np.log1p, np.sqrt, np.expm1])
def test_functions_of_a_sparse_matrix_have_parity(function: Any) -> None:
    """SciPy takes the function of what is stored."""
    sparse = ColumnTransformer([("n", "passthrough", ["n0"]), ("k", OneHotEncoder(), ["n1"])], sparse_threshold=1)
    frame = pd.DataFrame({"n0": [-0.0, 3.0, 0.0, 0.5], "n1": [1.0, 2.0, 2.0, 3.0]})
    assert_parity(fit(make_pipeline(sparse, FunctionTransformer(function)), frame), frame)


def _before(kind: str) -> Any:
    """Return what leaves a matrix behind that lies by rows, by columns, or sparse."""
    return {
        "frame": FunctionTransformer(),
        "columns": ColumnTransformer([("scale", StandardScaler(), list(TRAINING))]),
        "rows": ColumnTransformer([("code", OrdinalEncoder(), ["n0", "n1"])], remainder="passthrough"),
        "one": ColumnTransformer([("code", OrdinalEncoder(), ["n0"])], remainder="passthrough"),
        "imputed": SimpleImputer(add_indicator=True),
        "sparse": ColumnTransformer(
            [("hot", OneHotEncoder(), ["n0"])], remainder=StandardScaler(with_mean=False), sparse_threshold=1
        ),
        "products": PolynomialFeatures(2, order="F"),
        "pandas": ColumnTransformer([("code", OrdinalEncoder(), ["n0", "n1"])], remainder="passthrough").set_output(
            transform="pandas"
        ),
    }[kind]


@pytest.mark.parametrize(
    ("norm", "before"),
    list(
        product(
            ["l1", "l2", "max"],
            ["frame", "columns", "rows", "one", "imputed", "sparse", "products", "pandas"],
        )
    ),
)
def test_norms_have_parity_however_the_matrix_lies_in_memory(norm: str, before: str) -> None:
    """A sum over a row is rounded in the order of the memory, which the transformers before the Normalizer decide."""
    events = EVENTS.assign(n0=EVENTS["n0"].round(), n1=EVENTS["n1"].round())
    assert_parity(fit(make_pipeline(_before(before), Normalizer(norm)), events), events)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_norms_have_parity_at_the_extremes(norm: str) -> None:
    """A row of zeros stays, a tiny norm divides by 1, an overflowing one gives 0; null and infinity are rejected."""
    tiny = EVENTS.head(9) * 1e-17
    for events in (EXTREMES, UNBOUNDED, tiny):
        assert_parity(fit(Normalizer(norm), events.iloc[[0]]), events)


@pytest.mark.parametrize("columns", [[7, 0, 3, 9, 1, 8, 2, 4, 10], slice(0, 10)])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_norms_of_arrays_have_parity(norm: str, columns: Any) -> None:
    """A list of an array's columns lies by columns, a slice of them as the array does."""
    names, array = list(TRAINING), np.ascontiguousarray(EVENTS.to_numpy())
    for made in (Normalizer(norm), ColumnTransformer([("norm", Normalizer(norm), columns)])):
        fitted = fit(made, array)
        inputs, rejections = transform_of(fitted, columns=names)(columns_of(EVENTS))
        assert rejections == []
        assert_same_bits(inputs.arrays["x"], reference(fitted, array))


@pytest.mark.parametrize(
    ("degree", "interaction", "bias"),
    list(product([0, 1, 2, (0, 1), (1, 2), (2, 2), (0, 2)], [True, False], [True, False])),
)
def test_products_have_parity(degree: Any, interaction: bool, bias: bool) -> None:
    """Every set of terms up to degree 2, dense and sparse, in scikit-learn's order."""
    if degree == 0 and not bias:
        return
    products = PolynomialFeatures(degree, interaction_only=interaction, include_bias=bias)
    frame = pd.concat([EXTREMES, EVENTS.head(20), UNBOUNDED], ignore_index=True)[["n0", "n1", "n4"]]
    assert_parity(fit(products, TRAINING[["n0", "n1", "n4"]]), frame)
    sparse = ColumnTransformer([("n", "passthrough", ["n0", "n4"]), ("k", OneHotEncoder(), ["n1"])], sparse_threshold=1)
    coded = EVENTS.head(20).assign(n1=EVENTS["n1"].head(20).round(), n0=[0.0, -0.0, 3.0, -4.5] * 5)
    assert_parity(fit(make_pipeline(sparse, products), coded), coded)


TARGETS = {
    "binary": np.arange(60) % 2,
    "continuous": TRAINING["n5"].to_numpy(),
    "multiclass": np.array(["a", "b", "c"] * 20),
}


@pytest.mark.parametrize(("kind", "smooth"), list(product(TARGETS, ["auto", 0.0, 3.0])))
def test_targets_have_parity(kind: str, smooth: Any) -> None:
    """Text, numbers, booleans and nulls; what training never saw gets the mean of all."""
    frame = pd.DataFrame(
        {
            "country": pd.Series(["AT", "DE", None, "FR", "AT", "US"] * 10, dtype="str"),
            "level": [1.0, 2.5, NAN, 1.0, -0.0, 7.0] * 10,
            "flag": [True, False, False] * 20,
        }
    )
    unseen = frame.head(6).assign(
        country=pd.Series(["XX", "AT", "nan", None, "", "DE"], dtype="str"),
        level=[3.3, float("inf"), NAN, 0.0, 1e308, -float("inf")],
    )
    fitted = fit(TargetEncoder(smooth=smooth), frame, TARGETS[kind])
    assert_parity(fitted, frame)
    assert_parity(fitted, unseen)
    complete = fit(TargetEncoder(smooth=smooth), frame.dropna(), TARGETS[kind][: len(frame.dropna())])
    assert_parity(complete, unseen)


@pytest.mark.parametrize("features", ["all", "missing-only"])
@pytest.mark.parametrize("strict", [True, False])
def test_indicators_have_parity(features: str, strict: bool) -> None:
    """What is missing where training missed nothing is rejected, if it is an error there."""
    training = TRAINING.mask(TRAINING[["n2", "n7"]] > 0)
    indicator = MissingIndicator(features=features, error_on_new=strict)
    assert_parity(fit(indicator, training), HOLED)
    assert_parity(fit(MissingIndicator(missing_values=-1.0, error_on_new=strict), EXTREMES), EXTREMES)
    both = FeatureUnion([("mask", indicator), ("filled", SimpleImputer(strategy="median"))])
    assert_parity(fit(both, training), HOLED)


def test_unions_put_their_columns_side_by_side() -> None:
    """Weighted, dropped, passed through and sparse members."""
    members = [
        ("scaled", StandardScaler()),
        ("dropped", "drop"),
        ("same", "passthrough"),
        ("bins", KBinsDiscretizer(3, encode="onehot", quantile_method="averaged_inverted_cdf")),
    ]
    union = FeatureUnion(members, transformer_weights={"scaled": 0.3})
    assert_parity(fit(union, TRAINING), EVENTS)
    assert_parity(fit(make_pipeline(union, StandardScaler(with_mean=False)), TRAINING), EVENTS)
    assert_parity(fit(FeatureUnion(members[:3]), TRAINING), HOLED)


@pytest.mark.parametrize("container", ["pandas", "default"])
def test_set_output_changes_nothing(container: str) -> None:
    """Fitted objects that give DataFrames compile as those that give arrays."""
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(PowerTransformer(), QuantileTransformer(n_quantiles=5)), ["n0", "n1", "n2"]),
            ("bins", KBinsDiscretizer(3, encode="onehot-dense", quantile_method="averaged_inverted_cdf"), ["n3"]),
            ("log", FunctionTransformer(np.cbrt, feature_names_out="one-to-one"), ["n4"]),
        ],
        remainder="passthrough",
    )
    whole = make_pipeline(columns, PolynomialFeatures(2), Normalizer()).set_output(transform=container)
    counted = TRAINING.assign(n9=np.arange(60))
    fitted = fit(whole, counted)
    assert_parity(fitted, EVENTS.assign(n9=np.arange(200)))
    assert compile_preprocessor(fitted).features == list(fitted.get_feature_names_out())


def test_functions_after_pandas_output_keep_each_columns_dtype() -> None:
    """NumPy's reciprocal of an integer is an integer: in a frame a column stays one, in an array it becomes a float."""
    frame = pd.DataFrame({"n": [1, 2, 4], "x": [0.5, 2.0, 4.0]})
    passing = ColumnTransformer([("x", StandardScaler(with_mean=False), ["x"])], remainder="passthrough")
    for container in ("default", "pandas"):
        fitted = fit(make_pipeline(passing, FunctionTransformer(np.reciprocal)).set_output(transform=container), frame)
        assert_parity(fitted, frame)


def test_serving_imports_scipy_only_for_plans_that_need_it() -> None:
    """A plan of Yeo-Johnson powers is NumPy's alone."""
    plan = msgspec.json.encode(compile_preprocessor(fit(PowerTransformer(), TRAINING)).node).decode()
    code = (
        "import sys, msgspec, scorer.transform as t; "
        f"node = msgspec.json.decode({plan!r}, type=t.Node); t.Transform(t.Plan({{'x': t.Matrix(node, 'float32')}})); "
        "print([m for m in ('sklearn', 'scipy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
