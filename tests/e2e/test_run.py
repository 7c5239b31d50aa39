"""The product as its user meets it: a process on a real Kafka, killed midway, and everything still there, once."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import BANDS, Trained, frame_of, payloads
from e2e_world import Found, Progress, Sent, Topics, read_committed, running, send, write_settings

from scorer.bundle import Bundle

EVENTS = 200_000
FEW = 60_000
BROKEN: list[tuple[bytes | None, str]] = [
    (None, "tombstone"),
    (b"", "malformed"),
    (b"\xff\xfe{}", "malformed"),
    (b'{"transaction_id":"x"', "malformed"),
    (b'{"transaction_id":"x","amount":"1.5"}', "wrong_type"),
    (b'{"transaction_id":"x"}', "missing_field"),
    (b"[" * 5000, "wrong_type"),
    (b'{"more":' + b"[" * 5000 + b"]" * 5000 + b"}", "too_deep"),
]
EXTREME = 1e45
"""An amount that is sound JSON and a float64, but whose scaled feature is no float32."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What is sent: records in order, the reason that each broken one must get, and the frame behind the sound ones."""

    records: list[Sent]
    reasons: dict[int, str]
    frame: Any

    @classmethod
    def of(cls, count: int, seed: int) -> Stream:
        """Return events of which every fiftieth or so is broken, in one of many ways."""
        frame = frame_of(count, seed)
        draw = np.random.default_rng(seed)
        at_broken, at_extreme = np.split(draw.choice(count, count // 50, replace=False), 2)
        reasons = {}
        for at in at_extreme.tolist():
            frame.loc[at, "amount"], reasons[at] = EXTREME, "out_of_range"
        records: list[Sent] = list(zip(map(str.encode, frame["transaction_id"]), payloads(frame), strict=True))
        for at in at_broken.tolist():
            value, reasons[at] = BROKEN[at % len(BROKEN)]
            records[at] = (b"key-%d" % at if at % 3 else None, value)
        return cls(records, reasons, frame)


@dataclass(frozen=True, slots=True)
class Story:
    """What was sent and what came of it; `placed` is (partition, offset) → place in the stream."""

    topics: Topics
    stream: Stream
    placed: dict[tuple[int, int], int]
    decisions: list[tuple[Found, dict[str, Any]]]
    dead_letters: list[Found]
    exit_code: int
    seconds_to_stop: float
    pages: dict[str, tuple[int, str]]

    def decided(self) -> list[int]:
        """Return the places in the stream of the decisions, in the order read."""
        return [self.placed[d["partition"], d["offset"]] for _, d in self.decisions]

    def buried(self) -> list[int]:
        """Return the places in the stream of the dead letters, in the order read."""
        return [
            self.placed[int(f.headers["__dlq.errors.partition"] or -1), int(f.headers["__dlq.errors.offset"] or -1)]
            for f in self.dead_letters
        ]


def live(bootstrap: str, directory: Path, bundle: Bundle, stream: Stream, kills: int, **changes: Any) -> Story:
    """Send a stream, kill the scorer `kills` times midway, let the last one finish, stop it, and read what is there."""
    topics = Topics.called(directory.name)
    topics.create(bootstrap)
    settings = write_settings(directory / "scorer.yaml", bootstrap, topics, bundle.path, **changes)
    placed = send(bootstrap, topics.source, stream.records)
    progress = Progress(bootstrap, topics)
    for number in range(kills):
        with running(settings) as scorer:
            progress.reach_written(len(placed) * (number + 1) // (kills + 2), scorer)
            scorer.kill()
        assert progress() < len(placed), "killed too late to prove anything"
    with running(settings) as scorer:
        progress.reach(len(placed), scorer)
        pages = {path: scorer.get(path) for path in ("/livez", "/readyz", "/metrics", "/nowhere")}
        code, seconds = scorer.terminate()
    progress.close()
    found = read_committed(bootstrap, topics.decisions)
    decisions = [(record, json.loads(record.value or b"")) for record in found]
    return Story(
        topics, stream, placed, decisions, read_committed(bootstrap, topics.dead_letters), code, seconds, pages
    )


@pytest.fixture(scope="module")
def exactly(bootstrap: str, cards: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Give the story of 200,000 events and three `kill -9` under exactly-once."""
    return live(
        bootstrap,
        tmp_path_factory.mktemp("exactly"),
        cards,
        Stream.of(EVENTS, 11),
        kills=3,
        delivery="exactly-once",
        batch={"max_events": 1000},
    )


@pytest.fixture(scope="module")
def at_least(bootstrap: str, cards: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Give the story of 60,000 events and one `kill -9` under at-least-once."""
    return live(
        bootstrap,
        tmp_path_factory.mktemp("at_least"),
        cards,
        Stream.of(FEW, 12),
        kills=1,
        delivery="at-least-once",
        batch={"max_events": 1000},
    )


def test_every_record_is_decided_or_buried_exactly_once(exactly: Story) -> None:
    """After three `kill -9`, decisions and dead letters together are the input: nothing lost, nothing twice."""
    found = Counter([*exactly.decided(), *exactly.buried()])

    assert len(exactly.placed) == EVENTS
    assert set(found) == set(range(EVENTS))
    assert max(found.values()) == 1


def test_exactly_the_broken_records_are_buried_for_their_reasons(exactly: Story) -> None:
    """A broken event costs none of its neighbours, and its dead letter says why."""
    found = dict(zip(exactly.buried(), (f.headers["scorer.error.reason"] for f in exactly.dead_letters), strict=True))

    assert found == {at: reason.encode() for at, reason in exactly.stream.reasons.items()}


def test_dead_letters_are_the_records_byte_for_byte(exactly: Story) -> None:
    """Key, value and headers are those that came, so that a dead letter can be sent again."""
    for at, letter in zip(exactly.buried(), exactly.dead_letters, strict=True):
        assert (letter.key, letter.value) == exactly.stream.records[at]
        assert letter.headers.get("trace") == (b"%d" % at if at % 7 == 0 else None)
        assert letter.headers["__dlq.errors.topic"] == exactly.topics.source.encode()


def test_decisions_carry_the_events_key_id_time_and_coordinate(exactly: Story) -> None:
    """Each decision names the record that it belongs to, in every way a consumer may look for it."""
    ids, times = exactly.stream.frame["transaction_id"].tolist(), exactly.stream.frame["event_time"].tolist()
    for at, (record, decision) in zip(exactly.decided(), exactly.decisions, strict=True):
        assert record.key == exactly.stream.records[at][0]
        assert decision["decision_id"] == f"{exactly.topics.source}-{decision['partition']}-{decision['offset']}"
        assert (decision["event_id"], decision["event_time"]) == (ids[at], times[at])


def test_every_score_is_the_offline_models(exactly: Story, trained: Trained) -> None:
    """Scores are within 1e-6 of Keras on scikit-learn's own transform, for every event of the stream."""
    offline = trained.scores(exactly.stream.frame.iloc[exactly.decided()])
    found = np.array([decision["score"] for _, decision in exactly.decisions], np.float32)

    assert np.abs(found.astype(np.float64) - offline.astype(np.float64)).max() <= 1e-6


def test_every_decision_is_its_scores_band(exactly: Story) -> None:
    """A score is in the highest band whose edge it reaches, compared as float32."""
    edges = {"approve": np.float32(0)} | {name: np.float32(edge) for name, edge in BANDS.items()}
    for _, decision in exactly.decisions:
        score = np.float32(decision["score"])
        assert decision["decision"] == [name for name, edge in edges.items() if score >= edge][-1]
    assert {decision["decision"] for _, decision in exactly.decisions} == set(edges)


def test_sigterm_ends_the_scorer_with_exit_code_0(exactly: Story) -> None:
    """A rolling update waits no longer than ten seconds."""
    assert exactly.exit_code == 0
    assert exactly.seconds_to_stop < 10


def test_the_pages_answer(exactly: Story) -> None:
    """Kubernetes finds a live and ready scorer, Prometheus its metrics, anybody else nothing."""
    assert exactly.pages["/livez"][0] == 200
    assert exactly.pages["/readyz"][0] == 200
    assert exactly.pages["/nowhere"][0] == 404
    status, text = exactly.pages["/metrics"]
    assert status == 200
    assert f'topic="{exactly.topics.source}"' in text


def test_at_least_once_loses_nothing(at_least: Story) -> None:
    """After a `kill -9`, every record is decided or buried at least once, on the right side."""
    decided, buried = set(at_least.decided()), set(at_least.buried())

    assert decided | buried == set(range(FEW))
    assert buried == set(at_least.stream.reasons)
    assert not decided & buried


def test_repeated_decisions_say_the_same(at_least: Story) -> None:
    """A repeat has the id and the score's very text of the first, so that a consumer can drop it."""
    said: dict[str, set[bytes]] = {}
    for record, decision in at_least.decisions:
        value = record.value or b""
        said.setdefault(decision["decision_id"], set()).add(value[: value.index(b',"metrics"')])

    assert {len(texts) for texts in said.values()} == {1}
    assert (at_least.exit_code, at_least.seconds_to_stop < 10) == (0, True)


def test_no_batch_waits_for_more_than_a_quarter_of_the_longest_poll(
    bootstrap: str, cards: Bundle, tmp_path: Path
) -> None:
    """However long a batch may wait: it is still to be decided and committed before the next poll."""
    story = live(
        bootstrap,
        tmp_path,
        cards,
        Stream.of(20, 13),
        kills=0,
        kafka={"max.poll.interval.ms": 8000},
        batch={"max_wait_ms": 60_000},
    )
    waits = [decision["metrics"]["wait_ms"] for _, decision in story.decisions]

    assert 1_900 < max(waits) < 20_000
