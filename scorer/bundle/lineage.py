"""Plan → what makes each feature: the event's fields it comes from, and what is done to them, with its numbers.

Only what a person asks of a plan: nothing is computed here, so no library is needed but the plan itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from scorer.transform import Feed, Matrix, Plan
from scorer.transform.plan import (
    Add,
    Apply,
    Divide,
    Fork,
    Image,
    Impute,
    Lookup,
    Multiply,
    Normalize,
    Numbers,
    OneHot,
    Ordinal,
    Products,
    Step,
    Subtract,
    Target,
    Unsign,
)
from scorer.transform.scalars import Number, Value

Setting: TypeAlias = Value | tuple[Any, ...] | None
"""What a step knows of one column: a number, a word, or several."""

SIGNS = {Add: "plus", Subtract: "minus", Multiply: "times", Divide: "divided by"}
LEARNED = {Add: "offset", Subtract: "center", Multiply: "factor", Divide: "scale"}


@dataclass(frozen=True, slots=True)
class Act:
    """One step as it touches one column; `vocabulary` are the categories of the whole column, where it has any."""

    kind: str
    words: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    vocabulary: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a model's input: from which fields of the event, by which acts, in their order."""

    input: str
    name: str
    dtype: str
    fields: tuple[str, ...]
    acts: tuple[Act, ...]

    def words(self) -> str:
        """Return how it is made: `amount, log1p, minus 3.1, divided by 1.2`."""
        return ", ".join([" and ".join(self.fields) or "a constant", *(act.words for act in self.acts)])


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    fields: tuple[str, ...]
    acts: tuple[Act, ...] = ()

    def then(self, act: Act) -> _Column:
        return replace(self, acts=(*self.acts, act))


def features(plan: Plan) -> list[Feature]:
    """Return every feature of every input, in the model's order; a raw column is a feature without acts."""
    return [feature for name, feed in plan.inputs.items() for feature in _fed(name, feed)]


def _fed(name: str, feed: Feed) -> list[Feature]:
    if isinstance(feed, Matrix):
        columns = _walked(feed.node.steps, [_Column((path,)) for path in feed.node.fields])
        named = zip(feed.node.features, columns, strict=True)
        return [Feature(name, feature, feed.dtype, made.fields, made.acts) for feature, made in named]
    acts = (_image(feed),) if isinstance(feed, Image) else ()
    return [Feature(name, feed.column, feed.dtype, (feed.column,), acts)]


def _image(feed: Image) -> Act:
    size = f"{feed.size[0]} by {feed.size[1]}" if feed.size else "any size"
    words = [f"a PNG or JPEG of {size}, at most {feed.max_pixels:,} pixels"]
    settings: dict[str, Setting] = {"max_pixels": feed.max_pixels, "size": feed.size}
    if chain := feed.chain:
        resized = (
            f"resized to {chain.resize[0]} by {chain.resize[1]} ({chain.resample})" if chain.resize else "as large"
        )
        scaled = f"/ {shown(chain.divisor)} * {shown(chain.factor)} + {shown(chain.offset)}"
        words += [f"{chain.mode} by Pillow", resized, scaled]
        settings |= {name: getattr(chain, name) for name in chain.__struct_fields__}
    return Act("image", ", ".join(words), settings)


def _walked(steps: Sequence[Step], columns: list[_Column]) -> list[_Column]:
    for step in steps:
        columns = _after(step, columns)
    return columns


def _after(step: Step, columns: list[_Column]) -> list[_Column]:
    match step:
        case Numbers() | Unsign():
            return columns
        case Fork():
            branches = ((branch.steps, [columns[i] for i in branch.take]) for branch in step.branches)
            return [column for steps, taken in branches for column in _walked(steps, taken)]
        case Impute():
            return _imputed(step, columns)
        case OneHot() | Ordinal() | Target():
            return list(_encoded(step, columns))
        case Products():
            return [_product([columns[i] for i in term]) for term in step.terms]
        case _:
            return [column.then(_elementwise(step, i, len(columns))) for i, column in enumerate(columns)]


def _imputed(step: Impute, columns: list[_Column]) -> list[_Column]:
    missing = "null" if step.missing is None else repr(step.missing)
    filled = [
        column.then(Act("impute", f"{missing} → {shown(fill)}", {"fill": fill}))
        for column, fill in zip(columns, step.fills, strict=True)
        if fill is not None
    ]
    return [*filled, *(columns[i].then(Act("indicator", f"is {missing}")) for i in step.indicators)]


def _encoded(step: OneHot | Ordinal | Target, columns: list[_Column]) -> Iterator[_Column]:
    for i, (column, lookup) in enumerate(zip(columns, step.columns, strict=True)):
        if isinstance(step, OneHot):
            acts = (_hot(lookup, place) for place in range(step.widths[i]))
        else:
            acts = (_coded(step, lookup, codes) for codes in _tables(step, i))
        yield from (column.then(act) for act in acts)


def _tables(step: Ordinal | Target, column: int) -> list[list[Number]]:
    return [step.codes[column]] if isinstance(step, Ordinal) else step.codes[column]


def _places(lookup: Lookup) -> list[tuple[str, int | None]]:
    """Return what a column may hold, in words, with the position that it goes to."""
    known = [(repr(value), place) for value, place in zip(lookup.categories, lookup.positions, strict=True)]
    return [*known, ("null", lookup.null), ("any other", lookup.unknown)]


def _hot(lookup: Lookup, place: int) -> Act:
    here = [name for name, at in _places(lookup) if at == place]
    words = [*here[:3], *([f"{len(here) - 3} more"] if len(here) > 3 else [])]
    return Act("onehot", f"is {' or '.join(words)}", {"categories": tuple(here)}, tuple(lookup.categories))


def _coded(step: Ordinal | Target, lookup: Lookup, codes: list[Number]) -> Act:
    settings = {f"code of {name}": codes[at] for name, at in _places(lookup) if at is not None}
    words = f"the code of its category, {len(lookup.categories)} known"
    return Act(type(step).__name__.lower(), words, settings, tuple(lookup.categories))


def _product(factors: list[_Column]) -> _Column:
    if len(factors) == 1:
        return factors[0]
    each = list(dict.fromkeys(factors))
    fields = tuple(dict.fromkeys(path for factor in each for path in factor.fields))
    acts = tuple(act for factor in each for act in factor.acts)
    words = ("1" if not factors else "multiplied") if len(each) != 1 else "squared"
    return _Column(fields, (*acts, Act("products", words)))


def _elementwise(step: Step, column: int, width: int) -> Act:
    """Read a step by its own fields: what there is one of for each column is the column's, the rest is everyone's."""
    kind = type(step).__name__.lower()
    match step:
        case Apply():
            return Act(kind, step.function, {"function": step.function})
        case Normalize():
            return Act(kind, f"divided by its row's {step.norm} norm", {"norm": step.norm})
        case Add() | Subtract() | Multiply() | Divide():
            by = step.by[column]
            return Act(kind, f"{SIGNS[type(step)]} {shown(by)}", {LEARNED[type(step)]: by})
    settings: dict[str, Setting] = {}
    for name in step.__struct_fields__:
        content = getattr(step, name)
        mine = content[column] if isinstance(content, list) and len(content) == width else content
        settings[name] = tuple(mine) if isinstance(mine, list) else mine
    usual = dict(zip(reversed(step.__struct_fields__), reversed(step.__struct_defaults__), strict=False))
    told = [
        f"{name} {shown(setting)}"
        for name, setting in settings.items()
        if setting is not False and setting != usual.get(name)
    ]
    return Act(kind, f"{kind} ({', '.join(told)})", settings)


def shown(setting: Setting) -> str:
    """Return a setting as a person reads it: numbers with six digits, of several values how many."""
    if isinstance(setting, tuple):
        return shown(setting[0]) if len(setting) == 1 else f"{len(setting)} values"
    return f"{setting:.6g}" if isinstance(setting, float) else str(setting)
