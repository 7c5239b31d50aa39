"""Bands written into a configuration's file: nothing else of it changes, comments and order least of all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from scorer.errors import ConfigError

_LINE_END = re.compile(r"\r\n|\r|\n")


def write_bands(path: Path, topic: str, bands: Mapping[str, float]) -> None:
    """Give a topic these bands, in place: its edges are replaced, or `bands` is added where it had none.

    Raises ConfigError where the file cannot be read or written, has no such topic, or says its bands in a way that
    does not lend itself to it.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{path}: bands are written into YAML only; paste them by hand")
    file = path.resolve()
    try:
        text = file.read_bytes().decode()  # as bytes: its line ends are its own
        fresh = rewritten(text, topic, bands, path)
        beside = file.with_name(f"{file.name}.fresh")
        beside.write_bytes(fresh.encode())
        shutil.copymode(file, beside)
        os.replace(beside, file)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: bands cannot be written: {error}") from error


def rewritten(text: str, topic: str, bands: Mapping[str, float], path: Path) -> str:
    """Return a configuration's text with other bands of a topic; raises ConfigError as `write_bands` does."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    topics = _child(root, "topics")
    node = _child(topics, topic)
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise ConfigError(f"{path}: topics: there is no topic {topic} to write bands of; paste them by hand")
    held = _child(node, "bands")
    if held is None:
        return _checked(text, _added(text, node, bands), topic, bands, path)
    others = [name for name, other in _items(topics) if name != topic and _child(other, "bands") is held]
    if others:
        raise ConfigError(f"{path}: topics.{topic}.bands is shared with {', '.join(others)}; paste them by hand")
    edges = dict(_items(held))
    if set(edges) != set(bands) or not all(isinstance(edge, yaml.ScalarNode) for edge in edges.values()):
        raise ConfigError(f"{path}: topics.{topic}.bands has other bands than {', '.join(bands)}; paste them by hand")
    fresh = text
    for name in sorted(edges, key=lambda name: -edges[name].start_mark.index):
        start, stop = edges[name].start_mark.index, edges[name].end_mark.index
        fresh = f"{fresh[:start]}{_number(bands[name])}{fresh[stop:]}"
    return _checked(text, fresh, topic, bands, path)


def _added(text: str, node: yaml.MappingNode, bands: Mapping[str, float]) -> str:
    first = node.value[0][0].start_mark
    listed = ", ".join(
        f"{yaml.safe_dump(name, width=1000).splitlines()[0]}: {_number(edge)}" for name, edge in bands.items()
    )
    ending = _LINE_END.search(text)
    line = f"bands: {{{listed}}}"
    line += ", " if node.flow_style else (ending[0] if ending else "\n") + " " * first.column
    return text[: first.index] + line + text[first.index :]


def _checked(before: str, after: str, topic: str, bands: Mapping[str, float], path: Path) -> str:
    """Return the text if a parser finds in it what was meant, and nothing else altered."""
    old, new = yaml.safe_load(before), yaml.safe_load(after)
    found = new["topics"][topic].pop("bands")
    old["topics"][topic].pop("bands", None)
    if found != dict(bands) or old != new:
        raise ConfigError(f"{path}: topics.{topic}.bands cannot be replaced safely; paste them by hand")
    return after


def _child(node: Any, key: str) -> Any:
    return dict(_items(node)).get(key)


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode))


def _number(edge: float) -> str:
    return f"{edge:.12f}".rstrip("0")
