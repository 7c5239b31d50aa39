"""Card fraud: numbers and categories, with labels. The payments are SIMULATED, by the project's own simulator.

usage: python -m tests.examples.card_fraud [--out DIR]

Three weeks of payments. The first is trained on; the second's labels would not yet be known; the third is halved: its
first half calibrates and judges the bundle, its second half is what the stream brings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from scorer.bundle import load, pack
from scorer.demo.simulator import simulate
from tests.examples import stream

AMOUNTS = ["amount", "customer_mean_amount_1d", "customer_mean_amount_7d", "customer_mean_amount_30d"]
COUNTS = ["customer_tx_1d", "customer_tx_7d", "customer_tx_30d", "terminal_tx_1d", "terminal_tx_7d", "terminal_tx_30d"]
RISKS = ["terminal_risk_1d", "terminal_risk_7d", "terminal_risk_30d"]
WORDS = ["channel", "merchant_category", "card.type"]  # `card.type` is the field `type` of the object `card`


def main(out: Path) -> tuple[list[dict[str, Any]], Any, Any]:
    """Train, pack into `out`, score; return unseen events, which are frauds, and what the trained model says."""
    payments = simulate(seed=1, days=21, customers=1_500, terminals=3_000)
    week, days = payments.days() // 7, payments.days()
    history = payments.take(week == 0)
    recent = payments.take((week == 2) & (days < 18))
    unseen = payments.take((week == 2) & (days >= 18))

    # Preprocessing and training, as one would do it without a scorer.
    log = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
    unknown_country = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    preprocessor = ColumnTransformer(
        [
            ("amounts", make_pipeline(log, StandardScaler()), AMOUNTS),
            ("counts", StandardScaler(), COUNTS),
            ("risks", StandardScaler(), RISKS),
            ("age", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["customer_age_days"]),
            ("flags", "passthrough", ["weekend", "night"]),
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
            ("country", make_pipeline(unknown_country, StandardScaler()), ["card.country"]),
        ]
    )
    features = preprocessor.fit_transform(history.frame())
    keras.utils.set_random_seed(1)
    inputs = keras.Input((features.shape[1],), name="features")
    hidden = keras.layers.Dense(64, activation="relu")(inputs)
    hidden = keras.layers.Dropout(0.2)(hidden)
    hidden = keras.layers.Dense(32, activation="relu")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="score")(hidden))
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    model.fit(features, history.fraud, epochs=10, batch_size=256, verbose=0)

    # Everything that the stream needs, in one call.
    pack(
        out,
        name="card-fraud",
        version="1",
        model=model,
        preprocessor=preprocessor,
        events=recent.frame(),
        labels=recent.fraud,
        calibration="platt",
        event_id="transaction_id",
        event_time="event_time",
        schema={"amount": {"range": [0, 1_000_000]}},
        bands={"review": 0.05, "block": 0.50},
    )

    # What the scorer will do with it.
    stream.show(stream.decide(load(out), unseen.events()))
    scores = model.predict(preprocessor.transform(unseen.frame()), verbose=0)[:, 0]
    return unseen.events(), unseen.fraud, scores


if __name__ == "__main__":
    main(stream.directory("card-fraud"))
