"""What can happen between a scorer and its broker: requests held, connections broken. Rows 21 to 24, 28 and 36."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundles import Trained
from conftest import SMOKE, Report
from proxy import Api, Proxy
from world import Traffic, World, world

from scorer.broker.local import LocalBroker, free_ports
from scorer.bundle import Bundle

pytestmark = pytest.mark.faults
SOCKET = 10.0
"""Seconds until the client gives up on a request: `socket.timeout.ms`."""
CONSUMER_SESSION = 45.0
"""Seconds until the broker gives up a silent member under KIP-848, its default."""


@pytest.fixture(scope="module")
def proxy(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Give a proxy, behind which a Kafka of one's own is the only way to go."""
    port, target = free_ports(2)
    with Proxy(port, target) as made, LocalBroker(tmp_path_factory.mktemp("kafka"), target, advertised=port):
        yield made


def hold(api: Api, seconds: float) -> Callable[[Proxy], None]:
    """Return what keeps back one request for so many seconds, and then lets it reach the broker."""

    def harm(proxy: Proxy) -> None:
        held = proxy.hold(api)
        assert held.caught.wait(60), f"no {api.name} came"
        time.sleep(seconds)
        held.release()

    return harm


def slow(seconds: float) -> Callable[[Proxy], None]:
    """Return what makes each request and answer slower for ten seconds."""

    def harm(proxy: Proxy) -> None:
        proxy.latency = seconds
        time.sleep(10)
        proxy.latency = 0.0

    return harm


def waver(proxy: Proxy) -> None:
    """Let commits run into ever longer delays."""
    for seconds in (0.3, 1.0, 3.0, 5.0):
        hold(Api.END_TXN, seconds)(proxy)
        time.sleep(1)


def broken(proxy: Proxy) -> None:
    """Break all connections, five times, a second apart."""
    for _ in range(5):
        proxy.reset()
        time.sleep(1)


HARMS: dict[str, tuple[Callable[[Proxy], None], float]] = {
    "21 late EndTxn, held 15 s": (hold(Api.END_TXN, 15.0), SOCKET),
    "22 late Produce, held 15 s": (hold(Api.PRODUCE, 15.0), SOCKET),
    "22 late TxnOffsetCommit, held 15 s": (hold(Api.TXN_OFFSET_COMMIT, 15.0), SOCKET),
    "23 resets": (broken, 1.0),
    "23 black hole 3 s": (lambda proxy: proxy.black_hole(3.0), 3.0),
    "23 black hole 25 s": (lambda proxy: proxy.black_hole(25.0), 25.0),
    "23 down 3 s": (lambda proxy: proxy.down(3.0), 3.0),
    "24 latency 300 ms": (slow(0.3), 1.8),
    "28 commits of 0.3 to 5 s": (waver, 5.0),
}


QUICK = ["21 late EndTxn, held 15 s", "22 late Produce, held 15 s", "23 resets", "23 down 3 s"]


@pytest.mark.parametrize("name", QUICK if SMOKE else HARMS)
def test_harm_on_the_way(  # noqa: PLR0917 - fixtures
    name: str, proxy: Proxy, directory: Path, trained: Trained, cards: Bundle, report: Report
) -> None:
    """Whatever is held, broken or delayed between scorer and broker: nothing lost, nothing twice, and it goes on."""
    harm, least = HARMS[name]
    with world(f"127.0.0.1:{proxy.port}", directory, cards.path, "network") as story:
        endure(story, lambda: harm(proxy))
        found = story.audit(trained)
    report(name, found, least)
    assert found.clean, found.examples


@pytest.mark.long  # a minute and a half
def test_group_out_of_reach(proxy: Proxy, directory: Path, trained: Trained, cards: Bundle, report: Report) -> None:
    """KIP-848: heartbeats do not arrive while records do: the broker evicts the member, whose commits are refused."""
    with world(f"127.0.0.1:{proxy.port}", directory, cards.path, "kip848") as story:
        story.settings["kafka"] = {"group.protocol": "consumer"}
        endure(story, lambda: hold(Api.CONSUMER_GROUP_HEARTBEAT, CONSUMER_SESSION + 15)(proxy))
        found = story.audit(trained)
    report("36 KIP-848 heartbeats held 60 s", found, CONSUMER_SESSION)
    assert found.clean, found.examples


def endure(story: World, harm: Callable[[], None]) -> None:
    """Run a scorer under traffic, harm it midway, and see it through."""
    with Traffic(story.bootstrap, story.topics.source, rate=500) as traffic:
        story.start()
        story.await_settled(1000)
        harm()
        story.await_settled(traffic.sent)
    story.await_settled()
