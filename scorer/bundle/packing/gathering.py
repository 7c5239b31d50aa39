"""Example events from wherever training has them → columns of values, by path; nothing is judged here.

Taken are dictionaries (nested or with dotted keys; a list or any iterable), a pandas DataFrame whose column names are
paths, a pyarrow Table or RecordBatch, a `tf.data.Dataset`, and an array of shape (n, k) whose columns are named. Of
what need not end, a generator or a dataset, the first 100,000 events are taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.errors import PackError

MOST_EVENTS = 100_000


@dataclass(frozen=True, slots=True)
class Gathered:
    """Columns by path with `count` values each, as they came; `labels` are those of a dataset's (features, label)."""

    columns: Mapping[str, Sequence[Any]]
    count: int
    labels: Sequence[int] | None = None


def gather(events: Any, names: Sequence[str] | None) -> Gathered:
    """Return the events' columns; `names` are those of a matrix, in order.

    Raises PackError for what holds no events, and for elements of a dataset that are no events.
    """
    if hasattr(events, "columns") and hasattr(events, "iloc"):
        return Gathered({str(name): list(events[name]) for name in events.columns}, len(events))
    if hasattr(events, "as_numpy_iterator"):
        return _of_dataset(events, names)
    if isinstance(events, np.ndarray):
        return _of_pieces([_piece(events, names)])
    if hasattr(events, "to_pylist"):
        return _of_rows(events.to_pylist())
    if isinstance(events, Sequence) and not isinstance(events, str | bytes):
        return _of_rows(events)
    if isinstance(events, Iterable) and not isinstance(events, str | bytes | Mapping):
        return _of_rows(list(islice(events, MOST_EVENTS)))
    raise _unknown(events)


def _unknown(events: Any) -> PackError:
    return PackError(
        f"events: a {type(events).__name__}; give example events as dictionaries or as a DataFrame, "
        "a pyarrow Table or a tf.data.Dataset"
    )


def _of_rows(rows: Sequence[Any]) -> Gathered:
    strange = [row for row in rows if not isinstance(row, Mapping)]
    if strange:
        raise _unknown(strange[0])
    flat = [dict(_flat(row)) for row in rows]
    paths = dict.fromkeys(path for row in flat for path in row)
    return Gathered({path: [row.get(path) for row in flat] for path in paths}, len(flat))


def _flat(event: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in event.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one element of a dataset holds: one event, or a batch of them."""

    columns: Mapping[str, NDArray[Any]]
    count: int
    labels: Sequence[int] | None


def _of_dataset(dataset: Any, names: Sequence[str] | None) -> Gathered:
    """Read elements until there are enough: a dictionary of tensors or a matrix, perhaps in a tuple with its label."""
    pieces: list[_Piece] = []
    count = 0
    try:
        for element in dataset.as_numpy_iterator():
            features, *others = element if isinstance(element, tuple) else (element,)
            pieces.append(_piece(features, names, others[0] if others else None))
            count += pieces[-1].count
            if count >= MOST_EVENTS:
                break
    except TypeError as error:  # a dataset of datasets, say
        raise PackError(f"events: a dataset whose elements are not dense tensors: {error}") from error
    return _of_pieces(pieces)


def _piece(features: Any, names: Sequence[str] | None, label: Any = None) -> _Piece:
    """Return an element's columns: one event where any of its tensors is a scalar, otherwise as many as they have."""
    if isinstance(features, Mapping):
        arrays = {path: _array(path, value) for path, value in _flat(features)}
    elif names is not None:
        arrays = _named(features, list(names))
    else:
        raise PackError("events: their fields have no names; give columns=[…], in the order of the matrix' columns")
    count = 1 if any(array.ndim == 0 for array in arrays.values()) else max(map(len, arrays.values()), default=0)
    for path, array in arrays.items():
        if array.size != count:
            raise PackError(
                f"events: field {path!r} has shape {list(array.shape)}, and a field is one value an event "
                f"({count} here); a matrix is given alone, with columns=[…]"
            )
    return _Piece({path: array.reshape(-1) for path, array in arrays.items()}, count, _labels(label, count))


def _array(path: str, value: Any) -> NDArray[Any]:
    """Return a tensor's values; NumPy's own type for bytes would drop the zeros at their end."""
    array = np.asarray(value, object if isinstance(value, bytes | str) else None)
    if array.dtype == object and array.size and not isinstance(array.reshape(-1)[0], bytes | str):
        raise PackError(f"events: field {path!r} is a {type(value).__name__}; a dataset's tensors must be dense")
    return array


def _named(features: Any, names: list[str]) -> dict[str, NDArray[Any]]:
    if isinstance(features, tuple | list) and len(features) == len(names):
        return dict(zip(names, map(_array, names, features), strict=True))
    matrix = _array(names[0], features)
    if len(names) > 1 and (matrix.ndim not in (1, 2) or matrix.shape[-1] != len(names)):
        raise PackError(f"events: a matrix of shape {list(matrix.shape)}, but columns names {len(names)} columns")
    return dict(zip(names, matrix.reshape(-1, len(names)).T, strict=True))


def _labels(label: Any, count: int) -> Sequence[int] | None:
    """Return labels that are 0 or 1, one an event; anything else (an autoencoder's targets, say) is none."""
    if label is None or isinstance(label, Mapping | tuple):
        return None
    values = np.asarray(label).reshape(-1)
    if values.dtype.kind not in "iufb" or len(values) != count or not np.isin(values, (0, 1)).all():
        return None
    found: list[int] = values.astype(int).tolist()
    return found


def _of_pieces(pieces: Sequence[_Piece]) -> Gathered:
    """Join what was read, cut to `MOST_EVENTS`; an array given whole is taken whole."""
    if not pieces:
        return Gathered({}, 0)
    most = MOST_EVENTS if len(pieces) > 1 else pieces[0].count
    columns = {
        path: [value for piece in pieces for value in piece.columns[path].tolist()][:most] for path in pieces[0].columns
    }
    count = min(sum(piece.count for piece in pieces), most)
    labels = [label for piece in pieces for label in piece.labels or ()][:most]
    return Gathered(
        {path: _texts(values) for path, values in columns.items()}, count, labels if len(labels) == count else None
    )


def _texts(values: Sequence[Any]) -> Sequence[Any]:
    """Return text where all bytes of a column are UTF-8: TensorFlow's strings are bytes; images stay what they are."""
    if not any(isinstance(value, bytes) for value in values):
        return values
    try:
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError:
        return values
