"""Writing SavedModels for `pack`: Keras models by their input and output names, with raw preprocessing in front."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scorer.errors import BundleError, PackError
from scorer.infer.fusing import Call, Endpoint, Fused, ImageChain, fuse, tensor_name
from scorer.infer.keras_file import load_keras, why_refused
from scorer.infer.keras_model import input_candidates, named_call
from scorer.infer.model import load_saved_model, signature_of
from scorer.infer.runtime import tensorflow

SERVING = "serving_default"


@dataclass(frozen=True, slots=True)
class Fronts:
    """What stands in front of the model, by the event's field.

    `text` holds the TextVectorization (or other layer) that prepared a text in training, `images` the TensorFlow chain
    of a picture; `targets` says which model input a field feeds where the names do not, `strings` which fields hold
    text (a subclassed Keras model does not know the dtypes of its inputs).
    """

    text: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, ImageChain] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    strings: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """The signature to call, and which of its inputs take a field's raw text or image bytes.

    `renamed` has the model's own names of inputs that no signature can have, such as `card.amount`.
    """

    signature: str
    fused: Mapping[str, Fused]
    renamed: Mapping[str, str] = field(default_factory=dict)


def export(model: Any, directory: Path, *, signature: str, fronts: Fronts) -> Exported:
    """Write `model` as a SavedModel into `directory`.

    `model` is a Keras model, a `.keras` file (see `keras_file`), or a SavedModel directory of TensorFlow 1 or 2, which
    is copied as it is unless something is fused in front of it. Raises PackError for what is none of these.
    """
    if isinstance(model, str | Path):
        path = Path(model)
        if path.is_dir():
            return _export_saved_model(path, directory, signature=signature, fronts=fronts)
        if why_refused(path) is None and (path.suffix != ".keras" or not path.is_file()):
            raise PackError(f"model {path}: give a Keras model, a .keras file or a SavedModel directory")
        model = load_keras(path)
    if not isinstance(model, tensorflow().keras.Model):
        raise PackError(f"model: a {type(model).__name__} is no Keras model, .keras file or SavedModel directory")
    return _export_keras(model, directory, fronts=fronts)


def _export_keras(model: Any, directory: Path, *, fronts: Fronts) -> Exported:
    """Export under the model's own input and output names; `model.export` would call a lone output `output_0`.

    A subclassed model is tried with each dtype that its inputs may have: the first that can be traced is the one.
    """
    failure: Exception | None = None
    for inputs in input_candidates(model, fronts.strings):
        try:
            front, renamed = _fused_by_name(named_call(model, inputs), inputs.specs, fronts)
            return replace(_archive(front, directory, tracked=[model]), renamed=renamed)
        except PackError:
            raise
        except Exception as error:  # a model's call is its author's code, and may raise anything
            failure = failure or error
    said = " ".join(str(failure).split())[:300]
    raise PackError(f"model: TensorFlow cannot trace its call: {said}; does `model.export` work?") from failure


def _export_saved_model(source: Path, directory: Path, *, signature: str, fronts: Fronts) -> Exported:
    tf = tensorflow()
    try:
        loaded = load_saved_model(source)
    except BundleError as error:
        raise PackError(f"model {error}") from error
    function = signature_of(loaded, signature, source)
    named = function.structured_input_signature[1]
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in named.items()}
    front = _fused(lambda tensors: function(**tensors), specs, fronts)
    if not front.fused:
        shutil.copytree(source, directory)
        return Exported(signature, {})
    if getattr(loaded, "graph", None) is not None and loaded.graph.get_collection("table_initializer"):
        raise PackError(
            f"model {source}: a TensorFlow 1 model with lookup tables cannot have text= or image= fused in front of "
            "it; export it again with TensorFlow 2, or let it take the raw field itself"
        )
    return _archive(front, directory, tracked=[loaded])


def _fused(call: Call, specs: Mapping[str, Any], fronts: Fronts) -> Endpoint:
    return fuse(call, specs, text=fronts.text, images=fronts.images, targets=fronts.targets)


def _fused_by_name(call: Call, specs: Mapping[str, Any], fronts: Fronts) -> tuple[Endpoint, dict[str, str]]:
    """Fuse a model whose inputs have any names; return too which names had to be changed, new to old."""
    tf = tensorflow()
    plain = {name: tensor_name(name) for name in specs}
    if len(set(plain.values())) < len(plain):
        raise PackError(f"model: the names of its inputs {sorted(plain)} are the same to TensorFlow; name them apart")
    outer = {plain[name]: tf.TensorSpec(spec.shape, spec.dtype, name=plain[name]) for name, spec in specs.items()}
    targets = {**plain, **{field: plain.get(target, target) for field, target in fronts.targets.items()}}
    inner: Call = lambda tensors: call({name: tensors[plain[name]] for name in specs})  # noqa: E731
    front = _fused(inner, outer, replace(fronts, targets=targets))
    return front, {new: name for name, new in plain.items() if new != name}


def _archive(front: Endpoint, directory: Path, *, tracked: list[Any]) -> Exported:
    tf = tensorflow()
    endpoint = tf.function(lambda **tensors: dict(front.call(tensors)))
    endpoint.get_concrete_function(**front.specs)  # traced by name, so that the signature keeps the names
    archive = tf.keras.export.ExportArchive()
    for resource in [*tracked, *front.resources]:
        archive.track(resource)
    archive.add_endpoint(SERVING, endpoint)
    archive.write_out(str(directory), verbose=False)
    return Exported(SERVING, front.fused)
