"""What overrides the file: `SCORER__BATCH__MAX_EVENTS=2048` in the environment, then `-X name=value` for librdkafka.

Two underscores lead into a section. Under `SCORER__KAFKA__` one underscore is a dot: `SCORER__KAFKA__SASL_PASSWORD` is
`sasl.password`. Topics are the file's, in any case, with `_` for `.` and `-`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import yaml

from scorer.config.faults import Fault, did_you_mean
from scorer.config.schema import takes_text
from scorer.config.tree import Keys, Tree, get, put

PREFIX: Final = "SCORER__"


@dataclass(slots=True)
class Overridden:
    """The file's values with the overrides in them; `origins` says which variable or `-X` set a value."""

    values: Tree
    origins: dict[Keys, str] = field(default_factory=dict)
    literal: set[Keys] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)


def override(values: Tree, environment: Mapping[str, str], properties: Sequence[str]) -> Overridden:
    """Return `values` under the environment's variables, and those under the `-X` properties.

    A variable's text is taken as it is (`literal`): a password from it may hold `${`.
    """
    result = Overridden(copy.deepcopy(values))
    for variable in sorted(name for name in environment if name.startswith(PREFIX)):
        keys = _keys(variable, result)
        if keys:
            text = environment[variable]
            result.literal.add(keys)
            result.origins[keys] = variable
            put(result.values, keys, text if takes_text(keys) else scalar(text))
    for number, text in enumerate(properties, 1):
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            result.origins[(f"-X number {number}",)] = "command line"
            result.faults.append(Fault((f"-X number {number}",), "must read name=value, such as -X debug=broker"))
            continue
        keys = ("kafka", name.strip())
        result.literal.discard(keys)
        result.origins[keys] = f"-X {name.strip()}"
        put(result.values, keys, value)
    return result


def scalar(text: str) -> object:
    """Return the YAML scalar that a text spells, or the text itself where it spells none."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    return text if isinstance(value, dict | list) else value


def _keys(variable: str, result: Overridden) -> Keys | None:
    """Return the keys that a variable means; where it means none, add the fault that says why."""
    section, _, rest = variable.removeprefix(PREFIX).upper().partition("__")
    keys: Keys | str = (section.lower(), *rest.lower().split("__")) if rest else (section.lower(),)
    if section == "KAFKA" and rest:
        keys = ("kafka", rest.lower().replace("_", "."))
        if "__" in rest:
            keys = f"write one underscore for a dot: {PREFIX}KAFKA__{rest.replace('__', '_')}"
    if section == "TOPICS" and rest:
        keys = _topic_keys(rest, get(result.values, ("topics",)))
    if isinstance(keys, tuple) and all(keys):
        return keys
    message = keys if isinstance(keys, str) else f"names no setting: write it as {PREFIX}BATCH__MAX_EVENTS"
    result.origins[(variable,)] = "environment"
    result.faults.append(Fault((variable,), message))
    return None


def _topic_keys(rest: str, topics: object) -> Keys | str:
    """Return the keys of `PAYMENTS__BANDS__REVIEW` under the file's topics, or what is wrong with it."""
    names = {name: _upper(name) for name in topics} if isinstance(topics, dict) else {}
    near = {name: upper for name, upper in names.items() if f"{rest}__".startswith(f"{upper}__")}
    longest = [name for name, upper in near.items() if len(upper) == max(map(len, near.values()))]
    if not longest:
        return f"unknown topic; {did_you_mean(rest.partition('__')[0], list(names))}"
    if len(longest) > 1:
        return f"may mean either of the topics {' and '.join(longest)}: set it in the file"
    name = longest[0]
    inner = rest[len(names[name]) + 2 :].split("__")
    bands = get(topics, (name, "bands")) if isinstance(topics, dict) else None
    written = {_upper(band): band for band in bands} if isinstance(bands, dict) else {}
    key = inner[0].lower()
    below = [written.get(word, word.lower()) if key == "bands" else word.lower() for word in inner[1:]]
    return ("topics", name, key, *below) if key else ("topics", name)


def _upper(name: str) -> str:
    return name.upper().replace(".", "_").replace("-", "_")
