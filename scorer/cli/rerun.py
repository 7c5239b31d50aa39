"""A replay from beginning to end, as `scorer replay`, `scorer thresholds fit` and `scorer diff --slice` share it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scorer.cli import garbage, staging

if TYPE_CHECKING:
    from scorer.bundle.drift import Drift
    from scorer.cli.lanes import Judge, Setting
    from scorer.cli.staging import Wish
    from scorer.evaluation.assess import Case
    from scorer.evaluation.findings import Costs, Proposal
    from scorer.evaluation.findings import Report as Findings
    from scorer.records import Records
    from scorer.replay.compare import Report
    from scorer.replay.evidence import Evidence
    from scorer.replay.journal import Journal, Plan
    from scorer.replay.recorded import Recorded
    from scorer.replay.rows import Sheet
    from scorer.replay.run import Past


@dataclass(frozen=True, slots=True)
class Rerun:
    """A replay that came to its end: what it was made of, and what it found. The journal is still open."""

    wish: Wish
    judge: Judge
    other: Judge | None
    journal: Journal
    sheet: Sheet
    drift: Drift | None
    costs: Costs | None
    recorded: Recorded | None
    not_compared: str
    report: Report

    def evidence(self) -> Evidence:
        """Return the events as columns; raises SelectionError where labels were given and fit none of them."""
        from scorer.replay.evidence import Evidence

        return Evidence(self.journal.rows(), self.report, self.judge.lane.bands, self.journal.line)

    def case(self, kind: str, proposal: Proposal | None = None) -> Case:
        """Return what the evaluation looks at."""
        from scorer.evaluation.assess import Case
        from scorer.evaluation.findings import Drift
        from scorer.evaluation.pricing import check_amounts

        evidence = self.evidence()
        scored = evidence.scored()
        check_amounts(scored, self.costs)
        edges = self.other.lane.bands if self.other else None
        return Case(
            kind=kind,
            made=int(time.time() * 1000),
            version=version("scorer"),
            subject=evidence.subject(self.journal.plan.source),
            side=evidence.side(),
            flow=evidence.flow(),
            scored=scored,
            band=evidence.band(),
            event=evidence.event,
            earlier=evidence.earlier(self.recorded, edges) if self.recorded else None,
            fields=evidence.fields(self.wish.by, self.sheet.values),
            drift=[Drift(*index) for index in self.drift.indices()] if self.drift else [],
            costs=self.costs,
            capacity=self.wish.capacity,
            proposal=proposal,
        )


@contextmanager
def rerun(
    wish: Wish, setting: Setting, other: Setting | None, past: Past, *, judge: Judge, plan: Plan
) -> Iterator[Rerun]:
    """Do what is planned, and give what it found; a signal ends the command, which may be resumed."""
    from scorer.cli import lanes
    from scorer.cli.stopping import signals
    from scorer.replay.compare import Tally
    from scorer.replay.journal import Journal
    from scorer.replay.progress import Watcher
    from scorer.replay.rows import Sheet
    from scorer.replay.run import Pace, Parts, replay_slice

    costs = wish.priced(judge.lane.bands.names[1:])
    sheet = Sheet(wish.by, staging.labels(wish, setting), costs.amount if costs else None)
    rival, drift = lanes.judge(other) if other else None, judge.drift() if wish.watches else None
    told, made = Watcher(sys.stderr, time.monotonic), judge.lane

    def watch(batches: Iterable[Records], what: str, selected: Mapping[int, range]) -> Iterable[Records]:
        return told(garbage.between(batches, time.monotonic), what, selected)

    with garbage.held(), closing(Journal(wish.out, plan, sheet.dtype, resume=wish.resume)) as journal:
        recorded, before, not_compared = staging.compared_with(wish, setting, journal, rival, watch)
        tally = Tally(made.topic, journal.plan.selected(), judge.making, made.bands.names, recorded)
        with signals() as (stopping, caught), staging.publisher(wish, setting, journal) as publish:
            pace = Pace(time.monotonic, stopping.wait, wish.rate)
            parts = Parts(past, made, journal, sheet, tally, drift)
            if wish.out_topic and journal.fresh:
                parts.checkpoint()  # before anything is published: whoever goes on must know where it began
            report = replay_slice(parts, watch, pace, before=before, publish=publish, stopping=stopping.is_set)
        if report is None:
            again = "; go on with the same command and --resume" if wish.resumable else ""
            print(f"stopped by {caught[0].name}{again}", file=sys.stderr)
            raise typer.Exit(128 + caught[0])
        _check_labels(wish, journal)
        yield Rerun(wish, judge, rival, journal, sheet, drift, costs, recorded, not_compared, report)


def _check_labels(wish: Wish, journal: Journal) -> None:
    import msgspec
    import numpy as np

    from scorer.errors import SelectionError

    rows = journal.rows()
    if wish.labels and len(rows) and not np.any(rows["label"] >= 0):
        decision = msgspec.json.decode(journal.line(int(rows["place"][0])))
        del rows
        journal.discard()
        raise SelectionError(
            f"--labels {wish.labels}: no event has one of its event_ids; the first event has {decision['event_id']!r}"
        )


def write_report(findings: Findings, file: Path) -> None:
    """Write the page, and its JSON twin beside it."""
    import msgspec

    from scorer.replay.writing import writing
    from scorer.report.page import page

    with writing(file):
        file.write_text(page(findings), encoding="utf-8")
        file.with_suffix(".json").write_bytes(msgspec.json.encode(findings))
