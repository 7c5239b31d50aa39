"""What has been redriven: one receipt an event, in a compacted topic of its own beside the dead letters. Pure.

A receipt is published in the transaction of the event that it is for, so that there are both or neither. Looking for
the events themselves instead, by a header in the topic they went to, would forget them with that topic's retention,
would overlook those behind a foreign transaction that is still open, and would believe whoever writes such a header.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from scorer.dlq.letters import DeadLetter
from scorer.records import Letter, Records


def ledger_of(dead_letters: str) -> str:
    """Return the name of the ledger of a topic of dead letters."""
    return f"{dead_letters}.redriven"


class Ledger:
    """The identities of redriven events: about 100 bytes of memory each."""

    def __init__(self, batches: Iterable[Records] = ()) -> None:
        """Read a ledger's topic, whole; a receipt that somebody voided with a tombstone counts no more."""
        self._identities: set[bytes] = set()
        for records in batches:
            for key, value in zip(records.keys, records.values, strict=True):
                (self._identities.discard if value is None else self._identities.add)(key or b"")

    def __contains__(self, letter: DeadLetter) -> bool:
        """Return whether a letter's event was redriven."""
        return letter.identity in self._identities

    def add(self, letter: DeadLetter) -> None:
        """Note that a letter's event is redriven."""
        self._identities.add(letter.identity)


def receipt(letter: DeadLetter, target: str) -> Letter:
    """Return what is noted of a letter whose event goes to `target`; the time is the moment it is published."""
    value = msgspec.json.encode({"letter": str(letter.place), "to": target})
    return Letter(letter.identity, value, (), timestamp=0)
