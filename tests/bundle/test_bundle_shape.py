"""The batch shape: chosen by what calls cost, and an event's score has the same bits in whatever batch it came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bundles import BANDS, Trained, pack_cards
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer.bundle import Bundle, pack
from scorer.bundle.golden import as_records
from scorer.bundle.packing.shape import BUDGET, SHAPES, choose
from scorer.errors import PackError
from scorer.infer.runtime import tensorflow

SHAPE = 40
"""No power of two: a multiple of eight is enough."""
POOL = 200
POISON = [
    b"not JSON",
    b"{}",
    b'{"text": 7}',
    b'{"a": 1e300, "b": 1, "c": 1}',  # beyond the model's float32
    b'{"a": 1e7, "b": 1, "c": 1}',  # makes the MLP's call fail
]


class Processor:
    """A processor whose calls cost `cost(rows)` seconds, times a factor that `noise` yields."""

    def __init__(self, cost: Callable[[int], float], noise: Iterator[float] | None = None) -> None:
        self.now, self._cost, self._noise = 0.0, cost, noise

    def call(self, rows: int) -> None:
        """Let the time pass that a call takes."""
        self.now += self._cost(rows) * (next(self._noise) if self._noise else 1.0)

    def clock(self) -> float:
        """Return the seconds that have passed."""
        return self.now

    def choice(self) -> int:
        """Return the shape chosen for it."""
        return choose(self.call, SHAPES, self.clock)


@pytest.mark.parametrize(
    ("fixed_us", "row_us", "expected"),
    [(500, 0.0, 4096), (500, 0.25, 1024), (500, 5, 64), (2000, 5, 128), (10, 50, 16), (0, 1, 512)],
)
def test_the_largest_shape_that_costs_little_more_is_chosen(fixed_us: float, row_us: float, expected: int) -> None:
    """At most half as much again as the smallest shape's call, or half a millisecond more."""
    assert Processor(lambda rows: (fixed_us + row_us * rows) * 1e-6).choice() == expected


@pytest.mark.parametrize("seed", range(5))
def test_noise_does_not_change_the_choice(seed: int) -> None:
    """One call in ten takes up to twenty times as long, as on a machine that others use too."""
    draw = np.random.default_rng(seed)
    noise = iter(lambda: float(1 + draw.exponential(0.05) + (draw.random() < 0.1) * 20 * draw.random()), None)

    # 0.2 ms more than the smallest at 1,024 rows, 0.4 ms at 2,048, 0.8 ms at 4,096
    assert Processor(lambda rows: (500 + 0.2 * rows) * 1e-6, noise).choice() in (1024, 2048)


@pytest.mark.parametrize("cost", [1e-6, 0.001, 0.1, 1.0, 5.0])
def test_measuring_is_bounded(cost: float) -> None:
    """Two seconds for a quick model; a slow one is called a few times at its smallest shapes, and no more."""
    for growth in (0.0, 1.0):
        machine = Processor(lambda rows, growth=growth: cost * (rows / 16) ** growth)  # type: ignore[misc]
        machine.choice()

        assert machine.now <= BUDGET + 4 * cost


def test_a_bundle_packed_without_a_shape_has_a_measured_one(trained: Trained, tmp_path: Path) -> None:
    """Stored in the manifest, a power of two; a network of eight units costs no more for hundreds of rows."""
    bundle = pack_cards(trained, tmp_path / "bundle", batch_shape=None)

    assert bundle.manifest.model.batch_shape in SHAPES
    assert bundle.manifest.model.batch_shape >= 128


@pytest.mark.parametrize(("given_shape", "expected"), [(1, 1), (304, 304), (300, 304)])
def test_a_given_shape_is_kept(trained: Trained, tmp_path: Path, given_shape: int, expected: int) -> None:
    """Or rounded up to a multiple of eight: at 300 rows a call, the last four of them have other last bits."""
    bundle = pack_cards(trained, tmp_path / "bundle", batch_shape=given_shape)

    assert bundle.manifest.model.batch_shape == expected


@pytest.mark.parametrize("given_shape", [0, -8, 2_000_000])
def test_a_shape_that_is_none_is_refused(trained: Trained, tmp_path: Path, given_shape: int) -> None:
    """With what may be given."""
    with pytest.raises(PackError, match=f"batch_shape {given_shape}: .*(between 1 and 1048576|at least 1)"):
        pack_cards(trained, tmp_path / "bundle", batch_shape=given_shape)


def test_a_model_of_a_fixed_shape_keeps_it(tmp_path: Path) -> None:
    """It can be called with no other, and is not: another one is refused, with the number."""
    source, events = save_mlp(tmp_path / "model", rows=24), numbers()

    bundle = packed(tmp_path / "bundle", source, events, columns=list("abc"), batch_shape=None)

    assert bundle.manifest.model.batch_shape == 24
    with pytest.raises(PackError, match="batch_shape 25: the model takes 24 rows"):
        packed(tmp_path / "other", source, events, columns=list("abc"), batch_shape=25)


def keras() -> Any:
    import keras

    keras.utils.set_random_seed(3)
    return keras


def packed(directory: Path, model: Any, events: Any, **changes: Any) -> Bundle:
    arguments: dict[str, Any] = {"name": "m", "version": "1", "preprocessor": None, "bands": BANDS}
    return pack(directory, model=model, events=events, **arguments | {"batch_shape": SHAPE} | changes)


def numbers(width: int = 3) -> list[dict[str, Any]]:
    draw = np.random.default_rng(2)
    names = "abc" if width == 3 else [f"p{i}" for i in range(width)]
    return [dict(zip(names, row, strict=True)) for row in draw.normal(0, 2, (POOL, width)).tolist()]


def save_mlp(directory: Path, rows: int | None = None) -> Path:
    """Save a network wide enough for its sums to depend on how they are blocked; numbers over a million fail it."""
    tf = tensorflow()
    draw = np.random.default_rng(1)
    module = tf.Module()
    module.one = tf.Variable(draw.normal(0, 1, (3, 300)), dtype=tf.float32)
    module.two = tf.Variable(draw.normal(0, 0.1, (300, 1)), dtype=tf.float32)

    def rate(x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_less(tf.abs(x), 1e6)]):
            return {"fraud": tf.sigmoid(tf.nn.relu(x @ module.one) @ module.two)[:, 0]}

    module.rate = tf.function(rate)
    concrete = module.rate.get_concrete_function(x=tf.TensorSpec([rows, 3], tf.float32, name="x"))
    tf.saved_model.save(module, str(directory), signatures={"serving_default": concrete})
    return directory


def pack_mlp(room: Path) -> tuple[Bundle, list[dict[str, Any]]]:
    events = numbers()
    return packed(room / "bundle", save_mlp(room / "model"), events, columns=list("abc")), events


def pack_conv(room: Path) -> tuple[Bundle, list[dict[str, Any]]]:
    layers, events = keras().layers, numbers(64)
    pixels = keras().Input((64,), name="pixels")
    image = layers.Conv2D(16, 3, activation="relu")(layers.Reshape((8, 8, 1))(pixels))
    flat = layers.Flatten()(layers.Conv2D(24, 3, activation="relu")(layers.MaxPooling2D()(image)))
    model = keras().Model(pixels, layers.Dense(4, activation="softmax")(flat))
    return packed(room / "bundle", model, events, columns=list(events[0]), score="softmax", positive_class=1), events


def pack_text(room: Path) -> tuple[Bundle, list[dict[str, Any]]]:
    layers, words = keras().layers, ["win", "cash", "now", "see", "you", "at", "eight", "grüße"]
    draw = np.random.default_rng(4)
    events = [{"text": " ".join(draw.choice(words, draw.integers(0, 30)))} for _ in range(POOL)]
    vectorize = layers.TextVectorization(vocabulary=words, output_sequence_length=20)
    message = keras().Input((1,), name="text", dtype="string")
    mean = layers.GlobalAveragePooling1D()(layers.Embedding(10, 48)(vectorize(message)))
    hidden = layers.Dense(33, activation="tanh")(mean)
    return packed(room / "bundle", keras().Model(message, layers.Dense(1, "sigmoid")(hidden)), events), events


def pack_autoencoder(room: Path) -> tuple[Bundle, list[dict[str, Any]]]:
    layers, events = keras().layers, numbers(24)
    series = keras().Input((24,), name="series")
    code = layers.Dense(5, activation="tanh")(layers.Dense(100, activation="relu")(series))
    model = keras().Model(series, layers.Dense(24)(layers.Dense(100, activation="relu")(code)))
    return packed(
        room / "bundle",
        model,
        events,
        columns=list(events[0]),
        score="reconstruction_error",
        calibration="quantile",
    ), events


MODELS = {"mlp": pack_mlp, "conv": pack_conv, "text": pack_text, "autoencoder": pack_autoencoder}


def walked(bundle: Bundle, values: list[bytes]) -> dict[int, tuple[bytes, bytes]]:
    """Return the bits of score and log-odds of every event that has them, by its place in the batch."""
    columns, _ = bundle.decode(as_records(values))
    inputs, refused = bundle.transform(columns)
    scores, failed = bundle.model(inputs.without(refused))
    scores = scores.without(failed)
    bits = zip(scores.score, scores.log_odds, strict=True)
    return {row: (p.tobytes(), q.tobytes()) for row, (p, q) in zip(scores.rows.tolist(), bits, strict=True)}


@pytest.fixture(scope="module", params=MODELS)
def pooled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, list[bytes], list[tuple[bytes, bytes]]]:
    """Give a bundle, events, and the bits of each one's score when it is scored alone."""
    bundle, events = MODELS[request.param](tmp_path_factory.mktemp(request.param))
    values = [msgspec.json.encode(event) for event in events]
    return bundle, values, [walked(bundle, [value])[0] for value in values]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), size=st.integers(1, 3 * SHAPE), poison=st.integers(0, 6), seed=st.integers(0, 2**32 - 1))
def test_a_score_has_the_same_bits_in_whatever_batch(
    pooled: tuple[Bundle, list[bytes], list[tuple[bytes, bytes]]],
    data: st.DataObject,
    size: int,
    poison: int,
    seed: int,
) -> None:
    """Of one row to three shapes, shuffled, repeated, among events that are rejected in any room."""
    bundle, values, alone = pooled
    draw = np.random.default_rng(seed)
    company = draw.integers(0, len(values), size).tolist()
    batch = [values[at] for at in company]
    for _ in range(poison):
        place = int(draw.integers(0, len(batch) + 1))
        batch.insert(place, data.draw(st.sampled_from(POISON)))
        company.insert(place, None)

    found = walked(bundle, batch)

    assert found == {place: alone[at] for place, at in enumerate(company) if at is not None}
