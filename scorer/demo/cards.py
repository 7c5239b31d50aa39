"""The card demo: simulated payments in, a trained model and its bundle out. An example of how to train and pack.

The split follows the Handbook: train on a week, leave out the next one, whose labels would not be known yet, and test
on what comes after, which the demo streams. The bands are chosen on the training week's last two days, which the model
was not fitted on: whatever chooses a threshold must not be what the threshold is judged by. Unlike in the Handbook, no
card is left out of the test because it is known to be compromised: the figures are those of the stream as it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scorer.demo.simulator import LABEL_DELAY, WINDOWS, Payments

FIT_DAYS, VALIDATION_DAYS = 5, 2
EPOCHS, BATCH = 8, 256
MAX_AMOUNT = 1_000_000
"""An amount outside 0 to this is no payment but a fault of its sender: it is dead-lettered, not scored."""

AMOUNTS = ["amount", *(f"customer_mean_amount_{days}d" for days in WINDOWS)]
COUNTS = [f"{who}_tx_{days}d" for who in ("customer", "terminal") for days in WINDOWS]
RISKS = [f"terminal_risk_{days}d" for days in WINDOWS]

Progress: TypeAlias = Callable[[int, int], None]
"""Called after each epoch with the number of epochs done and to do."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How well scores find the frauds of simulated payments: all in [0, 1], higher is better."""

    roc_auc: float
    average_precision: float
    card_precision_100: float


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted preprocessor and model, their bands, and the parts of the split that they were not fitted on."""

    preprocessor: Any
    model: Any
    bands: Mapping[str, float]
    validation: Payments
    test: Payments
    figures: Figures


def split(payments: Payments) -> tuple[Payments, Payments, Payments]:
    """Return the parts to fit on (5 days), to choose bands on (2), and, after 7 days' delay, to test on (the rest).

    Raises ValueError where nothing would be left to test on.
    """
    day = payments.days()
    week = FIT_DAYS + VALIDATION_DAYS
    if not len(payments) or day[-1] < week + LABEL_DELAY:
        raise ValueError(f"nothing is left to test on: simulate more than {week + LABEL_DELAY} days")
    return (
        payments.take(day < FIT_DAYS),
        payments.take((day >= FIT_DAYS) & (day < week)),
        payments.take(day >= week + LABEL_DELAY),
    )


def train(payments: Payments, *, seed: int, epochs: int = EPOCHS, progress: Progress | None = None) -> Trained:
    """Fit preprocessing and model, choose the bands, and test. The same payments and seed give the same weights.

    Sets the process's global random seeds, as Keras draws from them. Raises ValueError for too few days of payments.
    """
    import keras

    fit, validation, test = split(payments)
    keras.utils.set_random_seed(seed)
    preprocessor = build_preprocessor()
    features = preprocessor.fit_transform(fit.frame())
    model = build_model(features.shape[1])
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: progress and progress(epoch + 1, epochs))
    model.fit(features, fit.fraud, epochs=epochs, batch_size=BATCH, callbacks=[told], verbose=0)

    bands = choose_bands(_scores(preprocessor, model, validation), validation.fraud)
    figures = measure(_scores(preprocessor, model, test), test)
    return Trained(preprocessor, model, bands, validation, test, figures)


def build_preprocessor() -> Any:
    """Return the unfitted ColumnTransformer: event fields, by their paths, to one row of features."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

    return ColumnTransformer(
        [
            ("amounts", StandardScaler(), AMOUNTS),
            ("counts", MinMaxScaler(), COUNTS),
            ("risks", StandardScaler(), RISKS),
            ("age", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["customer_age_days"]),
            ("flags", "passthrough", ["weekend", "night"]),
            # What the training week did not hold must not stop the stream: it becomes all zeros, or -1.
            ("words", OneHotEncoder(handle_unknown="ignore"), ["channel", "merchant_category", "card.type"]),
            (
                "country",
                make_pipeline(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), MinMaxScaler()),
                ["card.country"],
            ),
        ],
        sparse_threshold=0,
    )


def build_model(width: int) -> Any:
    """Return an untrained Keras model: `features` (float32, (n, width)) to `score` (float32, (n, 1), a probability)."""
    import keras

    features = keras.Input((width,), name="features")
    hidden = keras.layers.Dense(64, activation="relu")(features)
    hidden = keras.layers.Dropout(0.2)(hidden)
    hidden = keras.layers.Dense(32, activation="relu")(hidden)
    score = keras.layers.Dense(1, activation="sigmoid", name="score")(hidden)
    model = keras.Model(features, score, name="card_fraud")
    # Frauds are not weighted up: the score stays the probability of fraud, which thresholds from costs rely on.
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy")
    return model


def choose_bands(scores: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> dict[str, float]:
    """Return where `review` and `block` begin, to three decimals, for scores and 0/1 labels of shape (n,).

    Review takes the highest 1.5 % of the scores. Block begins at the lowest score from which up 9 of 10 are frauds (at
    0.99 where there is none), and always above review: 0 < review < block < 1.
    """
    order = np.argsort(-scores, kind="stable")
    precision = np.cumsum(labels[order]) / np.arange(1, len(scores) + 1)
    precise = np.flatnonzero(precision >= 0.9)
    block = float(scores[order][precise[-1]]) if len(precise) else 0.99
    review = float(np.clip(np.quantile(scores, 0.985), 0.001, 0.99))
    return {"review": round(review, 3), "block": round(float(np.clip(block, review + 0.005, 0.999)), 3)}


def measure(scores: NDArray[np.floating[Any]], payments: Payments) -> Figures:
    """Return the figures of `scores` (shape (n,)) on labelled payments, no payment left out."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return Figures(
        roc_auc=float(roc_auc_score(payments.fraud, scores)),
        average_precision=float(average_precision_score(payments.fraud, scores)),
        card_precision_100=card_precision(scores, payments, top=100),
    )


def card_precision(scores: NDArray[np.floating[Any]], payments: Payments, *, top: int) -> float:
    """Return the share of compromised cards among the `top` most suspicious of a day, averaged over the days.

    The Handbook's CP@k: a card's score is its highest of the day; a card once found is not looked at again. Even a
    perfect score stays below 1 on days with fewer than `top` compromised cards.
    """
    day, customer = payments.days(), payments.columns["customer_id"]
    found: set[str] = set()
    shares = []
    for today in range(int(day[-1]) + 1):
        worst: dict[str, float] = {}
        frauds: set[str] = set()
        for row in np.flatnonzero(day == today).tolist():
            worst[customer[row]] = max(float(scores[row]), worst.get(customer[row], 0.0))
            frauds |= {customer[row]} if payments.fraud[row] else set()
        looked_at = sorted(worst.keys() - found, key=lambda card: (-worst[card], card))[:top]
        caught = frauds.intersection(looked_at)
        found |= caught
        shares.append(len(caught) / top)
    return float(np.mean(shares))


def pack_bundle(trained: Trained, directory: Path | str) -> None:
    """Write the bundle `card-fraud` into `directory`: model, preprocessing, bands, and proof that they belong together.

    The example events are those that chose the bands. Raises PackError where a part cannot be packed.
    """
    from scorer.bundle import pack

    pack(
        directory,
        name="card-fraud",
        version="1",
        model=trained.model,
        preprocessor=trained.preprocessor,
        events=trained.validation.frame(),
        labels=trained.validation.fraud.tolist(),
        event_id="transaction_id",
        event_time="event_time",
        schema={"amount": {"range": [0, MAX_AMOUNT]}},
        output="score",
        score="probability",
        bands=trained.bands,
    )


def _scores(preprocessor: Any, model: Any, payments: Payments) -> NDArray[np.float32]:
    scores: NDArray[np.float32] = model.predict(preprocessor.transform(payments.frame()), batch_size=4096, verbose=0)
    return scores[:, 0]
