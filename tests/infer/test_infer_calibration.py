"""What a model's output means: every kind with every calibration gives a score in [0, 1] and finite log-odds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scorer.errors import BundleError, Reason
from scorer.infer import ModelSpec, ScoreKind, TensorSpec
from scorer.infer.calibration import Calibration, Isotonic, Platt, Quantile, Temperature
from scorer.infer.model import Model
from scorer.infer.output import CLIP, RAW, Reading, value_of
from scorer.infer.runtime import tensorflow
from scorer.records import Inputs

SHAPE, WIDTH, EVENTS = 16, 13, 60
CALIBRATIONS: dict[str, Calibration | None] = {
    "none": None,
    "platt": Platt(1.7, -0.3),
    "temperature": Temperature(2.3),
    "isotonic": Isotonic([0.05, 0.2, 0.21, 0.9], [0.0, 0.1, 0.8, 1.0]),
    "quantile": Quantile([0.01, 0.3, 0.31, 0.8], [0.001, 0.4, 0.6, 0.999]),
}
KINDS = [kind for kind in ScoreKind if kind is not ScoreKind.RECONSTRUCTION_ERROR]
CASES = [case for case in itertools.product(ScoreKind, CALIBRATIONS) if case[0] not in RAW or case[1] != "temperature"]
CLIPPED = 24 * np.log(2)

unhurried = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
probabilities = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=40)
anything = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=40)


def values_for(kind: ScoreKind) -> st.SearchStrategy[list[float]]:
    return anything if kind in RAW or kind is ScoreKind.LOGIT else probabilities


@pytest.mark.parametrize(("kind", "name"), CASES)
@given(data=st.data())
def test_a_score_is_a_probability_and_its_log_odds_are_finite(kind: ScoreKind, name: str, data: st.DataObject) -> None:
    """Whatever finite number the model gives, zero, one and the largest there is among them."""
    value = np.array([0.0, 1.0, *data.draw(values_for(kind))])

    score, log_odds = Reading(kind, CALIBRATIONS[name])(value)

    assert (score.dtype, log_odds.dtype) == (np.float32, np.float32)
    assert ((score >= 0) & (score <= 1)).all()
    assert np.isfinite(log_odds).all()


@pytest.mark.parametrize(("kind", "name"), CASES)
@given(data=st.data())
def test_log_odds_say_the_same_as_the_score(kind: ScoreKind, name: str, data: st.DataObject) -> None:
    """The sigmoid of the one is the other, up to the stated clip."""
    value = np.array(data.draw(values_for(kind)))

    score, log_odds = Reading(kind, CALIBRATIONS[name])(value)

    wide = np.clip(log_odds.astype(np.float64), -700, 700)
    np.testing.assert_allclose(1 / (1 + np.exp(-wide)), score, atol=2 * CLIP, rtol=1e-6)


@pytest.mark.parametrize(("kind", "name"), CASES)
@given(data=st.data())
def test_a_calibration_keeps_the_order(kind: ScoreKind, name: str, data: st.DataObject) -> None:
    """Of two events, the one that the model finds more suspicious never has the lower score."""
    value = np.sort(np.array(data.draw(values_for(kind))))

    score, log_odds = Reading(kind, CALIBRATIONS[name])(value)

    assert (score[1:] >= score[:-1]).all()
    assert (log_odds[1:] >= log_odds[:-1]).all()


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_never_becomes_a_score(kind: ScoreKind, name: str, bad: float) -> None:
    """An infinite error is not merely very anomalous: something overflowed, and nobody may be told a score."""
    score, log_odds = Reading(kind, CALIBRATIONS[name])(np.array([0.5, bad]))

    assert np.isfinite(log_odds).tolist() == [True, False]
    assert score[1:].tobytes() == np.array([bad], np.float32).tobytes()


@pytest.mark.parametrize(("kind", "name"), CASES)
@given(bad=st.sets(st.integers(0, 39), min_size=1, max_size=39))
def test_a_bad_value_leaves_its_neighbours_bits_alone(kind: ScoreKind, name: str, bad: set[int]) -> None:
    """Wherever it stands, and however many there are."""
    value = np.random.default_rng(4).random(40)
    spoilt = value.copy()
    spoilt[list(bad)] = np.nan
    read = Reading(kind, CALIBRATIONS[name])
    kept = [at for at in range(40) if at not in bad]

    for found, expected in zip(read(spoilt), read(value), strict=True):
        assert found[kept].tobytes() == expected[kept].tobytes()


@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize("bad", [-1e-6, 1.0001, 7.0])
def test_a_calibration_does_not_hide_what_is_no_probability(name: str, bad: float) -> None:
    """The model's own number is judged, not what a curve would make of it."""
    _, log_odds = Reading(ScoreKind.PROBABILITY, CALIBRATIONS[name])(np.array([bad]))

    assert np.isnan(log_odds).all()


def test_an_anomaly_without_a_calibration_is_clipped() -> None:
    """It must not be dead-lettered for being too anomalous."""
    score, log_odds = Reading(ScoreKind.ANOMALY, None)(np.array([-3.0, 0.25, 1e300]))

    assert score.tolist() == [0.0, 0.25, 1.0]
    np.testing.assert_allclose(log_odds, [-CLIPPED, np.log(0.25 / 0.75), CLIPPED], rtol=1e-6)


def test_platt_and_temperature_are_their_formulas() -> None:
    """A line through the log-odds, and log-odds over t."""
    p = np.linspace(0.01, 0.99, 99)
    odds = np.log(p / (1 - p))

    platt, platt_odds = Reading(ScoreKind.PROBABILITY, Platt(1.7, -0.3))(p)
    cooled, cooled_odds = Reading(ScoreKind.LOGIT, Temperature(2.3))(odds)

    np.testing.assert_allclose(platt_odds, 1.7 * odds - 0.3, atol=1e-6)
    np.testing.assert_allclose(platt, 1 / (1 + np.exp(-(1.7 * odds - 0.3))), atol=1e-7)
    np.testing.assert_allclose(cooled_odds, odds / 2.3, atol=1e-6)
    np.testing.assert_allclose(cooled, 1 / (1 + np.exp(-odds / 2.3)), atol=1e-7)


@given(probabilities)
def test_isotonic_is_numpys_interpolation_bit_for_bit(p: list[float]) -> None:
    """Between the knots and beyond them."""
    knots = CALIBRATIONS["isotonic"]
    assert isinstance(knots, Isotonic)

    score, _ = Reading(ScoreKind.PROBABILITY, knots)(np.array(p))

    assert score.tobytes() == np.interp(p, knots.x, knots.y).astype(np.float32).tobytes()


def test_a_quantile_map_goes_on_beyond_what_was_seen() -> None:
    """Ever closer to 1 and to 0 by the stated tails, so that an edge still tells apart the unheard-of."""
    beyond = np.array([0.8, 0.9, 1.6, 10.0, 100.0])
    below = np.array([0.01, 0.0, -1.0, -50.0])
    read = Reading(ScoreKind.ANOMALY, CALIBRATIONS["quantile"])

    above, low = read(beyond)[0], read(below)[0]

    spread = 0.8 - 0.01
    np.testing.assert_allclose(above, 1 - 0.001 * spread / (spread + beyond - 0.8), atol=1e-7)
    np.testing.assert_allclose(low, 0.001 * spread / (spread + 0.01 - below), atol=1e-9)
    assert (np.diff(above) > 0).all()
    assert (np.diff(low) < 0).all()


def test_a_quantile_map_of_one_value_has_tails_too() -> None:
    """Examples that were all alike still leave room on either side."""
    score, _ = Reading(ScoreKind.ANOMALY, Quantile([0.0], [0.5]))(np.array([-1.0, 0.0, 1.0]))

    assert score.tolist() == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("error", ["mse", "mae"])
@pytest.mark.parametrize("inner", [(WIDTH,), (4, 3)])
def test_a_reconstruction_error_is_the_mean_difference_of_a_row(error: Any, inner: tuple[int, ...]) -> None:
    """Squared or absolute, in float64, over all but the first axis."""
    draw = np.random.default_rng(0)
    fed, output = (draw.normal(0, 2, (9, *inner)).astype(np.float32) for _ in range(2))
    inputs = {"x": TensorSpec("float32", [None, *inner])}
    spec = ModelSpec("s", inputs, "p", ScoreKind.RECONSTRUCTION_ERROR, SHAPE, None, "x", error)

    found = value_of(output, spec, fed)

    apart = (output.astype(np.float64) - fed.astype(np.float64)).reshape(9, -1)
    expected = (apart**2).mean(1) if error == "mse" else np.abs(apart).mean(1)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_a_reconstruction_of_another_shape_is_a_broken_bundle() -> None:
    """It would broadcast to a plausible number."""
    inputs = {"x": TensorSpec("float32", [None, None])}
    spec = ModelSpec("s", inputs, "p", ScoreKind.RECONSTRUCTION_ERROR, SHAPE, None, "x", "mse")

    with pytest.raises(BundleError, match="does not reconstruct"):
        value_of(np.zeros((9, 1), np.float32), spec, np.zeros((9, 3), np.float32))


NUMBERS = np.random.default_rng(3).normal(0, 1, (EVENTS, WIDTH)).astype(np.float32)


def save(directory: Path, kind: ScoreKind) -> Path:
    """Save a network whose sums depend on how they are blocked, with an output of the kind."""
    tf, draw = tensorflow(), np.random.default_rng(1)
    units = {ScoreKind.SOFTMAX: 3, ScoreKind.RECONSTRUCTION_ERROR: WIDTH}.get(kind, 1)
    layers = [tf.constant(draw.normal(0, 0.2, shape), tf.float32) for shape in ((WIDTH, 64), (64, units))]
    ends = {ScoreKind.PROBABILITY: tf.sigmoid, ScoreKind.SOFTMAX: tf.nn.softmax}
    module = tf.Module()
    module.score = tf.function(lambda x: {"p": ends.get(kind, tf.identity)(tf.nn.relu(x @ layers[0]) @ layers[1])})
    concrete = module.score.get_concrete_function(x=tf.TensorSpec([None, WIDTH], tf.float32, name="x"))
    tf.saved_model.save(module, str(directory), signatures={"score": concrete})
    return directory


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[ScoreKind, Model]:
    """Give a loaded model of each kind, without a calibration."""
    made = {}
    for kind in ScoreKind:
        directory = save(tmp_path_factory.mktemp(kind) / "model", kind)
        inputs = {"x": TensorSpec("float32", [None, WIDTH])}
        reconstructs = ("x", "mse") if kind is ScoreKind.RECONSTRUCTION_ERROR else (None, None)
        positive = 1 if kind is ScoreKind.SOFTMAX else None
        spec = ModelSpec("score", inputs, "p", kind, SHAPE, positive, *reconstructs)
        made[kind] = Model(directory, spec, {"x": np.ones((1, WIDTH), np.float32)})
    return made


def scored(model: Model, x: NDArray[Any]) -> tuple[bytes, bytes]:
    scores, rejections = model(Inputs(np.arange(len(x), dtype=np.intp), {"x": x}))
    assert not rejections
    return scores.score.tobytes(), scores.log_odds.tobytes()


@pytest.mark.parametrize(("kind", "name"), CASES)
@unhurried
@given(picked=st.lists(st.integers(0, EVENTS - 1), min_size=1, max_size=3 * SHAPE), data=st.data())
def test_a_calibrated_score_has_the_same_bits_in_any_company(
    kind: ScoreKind, name: str, picked: list[int], data: st.DataObject, models: dict[ScoreKind, Model]
) -> None:
    """Alone, in any batch, in any order and at any position: for every kind, with every calibration."""
    model = models[kind].calibrated(CALIBRATIONS[name])
    cut = data.draw(st.integers(0, len(picked)))

    together = scored(model, NUMBERS[picked])
    parts = [scored(model, NUMBERS[part]) for part in (picked[:cut], picked[cut:]) if part]
    alone = scored(model, NUMBERS[picked[-1:]])

    assert together == (b"".join(score for score, _ in parts), b"".join(odds for _, odds in parts))
    assert tuple(part[-4:] for part in together) == alone


def test_an_autoencoder_that_overflows_rejects_the_row_alone(models: dict[ScoreKind, Model]) -> None:
    """The message names the number; an error that is merely huge is a score."""
    x = NUMBERS[:3].copy()
    x[1] = 1e30
    x[2] = 3e38
    model = models[ScoreKind.RECONSTRUCTION_ERROR].calibrated(CALIBRATIONS["quantile"])

    scores, rejections = model(Inputs(np.arange(3, dtype=np.intp), {"x": x}))

    assert [(r.row, r.reason) for r in rejections] == [(2, Reason.BAD_SCORE)]
    assert "which is no finite number" in rejections[0].message
    assert scores.score[1] > 0.999


@pytest.mark.parametrize("calibration", [one for one in CALIBRATIONS.values() if one])
def test_a_calibration_survives_the_manifest(calibration: Calibration) -> None:
    """To the last bit, and by its own kind."""
    assert msgspec.json.decode(msgspec.json.encode(calibration), type=Calibration) == calibration


@pytest.mark.parametrize(
    "text",
    [
        '{"kind":"platt","slope":0,"intercept":1}',
        '{"kind":"platt","slope":NaN,"intercept":1}',
        '{"kind":"temperature","t":-1}',
        '{"kind":"isotonic","x":[],"y":[]}',
        '{"kind":"isotonic","x":[0,1],"y":[0]}',
        '{"kind":"isotonic","x":[1,0],"y":[0,1]}',
        '{"kind":"quantile","x":[0,1],"y":[1,0]}',
        '{"kind":"quantile","x":[0,1],"y":[0,2]}',
        '{"kind":"beta","a":1}',
    ],
)
def test_a_calibration_that_is_none_is_refused(text: str) -> None:
    """One that is not monotone, not into [0, 1], or not a curve at all never reaches a score."""
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(text, type=Calibration)
