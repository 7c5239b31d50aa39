"""The service's parts made and joined, as the settings say: bundles, lanes, the sink, and the loop itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scorer.broker.contract import Fault, Sink, Source
    from scorer.broker.kafka import Cluster, Identity, Trouble
    from scorer.broker.kafka.clients import Properties
    from scorer.broker.kafka.positions import Shapes
    from scorer.bundle import Bundle
    from scorer.config import Settings
    from scorer.pipeline import Lane
    from scorer.records import Offsets
    from scorer.service.delivery import Aside, Delivery
    from scorer.service.loop import Service
    from scorer.service.outage import Outage
    from scorer.telemetry import Telemetry

LOOP_SILENCE = 300.0
"""Seconds without a turn of the loop after which it is not alive: the client's `max.poll.interval.ms`."""


def opened(settings: Settings) -> Mapping[Path, Bundle]:
    """Load and prove every bundle once."""
    from scorer import bundle
    from scorer.bundle.trust.admission import Admission
    from scorer.bundle.trust.rollback import Served

    trust = settings.trust
    served = Served.of(os.environ, trust.keys, trust.allow_rollback)
    gates = (served, Admission.of(os.environ))
    paths = dict.fromkeys(topic.bundle for topic in settings.topics.values())
    loaded = {path: bundle.load(path, keys=trust.keys, gates=gates) for path in paths}
    served.remember(loaded.values())
    return loaded


def lanes(
    settings: Settings, bundles: Mapping[Path, Bundle], telemetry: Telemetry, max_bytes: int
) -> Mapping[str, Lane]:
    """Make each topic's lane; a record may have `max_bytes`."""
    from scorer.telemetry.facts import BundleLoaded

    made = {}
    for name, topic in settings.topics.items():
        loaded = bundles[topic.bundle]
        lane = made[name] = loaded.lane(
            name,
            group=settings.group,
            decisions=topic.decisions,
            dead_letters=topic.dead_letters,
            bands=topic.bands,
            otherwise=topic.otherwise,
            max_bytes=max_bytes,
            cloudevents=topic.cloudevents,
        )
        bands = dict(zip(lane.bands.names[1:], lane.bands.edges[1:].tolist(), strict=True))
        telemetry.tell(
            BundleLoaded(
                name,
                loaded.manifest.name,
                loaded.manifest.version,
                loaded.sha256,
                lane.bands.version,
                bands,
                topic.otherwise,
            )
        )
    return made


def within(kafka: Properties, limit: int | None) -> Properties:
    """Return the properties with a record's size held to what every topic that is written takes.

    A batch that only the broker finds too large would be aborted and tried again for ever.
    """
    own = int(kafka.get("message.max.bytes", 1_000_000))
    return {**kafka, "message.max.bytes": own if limit is None else min(own, limit)}


def hearing(telemetry: Telemetry) -> Callable[[Trouble], None]:
    """Return what tells the telemetry of a client's troubles."""
    from scorer.telemetry.facts import BrokerTrouble, Client

    def hear(trouble: Trouble) -> None:
        telemetry.tell(BrokerTrouble(Client(trouble.client), trouble.code, trouble.message))

    return hear


def sink(
    settings: Settings, kafka: Properties, identity: Identity, hear: Callable[[Trouble], None], shapes: Shapes
) -> Sink:
    """Make the producer; raises BrokerError where it cannot begin."""
    from scorer.broker.contract import Fault
    from scorer.broker.kafka import KafkaSink
    from scorer.config import Delivery
    from scorer.errors import BrokerError

    transactional = settings.delivery is Delivery.EXACTLY_ONCE
    try:
        return KafkaSink(kafka, identity, transactional=transactional, hear=hear, shapes=shapes)
    except Fault as fault:
        raise BrokerError(
            f"transactional.id {identity.transactional_id}: cannot begin: {fault}; "
            "has the cluster a transaction coordinator, and may this user write transactions?"
        ) from fault


def first_offsets(settings: Settings, cluster: Cluster, shapes: Shapes) -> Offsets:
    """Commit where topics begin of which the group has committed nothing; return what its members must commit."""
    from scorer.config import Start

    if settings.start is None:
        cluster.refuse_blind_start(shapes, {name: topic.decisions for name, topic in settings.topics.items()})
    return cluster.establish(shapes, settings.start or Start.EARLIEST)


def service(  # noqa: PLR0917 - what a service is made of
    settings: Settings,
    source: Source,
    sink: Sink,
    lanes: Mapping[str, Lane],
    telemetry: Telemetry,
    outage: Outage,
    aside: Aside,
    stopping: Event,
    watch: Callable[[], None],
) -> Service:
    """Join the parts to the loop, which is turned until `stopping` is set."""
    from scorer.service.batcher import Batcher
    from scorer.service.breaker import Breakers
    from scorer.service.loop import Service
    from scorer.service.pace import BATCH_SECONDS, Pace

    quarter = quarter_poll(settings.kafka)
    rows = {topic: lane.rows for topic, lane in lanes.items()}
    pace = Pace(rows, settings.batch.max_events, min(BATCH_SECONDS, quarter))
    limits = {name: topic.max_dead_letters for name, topic in settings.topics.items()}
    return Service(
        source=source,
        delivery=_delivery(settings, sink, source, telemetry, aside, stopping),
        lanes=lanes,
        pace=pace,
        batcher=Batcher(pace, min(settings.batch.max_wait_ms / 1000, quarter)),
        breakers=Breakers({name: limit for name, limit in limits.items() if limit is not None}),
        outage=outage,
        telemetry=telemetry,
        stopping=stopping.is_set,
        watch=watch,
    )


def quarter_poll(kafka: Properties) -> float:
    """Return a quarter of `max.poll.interval.ms`, in seconds: the longest that a batch may gather, or be worked on."""
    return int(kafka.get("max.poll.interval.ms", LOOP_SILENCE * 1000)) / 4000


def _delivery(  # noqa: PLR0917 - what a delivery is made of
    settings: Settings, sink: Sink, source: Source, telemetry: Telemetry, aside: Aside, stopping: Event
) -> Delivery:
    from scorer.config import Delivery as Mode
    from scorer.service.delivery import AtLeastOnce, ExactlyOnce, Renewals
    from scorer.telemetry.facts import BrokerTrouble, Client, ProducerRenewed

    def hurried(fault: Fault) -> bool:
        telemetry.beat()  # waiting for a broker is not being dead: a restart would not help
        telemetry.tell(BrokerTrouble(Client.PRODUCER, fault.code, str(fault)))
        return stopping.is_set()

    renewals = Renewals(sink, lambda reason: telemetry.tell(ProducerRenewed(reason)), hurried=hurried)
    if settings.delivery is Mode.EXACTLY_ONCE:
        return ExactlyOnce(sink, renewals, aside, hurried=hurried)
    return AtLeastOnce(sink, source, renewals, aside)
