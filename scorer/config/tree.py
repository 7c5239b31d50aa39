"""A configuration before it is typed: nested dictionaries, and the keys that lead to a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

Keys: TypeAlias = tuple[str, ...]
Tree: TypeAlias = dict[str, Any]


def texts(tree: Tree, above: Keys = ()) -> Iterator[tuple[Keys, str]]:
    """Yield every text value with its keys. Lists are passed over: a secret is never one."""
    for key, value in tree.items():
        if isinstance(value, str):
            yield (*above, key), value
        elif isinstance(value, dict):
            yield from texts(value, (*above, key))


def get(tree: Tree, keys: Keys) -> Any:
    """Return the value at `keys`, or None where there is none."""
    value: Any = tree
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def put(tree: Tree, keys: Keys, value: object) -> None:
    """Set the value at `keys`, making the sections that are absent or empty.

    Where a section's place is taken by something else, nothing is set: that is a fault of its own.
    """
    for key in keys[:-1]:
        if tree.get(key) is None:
            tree[key] = {}
        if not isinstance(tree[key], dict):
            return
        tree = tree[key]
    tree[keys[-1]] = value
