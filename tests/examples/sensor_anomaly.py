"""Sensors: an autoencoder that was never shown an anomaly. The readings are REAL: nine sensors of a space shuttle.

usage: python -m tests.examples.sensor_anomaly [--out DIR]

Data: every third row of UCI's Statlog (Shuttle), CC BY 4.0; see `data/README.md` for the citation. The first half of
the readings, without their anomalies, is trained on; the third quarter, with them, is what scores are measured against.

The score is the share of those reference readings that were reconstructed better. Its bands are therefore workloads:
with 7 anomalies in 100 readings, `inspect` from 0.93 up looks at 7 in 100.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from scorer.bundle import load, pack
from tests.examples import stream

DATA = Path(__file__).parent / "data" / "shuttle.csv.gz"
SENSORS = [f"f{number}" for number in range(1, 10)]


def main(out: Path) -> tuple[list[dict[str, Any]], Any, Any]:
    """Train, pack into `out`, score; return unseen events, which are anomalies, and the trained model's error."""
    readings = pd.read_csv(DATA)
    readings.insert(0, "reading", [f"reading-{number}" for number in range(len(readings))])
    half, quarter = len(readings) // 2, len(readings) // 4
    known, recent, unseen = readings[:half], readings[half : half + quarter], readings[half + quarter :]
    normal = known[known["anomaly"] == 0]

    # Preprocessing and training, as one would do it without a scorer.
    scaler = StandardScaler().fit(normal[SENSORS])
    features = scaler.transform(normal[SENSORS])
    keras.utils.set_random_seed(1)
    inputs = keras.Input((len(SENSORS),), name="sensors")
    hidden = keras.layers.Dense(16, activation="tanh")(inputs)
    hidden = keras.layers.Dense(4, activation="tanh")(hidden)
    hidden = keras.layers.Dense(16, activation="tanh")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(len(SENSORS), name="reconstruction")(hidden))
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    model.fit(features, features, epochs=15, batch_size=128, verbose=0)

    # Everything that the stream needs, in one call.
    pack(
        out,
        name="shuttle-sensors",
        version="1",
        model=model,
        preprocessor=scaler,
        events=recent.drop(columns="anomaly"),
        event_id="reading",
        score="reconstruction_error",
        error="mse",
        calibration="quantile",
        bands={"inspect": 0.93, "stop": 0.99},
    )

    # What the scorer will do with it.
    events = unseen.drop(columns="anomaly").to_dict("records")
    stream.show(stream.decide(load(out), events))
    given = scaler.transform(unseen[SENSORS]).astype(np.float32)
    errors = np.mean((given - model.predict(given, verbose=0)) ** 2, axis=1)
    return events, unseen["anomaly"].to_numpy(), errors


if __name__ == "__main__":
    main(stream.directory("sensor-anomaly"))
