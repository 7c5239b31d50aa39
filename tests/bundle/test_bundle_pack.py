"""`pack`: whatever training left becomes a bundle whose features and scores are training's, or is refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import BANDS, NUMBERS, Trained, frame_of, nested, pack_cards, payloads
from numpy.typing import NDArray

from scorer.bundle import Bundle, load, pack
from scorer.bundle.golden import as_records
from scorer.errors import BandsError, PackError
from scorer.infer.runtime import tensorflow
from scorer.records import Inputs

TEXTS = ["win cash now", "see you at eight", "CASH prize, call now!", "ok", "", "grüße aus köln", "now or never"]
SHAPE = 32


def keras() -> Any:
    import keras

    return keras


def inputs_of(bundle: Bundle, values: list[bytes]) -> Inputs:
    """Walk raw events through a bundle's rooms as the service does; none may be rejected."""
    columns, rejected = bundle.decode(as_records(values))
    inputs, refused = bundle.transform(columns)
    assert not rejected
    assert not refused
    return inputs


def scores_of(bundle: Bundle, values: list[bytes]) -> NDArray[np.float32]:
    scores, rejected = bundle.model(inputs_of(bundle, values))
    assert not rejected
    return scores.score


def close(found: NDArray[np.float32], expected: NDArray[Any]) -> bool:
    """Return whether scores are training's, within the tolerance that a bundle states."""
    apart = np.abs(found.astype(np.float64) - expected.astype(np.float64).reshape(found.shape))
    return bool(apart.max() <= 1e-6)


def test_features_are_bit_equal_to_the_fitted_preprocessors(cards: Bundle, trained: Trained) -> None:
    """For events that the bundle has never seen, nulls and unknown categories among them."""
    frame = frame_of(3000, seed=99)

    found = inputs_of(cards, payloads(frame)).arrays["features"]

    assert found.tobytes() == trained.features(frame).astype(np.float32).tobytes()


def test_scores_are_the_keras_models(cards: Bundle, trained: Trained) -> None:
    """Within 1e-6 for every event, examples and unseen ones."""
    for frame in (trained.frame, frame_of(3000, seed=99)):
        assert close(scores_of(cards, payloads(frame)), trained.scores(frame))


def test_dictionaries_pack_as_a_frame_does(cards: Bundle, trained: Trained, tmp_path: Path) -> None:
    """Nested dictionaries give the same schema, plan and scores as a DataFrame whose columns are paths."""
    packed = pack_cards(trained, tmp_path / "bundle", events=nested(trained.frame))

    assert packed.manifest.plan == cards.manifest.plan
    assert packed.manifest.events == cards.manifest.events
    values = payloads(frame_of(500, seed=3))
    assert scores_of(packed, values).tobytes() == scores_of(cards, values).tobytes()


def test_the_proof_of_a_bundle_on_the_machine_that_packed_it_is_bit_for_bit(cards: Bundle) -> None:
    """At least 256 golden events, all features and scores identical."""
    assert cards.proof.events >= 256
    assert cards.proof.same_machine
    assert cards.proof.features_identical
    assert cards.proof.scores_identical


def test_a_bundle_loads_the_same_wherever_it_is_moved(cards: Bundle, tmp_path: Path) -> None:
    """It is one directory: a copy elsewhere has the same digest and the same scores."""
    import shutil

    copied = load(Path(shutil.copytree(cards.path, tmp_path / "elsewhere")))

    values = payloads(frame_of(100, seed=4))
    assert copied.sha256 == cards.sha256
    assert scores_of(copied, values).tobytes() == scores_of(cards, values).tobytes()


def test_an_event_whose_features_are_not_numbers_is_never_scored(cards: Bundle) -> None:
    """The logarithm of a negative amount is NaN; an optimised graph's ReLU may make a plausible score of it."""
    frame = frame_of(3, seed=5)
    frame.loc[1, "amount"] = -5.0

    columns, _ = cards.decode(as_records(payloads(frame)))
    inputs, refused = cards.transform(columns)
    scores, failed = cards.model(inputs.without(refused))

    assert [r.row for r in [*refused, *failed]] == [1]
    assert scores.without(failed).rows.tolist() == [0, 2]


def test_a_null_that_reaches_the_model_as_nan_is_never_scored(tmp_path: Path) -> None:
    """A scaler lets NaN pass and Keras gives NaN for it: an exported graph that gives a number is not that model."""
    from sklearn.preprocessing import StandardScaler

    x, names = matrix(), ["a", "b", "c"]
    x[::10, 1] = np.nan
    scaler, model = StandardScaler().fit(x), sequential(hidden="relu")
    assert np.isnan(model(scaler.transform(x[:1]).astype(np.float32)).numpy()).all()

    with pytest.raises(PackError, match=r"nan|\bb\b"):
        packed(tmp_path / "bundle", model, frame(x, names), preprocessor=scaler, columns=names)


def test_packing_over_a_bundle_replaces_it_whole(cards: Bundle, trained: Trained, tmp_path: Path) -> None:
    """Nothing of the old one is left, not even a file that did not belong there."""
    target = tmp_path / "bundle"
    first = pack_cards(trained, target)
    (target / "model" / "stray").write_text("x", encoding="utf-8")

    second = pack_cards(trained, target, version="8", bands={"block": 0.5})

    assert (second.manifest.version, load(target).manifest.bands) == ("8", {"block": 0.5})
    assert second.sha256 != first.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_failed_packing_leaves_the_bundle_that_was_there(trained: Trained, tmp_path: Path) -> None:
    """The old bundle serves on, and no scratch directory is left beside it."""
    first = pack_cards(trained, tmp_path / "bundle")

    with pytest.raises(PackError):
        pack_cards(trained, tmp_path / "bundle", output="nonsense")

    assert load(tmp_path / "bundle").sha256 == first.sha256
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_order_and_index_of_examples_do_not_matter(trained: Trained, tmp_path: Path) -> None:
    """A shuffled frame, as a split of training data leaves it, packs as well."""
    shuffled = trained.frame.sample(frac=1.0, random_state=1)

    bundle = pack_cards(trained, tmp_path / "bundle", events=shuffled)

    frame = frame_of(200, seed=6)
    assert close(scores_of(bundle, payloads(frame)), trained.scores(frame))


def test_an_event_time_may_be_a_datetime(trained: Trained, tmp_path: Path) -> None:
    """In the stream it is RFC 3339 text then, and the decision's time its milliseconds."""
    import pandas as pd

    changed = trained.frame.assign(event_time=pd.to_datetime(trained.frame["event_time"], unit="ms"))

    bundle = pack_cards(trained, tmp_path / "bundle", events=changed)

    text = nested(trained.frame.iloc[:1])[0] | {"event_time": "2018-11-20T02:00:00.001+02:00"}
    columns, rejected = bundle.decode(as_records(encoded([text])))
    assert not rejected
    assert columns.event_times.tolist() == [1542672000001]


def test_a_bands_edge_may_be_any_real_number(trained: Trained, tmp_path: Path) -> None:
    """Thresholds come out of NumPy as often as out of somebody's head."""
    bundle = pack_cards(trained, tmp_path / "bundle", bands={"review": np.float32(0.4), "block": np.float64(0.6)})

    assert bundle.lane("t", group="g", decisions="d", dead_letters="q").bands.names == ("approve", "review", "block")


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "tab\t"])
def test_a_field_name_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    """JSON would have to escape it; the message names the field."""
    with pytest.raises(PackError, match="field"):
        packed(tmp_path / "bundle", sequential(1), rows_of(matrix()[:, :1], [name]), columns=[name])


def test_a_model_that_was_never_called_is_refused(tmp_path: Path) -> None:
    """It has no inputs yet, and the message says how it gets them."""
    model = keras().Sequential([keras().layers.Dense(1, activation="sigmoid")])

    with pytest.raises(PackError, match="no inputs yet"):
        packed(tmp_path / "bundle", model, rows_of(matrix(), ["a", "b", "c"]), columns=["a", "b", "c"])


def matrix(count: int = 300, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(10, 5, (count, 3))


def rows_of(values: NDArray[Any], names: list[str]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]


def frame(values: NDArray[Any], names: list[str]) -> Any:
    import pandas as pd

    return pd.DataFrame(values, columns=names)


def sequential(width: int = 3, units: int = 1, activation: str = "sigmoid", hidden: str = "tanh") -> Any:
    layers = keras().layers
    keras().utils.set_random_seed(3)
    return keras().Sequential(
        [
            keras().Input((width,)),
            layers.Dense(4, activation=hidden),
            layers.Dense(units, activation=activation),
        ]
    )


def encoded(events: list[dict[str, Any]]) -> list[bytes]:
    import msgspec

    return [msgspec.json.encode(event) for event in events]


def packed(directory: Path, model: Any, events: Any, **changes: Any) -> Bundle:
    arguments: dict[str, Any] = {"name": "m", "version": "1", "preprocessor": None, "bands": BANDS}
    return pack(directory, model=model, events=events, **arguments | {"batch_shape": SHAPE} | changes)


def test_a_preprocessor_and_a_model_fitted_on_arrays_take_names_from_columns(tmp_path: Path) -> None:
    """`columns=` says which field is which column, for a Sequential model too."""
    from sklearn.preprocessing import StandardScaler

    x, names = matrix(), ["a", "b", "deep.c"]
    scaler, model = StandardScaler().fit(x), sequential()

    bundle = packed(tmp_path / "bundle", model, rows_of(x, names), preprocessor=scaler, columns=names)

    events = [{"a": a, "b": b, "deep": {"c": c}} for a, b, c in x.tolist()]
    assert close(scores_of(bundle, encoded(events)), model(scaler.transform(x).astype(np.float32)).numpy())


def test_a_model_of_a_raw_matrix_needs_no_preprocessor(tmp_path: Path) -> None:
    """`columns=` alone feeds the fields as one matrix."""
    x, names, model = matrix(), ["a", "b", "c"], sequential()

    bundle = packed(tmp_path / "bundle", model, rows_of(x, names), columns=names)

    assert close(scores_of(bundle, encoded(rows_of(x, names))), model(x.astype(np.float32)).numpy())


def test_a_keras_file_packs_as_the_model_in_it(tmp_path: Path) -> None:
    """Given its path, whichever machine trained it."""
    x, names, model = matrix(), ["a", "b", "c"], sequential()
    model.save(tmp_path / "model.keras")

    bundle = packed(tmp_path / "bundle", tmp_path / "model.keras", rows_of(x, names), columns=names)

    assert close(scores_of(bundle, encoded(rows_of(x, names))), model(x.astype(np.float32)).numpy())


def test_a_softmax_packs_with_its_positive_class(tmp_path: Path) -> None:
    """The score is that class's probability."""
    x, names, model = matrix(), ["a", "b", "c"], sequential(units=3, activation="softmax")

    bundle = packed(tmp_path / "bundle", model, rows_of(x, names), columns=names, score="softmax", positive_class=2)

    assert close(scores_of(bundle, encoded(rows_of(x, names))), model(x.astype(np.float32)).numpy()[:, 2])


def test_a_logit_packs_as_its_sigmoid(tmp_path: Path) -> None:
    """The score is 1 / (1 + e^-x)."""
    x, names, model = matrix(), ["a", "b", "c"], sequential(activation="linear")

    bundle = packed(tmp_path / "bundle", model, rows_of(x, names), columns=names, score="logit")

    logits = model(x.astype(np.float32)).numpy().astype(np.float64)
    assert close(scores_of(bundle, encoded(rows_of(x, names))), 1 / (1 + np.exp(-logits)))


def test_a_functional_model_takes_raw_fields_by_the_names_of_its_inputs(tmp_path: Path) -> None:
    """Keras preprocessing layers inside the model get the event's own numbers and texts."""
    layers = keras().layers
    keras().utils.set_random_seed(5)
    lookup = layers.StringLookup(vocabulary=["FI", "SE"], output_mode="one_hot")
    amount = keras().Input((1,), name="amount")
    country = keras().Input((1,), name="country", dtype="string")
    joined = layers.Concatenate()([layers.Rescaling(0.01)(amount), lookup(country)])
    model = keras().Model({"amount": amount, "country": country}, layers.Dense(1, activation="sigmoid")(joined))
    draw = np.random.default_rng(2)
    events = [
        {"amount": float(a), "country": str(c), "unused": 1}
        for a, c in zip(draw.exponential(50, 200), draw.choice(["FI", "SE", "XX"], 200), strict=True)
    ]

    bundle = packed(tmp_path / "bundle", model, events)

    tf = tensorflow()
    expected = model(
        {
            "amount": tf.constant([[event["amount"]] for event in events], tf.float32),
            "country": tf.constant([[event["country"]] for event in events]),
        }
    ).numpy()
    assert close(scores_of(bundle, encoded(events)), expected)
    assert "unused" not in bundle.manifest.events.fields


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a SavedModel with a signature and outputs of its own names, which no Keras has touched."""
    tf = tensorflow()
    module = tf.Module()
    module.weights = tf.Variable([[0.1], [-0.2], [0.05]])

    def rate(a: Any, b: Any, c: Any) -> dict[str, Any]:
        logit = tf.stack([a, b, c], 1) @ module.weights
        return {"fraud": tf.sigmoid(logit)[:, 0], "logit": logit, "row": tf.range(tf.shape(a)[0])}

    module.rate = tf.function(rate)
    specs = {name: tf.TensorSpec([None], tf.float32, name=name) for name in "abc"}
    directory = tmp_path_factory.mktemp("saved") / "model"
    tf.saved_model.save(module, str(directory), signatures={"rate": module.rate.get_concrete_function(**specs)})
    return directory


def test_a_saved_model_packs_by_signature_and_named_output(saved: Path, tmp_path: Path) -> None:
    """Neither need have Keras's names; the directory itself is copied, not changed."""
    x, names = matrix(), ["a", "b", "c"]

    bundle = packed(tmp_path / "bundle", saved, rows_of(x, names), signature="rate", output="fraud")

    expected = 1 / (1 + np.exp(-(x.astype(np.float32) @ np.array([[0.1], [-0.2], [0.05]], np.float32))))
    assert close(scores_of(bundle, encoded(rows_of(x, names))), expected)
    assert bundle.manifest.model.signature == "rate"


def vectorizer() -> Any:
    layer = keras().layers.TextVectorization(max_tokens=50, output_sequence_length=6)
    layer.adapt(TEXTS)
    return layer


def text_network() -> Any:
    layers = keras().layers
    keras().utils.set_random_seed(4)
    return keras().Sequential(
        [
            keras().Input((6,), dtype="int64", name="tokens"),
            layers.Embedding(50, 4),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def test_a_model_that_takes_strings_packs_as_it_is(tmp_path: Path) -> None:
    """Its vocabulary travels inside it; the event's text goes in raw."""
    inner, layer = text_network(), vectorizer()
    words = keras().Input((1,), dtype="string", name="message")
    model = keras().Model(words, inner(layer(words)))
    events = [{"id": f"m{i}", "message": text} for i, text in enumerate(TEXTS * 9)]

    bundle = packed(tmp_path / "bundle", model, events, event_id="id")

    expected = inner(layer(tensorflow().constant(TEXTS * 9))).numpy()
    assert close(scores_of(bundle, encoded(events)), expected)


def test_text_vectorization_from_training_is_fused_in_front(tmp_path: Path) -> None:
    """A model of token numbers and the layer that made them in training become one model of text."""
    model, layer = text_network(), vectorizer()
    events = [{"id": f"m{i}", "message": text} for i, text in enumerate(TEXTS * 9)]

    bundle = packed(tmp_path / "bundle", model, events, event_id="id", text={"message": layer})

    expected = model(layer(tensorflow().constant(TEXTS * 9))).numpy()
    assert close(scores_of(bundle, encoded(events)), expected)
    assert set(bundle.manifest.model.inputs) == {"message"}


def unsupported(trained: Trained) -> Any:
    from sklearn.preprocessing import SplineTransformer

    return SplineTransformer().fit(trained.frame[["amount"]])


def unfitted(_: Trained) -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler()


def narrow(trained: Trained) -> Any:
    from sklearn.preprocessing import StandardScaler

    return StandardScaler().fit(trained.frame[["amount", "hour"]])


def frame32(trained: Trained) -> Any:
    return trained.frame.astype(dict.fromkeys(["amount", "balance"], "float32"))


def with_cell(name: str, value: Any) -> Callable[[Trained], Any]:
    def changed(trained: Trained) -> Any:
        frame = trained.frame.copy()
        frame[name] = frame[name].astype(object)
        frame.loc[7, name] = value
        return frame

    return changed


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unsupported class": ({"preprocessor": unsupported}, "SplineTransformer.*supported, without their subclasses"),
    "not fitted": ({"preprocessor": unfitted}, "StandardScaler is not fitted"),
    "no transformer": ({"preprocessor": lambda _: {"mean": 1}}, "dict"),
    "another width": ({"preprocessor": narrow}, "takes float32.*preprocessor gives 2 features"),
    "wrong output": ({"output": "dense_9"}, "no output 'dense_9'; it has \\['fraud'\\]"),
    "wrong score": ({"score": "percent"}, "probability, logit, softmax"),
    "softmax of one": ({"score": "softmax", "positive_class": 1}, "positive_class 1"),
    "probability with a class": ({"positive_class": 0}, "positive_class"),
    "no such id": ({"event_id": "tx"}, "no field 'tx'.*transaction_id"),
    "no such time": ({"event_time": "when"}, "no field 'when'"),
    "id that is a fraction": ({"event_id": "amount"}, "event_id 'amount'"),
    "time that is text": ({"event_time": "country"}, "event_time 'country'"),
    "float32 frame": ({"events": frame32}, "pack them as float64"),
    "infinite number": ({"events": with_cell("amount", float("inf"))}, "infinite"),
    "mixed types": ({"events": with_cell("country", 5)}, "'country' mixes"),
    "null id": ({"events": with_cell("transaction_id", None)}, "never null"),
    "no events": ({"events": lambda trained: trained.frame.iloc[:0]}, "at least one example"),
    "events of another kind": ({"events": lambda _: 7}, "dictionaries or as a DataFrame"),
    "missing column": ({"events": lambda trained: trained.frame.drop(columns="hour")}, "no field 'hour'"),
    "unknown schema field": ({"schema": {"amnt": {"type": "number"}}}, "amnt"),
    "unknown schema key": ({"schema": {"amount": {"kind": "number"}}}, "schema 'amount'"),
    "unknown schema type": ({"schema": {"amount": {"type": "money"}}}, "schema 'amount'"),
    "range of one": ({"schema": {"amount": {"range": [0]}}}, "schema 'amount'"),
    "range backwards": ({"schema": {"amount": {"range": [10, 0]}}}, "amount"),
    "range of text": ({"schema": {"amount": {"range": ["a", "b"]}}}, "schema 'amount'"),
    "endless range": ({"schema": {"amount": {"range": [0, float("inf")]}}}, "schema 'amount'"),
    "range without the examples": ({"schema": {"amount": {"range": [0, 1]}}}, "out_of_range"),
    "no model": ({"model": lambda _: "nowhere.keras"}, "nowhere.keras"),
    "model of another kind": ({"model": lambda _: 5}, "a int is no Keras model"),
    "batch of none": ({"batch_shape": -1}, "batch_shape -1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_packed_is_refused_by_name(case: str, trained: Trained, tmp_path: Path) -> None:
    """The message names the part, and nothing is left where the bundle would have been."""
    changes, said = REFUSED[case]
    made = {name: change(trained) if callable(change) else change for name, change in changes.items()}

    with pytest.raises(PackError, match=f"(?s){said}"), np.errstate(all="ignore"):
        pack_cards(trained, tmp_path / "bundle", **made)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bands",
    [
        {"block": 0.9, "review": 0.5},
        {"review": 0.5, "block": 0.5},
        {"block": 1.0},
        {"block": 0.0},
        {"block": float("nan")},
        {"approve": 0.5},
        {},
    ],
)
def test_bands_out_of_order_or_range_are_refused(bands: dict[str, float], trained: Trained, tmp_path: Path) -> None:
    """They are refused before anything is written."""
    with pytest.raises(BandsError, match="pack cards: bands"):
        pack_cards(trained, tmp_path / "bundle", bands=bands)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_what_is_no_bundle_is_never_overwritten(kind: str, trained: Trained, tmp_path: Path) -> None:
    """A mistyped path must not cost somebody's files."""
    target = tmp_path / "mine"
    if kind == "directory":
        target.mkdir()
        (target / "thesis.txt").write_text("ten years", encoding="utf-8")
    else:
        target.write_text("ten years", encoding="utf-8")

    with pytest.raises(PackError, match="is no bundle"):
        pack_cards(trained, target)

    assert "ten years" in (target / "thesis.txt" if kind == "directory" else target).read_text(encoding="utf-8")


def test_several_outputs_need_the_name_of_one(saved: Path, tmp_path: Path) -> None:
    """Which of them is the score is not guessed."""
    with pytest.raises(PackError, match=r"fraud.*logit.*output="):
        packed(tmp_path / "bundle", saved, rows_of(matrix(), ["a", "b", "c"]), signature="rate")


def test_an_output_that_is_no_float_is_refused(saved: Path, tmp_path: Path) -> None:
    """A count of rows is no score."""
    with pytest.raises(PackError, match="'row' is int32"):
        packed(tmp_path / "bundle", saved, rows_of(matrix(), ["a", "b", "c"]), signature="rate", output="row")


def test_a_signature_that_the_model_lacks_is_refused(saved: Path, tmp_path: Path) -> None:
    """The message lists those that there are."""
    from scorer.errors import BundleError

    with pytest.raises(BundleError, match="'serving_default'; it has \\['rate'\\]"):
        packed(tmp_path / "bundle", saved, rows_of(matrix(), ["a", "b", "c"]))


@pytest.mark.parametrize("rows", ["mix", "lone"])
def test_a_model_whose_rows_depend_on_each_other_is_refused(rows: str, tmp_path: Path) -> None:
    """A score that depends on who shares the batch cannot be replayed: it is found when packed."""
    tf = tensorflow()
    module = tf.Module()

    def rate(a: Any) -> dict[str, Any]:
        shifted = tf.sigmoid(a - tf.reduce_mean(a))
        return {"p": shifted if rows == "mix" else tf.reduce_mean(shifted, keepdims=True)}

    module.rate = tf.function(rate)
    spec = tf.TensorSpec([None], tf.float32, name="a")
    tf.saved_model.save(module, str(tmp_path / "model"), signatures={"rate": module.rate.get_concrete_function(a=spec)})

    with pytest.raises(PackError, match=r"batch|each other|one float an event"):
        packed(tmp_path / "bundle", tmp_path / "model", rows_of(matrix()[:, :1], ["a"]), signature="rate")


def test_numbers_that_training_had_as_nan_are_nulls_of_the_stream(cards: Bundle) -> None:
    """A field with a missing value in any example may be null; the others may not."""
    fields = cards.manifest.events.fields

    assert {name for name, field in fields.items() if field.nullable} == {"balance"}
    assert set(NUMBERS) <= set(fields)


def none_in_text(order: list[str]) -> tuple[Any, Any]:
    """Return examples whose text has None, and a preprocessor for which that is a category."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    text = pd.Series(["a", "b", None] * 30, dtype=object)
    frame = pd.DataFrame({"cat": text, "amount": np.arange(90.0)})[order]
    steps = [
        ("text", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["cat"]),
        ("number", StandardScaler(), ["amount"]),
    ]
    return frame, ColumnTransformer(steps).fit(frame)


@pytest.mark.parametrize("order", [["cat", "amount"], ["amount", "cat"]])
@pytest.mark.parametrize("as_dictionaries", [False, True])
def test_none_is_a_category_of_its_own(tmp_path: Path, order: list[str], as_dictionaries: bool) -> None:
    """What was None in training is None when the plan is held against it, beside whatever other fields."""
    frame, preprocessor = none_in_text(order)
    events = [{**row, "cat": row["cat"] or None} for row in frame.to_dict("records")] if as_dictionaries else frame
    pack_model(tmp_path / "bundle", dense(4), preprocessor=preprocessor, events=events)


def test_large_whole_numbers_are_told_apart(tmp_path: Path) -> None:
    """Beyond 2⁵³ a float64 skips numbers: such a field is an integer, and its categories are exact."""
    import pandas as pd
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame({"account": 2**53 + np.arange(60) % 4})
    preprocessor = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(frame)
    bundle = pack_model(tmp_path / "bundle", dense(4), preprocessor=preprocessor, events=frame)
    assert bundle.manifest.events.fields["account"].type == "integer"


def test_only_what_is_read_must_be_finite(tmp_path: Path) -> None:
    """An infinity refuses the pack where it is read, with the field and the example; elsewhere it does not matter."""
    rows = [{"a": 1.0 * row, "b": 2.0, "unused": math.inf} for row in range(40)]
    pack_model(tmp_path / "bundle", dense(2), columns=["a", "b"], events=rows)
    rows[7]["b"] = -math.inf
    with pytest.raises(PackError, match=r"'b' is infinite in example 7"):
        pack_model(tmp_path / "bundle", dense(2), columns=["a", "b"], events=rows)


def test_fields_that_exclude_each_other_are_told(tmp_path: Path) -> None:
    """A value cannot be an object too, a name cannot be nothing, and a column cannot come twice."""
    import pandas as pd

    frame = pd.DataFrame(np.ones((40, 2)), columns=["a", "a.b"])
    with pytest.raises(PackError, match=r"'a' cannot be a value and hold 'a\.b' too"):
        pack_model(tmp_path / "bundle", dense(2), columns=["a", "a.b"], events=frame)
    with pytest.raises(PackError, match="field '' is empty"):
        pack_model(tmp_path / "bundle", dense(1), columns=[""], events=frame.set_axis(["", "b"], axis=1))
    with pytest.raises(PackError, match=r"\['a'\] come twice"):
        pack_model(tmp_path / "bundle", dense(1), columns=["a"], events=frame.set_axis(["a", "a"], axis=1))


def dense(width: int) -> Any:
    """Return a small model on features."""
    import keras

    inputs = keras.Input((width,), name="features")
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="score")(inputs))


def pack_model(directory: Path, model: Any, **changes: Any) -> Bundle:
    """Pack a model of one matrix at a small batch shape."""
    arguments: dict[str, Any] = {"name": "m", "version": "1", "preprocessor": None, "bands": BANDS, "batch_shape": 16}
    return pack(directory, model=model, **arguments | changes)
