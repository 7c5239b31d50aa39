"""`scorer run`: the service."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from threading import Event, Thread, Timer
from typing import TYPE_CHECKING, Annotated

import typer

from scorer.cli import assembly, garbage
from scorer.cli.stopping import beside

if TYPE_CHECKING:
    from scorer.config import Settings
    from scorer.telemetry import Telemetry
    from scorer.telemetry.log import JsonLog

LOOK_EVERY = 4.0
"""Seconds between two looks whether the loop waits for Kafka, and whether what it writes to is there."""
TRIM_EVERY = 15
"""Looks between two times that memory is given back."""
GRACE = 9.0
"""Seconds from a signal to the end. Whatever hangs then is left to its time-outs: a crash loses nothing either."""
LAST_WORDS = 0.5
"""Seconds that the log may take for its last line: its reader may be gone, or hang itself."""
LIBRARIES = ("scorer", "tensorflow", "confluent-kafka", "numpy", "msgspec")


def run(
    configuration: Annotated[Path, typer.Argument(help="The configuration, YAML or TOML.", metavar="SCORER.YAML")],
    properties: Annotated[
        list[str] | None, typer.Option("-X", metavar="PROP=VALUE", help="A librdkafka property, over the file's.")
    ] = None,
) -> None:
    """Score topics until SIGTERM or Ctrl-C."""
    # NumPy's BLAS, which nothing here is large enough for, makes a thread for every core of the host as it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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

    from scorer.compiled import BUILT
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
    health = Health(tuple(settings.topics), max_silence=assembly.LOOP_SILENCE, clock=time.monotonic)
    server = HttpServer(settings.http.listen, metrics.registry, health, clock=time.monotonic)
    stack.callback(server.close)
    telemetry = Telemetry(health, metrics, log)
    versions = {library: importlib.metadata.version(library) for library in LIBRARIES}
    versions["compiled"] = "yes" if BUILT else "no"
    telemetry.tell(
        ServiceStarted(settings.group, settings.instance, settings.delivery, tuple(settings.topics), versions)
    )
    log.write("info", "listening", {"host": settings.http.host, "port": server.port})
    return log, telemetry


def _stop_on_signals(stopping: Event, telemetry: Telemetry, log: JsonLog) -> None:
    """Let SIGTERM and Ctrl-C set a flag: an exception in a handler would cost fetched records."""
    from scorer.telemetry.facts import ServiceStopping

    def tell() -> None:
        log.write("warning", "gave_up_waiting", {"seconds": GRACE, "left_open": "the broker aborts it by its time-out"})

    def give_up() -> None:
        last_words = Thread(target=tell, daemon=True)
        last_words.start()
        last_words.join(LAST_WORDS)
        os._exit(0)

    def stop(number: int) -> None:
        if not stopping.is_set():
            stopping.set()
            timer = Timer(GRACE, give_up)
            timer.daemon = True
            timer.start()
            telemetry.tell(ServiceStopping(signal.Signals(number).name))

    hand_on = beside(stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: hand_on(number))


def _serve(settings: Settings, telemetry: Telemetry, stopping: Event, stack: ExitStack) -> int:
    """Join the parts and turn the loop; return the events settled."""
    from scorer.broker.kafka import Cluster, Identity, KafkaSource
    from scorer.service.outage import Outage

    bundles = assembly.opened(settings)  # before Kafka hears of us: what is not trusted leaves no topic behind
    identity = Identity(settings.group, settings.instance)
    cluster = Cluster(settings.kafka, identity)
    outputs = {name: topic for topic, s in settings.topics.items() for name in (s.decisions, s.dead_letters)}
    cluster.ensure_topics(list(settings.topics), outputs, create=settings.create_topics)
    kafka = assembly.within(settings.kafka, cluster.message_limit(outputs))
    lanes = assembly.lanes(settings, bundles, telemetry, int(kafka["message.max.bytes"]))
    if stopping.is_set():
        return 0
    cluster.refuse_twin(stopping.wait)
    hear = assembly.hearing(telemetry)
    shapes = cluster.shapes(settings.topics)
    sink = assembly.sink(settings, kafka, identity, hear, shapes)
    stack.callback(sink.close)
    first = assembly.first_offsets(settings, cluster, shapes)
    changed = cluster.watch(shapes, time.monotonic)
    outputs_gone = cluster.watch_outputs(outputs, hear)
    cluster.close()
    source = KafkaSource(settings.kafka, identity, list(settings.topics), hear=hear, first=first, shapes=shapes)
    stack.callback(source.close)
    outage = Outage(telemetry.tell, time.monotonic)
    stack.callback(_look_out(outage.look, outputs_gone))
    pool = stack.enter_context(ThreadPoolExecutor(1, "delivery"))

    def aside(call: Callable[[], None]) -> Callable[[], None]:
        return pool.submit(call).result

    def watch() -> None:
        gc.collect()
        changed()

    stack.enter_context(garbage.held())
    return assembly.service(settings, source, sink, lanes, telemetry, outage, aside, stopping, watch).run()


def _look_out(*looks: Callable[[], None]) -> Callable[[], None]:
    """Look around every few seconds, and give back memory now and then, in a thread; return what ends that."""
    ended = Event()
    # After a broker's outage glibc keeps what the client's threads had read ahead. Other C libraries have no such call.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)

    def look() -> None:
        for number in count(1):
            if ended.wait(LOOK_EVERY):
                return
            for one in looks:
                one()
            if number % TRIM_EVERY == 0:
                trim(0)

    Thread(target=look, name="look-out", daemon=True).start()
    return ended.set
