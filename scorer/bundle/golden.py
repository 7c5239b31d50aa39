"""The proof: example events with the features and scores that they had when the bundle was packed.

`golden.jsonl` has one event a line, with its score and decision; `golden.npz` the inputs that the model got, where
they are numbers. Both are held against what this machine computes, before anything is served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.decide import decide
from scorer.errors import BundleError, GoldenError
from scorer.records import Bands, Inputs, Records, Rejection, Scores
from scorer.transform import Matrix, Plan

EVENTS, FEATURES = "golden.jsonl", "golden.npz"
UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, OSError, EOFError, KeyError, RecursionError, BadZipFile)
"""What NumPy and msgspec raise for files that were damaged."""
ULPS = 2
"""How far a feature may be from the packed one on a machine of another fingerprint, in units of its last place."""


class GoldenEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of `golden.jsonl`: the event as it would come from the topic, its score and decision, why it is here."""

    event: msgspec.Raw
    score: float
    decision: str
    why: str


@dataclass(frozen=True, slots=True)
class Golden:
    """A bundle's golden events: raw values, packed scores and decisions, and packed inputs by name.

    `reasons` say why each was chosen; `event_id` is the path of the field that identifies it to people, if any.
    """

    values: Sequence[bytes]
    scores: NDArray[np.float32]
    decisions: Sequence[str]
    reasons: Sequence[str]
    inputs: Mapping[str, NDArray[Any]]
    event_id: str | None

    def records(self) -> Records:
        """Return the events as if consumed from a topic."""
        return as_records(self.values)

    def told(self, at: int) -> str:
        """Return where a golden event stands, which it is and why, for people."""
        value: Any = msgspec.json.decode(self.values[at]) if self.event_id else {}
        for key in self.event_id.split(".") if self.event_id else ():
            value = value.get(key, {}) if isinstance(value, dict) else {}
        name = "" if isinstance(value, dict) else f", {self.event_id} {value}"
        return f"line {at + 1} of {EVENTS}{name}, chosen as: {self.reasons[at]}"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a verification found: how many events, whether all bits agree, and the largest score difference.

    `differing` counts the events of which a feature or the score has another bit than when packed. `worst_feature`
    and `worst_score` tell of the largest differences, for people; empty where there is none.
    """

    events: int
    same_machine: bool
    features_identical: bool
    scores_identical: bool
    worst_difference: float
    differing: int
    worst_feature: str
    worst_score: str


@dataclass(frozen=True, slots=True)
class Apart:
    """How far features are from the packed ones: the events that differ (bool, shape (n,)), and the worst of them."""

    events: NDArray[np.bool_]
    ulps: float
    told: str


def as_records(values: Sequence[bytes]) -> Records:
    """Return raw events as records of a topic called `golden`."""
    count = len(values)
    return Records.of("golden", [0] * count, range(count), [0] * count, [None] * count, values)


def write(
    directory: Path, values: Sequence[bytes], inputs: Inputs, scores: Scores, bands: Bands, *, reasons: Sequence[str]
) -> None:
    """Write both files; string inputs are left out of `golden.npz`, since the events hold them already."""
    names = [bands.names[at] for at in decide(scores, bands).band.tolist()]
    lines = [
        msgspec.json.encode(GoldenEvent(msgspec.Raw(value), float(str(score)), name, why))
        for value, score, name, why in zip(values, scores.score, names, reasons, strict=True)
    ]
    (directory / EVENTS).write_bytes(b"\n".join(lines) + b"\n")
    numbers: dict[str, Any] = {name: array for name, array in inputs.arrays.items() if array.dtype != object}
    np.savez(directory / FEATURES, **numbers)


def read(directory: Path, event_id: str | None, where: Path) -> Golden:
    """Read both files; raises BundleError, naming the bundle at `where`, where they are not what `write` writes."""
    try:
        events = msgspec.json.Decoder(GoldenEvent).decode_lines((directory / EVENTS).read_bytes())
        # Opened here: `np.load` leaves a file open that it cannot read. One array alone is no archive: a TypeError.
        with (directory / FEATURES).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            inputs = {name: arrays[name] for name in arrays.files}
    except UNREADABLE as error:
        raise BundleError(f"{where}: golden events cannot be read: {error}; pack the bundle anew") from error
    if not events:
        raise BundleError(f"{where / EVENTS}: no golden events; pack the bundle anew")
    return Golden(
        [bytes(golden.event) for golden in events],
        np.array([golden.score for golden in events], np.float32),
        [golden.decision for golden in events],
        [golden.why for golden in events],
        inputs,
        event_id,
    )


def prove(
    golden: Golden,
    inputs: Inputs,
    model: Callable[[Inputs], tuple[Scores, Sequence[Rejection]]],
    *,
    plan: Plan,
    bands: Bands,
    tolerance: float,
    where: Path,
    same_machine: bool,
) -> Proof:
    """Hold what this machine computes for the golden events against what was packed.

    Raises GoldenError, naming the worst event, feature or score, how far it is off and how many events differ: where
    a feature has another bit on a machine of the same fingerprint, or is more than two units in the last place off
    on another; where there is no score, or one further off than the tolerance; where a decision differs without being
    at an edge.
    """
    features = check_features(golden, inputs, plan, where, same_machine=same_machine)
    scores, failed = model(inputs)
    if failed:
        row = failed[0].row
        raise GoldenError(f"{where}: golden event {row} has no score: {failed[0].message} ({golden.told(row)})")
    scored = scores.score.astype(np.float64) - golden.scores.astype(np.float64)
    differing = features.events | (scored != 0.0)
    worst = int(np.argmax(np.abs(scored)))
    check_scores(golden, scores, bands, tolerance, where)
    return Proof(
        events=len(golden.values),
        same_machine=same_machine,
        features_identical=not features.events.any(),
        scores_identical=not scored.any(),
        worst_difference=float(abs(scored[worst])),
        differing=int(differing.sum()),
        worst_feature=features.told,
        worst_score=_score_told(golden, scores, worst) if scored[worst] else "",
    )


def check_features(golden: Golden, inputs: Inputs, plan: Plan, where: Path, *, same_machine: bool) -> Apart:
    """Return how far the features are from the packed ones; raises GoldenError as `prove` says."""
    numeric = {name for name, array in inputs.arrays.items() if array.dtype != object}
    if numeric != golden.inputs.keys():
        raise GoldenError(f"{where}: golden features of {sorted(golden.inputs)}, the model takes {sorted(numeric)}")
    worst = Apart(np.zeros(len(golden.values), np.bool_), 0.0, "")
    for name, packed in golden.inputs.items():
        found = inputs.arrays[name]
        if found.dtype != packed.dtype or found.shape != packed.shape:
            raise GoldenError(
                f"{where}: input {name!r} is {found.dtype}{list(found.shape)}, "
                f"packed were {packed.dtype}{list(packed.shape)}"
            )
        worst = _worse(worst, golden, plan, name, found)
    if worst.ulps > (0 if same_machine else ULPS):
        raise GoldenError(
            f"{where}: {worst.told}; {worst.events.sum()} of {len(golden.values)} golden events differ: "
            "do not serve this bundle here, pack it anew"
        )
    return worst


def _worse(so_far: Apart, golden: Golden, plan: Plan, name: str, found: NDArray[Any]) -> Apart:
    packed = golden.inputs[name]
    apart = ulps(found, packed)
    events = so_far.events | apart.reshape(len(apart), -1).any(axis=1)
    if not apart.size or apart.max() <= so_far.ulps:
        return Apart(events, so_far.ulps, so_far.told)
    at = np.unravel_index(int(np.argmax(apart)), apart.shape)
    told = (
        f"golden event {at[0]}, input {name!r}{_feature(plan, name, [int(i) for i in at[1:]])}: {found[at]!s} here, "
        f"{packed[at]!s} when packed, {apart[at]:.0f} ulp apart ({golden.told(int(at[0]))})"
    )
    return Apart(events, float(apart[at]), told)


def _feature(plan: Plan, name: str, at: Sequence[int]) -> str:
    """Return what is at a place in one event's input: a feature by its name, a pixel by its coordinates."""
    feed = plan.inputs[name]
    if isinstance(feed, Matrix):
        return f", feature {at[-1]} {feed.node.features[at[-1]]!r}"
    return f", at {list(at)}" if len(at) > 1 else ""


def check_scores(golden: Golden, scores: Scores, bands: Bands, tolerance: float, where: Path) -> None:
    """Raise GoldenError where scores or decisions are not the packed ones, as `prove` says."""
    difference = np.abs(scores.score.astype(np.float64) - golden.scores.astype(np.float64))
    worst = int(np.argmax(difference))
    if not difference[worst] <= tolerance:
        raise GoldenError(
            f"{where}: {_score_told(golden, scores, worst)}; {(~(difference <= tolerance)).sum()} of "
            f"{len(golden.values)} golden events are beyond the tolerance of {tolerance:g}: "
            "do not serve this bundle here, pack it anew"
        )
    names = [bands.names[at] for at in decide(scores, bands).band.tolist()]
    for at, (name, packed) in enumerate(zip(names, golden.decisions, strict=True)):
        near = np.abs(bands.edges.astype(np.float64) - scores.score[at]).min() <= tolerance
        if name != packed and not near:
            raise GoldenError(
                f"{where}: golden event {at} is decided {name!r} here, {packed!r} when packed ({golden.told(at)}); "
                "were its bands edited? Pack the bundle anew"
            )


def _score_told(golden: Golden, scores: Scores, at: int) -> str:
    return (
        f"golden event {at} scores {scores.score[at]!s} here, {golden.scores[at]!s} when packed, "
        f"{abs(float(scores.score[at]) - float(golden.scores[at])):.2g} apart ({golden.told(at)})"
    )


def ulps(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Return how many representable numbers lie between two arrays of one dtype and shape; 0 is bit-identical.

    Floats are mapped to integers that keep their order (sign and magnitude made two's complement). NaN and a number
    are infinitely far apart; NaNs are one number, since nothing that reads them tells their bits apart.
    """
    if left.dtype.kind != "f":
        return np.where(left == right, 0.0, np.inf)
    integers = np.dtype(f"i{left.dtype.itemsize}")
    a, b = left.view(integers), right.view(integers)
    low = np.iinfo(integers).min
    apart = np.abs(np.where(a < 0, low - a, a).astype(np.float64) - np.where(b < 0, low - b, b).astype(np.float64))
    apart = np.where((a != b) & (apart == 0), 1.0, apart)
    nan = np.isnan(left) & np.isnan(right)
    return np.where((a == b) | nan, 0.0, np.where(np.isnan(left) | np.isnan(right), np.inf, apart))
