"""A Keras model in memory, Sequential, functional or subclassed, as a function of named tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scorer.errors import PackError
from scorer.infer.fusing import Call
from scorer.infer.runtime import tensorflow


@dataclass(frozen=True, slots=True)
class KerasInputs:
    """A model's inputs: their specs by name, in the order in which `structure` holds them."""

    specs: Mapping[str, Any]
    structure: Any

    @classmethod
    def of(cls, structure: Any) -> KerasInputs:
        """Name every tensor of a structure: by its key in a dictionary, otherwise by its own name."""
        tf = tensorflow()
        leaves = tf.keras.tree.flatten_with_path(structure)
        names = [path[-1] if path and isinstance(path[-1], str) else leaf.name for path, leaf in leaves]
        specs = {
            name: tf.TensorSpec(leaf.shape, leaf.dtype, name=name)
            for name, (_, leaf) in zip(names, leaves, strict=True)
        }
        if len(specs) < len(names):
            raise PackError(f"model: two of its inputs have the same name, {names}; name them apart")
        return cls(specs, structure)


def input_candidates(model: Any, strings: Collection[str]) -> Iterator[KerasInputs]:
    """Yield what the model's inputs may be: one answer, or for a subclassed model, in turn, those of other dtypes.

    Raises PackError where a model has no inputs yet.
    """
    tf = tensorflow()
    if not getattr(model, "built", False):
        raise _no_inputs()
    if getattr(model, "inputs", None):
        sequential = isinstance(model, tf.keras.Sequential)
        yield KerasInputs.of(model.inputs[0] if sequential else model.input)
        return
    shapes = getattr(model, "_build_shapes_dict", None)
    if not shapes:
        raise _no_inputs()
    held = next(iter(shapes.values()))
    # One column may be text, if the events have any: layers that look words up let numbers pass too, so text is first.
    lone = isinstance(held, list | tuple) and list(held[1:]) in ([], [1])
    for dtype in (*(["string"] if strings and lone else []), model.input_dtype, "int64", "string"):
        yield KerasInputs.of(_tensors(held, "inputs", dtype, strings))


def _no_inputs() -> PackError:
    return PackError("model: it has no inputs yet; call it once on data, or give it an Input layer")


def _tensors(shapes: Any, name: str, dtype: str, strings: Collection[str]) -> Any:
    """Return the structure of a subclassed model's input, from the shapes that its first call had."""
    tf = tensorflow()
    if isinstance(shapes, Mapping):
        return {key: _tensors(inner, key, dtype, strings) for key, inner in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return tf.TensorSpec([None, *shapes[1:]], "string" if name in strings else dtype, name=name)
    return [_tensors(inner, f"{name}_{at}", dtype, strings) for at, inner in enumerate(shapes)]


def named_call(model: Any, inputs: KerasInputs) -> Call:
    """Return the model, in inference mode, as a function of its tensors by name that gives its outputs by name.

    A dictionary's outputs keep their keys; others are called after the layer that gives them, and where there is none
    (a subclassed model) `output_0`, `output_1`, … as `model.export` calls them.
    """
    tf = tensorflow()

    def call(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        flat = [tensors[name] for name in inputs.specs]
        result = model(tf.keras.tree.pack_sequence_as(inputs.structure, flat), training=False)
        if isinstance(result, dict):
            return {str(name): tensor for name, tensor in result.items()}
        outputs = tf.keras.tree.flatten(result)
        return dict(zip(_output_names(model, len(outputs)), outputs, strict=True))

    return call


def _output_names(model: Any, count: int) -> list[str]:
    tensors = getattr(model, "outputs", None) or []
    names = [tensor._keras_history.operation.name for tensor in tensors]
    return names if len(set(names)) == count else [f"output_{at}" for at in range(count)]
