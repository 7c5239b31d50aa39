"""A million events, scored twice in batches cut elsewhere: not one bit differs."""

from __future__ import annotations

import time
from pathlib import Path

from replay_world import making_of

from scorer.bundle import Bundle
from scorer.pipeline import process
from scorer.replay.compare import Tally
from scorer.replay.files import EventFile
from scorer.replay.recorded import Recorded

EVENTS = 1_000_000


def test_a_million_events_have_the_same_bits_again(card_bundle: Bundle, tmp_path: Path) -> None:
    """The same bundle gives each of them the same float32 bits and band, whoever shared its batch."""
    path = tmp_path / "events.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(
            f'{{"id":"t{number}","amount":{1.5 * (number % 9973)},"age":{number % 31},'
            f'"channel":"{"web" if number % 2 else "chip"}"}}\n'
            for number in range(EVENTS)
        )
    past, everything = EventFile(path, "payments"), {0: range(EVENTS)}
    lane = card_bundle.lane("payments", group="g", decisions="d", dead_letters="")
    making = making_of(card_bundle, lane)
    recorded = Recorded.beside("payments", everything, "then", names=lane.bands.names, making=making)
    for records in past.read("payments", everything, 4096):
        recorded.note(process(records, lane, time.monotonic, 0.0))
    tally = Tally("payments", everything, making, lane.bands.names, recorded)
    for records in past.read("payments", everything, 2999):
        tally.add(process(records, lane, time.monotonic, 0.0))
    comparison = tally.report().comparison
    assert comparison is not None
    assert (comparison.matched, comparison.identical_scores, comparison.changed) == (EVENTS, EVENTS, 0)
    assert len({cell.replayed for cell in comparison.matrix if cell.events}) == len(lane.bands.names)
