"""Which parts of a SavedModel may touch files: its saver, and tables of words that are its assets.

Every SavedModel holds ops that save and restore its variables. They are harmless where nobody calls them: TensorFlow
restores a model by its own code, or by the saver's restore op with the model's own path. So nothing that runs at load
or in a call may reach them; and the name of every file that is read must come, untouched, from where the loader puts
the path of an asset (or of the variables), not from text in the graph or in an event.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scorer.errors import BundleError

WRITERS = frozenset({"SaveV2", "MergeV2Checkpoints"})
SAVERS = WRITERS | {"RestoreV2"}
FILENAME = {"InitializeTableFromTextFile": 1, "InitializeTableFromTextFileV2": 1, "RestoreV2": 0}
"""Ops that read a file, and which of their inputs names it."""


@dataclass(frozen=True, slots=True)
class Body:
    """The nodes of a function, or of the graph itself, whose name is empty; `calls` are functions by node."""

    name: str
    nodes: Mapping[str, Any]
    ops: frozenset[str]
    arguments: Mapping[str, int]
    calls: Mapping[str, frozenset[str]]

    @property
    def where(self) -> str:
        """Say where a node is."""
        return f"function {self.name!r}" if self.name else "the main graph"

    def origin(self, node: Any, index: int, known: Collection[str]) -> str | None:
        """Follow a data input back through Identity to one of the `known` tensors; None where it ends elsewhere."""
        for _ in range(len(self.nodes) + 1):  # a circle of Identity nodes ends too
            inputs = [name for name in node.input if not name.startswith("^")]
            if index >= len(inputs):
                return None
            tensor = inputs[index] if self.name or ":" in inputs[index] else f"{inputs[index]}:0"
            if tensor in known:
                return tensor
            node, index = self.nodes.get(node_of(tensor)), 0
            if node is None or node.op != "Identity":
                return None
        return None


@dataclass(frozen=True, slots=True)
class Graphs:
    """A SavedModel's graph and its functions by name; `sites` are the nodes that call a function."""

    main: Body
    functions: Mapping[str, Body]
    sites: Mapping[str, list[tuple[Body, Any]]] = field(init=False)

    def __post_init__(self) -> None:
        sites: dict[str, list[tuple[Body, Any]]] = {}
        for body in self.bodies:
            for name, called in body.calls.items():
                for function in called:
                    sites.setdefault(function, []).append((body, body.nodes[name]))
        object.__setattr__(self, "sites", sites)

    @property
    def bodies(self) -> tuple[Body, ...]:
        """Return the graph and the functions."""
        return (self.main, *self.functions.values())

    def reaching(self, ops: Collection[str], gradients: Mapping[str, str]) -> frozenset[str]:
        """Return the functions that hold one of `ops`, or call one that does, or whose gradient does."""
        callers = {function: {body.name for body, _ in sites if body.name} for function, sites in self.sites.items()}
        for function, gradient in gradients.items():
            callers.setdefault(gradient, set()).add(function)
        holding = [body.name for body in self.functions.values() if not body.ops.isdisjoint(ops)]
        return _closure(holding, callers)

    def after(self, ops: Collection[str], functions: Collection[str]) -> frozenset[str]:
        """Return the main graph's nodes that cannot run without one of `ops` or `functions` running before."""
        nodes, calls = self.main.nodes, self.main.calls
        consumers: dict[str, set[str]] = {}
        for node in nodes.values():
            for name in node.input:
                consumers.setdefault(node_of(name), set()).add(node.name)
        first = [name for name, called in calls.items() if not called.isdisjoint(functions)]
        return _closure([*first, *(node.name for node in nodes.values() if node.op in ops)], consumers)


def check_reach(directory: Path, meta: Any, graphs: Graphs) -> None:
    """Raise BundleError where what runs at load or in a call reaches the saver, or reads a file that is no asset."""
    gradients = {entry.function_name: entry.gradient_func for entry in meta.graph_def.library.gradient}
    saving, writing, reading = (graphs.reaching(ops, gradients) for ops in (SAVERS, WRITERS, FILENAME))
    if called := sorted(saving & set(_entries(meta))):
        raise BundleError(
            f"{directory}: function {called[0]!r} saves or restores files: the saver's alone may; refused"
        )
    if run := sorted(graphs.after(SAVERS, saving) & {node_of(name) for name in _run(meta)}):
        raise BundleError(f"{directory}: node {run[0]!r} saves or restores files: the saver's alone may; refused")
    restore = meta.saver_def.restore_op_name
    if node_of(restore) in graphs.after(WRITERS, writing):
        raise BundleError(f"{directory}: restoring the model (node {restore!r}) would write files; refused")
    for op in FILENAME:
        _check_filenames(directory, op, meta, graphs)
    after = graphs.after(FILENAME, reading)
    for name, signature in meta.signature_def.items():
        if signature.inputs and not after.isdisjoint(map(node_of, _tensors(signature.outputs))):
            raise BundleError(f"{directory}: signature {name!r} reads a file in every call; refused")


def _entries(meta: Any) -> Iterator[str]:
    """Yield the functions that can be called from outside the graph: by an object, as a gradient or a stand-in."""
    objects = meta.object_graph_def
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name
        yield node.captured_tensor.concrete_function
    yield from (entry.gradient_func for entry in meta.graph_def.library.registered_gradients)
    for function in meta.graph_def.library.function:
        if "api_implements" in function.attr:  # TensorFlow swaps such a function for another that implements the same
            yield function.signature.name


def _run(meta: Any) -> Iterator[str]:
    """Yield the main graph's tensors and nodes that run at load or in a call, or that a collection may have run."""
    yield meta.saver_def.filename_tensor_name
    for signature in meta.signature_def.values():
        yield from _tensors(signature.inputs)
        yield from _tensors(signature.outputs)
    for collection in meta.collection_def.values():
        yield from collection.node_list.value
        for value in collection.bytes_list.value:
            yield from _variable(value)


def _tensors(named: Mapping[str, Any]) -> Iterator[str]:
    for tensor in named.values():
        parts = tensor.coo_sparse
        yield from (tensor.name, parts.values_tensor_name, parts.indices_tensor_name, parts.dense_shape_tensor_name)
        yield from (component.name for component in tensor.composite_tensor.components)


def _variable(value: bytes) -> Iterator[str]:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.framework.variable_pb2 import VariableDef

    with contextlib.suppress(DecodeError):  # collections hold other things too
        variable = VariableDef.FromString(value)
        yield from (variable.variable_name, variable.initializer_name, variable.snapshot_name)
        yield variable.initial_value_name


def _check_filenames(directory: Path, op: str, meta: Any, graphs: Graphs) -> None:
    """Follow the file name of every `op` back to the path that the loader gives, through the functions' arguments."""
    restores = op == "RestoreV2"
    given = {meta.saver_def.filename_tensor_name} if restores else {asset.tensor_info.name for asset in assets(meta)}
    todo = [(body, node, FILENAME[op]) for body in graphs.bodies for node in body.nodes.values() if node.op == op]
    runs = _before(graphs.main, meta.saver_def.restore_op_name) if restores else graphs.main.nodes.keys()
    seen: set[tuple[str, str, int]] = set()
    while todo:
        body, node, index = todo.pop()
        if (body.name, node.name, index) in seen or (body is graphs.main and _idle(meta, node, runs)):
            continue
        seen.add((body.name, node.name, index))
        origin = body.origin(node, index, body.arguments if body.name else given)
        if origin is None:
            at = f"node {node.name!r}, {body.where}"
            raise BundleError(f"{directory}: op {op} ({at}) reads a file that is no asset of the model; refused")
        if body.name:
            _check_bound(directory, op, body, body.arguments[origin], meta)
            todo.extend(_calls(directory, op, body, body.arguments[origin], graphs))


def _idle(meta: Any, node: Any, runs: Collection[str]) -> bool:
    """Say whether a node of the main graph never runs: with an object graph TensorFlow takes its functions only."""
    return meta.HasField("object_graph_def") or node.name not in runs


def _calls(directory: Path, op: str, callee: Body, index: int, graphs: Graphs) -> Iterator[tuple[Body, Any, int]]:
    """Yield the nodes that call a function, with the input that becomes its argument `index`."""
    for body, node in graphs.sites.get(callee.name, ()):
        plain = node.op in ("PartitionedCall", "StatefulPartitionedCall")
        if node.op != callee.name and not (plain and node.attr["f"].func.name == callee.name):
            raise BundleError(
                f"{directory}: {callee.where} reads a file by {op}, and is called by a {node.op} "
                f"(node {node.name!r}, {body.where}): only a plain call may; refused"
            )
        yield body, node, index


def _check_bound(directory: Path, op: str, body: Body, index: int, meta: Any) -> None:
    """Where the object graph gives a function its arguments, the file's name must be an asset among them."""
    objects = meta.object_graph_def
    if body.name not in objects.concrete_functions:
        return
    bound = objects.concrete_functions[body.name].bound_inputs
    at = index - (len(body.arguments) - len(bound))
    if at < 0 or bound[at] >= len(objects.nodes) or objects.nodes[bound[at]].WhichOneof("kind") != "asset":
        raise BundleError(f"{directory}: {body.where} reads by {op} a file that is not an asset of the model; refused")


def _before(body: Body, name: str) -> frozenset[str]:
    """Return the nodes that run when one of them does."""
    inputs = {node.name: {node_of(reference) for reference in node.input} for node in body.nodes.values()}
    return _closure([node_of(name)], inputs)


def _closure(start: Iterable[str], edges: Mapping[str, Iterable[str]]) -> frozenset[str]:
    found, todo = set(), list(start)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(edges.get(name, ()))
    return frozenset(found)


def assets(meta: Any) -> list[Any]:
    """Return the asset entries that TensorFlow feeds: those of the collection only where the newer field is empty."""
    from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef

    if meta.asset_file_def or "saved_model_assets" not in meta.collection_def:
        return list(meta.asset_file_def)
    return [AssetFileDef.FromString(entry.value) for entry in meta.collection_def["saved_model_assets"].any_list.value]


def node_of(tensor: str) -> str:
    """Return the node of a tensor's name (`node:0`), of a control input (`^node`) or of a collection's entry."""
    return tensor.removeprefix("^").split(":")[0]
