"""Dead letters' second life: redriven by a command that is killed, decided by the service, each event once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from bundles import frame_of, payloads
from confluent_kafka import Consumer, Producer, TopicPartition
from dlq_world import Event, bury
from e2e_world import PARTITIONS, PATIENCE, Found, Progress, Topics, read_committed, running, write_settings

from scorer.bundle import Bundle
from scorer.dlq.families import Origin
from scorer.dlq.letters import OF, REDRIVES

SOUND, BROKEN = 1500, 20
"""Events that a mended service can decide, and such that nobody can."""
RATE = 200


def publish_letters(bootstrap: str, topics: Topics) -> list[bytes]:
    """Bury events as a service would whose bundle was the wrong one; return their values, all different."""
    values = [*payloads(frame_of(SOUND, 3)), *(b"broken %d" % n for n in range(BROKEN))]
    now = round(time.time() * 1000)
    producer = Producer({"bootstrap.servers": bootstrap})
    for n, value in enumerate(values):
        letter = bury(Event(Origin(topics.source, n % PARTITIONS, n), b"key-%d" % n, value, (("n", b"%d" % n),), now))
        producer.produce(topics.dead_letters, letter.value, letter.key, headers=list(letter.headers), timestamp=now)
    assert producer.flush(PATIENCE) == 0
    return values


def written(bootstrap: str, topic: str) -> int:
    """Return how many records a topic holds, committed or not, and marks of transactions with them."""
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "watermarks", "isolation.level": "read_uncommitted"})
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    count = sum(reader.get_watermark_offsets(one, 30)[1] for one in partitions)
    reader.close()
    return count


class Redriving:
    """`scorer dlq redrive` as its user starts it."""

    def __init__(self, settings: Path, *options: object) -> None:
        command = [sys.executable, "-m", "scorer", "dlq", "redrive", str(settings), "--yes", *map(str, options)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def reach(self, count: int, bootstrap: str, topic: str) -> None:
        """Wait until a topic holds so many records, committed or not."""
        deadline = time.monotonic() + PATIENCE
        while written(bootstrap, topic) < count:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Return exit code and words; `number` is sent before."""
        if number is not None:
            self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


def coordinate(record: Found) -> str:
    """Return where a dead letter was born."""
    return "-".join(
        (record.headers[f"__dlq.errors.{part}"] or b"").decode() for part in ("topic", "partition", "offset")
    )


def test_redriven_events_are_decided_once(bootstrap: str, cards: Bundle, tmp_path: Path) -> None:
    """Killed twice, stopped once, shut out by another one: every event is there once, and is decided or buried once.

    What fails again says in its new letter how often it was redriven, and can be redriven again; the rest cannot.
    """
    topics = Topics.called("second-life")
    topics.create(bootstrap)
    settings = write_settings(tmp_path / "scorer.yaml", bootstrap, topics, cards.path)
    values = publish_letters(bootstrap, topics)

    for number, count in ((signal.SIGKILL, 100), (signal.SIGKILL, 450), (signal.SIGTERM, 650)):
        redriving = Redriving(settings, "--rate", f"{RATE}/s")
        redriving.reach(count, bootstrap, topics.source)
        code, said = redriving.end(number)
        assert code == (143 if number is signal.SIGTERM else -signal.SIGKILL), said
    assert "nothing is redriven twice" in said
    first = Redriving(settings, "--rate", "20/s")
    first.reach(written(bootstrap, topics.source) + 20, bootstrap, topics.source)
    code, said = Redriving(settings).end()
    assert code == 0, said
    assert "already redriven" in said
    code, said = first.end()
    assert (code, "another redrive" in said) == (34, True), said

    redriven = read_committed(bootstrap, topics.source)
    assert Counter(record.value for record in redriven) == Counter(values)
    assert {record.headers[REDRIVES] for record in redriven} == {b"1"}
    assert len({record.headers[OF] for record in redriven}) == len(values)

    progress = Progress(bootstrap, topics)
    with running(settings) as scorer:
        progress.reach(progress.ends() - PARTITIONS, scorer)  # the last offset of a partition is a transaction's mark
        assert scorer.terminate()[0] == 0
    progress.close()

    decided = [json.loads(record.value or b"") for record in read_committed(bootstrap, topics.decisions)]
    buried = [record for record in read_committed(bootstrap, topics.dead_letters) if REDRIVES in record.headers]
    assert len({one["decision_id"] for one in decided}) == len({one["event_id"] for one in decided}) == len(decided)
    assert len(decided) == SOUND
    assert Counter(record.value for record in buried) == Counter(values[SOUND:])
    assert {record.headers[REDRIVES] for record in buried} == {b"1"}
    assert len({coordinate(record) for record in buried}) == BROKEN

    code, said = Redriving(settings).end()
    assert f"{BROKEN}  redriven" in said
    assert f"{len(values):,}  already redriven" in said
    again = read_committed(bootstrap, topics.source)
    assert Counter(record.headers[REDRIVES] for record in again) == {b"1": len(values), b"2": BROKEN}
