"""The parts of a replay, made of what the options say: where events come from, and what they are compared with."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scorer.cli.targets import require_kafka
from scorer.errors import SelectionError, TopicMissingError

if TYPE_CHECKING:
    from scorer.cli.lanes import Judge, Setting
    from scorer.evaluation.findings import Costs
    from scorer.records import Outgoing
    from scorer.replay.gate import Condition
    from scorer.replay.journal import Journal, Plan
    from scorer.replay.labels import Labels
    from scorer.replay.positions import Position
    from scorer.replay.published import Published
    from scorer.replay.recorded import Making, Recorded
    from scorer.replay.run import Before, Past, Watch


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options say of a replay's course, besides what it replays with."""

    start: str
    stop: str
    between: tuple[Position, Position]
    events: Path | None
    out: Path
    out_topic: str | None = None
    existing: bool = False
    dry_run: bool = False
    rate: float = 0.0
    resume: bool = False
    labels: str | None = None
    by: Sequence[str] = ()
    conditions: Sequence[Condition] = ()
    junit: Path | None = None
    as_json: bool = False
    report: Path | None = None
    costs: str | None = None
    capacity: float | None = None
    resumable: bool = True

    def priced(self, bands: Sequence[str]) -> Costs | None:
        """Return what mistakes cost, if anybody said it."""
        from scorer.evaluation import pricing

        if self.costs is None:
            return None
        if not self.labels:
            raise SelectionError(f"--costs {self.costs}: only labels tell what was a mistake; add --labels")
        return pricing.read(self.costs, bands)

    @property
    def watches(self) -> bool:
        """Whether drift is asked for: it takes the features of every event once more."""
        return self.report is not None or any(condition.metric == "psi" for condition in self.conditions)

    @property
    def assessed(self) -> bool:
        """Whether more is asked for than can be counted on the way."""
        from scorer.replay.gate import ASSESSED

        asked = {condition.metric for condition in self.conditions}
        return bool(self.report or self.costs is not None or asked & set(ASSESSED))


@contextmanager
def past(wish: Wish, setting: Setting) -> Iterator[Past]:
    """Give where the events come from: a file, or Kafka."""
    from scorer.broker.kafka.bounded import SliceReader
    from scorer.replay.files import opened

    if wish.events:
        yield opened(wish.events, setting.topic)
        return
    with closing(SliceReader(setting.kafka, clock=time.monotonic)) as past:
        yield past


def plan(wish: Wish, setting: Setting, other: Setting | None, past: Past, making: Making) -> Plan:
    """Return what is to be done; a replay that goes on takes its slice from where it began."""
    from scorer.replay.journal import Plan
    from scorer.replay.run import choose

    selected = choose(past, setting.topic, *wish.between)
    return Plan(
        topic=setting.topic,
        source=_held(wish.events) if wish.events else str(setting.kafka.get("bootstrap.servers", "")),
        start=wish.start,
        stop=wish.stop,
        slice={number: (offsets.start, offsets.stop) for number, offsets in selected.items()},
        making=making,
        against=other.title if other else setting.decisions,
        fields=[
            *wish.by,
            *([f"labels {_held(wish.labels)}"] if wish.labels else []),
            *([] if wish.costs is None else [f"costs {wish.costs}"]),
            *(["drift"] if wish.watches else []),
        ],
        out_topic=wish.out_topic or "",
        out_from=_ends(wish, setting),
    )


def _held(file: Path | str) -> str:
    """Return a file's name, and what it holds: a replay that goes on must not go on with another of the same name."""
    path = Path(file)
    if not path.is_file():
        return str(file)  # a topic of labels
    with path.open("rb") as opened:
        return f"{file} (SHA-256 {hashlib.file_digest(opened, 'sha256').hexdigest()[:12]})"


def _ends(wish: Wish, setting: Setting) -> dict[int, int]:
    """Return where the topic ends to which decisions are to be published, if it is there already."""
    from scorer.broker.kafka.bounded import SliceReader

    if not wish.out_topic or not setting.kafka:
        return {}
    try:
        with closing(SliceReader(setting.kafka, clock=time.monotonic)) as past:
            return {number: offsets.stop for number, offsets in past.extent(wish.out_topic).items()}
    except TopicMissingError:
        return {}


def compared_with(
    wish: Wish, setting: Setting, journal: Journal, rival: Judge | None, watch: Watch
) -> tuple[Recorded | None, Before | None, str]:
    """Return what was decided before, who decides it on the way, or why there is nothing to compare with."""
    from scorer.broker.kafka.bounded import SliceReader
    from scorer.replay.recorded import Recorded
    from scorer.replay.run import Before, recall

    selected = journal.plan.selected()
    if rival:
        names, making = rival.lane.bands.names, rival.making
        title = journal.plan.against
        recorded = Recorded.beside(
            setting.topic, selected, title, names=names, making=making, directory=journal.directory
        )
        return recorded, Before(rival.lane, recorded), ""
    if not setting.decisions or not setting.kafka:
        return None, None, _unnamed(wish, setting)
    try:
        with closing(SliceReader(setting.kafka, clock=time.monotonic)) as past:
            recorded = Recorded(setting.topic, selected, setting.decisions, journal.directory)
            return recall(past, recorded, watch), None, ""
    except TopicMissingError:
        if setting.must_exist:
            raise
        return None, None, f"the configuration's decisions topic {setting.decisions} does not exist yet"


def _unnamed(wish: Wish, setting: Setting) -> str:
    """Return why there are no recorded decisions to compare with."""
    from scorer.replay.files import is_recorded

    if not setting.kafka:
        return "there is no Kafka to ask"
    if wish.events and not is_recorded(wish.events):
        return (
            f"{wish.events} was not made by `scorer record`, and has no offsets; --decisions takes its lines for them"
        )
    return "no --decisions topic was named"


@contextmanager
def publisher(wish: Wish, setting: Setting, journal: Journal) -> Iterator[Callable[[Outgoing], object]]:
    """Give what publishes a batch's decisions, none a second time; nothing is, unless a topic was named for it."""
    if wish.out_topic is None:
        yield lambda _: None
        return
    from scorer.broker.kafka.publisher import publishing

    done = _published(setting, journal) if wish.resume else None
    existing = wish.existing or wish.resume
    with publishing(setting.kafka, wish.out_topic, partitions=len(journal.plan.slice), existing=existing) as publish:
        yield (lambda outgoing: publish(done.left(outgoing))) if done else publish


def _published(setting: Setting, journal: Journal) -> Published:
    """Read what an interrupted replay has published behind its last checkpoint."""
    from scorer.broker.kafka.bounded import SliceReader
    from scorer.replay.published import Published
    from scorer.replay.run import BATCH

    plan = journal.plan
    found = Published(plan.topic, journal.next)
    with closing(SliceReader(setting.kafka, clock=time.monotonic)) as past:
        extent = past.extent(plan.out_topic)
        since = {
            number: range(plan.out_from.get(number, offsets.start), offsets.stop) for number, offsets in extent.items()
        }
        for records in past.read(plan.out_topic, since, BATCH):
            found.add(records.values)
    return found


def labels(wish: Wish, setting: Setting) -> Labels | None:
    """Read the labels, a file's or a topic's."""
    from scorer.broker.kafka.bounded import SliceReader
    from scorer.replay import labels as books
    from scorer.replay.run import BATCH

    if wish.labels is None:
        return None
    if not wish.labels.startswith("topic:"):
        return books.read(Path(wish.labels))
    require_kafka(f"--labels {wish.labels}", setting)
    name = wish.labels.removeprefix("topic:")
    with closing(SliceReader(setting.kafka, clock=time.monotonic)) as past:
        values = (value for records in past.read(name, past.extent(name), BATCH) for value in records.values)
        return books.of_values(values, f"topic {name}")
