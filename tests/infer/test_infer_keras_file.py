"""Room 3: a `.keras` file is read as JSON before Keras opens it, and what could run code is refused, unrun."""

from __future__ import annotations

import importlib
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.errors import PackError
from scorer.infer.export import Fronts, export
from scorer.infer.keras_file import load_keras, why_refused
from scorer.infer.runtime import tensorflow

tf = tensorflow()
keras = importlib.import_module("keras")
layers = keras.layers


@keras.saving.register_keras_serializable(package="somebody")
class Doubled(layers.Layer):
    """A layer of one's own: its code is here, and not in the file."""

    def call(self, x: Any) -> Any:
        """Double the input."""
        return x * 2


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Undo what a test does to Keras' own switch."""
    from keras.src.backend.common import global_state

    yield
    global_state.set_global_attribute("safe_mode_saving", None)


def saved(path: Path, *stack: Any, width: int = 2, dtype: str = "float32") -> Path:
    keras.Sequential([keras.Input((width,), dtype=dtype), *stack]).save(path)
    return path


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Change the entries of a `.keras` file as an attacker would."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def described(path: Path, change: Callable[[Any], None]) -> Path:
    """Change the description of a `.keras` file: `change` gets its dictionary."""

    def both(entries: dict[str, bytes]) -> None:
        description = json.loads(entries["config.json"])
        change(description)
        entries["config.json"] = json.dumps(description).encode()

    return rewritten(path, both)


def refused(path: Path) -> str:
    """Return the line by which a file is refused."""
    with pytest.raises(PackError) as caught:
        load_keras(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def dense(path: Path) -> Path:
    return saved(path, layers.Dense(1))


# What is opened.


def stacks() -> dict[str, tuple[list[Any], Any, str]]:
    vectorize = layers.TextVectorization(max_tokens=10, output_sequence_length=4)
    vectorize.adapt(tf.constant(["an apple", "a pear"]))
    normal = layers.Normalization()
    normal.adapt(tf.constant([[1.0, 2.0], [2.0, 4.0]]))
    inner = keras.Sequential([layers.Dense(2, "relu"), layers.BatchNormalization()], name="inner")
    words, numbers = tf.constant([["a pear"]]), tf.constant([[1.0, 2.0]])
    return {
        "numbers": (
            [normal, inner, layers.Dense(1, keras.activations.gelu, kernel_regularizer="l2")],
            numbers,
            "float32",
        ),
        "text": ([vectorize, layers.Embedding(10, 2), layers.Flatten(), layers.Dense(1)], words, "string"),
        "words": ([layers.StringLookup(vocabulary=["a pear"], output_mode="one_hot")], words, "string"),
        "sequence": (
            [layers.Reshape((2, 1)), layers.Bidirectional(layers.LSTM(3)), layers.Dense(1, "sigmoid")],
            numbers,
            "float32",
        ),
    }


@pytest.mark.parametrize("name", ["numbers", "text", "words", "sequence"])
def test_a_file_of_keras_own_layers_opens_as_it_was_saved(name: str, tmp_path: Path) -> None:
    """Nested models, preprocessing with its vocabulary, activations given as functions: the same scores."""
    stack, x, dtype = stacks()[name]
    model = keras.Sequential([keras.Input((x.shape[1],), dtype=dtype), *stack])
    model.save(tmp_path / "model.keras")

    assert np.array_equal(load_keras(tmp_path / "model.keras")(x), model(x))


def test_a_functional_model_with_bare_operations_opens(tmp_path: Path) -> None:
    """Arithmetic between layers is saved as layers of Keras' own modules."""
    given = {"a": keras.Input((2,), name="a"), "b": keras.Input((2,), name="b")}
    joined = keras.ops.concatenate([given["a"] * 2.0, keras.ops.log1p(given["b"])[:, :1]], axis=-1)
    keras.Model(given, layers.Dense(1, "sigmoid")(joined)).save(tmp_path / "model.keras")

    assert sorted(tensor.name for tensor in load_keras(tmp_path / "model.keras").inputs) == ["a", "b"]


def test_a_loss_of_ones_own_is_no_reason(tmp_path: Path) -> None:
    """A model is opened to score: what it was trained by is not loaded, and need not be there."""

    def mine(truth: Any, score: Any) -> Any:
        return keras.ops.mean((truth - score) ** 2)

    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("adam", loss=mine)
    model.save(tmp_path / "model.keras")

    assert load_keras(tmp_path / "model.keras").count_params() == 3


# What is refused.


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("switched_off", [False, True])
def test_a_lambda_is_refused_unrun_at_any_depth(nested: bool, switched_off: bool, tmp_path: Path) -> None:
    """Even where the process has told Keras to trust every file."""
    target, name = tmp_path / "written", str(tmp_path / "written")
    harm = layers.Lambda(lambda x: (open(name, "w").close(), x)[1], output_shape=(2,), name="harm")
    stack = [keras.Sequential([keras.Sequential([harm])])] if nested else [harm]
    path = saved(tmp_path / "model.keras", *stack)
    target.unlink(missing_ok=True)  # what building the model may have run
    if switched_off:
        keras.config.enable_unsafe_deserialization()

    message = refused(path)

    assert "Lambda 'harm'" in message
    assert "holds Python code; refused, nothing was run" in message
    assert not target.exists()
    keras.models.load_model(path, safe_mode=False)(tf.zeros((1, 2)))
    assert target.exists()  # the attack is real


def test_keras_safe_mode_holds_whatever_the_process_has_switched_off(tmp_path: Path) -> None:
    """`enable_unsafe_deserialization` has no effect on a load, and the load none on the switch."""
    path = saved(tmp_path / "model.keras", layers.Flatten())
    described(path, lambda description: first_layer(description).update(registered_name="Flatten"))
    keras.config.enable_unsafe_deserialization()
    seen: list[Any] = []

    class Watched(layers.Flatten):
        @classmethod
        def from_config(cls, config: Any) -> Any:
            from keras.src.saving.serialization_lib import in_safe_mode

            seen.append(in_safe_mode())
            return super().from_config(config)

    with keras.saving.custom_object_scope({"Flatten": Watched}):
        load_keras(path)

    from keras.src.saving.serialization_lib import in_safe_mode

    assert seen == [True]
    assert in_safe_mode() is False


def first_layer(description: Any) -> Any:
    return description["config"]["layers"][1]


def tfsm(description: Any) -> None:
    first_layer(description).update(class_name="TFSMLayer", module="keras.layers", registered_name=None)


def activation(description: Any, **function: Any) -> None:
    first_layer(description)["config"]["activation"] = {"class_name": "function", "registered_name": None, **function}


def module(description: Any, name: str) -> None:
    first_layer(description).update(module=name)


def vocabulary(description: Any) -> None:
    first_layer(description)["config"]["vocabulary"] = "/etc/passwd"


CHANGES: dict[str, tuple[Callable[[Any], None], str]] = {
    "another SavedModel": (tfsm, "loads another SavedModel"),
    "a marshalled function": (
        lambda d: first_layer(d)["config"].update(activation={"class_name": "__lambda__", "config": {"value": "4wEA"}}),
        "holds Python code",
    ),
    "a function that loads files": (
        lambda d: activation(d, module="keras.utils", config="get_file"),
        "from 'keras.utils', which is not where",
    ),
    "a function that loads models": (
        lambda d: activation(d, module="keras.models", config="load_model"),
        "from 'keras.models', which is not where",
    ),
    "a function of Python's": (lambda d: activation(d, module="os", config="system"), "from 'os', which is not where"),
    "a class of Python's": (lambda d: module(d, "subprocess"), "from 'subprocess'"),
    "a module that looks like Keras": (lambda d: module(d, "keras.layers.evil"), "from 'keras.layers.evil'"),
    "a class in a module of tools": (lambda d: module(d, "keras.src.utils.python_utils"), "keras.src.utils"),
    "no module": (lambda d: first_layer(d).pop("module"), "from None"),
    "a function for a class": (
        lambda d: first_layer(d).update(class_name="load_model", module="keras.models", registered_name=None),
        "load_model",
    ),
    "a registered name": (lambda d: first_layer(d).update(registered_name="evil>Dense"), "registered as 'evil>Dense'"),
    "a vocabulary in a file": (vocabulary, "is a path, '/etc/passwd'"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_description_that_asks_for_code_or_files_is_refused_by_name(what: str, tmp_path: Path) -> None:
    """The line says which layer, where in the file, and why."""
    change, reason = CHANGES[what]

    message = refused(described(dense(tmp_path / "model.keras"), change))

    assert reason in message
    assert "config.layers[1]" in message


def test_a_layer_of_ones_own_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Its code is not in the file: the model can be given in memory."""
    message = refused(saved(tmp_path / "model.keras", Doubled(name="twice")))

    assert "Doubled 'twice'" in message
    assert "'somebody>Doubled'" in message
    assert "give `pack` the model itself" in message


ENTRIES: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "out of the archive": (lambda e: e.update({"assets/../../evil": b""}), "leads out of the archive"),
    "absolute": (lambda e: e.update({"/etc/evil": b""}), "leads out of the archive"),
    "a pickle": (lambda e: e.update({"assets/layer/scaler.pkl": pickle.dumps(1)}), "a pickle runs code"),
    "arrays of objects": (lambda e: e.update({"model.weights.npz": b""}), "is no part of a .keras file"),
    "code": (lambda e: e.update({"setup.py": b""}), "is no part of a .keras file"),
    "a bomb": (lambda e: e.update({"assets/words.txt": bytes(70 << 20)}), "would unpack to 73,400,320 bytes"),
    "no description": (lambda e: e.__delitem__("config.json"), "holds a config.json, and this does not"),
    "no JSON": (lambda e: e.update({"config.json": b"{"}), "config.json cannot be read"),
    "nested without end": (lambda e: e.update({"config.json": b"[" * 100_000}), "config.json cannot be read"),
    "no model": (lambda e: e.update({"config.json": b"[1]"}), "describes no model"),
}


@pytest.mark.parametrize("what", ENTRIES)
def test_an_archive_that_is_no_model_is_refused(what: str, tmp_path: Path) -> None:
    """Nothing outside of it is written, nothing that runs is in it, nothing fills the memory."""
    change, reason = ENTRIES[what]

    assert reason in refused(rewritten(dense(tmp_path / "model.keras"), change))


def test_a_damaged_file_is_a_plain_line(tmp_path: Path) -> None:
    """So is one that is no archive, or has weights of another model, or is not there."""
    path = dense(tmp_path / "model.keras")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "zip archive" in refused(path)
    path.write_bytes(whole)
    rewritten(path, lambda entries: entries.update({"model.weights.h5": b"no weights"}))
    assert "does not load it" in refused(path)
    path.unlink()

    assert "No such file" in refused(path)


@pytest.mark.parametrize("name", ["m.pkl", "m.pickle", "m.joblib", "M.PKL", "m.h5", "m.hdf5", "m.H5"])
def test_pickles_and_hdf5_are_refused_unread_with_what_to_do_instead(name: str, tmp_path: Path) -> None:
    """Opening one runs whatever is in it: the file is not opened, here neither."""
    target, path = tmp_path / "written", tmp_path / name

    class Harm:
        def __reduce__(self) -> Any:
            return open, (str(target), "w")

    path.write_bytes(pickle.dumps(Harm()))

    with pytest.raises(PackError, match="refused unread") as caught:
        export(path, tmp_path / "out", signature="serving_default", fronts=Fronts())

    reason = why_refused(path)
    assert str(caught.value) == reason
    assert "save it" in (reason or "")
    assert not target.exists()


@pytest.mark.parametrize("name", ["model.keras", "scaler.skops", "model"])
def test_other_names_are_no_reason(name: str) -> None:
    """What they hold is looked at by who opens them."""
    assert why_refused(Path(name)) is None
