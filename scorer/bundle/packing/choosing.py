"""Which events become golden: an even spread, the ends of every field, each band's edge, and made-up rare cases.

A bundle is proved where it is likeliest to be wrong: at nulls, unseen categories, extremes, and where a decision turns.
What the examples lack is made, by changing one field of a real one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.bundle.golden import as_records
from scorer.bundle.packing.examples import Examples
from scorer.decode import EventSchema, Field, FieldType, JsonDecoder
from scorer.infer.model import Model
from scorer.records import Bands, Inputs, Rejection, Rows, Scores
from scorer.transform import Transform

SPREAD, REAL, MADE = 256, 768, 256
"""Golden events: at least where there are as many examples, real ones at most, made ones at most."""
REAL_LEAST, MADE_LEAST = 32, 8
"""However large each event is."""
REAL_BYTES, MADE_BYTES = 12 * 2**20, 4 * 2**20
"""Of either golden file: where events are large, there are fewer of them."""
CATEGORIES = 16
"""Of a field, the rarest: a field of many does not crowd out the rest."""
NEIGHBOURS = 4
"""Events on either side of each band's edge."""
NUMBERS = (0.0, -0.0, 1e9, -1e9, 1e30, -1e30, 1e-30)
INTEGERS = (0, 2**31 - 1, -(2**31), 2**53, -(2**53))


@dataclass(frozen=True, slots=True)
class Case:
    """An example by its row, why it is golden, and the field that was changed in it, with its new value, if any."""

    row: int
    why: str
    change: tuple[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Rooms:
    """The bundle's rooms, as events walk through them."""

    decode: JsonDecoder
    transform: Transform
    model: Model

    def __call__(self, values: Sequence[bytes]) -> tuple[Inputs, Scores, list[Rejection]]:
        """Return inputs and scores of the events that have a score, and a rejection for each that has none."""
        columns, undecoded = self.decode(as_records(values))
        inputs, unfit = self.transform(columns)
        inputs = inputs.without(unfit)
        scores, unscored = self.model(inputs)
        return inputs.without(unscored), scores.without(unscored), [*undecoded, *unfit, *unscored]


def spread(count: int, most: int) -> list[int]:
    """Return at most so many of `count` rows, evenly spread, ascending."""
    return list(map(int, np.linspace(0, count - 1, min(most, count))))


def event_bytes(values: Sequence[bytes], inputs: Inputs) -> float:
    """Return what one of some events takes of that golden file where it takes more."""
    return max(sum(map(len, values)), sum(array.nbytes for array in inputs.arrays.values())) / len(values)


def real(examples: Examples, schema: EventSchema, near: Sequence[Case], size: float) -> list[Case]:
    """Return the examples that become golden, in the order of their rows, each once.

    `near` are those next to the bands' edges; an event takes `size` bytes of a golden file. Next come nulls, least
    and greatest values and categories, a field at a time in turn, and at last the even spread.
    """
    most = int(np.clip(REAL_BYTES / size, REAL_LEAST, REAL))
    fields = [_ends(examples.columns[path], path, schema) for path in schema.fields]
    chosen: dict[int, Case] = {}
    for case in [*near, *_in_turn(fields)]:
        if len(chosen) < most * 2 // 3:
            chosen.setdefault(case.row, case)
    for row in spread(examples.count, min(SPREAD, most - len(chosen))):
        chosen.setdefault(row, Case(row, "spread"))
    return [chosen[row] for row in sorted(chosen)]


def near_edges(rows: Rows, scores: NDArray[np.float32], bands: Bands) -> list[Case]:
    """Return the examples whose scores are closest to each band's edge, on either side.

    `scores` (float32, shape (n,)) are those of the examples at `rows`, n of them.
    """
    return [
        Case(int(rows[at]), f"{side} {name}")
        for name, edge in zip(bands.names[1:], bands.edges[1:], strict=True)
        for side, at in _neighbours(scores, edge)
    ]


def made(examples: Examples, schema: EventSchema, size: float) -> list[Case]:
    """Return what the examples lack, as changes of real ones: nulls, unseen categories, extremes of numbers.

    Bundles may reject them; so may the fitted preprocessor.
    """
    read = {path: field for path, field in schema.fields.items() if path not in (schema.event_id, schema.event_time)}
    changes = _in_turn([_lacking(path, field, examples.columns[path]) for path, field in read.items()])
    most = int(np.clip(MADE_BYTES / size, MADE_LEAST, MADE))
    rows = spread(examples.count, SPREAD)
    return [
        Case(rows[at % len(rows)], why, (path, value)) for at, (why, path, value) in enumerate(changes) if at < most
    ]


def encoded(examples: Examples, schema: EventSchema, cases: Sequence[Case]) -> list[bytes]:
    """Return the cases as JSON, as they would come from the topic."""
    values = examples.encode(schema, [case.row for case in cases])
    return [_changed(value, case) if case.change else value for value, case in zip(values, cases, strict=True)]


def _ends(column: Sequence[Any], path: str, schema: EventSchema) -> Iterator[Case]:
    """Yield a field's first null, its least and greatest value or its rarest categories."""
    present = [row for row, value in enumerate(column) if value is not None]
    if len(present) < len(column):
        yield Case(column.index(None), f"null {path}")
    if not present or path in (schema.event_id, schema.event_time):
        return
    if schema.fields[path].type is FieldType.STRING:
        firsts = {column[row]: row for row in reversed(present)}
        counts = Counter(column[row] for row in present)
        for value in sorted(firsts, key=counts.__getitem__)[:CATEGORIES]:
            yield Case(firsts[value], f"{path} {value[:40]!r}")
    elif schema.fields[path].type in (FieldType.NUMBER, FieldType.INTEGER, FieldType.BOOLEAN, FieldType.TIMESTAMP):
        yield Case(min(present, key=column.__getitem__), f"least {path}")
        yield Case(max(present, key=column.__getitem__), f"greatest {path}")


def _neighbours(score: NDArray[np.float32], edge: np.float32) -> Iterator[tuple[str, int]]:
    order = np.argsort(score, kind="stable")
    at = int(np.searchsorted(score[order], edge))
    yield from (("below", place) for place in order[max(at - NEIGHBOURS, 0) : at].tolist())
    yield from (("edge", place) for place in order[at : at + NEIGHBOURS].tolist())


def _lacking(path: str, field: Field, column: Sequence[Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield why, path and value of what a field may hold, but does not in the examples."""
    held = set(column)
    if field.nullable and None not in held:
        yield f"null {path}", path, None
    if field.type is FieldType.STRING:
        unseen = "unseen"
        while unseen in held:
            unseen += "_"
        yield f"unseen {path}", path, unseen
    numbers: Mapping[FieldType, Sequence[float]] = {FieldType.NUMBER: NUMBERS, FieldType.INTEGER: INTEGERS}
    low, high = field.range or (-np.inf, np.inf)
    ends = field.range or ()
    whole = int if field.type is FieldType.INTEGER else float
    for value in dict.fromkeys(map(repr, [*map(whole, ends), *numbers.get(field.type, ())])):
        if low <= float(value) <= high:
            yield f"{path} {value}", path, whole(value)


def _in_turn(fields: Sequence[Iterator[Any]]) -> Iterator[Any]:
    """Yield the first of each, then the second of each, and so on."""
    absent = object()
    return (one for one in chain.from_iterable(zip_longest(*fields, fillvalue=absent)) if one is not absent)


def _changed(value: bytes, case: Case) -> bytes:
    if case.change is None:
        return value
    path, new = case.change
    event = msgspec.json.decode(value)
    *parents, name = path.split(".")
    inner = event
    for parent in parents:
        inner = inner[parent]
    inner[name] = new
    return msgspec.json.encode(event)
