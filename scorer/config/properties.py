"""librdkafka's properties: passed straight through, but for those that the scorer owns or that would run code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from scorer.config.faults import Fault
from scorer.errors import ConfigError, OwnedPropertyError

Scalar: TypeAlias = str | int | float | bool

MASK: Final = "***"

_OWNED: Final = {
    "enable.auto.commit": "offsets are committed with the decisions they belong to",
    "enable.auto.offset.store": "offsets are committed with the decisions they belong to",
    "auto.offset.reset": "set start instead",
    "isolation.level": "only committed records are scored",
    "transactional.id": "it is made of group and instance: set those instead",
    "group.id": "set group instead",
    "group.instance.id": "set instance instead",
    "client.id": "it is made of group and instance: set those instead",
    "enable.idempotence": "it follows from delivery",
    "acks": "a decision counts as published when all in-sync replicas have it",
    "request.required.acks": "a decision counts as published when all in-sync replicas have it",
    "enable.partition.eof": "the scorer asks for ends of partitions, to know that only transactions' marks are left",
    "partitioner": "murmur2_random keeps a decision beside what Java producers write under the same key",
    "delivery.report.only.error": "every delivery is counted before offsets are committed",
}

# ssl.providers takes the path of a shared object as well as a provider's name, and OpenSSL loads it.
_RUNS_CODE: Final = frozenset(
    {"plugin.library.paths", "sasl.kerberos.kinit.cmd", "ssl.engine.location", "ssl.providers"}
)

_CALLBACK: Final = re.compile(
    r".*_cb|on_(delivery|commit|assign|revoke|lost)|opaque|logger|interceptors|enabled_events"
)

_SECRET_NAME: Final = re.compile(
    r"password|passphrase|secret|key\.pem|private\.key|token$|oauthbearer\.config|jaas|user\.info", re.IGNORECASE
)
_USER_IN_URL: Final = re.compile(r"://[^/@\s]+@")


def is_secret(name: str, value: object = "") -> bool:
    """Return whether a property must not be shown: by its name, or for a URL with a user and password in it."""
    return bool(_SECRET_NAME.search(name)) or bool(isinstance(value, str) and _USER_IN_URL.search(value))


class Properties(Mapping[str, Scalar]):
    """librdkafka's properties, frozen; `repr` masks the secrets, `dict(properties)` is what a client takes."""

    __slots__ = ("_hidden", "_values")

    def __init__(self, values: Mapping[str, Scalar], hidden: frozenset[str] = frozenset()) -> None:
        self._values = dict(values)
        self._hidden = hidden | {name for name, value in values.items() if is_secret(name, value)}

    def __getitem__(self, name: str) -> Scalar:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self.describe())

    def describe(self) -> dict[str, Scalar]:
        """Return the properties with the secrets masked."""
        return {name: MASK if name in self._hidden else value for name, value in self._values.items()}


def property_faults(properties: Mapping[str, object]) -> Iterator[Fault]:
    """Yield the faults of the `kafka` section. A value is never shown: which of them are secret is not ours to know."""
    if properties.get("bootstrap.servers") is None:
        yield Fault(("bootstrap.servers",), "missing: the brokers to connect to, as host:port,host:port")
    for name, value in properties.items():
        message, kind = _owned(name.strip().lower()) or _ill_typed(name, value) or ("", ConfigError)
        if message:
            yield Fault((name,), message, kind)


def _owned(name: str) -> tuple[str, type[ConfigError]] | None:
    if name in _OWNED:
        return f"belongs to the scorer ({_OWNED[name]}): remove it", OwnedPropertyError
    if name in _RUNS_CODE:
        return "would let a configuration run code: remove it", OwnedPropertyError
    if _CALLBACK.fullmatch(name):
        return "is a callback, which belongs to the scorer: remove it", OwnedPropertyError
    return None


def _ill_typed(name: str, value: object) -> tuple[str, type[ConfigError]] | None:
    if isinstance(value, dict):
        return (
            "is a mapping, and librdkafka's properties are flat: write the whole name as one key "
            '(in TOML in quotes, "bootstrap.servers")'
        ), ConfigError
    if value is None:
        # The one that is required is told as missing.
        return None if name == "bootstrap.servers" else ("has no value: give it one or remove it", ConfigError)
    if not isinstance(value, str | int | float):
        return f"must be text, a number, true or false, not a {type(value).__name__}", ConfigError
    if not isinstance(value, str) and (is_secret(name) or name == "bootstrap.servers"):
        return "must be text: put it in quotes, or YAML reads 0123 as 83 and on as true", ConfigError
    return None
