"""The room's contract: named arrays in the model's dtypes, bad values as rejections, nothing shared, nothing raised."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from transform_oracle import FIRST_ROW, assert_same_bits, columns_of, fit, reference, serve, transform_of

from scorer.errors import BundleError, Reason
from scorer.transform import Matrix, Node, Plan, Raw, Transform
from scorer.transform.plan import (
    Bin,
    Branch,
    Divide,
    Fork,
    Impute,
    Lookup,
    OneHot,
    Ordinal,
    Power,
    Products,
    Quantile,
    Target,
)
from scorer.transform.scalars import number, value

NAN = float("nan")
FRAME = pd.DataFrame(
    {
        "amount": [1.0, NAN, -3.0, 1e5],
        "age": [20, 30, 40, 50],
        "country": pd.Series(["AT", "DE", None, "AT"], dtype="str"),
    }
)


def feed(frame: pd.DataFrame, **inputs: Any) -> Any:
    return Transform(Plan(inputs))(columns_of(frame))


def passing(dtype: Any, *fields: str) -> Matrix:
    return Matrix(Node(list(fields), [], list(fields)), dtype)


def reasons(rejections: Any) -> list[tuple[int, Reason, str]]:
    return [(rejection.row - FIRST_ROW, rejection.reason, rejection.path) for rejection in rejections]


def test_a_null_number_stays_nan_and_only_overflow_is_rejected() -> None:
    """What float64 holds and float32 does not is rejected by name; NaN, and infinities that came as such, pass."""
    frame = pd.DataFrame({"amount": [1.0, NAN, 1e39, -1e300, float("inf"), 3.4e38]})
    inputs, rejections = feed(frame, x=passing("float32", "amount"))
    assert reasons(rejections) == [(2, Reason.OUT_OF_RANGE, "$.amount"), (3, Reason.OUT_OF_RANGE, "$.amount")]
    assert "'amount' is 1e+39" in rejections[0].message
    assert "float32" in rejections[0].message
    kept = [0, 1, 4, 5]
    assert_same_bits(inputs.arrays["x"][kept], frame.to_numpy()[kept].astype(np.float32))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_inputs_reject_what_they_cannot_hold(dtype: Any) -> None:
    """NaN and numbers beyond the model's integers are rejected; fractions are cut, as astype cuts them."""
    beyond = 2.0 ** (31 if dtype == "int32" else 63)
    frame = pd.DataFrame({"x": [1.9, -1.9, NAN, beyond, -beyond, float("-inf")]})
    inputs, rejections = feed(frame, x=passing(dtype, "x"))
    assert [row for row, *_ in reasons(rejections)] == [2, 3, 5]
    assert inputs.arrays["x"].dtype == dtype
    assert inputs.arrays["x"][[0, 1, 4], 0].tolist() == [1, -1, -int(beyond)]


def test_wide_integers_reach_integer_inputs_exactly() -> None:
    """An int64 field never passes through float64 on its way to an int64 input, and must fit an int32 one."""
    frame = pd.DataFrame({"id": [2**62 + 1, 5]})
    exact, none = feed(frame, x=passing("int64", "id"))
    assert (exact.arrays["x"][:, 0].tolist(), none) == ([2**62 + 1, 5], [])
    _, rejections = feed(frame, x=passing("int32", "id"))
    assert reasons(rejections) == [(0, Reason.OUT_OF_RANGE, "$.id")]


def test_raw_columns_feed_models_that_preprocess_themselves() -> None:
    """Text stays text with '' for null, numbers get the model's dtype, and the rank is the model's."""
    inputs, rejections = feed(
        FRAME,
        country=Raw("country", "string", 1),
        amount=Raw("amount", "float32", 2),
        age=Raw("age", "int32", 1),
        adult=Raw("age", "bool", 2),
    )
    assert rejections == []
    assert inputs.arrays["country"].tolist() == ["AT", "DE", "", "AT"]
    assert_same_bits(inputs.arrays["amount"], FRAME[["amount"]].to_numpy(np.float32))
    assert_same_bits(inputs.arrays["age"], FRAME["age"].to_numpy(np.int32))
    assert (inputs.arrays["adult"].shape, inputs.arrays["adult"].dtype) == ((4, 1), np.bool_)


def test_a_row_is_rejected_once_however_much_is_wrong_with_it() -> None:
    """The first fault of a row is the one that its dead letter names; the other rows keep theirs."""
    frame = pd.DataFrame({"a": [1e300, 1.0, 1.0], "b": [1e300, NAN, 1.0]})
    _, rejections = feed(frame, x=passing("float32", "a", "b"), y=passing("int32", "b"))
    assert reasons(rejections) == [(0, Reason.OUT_OF_RANGE, "$.a"), (1, Reason.OUT_OF_RANGE, "$.b")]


def test_text_that_spells_a_number_is_read_and_other_text_is_rejected() -> None:
    """scikit-learn reads '1.5' where it expects numbers and raises for 'abc': the event is rejected, not the batch."""
    text = pd.DataFrame({"amount": pd.Series(["1.5", "-2", "nan", "1e3"], dtype=object)})
    fitted = fit(StandardScaler(), text)
    features, rejections = serve(fitted, pd.DataFrame({"amount": pd.Series(["1.5", "abc", "7", None], dtype=object)}))
    assert reasons(rejections) == [(1, Reason.WRONG_TYPE, "$.amount")]
    assert "'abc'" in rejections[0].message
    expected = reference(fitted, pd.DataFrame({"amount": [1.5, 7.0, NAN]}))
    assert_same_bits(features[[0, 2, 3]], expected)


def test_a_null_where_the_object_refuses_it_is_missing() -> None:
    """A transformer that validates raises for NaN: the event lacks that field."""
    fitted = fit(FunctionTransformer(np.sqrt, validate=True), FRAME[["age"]])
    _, rejections = serve(fitted, pd.DataFrame({"age": [1.0, NAN]}))
    assert reasons(rejections) == [(1, Reason.MISSING_FIELD, "$.age")]


def test_an_empty_batch_gives_empty_inputs() -> None:
    """No rows in, no rows out, in the right shapes and dtypes."""
    everything = ColumnTransformer(
        [
            ("n", StandardScaler(), ["amount", "age"]),
            ("o", OneHotEncoder(), ["country"]),
            ("c", OrdinalEncoder(), ["age"]),
        ]
    )
    inputs, rejections = transform_of(fit(everything, FRAME), "float32")(columns_of(FRAME.iloc[:0]))
    assert (inputs.arrays["x"].shape, inputs.arrays["x"].dtype, rejections) == ((0, 6), np.float32, [])


def test_nothing_is_changed_in_place_or_shared_between_calls() -> None:
    """The caller's columns stay as they were, and a batch's inputs are its own."""
    transform = transform_of(fit(StandardScaler(), FRAME[["amount", "age"]]))
    columns = columns_of(FRAME)
    before = {name: column.copy() for name, column in columns.values.items()}
    first, _ = transform(columns)
    kept = first.arrays["x"].copy()
    second, _ = transform(columns_of(FRAME.iloc[::-1]))
    assert not np.shares_memory(first.arrays["x"], second.arrays["x"])
    assert_same_bits(first.arrays["x"], kept)
    for name, column in columns.values.items():
        assert pd.Series(column).equals(pd.Series(before[name]))


def test_matrices_are_c_ordered_and_fields_are_listed_once() -> None:
    """The model reads rows in one piece; the decode room learns which fields it must keep."""
    plan = Plan({"x": passing("float32", "amount", "age"), "y": Raw("age", "int64", 1)})
    transform = Transform(plan)
    assert transform.fields == ("amount", "age")
    assert transform(columns_of(FRAME))[0].arrays["x"].flags.c_contiguous


BAD_LOOKUP = Lookup(["a"], [1], None, None)
CONTRADICTIONS = [
    (Divide([1.0, 2.0]), ["x"], "'divide' has 2 numbers for 1 columns"),
    (Impute(None, []), ["x"], "'impute' has 0 fills for 1 columns"),
    (Impute(None, [0.0], [1]), ["x", "y"], "'impute' marks a column outside its 1"),
    (OneHot([BAD_LOOKUP], [1]), ["x"], "'onehot' has a position outside its 1"),
    (OneHot([BAD_LOOKUP], [2, 2]), ["x"], "'onehot' has 1 lookups for 1 columns"),
    (OneHot([Lookup(["a"], [0, 1], None, None)], [2]), ["x"], "'onehot' has 1 categories, but 2 positions"),
    (Ordinal([Lookup(["a"], [0], -1, None)], [[0.0]]), ["x"], "'ordinal' has a category without a code"),
    (Impute(None, [0.0], refused=[1]), ["x"], "'impute' marks a column outside its 1"),
    (Target([Lookup(["a"], [1], 1, 1)], [[[0.0, 1.0], [0.0]]]), ["x", "y"], "'target' has a position outside its 1"),
    (Power("yeo-johnson", []), ["x"], "'power' has 0 numbers for 1 columns"),
    (Quantile([[0.0]], [0.0, 1.0], normal=False), ["x"], "'quantile' has a table without a quantile for every"),
    (Quantile([], [0.0, 1.0], normal=False), ["x"], "'quantile' has 0 tables for 1 columns"),
    (Bin([[], []]), ["x"], "'bin' has 2 tables for 1 columns"),
    (Products([[0, 1]]), ["x"], "'products' multiplies a column outside its 1"),
    (Products([[0, 0, 0]]), ["x"], "'products' multiplies more than two columns"),
    (Fork([Branch([1], [])]), ["x"], "'fork' takes a column outside its 1"),
    (Divide([2.0]), ["x", "y"], "names 2 features, but its steps give 1"),
]


@pytest.mark.parametrize(("step", "features", "complaint"), CONTRADICTIONS)
def test_a_plan_that_contradicts_itself_is_refused_before_any_event(
    step: Any, features: list[str], complaint: str
) -> None:
    """An altered plan stops the start, and says where."""
    with pytest.raises(BundleError, match=complaint):
        Transform(Plan({"x": Matrix(Node(["a"], [step], features), "float32")}))


def test_a_plan_with_unknown_fields_is_refused() -> None:
    """A plan of another version is not half understood."""
    plan = b'{"inputs": {"x": {"kind": "raw", "column": "a", "dtype": "int32", "rank": 1, "unit": "EUR"}}}'
    with pytest.raises(msgspec.ValidationError, match="unit"):
        msgspec.json.decode(plan, type=Plan)


@pytest.mark.parametrize("exact", [0.1, -0.0, 5e-324, 1.7976931348623157e308, NAN, float("inf"), float("-inf")])
def test_numbers_survive_json(exact: float) -> None:
    """Every float64 comes back with its bits, NaN and the infinities among them."""
    back = float(msgspec.json.decode(msgspec.json.encode(Divide([number(exact)])), type=Divide).by[0])
    assert_same_bits(np.array([back]), np.array([exact]))


@pytest.mark.parametrize("category", ["1", 1, 1.0, True, "nan", "", "é"])
def test_categories_survive_json_with_their_types(category: Any) -> None:
    """The text '1' is not the number 1."""
    lookup = Lookup([value(category)], [0], None, None)
    back = msgspec.json.decode(msgspec.json.encode(lookup), type=Lookup).categories[0]
    assert (type(back), back) == (type(category), category)


@pytest.mark.parametrize("category", [b"bytes", NAN, float("inf"), 2**63, None, "\ud800", (1, 2)])
def test_what_json_cannot_say_is_no_category(category: object) -> None:
    """Bytes, dates, tuples, wider integers and lone surrogates cannot be in an event."""
    with pytest.raises(ValueError, match=r"is not text|surrogates"):
        value(category)


def test_serving_does_not_import_scikit_learn() -> None:
    """Law 8: at run time the plan needs NumPy only."""
    code = "import sys, scorer.transform; print([m for m in ('sklearn', 'scipy', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
