"""What `pack` takes, from files: example events with their labels, a fitted preprocessor, a mapping.

No file is trusted to name code: events are data, and a preprocessor is a skops file whose types are all known before
any object is made of it. Pickle and joblib are refused by name and by their first bytes.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import msgspec

from scorer.errors import PackError

Events: TypeAlias = Any
"""Example events as `pack` takes them: a list of dictionaries, or a DataFrame whose columns are paths."""

TRUSTED = (
    *("builtins.object", "numpy.number", "numpy.integer", "numpy.floating"),  # kinds that columns were selected by
    "numpy.dtype",  # an encoder's dtype, written out
    "sklearn.compose._column_transformer.make_column_selector",
)
"""Types beyond those that skops itself trusts (scikit-learn's estimators, ufuncs, arrays), all of them mere data."""

PICKLES = (".pkl", ".pickle", ".joblib", ".sav", ".dill")
SAVE_IT_SO = "in training, save it with: import skops.io; skops.io.dump(preprocessor, 'preprocessor.skops')"
INSTALL = "pip install 'scorer[pack]'"


def read_events(path: Path, schema: Mapping[str, Mapping[str, Any]] | None = None) -> Events:
    """Return the example events of a `.jsonl`, `.parquet` or `.csv` file (JSON lines and CSV also as `.gz`).

    In CSV an empty cell is null and nothing else is (`NA` is a country), and a column that `schema` calls a string
    is read as written, with its leading zeros. Structs of Parquet become paths (`card.country`).

    Raises PackError where the file is missing, empty, of another kind, or broken, with the line.
    """
    readers: dict[str, Callable[[], Events]] = {
        ".jsonl": lambda: list(_json_lines(path)),
        ".ndjson": lambda: list(_json_lines(path)),
        ".parquet": lambda: _parquet(path),
        ".csv": lambda: _csv(path, schema or {}),
    }
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    kind = "".join(suffixes[-2:-1] if packed else suffixes[-1:])
    if kind not in readers or (packed and kind == ".parquet"):
        raise PackError(f"{path}: which format is it? Example events come as .jsonl, .jsonl.gz, .parquet or .csv")
    if not path.is_file():
        raise PackError(f"{path}: no such file; give the path of the example events")
    try:
        events = readers[kind]()
    except ImportError as error:
        raise PackError(f"{path}: to read {kind}, install pandas and pyarrow: {INSTALL}") from error
    except (OSError, EOFError, ValueError) as error:  # gzip, pandas' and pyarrow's own errors are among these
        raise PackError(f"{path}: cannot be read as {kind}: {_first_line(error)}") from error
    if not len(events):
        raise PackError(f"{path}: holds no events; give at least one, better some thousands")
    return events


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            try:
                yield decode(line)
            except msgspec.MsgspecError as error:
                raise PackError(f"{path}:{number}: is no JSON object: {error}; one event a line") from error


def _parquet(path: Path) -> Events:
    import pyarrow.parquet
    import pyarrow.types

    table = pyarrow.parquet.ParquetFile(path).read()
    while any(pyarrow.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table.to_pandas()


def _csv(path: Path, schema: Mapping[str, Mapping[str, Any]]) -> Events:
    import pandas as pd

    texts = {name: str for name, said in schema.items() if said.get("type") in ("string", "str", "timestamp")}
    return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=cast(Any, texts))


def split_labels(events: Events, field: str) -> tuple[Events, list[int]]:
    """Return the events without a field (a path), and its values: 0 or 1 an event.

    Raises PackError where an event lacks it, or has something else in it.
    """
    if hasattr(events, "iloc"):
        if field not in events.columns:
            raise PackError(f"labels: no field {field!r} in the events; there are {sorted(map(str, events.columns))}")
        return events.drop(columns=[field]), [_label(raw, at) for at, raw in enumerate(events[field].tolist())]
    keys = field.split(".")
    parted = [_without(event, [field] if field in event else keys, at) for at, event in enumerate(events)]
    return [event for event, _ in parted], [_label(raw, at) for at, (_, raw) in enumerate(parted)]


def _without(event: Mapping[str, Any], keys: list[str], at: int) -> tuple[dict[str, Any], Any]:
    key, *inner = keys
    if key not in event or (inner and not isinstance(event[key], Mapping)):
        raise PackError(f"labels: event {at} has no field {key!r}; give every example a label, or leave them out")
    rest = {name: value for name, value in event.items() if name != key}
    if not inner:
        return rest, event[key]
    below, label = _without(event[key], inner, at)
    return rest | {key: below}, label


def _label(raw: Any, at: int) -> int:
    try:
        number = float(raw)
    except (TypeError, ValueError):
        number = -1.0
    if number not in (0.0, 1.0):
        raise PackError(f"labels: event {at} has {raw!r}; a label is 0 or 1 (1 being what the score finds)")
    return int(number)


def read_preprocessor(path: Path) -> Any:
    """Return the fitted scikit-learn object in a `.skops` file.

    Raises PackError for a pickle or joblib file, and for types that are not scikit-learn's, NumPy's or SciPy's own:
    both before anything in the file is made into an object.
    """
    if not path.is_file():
        raise PackError(f"{path}: no such file; give the path of the fitted preprocessor, a .skops file")
    if path.suffix.lower() in PICKLES or not zipfile.is_zipfile(path):
        pickled = path.suffix.lower() in PICKLES or path.read_bytes()[:1] == b"\x80"
        why = "is a pickle, which runs whatever code its writer put in it" if pickled else "is no skops file"
        raise PackError(f"{path}: {why}, and was not opened; {SAVE_IT_SO}")
    try:
        strangers = sorted(_strangers(path))
        found = None if strangers else _load(path)
    except ImportError as error:
        raise PackError(f"{path}: to read it, install skops: {INSTALL}") from error
    except Exception as error:  # a damaged or foreign file fails anywhere inside skops
        raise PackError(f"{path}: skops cannot read it: {_first_line(error)}; {SAVE_IT_SO}") from error
    if strangers:
        raise PackError(
            f"{path}: holds {', '.join(strangers)}, which is not scikit-learn's, NumPy's or SciPy's own data, and was "
            "not loaded; fit the preprocessor from scikit-learn's transformers alone"
        )
    return found


def _strangers(path: Path) -> set[str]:
    import skops.io

    return set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)


def _load(path: Path) -> Any:
    import skops.io

    return skops.io.load(path, trusted=list(TRUSTED))


def read_mapping(text: str, option: str) -> dict[str, Any]:
    """Return what an option holds: a mapping in JSON or YAML, written in place or in the file of that name.

    Raises PackError where it is neither.
    """
    inline = text.lstrip().startswith("{")
    try:
        document = text.encode() if inline else Path(text).read_bytes()
        found = msgspec.yaml.decode(document)  # JSON is YAML
    except OSError as error:
        raise PackError(f"{option} {text}: {error.strerror}; give a JSON or YAML file, or JSON in place") from error
    except msgspec.MsgspecError as error:
        raise PackError(f"{option} {text}: is neither JSON nor YAML: {_first_line(error)}") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise PackError(f"{option} {text}: is no mapping from names; write {{name: …}}")
    return found


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
