"""`scorer replay`: a topic's past against a bundle and bands of one's choice."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from scorer.pipeline import Lane
    from scorer.replay.compare import Making, Recorded, Report
    from scorer.replay.run import Past, Slice, Watch


@dataclass(frozen=True, slots=True)
class Setting:
    """What a topic is replayed with; the topic of `decisions` must exist if it was asked for by name."""

    topic: str
    kafka: Mapping[str, Any]
    bundle: Path
    decisions: str
    must_exist: bool
    bands: Mapping[str, float] | None
    otherwise: str
    keys: Sequence[Path]


def replay(
    *,
    topic: Annotated[str, typer.Option(help="The topic whose events are scored again.")],
    start: Annotated[
        str, typer.Option("--from", help="First: beginning, a time (RFC 3339), -1h, -30m, -7d, or p0:123,p1:50.")
    ] = "beginning",
    stop: Annotated[str, typer.Option("--to", help="Where to stop, in the same words; not included.")] = "end",
    bundle: Annotated[Path | None, typer.Option(help="The bundle's directory, if not the configuration's.")] = None,
    configuration: Annotated[
        Path | None, typer.Option("--config", help="The service's configuration: Kafka, bundle, decisions, bands.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(metavar="NAME=SCORE,…", help="Bands, ascending, such as review=0.5,block=0.9.")
    ] = None,
    decisions: Annotated[str | None, typer.Option(help="Topic of the recorded decisions to compare with.")] = None,
    bootstrap: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Kafka's bootstrap.servers.")] = None,
    properties: Annotated[
        list[str] | None, typer.Option("-X", metavar="PROP=VALUE", help="A librdkafka property, over the file's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the replayed decisions.", show_default="replay-TOPIC.jsonl")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Score a slice of a topic again, and count what differs from the recorded decisions. Kafka is only read."""
    from scorer.broker.kafka.bounded import SliceReader
    from scorer.replay.positions import parse
    from scorer.replay.progress import Watcher
    from scorer.replay.run import choose, replay_slice, whole_file

    # What the client says of its troubles comes back in our own errors.
    logging.getLogger("scorer.librdkafka").addHandler(logging.NullHandler())
    now = time.time()
    first, last = parse(start, "--from", now), parse(stop, "--to", now)
    given = [*(properties or []), *([f"bootstrap.servers={bootstrap}"] if bootstrap else [])]
    setting = _setting(topic, configuration, given, bundle=bundle, decisions=decisions, bands=bands)
    watch = Watcher(sys.stderr, time.monotonic)
    file = out or Path(f"replay-{topic}.jsonl")
    with closing(SliceReader(setting.kafka, clock=time.monotonic)) as past, whole_file(file) as write:
        selected = choose(past, topic, first, last)
        lane, making = _lane(setting)
        recorded, not_compared = _recorded(past, selected, setting, watch)
        report = replay_slice(past, lane, selected, making, recorded, write=write, watch=watch, clock=time.monotonic)
    _print(report, file, not_compared, as_json=as_json)


def _setting(
    topic: str,
    configuration: Path | None,
    given: Sequence[str],
    *,
    bundle: Path | None,
    decisions: str | None,
    bands: str | None,
) -> Setting:
    """Join the options with the configuration; an option goes first."""
    from scorer import config
    from scorer.errors import SelectionError

    settings = config.load(configuration, environment=os.environ, properties=given) if configuration else None
    configured = settings.topics.get(topic) if settings else None
    path = bundle or (configured.bundle if configured else None)
    if path is None:
        where = f"{configuration} does not have the topic {topic}" if configuration else "there is no --config"
        raise SelectionError(f"no bundle to replay {topic} with: {where}; name one with --bundle")
    otherwise = configured.otherwise if configured else "approve"
    return Setting(
        topic=topic,
        kafka=settings.kafka if settings else _properties(given),
        bundle=path,
        decisions=decisions or (configured.decisions if configured else ""),
        must_exist=decisions is not None,
        bands=_bands(bands, otherwise) if bands else configured.bands if configured else None,
        otherwise=otherwise,
        keys=settings.trust.keys if settings else (),
    )


def _properties(given: Sequence[str]) -> Mapping[str, Any]:
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


def _bands(text: str, otherwise: str) -> Mapping[str, float]:
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


def _recorded(past: Past, selected: Slice, setting: Setting, watch: Watch) -> tuple[Recorded | None, str]:
    """Return the recorded decisions, or why there are none to compare with."""
    from scorer.errors import TopicMissingError
    from scorer.replay.run import recall

    if not setting.decisions:
        return None, "no --decisions topic was named"
    try:
        return recall(past, setting.topic, selected, setting.decisions, watch), ""
    except TopicMissingError:
        if setting.must_exist:
            raise
        return None, f"the configuration's decisions topic {setting.decisions} does not exist yet"


def _lane(setting: Setting) -> tuple[Lane, Making]:
    """Load and prove the bundle, and make the topic's lane of it."""
    from scorer import bundle
    from scorer.bundle.trust.admission import Admission
    from scorer.replay.compare import Making

    loaded = bundle.load(setting.bundle, keys=setting.keys, gates=[Admission.of(os.environ)])
    lane = loaded.lane(
        setting.topic,
        group="replay",
        decisions=setting.decisions,
        dead_letters="",  # neither is published: nothing leaves but the file
        bands=setting.bands,
        otherwise=setting.otherwise,
        max_bytes=int(setting.kafka.get("message.max.bytes", 1_000_000)),
    )
    return lane, Making(loaded.manifest.name, loaded.manifest.version, loaded.sha256, lane.bands.version)


def _print(report: Report, file: Path, not_compared: str, *, as_json: bool) -> None:
    import msgspec
    from rich.console import Console

    from scorer.replay.show import show

    if as_json:
        print(msgspec.json.encode(report).decode())
        return
    show(report, Console(markup=False, highlight=False), file=file, not_compared=not_compared)
