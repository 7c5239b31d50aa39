"""Models and their inputs: any Keras model or SavedModel, one input or several, raw columns, text and features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_walks import close, inputs_of, packed, scores_of
from numpy.typing import NDArray

from scorer.bundle.feeds import check_plan
from scorer.decode import EventSchema, Field, FieldType
from scorer.errors import BundleError, PackError
from scorer.infer import TensorSpec
from scorer.infer.runtime import tensorflow
from scorer.transform import Image, Matrix, Node, Raw

NAMES = ["a", "b", "c"]
TEXTS = ["win cash now", "see you at eight", "CASH prize, call now!", "ok", "", "grüße aus köln", "now or never"]


def keras() -> Any:
    import keras

    return keras


def matrix(count: int = 40, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(10, 5, (count, 3))


def rows(values: NDArray[Any], names: list[str] | None = None) -> list[dict[str, Any]]:
    return [dict(zip(names or NAMES, row, strict=True)) for row in values.tolist()]


def mixed(count: int = 40) -> list[dict[str, Any]]:
    """Return events of every kind of field."""
    draw = np.random.default_rng(5)
    return [
        {
            "amount": float(amount),
            "hour": int(draw.integers(0, 24)),
            "country": str(draw.choice(["FI", "SE", "XX"])),
            "online": bool(draw.integers(0, 2)),
            "message": TEXTS[at % len(TEXTS)],
            "reply": TEXTS[(3 * at + 1) % len(TEXTS)],
        }
        for at, amount in enumerate(draw.exponential(50, count))
    ]


def column(events: list[dict[str, Any]], name: str, dtype: str, *, flat: bool = False) -> Any:
    values = [event[name] for event in events]
    return tensorflow().constant(values if flat else [[value] for value in values], dtype)


def subclassed(kind: str) -> Any:
    """Return a subclassed Keras model that was called once."""
    tf, layers = tensorflow(), keras().layers
    keras().utils.set_random_seed(3)

    class OfMatrix(keras().Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1, activation="sigmoid")

        def call(self, x: Any) -> Any:
            return self.dense(x)

    class OfFields(OfMatrix):
        def __init__(self) -> None:
            super().__init__()
            self.lookup = layers.StringLookup(vocabulary=["FI", "SE"], output_mode="one_hot")

        def call(self, inputs: Any) -> Any:
            country = tf.cast(self.lookup(inputs["country"]), tf.float32)
            score = self.dense(tf.concat([inputs["amount"] / 100.0, country], 1))
            return {"second": 1.0 - score, "fraud": score}

    if kind == "matrix":
        model = OfMatrix()
        model(tf.zeros((2, 3)))
    else:
        model = OfFields()
        model({"amount": tf.zeros((2, 1)), "country": tf.constant([["FI"], ["SE"]])})
    return model


def sequential(activation: str = "sigmoid", dtype: str = "float32") -> Any:
    keras().utils.set_random_seed(3)
    layers = keras().layers
    return keras().Sequential([keras().Input((3,), dtype=dtype), layers.Dense(1, activation=activation, dtype=dtype)])


@pytest.mark.parametrize("how", ["called", "fitted", "exported"])
def test_a_subclassed_model_packs_once_it_was_called(how: str, tmp_path: Path) -> None:
    """By a call, by `fit`, or from the SavedModel that `model.export` wrote: its outputs are then output_0."""
    model, x = subclassed("matrix"), matrix()
    if how == "fitted":
        model.compile("sgd", "mse")
        model.fit(x, np.ones(len(x)), verbose=0)
    if how == "exported":
        model.export(tmp_path / "model", verbose=False)

    bundle = packed(
        tmp_path / "b", tmp_path / "model" if how == "exported" else model, rows(x), columns=NAMES, output="output_0"
    )

    assert close(scores_of(bundle, rows(x)), model(x.astype(np.float32)))


def test_a_subclassed_model_of_named_fields_finds_their_dtypes(tmp_path: Path) -> None:
    """Keras remembers its inputs' shapes only; which hold text, the events say. Its dictionary's outputs keep names."""
    model, events = subclassed("fields"), mixed()

    bundle = packed(tmp_path / "b", model, events, output="fraud")

    given = {"amount": column(events, "amount", "float32"), "country": column(events, "country", "string")}
    assert close(scores_of(bundle, events), model(given)["fraud"])


def test_a_subclassed_model_of_one_text_takes_the_only_text(tmp_path: Path) -> None:
    """Its input has neither a name nor a dtype, and layers that look words up would let numbers pass."""
    tf, events = tensorflow(), [{"n": at, "country": event["country"]} for at, event in enumerate(mixed())]

    class OfText(keras().Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lookup = keras().layers.StringLookup(vocabulary=["FI", "SE"], output_mode="one_hot")
            self.dense = keras().layers.Dense(1, activation="sigmoid")

        def call(self, words: Any) -> Any:
            return self.dense(tf.cast(self.lookup(words), tf.float32))

    model = OfText()
    expected = model(column(events, "country", "string"))

    bundle = packed(tmp_path / "b", model, events)

    assert close(scores_of(bundle, events), expected)


def test_nullable_bytes_are_fed_as_the_empty_string(tmp_path: Path) -> None:
    """A field of bytes is a model's string as it is; zeros at its end count."""
    tf = tensorflow()
    events = [{"blob": bytes([255, 0]) * at if at % 3 else None} for at in range(30)]

    def rate(**tensors: Any) -> dict[str, Any]:
        return {"p": tf.cast(tf.strings.length(tensors["blob"]), tf.float32) / 100.0}

    bundle = packed(tmp_path / "b", saved(tmp_path / "m", rate, blob=([None], "string")), events)

    assert close(scores_of(bundle, events), [len(event["blob"] or b"") / 100 for event in events])


def test_dictionaries_of_outputs_keep_names_whatever_their_order(tmp_path: Path) -> None:
    """The output that is called fraud is not the one that comes first in the alphabet."""
    keras().utils.set_random_seed(1)
    x = matrix()
    inputs = keras().Input((3,))
    outputs = {name: keras().layers.Dense(1, activation="sigmoid")(inputs) for name in ("fraud", "abuse", "zeal")}
    model = keras().Model(inputs, outputs)
    for name in outputs:
        bundle = packed(tmp_path / name, model, rows(x), columns=NAMES, output=name)

        assert close(scores_of(bundle, rows(x)), model(x.astype(np.float32))[name])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["memory", "file", "exported"])
def test_a_matrix_of_any_float_packs(dtype: str, kind: str, tmp_path: Path) -> None:
    """A Sequential model in memory, its `.keras` file, and the SavedModel that Keras exports."""
    model, x = sequential(dtype=dtype), matrix()
    given: Any = model
    if kind == "file":
        given = tmp_path / "model.keras"
        model.save(given)
    if kind == "exported":
        given = tmp_path / "model"
        model.export(given, verbose=False)

    bundle = packed(tmp_path / "b", given, rows(x), columns=NAMES)

    (array,) = inputs_of(bundle, rows(x)).arrays.values()
    assert array.tobytes() == x.astype(dtype).tobytes()
    assert close(scores_of(bundle, rows(x)), tensorflow().cast(model(x.astype(dtype)), "float32"))


def saved(directory: Path, function: Any, signature: str = "serving_default", **specs: Any) -> Path:
    """Save a function of named tensors with `tf.saved_model.save`."""
    tf = tensorflow()
    module = tf.Module()
    module.rate = tf.function(function)
    named = {name: tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in specs.items()}
    tf.saved_model.save(module, str(directory), signatures={signature: module.rate.get_concrete_function(**named)})
    return directory


@pytest.mark.parametrize("shape", [[None], [None, 1]])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "bool"])
def test_a_saved_model_takes_a_field_in_every_dtype(dtype: str, shape: list[int | None], tmp_path: Path) -> None:
    """Of shape (n,) and (n, 1), with a signature of any name."""
    tf = tensorflow()
    name = {"b": "online", "i": "hour", "f": "amount"}[dtype[0]]
    events = mixed()

    def rate(**tensors: Any) -> dict[str, Any]:
        return {"p": tf.sigmoid(tf.cast(tf.reshape(tensors[name], [-1]), tf.float32) / 50.0 - 0.3)}

    bundle = packed(
        tmp_path / "b", saved(tmp_path / "m", rate, "rate", **{name: (shape, dtype)}), events, signature="rate"
    )

    (array,) = inputs_of(bundle, events).arrays.values()
    assert array.dtype == dtype
    assert array.shape == (len(events), *shape[1:])
    assert close(scores_of(bundle, events), rate(**{name: column(events, name, dtype, flat=len(shape) == 1)})["p"])


@pytest.mark.parametrize("name", ["inputs", "keras_tensor", "input_1"])
def test_a_lone_input_of_any_name_takes_the_features(name: str, tmp_path: Path) -> None:
    """What an export calls its only input says nothing: it takes the preprocessor's matrix."""
    from sklearn.preprocessing import StandardScaler

    tf, x = tensorflow(), matrix()
    scaler = StandardScaler().fit(x)

    def rate(**tensors: Any) -> dict[str, Any]:
        return {"p": tf.sigmoid(tf.reduce_sum(tensors[name], 1))}

    model = saved(tmp_path / "m", rate, **{name: ([None, 3], "float32")})
    bundle = packed(tmp_path / "b", model, rows(x), preprocessor=scaler, columns=NAMES)

    scaled = scaler.transform(x).astype(np.float32)
    assert inputs_of(bundle, rows(x)).arrays[name].tobytes() == scaled.tobytes()
    assert close(scores_of(bundle, rows(x)), rate(**{name: tf.constant(scaled)})["p"])


@pytest.mark.parametrize("columns", [None, ["message"]])
def test_a_lone_input_of_strings_takes_the_only_text(columns: list[str] | None, tmp_path: Path) -> None:
    """Whatever it is called; the event's id is not that text."""
    tf = tensorflow()
    events = [{"id": f"m{at}", "message": event["message"], "n": at} for at, event in enumerate(mixed())]

    def rate(**tensors: Any) -> dict[str, Any]:
        return {"p": tf.cast(tf.strings.length(tensors["inputs"]), tf.float32) / 40.0}

    model = saved(tmp_path / "m", rate, inputs=([None], "string"))
    bundle = packed(tmp_path / "b", model, events, event_id="id", columns=columns)

    assert close(scores_of(bundle, events), rate(inputs=column(events, "message", "string", flat=True))["p"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("builder", ["simple_save", "builder"])
def test_an_export_of_tensorflow_1_packs_with_its_tables_and_assets(builder: str, tmp_path: Path) -> None:
    """Variables, a vocabulary file and a signature of any name; it is copied as it is."""
    tf, events = tensorflow(), mixed()
    v1 = tf.compat.v1
    (tmp_path / "vocabulary.txt").write_text("FI\nSE\n", encoding="utf-8")
    with tf.Graph().as_default(), v1.Session() as session:
        amount, country = v1.placeholder("float32", [None, 1]), v1.placeholder("string", [None])
        words = tf.lookup.TextFileInitializer(
            str(tmp_path / "vocabulary.txt"),
            "string",
            tf.lookup.TextFileIndex.WHOLE_LINE,
            "int64",
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        table = tf.lookup.StaticHashTable(words, -1)
        weight = v1.get_variable("weight", [1, 1], initializer=v1.constant_initializer(0.01))
        score = tf.sigmoid(amount @ weight + tf.cast(table.lookup(country), "float32")[:, None])
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        inputs, outputs = {"amount": amount, "country": country}, {"score": score}
        name = "serving_default" if builder == "simple_save" else "rate"
        if builder == "simple_save":
            v1.saved_model.simple_save(session, str(tmp_path / "m"), inputs, outputs, v1.tables_initializer())
        else:
            made = v1.saved_model.Builder(str(tmp_path / "m"))
            signature = v1.saved_model.predict_signature_def(inputs, outputs)
            made.add_meta_graph_and_variables(
                session,
                ["serve"],
                {name: signature},
                main_op=v1.tables_initializer(),
                assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            )
            made.save()
        expected = session.run(
            score,
            {amount: [[event["amount"]] for event in events], country: [event["country"] for event in events]},
        )

    bundle = packed(tmp_path / "b", tmp_path / "m", events, signature=name)
    (tmp_path / "vocabulary.txt").unlink()

    assert close(scores_of(bundle, events), expected)


def preprocessing_network() -> Any:
    """Return a functional model whose layers preprocess raw columns of every kind."""
    layers = keras().layers
    keras().utils.set_random_seed(9)
    amount, hour = keras().Input((1,), name="amount"), keras().Input((1,), name="hour", dtype="int64")
    country, message = (
        keras().Input((1,), name="country", dtype="string"),
        keras().Input((1,), name="message", dtype="string"),
    )
    vectors = layers.TextVectorization(max_tokens=30, output_sequence_length=5)
    vectors.adapt(TEXTS)
    parts = [
        layers.Normalization(mean=50.0, variance=900.0)(amount),
        layers.Rescaling(0.01)(amount),
        layers.Discretization(bin_boundaries=[10.0, 50.0, 90.0], output_mode="one_hot")(amount),
        layers.CategoryEncoding(24, output_mode="one_hot")(hour),
        layers.IntegerLookup(vocabulary=[1, 2, 3], output_mode="one_hot")(hour),
        layers.StringLookup(vocabulary=["FI", "SE"], output_mode="one_hot")(country),
        layers.Hashing(8, output_mode="one_hot")(country),
        layers.GlobalAveragePooling1D()(layers.Embedding(30, 3)(vectors(message))),
    ]
    score = layers.Dense(1, activation="sigmoid", name="fraud")(layers.Concatenate()(parts))
    return keras().Model([amount, hour, country, message], score)


@pytest.mark.parametrize("kind", ["memory", "file", "exported"])
def test_keras_preprocessing_layers_take_raw_columns_by_name(kind: str, tmp_path: Path) -> None:
    """Normalization, Rescaling, Discretization, CategoryEncoding, lookups, Hashing, TextVectorization."""
    model, events = preprocessing_network(), mixed()
    given: Any = model
    if kind == "file":
        given = tmp_path / "model.keras"
        model.save(given)
    if kind == "exported":
        given = tmp_path / "model"
        model.export(given, verbose=False)

    bundle = packed(tmp_path / "b", given, events)

    dtypes = {"amount": "float32", "hour": "int64", "country": "string", "message": "string"}
    expected = model([column(events, name, dtype) for name, dtype in dtypes.items()])
    assert close(scores_of(bundle, events), expected)
    assert {name: spec.dtype for name, spec in bundle.manifest.model.inputs.items()} == dtypes


def vectorizer() -> Any:
    layer = keras().layers.TextVectorization(max_tokens=40, output_sequence_length=6)
    layer.adapt(TEXTS)
    return layer


def text_network(*, numbers: int = 0) -> Any:
    """Return a model of two texts' tokens, and of numbers beside them."""
    layers = keras().layers
    keras().utils.set_random_seed(4)
    message, reply = (keras().Input((6,), dtype="int64", name=name) for name in ("message", "reply"))
    parts = [layers.GlobalAveragePooling1D()(layers.Embedding(40, 4)(tokens)) for tokens in (message, reply)]
    others = [keras().Input((numbers,), name="numbers")] if numbers else []
    joined = layers.Concatenate()([*parts, *others])
    return keras().Model([message, reply, *others], layers.Dense(1, activation="sigmoid")(joined))


@pytest.mark.parametrize("kind", ["memory", "exported"])
def test_two_texts_are_fused_each_in_front_of_its_input(kind: str, tmp_path: Path) -> None:
    """Each with its own vocabulary, in front of a Keras model or a SavedModel."""
    model, events, first, second = text_network(), mixed(), vectorizer(), vectorizer()
    second.adapt(TEXTS[:3])
    if kind == "exported":
        model.export(tmp_path / "model", verbose=False)
    given = tmp_path / "model" if kind == "exported" else model

    bundle = packed(tmp_path / "b", given, events, text={"message": first, "reply": second})

    texts = [column(events, name, "string", flat=True) for name in ("message", "reply")]
    assert close(scores_of(bundle, events), model([first(texts[0]), second(texts[1])]))


def test_texts_and_features_feed_a_model_together(tmp_path: Path) -> None:
    """The input that no text is for takes the preprocessor's matrix."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    events, layer = mixed(), vectorizer()
    frame = pd.DataFrame(events)
    preprocessor = ColumnTransformer(
        [("n", StandardScaler(), ["amount", "hour"]), ("c", OneHotEncoder(sparse_output=False), ["country"])]
    )
    features = preprocessor.fit_transform(frame).astype(np.float32)
    model = text_network(numbers=features.shape[1])

    bundle = packed(tmp_path / "b", model, frame, preprocessor=preprocessor, text={"message": layer, "reply": layer})

    texts = [layer(column(events, name, "string", flat=True)) for name in ("message", "reply")]
    assert inputs_of(bundle, events).arrays["numbers"].tobytes() == features.tobytes()
    assert close(scores_of(bundle, events), model([*texts, tensorflow().constant(features)]))


def test_a_text_whose_path_is_no_tensor_name_is_fused_too(tmp_path: Path) -> None:
    """`inputs=` says which input it feeds; a path into an object, with a space in it, is a field like any other."""
    model, layer = text_network(), vectorizer()
    events = [{"mail": {"the body": event["message"]}, "reply": event["reply"]} for event in mixed()]

    bundle = packed(
        tmp_path / "b",
        model,
        events,
        text={"mail.the body": layer, "reply": layer},
        inputs={"message": "mail.the body"},
    )

    texts = [[event["mail"]["the body"] for event in events], [event["reply"] for event in events]]
    assert close(scores_of(bundle, events), model([layer(tensorflow().constant(text)) for text in texts]))


def two_towers(numbers: int, categories: int, **more: Any) -> Any:
    layers = keras().layers
    keras().utils.set_random_seed(6)
    inputs = [keras().Input((numbers,), name="wide"), keras().Input((categories,), name="deep")]
    inputs += [keras().Input((1,), name=name, dtype=dtype) for name, dtype in more.items()]
    parts = [layers.Dense(3)(one) if one.name in ("wide", "deep") else layers.Rescaling(0.01)(one) for one in inputs]
    return keras().Model(inputs, layers.Dense(1, activation="sigmoid")(layers.Concatenate()(parts)))


def test_inputs_share_out_the_transformers_by_name(tmp_path: Path) -> None:
    """Each gets the features of its transformers in the order told, a single name will do, and the rest their field."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

    events = mixed()
    frame = pd.DataFrame(events)
    preprocessor = ColumnTransformer(
        [
            ("scaled", StandardScaler(), ["amount"]),
            ("country", OneHotEncoder(sparse_output=False), ["country"]),
            ("ranged", MinMaxScaler(), ["hour", "amount"]),
        ]
    ).fit(frame)
    whole = preprocessor.transform(frame).astype(np.float32)
    model = two_towers(3, 3, amount="float32")

    bundle = packed(
        tmp_path / "b",
        model,
        frame,
        preprocessor=preprocessor,
        inputs={"wide": ["ranged", "scaled"], "deep": "country"},
    )

    wide, deep = whole[:, [4, 5, 0]], whole[:, 1:4]
    arrays = inputs_of(bundle, events).arrays
    assert arrays["wide"].tobytes() == wide.tobytes()
    assert arrays["deep"].tobytes() == deep.tobytes()
    given = [*map(tensorflow().constant, (wide, deep)), column(events, "amount", "float32")]
    assert close(scores_of(bundle, events), model(given))


def test_inputs_without_a_preprocessor_are_matrices_of_fields(tmp_path: Path) -> None:
    """`inputs=` then names fields."""
    model, events = two_towers(2, 1), mixed()

    bundle = packed(tmp_path / "b", model, events, inputs={"wide": ["hour", "amount"], "deep": "amount"})

    wide = np.array([[event["hour"], event["amount"]] for event in events], np.float32)
    assert inputs_of(bundle, events).arrays["wide"].tobytes() == wide.tobytes()
    assert close(scores_of(bundle, events), model([wide, wide[:, 1:]]))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such input": ({"inputs": {"tall": "amount"}}, r"no input \['tall'\]; it has \['deep', 'wide'\]"),
    "no such field": ({"inputs": {"wide": ["amount", "size"], "deep": "hour"}}, r"'wide'.*\['size'\]"),
    "an input without a field": ({"inputs": {"wide": ["amount", "hour"]}}, "input 'deep'.*no event field"),
    "another width": ({"inputs": {"wide": "amount", "deep": "amount"}}, r"'wide' takes float32\[None, 2\]"),
    "text for numbers": ({"inputs": {"wide": ["amount", "hour"], "deep": "country"}}, "'deep' takes float32.*string"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_inputs_that_do_not_fit_are_refused_by_name(case: str, tmp_path: Path) -> None:
    """The message says which input, and what there is."""
    changes, said = REFUSED[case]

    with pytest.raises(BundleError, match=f"(?s){said}"):
        packed(tmp_path / "b", two_towers(2, 1), mixed(), **changes)


def test_a_text_for_no_input_is_refused(tmp_path: Path) -> None:
    """A model of several inputs must have one of the field's name, or inputs= must say which."""
    with pytest.raises(PackError, match=r"'country'.*inputs="):
        packed(tmp_path / "b", text_network(), mixed(), text={"country": vectorizer(), "reply": vectorizer()})


NODE = Node(["a", "b"], [], ["a", "b"])
NUMBER, PICTURE = Field(FieldType.NUMBER), Field(FieldType.BYTES)
DISAGREEING: dict[str, tuple[Any, TensorSpec, Field, str]] = {
    "dtype": (Matrix(NODE, "float32"), TensorSpec("float64", [None, 2]), NUMBER, "gives float32.*takes float64"),
    "width": (Matrix(NODE, "float32"), TensorSpec("float32", [None, 3]), NUMBER, r"\[None, 2\].*\[None, 3\]"),
    "rank": (Raw("a", "float32", 1), TensorSpec("float32", [None, 1]), NUMBER, r"\[None\].*\[None, 1\]"),
    "type": (Raw("a", "string", 1), TensorSpec("string", [None]), NUMBER, "takes string, the field 'a' is number"),
    "field": (Raw("z", "string", 1), TensorSpec("string", [None]), NUMBER, "'z', which the events' schema lacks"),
    "picture": (Image("a", "string", [], 9), TensorSpec("string", [None]), NUMBER, "takes an image, the field 'a'"),
    "size": (Image("a", "uint8", [8, 8, 3], 9), TensorSpec("uint8", [None, 9, 8, 3]), PICTURE, r"\[None, 9, 8, 3\]"),
}


@pytest.mark.parametrize("case", DISAGREEING)
def test_a_plan_that_disagrees_with_the_model_says_where(case: str) -> None:
    """The input's name, what the plan gives, and what the model takes."""
    feed, tensor, field, said = DISAGREEING[case]

    with pytest.raises(BundleError, match=f"model input 'x'.*{said}"):
        check_plan({"x": feed}, {"x": tensor}, EventSchema({"a": field}))


def test_a_plan_of_other_inputs_says_which() -> None:
    """One that nothing feeds, or one that the model lacks."""
    feed, tensor = Raw("a", "float32", 1), TensorSpec("float32", [None])

    with pytest.raises(BundleError, match="'y': nothing feeds it"):
        check_plan({"x": feed}, {"x": tensor, "y": tensor}, EventSchema({"a": NUMBER}))
    with pytest.raises(BundleError, match="'x': the model has none of this name"):
        check_plan({"x": feed, "y": feed}, {"y": tensor}, EventSchema({"a": NUMBER}))


@pytest.mark.parametrize("name", ["card.amount", "x-y", "my amount", "über", "class", "1st"])
def test_inputs_that_no_signature_could_name_are_fed_all_the_same(name: str, tmp_path: Path) -> None:
    """A model's input takes the field of its name, also where that is a path, a keyword or no ASCII."""
    layers = keras().layers
    first, second = keras().Input((1,), name=name), keras().Input((1,), name="zz")
    model = keras().Model([first, second], layers.Dense(1, activation="sigmoid")(layers.Concatenate()([first, second])))
    values = matrix()[:, :2]
    events = [({"card": {"amount": a}} if "." in name else {name: a}) | {"zz": b} for a, b in values.tolist()]
    for told in (None, {name: name}):
        loaded = packed(tmp_path / "bundle", model=model, preprocessor=None, events=events, inputs=told)
        assert close(scores_of(loaded, events), model([values[:, :1], values[:, 1:]]))
