"""A second broker beside a local one, in the same cluster: it holds replicas, and may be halted and resumed."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from typing import Self

from confluent_kafka.admin import AdminClient

from scorer.broker.jars import java_command
from scorer.broker.local import LocalBroker, free_ports

NAME = "kafka-2"


class SecondBroker:
    """A context manager; the first broker must run, and outlive it."""

    def __init__(self, first: LocalBroker) -> None:
        self._first = first
        self._directory = first.directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until the cluster has two brokers."""
        properties = self._directory / f"{NAME}.properties"
        properties.write_text(self._properties(), encoding="utf-8")
        cluster = ["--cluster-id=scorer-local-kafka-AAA", f"--config={properties.name}"]
        self._run("kafka.tools.StorageTool", "format", *cluster).wait(60)
        self._process = self._run("kafka.Kafka", properties.name)
        admin = AdminClient({"bootstrap.servers": self._first.bootstrap})
        deadline = time.monotonic() + 60
        while len(admin.list_topics(timeout=10).brokers) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(30)

    def suspend(self) -> None:
        """Halt it where it stands."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._directory / f"{NAME}.log").open("ab") as log:
            command = [*java_command(), *arguments]
            return subprocess.Popen(command, cwd=self._directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _properties(self) -> str:
        """Return the first broker's properties, with another name, other ports and other data."""
        client, internal = free_ports(2)
        listeners = f"CLIENT://127.0.0.1:{client},INTERNAL://127.0.0.1:{internal}"
        own = {
            "process.roles": "broker",
            "node.id": "2",
            "listeners": listeners,
            "advertised.listeners": listeners,
            "log.dirs": f"{NAME}-data",
        }
        text = (self._directory / "kafka.properties").read_text(encoding="utf-8")
        for name, value in own.items():
            text = re.sub(rf"^{re.escape(name)}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        return text
