"""A replay's rows, and what was decided before → the case that the evaluation looks at.

All of it is in memory at once, some 130 bytes an event; the figures of `figures` need none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.evaluation.assess import Earlier, Event
from scorer.evaluation.findings import Flow, Side, Subject
from scorer.evaluation.scored import Scored
from scorer.records import Bands
from scorer.replay.compare import Report
from scorer.replay.recorded import Making, Recorded


class _Decided(msgspec.Struct):
    """Of a decision, what a page names it by."""

    event_id: Any


@dataclass(frozen=True, slots=True)
class Evidence:
    """The rows of a replay (`rows.Sheet` says what is in them), its report, and the topic's `bands`."""

    rows: NDArray[Any]
    report: Report
    bands: Bands
    line: Callable[[int], bytes]
    """The decision that begins at a row's `place`."""

    def scored(self) -> Scored:
        """Return the decided events."""
        rows, names = self.rows, self.rows.dtype.names or ()
        label = np.array(rows["label"]) if "label" in names else np.full(len(rows), -1, np.int8)
        amount = np.array(rows["amount"]) if "amount" in names else None
        return Scored(np.array(rows["time"]), np.array(rows["score"]), label, amount)

    def band(self) -> NDArray[np.intp]:
        """Return each event's band."""
        return self.rows["band"].astype(np.intp)

    def fields(
        self, fields: Sequence[str], values: Sequence[Sequence[str]]
    ) -> dict[str, tuple[NDArray[np.intp], Sequence[str]]]:
        """Return the codes and values of the fields that were asked for."""
        pairs = enumerate(zip(fields, values, strict=True))
        return {name: (self.rows[f"field{at}"].astype(np.intp), list(known)) for at, (name, known) in pairs}

    def side(self) -> Side:
        """Return what decided."""
        return side("this replay", self.report.replayed_with, self.bands)

    def subject(self, source: str) -> Subject:
        """Return what was looked at."""
        found = self.scored().span
        days = found.days if found else None
        first, last = (found.first, found.last) if found and days else (None, None)
        return Subject(self.report.topic, source, dict(self.report.slice), first, last, days or 1.0)

    def flow(self) -> Flow:
        """Return what became of all events."""
        return Flow(self.report.events, self.report.decided, dict(self.report.decisions), dict(self.report.rejected))

    def event(self, row: int) -> Event:
        """Return which event a row is of."""
        here = self.rows[row]
        found = msgspec.json.decode(self.line(int(here["place"])), type=_Decided).event_id
        event_id = found if isinstance(found, str) else msgspec.json.encode(found).decode()
        return Event(event_id, int(here["partition"]), int(here["offset"]))

    def earlier(self, recorded: Recorded, edges: Bands | None) -> Earlier:
        """Return what was decided before; `edges` are known where another lane did it in the same replay."""
        comparison = self.report.comparison
        assert comparison
        score, band, decided, names = self._before(recorded)
        return Earlier(
            side=self._side_before(recorded, edges),
            names=names,
            decided=decided,
            score=score,
            band=band,
            missing=comparison.recorded_only,
            extra=comparison.not_recorded,
            twice=comparison.recorded_twice,
        )

    def _before(
        self, recorded: Recorded
    ) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.bool_], Sequence[str]]:
        names = [*self.bands.names, *(name for name in recorded.names if name not in self.bands.names)]
        of_code = np.array([0, *map(names.index, recorded.names)], np.intp)
        score, band = np.zeros(len(self.rows), np.float32), np.zeros(len(self.rows), np.intp)
        decided = np.zeros(len(self.rows), np.bool_)
        for number in np.unique(self.rows["partition"]).tolist():
            here = np.flatnonzero(self.rows["partition"] == number)
            codes, score[here] = recorded.at(number, self.rows["offset"][here])
            band[here], decided[here] = of_code[codes], codes > 0
        return score, band, decided, names

    def _side_before(self, recorded: Recorded, edges: Bands | None) -> Side:
        makings = [making for making, _ in recorded.makings] or [Making("", "", "", "")]
        if edges is None and makings[0].thresholds_version == self.bands.version:
            edges = self.bands
        return side(recorded.decisions_topic, makings[0], edges, mixed=len(makings) > 1)


def side(title: str, making: Making, bands: Bands | None, *, mixed: bool = False) -> Side:
    """Return what decides, as a report has it; without known bands, there are none."""
    edges: Mapping[str, float] = {}
    if bands is not None:
        edges = {name: float(str(edge)) for name, edge in zip(bands.names[1:], bands.edges[1:], strict=True)}
    return Side(
        title=title,
        model=making.model,
        model_version=making.model_version,
        bundle_sha256=making.bundle_sha256,
        thresholds_version=making.thresholds_version,
        bands=dict(edges),
        otherwise=bands.names[0] if bands is not None else "",
        mixed=mixed,
    )
