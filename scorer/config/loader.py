"""File + environment + `-X` → `Settings`, or one error with all the faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from scorer.config.environment import override
from scorer.config.faults import Fault, FaultsError, did_you_mean, dotted, shown
from scorer.config.schema import description, siblings
from scorer.config.secrets import Resolved, resolve
from scorer.config.settings import Context, Settings, lane_faults
from scorer.config.source import read
from scorer.config.tree import Keys, Tree, get
from scorer.errors import ConfigError


def load(path: Path, *, environment: Mapping[str, str], properties: Sequence[str] = ()) -> Settings:
    """Return the settings in a YAML or TOML file (by its suffix), overridden by the environment, then by `-X`.

    `properties` are librdkafka's, each as `name=value`. Of `environment` only `SCORER__…` and what a `${env:…}` names
    is read.

    Raises:
        OwnedPropertyError: every fault is a property that the scorer owns or that would run code.
        BandsError: every fault is one of bands.
        ConfigError: anything else. The message has one line a fault, and never the value of a secret.
    """
    document = read(path)
    overridden = override(document.values, environment, properties)
    resolved = resolve(
        overridden.values, environment=environment, directory=path.parent, literal=frozenset(overridden.literal)
    )
    found = [*document.faults, *overridden.faults, *resolved.faults]
    settings, faults = _settings(resolved.values, Context(path.parent, resolved.secrets))
    # What a reference failed to give is not ill-typed as well.
    failed = {fault.keys for fault in resolved.faults}
    found += [fault for fault in dict.fromkeys(faults) if fault.keys not in failed]
    if settings is not None and not found:
        return settings
    places = _Places(path, document.lines, overridden.origins)
    lines = [_told(fault, places, resolved) for fault in found]
    count = "1 fault" if len(lines) == 1 else f"{len(lines)} faults"
    kinds = {fault.kind for fault in found}
    error = kinds.pop() if len(kinds) == 1 else ConfigError
    raise error("\n".join([*lines, f"{path}: {count}, nothing was started: correct the above and run it again"]))


class _Places(NamedTuple):
    """Where a person finds a value: the variable or option that set it, or the file and line."""

    path: Path
    lines: Mapping[Keys, int]
    origins: Mapping[Keys, str]

    def of(self, keys: Keys) -> str:
        nearest = [keys[:length] for length in range(len(keys), -1, -1)]
        for above in nearest:
            if above in self.origins:
                return self.origins[above]
        line = next((self.lines[above] for above in nearest if above in self.lines), None)
        return f"{self.path}:{line}" if line else str(self.path)


def _told(fault: Fault, places: _Places, resolved: Resolved) -> str:
    hidden = not fault.shows or fault.keys in resolved.secrets
    told = "" if hidden else f", not {shown(get(resolved.values, fault.keys))}"
    return f"{places.of(fault.keys)}: {dotted(fault.keys)}: {fault.message}{told}"


def _settings(values: Tree, context: Context) -> tuple[Settings | None, list[Fault]]:
    """Return the settings, or all that is wrong with them. Loops are sought among ill-typed topics too."""
    try:
        return Settings.model_validate(values, context=context), []
    except ValidationError as error:
        faults = [fault for detail in error.errors() for fault in _faults(detail)]
    topics = values.get("topics")
    if isinstance(topics, dict):
        faults += [replace(fault, keys=("topics", *fault.keys)) for fault in lane_faults(topics)]
    return None, faults


def _faults(detail: ErrorDetails) -> Iterator[Fault]:
    """Yield the faults in one of pydantic's errors."""
    keys = tuple(str(part) for part in detail["loc"] if part != "[key]")
    raised = detail.get("ctx", {}).get("error")
    if isinstance(raised, FaultsError):
        for fault in raised.faults:
            yield replace(fault, keys=(*keys, *fault.keys), shows=fault.shows and "[key]" not in detail["loc"])
    elif detail["type"] == "missing":
        yield Fault(keys, f"missing: {description(keys)}")
    elif detail["type"] == "extra_forbidden":
        yield Fault(keys, f"unknown key; {did_you_mean(keys[-1], siblings(keys))}")
    else:
        yield Fault(keys, _demand(detail), shows=True)


_DEMANDS: Final = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "enum": "must be {expected}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "model_type": "must be a mapping",
    "mapping_type": "must be a mapping",
}


def _demand(detail: ErrorDetails) -> str:
    """Return what a value must be, in the words of the people who write configurations."""
    known = _DEMANDS.get(detail["type"])
    demand = known.format(**detail.get("ctx", {})) if known else detail["msg"]
    if detail["type"] != "string_type":
        return demand
    if isinstance(detail["input"], bool):
        return f"{demand}, in quotes because YAML reads on, off, yes and no as true and false"
    return f"{demand}, in quotes" if isinstance(detail["input"], int | float) else demand
