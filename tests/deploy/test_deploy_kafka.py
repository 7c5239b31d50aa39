"""The compose file's Kafka, from its environment but without its container: a real broker takes every setting."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from deploy_files import ROOT, read_yaml

from scorer.broker.jars import KAFKA, java_command
from scorer.broker.local import free_ports

SERVICE = read_yaml(ROOT / "docker-compose.yml")["services"]["kafka"]
ENVIRONMENT: dict[str, object] = SERVICE["environment"]
DEADLINE = 90.0


def properties(directory: Path) -> dict[str, str]:
    """Return the broker's properties as the image makes them of its environment, moved to free ports and a directory.

    KAFKA_HEAP_OPTS is Java's; `kafka`, the container's name, is this machine.
    """
    names = {name: name.removeprefix("KAFKA_").lower().replace("_", ".") for name in ENVIRONMENT}
    made = {names[name]: str(value) for name, value in ENVIRONMENT.items() if name != "KAFKA_HEAP_OPTS"}
    for port, free in zip(("19092", "9092", "9093"), free_ports(3), strict=True):
        made = {name: value.replace(f":{port}", f":{free}") for name, value in made.items()}
    made = {name: value.replace("//kafka:", "//127.0.0.1:") for name, value in made.items()}
    return made | {"log.dirs": str(directory / "data")}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return properties(tmp_path_factory.mktemp("compose-kafka"))


@pytest.fixture(scope="module")
def host(java: None, settings: dict[str, str]) -> Iterator[str]:
    """Run the broker, and give the address that the host's clients use."""
    directory = Path(settings["log.dirs"]).parent
    path = directory / "kafka.properties"
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    log = directory / "kafka.log"
    with log.open("wb") as out:
        format_ = ["kafka.tools.StorageTool", "format", "--cluster-id=scorer-compose-kafka-A", f"--config={path}"]
        subprocess.run([*java_command(), *format_], cwd=directory, stdout=out, stderr=out, check=True, timeout=DEADLINE)
        broker = subprocess.Popen([*java_command(), "kafka.Kafka", str(path)], cwd=directory, stdout=out, stderr=out)
        try:
            listeners = dict(one.split("://") for one in settings["advertised.listeners"].split(","))
            _await(listeners["HOST"], broker, log)
            yield listeners["HOST"]
        finally:
            broker.kill()
            broker.wait(20)


def test_version_is_the_one_tried_here() -> None:
    """The image has the version of Kafka that the other tests run on."""
    assert SERVICE["image"] == f"apache/kafka:{KAFKA.split(':')[3]}"


def test_every_setting_is_known_and_taken(host: str, settings: dict[str, str]) -> None:
    """A broker ignores a misspelt name in silence: here every name comes back, with its value."""
    resource = ConfigResource(ResourceType.BROKER, settings["node.id"])
    admin = AdminClient({"bootstrap.servers": host})
    (answer,) = admin.describe_configs([resource]).values()
    found = {name: entry.value for name, entry in answer.result(20).items()}
    assert {name: found.get(name) for name in settings} == settings


def test_topics_and_transactions_work_on_one_broker(host: str, settings: dict[str, str]) -> None:
    """A topic gets the default partitions, and exactly-once delivery finds its coordinator with one copy of its log."""
    admin = AdminClient({"bootstrap.servers": host})
    admin.create_topics([NewTopic("payments", num_partitions=-1)])["payments"].result(20)
    producer = Producer({"bootstrap.servers": host, "transactional.id": "demo-scorer-0"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("payments", b"{}")
    producer.commit_transaction(30)
    partitions = admin.list_topics("payments", 20).topics["payments"].partitions
    assert len(partitions) == int(settings["num.partitions"])


def _await(address: str, broker: subprocess.Popen[bytes], log: Path) -> None:
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    end = time.monotonic() + DEADLINE
    while not _answers(admin):
        assert broker.poll() is None, log.read_text("utf-8", "replace")[-4000:]
        assert time.monotonic() < end, log.read_text("utf-8", "replace")[-4000:]


def _answers(admin: AdminClient) -> bool:
    try:
        return bool(admin.list_topics(timeout=1).brokers)
    except KafkaException:
        return False
