"""The local Kafka: its data stay, its processes do not, and what stands in its way is said in one message."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from scorer.broker.jars import java_command
from scorer.broker.local import LocalBroker, free_ports
from scorer.errors import LocalBrokerError, PortTakenError

SCORER = (sys.executable, "-c", "from scorer.cli import main; main()")


@pytest.fixture(scope="module")
def broker(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """Give a running Kafka whose clients are sent to a port where nothing listens."""
    (proxy,) = free_ports(1)
    with LocalBroker(tmp_path_factory.mktemp("running"), advertised=proxy) as broker:
        yield broker


@contextmanager
def scorer_kafka(directory: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Give `scorer kafka`, once it has said where it answers, and all processes it has started."""
    command = [*SCORER, "kafka", "--port", "0", "--dir", str(directory)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, process_group=0) as process:
        try:
            assert process.stdout
            line = process.stdout.readline().strip()
            assert line.startswith("bootstrap.servers=127.0.0.1:"), process.communicate()
            assert metadata_of(line.removeprefix("bootstrap.servers="))
            yield process, family(process.pid)
        finally:
            process.kill()


def family(pid: int) -> list[psutil.Process]:
    """Return all processes that a process has started, Java among them."""
    started = psutil.Process(pid).children(recursive=True)
    assert "java" in [process.name() for process in started]
    return started


def group_of(broker: LocalBroker) -> list[psutil.Process]:
    """Return the processes of a broker of this process: Java and its guard."""
    group = os.getpgid(broker.pid)
    members = [process for process in psutil.Process().children() if os.getpgid(process.pid) == group]
    assert sorted(process.name() for process in members) == ["java", "sh"]
    return members


def survivors(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=10)[1]


def metadata_of(bootstrap: str, timeout: float = 30) -> bool:
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=timeout).brokers)
    except KafkaException:
        return False


def send(bootstrap: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce("kept", value)
    assert producer.flush(20) == 0


def read(bootstrap: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader"})
    consumer.assign([TopicPartition("kept", 0, 0)])
    messages = consumer.consume(count, 20)
    consumer.close()
    return [message.value() for message in messages]


def test_data_survive_a_stop_and_a_crash(java: None, tmp_path: Path) -> None:
    """What was written is there after stop and start, and after kill -9 and start, at the same address."""
    with LocalBroker(tmp_path) as broker:
        address = broker.bootstrap
        client = AdminClient({"bootstrap.servers": address})
        client.create_topics([NewTopic("kept", 1, 1)])["kept"].result(20)
        send(address, b"before the stop")
        broker.stop()
        send(broker.start().bootstrap, b"before the crash")
        broker.kill()
        assert read(broker.start().bootstrap, 2) == [b"before the stop", b"before the crash"]
        assert broker.bootstrap == address


def test_stop_leaves_nothing_even_of_a_suspended_kafka(java: None, tmp_path: Path) -> None:
    """After stop() no process is left and the port is free, though Kafka was suspended."""
    with LocalBroker(tmp_path) as broker:
        processes = group_of(broker)
        broker.suspend()
        broker.stop()
        assert survivors(processes) == []
        socket.create_server(("127.0.0.1", broker.port)).close()


def test_a_second_kafka_in_one_directory_is_refused(broker: LocalBroker) -> None:
    """A directory has one Kafka; the second is told so, and the first goes on."""
    with pytest.raises(LocalBrokerError, match=f"{broker.directory} is in use by another Kafka"):
        LocalBroker(broker.directory).start()
    assert metadata_of(broker.bootstrap)


def test_a_suspended_kafka_is_silent_until_it_is_resumed(broker: LocalBroker) -> None:
    """suspend() makes a broker that accepts and does not answer; resume() brings it back."""
    broker.suspend()
    assert not metadata_of(broker.bootstrap, timeout=2)
    broker.resume()
    assert metadata_of(broker.bootstrap)


def test_clients_are_told_to_come_to_the_advertised_port(broker: LocalBroker) -> None:
    """A proxy's port is what clients are told, and Kafka starts though nothing listens there yet."""
    client = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    (told,) = client.list_topics(timeout=20).brokers.values()
    assert (
        f"advertised.listeners=CLIENT://127.0.0.1:{told.port}," in (broker.directory / "kafka.properties").read_text()
    )
    assert told.port != broker.port


def test_a_killed_owner_leaves_no_java_and_no_lock(java: None, tmp_path: Path) -> None:
    """After kill -9 of the command no process is left, and the directory can be used again at once."""
    with scorer_kafka(tmp_path) as (command, processes):
        command.kill()
        with LocalBroker(tmp_path) as broker:
            assert survivors(processes) == []
            assert metadata_of(broker.bootstrap)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_cleanly(java: None, tmp_path: Path, ending: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end `scorer kafka` with exit code 0, and no process is left."""
    with scorer_kafka(tmp_path) as (command, processes):
        os.killpg(command.pid, ending)  # as a terminal does: to the whole foreground group
        assert command.wait(30) == 0
        assert survivors(processes) == []


def test_the_command_says_that_kafka_died(java: None, tmp_path: Path) -> None:
    """When Java ends by itself, `scorer kafka` ends too: one message with the place of the log, and exit code 41."""
    with scorer_kafka(tmp_path) as (command, processes):
        next(process for process in processes if process.name() == "java").kill()
        _, message = command.communicate(timeout=30)
        assert command.returncode == LocalBrokerError.exit_code
        assert f"ended by itself with exit code -9; the last lines of {tmp_path}/kafka.log" in message
        assert "Traceback" not in message
        assert survivors(processes) == []


def test_a_taken_port_is_named(java: None, tmp_path: Path) -> None:
    """A port that something else listens on is refused by its number."""
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(PortTakenError, match=f"port {other.getsockname()[1]} on 127.0.0.1 is taken"),
    ):
        LocalBroker(tmp_path, other.getsockname()[1]).start()


def test_a_directory_that_cannot_be_written_is_named(java: None, tmp_path: Path) -> None:
    """A directory that cannot be made is named, with the system's reason."""
    (tmp_path / "file").touch()
    with pytest.raises(LocalBrokerError, match=f"cannot run Kafka in {tmp_path}/file/kafka: .*Not a directory"):
        LocalBroker(tmp_path / "file" / "kafka").start()


def test_a_full_disk_is_named(java: None, tmp_path: Path) -> None:
    """A write that finds no space is reported as that."""
    (tmp_path / "kafka-data").mkdir()
    (tmp_path / "kafka.properties").symlink_to("/dev/full")
    with pytest.raises(LocalBrokerError, match=f"cannot run Kafka in {tmp_path}: .*No space left on device"):
        LocalBroker(tmp_path).start()


def test_a_kafka_that_cannot_start_shows_its_log(java: None, tmp_path: Path) -> None:
    """Data that Kafka refuses end the start with Kafka's own words, and no process is left."""
    (tmp_path / "kafka-data").mkdir()
    broker = LocalBroker(tmp_path)
    with pytest.raises(LocalBrokerError, match=r"(?s)ended with exit code 1 at its start.*meta\.properties"):
        broker.start()
    with pytest.raises(LocalBrokerError, match="is not running"):
        _ = broker.pid


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point jgo at an empty cache, and return it."""
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("JGO_CACHE_DIR", str(tmp_path / "jgo"))
    return tmp_path / "m2"


def use_mirror(monkeypatch: pytest.MonkeyPatch, directory: Path, port: int) -> None:
    settings = directory / "jgo.conf"
    settings.write_text(f"[repositories]\ncentral = http://127.0.0.1:{port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))


def test_a_first_start_without_network_says_so(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without jars and without network the message names the cache and what to do."""
    use_mirror(monkeypatch, tmp_path, free_ports(1)[0])
    with pytest.raises(LocalBrokerError, match=f"cannot fetch Apache Kafka into {empty_cache}: .*needs the network"):
        LocalBroker(tmp_path / "kafka").start()


def test_later_starts_need_no_network(java: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once fetched, the class path is known without asking anybody."""
    use_mirror(monkeypatch, tmp_path, free_ports(1)[0])
    assert "kafka_2.13-4.1.0.jar" in java_command()[-1]


class CutShort(BaseHTTPRequestHandler):
    """A repository whose every answer breaks off."""

    def do_GET(self) -> None:
        """Promise more than is sent."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"<project>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_download_cut_short_leaves_nothing_in_the_cache(
    empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file is not kept: the next start would take it for a whole one."""
    with ThreadingHTTPServer(("127.0.0.1", 0), CutShort) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        use_mirror(monkeypatch, tmp_path, server.server_port)
        with pytest.raises(LocalBrokerError, match="cannot fetch"):
            java_command()
        server.shutdown()
    assert [path for path in empty_cache.rglob("*") if path.is_file()] == []
