"""What changed between two bundles' contracts, as data: sections, events, features, what training learned, files.

Needs nothing but two manifests; what their models say is `verdicts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from scorer.bundle.diff.stability import Stability, stability
from scorer.bundle.lineage import Act, Feature, Setting, features
from scorer.bundle.manifest import Manifest
from scorer.decode.schema import Field

ELSEWHERE = {"events", "plan", "files", "seal", "reference"}
"""Parts of a manifest that are compared by a rule of their own."""


class Change(msgspec.Struct, frozen=True):
    """One value, by its path; None where it is not there."""

    path: str
    before: Any
    after: Any


class Fields(msgspec.Struct, frozen=True):
    """The events' fields by path; `ids` is what changed about event id and event time."""

    added: dict[str, Field]
    removed: dict[str, Field]
    retyped: list[Change]
    ids: list[Change]


class Features(msgspec.Struct, frozen=True):
    """The model's features, as `input/feature`.

    `retyped` have another dtype. `remade` have the same name, but come from other fields or by other steps. `moved`
    says that those which both bundles have come in another order.
    """

    added: list[str]
    removed: list[str]
    retyped: list[Change]
    remade: list[Change]
    moved: bool


class Shift(msgspec.Struct, frozen=True):
    """A number that training learned, and all features that it goes into.

    `relative` is |after - before| / max(|before|, |after|), at most 2; or 1 for what is no finite number. Of several
    numbers (quantiles) it is the one that changed most, at index `at`.
    """

    features: list[str]
    name: str
    before: Any
    after: Any
    relative: float
    at: int | None = None


class Vocabulary(msgspec.Struct, frozen=True):
    """Which categories of a field an encoder has come to know, and which it no longer knows."""

    field: str
    gained: list[Any]
    lost: list[Any]


class Files(msgspec.Struct, frozen=True):
    """The bundles' files, by path; `altered` have another digest."""

    added: list[str]
    removed: list[str]
    altered: list[str]


class Difference(msgspec.Struct, frozen=True):
    """What changed between two manifests.

    `sections` are by the manifest's own names (`model`, `bands`, `libraries`, …), `identity` being its plain values.
    `stability` is None where one of the two has no reference distributions.
    """

    sections: dict[str, list[Change]]
    fields: Fields
    features: Features
    shifts: list[Shift]
    vocabularies: list[Vocabulary]
    stability: Stability | None
    files: Files


def difference(before: Manifest, after: Manifest) -> Difference:
    """Compare two manifests; shifts come largest first."""
    old, new = ({f"{made.input}/{made.name}": made for made in features(m.plan)} for m in (before, after))
    return Difference(
        sections=dict(_sections(msgspec.to_builtins(before), msgspec.to_builtins(after))),
        fields=_fields(before, after),
        features=_features(old, new),
        shifts=sorted(_shifts(old, new), key=lambda shift: -shift.relative),
        vocabularies=list(_vocabularies(old, new)),
        stability=stability(before.reference, after.reference) if before.reference and after.reference else None,
        files=_files(before, after),
    )


def _sections(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, list[Change]]]:
    names = [name for name in old if name not in ELSEWHERE]
    plain = [name for name in names if not any(isinstance(document[name], dict | list) for document in (old, new))]
    parts = {name: (old[name], new[name]) for name in names if name not in plain}
    identity = {name: old[name] for name in plain}, {name: new[name] for name in plain}
    for name, (left, right) in {"identity": identity, **parts}.items():
        if changes := _changes(left, right):
            yield name, changes


def _changes(old: Any, new: Any) -> list[Change]:
    """Return what differs between two documents, by value: a list is one, and so is a whole against none."""
    if (old is None) != (new is None):
        return [Change("", old, new)]
    left, right = dict(_flat(old, ())), dict(_flat(new, ()))
    paths = [path for path in dict.fromkeys([*left, *right]) if left.get(path) != right.get(path)]
    return [Change(".".join(path), left.get(path), right.get(path)) for path in paths]


def _flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, (*path, str(name)))
    elif value is not None:
        yield path, value


def _fields(before: Manifest, after: Manifest) -> Fields:
    old, new = before.events.fields, after.events.fields
    ids = ({"event_id": m.events.event_id, "event_time": m.events.event_time} for m in (before, after))
    return Fields(
        added={name: new[name] for name in new if name not in old},
        removed={name: old[name] for name in old if name not in new},
        retyped=[Change(name, old[name], new[name]) for name in old if name in new and old[name] != new[name]],
        ids=_changes(*ids),
    )


def _features(old: Mapping[str, Feature], new: Mapping[str, Feature]) -> Features:
    both = [(name, old[name], new[name]) for name in old if name in new]
    return Features(
        added=[name for name in new if name not in old],
        removed=[name for name in old if name not in new],
        retyped=[Change(name, a.dtype, b.dtype) for name, a, b in both if a.dtype != b.dtype],
        remade=[Change(name, a.words(), b.words()) for name, a, b in both if _way(a) != _way(b)],
        moved=[name for name in old if name in new] != [name for name in new if name in old],
    )


def _way(made: Feature) -> tuple[Any, ...]:
    """Return how a feature is made but for what was learned: with equal ways, settings can be compared one by one."""
    return made.fields, [act.kind for act in made.acts]


def _shifts(old: Mapping[str, Feature], new: Mapping[str, Feature]) -> Iterator[Shift]:
    """Yield what changed, once for all features that share it (an imputer's fill before an encoder)."""
    found: dict[tuple[Any, ...], tuple[list[str], Shift]] = {}
    for name in old:
        if name not in new or _way(old[name]) != _way(new[name]):
            continue
        for at, (left, right) in enumerate(zip(old[name].acts, new[name].acts, strict=True)):
            for shift in _settings(left, right):
                key = (old[name].fields, at, shift.name, repr(shift.before), repr(shift.after))
                found.setdefault(key, ([], shift))[0].append(name)
    return (msgspec.structs.replace(shift, features=names) for names, shift in found.values())


def _settings(left: Act, right: Act) -> Iterator[Shift]:
    for name in (name for name in left.settings if name in right.settings):
        before, after = left.settings[name], right.settings[name]
        if repr(before) == repr(after):
            continue
        if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after) and before:
            apart = [_relative(a, b) for a, b in zip(before, after, strict=True)]
            at = max(range(len(apart)), key=apart.__getitem__)
            yield Shift([], name, before[at], after[at], apart[at], at)
        else:
            yield Shift([], name, before, after, _relative(before, after))


def _relative(before: Setting, after: Setting) -> float:
    if repr(before) == repr(after):
        return 0.0
    try:
        a, b = float(before), float(after)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        return 1.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return 1.0
    return abs(b - a) / max(abs(a), abs(b)) if a != b else 0.0


def _vocabularies(old: Mapping[str, Feature], new: Mapping[str, Feature]) -> Iterator[Vocabulary]:
    known = [
        {(" and ".join(made.fields), act.kind): act.vocabulary for made in side.values() for act in made.acts}
        for side in (old, new)
    ]
    for key, before in known[0].items():
        after = known[1].get(key, before)
        gained, lost = _beyond(after, before), _beyond(before, after)
        if gained or lost:
            yield Vocabulary(key[0], gained, lost)


def _beyond(these: tuple[Any, ...], those: tuple[Any, ...]) -> list[Any]:
    there = {(type(value), value) for value in those}
    return [value for value in these if (type(value), value) not in there]


def _files(before: Manifest, after: Manifest) -> Files:
    old, new = ({file.path: file.sha256 for file in manifest.files} for manifest in (before, after))
    return Files(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        altered=sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
    )
