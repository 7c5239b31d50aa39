"""A real Apache Kafka on this machine, from pip alone: a directory in, a broker on loopback out.

The law: Java never outlives its owner. It lives in the process group of a guard, a shell that reads a pipe whose other
end only the owner holds; when the owner ends, however it ends, the guard kills its group. A group of its own also keeps
the terminal's Ctrl-C from Java. (Linux's parent-death signal is tied to the thread that started Java.)
"""

from __future__ import annotations

import logging
import random
import shutil
import signal
import socket
import time
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired, run
from typing import Any, NoReturn, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from scorer.broker.jars import java_command, locked
from scorer.errors import LocalBrokerError, PortTakenError

_log = logging.getLogger(__name__)

HOST = "127.0.0.1"
# Paths are relative to the directory Java runs in. The broker speaks to itself on a listener of its own: a proxy at the
# advertised port meets clients only. Nothing expires, however old its timestamp. A start after kill -9 waits out the
# broker's session (9 s by default). The cleaner's buffer would be 128 MB of the heap.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=CLIENT://{host}:{port},INTERNAL://{host}:{internal},CONTROLLER://{host}:{controller}
advertised.listeners=CLIENT://{host}:{advertised},INTERNAL://{host}:{internal}
listener.security.protocol.map=CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
log.retention.ms=-1
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
"""

NEEDED_MB = 64  # Kafka maps sparse index files of 10 MB, and dies without a word where the disk cannot back them
START_SECONDS = 90.0  # 3 s on two idle cores, 6 s after kill -9
STOP_SECONDS = 15.0
LOCK_SECONDS = 3.0  # Java needs a moment to vanish after its owner was killed; only then is the directory free


class LocalBroker:
    """Apache Kafka in a directory: a context manager, or `start()` and `stop()`, again and again with the same data.

    `port` 0 takes a free one, and keeps it. Clients are told to come to `advertised`, where a proxy may sit.
    """

    def __init__(self, directory: Path, port: int = 0, *, advertised: int | None = None) -> None:
        self.directory = directory.absolute()
        self.log = self.directory / "kafka.log"
        self.port = port or free_ports(1)[0]
        self.bootstrap = f"{HOST}:{self.port}"
        self._advertised = advertised or self.port
        self._held = ExitStack()
        self._process: Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of Java; raises LocalBrokerError if Kafka does not run."""
        return self._running().pid

    def start(self) -> Self:
        """Start Kafka, wait until it answers a metadata request, and return this object; at once if it runs.

        Raises PortTakenError; or LocalBrokerError where the directory is in use, not writable or full, where the jars
        cannot be fetched, and where Kafka ends or does not answer within 90 s: then with the last lines of its log.
        """
        if self._process and self._process.poll() is None:
            return self
        self.kill()
        try:
            with ExitStack() as held:
                self._process = self._launch(held)
                self._await_answer(self._process)
                self._held = held.pop_all()
        except (OSError, TimeoutExpired) as error:
            raise LocalBrokerError(f"cannot run Kafka in {self.directory}: {error}; try another directory") from error
        return self

    def stop(self) -> None:
        """End Kafka cleanly (SIGTERM), or after 15 s by force; nothing if it does not run."""
        try:
            if self._process and self._process.poll() is None:
                self._process.terminate()
                self._process.send_signal(signal.SIGCONT)  # a suspended process would not hear the other signal
                self._process.wait(STOP_SECONDS)
        except TimeoutExpired:
            _log.warning("Kafka has not ended within %.0f s: killing it", STOP_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """End Kafka as a crash would (SIGKILL); nothing if it does not run."""
        self._held.close()

    def suspend(self) -> None:
        """Halt Kafka where it stands (SIGSTOP): its port takes connections, and nobody answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended Kafka run on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def wait(self) -> NoReturn:
        """Wait until Kafka ends by itself, and raise LocalBrokerError with the last lines of its log."""
        raise self._failure(f"ended by itself with exit code {self._running().wait()}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _running(self) -> Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise self._failure("is not running")
        return self._process

    def _launch(self, held: ExitStack) -> Popen[bytes]:
        """Start Java and return at once; `held` gets what must be undone."""
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = held.enter_context(locked(self.directory / "kafka.lock", LOCK_SECONDS))
        self._require_room()
        java = java_command()
        log = held.enter_context(self.log.open("wb"))
        guard = Popen(["sh", "-c", "read -r line; kill -KILL 0"], stdin=PIPE, stdout=log, stderr=log, process_group=0)
        held.enter_context(guard)
        # Java inherits the lock: the directory is taken for as long as either of us lives.
        child: dict[str, Any] = {"cwd": self.directory, "process_group": guard.pid, "pass_fds": [lock]}
        child |= {"stdin": DEVNULL, "stdout": log, "stderr": STDOUT}
        _log.info("starting Apache Kafka in %s", self.directory)
        data = self.directory / "kafka-data"
        if not data.exists():
            self._format(java, data, child)
        self._configure(data)
        process: Popen[bytes] = held.enter_context(Popen([*java, "kafka.Kafka", "kafka.properties"], **child))
        held.callback(process.kill)
        return process

    def _format(self, java: list[str], data: Path, child: dict[str, Any]) -> None:
        """Format the data under another name, then move it into place: a kill leaves nothing half done."""
        unfinished = data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._configure(unfinished)
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id=scorer-local-kafka-AAA", "--config=kafka.properties"]
        if code := run([*java, *tool], check=False, timeout=START_SECONDS, **child).returncode:
            raise self._failure(f"could not be formatted (exit code {code})")
        unfinished.rename(data)

    def _configure(self, data: Path) -> None:
        internal, controller = [port for port in free_ports(3) if port != self.port][:2]
        ports = {"port": self.port, "advertised": self._advertised, "internal": internal, "controller": controller}
        (self.directory / "kafka.properties").write_text(PROPERTIES.format(host=HOST, data=data.name, **ports), "utf-8")

    def _require_room(self) -> None:
        if not _is_free(self.port):
            raise PortTakenError(f"port {self.port} on {HOST} is taken or reserved: name another, or 0 for a free one")
        free = shutil.disk_usage(self.directory).free
        if free < NEEDED_MB << 20:
            raise LocalBrokerError(f"{self.directory} is on a full disk: {free >> 20} MB free, {NEEDED_MB} MB needed")

    def _await_answer(self, process: Popen[bytes]) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})
        deadline = time.monotonic() + START_SECONDS
        while not _serves(admin):
            if process.poll() is not None:
                raise self._failure(f"ended with exit code {process.returncode} at its start")
            if time.monotonic() > deadline:
                raise self._failure(f"has not answered within {START_SECONDS:.0f} s")
            time.sleep(0.05)

    def _failure(self, what: str) -> LocalBrokerError:
        log = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        last = "\n  ".join(line[:400] for line in log.splitlines()[-20:])
        full = "No space left on device" in last or (log and shutil.disk_usage(self.directory).free == 0)
        cause = " because its disk is full" if full else ""
        return LocalBrokerError(f"Kafka in {self.directory} {what}{cause}; the last lines of {self.log}:\n  {last}")


def free_ports(count: int) -> list[int]:
    """Return distinct ports that nobody listens on, below the ephemeral range.

    From inside that range, a client that keeps connecting to a dead broker's port is one day given it to connect from.
    """
    return list(islice(filter(_is_free, random.SystemRandom().sample(range(20_000, 32_000), 1000)), count))


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False


def _serves(admin: AdminClient) -> bool:
    with suppress(KafkaException):
        return bool(admin.list_topics(timeout=1).brokers)
    return False
