"""The report's nouns: what a replay, a diff and a fit found, as JSON has it and as the page shows it.

An *alert* is an event in any band but `otherwise`: one whose score is at or above the lowest edge. A *positive*
is an event whose label says fraud. All times are milliseconds since the epoch; rates are between 0 and 1.
"""

from __future__ import annotations

import msgspec


class Side(msgspec.Struct, frozen=True):
    """What decided: a bundle with its bands. `bands` are ascending, without `otherwise`, which is below all of them.

    `title` tells the sides apart for a reader, such as `recorded` or `payments 8`. Of recorded decisions the bands'
    edges are as far as known from the decisions themselves; `mixed` says that several makings decided the slice.
    """

    title: str
    model: str
    model_version: str
    bundle_sha256: str
    thresholds_version: str
    bands: dict[str, float]
    otherwise: str
    mixed: bool = False


class Subject(msgspec.Struct, frozen=True):
    """What was looked at: a topic's slice (per partition [from, to)), or files; `days` is its length by event time.

    `days` is what rates per day are computed with: from `first_time` to `last_time`, 1 hour at least. These are the
    first and the last event's, but for strays, as `span` says.
    """

    topic: str
    source: str
    slice: dict[int, tuple[int, int]]
    first_time: int | None
    last_time: int | None
    days: float


class Flow(msgspec.Struct, frozen=True):
    """How many events there were, and what became of them: `decisions` by band, `rejected` by reason."""

    events: int
    decided: int
    decisions: dict[str, int]
    rejected: dict[str, int]


class Cell(msgspec.Struct, frozen=True):
    """Events by their decision before and after."""

    before: str
    after: str
    events: int


class Change(msgspec.Struct, frozen=True):
    """One event that is decided otherwise, or whose score moved."""

    event_id: str
    partition: int
    offset: int
    time: int
    before_score: float
    after_score: float
    before: str
    after: str
    label: bool | None = None


class Histogram(msgspec.Struct, frozen=True):
    """Counts over bins: `counts[i]` is of edges[i] ≤ x < edges[i+1], the last bin holds its upper edge too."""

    edges: list[float]
    counts: list[int]


class Difference(msgspec.Struct, frozen=True):
    """What changed from one side to the other, of the `matched` events that both decided.

    `flips` are events in another band. Quantiles (`p50`, `p90`, `p99`, `p99.9`) are of |after - before|, `moves` is the
    histogram of after - before of the events whose score moved. `worst` are the first of what changed: events in
    another band before others, then by how far their score moved, or by their score where none moved. `missing` were
    decided before only, `extra` after only; `twice` are further decisions of one event among the recorded ones.
    """

    matched: int
    identical: int
    largest: float
    quantiles: dict[str, float]
    moves: Histogram
    flips: int
    matrix: list[Cell]
    worst: list[Change]
    missing: int
    extra: int
    twice: int = 0


class Confusion(msgspec.Struct, frozen=True):
    """Labelled events by alert and label, and what follows; precision is None without an alert, recall without fraud.

    `cost` is None where no costs were given.
    """

    true_positives: int
    false_positives: int
    missed: int
    true_negatives: int
    precision: float | None
    recall: float | None
    cost: float | None


class Effect(msgspec.Struct, frozen=True):
    """What bands do to the events: alerts, those for people to review, per day, and beside labels if there are any."""

    alerts: int
    alerts_per_day: float
    reviews_per_day: float
    bands: dict[str, int]
    confusion: Confusion | None


class Segment(msgspec.Struct, frozen=True):
    """One value of a field, and what both sides do to its events."""

    value: str
    events: int
    flips: int
    before: Effect | None
    after: Effect


class Segments(msgspec.Struct, frozen=True):
    """The events by one of their fields: the most frequent values, and one row named `…` for all the others."""

    field: str
    rows: list[Segment]


class Sweep(msgspec.Struct, frozen=True):
    """Cumulative figures for every edge a reader may choose, so that a page can compute the rest by itself.

    At `edges[i]`, ascending from 0: `alerts[i]` events and, where there are labels, `frauds[i]` frauds and their money
    `caught[i]` lie at or above it. `labelled[i]` counts events at or above it that have a label. `between[i]` events
    lie above edges[i] and below edges[i+1]: if none do, an edge between those does exactly what edges[i+1] does.
    """

    edges: list[float]
    alerts: list[int]
    labelled: list[int]
    frauds: list[int]
    caught: list[float]
    between: list[int]


class Curve(msgspec.Struct, frozen=True):
    """A curve's points, and the area: under the ROC, or average precision."""

    x: list[float]
    y: list[float]
    area: float


class Bin(msgspec.Struct, frozen=True):
    """Events of similar score: their mean score, their share of fraud, their number."""

    score: float
    rate: float
    events: int


class Calibration(msgspec.Struct, frozen=True):
    """Whether a score is a probability: expected calibration error over bins of equal count, and a word about it."""

    ece: float
    bins: list[Bin]
    verdict: str


class Quality(msgspec.Struct, frozen=True):
    """How the scores of one side tell fraud from the rest: ROC (x false-positive rate, y recall), PR (x recall)."""

    roc: Curve
    pr: Curve
    calibration: Calibration


class Drift(msgspec.Struct, frozen=True):
    """One field's or feature's population stability index against the bundle's reference."""

    kind: str
    name: str
    psi: float


class Costs(msgspec.Struct, frozen=True):
    """What mistakes cost: `missed` fraud a constant, or the amount in the event's `amount` field; people's reviews.

    `reviewed` are the bands that people look at. A legitimate event in the highest band costs `false_positive`.
    """

    false_positive: float
    missed: float
    amount: str | None
    review: float
    reviewed: list[str]


class Interval(msgspec.Struct, frozen=True):
    """An estimate and its bootstrap interval."""

    value: float
    low: float
    high: float


class Proposal(msgspec.Struct, frozen=True):
    """Bands that were fitted for a topic: why, what they do, how sure that is, and the text to paste.

    `intervals` are of `precision`, `recall`, `alerts_per_day`, `reviews_per_day`, `cost` and, by the name of its band
    (`edge.review`), every edge. Where the goal names a band, they are also of `precision.block` and `recall.block`, of
    the events in it or higher, and of `events_per_day.block`, of those in it.
    """

    topic: str
    objective: str
    bands: dict[str, float]
    otherwise: str
    effect: Effect
    intervals: dict[str, Interval]
    confidence: float
    yaml: str
    warnings: list[str]


class Report(msgspec.Struct, frozen=True):
    """Everything that a page shows. What was not asked for, or cannot be known, is None or empty.

    `after` is the side that was replayed; `before` what it is compared with. Histograms of scores, the sweep and
    `quality` are of `after`, `quality_before` of the other side.
    """

    kind: str
    made: int
    scorer: str
    subject: Subject
    after: Side
    before: Side | None
    flow: Flow
    effect: Effect
    effect_before: Effect | None
    difference: Difference | None
    segments: list[Segments]
    sweep: Sweep
    scores: Histogram
    scores_frauds: Histogram | None
    labels: int
    frauds: int
    fraud_money: float | None
    costs: Costs | None
    capacity: float | None
    quality: Quality | None
    quality_before: Quality | None
    drift: list[Drift]
    proposal: Proposal | None
    yaml: str
    warnings: list[str]
