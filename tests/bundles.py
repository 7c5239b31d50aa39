"""What a small bundle is made of, for every test that needs one: a frame of raw events, a fitted preprocessor, a model.

Nothing is trained for long: the weights are random, since parity and exactness do not depend on what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from scorer.bundle import Bundle

NUMBERS, CATEGORIES = ["amount", "hour", "balance"], ["country", "merchant.category"]
BANDS = {"review": 0.4, "block": 0.6}
BATCH_SHAPE = 256
"""Rows a call: small, so that a test's stream of some thousand events is cut many times."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What training left: raw examples, a fitted ColumnTransformer, a Keras model on its features."""

    frame: pd.DataFrame
    preprocessor: Any
    model: Any

    def features(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return what the fitted object itself gives."""
        features: NDArray[np.float64] = self.preprocessor.transform(frame)
        return features

    def scores(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """Return the offline model's scores: Keras on scikit-learn's features, nothing of ours between."""
        scores: NDArray[np.float32] = self.model(self.features(frame).astype(np.float32)).numpy()[:, 0]
        return scores


def frame_of(count: int, seed: int = 7) -> pd.DataFrame:
    """Return raw events: numbers with nulls and extremes, categories with rare and null ones, a nested field."""
    import pandas as pd

    draw = np.random.default_rng(seed)
    amounts = np.round(np.exp(draw.normal(3.0, 2.0, count)), 2)
    balances = draw.normal(0.0, 1e4, count)
    balances[draw.random(count) < 0.1] = np.nan
    countries = draw.choice(np.array(["FI", "SE", "DE", "ÅX"], object), count, p=[0.5, 0.3, 0.15, 0.05])
    return pd.DataFrame(
        {
            "transaction_id": [f"tx-{seed}-{row:07d}" for row in range(count)],
            "event_time": 1_542_672_000_000 + np.arange(count) * 137,
            "amount": amounts,
            "hour": draw.integers(0, 24, count),
            "balance": balances,
            "country": countries,
            "merchant.category": draw.choice(np.array(["food", "fuel", "travel"], object), count),
        }
    )


def payloads(frame: pd.DataFrame) -> list[bytes]:
    """Return a frame's events as JSON, as producers would write them: dotted columns become objects, NaN null."""
    return [msgspec.json.encode(event) for event in nested(frame)]


def nested(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's events as dictionaries in dictionaries."""
    events: list[dict[str, Any]] = [{} for _ in range(len(frame))]
    for path in frame.columns:
        *parents, name = str(path).split(".")
        for event, value in zip(events, frame[path].tolist(), strict=True):
            inner = event
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[name] = None if value != value else value  # noqa: PLR0124 - NaN is not itself
    return events


def train() -> Trained:
    """Fit a ColumnTransformer, and make a Keras model with one epoch of training."""
    import keras
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    keras.utils.set_random_seed(7)
    frame = frame_of(1500)
    preprocessor = ColumnTransformer(
        [
            ("number", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
            ("log", FunctionTransformer(np.log1p, feature_names_out="one-to-one"), ["amount"]),
            ("category", OneHotEncoder(handle_unknown="ignore", sparse_output=False), CATEGORIES),
        ]
    )
    features = preprocessor.fit_transform(frame).astype(np.float32)
    inputs = keras.Input((features.shape[1],), name="features")
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="fraud")(hidden))
    model.compile("adam", "binary_crossentropy")
    model.fit(features, (frame["amount"] > 60).to_numpy(np.float32), epochs=1, batch_size=64, verbose=0)
    return Trained(frame, preprocessor, model)


@pytest.fixture(scope="session")
def trained() -> Trained:
    """Give the card model, fitted once for the session."""
    return train()


@pytest.fixture(scope="session")
def cards(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Give the card model packed, loaded and proved; the directory is `cards.path`, and is not to be changed."""
    return pack_cards(trained, tmp_path_factory.mktemp("bundles") / "cards")


def pack_cards(trained: Trained, directory: Path, **changes: Any) -> Bundle:
    """Pack the card model into a directory, with some arguments changed."""
    from scorer.bundle import pack

    arguments: dict[str, Any] = {
        "name": "cards",
        "version": "7",
        "model": trained.model,
        "preprocessor": trained.preprocessor,
        "events": trained.frame,
        "event_id": "transaction_id",
        "event_time": "event_time",
        "bands": BANDS,
        "batch_shape": BATCH_SHAPE,
    }
    return pack(directory, **arguments | changes)
