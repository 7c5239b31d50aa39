"""What feeds a model's inputs, and whether its output can be a score: the model's contract held against the events."""

from __future__ import annotations

from typing import Any, cast

from scorer.errors import PackError
from scorer.infer import TensorSpec
from scorer.transform import Feed, Matrix, Raw
from scorer.transform.plan import Node


def feed_for(name: str, tensor: TensorSpec, node: Node | None, *, raw: bool) -> Feed:
    """Return what feeds the model input `name`: the event's field of that name (`raw`), or a node's features.

    Raises PackError where the input's shape or dtype cannot take it.
    """
    width = tensor.shape[1] if len(tensor.shape) == 2 else None
    if raw and width in (None, 1):
        return Raw(name, cast(Any, tensor.dtype), 1 if len(tensor.shape) == 1 else 2)
    if node is None:
        raise PackError(
            f"model input {name!r} ({tensor.dtype}{tensor.shape}): no event field of this name to feed it, "
            "and no preprocessor; name the input after its field, or give columns=[…]"
        )
    if len(tensor.shape) != 2 or width not in (None, len(node.features)):
        raise PackError(
            f"model input {name!r} takes {tensor.dtype}{tensor.shape}, the preprocessor gives "
            f"{len(node.features)} features: {', '.join(node.features[:8])}…"
        )
    if tensor.dtype not in ("float32", "float64", "int32", "int64"):
        raise PackError(f"model input {name!r} takes {tensor.dtype}; features are float32, float64, int32 or int64")
    return Matrix(node, cast(Any, tensor.dtype))


def check_output(name: str, tensor: TensorSpec, positive_class: int | None) -> None:
    """Raise PackError unless the output `name` has one float an event, or a column for `positive_class`."""
    width = tensor.shape[1] if len(tensor.shape) == 2 else 1
    if len(tensor.shape) > 2 or not tensor.dtype.startswith("float"):
        raise PackError(f"model output {name!r} is {tensor.dtype}{tensor.shape}; a score is one float an event")
    if positive_class is None and width not in (1, None):
        raise PackError(f"model output {name!r} has {width} columns; say score='softmax' and positive_class=…")
    if positive_class is not None and not 0 <= positive_class < (width or positive_class + 1):
        raise PackError(f"model output {name!r} has {width} columns; positive_class {positive_class} is none of them")
