"""`scorer thresholds fit` and `scorer diff --slice` as their users run them, on files and on Kafka."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from replay_world import World, event
from typer.testing import CliRunner

from scorer.broker.kafka.bounded import SliceReader
from scorer.bundle import Bundle
from scorer.cli import app
from scorer.errors import ScorerError, SelectionError
from scorer.evaluation.findings import Report

EVENTS = 1_200
START = 1_750_000_000_000


def run(*arguments: str) -> str:
    """Run `scorer`, and return what it prints; what it raises is raised."""
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout


def refused(*arguments: str) -> str:
    """Run `scorer`, and return the one line that it ends with."""
    with pytest.raises(ScorerError) as error:
        run(*arguments)
    return str(error.value)


@pytest.fixture(scope="module")
def books(card_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with events of ten days, their scores, and labels that go with the scores, mostly."""
    directory = tmp_path_factory.mktemp("books")
    with (directory / "events.jsonl").open("w") as file:
        for number in range(EVENTS):
            file.write(json.dumps({**event(number), "money": number % 50 if number % 7 else None}) + "\n")
    run(
        *("replay", "--events", str(directory / "events.jsonl"), "--topic", "payments"),
        *("--bundle", str(card_bundle.path), "--out", str(directory / "scores.jsonl")),
    )
    random = np.random.default_rng(1)
    decisions = [json.loads(line) for line in (directory / "scores.jsonl").read_text().splitlines()]
    with (directory / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["event_id", "label"])
        rows.writerows([one["event_id"], int(random.random() < one["score"] ** 2)] for one in decisions)
    return directory


@pytest.fixture
def replayed(books: Path, card_bundle: Bundle) -> Sequence[str]:
    """Give the arguments of a fit that replays the events."""
    return [
        *("thresholds", "fit", "--events", str(books / "events.jsonl"), "--topic", "payments"),
        *("--bundle", str(card_bundle.path), "--labels", str(books / "labels.csv"), "--bands", "review=0.4,block=0.8"),
    ]


def test_a_replay_and_its_file_of_scores_give_the_same_fit(books: Path, replayed: Sequence[str]) -> None:
    """The same bands, figures and intervals, whether the events are replayed or their decisions read."""
    costs = ["--costs", "false_positive=3,missed=10,review=1", "--capacity", "100", "--json"]
    one = msgspec.json.decode(run(*replayed, *costs, "--by", "channel"), type=Report)
    file = ["thresholds", "fit", "--scores", str(books / "scores.jsonl"), "--labels", str(books / "labels.csv")]
    two = msgspec.json.decode(run(*file, "--bands", "review=0.4,block=0.8", *costs), type=Report)

    assert one.proposal is not None
    assert two.proposal == one.proposal
    assert two.effect_before == one.effect_before
    assert [row.value for row in one.segments[0].rows] == ["chip", "web"]
    assert sum(row.events for row in one.segments[0].rows) == EVENTS
    assert one.effect.confusion is not None
    assert one.effect_before is not None
    assert one.effect_before.confusion is not None
    assert (one.effect.confusion.cost or 0) < (one.effect_before.confusion.cost or 0)


def test_the_amount_of_an_event_is_what_its_fraud_costs(replayed: Sequence[str]) -> None:
    """Read from the event, though the bundle does not; those without one count as the mean, and are told."""
    text = run(*replayed, "--costs", "false_positive=3,missed=money,review=1")

    assert "frauds have no money: they count as the mean of the others" in text
    assert "least cost" in text
    assert yaml.safe_load(text[text.index("topics:") :])["topics"]["payments"]["bands"].keys() == {"review", "block"}


def test_the_page_and_its_twin_are_written(replayed: Sequence[str], tmp_path: Path) -> None:
    """The twin is the report, with the drift of every field and feature of the bundle's references."""
    run(*replayed, "--recall", "0.98", "--report", str(tmp_path / "fit.html"))

    twin = msgspec.json.decode((tmp_path / "fit.json").read_bytes(), type=Report)
    assert twin.proposal is not None
    assert twin.effect.confusion is not None
    assert (twin.effect.confusion.recall or 0) >= 0.98
    assert {(one.kind, one.name) for one in twin.drift} >= {("field", "amount"), ("score", "score")}
    assert any(one.kind == "feature" for one in twin.drift)
    assert max(one.psi for one in twin.drift) < 0.2
    assert "Fitted bands of payments" in (tmp_path / "fit.html").read_text()


def test_write_changes_the_configurations_bands_and_nothing_else(
    books: Path, card_bundle: Bundle, tmp_path: Path
) -> None:
    text = (
        "kafka: {bootstrap.servers: 'nowhere:1'}\ngroup: g\ntopics:\n  payments:  # cards\n"
        f"    bundle: {card_bundle.path}\n    decisions: d\n    dead_letters: x\n"
        "    bands: {review: 0.4, block: 0.8}\n"
    )
    file = tmp_path / "scorer.yaml"
    file.write_text(text)
    arguments = ["thresholds", "fit", "--scores", str(books / "scores.jsonl"), "--labels", str(books / "labels.csv")]

    run(*arguments, "--config", str(file), "--precision", "0.93", "--band", "block", "--write")

    written = file.read_text()
    found = yaml.safe_load(written)["topics"]["payments"]["bands"]
    assert found["review"] == 0.4
    assert found["block"] not in (0.4, 0.8)
    assert written == text.replace("block: 0.8", f"block: {found['block']}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "say what is wanted"),
        (["--recall", "0.5", "--precision", "0.5"], "say what is wanted"),
        (["--costs", "missed=1", "--recall", "0.5"], "say what is wanted"),
        (["--costs", "missed=1", "--band", "block"], "--costs moves every edge"),
        (["--recall", "0.5", "--band", "hold"], "no band of payments is called so; there are review, block"),
        (["--recall", "0.5", "--write"], "--write writes into the --config file"),
        (["--costs", ""], "--costs '': says nothing; write false_positive=40"),
        (["--costs", "mised=1"], "is not one more of false_positive, missed, review, reviewed"),
        (["--costs", "review=-1"], "review is no number of 0 or more"),
        (["--costs", "missed=1,reviewed=hold"], "no band is called 'hold'"),
        (["--recall", "0.5", "--report", "fit.pdf"], "name it .html"),
    ],
)
def test_a_wrong_wish_is_told_in_a_line(books: Path, options: Sequence[str], said: str) -> None:
    file = ["thresholds", "fit", "--scores", str(books / "scores.jsonl"), "--labels", str(books / "labels.csv")]

    assert said in refused(*file, "--bands", "review=0.4,block=0.8", *options)


def test_costs_that_say_nothing_are_refused_before_a_replay(replayed: Sequence[str]) -> None:
    """Not taken for no costs: somebody's variable was empty."""
    assert "--costs '': says nothing" in refused(*replayed, "--costs", "")


def test_too_few_labels_are_refused(books: Path, replayed: Sequence[str], tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("".join((books / "labels.csv").read_text().splitlines(keepends=True)[:40]))

    assert "labels are too few" in refused(*replayed[:-4], "--labels", str(few), *replayed[-2:], "--recall", "0.5")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.csv", "score,label\n0.5,1\n", "does not say which topic"),
        ("s.csv", "score,topic\n0.5,payments\n", "has no 'label'"),
        ("s.csv", "score,label,topic\n1.5,1,payments\n", "not between 0 and 1"),
        ("s.csv", "score,label,topic\n0.5,maybe,payments\n", "none of 0, 1, true, false"),
        ("s.csv", "score,label,topic\n0.5,1,a\n0.5,1,b\n", "has the topics a, b; say with --topic which one"),
        ("s.jsonl", "{}\n", "has no 'score'"),
        ("s.jsonl", "", "holds no scores"),
        ("s.parquet", "no table", "cannot be read"),
    ],
)
def test_a_file_of_no_scores_is_told(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)

    assert said in refused("thresholds", "fit", "--scores", str(tmp_path / name), "--bands", "b=0.5", "--recall", "0.5")


def test_amounts_and_labels_that_fit_nothing_are_told(books: Path, replayed: Sequence[str], tmp_path: Path) -> None:
    """A misspelt field would make every fraud free; labels of other events would leave none."""
    file = ["thresholds", "fit", "--scores", str(books / "scores.jsonl"), "--bands", "review=0.4,block=0.8"]
    (tmp_path / "others.csv").write_text("event_id,label\nx1,1\n")

    assert "missed=sum: none of" in refused(*replayed, "--costs", "missed=sum")
    labels = ["--labels", str(books / "labels.csv")]
    assert "missed=money: none of" in refused(*file, *labels, "--costs", "missed=money")
    others = ["--labels", str(tmp_path / "others.csv"), "--recall", "0.5"]
    assert 'no event_id is that of a label, such as "x1"' in refused(*file, *others)


def test_a_file_of_scores_may_have_labels_times_and_amounts_itself(tmp_path: Path) -> None:
    """CSV as an analyst saves it: labels of three spellings, times in RFC 3339, amounts with gaps."""
    random = np.random.default_rng(3)
    rows = ["score,label,time,sum,land"]
    for number in range(2_000):
        fraud = random.random() < 0.2
        score = random.beta(4, 2) if fraud else random.beta(1, 6)
        label = random.choice(["1", "true", "Fraud"] if fraud else ["0", "false", "0.0"])
        rows.append(
            f"{score:.6f},{label},2026-01-{1 + number // 200:02d}T12:00:00Z,{'' if number % 9 else 50},L{number % 2}"
        )
    (tmp_path / "s.csv").write_text("\n".join(rows))

    text = run(
        *("thresholds", "fit", "--scores", str(tmp_path / "s.csv"), "--topic", "payments", "--bands", "block=0.5"),
        *("--costs", "missed=sum,false_positive=20", "--by", "land", "--json"),
    )

    found = msgspec.json.decode(text, type=Report)
    assert found.subject.days == 9.0
    assert [(row.value, row.events) for row in found.segments[0].rows] == [("L0", 1000), ("L1", 1000)]
    assert found.labels == 2_000
    assert found.proposal is not None
    assert found.fraud_money == 50.0 * found.frauds


def test_a_slice_of_two_models_says_what_keeps_each_bands_share(
    books: Path, card_bundle: Bundle, tmp_path: Path
) -> None:
    """The same bundle twice keeps the shares exactly; the forecast is in the JSON, and its page can be written."""
    path, slice_ = str(card_bundle.path), str(books / "events.jsonl")
    options = ["--slice", slice_, "--topic", "payments", "--bands", "review=0.4,block=0.8"]
    page = ["--report", str(tmp_path / "d.html"), "--labels", str(books / "labels.csv")]

    found = json.loads(run("diff", path, path, *options, *page, "--json"))["forecasts"][0]

    assert found["events"] == EVENTS
    assert [one["band"] for one in found["bands"]] == ["review", "block"]
    for one in found["bands"]:
        assert one["share"] == one["left"] == one["kept"] > 0
    assert msgspec.json.decode((tmp_path / "d.json").read_bytes(), type=Report).kind == "diff"
    text = run("diff", path, path, *options)
    assert f"payments: {EVENTS:,} events that both decided" in text
    assert found["yaml"] in text


def test_only_one_slice_goes_on_a_page(books: Path, card_bundle: Bundle) -> None:
    path, where = str(card_bundle.path), ["--slice", str(books / "events.jsonl")] * 2

    with pytest.raises(SelectionError, match="--report is of one --slice"):
        run("diff", path, path, *where, "--report", "d.html")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--report", "d.html"], "--report says something of a slice of events, and none is named: add --slice FILE"),
        (["--labels", "l.csv", "--by", "channel"], "--labels, --by say something of a slice"),
        (["--from", "-1h", "--to", "p0:5"], "--from, --to say"),
        (["--topic", "t", "--config", "c.yaml", "--bands", "review=0.5"], "--topic, --config, --bands say"),
        (["--bootstrap", "b:1", "-X", "client.id=x"], "--bootstrap, -X say"),
    ],
)
def test_what_is_asked_of_a_slice_needs_one(
    card_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Sequence[str], said: str
) -> None:
    """A page of nothing, or labels that nobody looks at, are told before anything is compared."""
    monkeypatch.chdir(tmp_path)

    assert said in refused("diff", str(card_bundle.path), str(card_bundle.path), *options)
    assert list(tmp_path.iterdir()) == []


def test_a_replays_page_and_gate_know_cost_calibration_and_drift(
    books: Path, card_bundle: Bundle, tmp_path: Path
) -> None:
    """What needs the whole assessment is there when it is asked for: in the figures, the verdicts, and the twin."""
    text = run(
        *("replay", "--events", str(books / "events.jsonl"), "--topic", "payments", "--bundle", str(card_bundle.path)),
        *("--against-bands", "review=0.3,block=0.7", "--labels", str(books / "labels.csv"), "--json"),
        *("--costs", "false_positive=3,missed=10,review=1", "--out", str(tmp_path / "o.jsonl")),
        *("--report", str(tmp_path / "r.html"), "--fail-if", "psi > 0.3", "--fail-if", "cost > 1e9"),
    )

    found = json.loads(text)
    figures = {name: figure["value"] for name, figure in found["figures"].items()}
    twin = msgspec.json.decode((tmp_path / "r.json").read_bytes(), type=Report)
    assert figures["cost_rise"] == pytest.approx(figures["cost"] - figures["cost_before"])
    assert figures["cost"] == (twin.effect.confusion and twin.effect.confusion.cost)
    assert figures["alerts"] == twin.effect.alerts
    assert figures["flips"] == (twin.difference and twin.difference.flips)
    assert {"ece", "psi", "reviews_per_day"} <= figures.keys()
    assert [verdict["failed"] for verdict in found["verdicts"]] == [False, False]


@pytest.fixture
def labelled(world: World) -> str:
    """Give a topic of labels of the world's events: half of them, by their scores."""
    topic = f"{world.topic}.labels"
    with closing(SliceReader({"bootstrap.servers": world.bootstrap}, clock=time.monotonic)) as past:
        values = [
            json.loads(value or b"")
            for records in past.read(world.decisions, past.extent(world.decisions), 4096)
            for value in records.values
        ]
    random = np.random.default_rng(4)
    records = {str(one["event_id"]): int(random.random() < one["score"] ** 2) for one in values}
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": world.bootstrap})
    for event_id, label in records.items():
        producer.produce(topic, json.dumps({"event_id": event_id, "label": label}).encode())
    assert producer.flush(30) == 0
    return topic


def test_topics_of_events_decisions_and_labels_make_fits_pages_and_forecasts(
    world: World, scorer_yaml: Path, card_bundle: Bundle, labelled: str, tmp_path: Path
) -> None:
    """All of it from Kafka alone: a fit on a replay, a page beside the recorded decisions, a forecast of two models."""
    common = ["--config", str(scorer_yaml), "--labels", f"topic:{labelled}"]
    fitted = msgspec.json.decode(
        run("thresholds", "fit", "--topic", world.topic, *common, "--recall", "0.95", "--json"), type=Report
    )
    assert fitted.labels == fitted.flow.decided == len(world.events)
    assert fitted.flow.rejected == {"malformed": len(world.broken)}
    assert fitted.effect.confusion is not None
    assert (fitted.effect.confusion.recall or 0) >= 0.95

    pages = ["--report", str(tmp_path / "r.html"), "--out", str(tmp_path / "r.parquet"), "--by", "channel"]
    run("replay", "--topic", world.topic, *common, *pages)
    twin = msgspec.json.decode((tmp_path / "r.json").read_bytes(), type=Report)
    assert twin.difference is not None
    assert (twin.difference.matched, twin.difference.identical) == (len(world.events), len(world.events))
    assert twin.before is not None
    assert twin.before.title == world.decisions
    assert twin.before.bands == twin.after.bands

    again = msgspec.json.decode(
        run(
            *("thresholds", "fit", "--scores", str(tmp_path / "r.parquet"), "--config", str(scorer_yaml), "--json"),
            *("--labels", str(_as_file(tmp_path, world, labelled)), "--recall", "0.95"),
            *("--bands", "review=0.5,block=0.9"),
        ),
        type=Report,
    )
    assert again.proposal == fitted.proposal

    path = str(card_bundle.path)
    where = ["--slice", f"topic:{world.topic}", "--config", str(scorer_yaml), "--from", "beginning"]
    forecast = json.loads(run("diff", path, path, *where, "--json"))["forecasts"][0]
    assert forecast["events"] == len(world.events)
    assert all(one["left"] == one["share"] for one in forecast["bands"])


def _as_file(directory: Path, world: World, topic: str) -> Path:
    with closing(SliceReader({"bootstrap.servers": world.bootstrap}, clock=time.monotonic)) as past:
        lines = [value or b"" for records in past.read(topic, past.extent(topic), 4096) for value in records.values]
    path = directory / "labels.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path
