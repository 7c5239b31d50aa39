"""The reference workload: a 250-byte JSON event of 24 numbers, a scaler, and a small network."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np

FEATURES = string.ascii_lowercase[:24]


def values(count: int) -> list[bytes]:
    """Return `count` events as JSON, each of 24 numbers with two decimals and an id."""
    rng = np.random.default_rng(1)
    rows = np.round(rng.normal(20, 15, (count, len(FEATURES))), 2).tolist()
    body = ",".join(f'"{name}":%s' for name in FEATURES)
    return [(f'{{"id":{number},' + body % tuple(row) + "}").encode() for number, row in enumerate(rows)]


def pack_bundle(directory: Path) -> None:
    """Pack the reference model: StandardScaler, then 24-32-16-1."""
    from scorer.infer.runtime import tensorflow

    tensorflow()
    import keras
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import StandardScaler

    from scorer.bundle import pack

    keras.utils.set_random_seed(1)
    frame = pd.DataFrame(np.random.default_rng(2).normal(20, 15, (2000, 24)), columns=list(FEATURES))
    scaler = ColumnTransformer([("numbers", StandardScaler(), list(FEATURES))]).fit(frame)
    features = keras.Input((24,), name="features")
    hidden = keras.layers.Dense(32, activation="relu")(features)
    hidden = keras.layers.Dense(16, activation="relu")(hidden)
    model = keras.Model(features, keras.layers.Dense(1, activation="sigmoid", name="score")(hidden))
    pack(
        directory,
        name="reference",
        version="1",
        model=model,
        preprocessor=scaler,
        events=frame.assign(id=np.arange(len(frame))),
        event_id="id",
        bands={"review": 0.6, "block": 0.9},
    )
