"""The settings: what each key is, its type, its default and its one sentence, all frozen and checked at birth."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    Strict,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationInfo,
    field_validator,
)

from scorer.config.bands import band_faults
from scorer.config.faults import Fault, FaultsError
from scorer.config.properties import MASK, Properties, property_faults
from scorer.config.tree import Keys
from scorer.errors import BandsError


class Context(NamedTuple):
    """What a validator knows of where the values came from: the file's directory, and what came from a `${…}`."""

    directory: Path = Path()
    secrets: frozenset[Keys] = frozenset()


class Delivery(StrEnum):
    """What a crash may do to decisions: nothing, or repeat some of them."""

    EXACTLY_ONCE = "exactly-once"
    AT_LEAST_ONCE = "at-least-once"


class Start(StrEnum):
    """Where a group without committed offsets begins."""

    EARLIEST = "earliest"
    LATEST = "latest"


def _refuse(message: str) -> FaultsError:
    return FaultsError([Fault((), message, shows=True)])


def _topic_name(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name) or name in {".", ".."}:
        raise _refuse("must be 1 to 249 letters, digits, '.', '_' or '-', as Kafka names topics, and not '.' or '..'")
    return name


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 249:
        raise _refuse("must be 1 to 249 characters on one line")
    return text


def _instance(instance: object) -> object:
    text = str(instance) if isinstance(instance, int) and not isinstance(instance, bool) else instance
    if not isinstance(text, str) or not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}", text):
        raise _refuse("must be a number from 0, or up to 63 letters, digits, '.', '_' or '-' (a pod's ordinal or name)")
    return text


def _bundle(bundle: object, info: ValidationInfo) -> Path:
    if not isinstance(bundle, str | Path):
        raise _refuse("must be a path")
    context = info.context if isinstance(info.context, Context) else Context()
    return context.directory / _line(str(bundle))


def _keys(keys: object, info: ValidationInfo) -> tuple[Path, ...]:
    context = info.context if isinstance(info.context, Context) else Context()
    return tuple(context.directory / _line(key) for key in _items(keys, "paths"))


def _rollbacks(bundles: object) -> tuple[str, ...]:
    found = tuple(map(_line, _items(bundles, "bundles, each as name:version")))
    if not all(name and version for name, _, version in (bundle.rpartition(":") for bundle in found)):
        raise _refuse("must be bundles, each as name:version, such as card-fraud:6")
    return found


def _items(value: object, what: str) -> list[str]:
    """Return a list's texts; one text alone, as a variable of the environment has it, separates them by commas."""
    items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str | Path) for item in items):
        raise _refuse(f"must be a list of {what}")
    return list(map(str, items))


def _properties(values: object, info: ValidationInfo) -> Properties:
    if not isinstance(values, Mapping):
        raise _refuse("must be a mapping of librdkafka properties")
    if faults := list(property_faults(values)):
        raise FaultsError(faults)
    context = info.context if isinstance(info.context, Context) else Context()
    return Properties(values, frozenset(keys[1] for keys in context.secrets if keys[0] == "kafka" and len(keys) > 1))


def _listen(listen: str) -> str:
    host, colon, port = listen.rpartition(":")
    good = bool(re.fullmatch(r"[a-zA-Z0-9._-]+", host)) or _is_bracketed_ipv6(host)
    if not colon or not good or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise _refuse("must be host:port, such as 127.0.0.1:9464, 0.0.0.0:9464 for everywhere, or [::1]:9464")
    return listen


def _is_bracketed_ipv6(host: str) -> bool:
    try:
        return host.startswith("[") and host.endswith("]") and bool(ipaddress.IPv6Address(host[1:-1]).max_prefixlen)
    except ValueError:
        return False


TopicName = Annotated[StrictStr, AfterValidator(_topic_name)]
Line = Annotated[StrictStr, AfterValidator(_line)]


class Section(BaseModel):
    """A part of the settings. Its `repr` is its `describe`: what came from a `${…}` is masked in both."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    _hidden: frozenset[str] = PrivateAttr(default=frozenset())

    def describe(self) -> dict[str, Any]:
        """Return the effective settings as plain JSON values, with the secrets masked as `***`."""
        return {name: MASK if name in self._hidden else _plain(getattr(self, name)) for name in type(self).model_fields}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield from self.describe().items()

    def _hide(self, secrets: frozenset[Keys]) -> None:
        """Remember which fields came from a secret; `secrets` are keys relative to this section."""
        self._hidden = frozenset(keys[0] for keys in secrets)


def _plain(value: object) -> object:
    if isinstance(value, Section | Properties):
        return value.describe()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return list(map(_plain, value))
    return str(value) if isinstance(value, Path | StrEnum) else value


class Batch(Section):
    """How long and how far a micro-batch gathers."""

    max_events: Annotated[StrictInt, Field(ge=1, le=65536)] = Field(
        4096, description="Most events of one micro-batch, over all topics, 1 to 65536."
    )
    max_wait_ms: Annotated[float, Strict(), Field(ge=0, le=60000, allow_inf_nan=False)] = Field(
        0.0, description="Longest wait to fill a batch, in ms, to 60000 and ¼ of `max.poll.interval.ms`; at 0, none."
    )


class Topic(Section):
    """What scores one input topic, and where its decisions and dead letters go."""

    bundle: Annotated[Path, PlainValidator(_bundle)] = Field(
        description="Directory of the bundle, relative to the configuration file's directory."
    )
    decisions: TopicName = Field(description="Topic that decisions are published to.")
    dead_letters: TopicName = Field(description="Topic that rejected events are published to, byte for byte.")
    max_dead_letters: Annotated[float, Strict(), Field(ge=0, lt=1, allow_inf_nan=False)] | None = Field(
        None,
        description="Share of dead letters among a topic's latest 1,000 events above which it is stopped, 0 to below "
        "1: nothing is dropped, and a batch is tried every 30 s. Without it a topic never stops.",
    )
    cloudevents: StrictBool = Field(False, description="Give decisions the headers of CloudEvents 1.0, binary mode.")
    otherwise: Line = Field("approve", description="Decision for a score below the lowest band.")
    bands: Annotated[Mapping[str, float], AfterValidator(MappingProxyType)] | None = Field(
        None, description="Lowest score of each band, ascending; without it the bundle's own bands are used."
    )

    @field_validator("bands", mode="before")
    @classmethod
    def _check_bands(cls, bands: object, info: ValidationInfo) -> object:
        if not isinstance(bands, Mapping):
            return bands
        found = list(band_faults(bands, info.data.get("otherwise", "")))
        if found:
            raise FaultsError(
                Fault((name,) if name in bands else (), message, BandsError, at_edge)
                for name, message, at_edge in found
            )
        return bands


class Trust(Section):
    """Which bundles may be served."""

    keys: Annotated[tuple[Path, ...], PlainValidator(_keys)] = Field(
        (), description="Public Ed25519 keys (PEM files); with any, only bundles that one of them signed are served."
    )
    allow_rollback: Annotated[tuple[str, ...], PlainValidator(_rollbacks)] = Field(
        (), description="Bundles, as name:version, that may be served although this machine has served a newer version."
    )


class Http(Section):
    """Where metrics, health and the status page are served."""

    listen: Annotated[StrictStr, AfterValidator(_listen)] = Field(
        "127.0.0.1:9464",
        description="Address that serves metrics, health and status, as host:port; port 0 is any free one.",
    )

    @property
    def host(self) -> str:
        """The host to bind to, without the brackets of an IPv6 address."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to bind to; 0 lets the system choose."""
        return int(self.listen.rpartition(":")[2])


def lane_faults(topics: Mapping[str, object]) -> Iterator[Fault]:
    """Yield the topics that feed themselves, or mix decisions with dead letters; `topics` may still be ill-typed."""
    lanes = {name: topic for name, topic in topics.items() if isinstance(topic, Mapping | Topic)}
    decisions = {_lane(topic, "decisions") for topic in lanes.values()} - {None}
    for name, topic in lanes.items():
        for key in (key for key in ("decisions", "dead_letters") if _lane(topic, key) in topics):
            yield Fault((name, key), "is a topic that the scorer also reads, a loop: publish to another one")
        if _lane(topic, "dead_letters") in decisions:
            yield Fault((name, "dead_letters"), "is a topic that decisions go to: give dead letters their own")


def _lane(topic: object, key: str) -> str | None:
    value = topic.get(key) if isinstance(topic, Mapping) else getattr(topic, key)
    return value if isinstance(value, str) else None


def _topics(topics: Mapping[str, Topic]) -> Mapping[str, Topic]:
    if not topics:
        raise FaultsError([Fault((), "names no topic: give at least one to score")])
    if faults := list(lane_faults(topics)):
        raise FaultsError(faults)
    return MappingProxyType(topics)


class Settings(Section):
    """The whole configuration, read once at the start."""

    kafka: Annotated[Properties, PlainValidator(_properties)] = Field(
        description="librdkafka properties, passed straight through; bootstrap.servers is required."
    )
    group: Line = Field(description="Consumer group, whose committed offsets say what is already decided.")
    instance: Annotated[StrictStr, BeforeValidator(_instance)] = Field(
        "0", description="Number or name that tells this scorer from the others of its group, such as a pod's ordinal."
    )
    start: Start | None = Field(
        None,
        description="Where to begin when the group has committed nothing on any partition of a topic. Unset: earliest, "
        "unless the topic's decisions are there already: then it is refused.",
    )
    delivery: Delivery = Field(
        Delivery.EXACTLY_ONCE, description="Whether a crash repeats no decision, or may repeat the last ones."
    )
    create_topics: StrictBool = Field(False, description="Whether missing topics are created at the start.")
    batch: Batch = Field(default_factory=Batch, description="Bounds of a micro-batch.")
    topics: Annotated[Mapping[TopicName, Topic], AfterValidator(_topics)] = Field(
        description="The topics to score, by name."
    )
    trust: Trust = Field(default_factory=Trust, description="Which bundles may be served.")
    http: Http = Field(default_factory=Http, description="The page for metrics, health and status.")

    @property
    def transactional_id(self) -> str:
        """The producer's identity: a second scorer with the same one fences the first."""
        return f"{self.group}-{self.instance}"

    def model_post_init(self, context: Any, /) -> None:
        """Hand every section the secrets in it, so that no `repr` of a part shows them either."""
        secrets = context.secrets if isinstance(context, Context) else frozenset()
        self._hide(frozenset(keys for keys in secrets if len(keys) == 1))
        sections: dict[Keys, Section] = {("batch",): self.batch, ("trust",): self.trust, ("http",): self.http}
        sections |= {("topics", name): topic for name, topic in self.topics.items()}
        for keys, section in sections.items():
            section._hide(frozenset(s[len(keys) :] for s in secrets if s[: len(keys)] == keys))
