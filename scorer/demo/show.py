"""The demo from beginning to end: everything that it starts is real, and gone when it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from scorer.broker.kafka import Cluster, Identity, KafkaSink
from scorer.broker.local import LocalBroker
from scorer.demo import books, live, stage, traffic
from scorer.demo.books import Book
from scorer.demo.traffic import Traffic
from scorer.errors import ScorerError
from scorer.records import Outgoing

PAYMENTS_SENT, PAYOUTS_SENT = 16_000, 8_000
PARTITIONS = 3
STREAM_SECONDS = 15.0
"""How long the stream takes: slow enough to be watched."""
SETTLE_SECONDS = 60.0
PRODUCER = Identity("demo", "producer")


@dataclass(frozen=True, slots=True)
class Run:
    """What a streaming run measured: seconds from the first event sent to the last settled, and the last page."""

    seconds: float
    figures: dict[str, live.TopicFigures]


def show(directory: Path, *, keep: bool, console: Console) -> None:
    """Run the demo in `directory`; with `keep`, leave Kafka and the service up until Ctrl-C.

    Raises ScorerError where a part cannot be had, or where the books do not balance.
    """
    say = _teller(console)
    with ExitStack() as stack:
        stage.clean(directory)
        say("starting a real Apache Kafka …")
        broker = stack.enter_context(LocalBroker(directory / "kafka"))
        say(f"Apache Kafka answers at {broker.bootstrap}")
        sent, bands = _prepare(directory, say)
        _create_topics(broker.bootstrap)
        configuration, port = stage.write_configuration(directory, broker.bootstrap, bands)
        say(f"scorer run {configuration} …")
        stack.enter_context(stage.service(configuration, port))
        say(f"`scorer run` is ready; metrics at http://127.0.0.1:{port}/metrics")
        run = _stream(broker.bootstrap, sent, port, console)
        audited = books.audit(broker.bootstrap, sent)
        _summary(console, audited, run)
        books.require_balance(audited)
        _replays(configuration, console, bands)
        _further(console, configuration, port, keep=keep)
        while keep:
            time.sleep(1)


def _teller(console: Console) -> Callable[[str], None]:
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {text}", highlight=False)

    return say


def _prepare(directory: Path, say: Callable[[str], None]) -> tuple[list[Traffic], dict[str, float]]:
    """Train and pack both bundles; return what will be streamed, and the card bundle's bands."""
    card = stage.train_cards(directory / "bundles", say)
    figures = card.figures
    say(
        f"card-fraud packed; on held-out simulated payments: ROC AUC {figures.roc_auc:.3f}, "
        f"average precision {figures.average_precision:.3f}, CP@100 {figures.card_precision_100:.3f}"
    )
    text = stage.train_text(directory / "bundles").figures
    say(
        f"sms-spam packed; at `block` on {text.messages:,} held-out real messages: "
        f"precision {text.precision:.3f}, recall {text.recall:.3f}"
    )
    test = card.test
    first = test.take(np.arange(PAYMENTS_SENT))
    second = test.take(np.arange(PAYMENTS_SENT, PAYMENTS_SENT + PAYOUTS_SENT))
    sent = [
        traffic.with_broken(traffic.cards(traffic.PAYMENTS, first), np.random.default_rng(stage.SEED)),
        traffic.cards(traffic.PAYOUTS, second),
        traffic.messages(),
    ]
    return sent, dict(card.bands)


def _create_topics(bootstrap: str) -> None:
    cluster = Cluster({"bootstrap.servers": bootstrap}, PRODUCER)
    cluster.ensure_topics(traffic.TOPICS, {}, create=True, partitions=PARTITIONS)
    cluster.close()


def _stream(bootstrap: str, sent: Sequence[Traffic], port: int, console: Console) -> Run:
    """Send everything over some seconds, show the live table, and wait until the service has settled it."""
    sink = KafkaSink({"bootstrap.servers": bootstrap}, PRODUCER, transactional=False, hear=lambda _: None)
    started = time.monotonic()
    total = sum(map(len, sent))
    watch = _Watch(port)
    with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as screen:
        for parcels in _paced(sent):
            for parcel in parcels:
                sink.publish(parcel)
            sink.flush(30.0)
            screen.update(watch.table())
        deadline = time.monotonic() + SETTLE_SECONDS
        while watch.settled() < total:
            if time.monotonic() > deadline:
                raise ScorerError(f"only {watch.settled():,.0f} of {total:,} events were settled; see scorer.log")
            time.sleep(0.1)
            screen.update(watch.table())
        seconds = time.monotonic() - started
    sink.close()
    if not console.is_terminal:
        console.print(watch.table())
    return Run(seconds, watch.figures)


def _paced(sent: Sequence[Traffic]) -> Iterator[list[Outgoing]]:
    """Yield a tenth of a second's share of every topic, at its time."""
    steps = int(STREAM_SECONDS * 10)
    started = time.monotonic()
    for step in range(steps):
        yield [
            Outgoing(
                part.topic,
                part.keys[len(part) * step // steps : len(part) * (step + 1) // steps],
                part.values[len(part) * step // steps : len(part) * (step + 1) // steps],
                "",
            )
            for part in sent
        ]
        time.sleep(max(started + (step + 1) / 10 - time.monotonic(), 0))


class _Watch:
    """Looks at the metrics page, at most four times a second, and remembers a few looks for the rates."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._looks: deque[tuple[float, dict[str, live.TopicFigures]]] = deque(maxlen=12)

    @property
    def figures(self) -> dict[str, live.TopicFigures]:
        """The last look."""
        return self._looks[-1][1]

    def settled(self) -> float:
        """Return the events settled on all topics."""
        self._look()
        return sum(row.events for row in self.figures.values())

    def table(self) -> Table:
        """Return the live table."""
        self._look()
        (then, before), (now, after) = self._looks[0], self._looks[-1]
        rates = {
            topic: (row.events - before.get(topic, live.TopicFigures()).events) / max(now - then, 0.25)
            for topic, row in after.items()
        }
        return live.table(traffic.TOPICS, after, rates)

    def _look(self) -> None:
        now = time.monotonic()
        if not self._looks or now - self._looks[-1][0] >= 0.25:
            self._looks.append((now, live.scrape(self._port)))


def _summary(console: Console, audited: Sequence[Book], run: Run) -> None:
    grid = Table(title="the books, read back `read_committed`", title_justify="left")
    for heading in ("topic", "events in", "decisions", "dead letters", "twice", "balance"):
        grid.add_column(heading, justify="left" if heading in {"topic", "balance"} else "right")
    for book in audited:
        numbers = (book.sent, book.decisions.total(), book.reasons.total(), book.twice)
        grid.add_row(book.topic, *(f"{number:,}" for number in numbers), "balanced" if book.balanced else "WRONG")
    console.print(grid)
    for book in audited:
        kind = "REAL texts, 60 % of them trained on" if book.topic == traffic.MESSAGES else "simulated payments"
        flagged, blocked = book.precision_recall(["review", "block"]), book.precision_recall(["block"])
        console.print(
            f"{book.topic} ({kind}): review or block: precision {flagged[0]:.3f}, recall {flagged[1]:.3f}; "
            f"block alone: precision {blocked[0]:.3f}, recall {blocked[1]:.3f}",
            highlight=False,
        )
    reasons = ", ".join(f"{reason} {count}" for book in audited for reason, count in sorted(book.reasons.items()))
    total = sum(book.sent for book in audited)
    console.print(f"dead letters: {reasons or 'none'}", highlight=False)
    rate = f"{total / run.seconds:,.0f}/s, paced by the demo"
    console.print(f"{total:,} events in {run.seconds:.1f} s ({rate})", highlight=False)
    for topic, row in run.figures.items():
        ages = f"p50 {row.age(0.5) * 1000:.0f} ms, p99 {row.age(0.99) * 1000:.0f} ms"
        console.print(f"{topic}: age of an event when its decision was committed: {ages}", highlight=False)


def _replays(configuration: Path, console: Console, bands: dict[str, float]) -> None:
    """Replay the demo's own topic: with its bands nothing may change, with others some decisions must."""
    looser = {name: round((edge + 1) / 2, 4) for name, edge in bands.items()}
    for extra in ([], ["--bands", ",".join(f"{name}={edge}" for name, edge in looser.items())]):
        command = ["replay", "--topic", traffic.PAYMENTS, "--config", str(configuration), *extra]
        console.print(f"\n[bold]scorer {' '.join(command)}[/bold]", highlight=False)
        out = configuration.with_name("replay.jsonl")
        ended = subprocess.run(
            [sys.executable, "-m", "scorer", *command, "--out", str(out)],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        console.print(ended.stdout.rstrip(), highlight=False, markup=False)
        if ended.returncode:
            raise ScorerError(f"the replay ended with exit code {ended.returncode}")


def _further(console: Console, configuration: Path, port: int, *, keep: bool) -> None:
    bundle = configuration.parent / "bundles" / stage.CARD
    console.print("\n[bold]to look further[/bold]")
    console.print(f"  scorer check {bundle}", highlight=False)
    if not keep:
        console.print("  make demo ARGS=--keep      leaves Kafka and the service up", highlight=False)
        return
    console.print(f"  curl http://127.0.0.1:{port}/metrics", highlight=False)
    replay = f"scorer replay --topic payments --config {configuration} --from=-5m --bands review=0.5"
    console.print(f"  {replay}", highlight=False)
    console.print("everything stays up until Ctrl-C", highlight=False)
