"""What a SavedModel may do, decided by reading it, before any library that could run it has opened it.

A SavedModel is a program. Allowed are the ops of `ops.txt`, which only compute; all others are refused, those that
nobody has written yet too. Looked at is every node of the graph and of every function in its library, reached or not:
branches, loop bodies, gradients and initializers are functions there. Ops that carry graphs as text or in tensors
(datasets, remote calls) are not on the list, so there is no graph that is not looked at.
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from scorer.errors import BundleError
from scorer.infer.reach import SAVERS, Body, Graphs, assets, check_reach
from scorer.infer.runtime import tensorflow

WHY = (
    (r"PyFunc", "runs Python code of the process that loads it"),
    (r"^(Save|Write[FR]|MergeV2|Dump|DistributedSave|.*DatasetToTFRecord|CalibrationStatisticsSaver)", "writes files"),
    (r"^Print", "prints, and may print into a file"),
    (r"Summary(File|Db)?Writer|^Write\w*Summary|ImportEvent", "writes event files"),
    (r"^(Debug|Copy|CheckPinned)", "sends tensors to a debugger, a file or another machine"),
    (
        r"^(ReadFile|WholeFile|MatchingFiles|Restore|LoadAndRemap|GenerateVocab|ImmutableConst|FixedUnigram)",
        "reads files",
    ),
    (r"Reader|RecordInput|DecodeProto|EncodeProto", "reads files"),
    (r"Dataset|Iterator", "runs a data pipeline, which reads files and carries graphs of its own"),
    (r"^(FileSystem|Abort|Shutdown|Configure)", "changes or ends the process that loads it"),
    (r"Rpc|Remote|Send|Recv|Collective|Nccl|TPU|Tpu|DTensor|Infeed|Outfeed|WorkerHeartbeat", "talks to other machines"),
    (r"^XlaCustomCall|^XlaCallModule", "calls native code by name"),
    (r"Queue|Barrier|Mutex|Stage|Accumulator|Sleep|^(Batch|BatchFunction|Unbatch)$", "may wait for ever"),
    (r"SymbolicGradient", "calls functions that the graph does not name"),
)
"""Why an op is refused, by its name; what matches none is not on the list, which is reason enough."""

STRANGERS = ("saved_model.pbtxt", "saved_model.cpb")
"""Other spellings of the graph, which some loaders take instead of the one that was looked at."""


def check_saved_model(directory: Path) -> None:
    """Read a SavedModel as data and refuse what could do anything but compute.

    Raises BundleError naming the op, its node and function, and what it does: an op that is not on the list; a
    function that is called and not there; saving and restoring outside the saver's own functions; a vocabulary that
    is no asset of the model; a symlink, an asset path out of the directory, a file that does not parse.
    """
    _check_files(directory)
    meta = _read(directory / "saved_model.pb")
    graphs = _graphs(directory, meta)
    for body in graphs.bodies:
        _check_body(directory, body, graphs)
    check_reach(directory, meta, graphs)


@functools.cache
def allowed() -> frozenset[str]:
    """Return the ops on the list."""
    lines = resources.files("scorer.infer").joinpath("ops.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _check_files(directory: Path) -> None:
    """Look at the names only: a symlink may lead to a file that no digest covers."""
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise BundleError(f"{path}: a symlink or special file; a SavedModel holds plain files, copy it in")
    for name in STRANGERS:
        if (directory / name).exists():
            raise BundleError(f"{directory / name}: only saved_model.pb is read; save the model as that, in one piece")


def _read(path: Path) -> Any:
    """Return the one meta graph of a SavedModel; its protobuf classes parse and run nothing."""
    tensorflow()  # first, and quietly
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        saved = SavedModel.FromString(path.read_bytes())
        if len(saved.meta_graphs) != 1:
            raise BundleError(f"{path}: {len(saved.meta_graphs)} meta graphs; export the serving one alone")
        _check_assets(path.parent, saved.meta_graphs[0])
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; without it the directory is not a SavedModel") from error
    except DecodeError as error:
        raise BundleError(f"{path}: not a SavedModel's graph, or a damaged one ({error}); export it again") from error
    return saved.meta_graphs[0]


def _check_assets(directory: Path, meta: Any) -> None:
    for asset in assets(meta):
        parts = PurePosixPath(asset.filename).parts
        if not parts or ".." in parts or parts[0] == "/" or "\\" in asset.filename or "://" in asset.filename:
            raise BundleError(f"{directory}: asset {asset.filename!r} leads out of the model; refused, nothing was run")
        if not (directory / "assets" / asset.filename).is_file():
            raise BundleError(f"{directory / 'assets' / asset.filename}: missing, the model reads it; export it again")


def _graphs(directory: Path, meta: Any) -> Graphs:
    library = meta.graph_def.library.function
    names = Counter(function.signature.name for function in library)
    for name, times in names.items():
        if times > 1 or name in allowed() or hasattr(tensorflow().raw_ops, name):
            raise BundleError(f"{directory}: function {name!r} has the name of an op or of another function; refused")
    known = frozenset(names)
    main = _body(directory, "", meta.graph_def.node, [], known)
    bodies = [
        _body(directory, function.signature.name, function.node_def, function.signature.input_arg, known)
        for function in library
    ]
    return Graphs(main, {body.name: body for body in bodies})


def _body(directory: Path, name: str, nodes: Any, arguments: Any, functions: frozenset[str]) -> Body:
    named, calls = {node.name: node for node in nodes}, {}
    if len(named) != len(nodes):
        raise BundleError(f"{directory}: {name or 'its graph'} has two nodes of one name; refused")
    for node in nodes:
        if called := frozenset(_functions(node.attr)) | (functions & {node.op}):
            calls[node.name] = called
    positions = {argument.name: at for at, argument in enumerate(arguments)}
    return Body(name, named, frozenset(node.op for node in nodes), positions, calls)


def _functions(attributes: Any) -> Iterator[str]:
    """Yield the functions that attributes name, at any depth: branches and bodies, one or a list of them."""
    for value in attributes.values():
        kind = value.WhichOneof("value")
        found = [value.func] if kind == "func" else value.list.func if kind == "list" else ()
        for function in found:
            yield function.name
            yield from _functions(function.attr)


def _check_body(directory: Path, body: Body, graphs: Graphs) -> None:
    handles = {tensorflow().resource.as_datatype_enum, tensorflow().variant.as_datatype_enum}
    refused = body.ops - allowed() - SAVERS - graphs.functions.keys()
    for node in body.nodes.values():
        if node.op in refused:
            at = f"(node {node.name!r}, {body.where})"
            raise BundleError(f"{directory}: op {node.op} {at} {_reason(node.op)}; refused, nothing was run")
        if node.op == "Const" and node.attr["dtype"].type in handles:
            raise BundleError(f"{directory}: node {node.name!r} ({body.where}) is a constant handle; refused")
    for name, called in body.calls.items():
        if missing := sorted(called - graphs.functions.keys()):
            at = f"node {name!r} ({body.where})"
            raise BundleError(f"{directory}: {at} calls function {missing[0]!r}, which is not there; refused")


def _reason(op: str) -> str:
    for pattern, reason in WHY:
        if re.search(pattern, op):
            return f"{reason}, and is not on the list of ops that only compute"
    if not hasattr(tensorflow().raw_ops, op):
        return "is none of TensorFlow's: native code of somebody else"
    return "is not on the list of ops that only compute"
