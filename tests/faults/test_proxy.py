"""The proxy does no harm of its own."""

from __future__ import annotations

import socket

from proxy import HEADER, Api, Proxy

from scorer.broker.local import free_ports


def test_a_broker_that_dies_is_missed_by_its_clients() -> None:
    """A client that waits for an answer, for minutes if need be, sees at once that there will be none."""
    port, target = free_ports(2)
    name = b"scorer-x"
    asked = HEADER.pack(HEADER.size - 4 + len(name), Api.FETCH, 0, 1, len(name)) + name
    with (
        socket.create_server(("127.0.0.1", target)) as listener,
        Proxy(port, target),
        socket.create_connection(("127.0.0.1", port), timeout=5) as client,
    ):
        broker, _ = listener.accept()
        client.sendall(asked)
        assert broker.recv(len(asked), socket.MSG_WAITALL) == asked
        broker.close()
        assert client.recv(1) == b""
