"""What a replay decides with: options and configuration → Kafka, bundle, bands; and the lane made of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.errors import SelectionError

if TYPE_CHECKING:
    from scorer.bundle import Bundle
    from scorer.bundle.drift import Drift
    from scorer.config import Topic
    from scorer.pipeline import Lane
    from scorer.replay.recorded import Making


@dataclass(frozen=True, slots=True)
class Setting:
    """What a topic is replayed with; the topic of `decisions` must exist if it was asked for by name.

    `live` are the configured topics: the service reads or writes them.
    """

    topic: str
    kafka: Mapping[str, Any]
    bundle: Path
    decisions: str
    must_exist: bool
    bands: Mapping[str, float] | None
    otherwise: str
    keys: Sequence[Path]
    live: frozenset[str]
    cloudevents: bool = False

    @property
    def title(self) -> str:
        """Say in words what decides."""
        bands = ",".join(f"{name}={edge:g}" for name, edge in self.bands.items()) if self.bands else "its own bands"
        return f"bundle {self.bundle} with {bands}"


def joined(
    topic: str,
    configuration: Path | None,
    given: Sequence[str],
    *,
    bundle: Path | None,
    decisions: str | None,
    bands: str | None,
    local: bool,
) -> Setting:
    """Join the options with the configuration; an option goes first. A `local` past needs no Kafka."""
    from scorer import config

    settings = config.load(configuration, environment=os.environ, properties=given) if configuration else None
    configured = settings.topics.get(topic) if settings else None
    path = bundle or (configured.bundle if configured else None)
    if path is None:
        where = f"{configuration} does not have the topic {topic}" if configuration else "there is no --config"
        raise SelectionError(f"no bundle to replay {topic} with: {where}; name one with --bundle")
    otherwise = configured.otherwise if configured else "approve"
    return Setting(
        topic=topic,
        kafka=settings.kafka if settings else {} if local and not given else client_properties(given),
        bundle=path,
        decisions=decisions or (configured.decisions if configured else ""),
        must_exist=decisions is not None,
        bands=read_bands(bands, otherwise) if bands else configured.bands if configured else None,
        otherwise=otherwise,
        keys=settings.trust.keys if settings else (),
        live=written(settings.topics.values()) | set(settings.topics) if settings else frozenset(),
        cloudevents=bool(configured and configured.cloudevents),
    )


def compared(setting: Setting, bundle: Path | None, bands: str | None) -> Setting | None:
    """Return what another bundle, or other bands, decide with; None where neither is named.

    Raises SelectionError where recorded decisions are named too.
    """
    if bundle is None and bands is None:
        return None
    if setting.must_exist:
        raise SelectionError("--decisions and --against name two things to compare with; choose one")
    if bands:
        return replace(setting, bundle=bundle or setting.bundle, bands=read_bands(bands, setting.otherwise))
    return replace(setting, bundle=bundle or setting.bundle)


def written(topics: Iterable[Topic]) -> frozenset[str]:
    """Return the topics that the scorer writes: decisions, dead letters, and what remembers which were redriven."""
    from scorer.dlq.ledger import ledger_of

    return frozenset(name for one in topics for name in (one.decisions, one.dead_letters, ledger_of(one.dead_letters)))


def client_properties(given: Sequence[str]) -> Mapping[str, Any]:
    """Return the properties of `-X` and `--bootstrap`, by the rules of a configuration's `kafka` section."""
    from scorer.config.environment import override
    from scorer.config.faults import dotted
    from scorer.config.properties import property_faults
    from scorer.config.secrets import resolve
    from scorer.errors import ConfigError

    overridden = override({}, {}, given)
    resolved = resolve(overridden.values, environment=os.environ, directory=Path(), literal=frozenset())
    kafka: Any = resolved.values.get("kafka", {})
    if "bootstrap.servers" not in kafka:
        raise ConfigError("no Kafka to read from: name a broker with --bootstrap HOST:PORT, or a --config")
    faults = [*overridden.faults, *resolved.faults, *property_faults(kafka)]
    if faults:
        raise faults[0].kind("\n".join(f"-X {dotted(fault.keys)}: {fault.message}" for fault in faults))
    return dict(kafka)


def read_bands(text: str, otherwise: str) -> Mapping[str, float]:
    """Read `review=0.5,block=0.9`; raises BandsError for what is none, or not ascending within (0, 1)."""
    from scorer.config import check_bands
    from scorer.errors import BandsError

    bands: dict[str, float] = {}
    for part in text.split(","):
        name, _, edge = part.rpartition("=")
        if not name or name in bands:
            raise BandsError(f"--bands {text!r}: {part!r} is not one more NAME=SCORE; write review=0.5,block=0.9")
        try:
            bands[name] = float(edge)
        except ValueError as error:
            raise BandsError(f"--bands {text!r}: {edge!r} is no number; write review=0.5,block=0.9") from error
    if faults := check_bands(bands, "--bands", otherwise=otherwise):
        raise BandsError("\n".join(faults))
    return bands


@dataclass(frozen=True, slots=True)
class Judge:
    """What decides a replay's events: a proved bundle, and the topic's lane that is made of it."""

    bundle: Bundle
    lane: Lane
    making: Making

    def drift(self) -> Drift | None:
        """Return what counts events against the bundle's references; None where it was packed without examples."""
        from scorer.bundle.drift import Drift

        manifest = self.bundle.manifest
        return Drift(manifest.reference, manifest.plan, self.bundle.transform) if manifest.reference else None


def judge(setting: Setting) -> Judge:
    """Load and prove the bundle, and make the topic's lane of it."""
    from scorer import bundle
    from scorer.bundle.trust.admission import Admission
    from scorer.replay.recorded import Making

    loaded = bundle.load(setting.bundle, keys=setting.keys, gates=[Admission.of(os.environ)])
    made = loaded.lane(
        setting.topic,
        group="replay",
        decisions=setting.decisions,
        dead_letters="",  # neither is published: nothing leaves but the file
        bands=setting.bands,
        otherwise=setting.otherwise,
        max_bytes=int(setting.kafka.get("message.max.bytes", 1_000_000)),
        cloudevents=setting.cloudevents,
    )
    making = Making(loaded.manifest.name, loaded.manifest.version, loaded.sha256, made.bands.version)
    return Judge(loaded, made, making)
