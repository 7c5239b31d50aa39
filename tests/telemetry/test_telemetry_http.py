"""The promises of the HTTP door, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from telemetry_story import FIRST, Clock, loaded

from scorer.errors import ConfigError, PortTakenError
from scorer.telemetry import facts as f
from scorer.telemetry.health import Health
from scorer.telemetry.http import CONNECTIONS, SECONDS, HttpServer
from scorer.telemetry.metrics import Metrics

PATIENCE = 10.0


class Site:
    """A served page, with the health and the clock behind it."""

    def __init__(self) -> None:
        self.clock = Clock(1000.0)
        self.health = Health(["payments"], max_silence=60.0, clock=self.clock)
        self.metrics = Metrics(Clock())
        self.server = HttpServer("127.0.0.1:0", self.metrics.registry, self.health, clock=self.clock)

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[HTTPResponse, bytes]:
        """Make one request and read its answer."""
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def connect(self, sent: bytes = b"") -> socket.socket:
        """Open a connection, send some bytes, and leave it open."""
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)
        connection.sendall(sent)
        return connection


def everything(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:
        pass  # it closed before it had read all that was sent
    return answer


def hung_up(connection: socket.socket) -> bool:
    """Whether the other side closes, within the socket's timeout."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.server.close()


def test_the_page_of_metrics(site: Site) -> None:
    """A plain GET gives the text format, with its content type and length."""
    site.metrics.hear(loaded())

    response, body = site.ask("/metrics?x=1")

    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert int(response.headers["Content-Length"]) == len(body)
    assert "scorer_bundle_info" in {family.name for family in text_string_to_metric_families(body.decode())}


def test_openmetrics_for_who_asks(site: Site) -> None:
    """Prometheus' own Accept header gets OpenMetrics."""
    site.metrics.hear(loaded())
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"

    response, body = site.ask("/metrics", headers={"Accept": accept})

    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "scorer_bundle" in {family.name for family in openmetrics_families(body.decode())}


def test_a_strange_accept_header_gets_plain_text(site: Site) -> None:
    """A version that is not a number is no reason to fail a scrape."""
    response, _ = site.ask("/metrics", headers={"Accept": "application/openmetrics-text; version=new"})

    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain")


def test_probes_follow_health(site: Site) -> None:
    """Readiness turns 200 when health does, liveness turns 503 after silence, both with the explanation as JSON."""
    before = site.ask("/readyz")[0].status
    site.health.hear(loaded())
    site.health.hear(f.PartitionsAssigned(FIRST))
    after, body = site.ask("/readyz")
    alive = site.ask("/livez")[0].status
    site.clock.now += 60.0
    dead, explanation = site.ask("/livez")

    assert (before, after.status, alive, dead.status) == (503, 200, 200, 503)
    assert json.loads(body)["ready"] is True
    assert json.loads(explanation)["silence"] == 60.0
    assert dead.headers["Content-Type"] == "application/json"


def test_head_is_get_without_a_body(site: Site) -> None:
    """HEAD gives the status and headers of GET."""
    with site.connect(b"HEAD /livez HTTP/1.1\r\n\r\n") as connection:
        head, _, body = everything(connection).partition(b"\r\n\r\n")

    length = len(site.ask("/livez")[1])
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: %d\r\n" % length in head
    assert body == b""


@pytest.mark.parametrize("path", ["/", "/metrics/", "/readyz/../metrics", "/favicon.ico", "//metrics/x"])
def test_other_paths_are_not_found(site: Site, path: str) -> None:
    """There are three paths and nothing beside them."""
    assert site.ask(path)[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"])
def test_other_methods_are_refused(site: Site, method: str) -> None:
    """The page can be read and nothing else, and the refusal says how."""
    response, _ = site.ask("/metrics", method)

    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"<script>\r\n\r\n", b" 400 "),
        (b"GET /metrics HTTP/9.9\r\n\r\n", b" 505 "),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b" 414 "),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b" 431 "),
    ],
)
def test_broken_requests_get_a_fault_that_echoes_nothing(site: Site, request_bytes: bytes, status: bytes) -> None:
    """What is no request is answered by its status, without versions, markup, or a word of the request."""
    with site.connect(request_bytes) as connection:
        answer = everything(connection)

    assert status in answer.splitlines()[0] + b" "
    assert b"script" not in answer
    assert b"Server: scorer\r\n" in answer
    assert b"Python" not in answer


def test_a_silent_client_blocks_nobody(site: Site) -> None:
    """While clients say nothing, or half a request, a scrape is answered."""
    with site.connect(), site.connect(b"GET /metr"), site.connect(b"GET /metrics HTTP/1.1\r\nHost:"):
        assert site.ask("/metrics")[0].status == 200


def test_a_connection_lives_five_seconds(site: Site) -> None:
    """A client that keeps a connection open is cut, even if it goes on sending a little."""
    with site.connect(b"GET /metrics HTTP/1.1\r\n") as slow, site.connect() as silent:
        site.ask("/livez")  # both have been accepted before this one
        slow.sendall(b"A: b\r\n")
        site.clock.now += SECONDS

        assert hung_up(silent)
        assert hung_up(slow)


def test_too_many_connections_are_closed_at_once(site: Site) -> None:
    """The connections beyond the limit are closed unheard, and when the others' time is over scrapes work again."""
    held = [site.connect() for _ in range(CONNECTIONS)]
    try:
        with site.connect() as excess:
            assert hung_up(excess)
        site.clock.now += SECONDS
        assert all(hung_up(connection) for connection in held)
    finally:
        for connection in held:
            connection.close()

    assert site.ask("/livez")[0].status == 200


def test_a_failing_page_is_a_500(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that raises fails its scrape, is logged, and takes neither the server nor the probes with it."""

    class Broken:
        def collect(self) -> list[object]:
            raise RuntimeError("no such counter")

    site.metrics.registry.register(Broken())  # type: ignore[arg-type]

    assert site.ask("/metrics")[0].status == 500
    assert site.ask("/livez")[0].status == 200
    assert "the page /metrics failed" in caplog.text


def test_a_taken_port_is_named(site: Site) -> None:
    """The error names the address and what to do about it."""
    listen = f"127.0.0.1:{site.server.port}"

    with pytest.raises(PortTakenError, match=rf"{listen} is in use.*set another port in http\.listen"):
        HttpServer(listen, CollectorRegistry(), site.health, clock=site.clock)


@pytest.mark.parametrize(
    "listen",
    ["", "9464", ":9464", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:70000", "::1:9464", "a b:1", "192.0.2.1:1"],
)
def test_a_bad_address_is_a_config_error(listen: str) -> None:
    """An address that cannot be listened on is refused with its key."""
    with pytest.raises(ConfigError, match=r"http\.listen: "):
        HttpServer(listen, CollectorRegistry(), Health([], max_silence=1.0, clock=Clock()), clock=Clock())


def test_close_frees_the_port_and_ends_the_threads(site: Site) -> None:
    """After close nobody answers, open connections are cut, the port is free, and a second close is nothing."""
    port = site.server.port
    with site.connect() as silent:
        site.ask("/livez")
        site.server.close()
        assert hung_up(silent)

    with pytest.raises(ConnectionRefusedError):
        site.ask("/livez")
    assert f"scorer-http-{port}" not in {thread.name for thread in threading.enumerate() if thread.is_alive()}
    HttpServer(f"127.0.0.1:{port}", CollectorRegistry(), site.health, clock=site.clock).close()
    site.server.close()
