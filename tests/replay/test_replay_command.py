"""`scorer replay` as its user runs it: killed and resumed, against other bundles and bands, from files, into topics."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from replay_world import EACH, PARTITIONS, ROUNDS, World, bits, coordinates, event
from typer.testing import CliRunner, Result

from scorer.broker.kafka.bounded import SliceReader
from scorer.bundle import Bundle
from scorer.cli import app
from scorer.errors import GateError, ScorerError, SelectionError

EVENTS = ROUNDS * EACH * PARTITIONS
DECIDED = EVENTS - ROUNDS


def command(*arguments: str) -> Result:
    """Run `scorer replay`; what it raises is raised."""
    return CliRunner().invoke(app, ["replay", *arguments], catch_exceptions=False)


def refused(*arguments: str) -> str:
    """Run `scorer replay`, and return the one line that it ends with."""
    with pytest.raises(ScorerError) as error:
        command(*arguments)
    return str(error.value)


def started(arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start `scorer replay` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "scorer", "replay", *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def written(file: Path) -> int:
    """Return how many decisions the last checkpoint of an unfinished replay has."""
    path = file.with_name(f"{file.name}.unfinished") / "checkpoint.json"
    return int(json.loads(path.read_bytes())["rows"]) if path.exists() else 0


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_replay_goes_on_without_gap_or_repeat(
    world: World, scorer_yaml: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    """Killed midway, `--resume` does the rest: each decision is there once, and the report is of all of them."""
    file = tmp_path / "out.jsonl"
    arguments = ["--topic", world.topic, "--config", str(scorer_yaml), "--out", str(file), "--json"]
    process = started([*arguments, "--rate", "60"])
    while not written(file):
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.1)
    process.send_signal(ending)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if ending is signal.SIGKILL else 128 + ending), said
    assert ending is signal.SIGKILL or f"stopped by {ending.name}; go on with the same command and --resume" in said
    assert 0 < written(file) < DECIDED
    assert not file.exists()

    assert "go on with it by --resume" in refused(*arguments)
    report = json.loads(command(*arguments, "--resume").stdout)
    assert (report["events"], report["decided"], report["rejected"]) == (EVENTS, DECIDED, {"malformed": ROUNDS})
    assert (report["comparison"]["identical_scores"], report["comparison"]["recorded_twice"]) == (DECIDED, 0)
    assert len(bits(file.read_bytes().splitlines())) == DECIDED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "scorer.yaml"]


def test_a_dry_run_says_what_would_be_done(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """The plan names offsets, bundle and what it is compared with; nothing is written."""
    file = tmp_path / "out.jsonl"
    shown = command("--topic", world.topic, "--config", str(scorer_yaml), "--out", str(file), "--dry-run").stdout
    assert f"compared with       {world.decisions}" in shown
    assert f"{world.topic}-0" in shown
    assert "replayed with       card 1" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["scorer.yaml"]


def test_other_bands_are_compared_with_these(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """Against other bands of the same bundle no score differs, and every flip lies between the two edges."""
    file = tmp_path / "out.jsonl"
    arguments = ("--topic", world.topic, "--config", str(scorer_yaml), "--out", str(file), "--json")
    report = json.loads(command(*arguments, "--against-bands", "review=0.3,block=0.9").stdout)
    scores = [json.loads(line)["score"] for line in file.read_bytes().splitlines()]
    flips = sum(0.3 <= score < 0.5 for score in scores)
    comparison = report["comparison"]
    assert flips
    assert (comparison["matched"], comparison["different_scores"], comparison["changed"]) == (DECIDED, 0, flips)
    assert "review=0.3,block=0.9" in comparison["decisions_topic"]


def test_the_same_bundle_against_itself_has_no_difference(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """Both sides decide each event once, with the same bits."""
    arguments = ("--topic", world.topic, "--config", str(scorer_yaml), "--out", str(tmp_path / "out.jsonl"), "--json")
    (bundle,) = {line.split("'")[1] for line in scorer_yaml.read_text().splitlines() if "bundle" in line}
    comparison = json.loads(command(*arguments, "--against", bundle).stdout)["comparison"]
    assert (comparison["recorded"], comparison["identical_scores"], comparison["changed"]) == (DECIDED, DECIDED, 0)
    assert "choose one" in refused(*arguments, "--against", bundle, "--decisions", world.decisions)


def test_decisions_go_to_a_new_topic_only(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """The topic is made and gets each decision once; one that exists is refused, and the service's own always."""
    topic = f"replayed-{uuid.uuid4().hex[:8]}"
    arguments = ["--topic", world.topic, "--config", str(scorer_yaml), "--json", "--out"]
    for number, more in enumerate(([], ["--allow-existing-topic"])):
        file = str(tmp_path / f"{number}.jsonl")
        command(*arguments, file, "--out-topic", topic, *more)
        with closing(SliceReader({"bootstrap.servers": world.bootstrap}, clock=time.monotonic)) as past:
            extent = past.extent(topic)
            assert len(coordinates(past.read(topic, extent, 4096))) == DECIDED * (number + 1)
            assert len(extent) == PARTITIONS
    assert "exists already" in refused(*arguments, file, "--out-topic", topic)
    for name in (world.topic, world.decisions, world.dead_letters):
        assert "the service reads or writes it" in refused(
            *arguments, file, "--out-topic", name, "--allow-existing-topic"
        )


def test_a_replay_into_a_topic_goes_on_without_gap_or_repeat(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """Killed once it has published anything, before its first timed checkpoint; and what was there before is left."""
    topic = f"replayed-{uuid.uuid4().hex[:8]}"
    arguments = ["--topic", world.topic, "--config", str(scorer_yaml), "--json", "--out"]
    command(*arguments, str(tmp_path / "before.jsonl"), "--out-topic", topic)
    file = str(tmp_path / "out.jsonl")
    arguments += [file, "--out-topic", topic, "--allow-existing-topic"]
    process = started([*arguments, "--rate", "60"])
    with closing(SliceReader({"bootstrap.servers": world.bootstrap}, clock=time.monotonic)) as past:
        while sum(offsets.stop for offsets in past.extent(topic).values()) <= DECIDED:
            assert process.poll() is None, process.stderr and process.stderr.read()
        process.kill()
        process.communicate(timeout=60)
        there = sum(offsets.stop for offsets in past.extent(topic).values())
        assert DECIDED < there < 2 * DECIDED

        assert "began with out_topic" in refused(*arguments[:-2], "another", "--resume")
        command(*arguments, "--resume")

        values = [value for records in past.read(topic, past.extent(topic), 4096) for value in records.values]
    found = Counter(json.loads(value or b"")["decision_id"] for value in values)
    assert list(found.values()) == [2] * DECIDED


def test_a_recorded_file_gives_the_same_bits(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """What `scorer record` wrote is replayed like the topic itself, and compared with its recorded decisions."""
    tape, file = tmp_path / "tape.jsonl", tmp_path / "out.jsonl"
    CliRunner().invoke(
        app, ["record", world.topic, "--out", str(tape), "--config", str(scorer_yaml)], catch_exceptions=False
    )
    report = json.loads(
        command("--events", str(tape), "--config", str(scorer_yaml), "--out", str(file), "--json").stdout
    )
    assert (report["topic"], report["events"]) == (world.topic, EVENTS)
    assert (report["comparison"]["identical_scores"], report["comparison"]["changed"]) == (DECIDED, 0)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_events_of_a_file_need_no_kafka(card_bundle: Bundle, tmp_path: Path, suffix: str) -> None:
    """Plain events, one a line or row, are scored with a bundle alone; a part of them by their lines."""
    events = [event(number) for number in range(50)]
    path, file = tmp_path / f"events.{suffix}", tmp_path / "out.jsonl"
    if suffix == "jsonl":
        path.write_bytes(b"".join(json.dumps(each).encode() + b"\n" for each in events))
    else:
        pytest.importorskip("pandas").DataFrame(events).to_parquet(path)
    arguments = ["--events", str(path), "--topic", "payments", "--bundle", str(card_bundle.path), "--out", str(file)]
    report = json.loads(command(*arguments, "--from", "p0:10", "--to", "p0:30", "--json").stdout)
    assert (report["events"], report["decided"], report["comparison"]) == (20, 20, None)
    decided = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert [made["event_id"] for made in decided] == [f"t{number}" for number in range(10, 30)]


def test_lines_are_no_offsets_unless_somebody_says_so(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """Events in another order would be compared with each other's decisions."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(json.dumps(event(number)).encode() + b"\n" for number in range(50)))
    arguments = ["--events", str(path), "--topic", world.topic, "--config", str(scorer_yaml), "--out"]

    assert "no offsets; --decisions takes its lines for them" in command(*arguments, str(tmp_path / "a.jsonl")).stdout
    named = command(*arguments, str(tmp_path / "b.jsonl"), "--decisions", world.decisions, "--json").stdout
    assert json.loads(named)["comparison"]["matched"] > 0


def test_a_gate_says_what_to_promote(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """With labels, fields and conditions, figures are those of the file; a condition that holds ends with 51."""
    file, labels, junit = tmp_path / "out.jsonl", tmp_path / "labels.csv", tmp_path / "junit.xml"
    labels.write_text("event_id,label\n" + "".join(f"t{n},{n % 3 == 0:d}\n" for n in range(EVENTS)))
    arguments = ["--topic", world.topic, "--config", str(scorer_yaml), "--out", str(file), "--json", "--by", "channel"]
    arguments += ["--labels", str(labels), "--against-bands", "review=0.3,block=0.9", "--junit", str(junit)]
    result = CliRunner().invoke(app, ["replay", *arguments, "--fail-if", "recall < 1.01", "--fail-if", "missing > 0"])
    assert isinstance(result.exception, GateError)
    assert "and --fail-if 'recall < 1.01'" in str(result.exception)
    report = json.loads(result.stdout)
    made = [json.loads(line) for line in file.read_bytes().splitlines()]
    frauds = [each for each in made if int(each["event_id"][1:]) % 3 == 0]
    caught = sum(each["score"] >= 0.5 for each in frauds)
    assert report["figures"]["recall"]["value"] == pytest.approx(caught / len(frauds))
    before = sum(each["score"] >= np.float32(0.3) for each in frauds)
    assert report["figures"]["recall_before"]["value"] == pytest.approx(before / len(frauds))
    web = sum(int(each["event_id"][1:]) % 2 for each in made)
    assert {segment["value"]: segment["events"] for segment in report["segments"]} == {
        "web": web,
        "chip": DECIDED - web,
    }
    assert [verdict["failed"] for verdict in report["verdicts"]] == [True, False]
    assert 'failures="1"' in junit.read_text()


def test_labels_of_other_events_are_told(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """Where no label belongs to any event, figures of labels would be wrong: the replay says so."""
    labels = tmp_path / "labels.csv"
    labels.write_text("event_id,label\nsomebody,1\n")
    arguments = ["--topic", world.topic, "--config", str(scorer_yaml), "--out", str(tmp_path / "out.jsonl")]
    assert "no event has one of its event_ids" in refused(*arguments, "--labels", str(labels))
    assert "add --labels" in refused(*arguments, "--costs", "false_positive=40,missed=100")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--topic", "t", "--junit", "no/such/junit.xml"), "there is no directory no/such"),
        (("--topic", "t", "--fail-if", "flip > 1"), "did you mean flips"),
        (("--topic", "t", "--by", "a..b"), "name each field once"),
        ((), "Name a topic with --topic, or a file with --events"),
        (("--events", "no.jsonl"), "no such file"),
        (("--topic", "t", "--bundle", "b", "--out", "x.csv"), "decisions are written as .jsonl or .parquet"),
    ],
)
def test_what_cannot_be_replayed_is_told(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay of nothing, of a missing file, or into another format ends in one line."""
    monkeypatch.chdir(tmp_path)
    assert said in refused(*arguments)


def test_a_tape_of_another_topic_is_refused(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """The topic that is named must be the one that was recorded."""
    tape = tmp_path / "tape.jsonl"
    CliRunner().invoke(app, ["record", world.topic, "--out", str(tape), "--config", str(scorer_yaml)])
    with pytest.raises(SelectionError, match=f"is of topic {world.topic}, not other"):
        command("--events", str(tape), "--topic", "other", "--bundle", "b")
