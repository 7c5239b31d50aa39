"""The proof: example events with the features and scores that they had when the bundle was packed.

`golden.jsonl` has one event a line, with its score and decision; `golden.npz` the inputs that the model got, where
they are numbers. Both are held against what this machine computes, before anything is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.decide import decide
from scorer.errors import BundleError, GoldenError
from scorer.records import Bands, Inputs, Records, Scores

EVENTS, FEATURES = "golden.jsonl", "golden.npz"
ULPS = 2
"""How far a feature may be from the packed one on a machine of another fingerprint, in units of its last place."""


class GoldenEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of `golden.jsonl`: the event as it would come from the topic, its score and its decision."""

    event: msgspec.Raw
    score: float
    decision: str


@dataclass(frozen=True, slots=True)
class Golden:
    """A bundle's golden events: raw values, packed scores and decisions, and packed inputs by name."""

    values: Sequence[bytes]
    scores: NDArray[np.float32]
    decisions: Sequence[str]
    inputs: Mapping[str, NDArray[Any]]

    def records(self) -> Records:
        """Return the events as if consumed from a topic."""
        return as_records(self.values)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a verification found: how many events, whether all bits agree, and the largest score difference."""

    events: int
    same_machine: bool
    features_identical: bool
    scores_identical: bool
    worst_difference: float


def as_records(values: Sequence[bytes]) -> Records:
    """Return raw events as records of a topic called `golden`."""
    count = len(values)
    return Records("golden", [0] * count, range(count), [0] * count, [None] * count, values)


def write(directory: Path, values: Sequence[bytes], inputs: Inputs, scores: Scores, bands: Bands) -> None:
    """Write both files; string inputs are left out of `golden.npz`, since the events hold them already."""
    names = [bands.names[at] for at in decide(scores, bands).band.tolist()]
    lines = [
        msgspec.json.encode(GoldenEvent(msgspec.Raw(value), float(str(score)), name))
        for value, score, name in zip(values, scores.score, names, strict=True)
    ]
    (directory / EVENTS).write_bytes(b"\n".join(lines) + b"\n")
    numbers: dict[str, Any] = {name: array for name, array in inputs.arrays.items() if array.dtype != object}
    np.savez(directory / FEATURES, **numbers)


def read(directory: Path) -> Golden:
    """Read both files; raises BundleError where they are not what `write` writes."""
    try:
        events = msgspec.json.Decoder(GoldenEvent).decode_lines((directory / EVENTS).read_bytes())
        with np.load(directory / FEATURES, allow_pickle=False) as arrays:
            inputs = {name: arrays[name] for name in arrays.files}
    except (msgspec.MsgspecError, ValueError, OSError) as error:
        raise BundleError(f"{directory}: golden events cannot be read: {error}; pack the bundle anew") from error
    if not events:
        raise BundleError(f"{directory / EVENTS}: no golden events; pack the bundle anew")
    return Golden(
        [bytes(golden.event) for golden in events],
        np.array([golden.score for golden in events], np.float32),
        [golden.decision for golden in events],
        inputs,
    )


def check_features(golden: Golden, inputs: Inputs, where: Path, *, same_machine: bool) -> bool:
    """Return whether all features are bit-identical to the packed ones.

    Raises GoldenError, naming the worst event and feature, where they differ on a machine of the same fingerprint, or
    by more than two units in the last place on another.
    """
    identical = True
    numeric = {name for name, array in inputs.arrays.items() if array.dtype != object}
    if numeric != golden.inputs.keys():
        raise GoldenError(f"{where}: golden features of {sorted(golden.inputs)}, the model takes {sorted(numeric)}")
    for name, packed in golden.inputs.items():
        found = inputs.arrays[name]
        if found.dtype != packed.dtype or found.shape != packed.shape:
            raise GoldenError(
                f"{where}: input {name!r} is {found.dtype}{list(found.shape)}, "
                f"packed were {packed.dtype}{list(packed.shape)}"
            )
        apart = ulps(found, packed)
        identical = identical and not apart.any()
        if apart.any() and (same_machine or apart.max() > ULPS):
            at = np.unravel_index(int(np.argmax(apart)), apart.shape)
            raise GoldenError(
                f"{where}: golden event {at[0]}, input {name!r}, feature {at[-1] if len(at) > 1 else 0}: "
                f"{found[at]!r} here, {packed[at]!r} when packed; do not serve this bundle here, pack it anew"
            )
    return identical


def check_scores(golden: Golden, scores: Scores, bands: Bands, tolerance: float, where: Path) -> float:
    """Return the largest difference of a score from the packed one.

    Raises GoldenError, naming the worst event, where it exceeds the tolerance, or where a decision differs whose
    score is further than the tolerance from the band's edge.
    """
    difference = np.abs(scores.score.astype(np.float64) - golden.scores.astype(np.float64))
    worst = int(np.argmax(difference))
    if not difference[worst] <= tolerance:
        raise GoldenError(
            f"{where}: golden event {worst} scores {scores.score[worst]!s} here, {golden.scores[worst]!s} "
            f"when packed; the tolerance is {tolerance:g}: do not serve this bundle here, pack it anew"
        )
    names = [bands.names[at] for at in decide(scores, bands).band.tolist()]
    for at, (name, packed) in enumerate(zip(names, golden.decisions, strict=True)):
        near = np.abs(bands.edges - scores.score[at]).min() <= tolerance
        if name != packed and not near:
            raise GoldenError(f"{where}: golden event {at} is decided {name!r} here, {packed!r} when packed")
    return float(difference[worst])


def ulps(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Return how many representable numbers lie between two arrays of one dtype and shape; 0 is bit-identical.

    Floats are mapped to integers that keep their order (sign and magnitude made two's complement). NaN and a number
    are infinitely far apart; NaNs of the same bits are identical.
    """
    if left.dtype.kind != "f":
        return np.where(left == right, 0.0, np.inf)
    integers = np.dtype(f"i{left.dtype.itemsize}")
    a, b = left.view(integers), right.view(integers)
    low = np.iinfo(integers).min
    apart = np.abs(np.where(a < 0, low - a, a).astype(np.float64) - np.where(b < 0, low - b, b).astype(np.float64))
    apart = np.where((a != b) & (apart == 0), 1.0, apart)
    return np.where(a == b, 0.0, np.where(np.isnan(left) | np.isnan(right), np.inf, apart))
