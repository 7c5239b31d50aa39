"""The replay on a real Kafka: a slice ends where it should, and the same bundle gives the same bits."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from replay_world import (
    BANDS,
    EACH,
    PARTITIONS,
    ROUNDS,
    World,
    bits,
    committed,
    coordinates,
    create_topics,
    lane_of,
    making_of,
    silent,
)
from typer.testing import CliRunner, Result

from scorer.broker.kafka.bounded import SliceReader
from scorer.bundle import Bundle
from scorer.cli import app
from scorer.errors import BandsError, BrokerError, ConfigError, OwnedPropertyError, SelectionError, TopicMissingError
from scorer.pipeline import Lane
from scorer.records import Records
from scorer.replay.compare import Cell, Comparison, Report, Tally
from scorer.replay.journal import Journal, Plan
from scorer.replay.positions import Edge, Position, parse
from scorer.replay.recorded import Making, Recorded
from scorer.replay.rows import Sheet
from scorer.replay.run import Pace, Parts, choose, recall, replay_slice
from scorer.replay.sinks import finisher

EVENTS = ROUNDS * EACH * PARTITIONS


@dataclass
class Cut:
    """A past that is read in other batches than one asks for, and remembers their sizes."""

    past: SliceReader
    limit: int
    sizes: list[int] = field(default_factory=list)

    def extent(self, topic: str) -> dict[int, range]:
        """Return what the past says."""
        return self.past.extent(topic)

    def offsets_at(self, topic: str, partitions: Sequence[int], milliseconds: int) -> dict[int, int]:
        """Return what the past says."""
        return self.past.offsets_at(topic, partitions, milliseconds)

    def read(self, topic: str, selected: Mapping[int, range], limit: int) -> Iterator[Records]:  # noqa: ARG002
        """Yield a slice's records in batches of this object's own limit."""
        for records in self.past.read(topic, selected, self.limit):
            self.sizes.append(len(records))
            yield records


def replayed(
    past: SliceReader | Cut,
    world: World,
    bundle: Bundle,
    *,
    start: Position = Edge.BEGINNING,
    stop: Position = Edge.END,
    bands: Mapping[str, float] | None = None,
) -> tuple[Report, Comparison, dict[str, tuple[int, str]]]:
    """Replay a slice beside its recorded decisions; return the report, its comparison, and what was written."""
    lane = lane_of(world, bundle, bands)
    plan = plan_of(lane, making_of(bundle, lane), choose(past, world.topic, start, stop))
    with TemporaryDirectory() as directory:
        file, sheet = Path(directory) / "out.jsonl", Sheet()
        with closing(Journal(file, plan, sheet.dtype, resume=False)) as journal:
            recorded = recall(past, Recorded(world.topic, plan.selected(), world.decisions), silent)
            tally = Tally(world.topic, plan.selected(), plan.making, lane.bands.names, recorded)
            parts = Parts(past, lane, journal, sheet, tally)
            report = replay_slice(parts, silent, Pace(time.monotonic, time.sleep))
            journal.finish(finisher(file))
        written = file.read_bytes().splitlines()
    assert report is not None
    assert report.comparison is not None
    return report, report.comparison, bits(written)


def plan_of(lane: Lane, making: Making, selected: Mapping[int, range]) -> Plan:
    """Return the plan of a replay of the whole slice."""
    ends = {number: (offsets.start, offsets.stop) for number, offsets in selected.items()}
    return Plan(lane.topic, "here", "", "", ends, making, "", [])


def command(*arguments: str) -> Result:
    """Run `scorer replay` in this process; raise what it raises."""
    result = CliRunner().invoke(app, ["replay", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_same_bundle_and_bands_give_the_same_bits(world: World, card_bundle: Bundle, past: SliceReader) -> None:
    """Every committed event is replayed once, and no score or decision differs from what the service published."""
    report, comparison, written = replayed(past, world, card_bundle)
    assert (report.events, report.decided) == (EVENTS, EVENTS - ROUNDS)
    assert report.rejected == {"malformed": ROUNDS}
    assert set(written) == {f"{world.topic}-{number}-{offset}" for number, offset in world.events}
    assert (comparison.matched, comparison.identical_scores) == (EVENTS - ROUNDS, EVENTS - ROUNDS)
    assert (comparison.different_scores, comparison.largest_difference, comparison.changed) == (0, 0.0, 0)
    assert (comparison.not_recorded, comparison.recorded_only, comparison.recorded_twice) == (0, 0, 0)
    assert [(each.same_bundle, each.same_thresholds) for each in comparison.recorded_with] == [(True, True)]
    assert all(count > 20 for count in report.decisions.values()), "the world is too plain to prove anything"


@pytest.mark.parametrize("limit", [1, 7, 64])
def test_other_batches_give_the_same_bits(world: World, card_bundle: Bundle, past: SliceReader, limit: int) -> None:
    """An event's score does not depend on who shares its batch."""
    cut = Cut(past, limit)
    _, comparison, _ = replayed(cut, world, card_bundle)
    assert max(cut.sizes) <= limit
    assert comparison.matched == comparison.identical_scores == EVENTS - ROUNDS
    assert comparison.changed == 0


def test_other_bands_flip_the_decisions_between_the_edges(world: World, card_bundle: Bundle, past: SliceReader) -> None:
    """Only decisions whose score lies between an old and a new edge change, and no score does."""
    _, _, before = replayed(past, world, card_bundle)
    scores = np.array([score for score, _ in before.values()], np.int32).view(np.float32)
    _, comparison, _ = replayed(past, world, card_bundle, bands={"review": 0.3, "block": 0.9})
    between = int(np.count_nonzero((scores >= np.float32(0.3)) & (scores < np.float32(BANDS["review"]))))
    assert between > 0
    flips = {cell for cell in comparison.matrix if cell.events and cell.recorded != cell.replayed}
    assert flips == {Cell("approve", "review", between)}
    assert (comparison.changed, comparison.different_scores) == (between, 0)
    assert [(each.same_bundle, each.same_thresholds) for each in comparison.recorded_with] == [(True, False)]


@pytest.mark.parametrize(("start", "stop"), [("2018-11-20T00:02:00Z", "2018-11-20T00:04:00Z"), ("-8m", "-6m")])
def test_a_slice_by_time_has_the_events_of_that_time(bootstrap: str, past: SliceReader, start: str, stop: str) -> None:
    """An event at the time of --from is in, one at the time of --to is not, in every partition."""
    topic, midnight = f"timed-{uuid.uuid4().hex[:8]}", 1_542_672_000
    create_topics(bootstrap, {topic: 2})
    producer = Producer({"bootstrap.servers": bootstrap})
    for minute in range(10):
        for partition in range(2):
            producer.produce(topic, b"{}", partition=partition, timestamp=(midnight + 60 * minute) * 1000)
    assert producer.flush(30) == 0
    now = midnight + 600
    selected = choose(past, topic, parse(start, "--from", now), parse(stop, "--to", now))
    minutes = {
        (stamp // 1000 - midnight) // 60 for each in past.read(topic, selected, 4096) for stamp in each.timestamps
    }
    assert (selected, minutes) == ({0: range(2, 4), 1: range(2, 4)}, {2, 3})


def test_a_slice_ends_at_its_end_wherever_that_lies(world: World, past: SliceReader) -> None:
    """With both ends among records, marks and aborted records, exactly the committed records between them come."""
    held = past.extent(world.topic)[1]
    starts, gap = (0, EACH + 3), (EACH, EACH + 1, EACH + 3, EACH + 6, EACH + 7, EACH + 8)
    ends = (EACH - 1, *gap, held.stop - 7, held.stop - 1, held.stop)
    for start, stop in ((start, stop) for start in starts for stop in ends if start < stop):
        found = coordinates(past.read(world.topic, {0: range(0), 1: range(start, stop)}, 4096))
        expected = [at for at in sorted(world.coordinates) if at[0] == 1 and start <= at[1] < stop]
        assert found == expected, (start, stop)


def test_each_partition_keeps_its_order(world: World, past: SliceReader) -> None:
    """Within a partition, records come in the order of their offsets, each once."""
    found = coordinates(past.read(world.topic, past.extent(world.topic), 50))
    assert sorted(found) == sorted(world.coordinates)
    for number in range(PARTITIONS):
        offsets = [offset for partition, offset in found if partition == number]
        assert offsets == sorted(offsets)


def test_a_slice_given_up_halfway_leaves_nothing_behind(world: World, past: SliceReader) -> None:
    """Of a slice whose reading was stopped, no record comes with the next slice."""
    everything = past.extent(world.topic)
    assert len(next(past.read(world.topic, everything, 5))) <= 5
    found = coordinates(past.read(world.topic, {1: range(2, 8)}, 4096))
    assert found == [(1, offset) for offset in range(2, 8)]


def test_an_open_transaction_keeps_nobody_waiting(world: World, past: SliceReader) -> None:
    """The end is before the first record whose transaction is open, and a replay up to there ends."""
    before = past.extent(world.topic)
    producer = Producer({"bootstrap.servers": world.bootstrap, "transactional.id": f"{world.topic}-open"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(world.topic, b"{}", partition=0)
    producer.flush(30)
    try:
        assert past.extent(world.topic) == before
        assert len(coordinates(past.read(world.topic, before, 4096))) == EVENTS
    finally:
        producer.abort_transaction(30)


def test_a_replay_that_gets_nothing_gives_up(world: World) -> None:
    """Offsets that nobody has written yet are waited for a bounded time, then told with the position."""
    ticks = itertools.count(0.0, 5.0)
    with closing(SliceReader({"bootstrap.servers": world.bootstrap}, clock=lambda: next(ticks), patience=20.0)) as past:
        stop = past.extent(world.topic)[0].stop + 3
        with pytest.raises(BrokerError, match=rf"no record came for 20 s.*{world.topic}-0 at \d+ of {stop}"):
            list(past.read(world.topic, {0: range(stop)}, 4096))


def test_a_replay_joins_no_group_and_commits_nothing(world: World, card_bundle: Bundle, past: SliceReader) -> None:
    """The service's committed offsets stay as they were, and no group appears."""
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    before = committed(world), {each.group_id for each in admin.list_consumer_groups().result().valid}
    ends = {topic: past.extent(topic) for topic in (world.topic, world.decisions, world.dead_letters)}
    replayed(past, world, card_bundle)
    assert (committed(world), {each.group_id for each in admin.list_consumer_groups().result().valid}) == before
    assert {topic: past.extent(topic) for topic in ends} == ends


@pytest.mark.parametrize("kept", [0, 5])
def test_records_deleted_meanwhile_are_told(bootstrap: str, past: SliceReader, kept: int) -> None:
    """A slice whose start has been deleted since it was chosen ends in one line that names the offset."""
    topic = f"deleted-{uuid.uuid4().hex[:8]}"
    create_topics(bootstrap, {topic: 1})
    producer = Producer({"bootstrap.servers": bootstrap})
    for _ in range(10):
        producer.produce(topic, b"{}", partition=0)
    assert producer.flush(30) == 0
    chosen = past.extent(topic)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    (future,) = admin.delete_records([TopicPartition(topic, 0, 10 - kept)]).values()
    future.result(30)
    with pytest.raises(SelectionError, match=f"{topic}-0: offset 0 is gone"):
        list(past.read(topic, chosen, 4096))


def test_a_slice_of_aborted_records_is_refused(world: World, card_bundle: Bundle, past: SliceReader) -> None:
    """Offsets without a committed record are no slice to report on."""
    position = parse(f"p0:{EACH + 1},p1:{EACH + 1},p2:{EACH + 1}", "--from", 0.0)
    end = parse(f"p0:{EACH + 4},p1:{EACH + 4},p2:{EACH + 4}", "--to", 0.0)
    with pytest.raises(SelectionError, match="no committed record lies between"):
        replayed(past, world, card_bundle, start=position, stop=end)


def test_a_topic_that_does_not_exist_is_told(past: SliceReader) -> None:
    """An unknown topic raises TopicMissingError with its name, and is not created."""
    for _ in range(2):
        with pytest.raises(TopicMissingError, match=r"topic no\.such does not exist"):
            choose(past, "no.such", Edge.BEGINNING, Edge.END)


def test_the_command_reports_as_json_and_writes_the_decisions(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """With the service's configuration alone, `--json` reports no difference, and the file has every decision."""
    file = tmp_path / "out.jsonl"
    result = command("--topic", world.topic, "--config", str(scorer_yaml), "--out", str(file), "--json")
    report = json.loads(result.stdout)
    assert (report["events"], report["comparison"]["identical_scores"]) == (EVENTS, EVENTS - ROUNDS)
    assert report["comparison"]["changed"] == 0
    assert len(bits(file.read_bytes().splitlines())) == EVENTS - ROUNDS
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "scorer.yaml"]


def test_the_command_shows_the_report_to_people(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """The text names the bundle, the counts, and from which decision to which."""
    file = tmp_path / "out.jsonl"
    arguments = ("--topic", world.topic, "--config", str(scorer_yaml), "--bands", "review=0.3,block=0.9")
    shown = command(*arguments, "--from", "p0:3", "--out", str(file)).stdout
    assert f"recorded in         {world.decisions}" in shown
    assert "(the same bundle, other thresholds)" in shown
    assert "0 different" in shown
    assert f"written to          {file}" in shown


def test_without_a_decisions_topic_nothing_is_compared(world: World, card_bundle: Bundle, tmp_path: Path) -> None:
    """A replay with a broker and a bundle alone scores, and says that it compared with nothing."""
    arguments = ("--topic", world.topic, "--bootstrap", world.bootstrap, "--bundle", str(card_bundle.path))
    shown = command(*arguments, "--out", str(tmp_path / "out.jsonl")).stdout
    assert "compared with       nothing: no --decisions topic was named" in shown


def test_a_decisions_topic_that_was_asked_for_must_exist(world: World, card_bundle: Bundle, tmp_path: Path) -> None:
    """`--decisions` with a wrong name is an error, and leaves no file behind."""
    arguments = ("--topic", world.topic, "--bootstrap", world.bootstrap, "--bundle", str(card_bundle.path))
    with pytest.raises(TopicMissingError, match=r"no\.such"):
        command(*arguments, "--decisions", "no.such", "--out", str(tmp_path / "out.jsonl"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("--from", "yesterday"), SelectionError, "--from 'yesterday'"),
        (("--to", "-1x"), SelectionError, "--to '-1x'"),
        ((), SelectionError, "name one with --bundle"),
        (("--bundle", "b"), ConfigError, "--bootstrap HOST:PORT"),
        (("--bundle", "b", "-X", "group.id=g", "--bootstrap", "h:1"), OwnedPropertyError, "-X group.id"),
        (("--bundle", "b", "-X", "debug", "--bootstrap", "h:1"), ConfigError, "must read name=value"),
        (("--bundle", "b", "--bootstrap", "h:1", "--bands", "review"), BandsError, "NAME=SCORE"),
        (("--bundle", "b", "--bootstrap", "h:1", "--bands", "a=0.5,a=0.6"), BandsError, "NAME=SCORE"),
        (("--bundle", "b", "--bootstrap", "h:1", "--bands", "a=x"), BandsError, "'x' is no number"),
        (("--bundle", "b", "--bootstrap", "h:1", "--bands", "a=0.9,b=0.5"), BandsError, "--bands: b: must start above"),
        (("--bundle", "b", "--bootstrap", "h:1", "--bands", "a=1.5"), BandsError, "--bands: a: must be a number"),
    ],
)
def test_bad_options_are_refused_before_anything_is_read(
    arguments: tuple[str, ...], error: type[Exception], said: str
) -> None:
    """What is wrong with the options is one error of its kind, though no broker is there."""
    with pytest.raises(error) as refused:
        command("--topic", "payments", *arguments)
    assert type(refused.value) is error
    assert said in str(refused.value)
