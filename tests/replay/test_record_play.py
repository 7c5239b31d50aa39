"""`scorer record` and `scorer play` on a real Kafka: what was recorded is published again, and nothing else."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from replay_world import EACH, PARTITIONS, World
from replay_world import publish as publish_world
from typer.testing import CliRunner, Result

from scorer.broker.kafka.bounded import SliceReader
from scorer.broker.kafka.player import Player, Tempo
from scorer.cli import app
from scorer.errors import BrokerError, ConfigError, SelectionError, TopicMissingError
from scorer.records import Header, Records
from scorer.replay.progress import Watcher
from scorer.replay.tape import Tape, record

OLD = 1_542_672_000_000
"""Milliseconds since the epoch: the first record's time."""

Held = dict[int, list[tuple[bytes | None, bytes | None, list[Header]]]]
"""Per partition its records' keys, values and headers, in order."""


def command(*arguments: object) -> Result:
    """Run `scorer` in this process; raise what it raises."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def new_topic(bootstrap: str, partitions: int, **config: str) -> str:
    """Make a topic that forgets nothing; return its name."""
    topic = f"tape-{uuid.uuid4().hex[:8]}"
    new = NewTopic(topic, num_partitions=partitions, config={"retention.ms": "-1", **config})
    admin = AdminClient({"bootstrap.servers": bootstrap})  # lives until the answer has come
    admin.create_topics([new])[topic].result(30)
    return topic


def batches_of(bootstrap: str, topic: str) -> list[Records]:
    """Return all that a topic holds."""
    with closing(SliceReader({"bootstrap.servers": bootstrap}, clock=time.monotonic, patience=20.0)) as reader:
        return list(reader.read(topic, reader.extent(topic), 1000))


def held(batches: list[Records]) -> Held:
    """Return the records by partition."""
    found: Held = {}
    for batch in batches:
        for row, number in enumerate(batch.partitions):
            found.setdefault(number, []).append((batch.keys[row], batch.values[row], list(batch.headers(row))))
    return found


def times(batches: list[Records]) -> list[int]:
    """Return all timestamps, sorted."""
    return sorted(time for batch in batches for time in batch.timestamps)


@pytest.fixture(scope="module")
def original(bootstrap: str) -> str:
    """Give a topic of three partitions with all kinds of records, a second apart; the last partition is empty."""
    topic = new_topic(bootstrap, 3)
    producer = Producer({"bootstrap.servers": bootstrap})
    for count in range(40):
        producer.produce(
            topic,
            key=(None, b"", b"k%d" % count, b"\xff\x00key")[count % 4],
            value=(b"{}", None, b"\x80\x81", b"", "Grüße\n\0".encode())[count % 5],
            headers=([], [("a", b"1"), ("a", None), ("b", b"\xfe")])[count % 2],
            partition=count % 2,
            timestamp=OLD + 1000 * count,
        )
    assert producer.flush(30) == 0
    return topic


@pytest.fixture(scope="module")
def tape(bootstrap: str, original: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a recording of the whole original."""
    path = tmp_path_factory.mktemp("tapes") / "original.jsonl"
    said = command("record", original, "--bootstrap", bootstrap, "--out", path).stdout
    assert said == f"40 records of {original} written to {path}\n"
    return path


@pytest.mark.parametrize("name", ["again.jsonl", "again.jsonl.gz"])
def test_what_is_played_is_what_was_recorded(bootstrap: str, original: str, tmp_path: Path, name: str) -> None:
    """Recorded, played, and recorded again: the same keys, values, headers and partitions, at the present time."""
    first, second, target = tmp_path / name, tmp_path / f"second-{name}", new_topic(bootstrap, 3)
    command("record", original, "--bootstrap", bootstrap, "--out", first)
    before = round(time.time() * 1000)
    said = command("play", first, target, "--bootstrap", bootstrap).stdout
    assert re.fullmatch(rf"40 records published to {target} in \d+\.\d s, [\d,]+ a second\n", said)
    command("record", target, "--bootstrap", bootstrap, "--out", second)
    played = [
        list(Tape(path).read(topic, Tape(path).extent(topic), 7))
        for path, topic in ((first, original), (second, target))
    ]
    assert held(played[0]) == held(played[1]) == held(batches_of(bootstrap, original))
    assert before - 1000 <= times(played[1])[0] <= times(played[1])[-1] <= time.time() * 1000 + 1000


def test_original_timestamps_are_kept(bootstrap: str, original: str, tape: Path) -> None:
    """With the option, every record has the time that it was recorded with, and a slice by time finds it."""
    target = new_topic(bootstrap, 2)
    command("play", tape, target, "--bootstrap", bootstrap, "--original-timestamps")
    assert times(batches_of(bootstrap, target)) == [OLD + 1000 * count for count in range(40)]


def test_a_tape_is_the_topics_past(bootstrap: str, original: str, tape: Path) -> None:
    """What a tape says of its slice is what the broker says, by offsets and by times."""
    with closing(SliceReader({"bootstrap.servers": bootstrap}, clock=time.monotonic, patience=20.0)) as reader:
        for at in (0, OLD, OLD + 1, OLD + 7500, OLD + 39_000, OLD + 39_001):
            assert Tape(tape).offsets_at(original, [0, 1, 2], at) == reader.offsets_at(original, [0, 1, 2], at)
        assert Tape(tape).extent(original) == reader.extent(original)


def test_marks_and_aborted_records_are_not_on_a_tape(bootstrap: str, tmp_path: Path) -> None:
    """Only committed records are recorded, with their offsets, and played without gaps; no group appears."""
    world: World = publish_world(bootstrap)
    target, path = new_topic(bootstrap, PARTITIONS), tmp_path / "t"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    before = {each.group_id for each in admin.list_consumer_groups().result().valid}
    command("record", world.topic, "--bootstrap", bootstrap, "--out", path, "--from", f"p0:{EACH - 2},p1:{EACH + 3}")
    taken = list(Tape(path).read(world.topic, Tape(path).extent(world.topic), 1000))
    coordinates = {at for batch in taken for at in zip(batch.partitions, batch.offsets, strict=True)}
    starts = (EACH - 2, EACH + 3, 0)
    assert coordinates == {at for at in world.coordinates if at[1] >= starts[at[0]]}
    command("play", path, target, "--bootstrap", bootstrap)
    assert held(batches_of(bootstrap, target)) == held(taken)
    assert {each.group_id for each in admin.list_consumer_groups().result().valid} == before


def test_slices_of_nothing_are_refused(bootstrap: str, original: str, tmp_path: Path) -> None:
    """A slice without records, a topic that does not exist, words that are no position: told, and no file."""
    out = ("--bootstrap", bootstrap, "--out", tmp_path / "t")
    with pytest.raises(SelectionError, match="nothing lies between"):
        command("record", original, *out, "--from", "end")
    with pytest.raises(TopicMissingError, match=r"topic no\.such does not exist"):
        command("record", "no.such", *out)
    with pytest.raises(SelectionError, match="--from 'yesterday'"):
        command("record", original, *out, "--from", "yesterday")
    with pytest.raises(ConfigError, match="--bootstrap HOST:PORT"):
        command("record", original, "--out", tmp_path / "t")
    assert not list(tmp_path.iterdir())


def test_topics_that_cannot_take_a_tape_are_refused(bootstrap: str, tape: Path) -> None:
    """One that does not exist is not made; one with too few partitions is not filled."""
    with pytest.raises(TopicMissingError, match=r"topic no\.such does not exist .*with 2 partitions"):
        command("play", tape, "no.such", "--bootstrap", bootstrap)
    target = new_topic(bootstrap, 1)
    with pytest.raises(SelectionError, match=f"topic {target} has 1 partitions, and 2 are needed"):
        command("play", tape, target, "--bootstrap", bootstrap)
    assert batches_of(bootstrap, target) == []


@pytest.mark.parametrize("name", ["out", "letters", "letters.redriven"])
def test_the_scorers_own_topics_are_refused(tape: Path, tmp_path: Path, name: str) -> None:
    """Nothing is published to what a configured scorer writes, though no broker is there to say so."""
    (tmp_path / "b").mkdir()
    configuration = tmp_path / "scorer.yaml"
    configuration.write_text(
        "kafka: {bootstrap.servers: 'h:1'}\ngroup: g\n"
        f"topics:\n  payments: {{bundle: '{tmp_path / 'b'}', decisions: out, dead_letters: letters}}\n"
    )
    with pytest.raises(SelectionError, match=f"^{name}: the scorer itself writes there"):
        command("play", tape, name, "--config", configuration)


@pytest.mark.parametrize("speed", ["0x", "fast", "x", "-1x", "1", "nanx", ""])
def test_a_speed_that_is_none_is_refused(tape: Path, speed: str) -> None:
    """What is no speed is an error of usage, before anything is opened."""
    result = command("play", tape, "t", f"--speed={speed}")
    assert (result.exit_code, "is no speed" in result.stderr) == (2, True)


def test_nothing_behind_an_altered_line_is_published(bootstrap: str, tape: Path, tmp_path: Path) -> None:
    """What lies before the line may be published and is counted; nothing behind it is."""
    lines = tape.read_bytes().splitlines(keepends=True)
    torn, target = tmp_path / "torn.jsonl", new_topic(bootstrap, 2)
    torn.write_bytes(b"".join([*lines[:21], lines[21][:-9], *lines[22:]]))
    with pytest.raises(SelectionError, match=rf"^{torn}, line 22: .*\. (\d+) records before it were published") as told:
        command("play", torn, target, "--bootstrap", bootstrap, "--speed", "1000x")
    published = [row for rows in held(batches_of(bootstrap, target)).values() for row in rows]
    assert f"{len(published)} records before it were published" in str(told.value)
    assert len(published) == 20


@dataclass
class Time:
    """A clock that stands still until somebody pauses; `late` seconds pass with each look."""

    late: float = 0.0
    now: float = 100.0
    pauses: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """Return the time."""
        self.now += self.late
        return self.now

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.now += seconds


def timed(player: Player, tape: Path, topic: str, time_: Time) -> Iterator[tuple[int, float]]:
    """Play a tape one by one; yield each record's milliseconds behind the first, and when it was sent."""
    sent: list[tuple[int, float]] = []

    def batches() -> Iterator[Records]:
        for batch in Tape(tape).read(topic, Tape(tape).extent(topic), 1):
            yield batch
            sent.append((batch.timestamps[0] - OLD, time_.now - 100.0))  # after the yield it was queued

    player.play(batches())
    player.finish()
    yield from sent


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 39.0), (10.0, 3.9), (0.5, 78.0), (float("inf"), 0.0)])
def test_records_are_sent_when_they_are_due(
    bootstrap: str, original: str, tape: Path, speed: float, seconds: float
) -> None:
    """A record comes as long after the first as its time says, divided by the speed; both partitions together."""
    time_ = Time()
    player = Player(
        {"bootstrap.servers": bootstrap},
        new_topic(bootstrap, 2),
        partitions=2,
        tempo=Tempo(speed, time_.clock, time_.pause),
        original_timestamps=False,
        stopping=lambda: False,
    )
    with closing(player):
        sent = list(timed(player, tape, original, time_))
    assert [stamp for stamp, _ in sent] == [1000 * count for count in range(40)]
    assert [at for _, at in sent] == pytest.approx([stamp / 1000 / speed for stamp, _ in sent])
    assert sum(time_.pauses) == pytest.approx(seconds)
    assert player.acknowledged == 40


def test_a_player_that_is_late_does_not_wait(bootstrap: str, original: str, tape: Path) -> None:
    """Records that are overdue are sent at once: the tape's time is kept, and no delay is added up."""
    time_ = Time(late=2.0)
    player = Player(
        {"bootstrap.servers": bootstrap},
        new_topic(bootstrap, 2),
        partitions=2,
        tempo=Tempo(1.0, time_.clock, time_.pause),
        original_timestamps=False,
        stopping=lambda: False,
    )
    with closing(player):
        assert len(list(timed(player, tape, original, time_))) == 40
    assert time_.pauses == []


def published_by(number: signal.Signals, bootstrap: str, tape: Path, target: str) -> tuple[int, str]:
    """Play slowly in a process of its own, and send it a signal once it has begun; return its code, and its words."""
    arguments = ("play", tape, target, "--bootstrap", bootstrap, "--speed", "5x")
    started = [sys.executable, "-m", "scorer", *map(str, arguments)]
    with subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not batches_of(bootstrap, target):
            assert time.monotonic() < deadline, "nothing was published"
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        return process.returncode, said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_and_it_says_how_far_it_was(
    bootstrap: str, tape: Path, number: signal.Signals, code: int
) -> None:
    """Told to stop in the middle, it ends soon, and the records that it says were published are there."""
    target = new_topic(bootstrap, 2)
    ended, said = published_by(number, bootstrap, tape, target)
    count = sum(map(len, batches_of(bootstrap, target)))
    assert ended == code
    assert f"stopped by {number.name}; {count} records published to {target} in " in said
    assert 0 < count < 40
    assert "Traceback" not in said


def test_a_recording_that_is_stopped_leaves_no_file(bootstrap: str, original: str, tmp_path: Path) -> None:
    """Told to stop while it reads, it ends with the signal's code, and neither a file nor a part of one is left."""
    before = signal.getsignal(signal.SIGTERM)

    def stop() -> None:
        while signal.getsignal(signal.SIGTERM) is before:
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    result = command("record", original, "--bootstrap", bootstrap, "--out", tmp_path / "t")
    thread.join()
    assert (result.exit_code, result.stdout) == (143, "")
    assert result.stderr == f"stopped by SIGTERM; {tmp_path / 't'} was not written\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        ({"message.timestamp.before.max.ms": "1000"}, ("--original-timestamps",), r"INVALID_\w+: .*times so old"),
        ({"max.message.bytes": "2000"}, (), "MSG_SIZE_TOO_LARGE"),
    ],
)
def test_what_the_brokers_refuse_ends_it(
    bootstrap: str, tmp_path: Path, config: Mapping[str, str], options: tuple[str, ...], said: str
) -> None:
    """The first record that is not delivered ends it with exit code 30; those acknowledged are counted."""
    path, target = tmp_path / "t", new_topic(bootstrap, 1, **config)
    fresh = round(time.time() * 1000)
    stamps = [fresh, fresh, OLD, fresh] if options else [fresh] * 4
    values = [b"{}", b"{}", b"{}" if options else b"x" * 5000, b"{}"]
    batch = Records.of("payments", [0] * 4, [0, 1, 2, 3], stamps, [None] * 4, values)
    record(path, "payments", {0: range(4)}, [batch])
    with pytest.raises(BrokerError, match=rf"{target}: a record was not delivered: {said}") as told:
        command("play", path, target, "--bootstrap", bootstrap, *options)
    acknowledged = re.search(r"; ([\d,]+) records before it were acknowledged", str(told.value))
    assert told.value.exit_code == 30
    assert acknowledged
    assert int(acknowledged[1]) == sum(map(len, batches_of(bootstrap, target)))


def test_a_queue_that_is_full_is_waited_for(bootstrap: str, original: str, tape: Path) -> None:
    """With room for three records only, all arrive, each once and in order."""
    target = new_topic(bootstrap, 2)
    command("play", tape, target, "--bootstrap", bootstrap, "-X", "queue.buffering.max.messages=3")
    assert held(batches_of(bootstrap, target)) == held(batches_of(bootstrap, original))


def test_a_record_for_which_there_is_never_room_is_told(bootstrap: str, tmp_path: Path) -> None:
    """A record larger than the whole queue ends it, and is not waited for."""
    path, target = tmp_path / "t", new_topic(bootstrap, 1)
    batch = Records.of("payments", [0, 0], [5, 6], [0, 0], [None, None], [b"{}", b"x" * 5000])
    record(path, "payments", {0: range(5, 7)}, [batch])
    with pytest.raises(BrokerError, match=r"_QUEUE_FULL: payments-0-6; 1 records before it were acknowledged"):
        command("play", path, target, "--bootstrap", bootstrap, "-X", "queue.buffering.max.kbytes=1")


def test_a_user_sees_one_line_and_the_exit_code(bootstrap: str, tmp_path: Path) -> None:
    """A file that is no tape ends with 50 and a line that names it, without a traceback."""
    (tmp_path / "t").write_text(json.dumps({"decision_id": "x"}) + "\n")
    started = [sys.executable, "-m", "scorer", "play", str(tmp_path / "t"), "payments", "--bootstrap", bootstrap]
    ended = subprocess.run(started, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines()), ended.stdout) == (50, 1, "")
    assert f"{tmp_path / 't'}, line 1: this is no tape" in ended.stderr


def test_a_bar_tells_the_rate() -> None:
    """On a terminal, how many offsets a second pass stands beside how many are left."""

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    batch = Records.of("payments", [0], [9], [0], [None], [b""])
    list(Watcher(stream, time.monotonic)([batch], "play", {0: range(10)}))
    assert re.search(r"10/10.* [\d,]+ a second", stream.getvalue())
