"""What is wrong with a configuration: faults as values, so that all of them can be told at once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from scorer.config.tree import Keys
from scorer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the keys it sits at, and what to do about it.

    `message` never holds a value of the configuration, which may be a secret. `shows` asks the reporter, who knows
    the secrets, to add the value. `kind` is the error to raise if every fault is of this kind.
    """

    keys: Keys
    message: str
    kind: type[ConfigError] = ConfigError
    shows: bool = False


class FaultsError(ValueError):
    """Several faults found by one validator of a pydantic model; their keys are relative to the validated field."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{dotted(fault.keys)}: {fault.message}" for fault in self.faults))


def dotted(keys: Keys) -> str:
    """Return the keys as one word on one line, whatever characters a file put in them."""
    text = ".".join(keys)
    return text if text.isprintable() else ascii(text)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return what to write instead of an unknown name: the nearest known one, or else all of them."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(known) or 'nothing'}"


def shown(value: object) -> str:
    """Return a value as a person would call it, cut to 60 characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value) if isinstance(value, str | int | float) else f"{value} (a {type(value).__name__})"
    return text if len(text) <= 60 else f"{text[:57]}..."
