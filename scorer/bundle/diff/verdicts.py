"""What two bundles say of the same golden events: scores, and decisions by each bundle's own bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.bundle.golden import as_records
from scorer.decide import decide
from scorer.records import Bands, Records, Scores

if TYPE_CHECKING:
    from scorer.bundle.opening import Bundle

QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}


class Spread(msgspec.Struct, frozen=True):
    """The scores' mean and quantiles."""

    mean: float
    quantiles: dict[str, float]


class Largest(msgspec.Struct, frozen=True):
    """The event whose score changed most, as it is written among the golden events."""

    event: msgspec.Raw
    before: float
    after: float


class Cell(msgspec.Struct, frozen=True):
    """How many events one bundle put into a band, and the other into another or the same."""

    before: str
    after: str
    events: int


class Verdicts(msgspec.Struct, frozen=True):
    """Of `events` golden events, each once, so many have a score from both bundles (`both`), or from one alone.

    `changed` is how many of `both` are decided otherwise; `spreads` and `largest` are None where there are none.
    """

    events: int
    both: int
    before_alone: int
    after_alone: int
    identical: int
    changed: int
    matrix: list[Cell]
    before: Spread | None = None
    after: Spread | None = None
    largest: Largest | None = None


def verdicts(before: Bundle, after: Bundle, values: Sequence[bytes], otherwise: str) -> Verdicts:
    """Let both bundles decide raw events; `otherwise` names what is below the lowest band."""
    unique = list(dict.fromkeys(values))
    old, new = (_scores(bundle, as_records(unique)) for bundle in (before, after))
    both, left, right = np.intersect1d(old.rows, new.rows, assume_unique=True, return_indices=True)
    a, b = old.score[left], new.score[right]
    cells = _cells(_names(before, old, otherwise)[left], _names(after, new, otherwise)[right])
    found = Verdicts(
        events=len(unique),
        both=len(both),
        before_alone=len(old.rows) - len(both),
        after_alone=len(new.rows) - len(both),
        identical=int((a == b).sum()),
        changed=sum(cell.events for cell in cells if cell.before != cell.after),
        matrix=cells,
    )
    if not len(both):
        return found
    worst = int(np.argmax(np.abs(a.astype(np.float64) - b)))
    largest = Largest(msgspec.Raw(unique[int(both[worst])]), float(str(a[worst])), float(str(b[worst])))
    return msgspec.structs.replace(found, before=_spread(a), after=_spread(b), largest=largest)


def _scores(bundle: Bundle, records: Records) -> Scores:
    columns, _ = bundle.decode(records)
    inputs, unfit = bundle.transform(columns)
    scores, unscored = bundle.model(inputs.without(unfit))
    return scores.without(unscored)


def _names(bundle: Bundle, scores: Scores, otherwise: str) -> NDArray[np.object_]:
    bands = Bands.of(bundle.manifest.bands, otherwise)
    return np.array(bands.names, object)[decide(scores, bands).band]


def _cells(before: NDArray[np.object_], after: NDArray[np.object_]) -> list[Cell]:
    pairs = list(zip(before.tolist(), after.tolist(), strict=True))
    return sorted((Cell(a, b, pairs.count((a, b))) for a, b in dict.fromkeys(pairs)), key=lambda cell: -cell.events)


def _spread(score: NDArray[np.float32]) -> Spread:
    points = np.quantile(score.astype(np.float64), list(QUANTILES.values())).tolist()
    return Spread(float(score.mean(dtype=np.float64)), dict(zip(QUANTILES, points, strict=True)))
