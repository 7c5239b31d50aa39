"""The network that is measured: a week of transactions in, its bundle out, and the scores of another week.

Its layers, dropout, rate and epochs were chosen on the validation split alone; the test week was not looked at.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.pipeline import Lane, process
from scorer.records import Records
from tests.handbook.protocol import FEATURES, ID, LABEL, TIME

if TYPE_CHECKING:
    import pandas as pd

    from scorer.bundle import Bundle

HIDDEN, DROPOUT, RATE, BATCH, EPOCHS = 500, 0.2, 1e-3, 256, 50
MICRO_BATCH = 4096


def packed(train: pd.DataFrame, directory: Path, seed: int) -> Bundle:
    """Train on a week and pack what came out; the same seed gives the same bundle. Sets the process's random seeds."""
    import keras
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import StandardScaler

    from scorer.bundle import pack

    keras.utils.set_random_seed(seed)
    preprocessor = ColumnTransformer([("standardised", StandardScaler(), FEATURES)])
    features = preprocessor.fit_transform(train).astype(np.float32)
    labels = train[LABEL].to_numpy(np.float32)
    model = network()
    model.fit(features, labels, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    return pack(
        directory,
        name="handbook-mlp",
        version=str(seed),
        model=model,
        preprocessor=preprocessor,
        events=raw(train),
        event_id=ID,
        event_time=TIME,
        bands={"review": 0.1, "block": 0.5},
    )


def network() -> Any:
    """Return the untrained network: 15 standardised features to the probability of fraud."""
    import keras

    features = keras.Input((len(FEATURES),), name="features")
    hidden = keras.layers.Dense(HIDDEN, activation="relu")(features)
    hidden = keras.layers.Dropout(DROPOUT)(hidden)
    model = keras.Model(features, keras.layers.Dense(1, activation="sigmoid", name="score")(hidden))
    model.compile(keras.optimizers.Adam(RATE), "binary_crossentropy")
    return model


def raw(transactions: pd.DataFrame) -> pd.DataFrame:
    """Return transactions as they are sent: without labels and cards, the time in milliseconds since the epoch."""
    stamps = transactions[TIME].to_numpy("datetime64[ms]").astype(np.int64)
    return transactions[[ID, TIME, *FEATURES]].assign(**{TIME: stamps})


def scores(bundle: Bundle, transactions: pd.DataFrame) -> NDArray[np.float32]:
    """Return the scores (float32, shape (n,)) that the stream would give n transactions: as JSON, in micro-batches.

    Raises SystemExit where an event is rejected.
    """
    values = [msgspec.json.encode(event) for event in raw(transactions).to_dict("records")]
    lane = bundle.lane("transactions", group="handbook", decisions="decisions", dead_letters="dead-letters")
    starts = range(0, len(values), MICRO_BATCH)
    return np.concatenate([_scored(lane, start, values[start : start + MICRO_BATCH]) for start in starts])


def _scored(lane: Lane, first: int, values: list[bytes]) -> NDArray[np.float32]:
    count = len(values)
    offsets = range(first, first + count)
    records = Records.of(lane.topic, [0] * count, offsets, [0] * count, [None] * count, values)
    outcome = process(records, lane, time.monotonic, time.monotonic())
    if outcome.rejections:
        raise SystemExit(f"{len(outcome.rejections)} transactions were rejected, first: {outcome.rejections[0]}")
    return outcome.decisions.scores.score
