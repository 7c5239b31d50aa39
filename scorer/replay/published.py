"""Which decisions an interrupted replay had published already, so that the one that goes on repeats none. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec

from scorer.records import Outgoing


class _Place(msgspec.Struct, frozen=True, gc=False):
    """Of a decision, the event that it is of."""

    topic: str
    partition: int
    offset: int


class Published:
    """Decisions of a topic's events from `since` on, per partition: those before are published for certain."""

    def __init__(self, topic: str, since: Mapping[int, int]) -> None:
        self._topic = topic
        self._since = dict(since)
        self._decode = msgspec.json.Decoder(_Place).decode
        self._places: set[_Place] = set()

    def add(self, values: Iterable[bytes | None]) -> None:
        """Note the decisions among records of the topic that was published to; others may have written there too."""
        for value in values:
            try:
                place = self._decode(value or b"")
            except msgspec.MsgspecError:
                continue
            if place.topic == self._topic and place.offset >= self._since.get(place.partition, 0):
                self._places.add(place)

    def left(self, outgoing: Outgoing) -> Outgoing:
        """Return what of a batch is still to be published, in its order."""
        if not self._places:
            return outgoing
        rows = [row for row, value in enumerate(outgoing.values) if self._decode(value or b"") not in self._places]
        return replace(
            outgoing,
            keys=[outgoing.keys[row] for row in rows],
            values=[outgoing.values[row] for row in rows],
            headers=[outgoing.headers[row] for row in rows] if outgoing.headers else (),
        )
