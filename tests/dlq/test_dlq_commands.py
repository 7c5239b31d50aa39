"""`scorer dlq` as its operator meets it, on a real Kafka."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)
from dlq_world import Event, World, bury, create_topics, header, values
from test_dlq_families import connect, spring, streams

from scorer.cli import main
from scorer.dlq.door import Office
from scorer.dlq.families import Origin
from scorer.dlq.letters import OF, REDRIVES, Selection
from scorer.dlq.plan import Fate, Target, Terms
from scorer.dlq.redrive import Pace
from scorer.errors import Reason
from scorer.records import Letter

HOUR = 3_600_000


@pytest.fixture
def world(bootstrap: str, tmp_path: Path) -> World:
    """Give a world without dead letters."""
    made = World(bootstrap, tmp_path / "scorer.yaml")
    made.create()
    return made


def dlq(*arguments: object, code: int = 0) -> str:
    """Run `scorer dlq` in this process, without a terminal; return what it printed, or why it ended."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["scorer", "dlq", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    assert int(end.value.code or 0) == code, err.getvalue()
    return (err if code else out).getvalue()


def warned(*arguments: object) -> list[str]:
    """Run `scorer dlq`, which succeeds; return its lines on standard error."""
    line = [sys.executable, "-m", "scorer", "dlq", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, check=True, text=True).stderr.splitlines()


def set_topic(world: World, topic: str, **settings: str) -> None:
    """Change a topic's settings."""
    changes = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=changes)
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    admin.incremental_alter_configs([resource])[resource].result(30)


def six(world: World) -> list[Letter]:
    """Bury six events: five of the first topic's second partition, one of the other topic."""
    events = [
        Event(Origin(world.topic, 1, n), b"key-%d" % (n % 2), b'{"n": %d}' % n, (("trace", b"%d" % n),), (n + 1) * HOUR)
        for n in range(5)
    ]
    letters = [bury(event, Reason.MALFORMED if n < 3 else Reason.WRONG_TYPE) for n, event in enumerate(events)]
    other = Event(Origin(world.other, 0, 9), None, None, timestamp=6 * HOUR)
    return [*letters, bury(other, Reason.TOMBSTONE, "no value", "")]


def test_a_list_counts_and_tells(world: World) -> None:
    """Counts by topic and reason are of all letters meant; the newest are told one by one; filters are joined."""
    assert "no dead letters" in dlq("list", world.settings)
    world.publish(six(world))

    told = json.loads(dlq("list", world.settings, "--json", "--limit", 2))
    text = dlq("list", world.settings)
    some = json.loads(
        dlq(
            "list", world.settings, "--json", "--topic", world.topic, "--reason", "malformed",
            "--from", "1970-01-01T02:00:00Z", "--to", "1970-01-01T05:00:00Z",
        )
    )  # fmt: skip

    assert told["counts"] == [
        {"topic": world.topic, "reason": "malformed", "letters": 3, "redriven": 0},
        {"topic": world.topic, "reason": "wrong_type", "letters": 2, "redriven": 0},
        {"topic": world.other, "reason": "tombstone", "letters": 1, "redriven": 0},
    ]
    assert [letter["letter"] for letter in told["letters"]] == [f"{world.dead_letters}-0-{n}" for n in (5, 4)]
    assert told["letters"][1]["origin"] == f"{world.topic}-1-4"
    assert f"{world.dead_letters}-0-0  {world.topic}-1-0" in text
    assert [letter["origin"] for letter in some["letters"]] == [f"{world.topic}-1-{n}" for n in (2, 1)]
    assert "there are others: malformed 3" in dlq("list", world.settings, "--reason", "malfromed")


def test_a_misspelt_reason_is_told_once(world: World) -> None:
    """Whoever misspells a reason hears of it, and which there are; the others are served, and it is no mistake."""
    world.publish(six(world))
    doubt = "no letter has the reason malfromed: those that were looked at have malformed 3, wrong_type 2, tombstone 1"

    for command in (("list",), ("redrive", "--yes")):
        said = warned(*command, world.settings, "--reason", "malfromed", "--reason", "wrong_type")
        assert [line for line in said if "reason" in line] == [f"{doubt}; did you mean malformed?"]
    assert warned("redrive", world.settings, "--dry-run", "--reason", "oversize") == []
    assert len(world.found(world.topic)) == 2


def test_a_redrive_does_not_meet_what_comes_meanwhile(world: World) -> None:
    """Its slice ends where it ended when it began: an event that fails again at once is not counted as another."""
    buried = six(world)[:4]
    world.publish(buried)

    def fail_again(seconds: float) -> None:
        world.publish([bury(Event(Origin(world.topic, 1, 100 + len(met)), b"k", b"again"))])
        met.append(len(world.found(world.dead_letters)))

    met: list[int] = []
    terms = Terms({world.topic: Target(2, 1_000_000, 0)}, None, 3)
    kafka = {"bootstrap.servers": world.bootstrap}
    with closing(Office(kafka, clock=time.monotonic, watch=lambda batches, *_: batches)) as office:
        tally = office.redrive(
            world.dead_letters,
            office.reader.extent(world.dead_letters),
            Selection(),
            terms=terms,
            pace=Pace(1.0, fail_again),
            stopping=lambda: False,
        )

    assert met == [5, 6, 7, 8]
    assert tally.fates == {Fate.REDRIVE: 4}
    assert values(world.found(world.topic)) == [letter.value for letter in buried]


@pytest.mark.parametrize(
    ("end", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_redrive_that_was_ended_goes_on(world: World, end: signal.Signals, code: int) -> None:
    """Ended in its midst by Ctrl-C, politely or not at all politely, and run again: each event is there once."""
    events = [Event(Origin(world.topic, n % 2, n), b"k", b"%d" % n) for n in range(40)]
    world.publish([bury(event) for event in events])
    line = [sys.executable, "-m", "scorer", "dlq", "redrive", str(world.settings), "--yes", "--rate", "5/s"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        while running.poll() is None and not world.found(world.topic):
            pass  # looking takes its time
        running.send_signal(end)
        out, err = running.communicate(timeout=60)
    before = len(world.found(world.topic))

    rest = dlq("redrive", world.settings, "--yes")

    assert running.returncode == code, err
    assert 0 < before < 40
    if code > 0:
        assert f"{before}  redriven" in out
        assert "run it again for the rest" in err
    assert f"{before}  already redriven" in rest
    assert sorted(values(world.found(world.topic))) == sorted(event.value for event in events)


def test_a_letter_is_shown_whole_and_steers_no_terminal(world: World) -> None:
    """JSON is indented, what is none is escaped or in hexadecimal, and `--raw` gives the exact bytes."""
    at = Origin(world.topic, 0, 3)
    events = [
        Event(at, b"\x1b[2J", b'{"b":1.10,"a":"\xc2\x9b31m"}', (("h\n", b"\x07"),)),
        Event(at, None, b"\x1b]0;owned\x07"),
        Event(at, None, bytes(range(256))),
        Event(at, None, None),
    ]
    world.publish([bury(event) for event in events])

    shown = [dlq("show", world.settings, f"{world.dead_letters}-0-{n}") for n in range(4)]
    line = [sys.executable, "-m", "scorer", "dlq", "show", "--raw"]
    raw = subprocess.run(
        [*line, "--bootstrap", world.bootstrap, f"{world.dead_letters}-0-2"], capture_output=True, check=True
    )

    assert all(one.replace("\n", "").isprintable() for one in shown)
    assert '  "b": 1.10,\n  "a": "\\x9b31m"\n}' in shown[0]
    assert f"origin      {at}\n" in shown[0]
    assert "reason      malformed\n" in shown[0]
    assert "  h\\n = \\x07\n" in shown[0]
    assert "\\x1b]0;owned\\x07" in shown[1]
    assert "00000010  10 11 12" in shown[2]
    assert "a tombstone" in shown[3]
    assert raw.stdout == bytes(range(256))
    assert "there is no record" in dlq("show", world.settings, f"{world.dead_letters}-0-4", code=50)
    assert "is no letter's coordinate" in dlq("show", world.settings, "payments", code=50)
    assert "partitions, counted from 0" in dlq("show", world.settings, f"{world.dead_letters}-99-0", code=50)


def test_exchanged_times_are_no_empty_answer(world: World) -> None:
    """Whoever exchanges two times hears of it: "no dead letters" would be believed."""
    assert "is not before" in dlq("list", world.settings, "--from=-1h", "--to=-2h", code=50)


def test_no_event_goes_where_the_scorer_writes(world: World) -> None:
    """A typo must not put events among decisions, dead letters or receipts: their readers could not go on."""
    world.publish(six(world))
    for topic in (f"{world.other}.decisions", world.dead_letters, f"{world.dead_letters}.redriven"):
        assert f"--to-topic {topic}" in dlq("redrive", world.settings, "--dry-run", "--to-topic", topic, code=50)


def test_a_redrive_gives_the_events_back_once(world: World) -> None:
    """Each event is where it came from, as it was; whatever is asked for afterwards, none comes a second time."""
    buried = six(world)
    world.publish(buried)

    planned = dlq("redrive", world.settings, "--dry-run")
    assert "add --yes" in dlq("redrive", world.settings, code=50)
    assert world.found(world.topic) == []
    first = dlq("redrive", world.settings, "--yes", "--reason", "malformed")
    everything = dlq("redrive", world.settings, "--yes")
    again = dlq("redrive", world.settings, "--yes", "--to-topic", world.other)
    events = world.found(world.topic)

    assert "6  to redrive" in planned
    assert f"5    into {world.topic}" in planned
    assert "3  redriven" in first
    assert "3  redriven" in everything
    assert "3  already redriven" in everything
    assert "6  already redriven" in again
    assert values(events) == [b'{"n": %d}' % n for n in range(5)]
    for n, event in enumerate(events):
        assert (event.place.partition, event.key, event.timestamp) == (1, b"key-%d" % (n % 2), buried[n].timestamp)
        letter = f"{world.dead_letters}-0-{n}".encode()
        assert list(event.headers) == [("trace", b"%d" % n), (OF, letter), (REDRIVES, b"1")]
    assert values(world.found(world.other)) == [None]
    counts = json.loads(dlq("list", world.settings, "--json"))["counts"]
    assert all(count["redriven"] == count["letters"] for count in counts)


def test_what_cannot_be_redriven_is_counted_by_name(world: World) -> None:
    """Cut letters, worn ones and forged origins stay where they are; the plan says how many, and which is first."""
    at = Origin(world.topic, 0, 0)
    forged = Event(replace(at, topic="secrets"))
    events = [Event(at, value=b"v" * 30_000), Event(at, headers=((REDRIVES, b"3"),)), forged]
    world.publish([bury(event) for event in events])

    told = dlq("redrive", world.settings, "--yes")
    more = dlq("redrive", world.settings, "--yes", "--max-redrives", 4, "--rate", "50/s")

    for count, words in enumerate(("not whole: a part", "redriven --max-redrives times", "from a topic that is")):
        (line,) = [line for line in told.splitlines() if words in line]
        assert line.startswith("          1  ")
        assert line.endswith(f"(the first is {world.dead_letters}-0-{count})")
    assert "1  redriven\n" in more
    (event,) = world.found(world.topic)
    assert header(event, REDRIVES) == [b"4"]
    assert "is no rate" in dlq("redrive", world.settings, "--rate", "fast", code=2)


def test_letters_of_other_systems_are_redriven_where_one_says(world: World) -> None:
    """Connect's, Streams' and Spring's letters are listed by their reasons, and go to a topic that is named."""
    topic, at = f"{world.name}-foreign", Origin("orders", 1, 5)
    create_topics(world.bootstrap, {topic: 1})
    families = (connect, streams, spring)
    world.publish(
        [Letter(b"k", b"%d" % n, [("h", b"1"), *write(at)], HOUR) for n, write in enumerate(families)], 0, topic
    )
    where = ("--dead-letters", topic, "--bootstrap", world.bootstrap)

    told = json.loads(dlq("list", *where, "--json"))
    assert "--to-topic" in dlq("redrive", *where, "--yes", code=50)
    assert "that is where the letters are" in dlq("redrive", *where, "--yes", "--to-topic", topic, code=50)
    assert "3  from a topic that is not configured" in dlq("redrive", world.settings, "--dead-letters", topic, "--yes")
    dlq("redrive", *where, "--yes", "--to-topic", world.topic)
    events = world.found(world.topic)

    assert {count["reason"] for count in told["counts"]} == {
        "DataException", "SerializationException", "IllegalStateException",
    }  # fmt: skip
    assert {letter["origin"] for letter in told["letters"]} == {"orders-1-5"}
    assert [(event.place.partition, event.value, header(event, "h")) for event in events] == [
        (1, b"%d" % n, [b"1"]) for n in range(3)
    ]
    assert all(len(event.headers) == 3 for event in events)


def test_the_ledger_forgets_nothing(world: World) -> None:
    """It is compacted; one that would delete receipts is refused."""
    world.publish(six(world))
    dlq("redrive", world.settings, "--yes", "--reason", "malformed")
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    resource = ConfigResource(ConfigResource.Type.TOPIC, world.ledger)
    policy = admin.describe_configs([resource])[resource].result(30)["cleanup.policy"].value
    assert policy == "compact"

    set_topic(world, world.ledger, cleanup_policy="delete")

    assert "set its cleanup.policy=compact" in dlq("redrive", world.settings, "--yes", code=30)
    assert len(world.found(world.topic)) == 3


def test_an_event_that_its_topic_would_delete_is_left(world: World) -> None:
    """An event older than its topic's retention would be gone before it is scored: it stays a letter."""
    set_topic(world, world.topic, retention_ms=str(HOUR))
    world.publish([bury(Event(Origin(world.topic, 0, 0)))])

    assert "1  older than the topic's retention.ms" in dlq("redrive", world.settings, "--yes")
    assert world.found(world.topic) == []


def test_an_open_transaction_in_the_topic_hides_nothing(world: World) -> None:
    """A foreign producer that hangs keeps readers before the redriven events; those are known to be there."""
    world.publish(six(world))
    foreign = Producer({"bootstrap.servers": world.bootstrap, "transactional.id": f"{world.name}-hung"})
    foreign.init_transactions(30)
    foreign.begin_transaction()
    foreign.produce(world.topic, b"open", partition=1)
    assert foreign.flush(30) == 0

    dlq("redrive", world.settings, "--yes")
    again = dlq("redrive", world.settings, "--yes")
    foreign.abort_transaction(30)
    foreign.close()

    assert "6  already redriven" in again
    assert len(world.found(world.topic)) == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 50, "whose dead letters"),
        (("--dead-letters", "x"), 10, "--bootstrap HOST:PORT"),
        (("{settings}", "--topic", "nope"), 50, "has no topic nope"),
        (("{settings}", "--from", "yesterday"), 50, "--from 'yesterday'"),
        (("--dead-letters", "no-such.dlq", "--bootstrap", "{bootstrap}"), 32, "no-such.dlq does not exist"),
        (("nowhere.yaml",), 10, "nowhere.yaml"),
    ],
)
def test_mistakes_are_one_line(world: World, arguments: tuple[str, ...], code: int, message: str) -> None:
    """A user's mistake ends with its exit code and says what to do."""
    filled = [one.format(settings=world.settings, bootstrap=world.bootstrap) for one in arguments]

    assert message in dlq("list", *filled, code=code)
