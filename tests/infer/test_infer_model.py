"""Room 3: one shape, so that a score has the same bits in any company; a poison row alone is rejected."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from scorer.errors import BundleError, ModelFailedError, Reason, Stage
from scorer.infer import ModelSpec, ScoreKind, TensorSpec
from scorer.infer.model import Model
from scorer.infer.runtime import fingerprint, tensorflow
from scorer.records import Inputs, Rejection, Scores

SHAPE, WIDTH, EVENTS = 16, 24, 60
unhurried = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

Maker = Callable[[Callable[..., Any], dict[str, TensorSpec], NDArray[Any]], Model]


def save(function: Callable[..., Any], inputs: dict[str, TensorSpec], directory: Path) -> None:
    """Save a function of named tensors as a SavedModel with the signature `score`."""
    tf = tensorflow()
    module = tf.Module()
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in inputs.items()}
    module.endpoint = tf.function(function)
    tf.saved_model.save(module, str(directory), signatures={"score": module.endpoint.get_concrete_function(**specs)})


def made(
    directory: Path,
    function: Callable[..., Any],
    *,
    score: ScoreKind = ScoreKind.PROBABILITY,
    positive: int | None = None,
    padding: NDArray[Any] | None = None,
    inputs: dict[str, TensorSpec] | None = None,
) -> Model:
    """Return a function of `x` (float32 of shape (n, 2), unless `inputs` says otherwise) as a loaded model."""
    inputs = inputs or {"x": TensorSpec("float32", [None, 2])}
    save(function, inputs, directory)
    spec = ModelSpec("score", inputs, "p", score, SHAPE, positive)
    return Model(directory, spec, {"x": np.zeros((1, 2), np.float32) if padding is None else padding})


def scored(model: Model, x: NDArray[Any], rows: Sequence[int] | None = None) -> tuple[Scores, list[Rejection]]:
    return model(Inputs(np.array(range(len(x)) if rows is None else rows, np.intp), {"x": x}))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Give a network wide enough for its sums to depend on how they are blocked."""
    tf, draw = tensorflow(), np.random.default_rng(1)
    layers = [tf.constant(draw.normal(0, 0.2, shape), tf.float32) for shape in ((WIDTH, 64), (64, 64), (64, 1))]

    def score(x: Any) -> dict[str, Any]:
        hidden = tf.nn.relu(tf.nn.relu(x @ layers[0]) @ layers[1])
        return {"p": tf.sigmoid(hidden @ layers[2])}

    inputs = {"x": TensorSpec("float32", [None, WIDTH])}
    directory = tmp_path_factory.mktemp("network") / "model"
    return made(directory, score, inputs=inputs, padding=np.ones((1, WIDTH), np.float32))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Give a model of text: words are hashed, embedded and averaged inside TensorFlow."""
    tf, draw = tensorflow(), np.random.default_rng(2)
    table = tf.constant(draw.normal(0, 1.0, (101, 8)), tf.float32)
    weights = tf.constant(draw.normal(0, 1.0, (8, 1)), tf.float32)

    def score(x: Any) -> dict[str, Any]:
        words = tf.strings.split(tf.strings.lower(x))
        embedded = tf.gather(table, tf.strings.to_hash_bucket_fast(words, 101))
        return {"p": tf.sigmoid(tf.math.divide_no_nan(tf.reduce_sum(embedded, 1), 3.0) @ weights)[:, 0]}

    directory = tmp_path_factory.mktemp("reader") / "model"
    inputs = {"x": TensorSpec("string", [None])}
    return made(directory, score, inputs=inputs, padding=np.array(["golden text"], object))


NUMBERS = np.random.default_rng(3).normal(0, 2, (EVENTS, WIDTH)).astype(np.float32)
WORDS = ["win", "CASH", "grüße", "now", "\x00", "", "a" * 300, "see you", "🎉"]
TEXTS = np.array([" ".join(WORDS[(i * k) % 9] for k in range(i % 7)) for i in range(EVENTS)], object)


@unhurried
@given(picked=st.lists(st.integers(0, EVENTS - 1), min_size=1, max_size=3 * SHAPE), data=st.data())
@pytest.mark.parametrize("kind", ["network", "reader"])
def test_a_score_has_the_same_bits_in_any_company(
    kind: str, picked: list[int], data: st.DataObject, request: pytest.FixtureRequest
) -> None:
    """Alone, in any batch, in any order and at any position, an event's score and log-odds are the same bits."""
    model: Model = request.getfixturevalue(kind)
    events: NDArray[Any] = NUMBERS if kind == "network" else TEXTS
    cut = data.draw(st.integers(0, len(picked)))

    together, _ = scored(model, events[picked])
    parts = [scored(model, events[part])[0] for part in (picked[:cut], picked[cut:]) if part]
    alone, _ = scored(model, events[picked[-1:]])

    assert together.score.tobytes() == b"".join(part.score.tobytes() for part in parts)
    assert together.log_odds.tobytes() == b"".join(part.log_odds.tobytes() for part in parts)
    assert together.score[-1:].tobytes() == alone.score.tobytes()


def test_an_empty_batch_has_no_scores(network: Model) -> None:
    """A batch of which nobody survived costs no call and no fault."""
    scores, rejections = scored(network, NUMBERS[:0])

    assert (len(scores.score), rejections) == (0, [])


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Give a model whose call fails if one event in it is over 100, as an assertion in a graph does."""
    tf = tensorflow()

    def score(x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_less(x[:, 0], 100.0, message="amount over 100")]):
            return {"p": tf.sigmoid(x[:, 0] * 0.37 - x[:, 1])}

    return made(tmp_path_factory.mktemp("fragile") / "model", score)


@unhurried
@given(poison=st.sets(st.integers(0, EVENTS - 1), min_size=1, max_size=6))
def test_a_poison_row_is_found_and_its_neighbours_keep_their_bits(fragile: Model, poison: set[int]) -> None:
    """Where a call fails, exactly the rows that make it fail are rejected, by their rows in the records."""
    healthy = NUMBERS[:, :2]
    x = healthy.copy()
    x[list(poison), 0] = 200.0
    rows = list(range(1000, 1000 + EVENTS))

    expected, none = scored(fragile, healthy)
    scores, rejections = scored(fragile, x, rows)

    assert not none
    assert [(r.row, r.stage, r.reason) for r in rejections] == [
        (1000 + at, Stage.INFER, Reason.MODEL_FAILED) for at in sorted(poison)
    ]
    kept = [at for at in range(EVENTS) if at not in poison]
    assert scores.without(rejections).score.tobytes() == expected.score[kept].tobytes()
    assert scores.without(rejections).rows.tolist() == [1000 + at for at in kept]


def test_a_poison_rows_message_says_what_tensorflow_said(fragile: Model) -> None:
    """The dead letter of a failed call tells what failed, not merely that something did."""
    _, rejections = scored(fragile, np.array([[200.0, 0.0]], np.float32))

    assert "amount over 100" in rejections[0].message


def test_a_batch_of_nothing_but_poison_is_rejected_row_by_row(fragile: Model) -> None:
    """As long as the model scores its own golden row, the events are at fault, however many."""
    _, rejections = scored(fragile, np.full((SHAPE + 3, 2), 500, np.float32))

    assert [r.row for r in rejections] == list(range(SHAPE + 3))


def test_a_model_that_fails_on_its_own_golden_row_stops_the_service(tmp_path: Path) -> None:
    """A broken model must not empty the topic into the dead letters."""
    tf = tensorflow()

    def score(x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_less(x[:, 0], -1e9)]):
            return {"p": x[:, 0]}

    model = made(tmp_path / "model", score)

    with pytest.raises(ModelFailedError, match="scorer check"):
        scored(model, NUMBERS[:, :2])


BAD_OUTPUTS = [float("nan"), float("inf"), -float("inf"), -1e-6, 1.0001, 7.0]
FINE_OUTPUTS = [0.0, 1.0, 0.5, 1e-45, 0.99999994]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Give a model that returns the first number of the event as its probability."""
    return made(tmp_path_factory.mktemp("mirror") / "model", lambda x: {"p": x[:, 0]})


@pytest.mark.parametrize("output", BAD_OUTPUTS)
def test_what_is_no_probability_is_a_bad_score(mirror: Model, output: float) -> None:
    """NaN and numbers outside [0, 1] are rejected, naming the number; the row beside is scored."""
    x = np.array([[0.25, 0], [output, 0], [0.75, 0]], np.float32)

    scores, rejections = scored(mirror, x)

    assert [(r.row, r.reason) for r in rejections] == [(1, Reason.BAD_SCORE)]
    assert str(np.float32(output)) in rejections[0].message
    assert scores.without(rejections).score.tolist() == [0.25, 0.75]


@pytest.mark.parametrize("output", FINE_OUTPUTS)
def test_log_odds_are_finite_wherever_a_probability_is_sound(mirror: Model, output: float) -> None:
    """Zero and one included: they are clipped to half an ulp of one before the logarithm."""
    scores, rejections = scored(mirror, np.array([[output, 0]], np.float32))

    assert not rejections
    assert scores.score.tolist() == [float(np.float32(output))]
    assert np.isfinite(scores.log_odds).all()
    assert abs(float(scores.log_odds[0])) <= 24 * np.log(2) + 1e-6


def test_a_probabilitys_log_odds_are_the_plain_formula(mirror: Model) -> None:
    """Ln p - ln(1 - p), to within float32."""
    p = np.linspace(0.001, 0.999, 200).astype(np.float32)

    scores, _ = scored(mirror, np.stack([p, p], 1))

    wide = p.astype(np.float64)
    np.testing.assert_allclose(scores.log_odds, np.log(wide / (1 - wide)), rtol=1e-6, atol=1e-6)


def test_a_logit_is_its_own_log_odds_and_its_score_the_plain_sigmoid(tmp_path: Path) -> None:
    """1 / (1 + e^-x), without overflow at either end."""
    model = made(tmp_path / "model", lambda x: {"p": x[:, :1]}, score=ScoreKind.LOGIT)
    logits = np.array([*np.linspace(-20, 20, 41), -1e30, 1e30, -103.0, 88.0], np.float32)

    scores, rejections = scored(model, np.stack([logits, logits], 1))

    assert not rejections
    assert scores.log_odds.tobytes() == logits.tobytes()
    expected = [1 / (1 + np.exp(-x)) if x > -700 else 0.0 for x in logits.astype(np.float64).tolist()]
    np.testing.assert_allclose(scores.score, expected, rtol=1e-6, atol=1e-45)


def test_a_softmax_gives_its_positive_class(tmp_path: Path) -> None:
    """The score is the column that was said to mean fraud."""
    tf = tensorflow()

    def score(x: Any) -> dict[str, Any]:
        return {"p": tf.nn.softmax(tf.concat([x, x[:, :1] * 2], 1))}

    model = made(tmp_path / "model", score, score=ScoreKind.SOFTMAX, positive=2)
    x = NUMBERS[:, :2]

    scores, rejections = scored(model, x)

    wide = np.concatenate([x, x[:, :1] * 2], 1).astype(np.float64)
    expected = np.exp(wide) / np.exp(wide).sum(1, keepdims=True)
    assert not rejections
    np.testing.assert_allclose(scores.score, expected[:, 2], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"signature": "serve"}, "no signature 'serve'; it has \\['score'\\]"),
        ({"inputs": {"y": TensorSpec("float32", [None, 2])}}, "takes"),
        ({"inputs": {"x": TensorSpec("float32", [None, 3])}}, "takes"),
        ({"inputs": {"x": TensorSpec("float64", [None, 2])}}, "takes"),
        ({"output": "q"}, "no output 'q'"),
    ],
)
def test_a_model_that_is_not_its_contract_is_refused(mirror: Model, tmp_path: Path, change: Any, said: str) -> None:
    """A wrong signature, input or output is found when the model is loaded, by name."""
    inputs = {"x": TensorSpec("float32", [None, 2])}
    save(lambda x: {"p": x[:, 0]}, inputs, tmp_path / "model")
    contract: dict[str, Any] = {"signature": "score", "inputs": inputs, "output": "p"} | change

    with pytest.raises(BundleError, match=said):
        Model(
            tmp_path / "model",
            ModelSpec(**contract, score=ScoreKind.PROBABILITY, batch_shape=SHAPE),
            {"x": np.zeros((1, 2), np.float32)},
        )


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_what_is_no_saved_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A missing, empty or damaged model is a broken bundle, and the message has the path."""
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    spec = ModelSpec("score", {}, "p", ScoreKind.PROBABILITY, SHAPE)

    with pytest.raises(BundleError, match=str(tmp_path)):
        Model(tmp_path, spec, {})


def test_a_model_is_served_without_keras_or_scikit_learn(mirror: Model, tmp_path: Path) -> None:
    """A process that only serves loads neither: they cost seconds at the start, and memory for ever."""
    save(lambda x: {"p": x[:, 0]}, {"x": TensorSpec("float32", [None, 2])}, tmp_path / "model")
    program = f"""
import sys
from pathlib import Path
import numpy as np
from scorer.infer import ModelSpec, TensorSpec
from scorer.infer.model import Model
from scorer.records import Inputs
spec = ModelSpec("score", {{"x": TensorSpec("float32", [None, 2])}}, "p", "probability", 16)
model = Model(Path({str(tmp_path / "model")!r}), spec, {{"x": np.zeros((1, 2), np.float32)}})
model(Inputs(np.arange(1), {{"x": np.ones((1, 2), np.float32)}}))
print(sorted({{"keras", "sklearn", "pandas", "tensorflow"}} & sys.modules.keys()))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "['tensorflow']"
    assert found.stderr == ""


def test_a_fingerprint_is_the_same_twice_and_says_which_tensorflow() -> None:
    """It decides whether bits or a tolerance are promised, so it must not vary."""
    assert fingerprint() == fingerprint()
    assert fingerprint()["tensorflow"] == tensorflow().__version__
    assert set(fingerprint()) == {"cpu", "tensorflow", "onednn"}
