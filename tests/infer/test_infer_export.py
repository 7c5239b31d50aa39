"""Exporting for `pack`: names that the signature keeps, preprocessing in front, and refusals that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.errors import PackError
from scorer.infer.export import Fronts, export
from scorer.infer.fusing import ImageChain
from scorer.infer.model import input_specs, load_saved_model, output_specs, signature_of
from scorer.infer.runtime import tensorflow


def keras() -> Any:
    import keras

    return keras


def contract(directory: Path, signature: str = "serving_default") -> tuple[set[str], set[str]]:
    """Return the names of a SavedModel's inputs and outputs."""
    function = signature_of(load_saved_model(directory), signature, directory)
    return set(input_specs(function)), set(output_specs(function))


def written(
    model: Any, directory: Path, signature: str = "serving_default", **fronts: Any
) -> tuple[set[str], set[str]]:
    """Export a model and return the names of its inputs and outputs."""
    exported = export(model, directory / "out", signature=signature, fronts=Fronts(**fronts))
    return contract(directory / "out", exported.signature)


def functional(structure: str) -> Any:
    layers = keras().layers
    a, b = keras().Input((1,), name="a"), keras().Input((1,), name="b")
    score = layers.Dense(1, name="fraud")(layers.Concatenate()([a, b]))
    inputs: Any = {"list": [a, b], "dictionary": {"b": b, "a": a}, "nested": [{"a": a}, b]}[structure]
    return keras().Model(inputs, [score, layers.Dense(2, name="kind")(a)])


@pytest.mark.parametrize("structure", ["list", "dictionary", "nested"])
def test_a_functional_model_keeps_the_names_of_inputs_and_layers(structure: str, tmp_path: Path) -> None:
    """However its inputs are held together."""
    assert written(functional(structure), tmp_path) == ({"a", "b"}, {"fraud", "kind"})


def test_each_named_input_reaches_its_own_tensor(tmp_path: Path) -> None:
    """A dictionary's order is not the order in which it is flattened."""
    tf, model = tensorflow(), functional("dictionary")
    export(model, tmp_path / "out", signature="serving_default", fronts=Fronts())
    a, b = tf.constant([[1.0]]), tf.constant([[-5.0]])

    found = load_saved_model(tmp_path / "out").signatures["serving_default"](a=a, b=b)["fraud"]

    assert np.allclose(found, model({"a": a, "b": b})[0], atol=1e-6)


def test_a_saved_model_is_copied_as_it_is(tmp_path: Path) -> None:
    """With every signature and byte, since nothing stands in front of it."""
    functional("list").export(tmp_path / "in", verbose=False)

    exported = export(tmp_path / "in", tmp_path / "out", signature="serving_default", fronts=Fronts())

    graph = "saved_model.pb"
    assert exported.fused == {}
    assert (tmp_path / "out" / graph).read_bytes() == (tmp_path / "in" / graph).read_bytes()


@pytest.mark.filterwarnings("ignore:.*unbuilt state:UserWarning")
def test_a_subclassed_model_that_cannot_be_traced_is_refused(tmp_path: Path) -> None:
    """With what TensorFlow said, on one line."""

    class Stubborn(keras().Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tensorflow().constant(x.numpy())

    model = Stubborn()
    model(tensorflow().zeros((2, 3)))

    with pytest.raises(PackError, match="cannot trace its call") as caught:
        export(model, tmp_path / "out", signature="serving_default", fronts=Fronts())
    assert "\n" not in str(caught.value)


def test_a_model_without_inputs_is_refused(tmp_path: Path) -> None:
    """It was never called, and the message says so."""
    with pytest.raises(PackError, match="no inputs yet"):
        written(keras().Sequential([keras().layers.Dense(1)]), tmp_path)


def test_two_fields_for_one_input_are_refused(tmp_path: Path) -> None:
    """The message says how to share them out."""
    layer = keras().layers.TextVectorization(vocabulary=["a"], output_sequence_length=3)
    model = keras().Sequential([keras().Input((3,), dtype="int64"), keras().layers.Embedding(5, 2)])

    with pytest.raises(PackError, match=r"fed by two fields.*inputs="):
        written(model, tmp_path, text={"message": layer, "reply": layer})


def test_what_is_no_layer_is_refused(tmp_path: Path) -> None:
    """A vocabulary is not what split the text."""
    model = keras().Sequential([keras().Input((3,), dtype="int64"), keras().layers.Embedding(5, 2)])

    with pytest.raises(PackError, match="text 'message': a list"):
        written(model, tmp_path, text={"message": ["a", "b"]})


@pytest.mark.parametrize("shape", [(3,), (8, 8)])
def test_a_picture_for_an_input_of_another_rank_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    """It says what the input takes, and what a chain gives."""
    model = keras().Sequential([keras().Input(shape), keras().layers.Flatten(), keras().layers.Dense(1)])

    with pytest.raises(PackError, match=r"takes float32\[None, .*height, width, channels"):
        written(model, tmp_path, images={"photo": ImageChain(resize=(8, 8))})


def test_tables_of_tensorflow_1_cannot_have_anything_in_front(tmp_path: Path) -> None:
    """TensorFlow 2 would write them without their contents: refused instead of a model that fails on every event."""
    tf = tensorflow()
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        words = v1.placeholder("string", [None, 3], name="words")
        keys = tf.lookup.KeyValueTensorInitializer(tf.constant(["a"]), tf.constant([1], tf.int64))
        score = tf.reduce_sum(tf.cast(tf.lookup.StaticHashTable(keys, 0).lookup(words), "float32"), 1)
        session.run(v1.tables_initializer())
        v1.saved_model.simple_save(
            session, str(tmp_path / "in"), {"words": words}, {"score": score}, v1.tables_initializer()
        )

    with pytest.raises(PackError, match="TensorFlow 1 model with lookup tables"):
        written(tmp_path / "in", tmp_path, text={"message": lambda text: tf.repeat(text[:, None], 3, 1)})
