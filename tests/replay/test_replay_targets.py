"""What a replay may write, and what it may go on with: refused in words, before anything is lost."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from replay_world import World, event
from test_replay_command import command, refused, started, written

from scorer.bundle import Bundle


@pytest.fixture
def begun(card_bundle: Bundle, tmp_path: Path) -> list[str]:
    """Give the options of a replay of a file with labels that was killed after its first checkpoint."""
    events, labels, out = (tmp_path / name for name in ("events.jsonl", "labels.csv", "out.jsonl"))
    events.write_bytes(b"".join(json.dumps(event(number)).encode() + b"\n" for number in range(400)))
    labels.write_text("event_id,label\n" + "".join(f"t{number},{number % 2}\n" for number in range(400)))
    named = ["--events", str(events), "--topic", "t", "--bundle", str(card_bundle.path), "--out", str(out)]
    with started([*named, "--labels", str(labels), "--rate", "60"]) as process:
        while not written(out):
            assert process.poll() is None
        process.kill()
    return [*named, "--labels", str(labels), "--resume"]


@pytest.mark.parametrize("name", ["events.jsonl", "labels.csv"])
def test_a_replay_does_not_go_on_with_another_file_of_the_same_name(
    begun: list[str], tmp_path: Path, name: str
) -> None:
    """Else some events would be missing and others there twice, or figures be of two files of labels."""
    file = tmp_path / name
    before = file.read_bytes()
    first, *rest = before.splitlines(keepends=True)
    file.write_bytes(first + b"".join(reversed(rest)))
    assert f"{file} (SHA-256 " in refused(*begun)

    file.write_bytes(before)
    command(*begun)
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 400


def test_a_dry_run_refuses_what_the_run_would(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    """Topics, labels, and unfinished work that is there or not."""
    existing = f"replayed-{uuid.uuid4().hex[:8]}"
    arguments = ["--topic", world.topic, "--config", str(scorer_yaml), "--out", str(tmp_path / "out.jsonl")]
    command(*arguments, "--out-topic", existing)
    arguments += ["--dry-run"]
    assert "the service reads or writes it" in refused(*arguments, "--out-topic", world.decisions)
    assert "exists already" in refused(*arguments, "--out-topic", existing)
    assert "no-such.csv" in refused(*arguments, "--labels", "no-such.csv")
    assert "no unfinished replay is there" in refused(*arguments, "--resume")


@pytest.mark.parametrize("more", [[], ["--allow-existing-topic"]])
def test_without_a_configuration_the_topics_on_the_command_line_are_live_too(
    world: World, card_bundle: Bundle, tmp_path: Path, more: list[str]
) -> None:
    """Nothing is published to the topic that is read, the decisions compared with, or Kafka's own topics."""
    arguments = ["--topic", world.topic, "--bootstrap", world.bootstrap, "--bundle", str(card_bundle.path)]
    arguments += ["--decisions", world.decisions, "--out", str(tmp_path / "out.jsonl"), *more, "--out-topic"]
    for name in (world.topic, world.decisions):
        assert "the service reads or writes it" in refused(*arguments, name)
    assert "is Kafka's own" in refused(*arguments, "__consumer_offsets")


def test_the_ledger_of_redriven_letters_is_the_services_own(world: World, scorer_yaml: Path, tmp_path: Path) -> None:
    name = f"{world.dead_letters}.redriven"
    arguments = ["--topic", world.topic, "--config", str(scorer_yaml), "--out", str(tmp_path / "out.jsonl")]
    assert "the service reads or writes it" in refused(*arguments, "--out-topic", name)


@pytest.mark.parametrize("option", ["--out", "--junit", "--report"])
@pytest.mark.parametrize("other", ["--events", "--labels"])
def test_no_file_is_read_and_written(tmp_path: Path, option: str, other: str) -> None:
    """By whatever path: it would be gone when all is done."""
    path = tmp_path / "a.html"
    path.write_text("{}")
    files = {"--events": str(tmp_path / "e.jsonl"), "--labels": str(tmp_path / "l.csv"), other: str(path)}
    again = str(tmp_path / "." / "a.html")
    named = [word for pair in files.items() for word in pair]
    assert f"is the file of {other}" in refused(*named, "--topic", "t", "--bundle", "b", option, again)
    assert path.read_text() == "{}"


def test_no_file_is_written_twice(tmp_path: Path) -> None:
    """Neither is the page's JSON twin."""
    out, page = str(tmp_path / "a.json"), str(tmp_path / "a.html")
    said = refused("--topic", "t", "--bundle", "b", "--junit", out, "--report", page)
    assert "is the file of --junit" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--labels", "topic:labels"], "in which Kafka?"),
        (["--out-topic", "elsewhere"], "in which Kafka?"),
        (["--rate", "inf"], "leave it out for no limit"),
        (["--costs", ""], "add --labels"),
    ],
)
def test_what_no_replay_of_a_file_can_do_is_told_at_once(
    card_bundle: Bundle, tmp_path: Path, more: list[str], said: str
) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(json.dumps(event(1)).encode())
    arguments = ["--events", str(events), "--topic", "t", "--bundle", str(card_bundle.path)]
    assert said in refused(*arguments, "--out", str(tmp_path / "out.jsonl"), *more)


def test_costs_that_say_nothing_are_refused(card_bundle: Bundle, tmp_path: Path) -> None:
    """As from a variable that is empty: nobody would notice that no cost was told."""
    events, labels = tmp_path / "events.jsonl", tmp_path / "labels.csv"
    events.write_bytes(json.dumps(event(1)).encode())
    labels.write_text("event_id,label\nt1,1\n")
    arguments = ["--events", str(events), "--topic", "t", "--bundle", str(card_bundle.path), "--labels", str(labels)]
    assert "--costs" in refused(*arguments, "--out", str(tmp_path / "out.jsonl"), "--costs", "")
