"""Writing SavedModels for `pack`: Keras models by their input and output names, with text preprocessing in front."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorer.errors import PackError
from scorer.infer.model import load_saved_model, signature_of
from scorer.infer.runtime import tensorflow


def export(model: Any, directory: Path, *, signature: str, text: Mapping[str, Any]) -> str:
    """Write `model` as a SavedModel into `directory` and return the signature to call.

    `model` is a Keras model, a `.keras` file (loaded with `safe_mode=True`), or a SavedModel directory, which is
    copied as it is. `text` maps fields to the TextVectorization (or other Keras layer) that prepared them in
    training; it is put in front, so that the signature takes the raw strings under the field's name.
    Raises PackError for what is none of these.
    """
    if isinstance(model, str | Path):
        path = Path(model)
        if path.is_dir():
            return _export_saved_model(path, directory, signature=signature, text=text)
        if path.suffix != ".keras" or not path.is_file():
            raise PackError(f"model {path}: give a Keras model, a .keras file or a SavedModel directory")
        model = tensorflow().keras.models.load_model(path, safe_mode=True, compile=False)
    if not isinstance(model, tensorflow().keras.Model):
        raise PackError(f"model: a {type(model).__name__} is no Keras model, .keras file or SavedModel directory")
    _export_keras(model, directory, text=text)
    return "serving_default"


def _export_keras(model: Any, directory: Path, *, text: Mapping[str, Any]) -> None:
    """Export under the model's own input and output names; `model.export` would call a lone output `output_0`."""
    tf = tensorflow()
    if not getattr(model, "built", False) or not getattr(model, "inputs", None):
        raise PackError("model: it has no inputs yet; call it once on data, or give it an Input layer")
    names = [tensor.name for tensor in model.inputs]
    specs = {t.name: tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in model.inputs}
    sequential = isinstance(model, tf.keras.Sequential)
    outputs = list(model.output) if not sequential and isinstance(model.output, dict) else _layer_names(model.outputs)

    def call(tensors: Mapping[str, Any]) -> dict[str, Any]:
        flat = [tensors[name] for name in names]
        given = flat[0] if sequential else tf.keras.tree.pack_sequence_as(model.input, flat)
        result = model(given, training=False)
        return dict(zip(outputs, tf.nest.flatten(result), strict=True))

    _archive(call, specs, directory, tracked=[model], text=text)


def _export_saved_model(source: Path, directory: Path, *, signature: str, text: Mapping[str, Any]) -> str:
    tf = tensorflow()
    loaded = load_saved_model(source)
    function = signature_of(loaded, signature, source)
    if not text:
        shutil.copytree(source, directory)
        return signature
    named = function.structured_input_signature[1]
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in named.items()}
    _archive(lambda tensors: function(**tensors), specs, directory, tracked=[loaded], text=text)
    return "serving_default"


def _archive(call: Any, specs: dict[str, Any], directory: Path, *, tracked: list[Any], text: Mapping[str, Any]) -> None:
    tf = tensorflow()
    fed = _fed_by(text, list(specs))
    outer = {name: spec for name, spec in specs.items() if name not in fed.values()}
    outer |= {field: tf.TensorSpec([None], tf.string, name=field) for field in fed}

    def serve(**tensors: Any) -> dict[str, Any]:
        inner = {name: tensors[name] for name in specs if name not in fed.values()}
        for field, name in fed.items():
            inner[name] = tf.cast(text[field](tensors[field]), specs[name].dtype)
        return dict(call(inner))

    for layer in text.values():
        layer(tf.constant([""]))  # an adapted layer that was never called is not built, and is refused
    archive = tf.keras.export.ExportArchive()
    for resource in [*tracked, *text.values()]:
        archive.track(resource)
    endpoint = tf.function(serve)
    endpoint.get_concrete_function(**outer)  # traced by name, so that the signature keeps the names
    archive.add_endpoint("serving_default", endpoint)
    archive.write_out(str(directory), verbose=False)


def _fed_by(text: Mapping[str, Any], inputs: list[str]) -> dict[str, str]:
    """Return field → the model input that its text feeds: the input of that name, or the only one."""
    fed = {}
    for field in text:
        if field not in inputs and len(inputs) > 1:
            raise PackError(f"text: no input {field!r} in the model; it has {inputs}")
        fed[field] = field if field in inputs else inputs[0]
    return fed


def _layer_names(tensors: Any) -> list[str]:
    return [tensor._keras_history.operation.name for tensor in tensors]
