"""What feeds a model's inputs: fields as they are, features of the preprocessor, text and images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from scorer.bundle.packing.compile import Compiled
from scorer.bundle.packing.images import ImageOptions
from scorer.errors import PackError
from scorer.infer import TensorSpec
from scorer.infer.fusing import Fused
from scorer.transform import Feed, Image, Matrix, Node, Raw
from scorer.transform.plan import Numbers

MATRICES = ("float32", "float64", "float16", "int32", "int64")
"""The dtypes of features."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to feed a model's inputs from.

    `fields` are the event's, and `texts` those of text or bytes; `inputs` is what `pack` was told (model input → names
    of transformers or fields), `fused` what text and images stand in front of the model, by its input. `columns` names
    a matrix of fields that no preprocessor makes.
    """

    fields: Collection[str]
    texts: Collection[str]
    compiled: Compiled | None
    columns: Sequence[str] | None
    inputs: Mapping[str, Sequence[str]]
    images: Mapping[str, ImageOptions]
    fused: Mapping[str, Fused]

    def feeds(self, tensors: Mapping[str, TensorSpec]) -> dict[str, Feed]:
        """Return what feeds each of the model's inputs.

        Raises PackError for an input that nothing can feed, and for what was named and feeds none.
        """
        if unknown := self.inputs.keys() - tensors.keys():
            raise PackError(f"inputs: the model has no input {sorted(unknown)}; it has {sorted(tensors)}")
        feeds = {name: self._feed(name, tensor, lone=len(tensors) == 1) for name, tensor in tensors.items()}
        if unseen := self.images.keys() - {feed.column for feed in feeds.values() if isinstance(feed, Image)}:
            raise PackError(
                f"image: no input of the model takes {sorted(unseen)}; it has {sorted(tensors)}, see inputs="
            )
        if self.compiled is not None and not any(isinstance(feed, Matrix) for feed in feeds.values()):
            raise PackError(f"model: none of its inputs {sorted(feeds)} takes the preprocessor's features; see inputs=")
        return feeds

    def shares(self, feeds: Mapping[str, Feed]) -> dict[str, list[int]]:
        """Return, per input that takes features of the preprocessor, which of its columns these are."""
        if self.compiled is None:
            return {}
        told = {
            name: self.compiled.outputs(names) for name, names in self.inputs.items() if self._are_transformers(names)
        }
        whole = list(range(len(self.compiled.features)))
        untold = {name: whole for name, feed in feeds.items() if isinstance(feed, Matrix) and name not in self.inputs}
        return told | untold

    def _are_transformers(self, names: Sequence[str]) -> bool:
        return self.compiled is not None and not set(names) - self.compiled.parts.keys()

    def _feed(self, name: str, tensor: TensorSpec, *, lone: bool) -> Feed:
        if name in self.fused:
            field, size = self.fused[name].field, self.fused[name].size
            return (
                self.images[field].feed(field, name, tensor, size)
                if field in self.images
                else _raw(name, tensor, field)
            )
        if name in self.inputs:
            return self._told(name, tensor, self.inputs[name])
        image = next(iter(self.images)) if lone and len(self.images) == 1 else name
        if image in self.images:
            return self.images[image].feed(image, name, tensor, None)
        node = self._node
        featureless = node is None or not lone or tensor.dtype in ("string", "bool")
        if name in self.fields and _takes_raw(tensor) and featureless:
            return _raw(name, tensor, name)
        for only in (self.columns if self.compiled is None else None, self.texts if tensor.dtype == "string" else None):
            if lone and only is not None and len(only) == 1 and _takes_raw(tensor):
                return _raw(name, tensor, next(iter(only)))
        return _matrix(name, tensor, node)

    def _told(self, name: str, tensor: TensorSpec, names: Sequence[str]) -> Feed:
        """Feed an input with what `inputs=` names: transformers, a field, or fields as a matrix."""
        if self.compiled is not None and self._are_transformers(names):
            return _matrix(name, tensor, self.compiled.part(names))
        if len(names) == 1 and names[0] in self.images:
            return self.images[names[0]].feed(names[0], name, tensor, None)
        if unknown := [field for field in names if field not in self.fields]:
            there = f"; its transformers are {sorted(self.compiled.parts)}" if self.compiled else ""
            raise PackError(
                f"inputs: {name!r} is to be fed by {unknown}, and no transformer or field has that name{there}, the "
                f"fields {sorted(self.fields)}"
            )
        if len(names) == 1 and _takes_raw(tensor):
            return _raw(name, tensor, names[0])
        return _matrix(name, tensor, Node(list(names), [Numbers()], list(names)))

    @property
    def _node(self) -> Node | None:
        if self.compiled is not None:
            return self.compiled.node
        return None if self.columns is None else Node(list(self.columns), [Numbers()], list(self.columns))


def _takes_raw(tensor: TensorSpec) -> bool:
    return len(tensor.shape) == 1 or (len(tensor.shape) == 2 and tensor.shape[1] in (None, 1))


def _raw(name: str, tensor: TensorSpec, field: str) -> Raw:
    if tensor.dtype not in (*MATRICES, "bool", "string"):
        raise PackError(f"model input {name!r} takes {tensor.dtype}; fields are {', '.join(MATRICES)}, bool or string")
    return Raw(field, cast(Any, tensor.dtype), 1 if len(tensor.shape) == 1 else 2)


def _matrix(name: str, tensor: TensorSpec, node: Node | None) -> Matrix:
    if node is None:
        raise PackError(
            f"model input {name!r} ({tensor.dtype}{tensor.shape}): no event field of this name to feed it, "
            "and no preprocessor; name the input after its field, or give columns=[…] or inputs={…}"
        )
    if len(tensor.shape) != 2 or tensor.shape[1] not in (None, len(node.features)):
        raise PackError(
            f"model input {name!r} takes {tensor.dtype}{tensor.shape}, the preprocessor gives "
            f"{len(node.features)} features: {', '.join(node.features[:8])}…"
        )
    if tensor.dtype not in MATRICES:
        raise PackError(f"model input {name!r} takes {tensor.dtype}; features are {', '.join(MATRICES)}")
    return Matrix(node, cast(Any, tensor.dtype))
