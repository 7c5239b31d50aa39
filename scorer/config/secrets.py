"""Secrets in the grammar of Kafka's ConfigProviders: `${env:NAME}`, `${dir:/run/secrets:password}`, `${file:path:key}`.

A secret's text goes into the values and nowhere else: no message, no `repr`, no exception carries it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from scorer.config.environment import scalar
from scorer.config.faults import Fault
from scorer.config.schema import takes_text
from scorer.config.tree import Keys, Tree, put, texts

_REFERENCE: Final = re.compile(r"\$\{([^}]*)\}")

# java.util.Properties: a line goes on after an odd number of backslashes; the key ends at the first unescaped = : or
# white space.
_CONTINUED: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\\r?\n[ \t\f]*")
_LINE: Final = re.compile(r"[ \t\f]*((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)")
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")


class _UnresolvableError(Exception):
    """A reference leads nowhere; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Values with their references replaced, the keys of those that were, and the references that lead nowhere."""

    values: Tree
    secrets: frozenset[Keys]
    faults: tuple[Fault, ...]


def resolve(values: Tree, *, environment: Mapping[str, str], directory: Path, literal: frozenset[Keys]) -> Resolved:
    """Return `values` with every `${…}` replaced, except at the keys in `literal`.

    Relative paths start at `directory`. What a reference gives is not searched for references again.
    """
    values, secrets, faults = copy.deepcopy(values), set(), []
    look_up = partial(_look_up, environment=environment, directory=directory)
    for keys, text in list(texts(values)):
        if keys in literal or not _REFERENCE.search(text):
            continue
        secrets.add(keys)
        try:
            found = _REFERENCE.sub(lambda match: look_up(match[1]), text)
        except _UnresolvableError as error:
            faults.append(Fault(keys, str(error)))
            continue
        put(values, keys, found if takes_text(keys) else scalar(found))
    return Resolved(values, frozenset(secrets), tuple(faults))


def _look_up(reference: str, *, environment: Mapping[str, str], directory: Path) -> str:
    match reference.split(":", 2):
        case ["env", name] if name:
            if name not in environment:
                raise _UnresolvableError(f"the environment variable {name} is not set: set it, or correct its name")
            return environment[name]
        case ["dir", folder, name] if folder and name and "/" not in name:
            return re.sub(r"\r?\n\Z", "", _read(directory / folder / name))
        case ["file", path, key] if path and key:
            return _property(directory / path, key)
        case _:
            # Not quoted: it may be a piece of a password.
            raise _UnresolvableError(
                "has a ${…} that names no source: write ${env:NAME}, ${dir:directory:file} or ${file:path:key}"
            )


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise _UnresolvableError(f"cannot read the secret in {path}: {error.strerror}") from None
    except ValueError:
        raise _UnresolvableError(f"cannot read the secret in {path}: it is not UTF-8 text") from None


def _property(path: Path, key: str) -> str:
    """Return a key's value in a Java `.properties` file; of a key written twice the last, as Java has it."""
    found = None
    for line in _CONTINUED.sub(r"\1", _read(path)).splitlines():
        match = _LINE.fullmatch(line)
        if match and not line.lstrip().startswith(("#", "!")) and _unescaped(match[1]) == key:
            found = _unescaped(match[2])
    if found is None:
        raise _UnresolvableError(f"{path} has no key {key}: add it, or correct its name")
    return found


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: _character(match[1]), text)


def _character(escape: str) -> str:
    if len(escape) == 5:
        return chr(int(escape[1:], 16))
    return {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(escape, escape)
