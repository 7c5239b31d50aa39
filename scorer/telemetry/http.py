"""Takes GET and HEAD on three paths, gives the metrics page and the two verdicts of health. Nothing else is served.

One request a connection, each on a daemon thread. A connection lives at most `SECONDS`, however it spends them, and at
most `CONNECTIONS` live at once: silent, slow and many clients cost a bounded amount, and block a scrape for no longer.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from threading import Lock, Thread
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from scorer.errors import ConfigError, PortTakenError
from scorer.telemetry.health import Health

SECONDS: Final = 5.0
CONNECTIONS: Final = 32
_POLL_SECONDS: Final = 0.2
_LISTEN = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]\s]+)):(?P<port>[0-9]{1,5})")

Answer: TypeAlias = tuple[HTTPStatus, str, bytes]
Page: TypeAlias = Callable[[str], Answer]
"""From the request's `Accept` header to status, content type and body."""

_log = logging.getLogger(__name__)


class HttpServer:
    """Serves `/metrics`, `/livez` and `/readyz` from the moment it is made until `close()`.

    `listen` is `host:port` or `[ipv6]:port`, where port 0 takes a free one; `clock` gives monotonic seconds.
    Raises ConfigError for an address that cannot be listened on, PortTakenError for one that is in use.
    """

    def __init__(self, listen: str, registry: CollectorRegistry, health: Health, *, clock: Callable[[], float]) -> None:
        pages: dict[str, Page] = {
            "/metrics": lambda accept: _metrics(registry, accept),
            "/livez": lambda _: _verdict(health.alive, health),
            "/readyz": lambda _: _verdict(health.ready, health),
        }
        self._server = _bind(listen, pages, clock)
        self.port: int = self._server.server_address[1]
        self._thread = Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name=f"scorer-http-{self.port}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut what is open; takes up to 0.2 s. May be called again."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.cut(older_than=0.0)


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = CONNECTIONS

    def __init__(
        self, family: int, address: tuple[Any, ...], pages: Mapping[str, Page], clock: Callable[[], float]
    ) -> None:
        self.address_family = family
        self.pages = pages
        self._clock = clock
        self._born: dict[socket.socket, float] = {}
        self._lock = Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, or close it at once where too many are open."""
        with self._lock:
            admitted = len(self._born) < CONNECTIONS
            if admitted:
                self._born[request] = self._clock()
        if admitted:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection and close it."""
        with self._lock:
            self._born.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut the connections whose time is over; called by the accepting loop, every 0.2 s at least."""
        self.cut(older_than=SECONDS)

    def cut(self, *, older_than: float) -> None:
        """Forget and shut down all connections of that age in seconds, which wakes the threads that wait on them."""
        now = self._clock()
        with self._lock:
            overdue = [connection for connection, born in self._born.items() if now - born >= older_than]
            for connection in overdue:
                del self._born[connection]
        for connection in overdue:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log what is not merely a client that went away."""
        error = sys.exception()
        if not isinstance(error, OSError):
            _log.error("a request failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Without a version a client is answered with a status line nevertheless.
    default_request_version = "HTTP/1.0"

    def do_GET(self) -> None:
        """Answer with the page, or 404."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            answer = page(" ".join(self.headers.get("Accept", "").split()))
        except Exception as error:  # the scrape fails, and says so; the service goes on
            _log.error("the page %s failed", self.path[:100], exc_info=error)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self._answer(answer)

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer with a fault in one line of JSON, which repeats nothing of the request."""
        # The standard library says 501 for a method that has no `do_…`.
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._answer((status, "application/json", _json({"error": status.phrase})))

    def version_string(self) -> str:
        """Return what the `Server` header tells: no versions."""
        return "scorer"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write nothing: scrapes and probes are no events of the service's life."""

    def _answer(self, answer: Answer) -> None:
        status, kind, body = answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _bind(listen: str, pages: Mapping[str, Page], clock: Callable[[], float]) -> _Server:
    match = _LISTEN.fullmatch(listen)
    if not match or int(match["port"]) > 65535:
        raise ConfigError(f"http.listen: {listen!r} is not host:port; write for example 127.0.0.1:9464 or [::]:9464")
    try:
        found = socket.getaddrinfo(match["v6"] or match["host"], int(match["port"]), type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return _Server(family, address, pages, clock)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                f"http.listen: {listen} is in use by another program, perhaps another scorer; "
                "stop that one, or set another port in http.listen (port 0 takes a free one)"
            ) from error
        raise ConfigError(
            f"http.listen: cannot listen on {listen} ({error.strerror}); "
            "use an address of this machine (0.0.0.0 for all of them) and a port above 1023"
        ) from error


def _metrics(registry: CollectorRegistry, accept: str) -> Answer:
    try:
        encode, kind = choose_encoder(accept)
    except (TypeError, ValueError):  # a version in `Accept` that is not numbers
        encode, kind = choose_encoder("")
    return HTTPStatus.OK, kind, encode(registry)


def _verdict(good: bool, health: Health) -> Answer:
    return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, "application/json", _json(health.explain())


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value).encode() + b"\n"
