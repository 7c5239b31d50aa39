"""`scorer run`: the service."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread, Timer
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scorer.broker.contract import Fault, Sink, Source
    from scorer.broker.kafka import Identity, Trouble
    from scorer.broker.kafka.clients import Properties
    from scorer.broker.kafka.positions import Shapes
    from scorer.bundle import Bundle
    from scorer.config import Settings
    from scorer.pipeline import Lane
    from scorer.service.delivery import Delivery
    from scorer.service.loop import Service
    from scorer.service.outage import Outage
    from scorer.telemetry import Telemetry
    from scorer.telemetry.log import JsonLog

LOOK_EVERY = 4.0
"""Seconds between two looks whether the loop waits for Kafka."""
GRACE = 9.0
"""Seconds from a signal to the end. Whatever hangs then is left to its time-outs: a crash loses nothing either."""
LOOP_SILENCE = 300.0
"""Seconds without a turn of the loop after which it is not alive: the client's `max.poll.interval.ms`."""
LIBRARIES = ("scorer", "tensorflow", "confluent-kafka", "numpy", "msgspec")


def run(
    configuration: Annotated[Path, typer.Argument(help="The configuration, YAML or TOML.", metavar="SCORER.YAML")],
    properties: Annotated[
        list[str] | None, typer.Option("-X", metavar="PROP=VALUE", help="A librdkafka property, over the file's.")
    ] = None,
) -> None:
    """Score topics until SIGTERM or Ctrl-C."""
    from scorer import config
    from scorer.errors import BrokerError
    from scorer.telemetry.facts import ServiceStopped

    settings = config.load(configuration, environment=os.environ, properties=properties or [])
    stopping = Event()
    with ExitStack() as stack:
        log, telemetry = _telemetry(settings, stack)
        _stop_on_signals(stopping, telemetry, log)
        started = time.monotonic()
        try:
            settled = _serve(settings, telemetry, stopping, stack)
        except BrokerError as error:
            if not stopping.is_set():
                raise
            # Whoever stops the scorer while its broker is away has not made a mistake, and nothing is lost.
            log.write("warning", "stopped_without_broker", {"message": str(error)})
            return
        telemetry.tell(ServiceStopped(settled, time.monotonic() - started))


def _telemetry(settings: Settings, stack: ExitStack) -> tuple[JsonLog, Telemetry]:
    """Open the log, the metrics and their page; a port in use is found before anything else is begun."""
    import importlib.metadata

    from scorer.telemetry import Telemetry
    from scorer.telemetry.facts import ServiceStarted
    from scorer.telemetry.health import Health
    from scorer.telemetry.http import HttpServer
    from scorer.telemetry.log import JsonLog
    from scorer.telemetry.metrics import Metrics

    log = JsonLog(sys.stderr, clock=time.time, ticks=time.monotonic)
    logging.captureWarnings(True)
    for name in ("py.warnings", "scorer", "scorer.librdkafka"):
        log.python_logger(name)
    metrics = Metrics(clock=time.time)
    health = Health(tuple(settings.topics), max_silence=LOOP_SILENCE, clock=time.monotonic)
    server = HttpServer(settings.http.listen, metrics.registry, health, clock=time.monotonic)
    stack.callback(server.close)
    telemetry = Telemetry(health, metrics, log)
    versions = {library: importlib.metadata.version(library) for library in LIBRARIES}
    telemetry.tell(
        ServiceStarted(settings.group, settings.instance, settings.delivery, tuple(settings.topics), versions)
    )
    log.write("info", "listening", {"host": settings.http.host, "port": server.port})
    return log, telemetry


def _stop_on_signals(stopping: Event, telemetry: Telemetry, log: JsonLog) -> None:
    """Let SIGTERM and Ctrl-C set a flag, and nothing more: an exception in a handler would cost fetched records."""
    from scorer.telemetry.facts import ServiceStopping

    def give_up() -> None:
        log.write("warning", "gave_up_waiting", {"seconds": GRACE, "left_open": "the broker aborts it by its time-out"})
        os._exit(0)

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if not stopping.is_set():
            stopping.set()
            timer = Timer(GRACE, give_up)
            timer.daemon = True
            timer.start()
            telemetry.tell(ServiceStopping(signal.Signals(number).name))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _serve(settings: Settings, telemetry: Telemetry, stopping: Event, stack: ExitStack) -> int:
    """Join the parts and turn the loop; return the events settled."""
    from scorer.broker.kafka import Cluster, Identity, KafkaSource
    from scorer.config import Start
    from scorer.service.outage import Outage

    bundles = _bundles(settings)  # before Kafka hears of us: what is not trusted leaves no topic behind
    identity = Identity(settings.group, settings.instance)
    cluster = Cluster(settings.kafka, identity)
    outputs = {name: topic for topic, s in settings.topics.items() for name in (s.decisions, s.dead_letters)}
    cluster.ensure_topics(list(settings.topics), outputs, create=settings.create_topics)
    kafka = _within(settings.kafka, cluster.message_limit(outputs))
    lanes = _lanes(settings, bundles, telemetry, int(kafka["message.max.bytes"]))
    if stopping.is_set():
        return 0
    cluster.refuse_twin(stopping.wait)
    hear = _hearing(telemetry)
    shapes = cluster.shapes(settings.topics)
    sink = _sink(settings, kafka, identity, hear, shapes)
    stack.callback(sink.close)
    if settings.start is None:
        cluster.refuse_blind_start(shapes, {name: topic.decisions for name, topic in settings.topics.items()})
    first = cluster.establish(shapes, settings.start or Start.EARLIEST)
    watch = cluster.watch(shapes, time.monotonic)
    cluster.close()
    source = KafkaSource(settings.kafka, identity, list(settings.topics), hear=hear, first=first, shapes=shapes)
    stack.callback(source.close)
    gc.collect()
    gc.freeze()  # models and lanes live for ever: no collection needs to walk them again
    outage = Outage(telemetry.tell, time.monotonic)
    stack.callback(_look_out(outage))
    return _service(settings, source, sink, lanes, telemetry, outage, stopping, watch).run()


def _look_out(outage: Outage) -> Callable[[], None]:
    """Look at the outage every few seconds, in a thread; return what ends that."""
    ended = Event()

    def look() -> None:
        while not ended.wait(LOOK_EVERY):
            outage.look()

    Thread(target=look, name="outage", daemon=True).start()
    return ended.set


def _service(  # noqa: PLR0917 - what a service is made of
    settings: Settings,
    source: Source,
    sink: Sink,
    lanes: Mapping[str, Lane],
    telemetry: Telemetry,
    outage: Outage,
    stopping: Event,
    watch: Callable[[], None],
) -> Service:
    from scorer.service.batcher import Batcher
    from scorer.service.breaker import Breakers
    from scorer.service.loop import Service
    from scorer.service.pace import BATCH_SECONDS, Pace

    most = int(settings.kafka.get("max.poll.interval.ms", LOOP_SILENCE * 1000)) / 1000
    rows = {topic: lane.rows for topic, lane in lanes.items()}
    pace = Pace(rows, settings.batch.max_events, min(BATCH_SECONDS, most / 4))
    limits = {name: topic.max_dead_letters for name, topic in settings.topics.items()}
    return Service(
        source=source,
        delivery=_delivery(settings, sink, source, telemetry, stopping),
        lanes=lanes,
        pace=pace,
        batcher=Batcher(pace, settings.batch.max_wait_ms / 1000),
        breakers=Breakers({name: limit for name, limit in limits.items() if limit is not None}),
        outage=outage,
        telemetry=telemetry,
        stopping=stopping.is_set,
        watch=watch,
    )


def _within(kafka: Properties, limit: int | None) -> Properties:
    """Return the properties with a record's size held to what every topic that is written takes.

    A batch that only the broker finds too large would be aborted and tried again for ever.
    """
    own = int(kafka.get("message.max.bytes", 1_000_000))
    return {**kafka, "message.max.bytes": own if limit is None else min(own, limit)}


def _bundles(settings: Settings) -> Mapping[Path, Bundle]:
    """Load and prove every bundle once."""
    from scorer import bundle
    from scorer.bundle.trust.admission import Admission
    from scorer.bundle.trust.rollback import Served

    trust = settings.trust
    served = Served.of(os.environ, trust.keys, trust.allow_rollback)
    gates = (served, Admission.of(os.environ))
    paths = dict.fromkeys(topic.bundle for topic in settings.topics.values())
    bundles = {path: bundle.load(path, keys=trust.keys, gates=gates) for path in paths}
    served.remember(bundles.values())
    return bundles


def _lanes(
    settings: Settings, bundles: Mapping[Path, Bundle], telemetry: Telemetry, max_bytes: int
) -> Mapping[str, Lane]:
    """Make each topic's lane; a record may have `max_bytes`."""
    from scorer.telemetry.facts import BundleLoaded

    lanes = {}
    for name, topic in settings.topics.items():
        loaded = bundles[topic.bundle]
        lane = lanes[name] = loaded.lane(
            name,
            group=settings.group,
            decisions=topic.decisions,
            dead_letters=topic.dead_letters,
            bands=topic.bands,
            otherwise=topic.otherwise,
            max_bytes=max_bytes,
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
    return lanes


def _sink(
    settings: Settings, kafka: Properties, identity: Identity, hear: Callable[[Trouble], None], shapes: Shapes
) -> Sink:
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


def _delivery(settings: Settings, sink: Sink, source: Source, telemetry: Telemetry, stopping: Event) -> Delivery:
    from scorer.config import Delivery as Mode
    from scorer.service.delivery import AtLeastOnce, ExactlyOnce, Renewals
    from scorer.telemetry.facts import BrokerTrouble, Client, ProducerRenewed

    def hurried(fault: Fault) -> bool:
        telemetry.beat()  # waiting for a broker is not being dead: a restart would not help
        telemetry.tell(BrokerTrouble(Client.PRODUCER, fault.code, str(fault)))
        return stopping.is_set()

    renewals = Renewals(sink, lambda reason: telemetry.tell(ProducerRenewed(reason)), hurried=hurried)
    if settings.delivery is Mode.EXACTLY_ONCE:
        return ExactlyOnce(sink, renewals, hurried=hurried)
    return AtLeastOnce(sink, source, renewals)


def _hearing(telemetry: Telemetry) -> Callable[[Trouble], None]:
    from scorer.telemetry.facts import BrokerTrouble, Client

    def hear(trouble: Trouble) -> None:
        telemetry.tell(BrokerTrouble(Client(trouble.client), trouble.code, trouble.message))

    return hear
