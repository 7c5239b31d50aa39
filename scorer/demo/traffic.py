"""What the demo streams: simulated payments on two topics, real text messages on a third, and some broken events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.demo import sms
from scorer.demo.simulator import Payments

PAYMENTS, PAYOUTS, MESSAGES = "payments", "payouts", "messages"
TOPICS = (PAYMENTS, PAYOUTS, MESSAGES)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Events for one topic: keys, JSON values, and by event id whether it is fraud or spam (labels are not sent)."""

    topic: str
    keys: Sequence[bytes]
    values: Sequence[bytes | None]
    labels: dict[str, bool]

    def __len__(self) -> int:
        return len(self.values)


def cards(topic: str, payments: Payments) -> Traffic:
    """Return payments keyed by their card's holder, in order of time."""
    ids = payments.columns["transaction_id"].tolist()
    return Traffic(
        topic,
        [str(customer).encode() for customer in payments.columns["customer_id"]],
        [msgspec.json.encode(event) for event in payments.events()],
        dict(zip(ids, (payments.fraud > 0).tolist(), strict=True)),
    )


def messages() -> Traffic:
    """Return all 5,574 messages of the SMS Spam Collection, in their order."""
    texts, spam = sms.load()
    events = sms.events(texts)
    ids = [str(event["sms_id"]) for event in events]
    return Traffic(
        MESSAGES,
        [name.encode() for name in ids],
        [msgspec.json.encode(event) for event in events],
        dict(zip(ids, (spam > 0).tolist(), strict=True)),
    )


def with_broken(traffic: Traffic, rng: np.random.Generator) -> Traffic:
    """Return the traffic with broken events at random places among it: each must be dead-lettered, alone."""
    spoiled = list(broken(_first(traffic)))
    places: NDArray[np.intp] = np.sort(rng.integers(0, len(traffic), len(spoiled)))
    keys, values = list(traffic.keys), list(traffic.values)
    for place, value in zip(places[::-1].tolist(), spoiled, strict=True):
        keys.insert(place, b"broken")
        values.insert(place, value)
    return Traffic(traffic.topic, keys, values, traffic.labels)


def broken(sound: bytes) -> Iterator[bytes | None]:
    """Yield what can be wrong with a payment: text, types, fields, numbers, depth, and no value at all."""
    yield b"not JSON"
    yield sound[: len(sound) // 2]
    yield sound.replace(b'"amount":', b'"amount":"a lot of ')
    yield sound.replace(b'"amount"', b'"amuont"')
    yield sound.replace(b'"amount":', b'"amount":1e39,"was":')
    yield sound.replace(b'"amount":', b'"amount":NaN,"was":')
    yield sound.replace(b'"country"', b'"land"')
    yield b"\xff\xfe" + sound
    yield b"[" * 100_000
    yield b"null"
    yield None


def _first(traffic: Traffic) -> bytes:
    return next(value for value in traffic.values if value is not None)
