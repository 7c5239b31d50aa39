"""Room 5: Decisions | Rejections → Outgoing: decision records and dead letters.

A decision is JSON, joined from bytes that are constant for the topic, the partition or the batch, and from columns of
number texts: orjson writes float32 in its shortest form, so a score reads back to the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TypeAlias, cast
from urllib.parse import quote

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from scorer import compiled
from scorer.errors import Reason, Stage
from scorer.records import Bands, Columns, Decisions, Header, Letter, Outgoing, Records, Rejection, Rows

OVERHEAD = 6144
"""Bytes kept free in a record for what Kafka and the scorer add: batch and record headers, error headers."""

MAX_DECISION = 16384
"""Bytes of a decision at most: the event's id is bounded when it is decoded, the rest is the bundle's and ours."""


CLOUD_TYPE = b"scorer.decision.v1"
YEARS = (-62_135_596_800_000, 253_402_300_800_000)
"""Milliseconds of the years 1 to 9999, which RFC 3339 can write."""


Part: TypeAlias = bytes | list[bytes] | tuple[list[bytes], NDArray[np.int64]] | tuple[None, bytes]
"""What the texts of many rows have in one place: the same; one a row; one of some; or numbers between commas."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What every decision of a topic says of its making."""

    model: str
    model_version: str
    bundle_sha256: str


@dataclass(frozen=True, slots=True)
class Timing:
    """A batch's times in seconds: waited to be filled, model call, and all from its first event on."""

    wait: float
    score: float
    total: float


class Encoder:
    """Writes one topic's decisions and dead letters; `max_bytes` is what one record may hold."""

    def __init__(
        self,
        origin: Origin,
        bands: Bands,
        *,
        group: str,
        decisions: str,
        dead_letters: str,
        max_bytes: int,
        cloudevents: bool = False,
    ) -> None:
        """Prepare what is constant; with `cloudevents`, decisions get the headers of `cloud_headers`."""
        self._cloudevents = cloudevents
        self.decisions = decisions
        self.dead_letters = dead_letters
        self._group = group.encode()
        self._room = max_bytes - OVERHEAD
        self._tails = [
            _members(
                decision=name,
                band={"name": name, "from": msgspec.Raw(orjson.dumps(edge, option=orjson.OPT_SERIALIZE_NUMPY))},
                model=origin.model,
                model_version=origin.model_version,
                bundle_sha256=origin.bundle_sha256,
                thresholds_version=bands.version,
            )
            for name, edge in zip(bands.names, bands.edges, strict=True)
        ]

    def __call__(
        self,
        records: Records,
        columns: Columns,
        decisions: Decisions,
        rejections: Sequence[Rejection],
        timing: Timing,
    ) -> Outgoing:
        """Encode a batch; `columns` and `decisions` have the same rows, none of them refused by `oversize`."""
        rows = decisions.scores.rows
        keys = records.keys if len(rows) == len(records) else list(map(records.keys.__getitem__, rows.tolist()))
        values = self._decisions(records, columns, decisions, timing)
        letters = [self._letter(records, rejection) for rejection in rejections]
        headers = cloud_headers(records, columns, self._group.decode()) if self._cloudevents else ()
        return Outgoing(self.decisions, keys, values, self.dead_letters, letters, headers)

    def oversize(self, records: Records, rows: Rows) -> list[Rejection]:
        """Reject the rows whose key, which the decision carries too, leaves no room for a decision."""
        most = self._room - MAX_DECISION
        if max(map(len, filter(None, records.keys)), default=0) <= most:
            return []
        keys = ((row, records.keys[row]) for row in rows.tolist())
        return [
            Rejection(row, Stage.ENCODE, Reason.OVERSIZE, "", f"a key of {len(key)} bytes leaves no room to decide")
            for row, key in keys
            if key is not None and len(key) > most
        ]

    def _decisions(self, records: Records, columns: Columns, decisions: Decisions, timing: Timing) -> list[bytes]:
        scores = decisions.scores
        rows = scores.rows
        partitions, offsets = records.partitions[rows], _numbers(records.offsets[rows])
        present = np.flatnonzero(np.bincount(partitions)).tolist()
        heads, middles = [b""] * (max(present, default=0) + 1), [b""] * (max(present, default=0) + 1)
        for number in present:
            heads[number], middles[number] = _head(records.topic, number), _middle(records.topic, number)
        metrics = _metrics(len(records), timing)
        parts: tuple[Part, ...] = (
            (heads, partitions),
            offsets,
            b'","event_id":',
            list(columns.event_ids),
            (middles, partitions),
            offsets,
            b',"event_time":',
            _numbers(columns.event_times),
            b',"score":',
            _numbers(scores.score),
            b',"log_odds":',
            _numbers(scores.log_odds),
            ([b",%b,%b}" % (tail, metrics) for tail in self._tails], decisions.band.astype(np.int64)),
        )
        return weave(parts, len(rows))

    def _letter(self, records: Records, rejection: Rejection) -> Letter:
        """Return the event byte for byte with its origin and reason; what cannot be re-emitted is cut and marked."""
        row = rejection.row
        headers: list[Header]
        marks: list[Header] = []
        try:
            headers = list(records.headers(row))
        except UnicodeDecodeError:
            headers, marks = [], [("scorer.error.headers", b"unreadable: a header's name is not UTF-8")]
        if sum(len(name) + len(content or b"") + 8 for name, content in headers) > self._room // 2:
            headers, marks = [], [("scorer.error.headers", b"cut: too large")]
        room = self._room - sum(len(name) + len(content or b"") + 8 for name, content in headers)
        key = _cut("key", records.keys[row], room // 2, marks)
        value = _cut("value", records.values[row], room - len(key or b""), marks)
        origin: list[Header] = [
            ("__dlq.errors.topic", records.topic.encode()),
            ("__dlq.errors.partition", b"%d" % records.partitions[row]),
            ("__dlq.errors.offset", b"%d" % records.offsets[row]),
            ("__dlq.errors.group", self._group),
            ("__dlq.errors.message", rejection.message.encode(errors="replace")),
            ("scorer.error.stage", rejection.stage.encode()),
            ("scorer.error.reason", rejection.reason.encode()),
            ("scorer.error.path", rejection.path.encode(errors="replace")),
        ]
        return Letter(key, value, [*headers, *origin, *marks], int(records.timestamps[row]))


def cloud_headers(records: Records, columns: Columns, group: str) -> list[list[Header]]:
    """Return every decision's headers by CloudEvents 1.0's Kafka binding, binary mode: the value stays as it is.

    `ce_id` is the decision's id and `ce_source` says group and topic, so that together they are the same however often
    an event is decided. `ce_time` is the event's, unless no year of four digits holds it.
    """
    source = f"/scorer/{quote(group, safe='')}/{quote(records.topic, safe='')}"
    constant: list[Header] = [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_type", CLOUD_TYPE),
        ("ce_source", source.encode()),
    ]
    topic, rows = records.topic.encode(), columns.rows
    places = zip(records.partitions[rows].tolist(), records.offsets[rows].tolist(), strict=True)
    ids: Iterable[Header] = (("ce_id", b"%b-%d-%d" % (topic, *place)) for place in places)
    known = (columns.event_times >= YEARS[0]) & (columns.event_times < YEARS[1])
    texts = np.datetime_as_string(np.where(known, columns.event_times, 0).astype("datetime64[ms]"), unit="ms").tolist()
    times: Iterable[list[Header]] = (
        [("ce_time", b"%bZ" % text.encode())] if told else [] for text, told in zip(texts, known.tolist(), strict=True)
    )
    return [[*constant, header, *time] for header, time in zip(ids, times, strict=True)]


def _cut(part: str, content: bytes | None, room: int, marks: list[Header]) -> bytes | None:
    """Return what fits; a cut part leaves its size and digest in `marks`, so that the original can be known again."""
    if content is None or len(content) <= room:
        return content
    marks.append((f"scorer.error.{part}.bytes", b"%d" % len(content)))
    marks.append((f"scorer.error.{part}.sha256", hashlib.sha256(content).hexdigest().encode()))
    return content[:room]


def _members(**members: object) -> bytes:
    """Return members of a JSON object, without its braces."""
    return msgspec.json.encode(members)[1:-1]


def _head(topic: str, partition: int) -> bytes:
    return b'{"decision_id":"%b-%d-' % (topic.encode(), partition)


def _middle(topic: str, partition: int) -> bytes:
    return b',"topic":"%b","partition":%d,"offset":' % (topic.encode(), partition)


def _metrics(events: int, timing: Timing) -> bytes:
    times: Mapping[str, float] = {"wait_ms": timing.wait, "score_ms": timing.score, "total_ms": timing.total}
    return _members(metrics={"batch_events": events} | {name: round(s * 1000, 3) for name, s in times.items()})


def _numbers(numbers: NDArray[np.int64] | NDArray[np.float32]) -> tuple[None, bytes]:
    """Return each number's shortest text that reads back to the same bits."""
    return None, orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def woven(parts: Sequence[Part], rows: int) -> list[bytes]:
    """Return so many rows' texts, each joined from its parts."""
    return list(map(b"".join, zip(*(_each(part, rows) for part in parts), strict=True)))


def _each(part: Part, rows: int) -> Iterable[bytes]:
    if isinstance(part, bytes):
        return repeat(part, rows)
    if isinstance(part, list):
        return part
    table, each = part
    if table is None:
        return cast(bytes, each).split(b",") if rows else ()
    return map(table.__getitem__, cast("NDArray[np.int64]", each).tolist())


weave = compiled.weave if compiled.BUILT else woven
"""`woven`, by `weave.c` where it was built."""
