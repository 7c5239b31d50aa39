"""TensorFlow preprocessing put in front of a model: text layers and `tf.image` chains, fused into one signature.

What TensorFlow prepared in training, TensorFlow prepares in serving: parity by construction. The fused signature takes
raw strings of shape (n,) in the place of the inputs that they feed.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from scorer.errors import PackError
from scorer.infer.runtime import tensorflow

Call: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""A model as a function of its tensors by name, which gives tensors by name."""


@dataclass(frozen=True, slots=True)
class ImageChain:
    """`tf.io.decode_image` → `tf.image.resize` to (height, width) → x / divisor * factor + offset, in float32.

    Without `channels` those of the model's input count. Without `resize` all images must have the size that the model
    takes; where it takes any size, it is called for each image alone.
    """

    channels: int | None = None
    resize: tuple[int, int] | None = None
    method: str = "bilinear"
    divisor: float = 1.0
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Fused:
    """The field whose text or image feeds an input of the exported signature, and the size its images must have."""

    field: str
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Front:
    """What stands before the model input `target`; `alone` says that its rows differ in shape and cannot be stacked."""

    target: str
    apply: Callable[[Any], Any]
    resources: list[Any]
    fused: Fused
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A function to export: its tensors by name, the resources it needs, and which inputs take which raw field."""

    call: Call
    specs: dict[str, Any]
    resources: list[Any]
    fused: Mapping[str, Fused]


def fuse(
    call: Call,
    specs: Mapping[str, Any],
    *,
    text: Mapping[str, Any],
    images: Mapping[str, ImageChain],
    targets: Mapping[str, str],
) -> Endpoint:
    """Put the layers of `text` and the chains of `images` (both by field) in front of a model.

    A field feeds the model input that `targets` says, that of its own name, or the only one. An image for an input of
    strings is left to the model, which decodes it itself. Raises PackError where a field has no input to feed.
    """
    tf = tensorflow()
    fronts: dict[str, _Front] = {}
    for field in [*text, *images]:
        target = _target(field, list(specs), targets)
        if any(front.target == target for front in fronts.values()):
            raise PackError(f"model input {target!r}: fed by two fields, {field!r} among them; say which: inputs={{…}}")
        if field in text:
            fronts[tensor_name(field)] = _text_front(field, target, text[field], specs[target])
        elif specs[target].dtype != tf.string:
            fronts[tensor_name(field)] = _image_front(field, target, images[field], specs[target])
    served = {front.target for front in fronts.values()}
    outer = {name: spec for name, spec in specs.items() if name not in served}
    outer |= {name: tf.TensorSpec([None], tf.string, name=name) for name in fronts}

    def serve(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        inner = {name: tensor for name, tensor in tensors.items() if name not in fronts}
        return call(inner | {front.target: front.apply(tensors[name]) for name, front in fronts.items()})

    alone = any(front.alone for front in fronts.values())
    resources = [resource for front in fronts.values() for resource in front.resources]
    fused = {name: front.fused for name, front in fronts.items()}
    return Endpoint(_one_by_one(serve, outer) if alone else serve, outer, resources, fused)


def _target(field: str, inputs: list[str], targets: Mapping[str, str]) -> str:
    target = targets.get(field, field if field in inputs or len(inputs) > 1 else inputs[0])
    if target not in inputs:
        raise PackError(
            f"field {field!r}: the model has no input of this name, it has {inputs}; "
            f"say which one it feeds: inputs={{…: {field!r}}}"
        )
    return target


def tensor_name(field: str) -> str:
    """Return a field's name as TensorFlow can have it: a path's dots become underscores."""
    name = re.sub(r"\W", "_", field, flags=re.ASCII).lstrip("_")
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"input_{name}"


def _text_front(field: str, target: str, layer: Any, spec: Any) -> _Front:
    tf = tensorflow()
    if not callable(layer):
        raise PackError(f"text {field!r}: a {type(layer).__name__}; give the TextVectorization (or layer) of training")
    layer(tf.constant([""]))  # an adapted layer that was never called is not built, and is refused
    return _Front(target, lambda texts: tf.cast(layer(texts), spec.dtype), [layer], Fused(field))


def _image_front(field: str, target: str, chain: ImageChain, spec: Any) -> _Front:
    tf = tensorflow()
    height, width, channels = _image_shape(field, target, chain, spec)
    # As constants, grappler would fold them: x / 255 into x * (1 / 255), whose last bits are not training's.
    scaling = [tf.Variable(value, trainable=False) for value in (chain.divisor, chain.factor, chain.offset)]

    def prepared(data: Any) -> Any:
        image = tf.io.decode_image(data, channels, expand_animations=False)
        image.set_shape([None, None, channels])
        if chain.resize is not None:
            image = tf.image.resize(image, chain.resize, method=chain.method)
        image = tf.cast(image, tf.float32)
        image = image / scaling[0] if chain.divisor != 1.0 else image
        image = image * scaling[1] if chain.factor != 1.0 else image
        image = image + scaling[2] if chain.offset else image
        return tf.cast(tf.ensure_shape(image, [height, width, channels]), spec.dtype)

    if height is None or width is None:
        return _Front(target, lambda data: prepared(data[0])[None], scaling, Fused(field), alone=True)
    one = tf.TensorSpec([height, width, channels], spec.dtype)
    size = None if chain.resize else (height, width)
    return _Front(target, lambda data: tf.map_fn(prepared, data, fn_output_signature=one), scaling, Fused(field, size))


def _image_shape(field: str, target: str, chain: ImageChain, spec: Any) -> tuple[int | None, int | None, int]:
    """Return the height, width and channels that the model gets."""
    if spec.shape.rank != 4 or not (spec.dtype.is_floating or spec.dtype.is_integer):
        raise PackError(
            f"image {field!r}: model input {target!r} takes {spec.dtype.name}{spec.shape.as_list()}, and a "
            "TensorFlow chain gives (n, height, width, channels)"
        )
    takes = spec.shape.as_list()[1:]
    gives = [*(chain.resize or takes[:2]), chain.channels or takes[2] or 3]
    if any(want not in (None, given) for want, given in zip(takes, gives, strict=True)):
        raise PackError(f"image {field!r}: its chain gives {gives}, model input {target!r} takes {takes} an image")
    return gives[0], gives[1], gives[2]


def _one_by_one(serve: Call, specs: Mapping[str, Any]) -> Call:
    """Return `serve` called for each row of a batch alone: images of several sizes cannot be stacked."""
    tf = tensorflow()
    single = {name: tf.TensorSpec([1, *spec.shape[1:]], spec.dtype, name=name) for name, spec in specs.items()}
    traced = tf.function(lambda **tensors: dict(serve(tensors))).get_concrete_function(**single).structured_outputs
    outputs = {name: tf.TensorSpec(tensor.shape[1:], tensor.dtype) for name, tensor in traced.items()}

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
        result = serve({name: tensor[None] for name, tensor in row.items()})
        return {name: tensor[0] for name, tensor in result.items()}

    return lambda tensors: dict(tf.map_fn(one, dict(tensors), fn_output_signature=outputs))
