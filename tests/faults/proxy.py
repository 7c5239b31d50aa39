"""A TCP proxy that understands Kafka's requests, and harms them: holds one, delays, falls silent, breaks connections.

It sits at the port that the broker advertises. Only connections of clients whose `client.id` begins with `victims` are
harmed, so that the traffic and the auditor stay out of it.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum

HEADER = struct.Struct(">ihhih")
"""Length, api key, api version, correlation id, length of the client id."""
CHUNK = 65_536


class Api(IntEnum):
    """Requests by their key in Kafka's protocol."""

    PRODUCE = 0
    FETCH = 1
    OFFSET_COMMIT = 8
    HEARTBEAT = 12
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28
    CONSUMER_GROUP_HEARTBEAT = 68


@dataclass(slots=True)
class Held:
    """One request that is kept back: `caught` is set when it came, `release` lets it go on."""

    api: Api
    caught: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let it go on to the broker, whether or not the client still waits."""
        self._released.set()

    def wait(self) -> None:
        """Keep the request back until it is released."""
        self.caught.set()
        self._released.wait()


class Proxy:
    """Between clients and the broker at `target`; a context manager."""

    def __init__(self, port: int, target: int, *, victims: str = "scorer-") -> None:
        self.port, self._target, self._victims = port, target, victims.encode()
        self.latency = 0.0
        """Seconds that each request and answer of a victim takes longer."""
        self._holds: list[Held] = []
        self._harmed: set[socket.socket] = set()
        self._open = threading.Event()
        self._open.set()
        self._refusing = False
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.set()
        self._listener.close()
        self.reset()

    def hold(self, api: Api) -> Held:
        """Keep back the next request of this kind."""
        held = Held(api)
        with self._lock:
            self._holds.append(held)
        return held

    def reset(self) -> None:
        """Break every connection of the victims."""
        with self._lock:
            harmed, self._harmed = self._harmed, set()
        for end in harmed:
            _break(end)

    def black_hole(self, seconds: float) -> None:
        """Pass nothing on for a while, and tell nobody."""
        self._open.clear()
        time.sleep(seconds)
        self._open.set()

    def down(self, seconds: float) -> None:
        """Break the victims' connections and take no new ones for a while."""
        self._refusing = True
        self.reset()
        time.sleep(seconds)
        self._refusing = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            broker = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        for end in (client, broker):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = _request(client)
        victim = first is not None and self._is_victim(first)
        if first is None or (victim and self._refusing):
            client.close()
            broker.close()
            return
        if victim:
            with self._lock:
                self._harmed |= {client}
        answers = threading.Thread(target=self._pass_answers, args=(broker, client, victim), daemon=True)
        answers.start()
        self._pass_requests(first, client, broker, victim)

    def _pass_requests(self, request: bytes | None, client: socket.socket, broker: socket.socket, victim: bool) -> None:
        with suppress(OSError):
            while request is not None:
                if victim:
                    self._harm(request)
                broker.sendall(request)
                request = _request(client)
            broker.shutdown(socket.SHUT_WR)

    def _pass_answers(self, broker: socket.socket, client: socket.socket, victim: bool) -> None:
        with suppress(OSError):
            while answer := broker.recv(CHUNK):
                if victim:
                    time.sleep(self.latency)
                    self._open.wait()
                client.sendall(answer)
        for end in (broker, client):
            _break(end)

    def _harm(self, request: bytes) -> None:
        api = HEADER.unpack_from(request)[1]
        with self._lock:
            held = next((held for held in self._holds if held.api == api), None)
            if held is not None:
                self._holds.remove(held)
        if held is not None:
            held.wait()
        time.sleep(self.latency)
        self._open.wait()

    def _is_victim(self, request: bytes) -> bool:
        length = HEADER.unpack_from(request)[4]
        return request[HEADER.size : HEADER.size + max(length, 0)].startswith(self._victims)


def _break(end: socket.socket) -> None:
    """Break a connection; to close it alone would not, while another thread waits for something to read from it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _request(client: socket.socket) -> bytes | None:
    """Read one whole request with its length; None at the end of the connection."""
    with suppress(OSError):
        head = _exactly(client, 4)
        body = head and _exactly(client, struct.unpack(">i", head)[0])
        return head + body if head and body else None
    return None


def _exactly(client: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = client.recv(min(count, CHUNK))
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
