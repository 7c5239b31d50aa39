"""The reference workload: a 250-byte JSON event of 24 numbers, a scaler, and a small network; and a wide one.

The wide event has 60 fields, an id and 59 numbers, all of which the model takes: 1.2 kB.
"""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FEATURES = tuple(string.ascii_lowercase[:24])
WIDE = tuple(f"reading_{number:03}" for number in range(59))
WORKLOADS: dict[str, Sequence[str]] = {"reference": FEATURES, "wide": WIDE}

NAME, VERSION = "reference", "1"
OTHERWISE = "approve"
BANDS = {"review": 0.6, "block": 0.9}


def values(count: int, fields: Sequence[str] = FEATURES) -> list[bytes]:
    """Return `count` events as JSON, each an id and a number with two decimals for every other field."""
    rng = np.random.default_rng(1)
    rows = np.round(rng.normal(20, 15, (count, len(fields))), 2).tolist()
    body = ",".join(f'"{name}":%s' for name in fields)
    return [(f'{{"id":{number},' + body % tuple(row) + "}").encode() for number, row in enumerate(rows)]


def pack_bundle(directory: Path, fields: Sequence[str] = FEATURES) -> None:
    """Pack the reference model: StandardScaler, then a dense network of 32, 16 and 1."""
    from scorer.bundle import pack

    frame, scaler, model = _fitted(fields)
    pack(
        directory,
        name=NAME,
        version=VERSION,
        model=model,
        preprocessor=scaler,
        events=frame.assign(id=np.arange(len(frame))),
        event_id="id",
        bands=BANDS,
    )


def write_contract(path: Path, bundle: Path, fields: Sequence[str] = FEATURES) -> None:
    """Write what a peer must know to score as `bundle` does: `bench.peers.scoring.Contract`, and Keras' own file."""
    _, scaler, model = _fitted(fields)
    keras_model = path.with_suffix(".keras")
    model.save(keras_model)
    standard = scaler.named_transformers_["numbers"]
    contract = {
        "name": NAME,
        "version": VERSION,
        "saved_model": str(bundle / "model"),
        "keras_model": str(keras_model),
        "fields": list(fields),
        "mean": standard.mean_.tolist(),
        "scale": standard.scale_.tolist(),
        "bands": {OTHERWISE: 0.0, **BANDS},
    }
    path.write_text(json.dumps(contract, indent=1))


def _fitted(fields: Sequence[str]) -> tuple[Any, Any, Any]:
    """Return the training frame, the fitted scaler and the network: the same for the same fields."""
    from scorer.infer.runtime import tensorflow

    tensorflow()
    import keras
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import StandardScaler

    keras.utils.set_random_seed(1)
    frame = pd.DataFrame(np.random.default_rng(2).normal(20, 15, (2000, len(fields))), columns=list(fields))
    scaler = ColumnTransformer([("numbers", StandardScaler(), list(fields))]).fit(frame)
    features = keras.Input((len(fields),), name="features")
    hidden = keras.layers.Dense(32, activation="relu")(features)
    hidden = keras.layers.Dense(16, activation="relu")(hidden)
    return frame, scaler, keras.Model(features, keras.layers.Dense(1, activation="sigmoid", name="score")(hidden))
