"""Every mode of the two encoders, and how missing values reach them, against scikit-learn."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from transform_oracle import FIRST_ROW, assert_parity, assert_same_bits, fit, reference, serve

from scorer.errors import Reason, Stage

NAN = float("nan")
COUNTRIES = ["AT", "AT", "AT", "DE", "DE", "FR", "US", None]
LEVELS = [1.0, 1.0, 2.0, 2.0, 2.0, 3.5, NAN, -4.0]
TRAINING = pd.DataFrame(
    {
        "country": pd.Series(COUNTRIES, dtype="str"),
        "code": pd.Series(COUNTRIES, dtype=object),
        "level": LEVELS,
        "flag": [True, False] * 4,
        "count": [1, 2, 3, 1, 1, 2, 2, 2**60],
    }
)
EVENTS = pd.DataFrame(
    {
        "country": pd.Series(["US", "AT", None, "XX", "FR", "DE"], dtype="str"),
        "code": pd.Series(["AT", None, "XX", "FR", "US", "DE"], dtype=object),
        "level": [3.5, NAN, 1.0, 2.0, 99.0, -4.0],
        "flag": [True, False, True, False, True, False],
        "count": [2**60, 2**60 + 1, 1, 2, 3, -7],
    }
)
FREQUENCIES = [{}, {"min_frequency": 2}, {"max_categories": 3}, {"max_categories": 1}, {"min_frequency": 0.3}]


@pytest.mark.parametrize(
    ("unknown", "drop", "frequency"),
    list(product(["error", "ignore", "infrequent_if_exist", "warn"], [None, "first", "if_binary"], FREQUENCIES)),
)
def test_one_hot_modes_have_parity(unknown: str, drop: str | None, frequency: dict[str, Any]) -> None:
    """Unknown, dropped and infrequent categories go where scikit-learn sends them, or their rows are rejected."""
    fitted = fit(OneHotEncoder(handle_unknown=unknown, drop=drop, **frequency), TRAINING)
    assert_parity(fitted, EVENTS)


def test_one_hot_drops_a_named_category() -> None:
    """`drop` may list a category a column, NaN and None among them."""
    fitted = fit(OneHotEncoder(drop=["DE", None, NAN, True, 2], handle_unknown="ignore"), TRAINING)
    assert_parity(fitted, EVENTS)


@pytest.mark.parametrize(
    ("unknown", "missing", "frequency"),
    list(product([None, -1, 99, NAN], [NAN, -3], [*FREQUENCIES[:4], {"min_frequency": 3}])),
)
def test_ordinal_modes_have_parity(unknown: float | None, missing: float, frequency: dict[str, Any]) -> None:
    """Unknown, missing and infrequent categories get scikit-learn's codes, or their rows are rejected."""
    how = "error" if unknown is None else "use_encoded_value"
    encoder = OrdinalEncoder(handle_unknown=how, unknown_value=unknown, encoded_missing_value=missing, **frequency)
    assert_parity(fit(encoder, TRAINING), EVENTS)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int64])
def test_encoders_of_other_dtypes_have_parity(dtype: type) -> None:
    """An encoder's own dtype changes nothing that float64 could show."""
    onehot = OneHotEncoder(dtype=dtype, handle_unknown="ignore", sparse_output=False)
    codes = OrdinalEncoder(dtype=dtype, handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    both = ColumnTransformer([("onehot", onehot, ["country", "level"]), ("codes", codes, ["code", "flag", "count"])])
    assert_parity(fit(both, TRAINING), EVENTS)


def test_listed_categories_keep_their_order() -> None:
    """`categories=` need not be sorted for text."""
    encoder = OrdinalEncoder(
        categories=[["US", "AT", "DE", "FR", NAN]], handle_unknown="use_encoded_value", unknown_value=-1
    )
    assert_parity(fit(encoder, TRAINING[["country"]]), EVENTS[["country"]])


def test_an_unknown_category_is_rejected_with_its_field_and_the_others_go_on() -> None:
    """handle_unknown='error' costs the one event, not its batch."""
    fitted = fit(OneHotEncoder(sparse_output=False), TRAINING[["country"]])
    features, rejections = serve(fitted, EVENTS[["country"]])
    (rejection,) = rejections
    assert (rejection.row, rejection.stage) == (FIRST_ROW + 3, Stage.TRANSFORM)
    assert (rejection.reason, rejection.path) == (Reason.UNKNOWN_CATEGORY, "$.country")
    assert "'XX'" in rejection.message
    others = [0, 1, 2, 4, 5]
    assert_same_bits(features[others], reference(fitted, EVENTS[["country"]].iloc[others]))


def test_a_null_that_training_never_saw_is_an_unknown_category() -> None:
    """A null is a category like others: refused where the encoder refuses unknown ones, and named so."""
    fitted = fit(OneHotEncoder(), TRAINING[["country"]].dropna())
    _, rejections = serve(fitted, EVENTS[["country"]].iloc[[2]])
    assert [(r.reason, r.message.split()[0]) for r in rejections] == [(Reason.UNKNOWN_CATEGORY, "None")]


@pytest.mark.parametrize("frame", [TRAINING[["country"]], TRAINING[["code"]]])
@pytest.mark.parametrize("missing", [NAN, None])
def test_null_text_is_imputed_as_training_did(frame: pd.DataFrame, missing: float | None) -> None:
    """Nulls of text are filled where the imputer's marker is what training had for null: NaN or None."""
    marker = frame.astype(object).where(frame.notna(), missing)
    imputer = SimpleImputer(strategy="constant", fill_value="none", missing_values=missing)
    fitted = fit(make_pipeline(imputer, OneHotEncoder(handle_unknown="ignore", sparse_output=False)), marker)
    assert_parity(fitted, marker)


def test_an_imputer_of_nan_leaves_none_to_the_encoder() -> None:
    """SimpleImputer's default marker does not match None, so that None is a category of its own."""
    imputer = SimpleImputer(strategy="most_frequent")
    fitted = fit(make_pipeline(imputer, OneHotEncoder(sparse_output=False)), TRAINING[["code"]])
    assert_parity(fitted, TRAINING[["code"]])


def test_text_may_mark_the_missing() -> None:
    """`missing_values` may be a word of the data."""
    imputer = SimpleImputer(strategy="most_frequent", missing_values="US", add_indicator=True)
    frame = TRAINING[["code"]].dropna()
    fitted = fit(make_pipeline(imputer, OneHotEncoder(handle_unknown="ignore", sparse_output=False)), frame)
    assert_parity(fitted, EVENTS[["code"]].dropna())
