"""Files that hold models: which are refused by their name, and how a `.keras` file is opened.

A `.keras` file is a zip of a description (`config.json`) and weights. The description may ask for code: a Lambda holds
marshalled Python, a TFSMLayer loads another SavedModel, a function's name is looked up in a module. Keras refuses some
of that in safe mode. Here the description is read first, as JSON, and only Keras' own layers, activations,
initializers and the like may be in it.
"""

from __future__ import annotations

import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from scorer.errors import PackError
from scorer.infer.runtime import tensorflow

PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle"})
HDF5 = frozenset({".h5", ".hdf5", ".hdf"})

CONFIG = "config.json"
ENTRIES = re.compile(r"(?:config\.json|metadata\.json|[\w.-]+\.weights\.(?:h5|json)|assets/.*)")
MOST_ENTRIES, MOST_CONFIG, MOST_BYTES, BLOWN_UP = 10_000, 64 << 20, 8 << 30, 100
"""A description of 64 MiB names a million words; 8 GiB are two thousand million weights; Keras packs 1:1."""

RUNS = {
    "Lambda": "holds Python code",
    "__lambda__": "holds Python code",
    "TFSMLayer": "loads another SavedModel from a path",
    "TorchModuleWrapper": "holds a pickled Torch module",
    "JaxLayer": "holds a function",
    "FlaxLayer": "holds a function",
}
VALUES = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__"}
)
"""What Keras writes for values that JSON has no form for: numbers and text."""
FUNCTIONS = frozenset(
    {"builtins", *(f"keras.{name}" for name in ("activations", "initializers", "losses", "metrics", "ops"))}
)
"""Where functions come from; those of `keras.utils`, `keras.saving` and `keras.models` read and write files."""
CLASSES = re.compile(
    r"keras|keras\.(activations|constraints|dtype_policies|initializers|layers|losses|metrics|models|optimizers|"
    r"quantizers|random|regularizers)|keras\.src\.(activations|dtype_policies|layers|models|ops|quantizers)(\.\w+)*"
)
"""Where classes come from; one that Keras does not export (Functional) is saved under the module that defines it."""
IN_MEMORY = "load it where its code is, and give `pack` the model itself or a SavedModel exported from it"
PATHS = frozenset({"vocabulary", "idf_weights"})
"""Settings that are lists of words or numbers, and where they are text, the path of a file to read."""


def why_refused(path: Path) -> str | None:
    """Say why a file is refused by its name, and what to do instead; None where its name is no reason.

    Pickles (of models, scalers or anything) and HDF5 models run code when they are opened.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        return (
            f"{path}: a pickle runs code when it is opened, so it is refused unread; "
            "give the fitted object itself, or save it with skops (`skops.io.dump(object, 'file.skops')`)"
        )
    if suffix in HDF5:
        return (
            f"{path}: an HDF5 model may hold Python code, so it is refused unread; "
            "load it where it was trained and save it as .keras (`model.save('model.keras')`) or a SavedModel"
        )
    return None


def load_keras(path: Path) -> Any:
    """Open a `.keras` file and return its model, not compiled; nothing of the file is run.

    Raises PackError where the file's kind runs code (`why_refused`), where it is no `.keras` archive, and where its
    description holds anything but Keras' own layers: the line names the layer and the reason.
    """
    if reason := why_refused(path):
        raise PackError(reason)
    description = _description(path)
    for at, found in _dictionaries(description):
        _check(path, at, found)
    tf = tensorflow()
    from keras.src.saving.serialization_lib import SafeModeScope

    try:
        with SafeModeScope(True):  # `keras.config.enable_unsafe_deserialization()` overrules the argument, not this
            return tf.keras.models.load_model(path, safe_mode=True, compile=False)
    except Exception as error:  # Keras raises what its layers raise
        said = " ".join(str(error).split())[:300]
        raise PackError(f"{path}: Keras {tf.keras.__version__} does not load it: {said}") from error


def _description(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive.infolist())
            description = json.loads(archive.read(CONFIG))
    except OSError as error:
        raise PackError(f"{path}: {error.strerror}; is the path right?") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise PackError(f"{path}: a .keras file is a zip archive, and this is none or damaged: {error}") from error
    except (ValueError, RuntimeError) as error:  # no JSON, nested too deep, encrypted, packed in an unknown way
        raise PackError(f"{path}: its {CONFIG} cannot be read ({error}); save the model again") from error
    if not isinstance(description, dict):
        raise PackError(f"{path}: its {CONFIG} describes no model; save the model again")
    return description | {"compile_config": None}  # a loss or metric of one's own is not loaded


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if CONFIG not in names:
        raise PackError(f"{path}: a .keras file holds a {CONFIG}, and this does not; save it with `model.save`")
    if len(names) > MOST_ENTRIES or len(set(names)) != len(names):
        raise PackError(f"{path}: {len(names)} entries, or two of one name; refused")
    for entry in entries:
        name, parts = entry.filename, PurePosixPath(entry.filename).parts
        if ".." in parts or name.startswith("/") or "\\" in name or stat.S_ISLNK(entry.external_attr >> 16):
            raise PackError(f"{path}: entry {name!r} leads out of the archive; refused")
        if reason := why_refused(Path(name)) if name.startswith("assets/") else None:
            raise PackError(f"{path}: entry {reason}")
        if not ENTRIES.fullmatch(name):
            raise PackError(f"{path}: entry {name!r} is no part of a .keras file; save the model again")
        if entry.file_size > MOST_CONFIG and (name == CONFIG or entry.file_size > BLOWN_UP * entry.compress_size):
            raise PackError(f"{path}: entry {name!r} would unpack to {entry.file_size:,} bytes; refused")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise PackError(f"{path}: would unpack to more than {MOST_BYTES:,} bytes; refused")


def _dictionaries(description: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every dictionary of the description and where it is, from the outside in."""
    todo = [("", description)]
    while todo:
        at, value = todo.pop()
        if isinstance(value, dict):
            yield at.lstrip("."), value
            todo.extend((f"{at}.{key}", inner) for key, inner in value.items())
        elif isinstance(value, list):
            todo.extend((f"{at}[{index}]", inner) for index, inner in enumerate(value))


def _check(path: Path, at: str, found: dict[str, Any]) -> None:
    """Refuse a dictionary that stands for anything but a value, a class or a function of Keras' own."""
    for key in PATHS & found.keys():
        if isinstance(found[key], str):
            raise PackError(
                f"{path}: {key} at {at} is a path, {found[key]!r}, that would be read; save the words instead"
            )
    if "class_name" not in found and "registered_name" not in found:
        return
    kind, config, module = found.get("class_name"), found.get("config"), found.get("module")
    name = config.get("name") if isinstance(config, dict) else config
    layer = f"{path}: {kind} {name!r} (at {at or 'the top'})"
    if kind in RUNS:
        raise PackError(
            f"{layer} {RUNS[kind]}; refused, nothing was run. Build the model from Keras' own layers, "
            "or export it where it was trained (`model.export(directory)`) and pack that SavedModel"
        )
    if kind in VALUES:
        return
    if found.get("registered_name") not in (None, kind, config if kind == "function" else None):
        raise PackError(f"{layer} is registered as {found['registered_name']!r}, not Keras' own; {IN_MEMORY}")
    known = module in FUNCTIONS if kind == "function" else _own_class(kind, module)
    if not known:
        raise PackError(f"{layer} is from {module!r}, which is not where Keras' layers are; {IN_MEMORY}")


def _own_class(kind: Any, module: Any) -> bool:
    return isinstance(kind, str) and kind[:1].isupper() and isinstance(module, str) and bool(CLASSES.fullmatch(module))
