"""What keys there are: for the file's unknown ones, the environment's types, and the table in the README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Final, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from scorer.config.properties import Properties
from scorer.config.settings import Section, Settings, Topic
from scorer.config.tree import Keys

_TYPES: Final[Mapping[object, str]] = {
    Properties: "mapping of librdkafka properties",
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    tuple[Path, ...]: "list of paths",
    tuple[str, ...]: "list of texts",
}

_LISTS: Final = (tuple[Path, ...], tuple[str, ...])


@cache
def fields() -> Mapping[Keys, FieldInfo]:
    """Return every setting's field by its keys, with `<topic>` for a topic's name."""
    return dict(_fields(Settings, ()))


def siblings(keys: Keys) -> list[str]:
    """Return the names that the settings know beside `keys`."""
    above = _general(keys[:-1])
    return list(dict.fromkeys(known[len(above)] for known in fields() if known[: len(above)] == above != known))


def description(keys: Keys) -> str:
    """Return the sentence that says what the setting at `keys` is."""
    field = fields().get(_general(keys)) or Settings.model_fields[keys[0]]
    return field.description or ""


def takes_text(keys: Keys) -> bool:
    """Return whether the setting at `keys` is text, so that 0123 from the environment is not the number 83."""
    field = fields().get(_general(keys))
    kind = field.annotation if field else None
    return keys[:1] == ("kafka",) or kind in _LISTS or (isinstance(kind, type) and issubclass(kind, str | Path))


def reference() -> list[tuple[str, str, str, str]]:
    """Return (keys, type, default or `required`, description) of every setting, in the order of the file."""
    return [
        (".".join(keys), _type(field.annotation), _default(field), field.description or "")
        for keys, field in fields().items()
    ]


def _fields(model: type[Section], above: Keys) -> Iterator[tuple[Keys, FieldInfo]]:
    for name, field in model.model_fields.items():
        inner = (get_args(field.annotation) or (field.annotation,))[-1]
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _fields(inner, (*above, name, *(["<topic>"] if inner is Topic else [])))
        else:
            yield (*above, name), field


def _general(keys: Keys) -> Keys:
    return ("topics", "<topic>", *keys[2:]) if keys[:1] == ("topics",) and len(keys) > 1 else keys


def _type(annotation: object) -> str:
    while get_origin(annotation) in {Annotated, Union, UnionType}:  # optional, or with its own rule
        annotation = get_args(annotation)[0]
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(annotation)
    return _TYPES.get(annotation, "mapping of names to numbers")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or isinstance(field.default, bool):
        return {None: "none", True: "true", False: "false"}[field.default]
    if field.default == ():
        return "[]"
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
