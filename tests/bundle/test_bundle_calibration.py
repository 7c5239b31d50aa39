"""Calibration at packing: held against scikit-learn's and the papers' own definitions, and kept by the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import Trained, frame_of, nested, pack_cards, payloads
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import rankdata
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from scorer.bundle import Bundle, load, pack
from scorer.bundle.golden import as_records
from scorer.bundle.packing.calibrating import fit, isotonic, method_of, platt, quantile, temperature
from scorer.errors import PackError
from scorer.infer import ScoreKind
from scorer.infer.calibration import Quantile, Temperature, curve_of
from scorer.infer.output import logit
from scorer.infer.runtime import tensorflow
from scorer.records import Scores

Labelled = tuple[NDArray[np.float64], NDArray[np.int64]]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def labelled(count: int = 2000, *, slope: float = 0.6, shift: float = -1.0, seed: int = 0) -> Labelled:
    """Return log-odds that are too sure of themselves, and the labels that they ought to have told."""
    draw = np.random.default_rng(seed)
    x = draw.normal(-1, 3, count)
    return x, (draw.random(count) < sigmoid(slope * x + shift)).astype(np.int64)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-6, 0.0), (1e6, 1e7)])
def test_platt_is_the_logistic_regression_on_platts_targets(scale: float, offset: float) -> None:
    """Scikit-learn's, unpenalised, each event being a bit of either class; errors of any size are fitted alike."""
    x, truth = labelled()
    high, low = (truth.sum() + 1) / (truth.sum() + 2), 1 / ((1 - truth).sum() + 2)
    targets = np.where(truth == 1, high, low)
    regression = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12)
    regression.fit(
        np.concatenate([x, x])[:, None],
        np.repeat([1, 0], len(x)),
        sample_weight=np.concatenate([targets, 1 - targets]),
    )

    found = platt(x * scale + offset, truth)

    expected = regression.predict_proba(x[:, None])[:, 1]
    np.testing.assert_allclose(sigmoid(found.slope * (x * scale + offset) + found.intercept), expected, atol=1e-7)


def test_platt_finds_the_line_that_made_the_labels() -> None:
    """Of log-odds that were distorted by a known line."""
    found = platt(*labelled(200_000))

    assert (found.slope, found.intercept) == pytest.approx((0.6, -1.0), abs=0.02)


def test_platt_of_separated_events_stays_finite() -> None:
    """Platt's targets leave a doubt where every label was told right."""
    x = np.array([-2.0, -1.0, 1.0, 2.0])

    found = platt(x, np.array([0, 0, 1, 1]))

    # The least log loss: the mean of the targets on either side is 1 / 4 and 3 / 4.
    p = sigmoid(found.slope * x + found.intercept)
    targets = np.array([0.25, 0.25, 0.75, 0.75])
    np.testing.assert_allclose([(p - targets).sum(), ((p - targets) * x).sum()], 0, atol=1e-9)


@pytest.mark.parametrize("slope", [0.3, 1.0, 2.5])
def test_a_temperature_has_the_least_log_loss(slope: float) -> None:
    """As SciPy's bounded minimiser finds it."""
    x, truth = labelled(slope=slope, shift=0.0)

    found = temperature(x, truth)

    def loss(t: float) -> float:
        return float(np.mean(np.logaddexp(0, x / t) - truth * x / t))

    best = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-12})
    np.testing.assert_allclose(sigmoid(x / found.t), sigmoid(x / best.x), atol=1e-6)
    assert loss(found.t) <= best.fun + 1e-12


def test_a_temperature_of_separated_events_is_bounded() -> None:
    """It would be zero."""
    assert temperature(np.array([-1.0, 1.0]), np.array([0, 1])) == Temperature(0.01)


@pytest.mark.parametrize("distinct", [5, 400, 2000])
def test_isotonic_is_scikit_learns(distinct: int) -> None:
    """On the events it was fitted on and on others, ties among them."""
    x, truth = labelled()
    p, others = sigmoid(np.round(x * distinct / 20) * 20 / distinct), np.linspace(0, 1, 999)
    expected = IsotonicRegression(out_of_bounds="clip").fit(p, truth)

    found = curve_of(isotonic(p, truth))

    np.testing.assert_allclose(found(p), expected.predict(p), atol=1e-12)
    np.testing.assert_allclose(found(others), expected.predict(others), atol=1e-12)


def test_a_quantile_map_is_the_rank_over_n_and_one() -> None:
    """Of few values exactly, equal ones sharing the mean of their ranks."""
    x = np.round(np.random.default_rng(1).exponential(1.0, 500), 2)

    found = curve_of(quantile(x))(x)

    np.testing.assert_allclose(found, rankdata(x) / 501, atol=1e-12)


@pytest.mark.parametrize("count", [10_000, 100_000])
def test_a_quantile_map_of_many_is_close_and_closest_at_the_top(count: int) -> None:
    """A knot for about every hundredth in the middle, but one for every value among the greatest."""
    x = np.random.default_rng(2).lognormal(0, 2, count)

    knots = quantile(x)

    found, expected = curve_of(knots)(np.sort(x)), np.arange(1, count + 1) / (count + 1)
    assert len(knots.x) <= 512
    assert np.abs(found - expected).max() < 0.01
    np.testing.assert_allclose(1 - found[-8:], 1 - expected[-8:], rtol=1e-6)
    np.testing.assert_allclose(1 - found[-count // 100 :], 1 - expected[-count // 100 :], rtol=0.1)
    assert (np.diff(found) > 0).all()


def test_scores_that_do_not_rise_with_the_labels_are_not_calibrated() -> None:
    """Swapped labels would otherwise turn every decision round."""
    x, truth = labelled()

    for fitted in (platt, temperature):
        with pytest.raises(PackError, match="do not rise with the labels"):
            fitted(x, 1 - truth)


@pytest.mark.parametrize(
    ("calibration", "kind", "said"),
    [
        ("beta", ScoreKind.PROBABILITY, "none, platt, isotonic, temperature, quantile"),
        ("temperature", ScoreKind.ANOMALY, "divides log-odds"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(calibration: str, kind: ScoreKind, said: str) -> None:
    """By name, with what there is."""
    with pytest.raises(PackError, match=said):
        method_of(calibration, kind, labelled=True)


@pytest.mark.parametrize("calibration", ["platt", "isotonic", "temperature"])
def test_a_calibration_from_labels_needs_them(calibration: str, trained: Trained, tmp_path: Path) -> None:
    """The message says so, and which one does not."""
    with pytest.raises(PackError, match=r"needs labels.*quantile needs none"):
        pack_cards(trained, tmp_path / "bundle", calibration=calibration)


def test_nothing_to_calibrate_on_is_refused() -> None:
    """Where no example has a score, there is no map."""
    with pytest.raises(PackError, match="none of the examples has a score"):
        fit("quantile", np.empty(0), ScoreKind.ANOMALY, None)


def scores_of(bundle: Bundle, values: list[bytes]) -> Scores:
    """Walk raw events through a bundle as the service does; none may be rejected."""
    columns, rejected = bundle.decode(as_records(values))
    inputs, refused = bundle.transform(columns)
    scores, failed = bundle.model(inputs)
    assert [*rejected, *refused, *failed] == []
    return scores


@pytest.mark.parametrize("method", ["platt", "temperature", "isotonic", "quantile"])
def test_a_calibrated_bundle_gives_the_calibrated_score(method: str, trained: Trained, tmp_path: Path) -> None:
    """For events that it has never seen: the definition on the offline model's own scores, within 1e-6."""
    frame, unseen = frame_of(900, seed=3), frame_of(500, seed=4)
    noise = np.random.default_rng(5).normal(0, 30, len(frame))
    labels = (frame["amount"] + noise > 60).astype(int)
    before, raw = trained.scores(frame).astype(np.float64), trained.scores(unseen).astype(np.float64)

    bundle = pack_cards(trained, tmp_path / "bundle", events=frame, labels=labels, calibration=method)

    if method == "platt":
        found = platt(logit(before), labels.to_numpy())
        expected = sigmoid(found.slope * logit(raw) + found.intercept)
    elif method == "temperature":
        expected = sigmoid(logit(raw) / temperature(logit(before), labels.to_numpy()).t)
    elif method == "isotonic":
        expected = IsotonicRegression(out_of_bounds="clip").fit(before, labels).predict(raw)
    else:
        expected = np.interp(raw, np.sort(before), rankdata(np.sort(before)) / 901)
    scores = scores_of(load(bundle.path), payloads(unseen))
    close = 0.01 if method == "quantile" else 1e-6  # of more than 512 examples, not each is a knot
    np.testing.assert_allclose(scores.score, expected, atol=close)
    order = np.argsort(raw, kind="stable")
    assert (np.diff(scores.score[order]) >= -1e-6).all()
    figures = bundle.manifest.figures
    assert figures is not None
    assert figures.calibration_error != figures.calibration_error_before
    if method in ("platt", "isotonic"):
        assert figures.calibration_error < figures.calibration_error_before


def test_a_bundle_without_a_calibration_says_so(cards: Bundle) -> None:
    """A probability is published as the model gave it, unless somebody asked for more."""
    assert cards.manifest.model.calibration is None


COLUMNS = ["a", "b", "c", "d"]


def normal(count: int = 700, seed: int = 0) -> NDArray[np.float64]:
    """Return sensor readings on a plane, and a few that are off it."""
    draw = np.random.default_rng(seed)
    x = draw.normal(0, 1, (count, 2)) @ draw.normal(0, 1, (2, 4)) + draw.normal(0, 0.1, (count, 4))
    x[::50] += draw.normal(0, 3, (len(x[::50]), 4))
    return x


def events_of(x: NDArray[np.float64]) -> list[dict[str, float]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in x.tolist()]


def autoencoder(error: str | None = None) -> Any:
    """Return a Keras autoencoder of four numbers, with its error in the graph if it is named."""
    import keras

    keras.utils.set_random_seed(2)
    inputs = keras.Input((4,), name="features")
    rebuilt = keras.layers.Dense(4, name="rebuilt")(keras.layers.Dense(2, activation="tanh")(inputs))
    if error is None:
        return keras.Model(inputs, rebuilt)
    apart = keras.ops.square(inputs - rebuilt) if error == "mse" else keras.ops.abs(inputs - rebuilt)
    return keras.Model(inputs, keras.ops.mean(apart, axis=1))


def packed(directory: Path, model: Any, **changes: Any) -> Bundle:
    arguments: dict[str, Any] = {"events": events_of(normal()), "columns": COLUMNS, "bands": {"alarm": 0.99}}
    fixed = {"name": "sensor", "version": "1", "preprocessor": None, "batch_shape": 32}
    return pack(directory, model=model, **fixed, **arguments | changes)


def offline(x: NDArray[np.float64], error: str) -> NDArray[np.float64]:
    """Return the reconstruction error by Keras and NumPy, nothing of ours between."""
    fed = x.astype(np.float32)
    apart = autoencoder()(fed).numpy().astype(np.float64) - fed.astype(np.float64)
    found: NDArray[np.float64] = (np.square(apart) if error == "mse" else np.abs(apart)).mean(1)
    return found


@pytest.mark.parametrize("place", ["outside", "inside"])
@pytest.mark.parametrize("error", ["mse", "mae"])
def test_an_autoencoder_scores_by_the_quantile_of_its_error(error: str, place: str, tmp_path: Path) -> None:
    """No labels, no threshold: the share of the examples that were reconstructed better, in the graph or outside."""
    model = autoencoder(error if place == "inside" else None)

    bundle = packed(tmp_path / "bundle", model, score="reconstruction_error", error=error)

    raw, reference = offline(normal(seed=9), error), offline(normal(), error)
    scores = scores_of(bundle, encoded(events_of(normal(seed=9))))
    share = np.searchsorted(np.sort(reference), raw) / len(reference)
    calibration = bundle.manifest.model.calibration
    assert isinstance(calibration, Quantile)
    np.testing.assert_allclose(scores.score, share, atol=0.012)
    np.testing.assert_allclose(scores.score, curve_of(calibration)(raw), atol=1e-6)
    assert np.isfinite(scores.log_odds).all()
    assert bundle.manifest.model.reconstructs == ("features" if place == "outside" else None)


def encoded(events: list[dict[str, float]]) -> list[bytes]:
    import msgspec

    return [msgspec.json.encode(event) for event in events]


def test_an_error_without_a_calibration_is_itself_clipped(tmp_path: Path) -> None:
    """An explicit `none` publishes the error, 1 at most, and dead-letters nothing for being too large."""
    x = normal(seed=9)
    x[0] = 1e6

    bundle = packed(tmp_path / "bundle", autoencoder(), score="reconstruction_error", calibration="none")

    scores = scores_of(bundle, encoded(events_of(x)))
    np.testing.assert_allclose(scores.score, np.clip(offline(x, "mse"), 0, 1), atol=1e-6)
    assert scores.score[0] == 1.0


@pytest.mark.parametrize("calibration", ["platt", "isotonic"])
def test_an_anomaly_may_be_calibrated_by_labels(calibration: str, tmp_path: Path) -> None:
    """On its raw value, of whatever range."""
    labels = (np.arange(700) % 50 == 0).astype(int)

    bundle = packed(tmp_path / "bundle", autoencoder("mse"), score="anomaly", calibration=calibration, labels=labels)

    raw, fitted_on = offline(normal(seed=9), "mse"), offline(normal(), "mse")
    if calibration == "platt":
        found = platt(fitted_on, labels)
        expected = sigmoid(found.slope * raw + found.intercept)
    else:
        expected = IsotonicRegression(out_of_bounds="clip").fit(fitted_on, labels).predict(raw)
    np.testing.assert_allclose(scores_of(bundle, encoded(events_of(normal(seed=9)))).score, expected, atol=1e-5)
    assert bundle.manifest.figures is not None


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "error of another name": ({"score": "reconstruction_error", "error": "rmse"}, "'mse' or 'mae'"),
    "a reconstruction as a probability": ({}, "score='reconstruction_error'"),
    "a reconstruction as an anomaly": ({"score": "anomaly"}, "has 4 columns"),
    "a class of an anomaly": ({"score": "anomaly", "positive_class": 1}, "a softmax, and only it"),
    "a temperature of an error": ({"score": "reconstruction_error", "calibration": "temperature"}, "has none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_an_output_cannot_mean_is_refused(case: str, tmp_path: Path) -> None:
    """By name, and nothing is left where the bundle would have been."""
    changes, said = REFUSED[case]

    with pytest.raises(PackError, match=said):
        packed(tmp_path / "bundle", autoencoder(), **changes)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("shapes", "said"), [((4, 4), "more than one float input"), ((3, 5), "no float input")])
def test_a_reconstruction_of_no_input_is_refused(shapes: tuple[int, int], said: str, tmp_path: Path) -> None:
    """Which features the output is to be compared with is not guessed."""
    tf = tensorflow()
    module = tf.Module()
    module.score = tf.function(lambda x, y: {"p": tf.concat([x, y], 1)[:, :4]})
    specs = {
        name: tf.TensorSpec([None, width], tf.float32, name=name) for name, width in zip("xy", shapes, strict=True)
    }
    saved = tmp_path / "model"
    tf.saved_model.save(module, str(saved), signatures={"s": module.score.get_concrete_function(**specs)})

    with pytest.raises(PackError, match=said):
        packed(tmp_path / "bundle", saved, score="reconstruction_error", signature="s")


def test_dictionaries_and_frames_calibrate_alike(trained: Trained, tmp_path: Path) -> None:
    """The fit is on the model's own scores, however the examples came."""
    frame = frame_of(300, seed=8)
    specs = [
        pack_cards(trained, tmp_path / name, events=events, calibration="quantile").manifest.model
        for name, events in (("frame", frame), ("dictionaries", nested(frame)))
    ]

    assert specs[0] == specs[1]
