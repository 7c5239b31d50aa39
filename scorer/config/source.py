"""A configuration file → its values and the line of each. What cannot be read at all raises; the rest are faults."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from scorer.config.faults import Fault
from scorer.config.tree import Keys, Tree
from scorer.errors import ConfigError

# Twenty times a large configuration, and what keeps aliases of aliases from filling memory.
MAX_VALUES: Final = 10_000


@dataclass(slots=True)
class Document:
    """A file as read: `lines` has the line of each value (YAML only), counted from 1."""

    values: Tree
    lines: dict[Keys, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read(path: Path) -> Document:
    """Return the document in a `.yaml`, `.yml` or `.toml` file.

    Raises ConfigError where the file is missing, unreadable, of another suffix, not UTF-8, not YAML or TOML, or not a
    mapping. The message never quotes the file, which may hold a password.
    """
    readers = {".yaml": _yaml, ".yml": _yaml, ".toml": _toml}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{path}: is it YAML or TOML? Name it with the suffix .yaml, .yml or .toml")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        document = reader(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}; give its path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except (yaml.YAMLError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}{_syntax(error)}; correct the file's syntax") from None
    if not document.values:
        raise ConfigError(f"{path}: is empty or not a mapping; it needs at least kafka, group and topics")
    return document


def _toml(text: str) -> Document:
    return Document(tomllib.loads(text))


def _yaml(text: str) -> Document:
    loader = yaml.SafeLoader(text)
    document = Document({})
    try:
        node = loader.get_single_node()
        if isinstance(node, yaml.MappingNode):
            document.values = _Builder(loader, document).value(node, ())
        return document
    finally:
        loader.dispose()


class _Builder:
    """Builds values from YAML nodes, which still know lines and the keys that a dictionary would have swallowed."""

    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._merged: set[int] = set()
        self._count = 0

    def value(self, node: yaml.Node, keys: Keys) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values")
        self._document.lines[keys] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*keys, str(index))) for index, item in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except (ValueError, KeyError, AttributeError):
            # A 13th month, or text tagged !!bool: what PyYAML raises quotes the value and has no line.
            problem = "a value is not what its form or tag says: put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> Tree:
        if id(node) not in self._merged:
            self._merged.add(id(node))
            self._repeated(node, keys)
            self._loader.flatten_mapping(node)
        values: Tree = {}
        for key, item in node.value:
            # A key is text as it is written: `on` and `0` name what they spell, not true and zero.
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            values[name] = self.value(item, (*keys, name))
            self._document.lines[(*keys, name)] = key.start_mark.line + 1
        return values

    def _repeated(self, node: yaml.MappingNode, keys: Keys) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._document.faults.append(Fault(keys, f"has a key that is not text, in line {line}: write a name"))
            elif key.value in first:
                message = f"is written twice, in lines {first[key.value]} and {line}: keep one"
                self._document.faults.append(Fault((*keys, key.value), message))
            else:
                first[key.value] = line


def _syntax(error: Exception) -> str:
    """Return `:line: what is wrong`, without the words of the file that a parser would quote."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = re.sub(r"'[^'<]{2,}'", "'…'", error.problem or "cannot be parsed")
        return f":{mark.line + 1 if mark else 1}: is not YAML: {problem}"
    if isinstance(error, yaml.YAMLError):
        return ": is not YAML: it has a character that YAML forbids"
    if isinstance(error, tomllib.TOMLDecodeError):
        return f": is not TOML: {error}"
    if isinstance(error, RecursionError):
        return ": is nested too deeply, or has an alias that holds itself"
    return f": cannot be read: {error}"
