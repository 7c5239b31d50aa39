"""The promises of the JSON log."""

from __future__ import annotations

import io
import json
import logging
import math
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry_story import Clock, loaded, one_of_each, settled

from scorer.errors import Reason
from scorer.records import Partition
from scorer.telemetry import facts as f
from scorer.telemetry.log import MAX_ITEMS, MAX_TEXT, JsonLog
from scorer.telemetry.rate import KEYS, LINES, SECONDS, RateLimit


class Tape:
    """A log on a stream in memory, with its clocks."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.clock = Clock()
        self.ticks = Clock(0.0)
        self.log = JsonLog(self.stream, clock=self.clock, ticks=self.ticks)

    def tell(self, *facts: f.Fact) -> None:
        """Let the log hear facts."""
        for fact in facts:
            self.log.hear(fact)

    @property
    def text(self) -> str:
        """All that was written."""
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines, read strictly: NaN and Infinity fail the test."""
        return [json.loads(line, parse_constant=pytest.fail) for line in self.text.splitlines()]


@pytest.fixture
def tape() -> Tape:
    return Tape()


def test_a_line_says_when_how_bad_and_what(tape: Tape) -> None:
    """A line is ts, level, event and the fact's own fields, in that order."""
    tape.tell(f.BrokerTrouble(f.Client.PRODUCER, "_TRANSPORT", "connection refused"))

    assert tape.text == (
        '{"ts": "2018-11-20T00:00:00.250Z", "level": "warning", "event": "broker_trouble", '
        '"client": "producer", "code": "_TRANSPORT", "message": "connection refused"}\n'
    )


def test_every_fact_of_the_life_has_its_line(tape: Tape) -> None:
    """All facts are told but the frequent two, which the progress sums up before the end."""
    tape.tell(*one_of_each())

    assert [line["event"] for line in tape.lines] == [
        "service_started",
        "bundle_loaded",
        "partitions_assigned",
        "partitions_stuck",
        "batch_aborted",
        "topic_stopped",
        "topic_resumed",
        "producer_renewed",
        "broker_trouble",
        "broker_awaited",
        "broker_answered",
        "service_stopping",
        "partitions_revoked",
        "progress",
        "service_stopped",
    ]
    assert tape.lines[2]["partitions"] == ["payments-0", "payments-1"]
    assert tape.lines[1]["bands"] == {"review": 0.6, "block": 0.92}


@pytest.mark.parametrize(
    ("fact", "level"),
    [
        (f.BatchAborted(f.AbortReason.REBALANCE, 1), "info"),
        (f.BatchAborted(f.AbortReason.REPEATED, 1), "warning"),
        (f.PartitionsRevoked((), lost=True), "warning"),
        (f.PartitionsRevoked((), lost=False), "info"),
        (f.ProducerRenewed(f.RenewReason.FATAL), "warning"),
        (f.TopicStopped("payments", 0.5, 0.2, {}), "error"),
        (f.PartitionsStuck({Partition("payments", 0): 17}), "error"),
        (f.PartitionsStuck({}), "info"),
    ],
)
def test_levels(tape: Tape, fact: f.Fact, level: str) -> None:
    """What every rebalance brings is info; what should not happen is a warning."""
    tape.tell(fact)

    assert tape.lines[0]["level"] == level


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_no_message_can_forge_a_line(message: str) -> None:
    """Whatever characters a broker sends, the line is one, is ASCII, and gives the message back."""
    tape = Tape()
    forged = message + '\n{"level": "error"}\r\u2028\x1b[31m'

    tape.tell(f.BrokerTrouble(f.Client.CONSUMER, "X", forged))

    assert len(tape.text.splitlines()) == 1
    assert tape.text.isascii()
    assert "\x1b" not in tape.text
    assert tape.lines[0]["message"] == forged


def test_values_are_cut_and_marked(tape: Tape) -> None:
    """A megabyte of message and ten thousand partitions or bands make a short line that says what is missing."""
    tape.tell(
        f.ServiceStopping("x" * 1_000_000),
        f.PartitionsAssigned(tuple(Partition("t", n) for n in range(10_000))),
        loaded(bands={f"band{n}": 0.5 for n in range(10_000)}),
    )

    cause, partitions, bands = tape.lines[0]["cause"], tape.lines[1]["partitions"], tape.lines[2]["bands"]
    assert cause == "x" * MAX_TEXT + f"... ({1_000_000 - MAX_TEXT} more characters)"
    assert partitions[MAX_ITEMS - 1 :] == [f"t-{MAX_ITEMS - 1}", f"... {10_000 - MAX_ITEMS} more"]
    assert len(bands) == MAX_ITEMS + 1
    assert bands["..."] == f"{10_000 - MAX_ITEMS} more"


def test_numbers_that_json_lacks_become_text(tape: Tape) -> None:
    """Infinity and NaN are written as text: a strict reader must not choke on the line."""
    tape.tell(f.ServiceStopped(1, math.inf), f.ServiceStopped(1, math.nan))

    assert [line["seconds"] for line in tape.lines] == ["inf", "nan"]


def test_repeats_are_left_out_and_counted(tape: Tape) -> None:
    """Of one event and code five lines pass in ten seconds; the next that passes counts the others."""
    trouble = f.BrokerTrouble(f.Client.CONSUMER, "_TRANSPORT", "down")
    tape.tell(*[trouble] * 22)
    assert len(tape.lines) == LINES

    tape.ticks.now = SECONDS
    tape.tell(trouble, trouble)

    assert [line.get("suppressed") for line in tape.lines[LINES:]] == [17, None]
    assert list(tape.lines[LINES])[-1] == "suppressed"


def test_different_things_do_not_silence_each_other(tape: Tape) -> None:
    """The limit is by event and code: twenty bundles have twenty lines, and an abort is seen in a storm of errors."""
    tape.tell(*[f.BrokerTrouble(f.Client.CONSUMER, "_TRANSPORT", "down")] * 50)
    tape.tell(*(loaded(f"topic{n}") for n in range(20)), f.BatchAborted(f.AbortReason.FAULT, 1))

    events = [line["event"] for line in tape.lines]
    assert events.count("bundle_loaded") == 20
    assert events.count("batch_aborted") == 1


def test_a_wall_clock_set_back_silences_nothing(tape: Tape) -> None:
    """The limit runs on the monotonic clock."""
    trouble = f.BrokerTrouble(f.Client.CONSUMER, "_TRANSPORT", "down")
    tape.tell(*[trouble] * 6)

    tape.clock.now -= 3600
    tape.ticks.now += SECONDS
    tape.tell(trouble)

    assert len(tape.lines) == LINES + 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 4)), max_size=80))
def test_no_window_holds_more_than_the_limit(steps: list[tuple[str, float]]) -> None:
    """In every schedule a key passes at most five times in any ten seconds, and each left-out line is counted once."""
    limit = RateLimit()
    now, left_out, counted = 0.0, dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
    passed: dict[str, list[float]] = {key: [] for key in "abc"}
    for key, pause in steps:
        now += pause
        verdict = limit.admit(("event", key), now)
        if verdict is None:
            left_out[key] += 1
        else:
            assert verdict == left_out[key] - counted[key]
            counted[key] += verdict
            passed[key].append(now)
    for times in passed.values():
        assert all(late - early >= SECONDS for early, late in zip(times, times[LINES:], strict=False))


def test_endless_codes_share_one_allowance() -> None:
    """Ever new codes cannot flood the log nor fill the memory; once they are quiet, new ones get their own again."""
    limit = RateLimit()

    passed = sum(limit.admit(("event", str(n)), 0.0) is not None for n in range(10 * KEYS))

    assert passed == KEYS + LINES
    assert limit.admit(("event", "late"), SECONDS) == 0


def test_progress_every_ten_seconds(tape: Tape) -> None:
    """Ten seconds of batches make one line: events, their rate, dead letters, and the largest lag."""
    tape.tell(settled([0.1] * 40), f.LagMeasured({Partition("payments", 0): 7, Partition("payments", 1): 900}))
    tape.ticks.now = 5.0
    tape.tell(settled([0.1] * 58, dead={Reason.MALFORMED: 2}))
    assert tape.lines == []

    tape.ticks.now = 10.0
    tape.tell(settled([0.1]))

    (line,) = tape.lines
    assert list(line)[2:] == ["event", "seconds", "events", "events_per_second", "dead_letters", "max_lag"]
    assert list(line.values())[2:] == ["progress", 10.0, 100, 10.0, 2, 900]


def test_no_progress_no_line(tape: Tape) -> None:
    """An idle hour is silent, and does not water down the rate of what comes after it."""
    for second in range(0, 3600, 5):
        tape.ticks.now = float(second)
        tape.tell(f.LagMeasured({}))
    tape.tell(settled([0.1] * 100))
    tape.ticks.now += 10.0
    tape.tell(f.LagMeasured({}))

    assert [line["events"] for line in tape.lines] == [100]
    assert tape.lines[0]["seconds"] <= 20.0


def test_python_loggers_write_the_same_lines(tape: Tape) -> None:
    """A library's log record is a line with its level, its logger, and the exception in one sentence."""
    logger = tape.log.python_logger("test.client")
    logger.warning("%s failed\n%s", "fetch", "again")
    logger.debug("noise")
    logger.error("cannot write", exc_info=OSError("disk full"))

    assert [list(line.values())[1:] for line in tape.lines] == [
        ["warning", "log", "test.client", "fetch failed\nagain"],
        ["error", "log", "test.client", "cannot write", "OSError: disk full"],
    ]


def test_chatter_does_not_silence_an_error(tape: Tape) -> None:
    """A logger's errors have their own allowance beside its infos."""
    logger = tape.log.python_logger("test.client")
    for _ in range(50):
        logger.info("chatter")
    logger.error("lost")

    assert [line["level"] for line in tape.lines] == ["info"] * LINES + ["error"]


def test_the_logger_never_raises(tape: Tape) -> None:
    """A wrong format and a closed stream are swallowed: librdkafka calls the logger from inside a poll."""
    # Not a fixture's: pytest puts its own handler, which raises, beside those it finds before the test.
    logger = tape.log.python_logger("test.client")
    logger.info("%d", "not a number")
    tape.stream.close()
    logger.error("nobody listens")


def test_python_warnings_become_lines(tape: Tape) -> None:
    """With warnings captured, a library's warning is a line and not loose text on stderr."""
    py_warnings = tape.log.python_logger("py.warnings")
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning("beware", UserWarning, "model.py", 7)
    finally:
        logging.captureWarnings(False)
        py_warnings.handlers = []
        py_warnings.propagate = True

    assert tape.lines[0]["level"] == "warning"
    assert "UserWarning: beware" in tape.lines[0]["message"]
