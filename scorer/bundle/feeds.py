"""Whether plan, model and events agree: on what feeds each input, and on whether an output can be a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from scorer.decode import EventSchema, FieldType
from scorer.errors import BundleError, PackError
from scorer.infer import TensorSpec
from scorer.transform import Feed, Image, Matrix, Plan, Raw, Transform


def consistent(plan: Plan, tensors: Mapping[str, TensorSpec], schema: EventSchema, where: Path) -> Transform:
    """Return the plan made ready, if it agrees with itself, the model's inputs and the events' fields.

    Raises BundleError, naming the bundle at `where`, if not.
    """
    try:
        transform = Transform(plan)
        check_plan(plan.inputs, tensors, schema)
    except BundleError as error:
        raise BundleError(f"{where}: {error}") from error
    read = {*transform.fields, schema.event_id, schema.event_time} - {None}
    if unknown := read - schema.fields.keys():
        raise BundleError(f"{where}: reads fields that its events lack: {sorted(map(str, unknown))}; pack anew")
    return transform


def check_plan(feeds: Mapping[str, Feed], tensors: Mapping[str, TensorSpec], schema: EventSchema) -> None:
    """Hold the plan against the model's inputs and the events' fields, when packed and when loaded.

    Raises BundleError that says which input differs, in its name, its dtype, its shape, or the type of its field.
    """
    for name in feeds.keys() ^ tensors.keys():
        raise BundleError(
            f"model input {name!r}: {'nothing feeds it' if name in tensors else 'the model has none of this name'}; "
            f"the plan feeds {sorted(feeds)}, the model takes {sorted(tensors)}"
        )
    for name, feed in feeds.items():
        shape = _shape(feed)
        if feed.dtype != tensors[name].dtype or not _agree([None, *shape], tensors[name].shape):
            raise BundleError(
                f"model input {name!r}: the plan gives {feed.dtype}{[None, *shape]}, "
                f"the model takes {tensors[name].dtype}{tensors[name].shape}"
            )
        if not isinstance(feed, Matrix):
            _check_field(name, feed, schema)


def _shape(feed: Feed) -> list[int | None]:
    match feed:
        case Matrix():
            return [len(feed.node.features)]
        case Raw():
            return [1] * (feed.rank - 1)
        case Image():
            return [*feed.shape]


def _check_field(name: str, feed: Raw | Image, schema: EventSchema) -> None:
    field = schema.fields.get(feed.column)
    if field is None:
        raise BundleError(f"model input {name!r}: it is fed by {feed.column!r}, which the events' schema lacks")
    holds_text = field.type in (FieldType.STRING, FieldType.BYTES)
    wrong = field.type is not FieldType.BYTES if isinstance(feed, Image) else holds_text != (feed.dtype == "string")
    if wrong:
        raise BundleError(
            f"model input {name!r} takes {'an image' if isinstance(feed, Image) else feed.dtype}, "
            f"the field {feed.column!r} is {field.type}"
        )


def check_output(name: str, tensor: TensorSpec, positive_class: int | None) -> None:
    """Raise PackError unless the output `name` has one float an event, or a column for `positive_class`."""
    width = tensor.shape[1] if len(tensor.shape) == 2 else 1
    if len(tensor.shape) not in (1, 2) or not tensor.dtype.startswith("float"):
        raise PackError(f"model output {name!r} is {tensor.dtype}{tensor.shape}; a score is one float an event")
    if positive_class is None and width not in (1, None):
        raise PackError(
            f"model output {name!r} has {width} columns; say score='softmax' and positive_class=…, "
            "or score='reconstruction_error' for an autoencoder"
        )
    if positive_class is not None and not 0 <= positive_class < (width or positive_class + 1):
        raise PackError(f"model output {name!r} has {width} columns; positive_class {positive_class} is none of them")


def reconstructed(name: str, tensor: TensorSpec, inputs: Mapping[str, TensorSpec]) -> str | None:
    """Return which input the output `name` of an autoencoder reconstructs: the one float input of its shape.

    None, where the output is one float an event already, the error itself. Raises PackError where no input has that
    shape, or several have.
    """
    shape = tensor.shape
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        check_output(name, tensor, None)
        return None
    if not tensor.dtype.startswith("float"):
        raise PackError(f"model output {name!r} is {tensor.dtype}{shape}; a reconstruction is of floats")
    floats = {key: spec for key, spec in inputs.items() if spec.dtype.startswith("float")}
    fitting = [key for key, spec in floats.items() if _agree(shape, spec.shape)]
    if len(fitting) != 1:
        there = ", ".join(f"{key} {spec.shape}" for key, spec in floats.items()) or "none"
        raise PackError(
            f"model output {name!r} {shape} is to be compared with the features that it reconstructs: "
            f"{'no' if not fitting else 'more than one'} float input has that shape; there are: {there}. "
            "Compute the error in the model, one float an event, or give it the features as one matrix"
        )
    return fitting[0]


def _agree(left: Sequence[int | None], right: Sequence[int | None]) -> bool:
    """Return whether two shapes can be the same, None being any size."""
    pairs = zip(left, right, strict=False)
    return len(left) == len(right) and all(one is None or other is None or one == other for one, other in pairs)
