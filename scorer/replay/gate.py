"""Conditions under which a replay fails, such as `flips > 0.5%` or `recall < 0.8`: read, judged, told to CI. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from xml.etree.ElementTree import Element, SubElement, tostring

import msgspec

from scorer.errors import SelectionError
from scorer.replay.figures import Figure, Segment

ASSESSED = ("cost", "cost_before", "cost_rise", "reviews_per_day", "reviews_per_day_before", "ece", "psi")
"""Figures for which all events are looked at in memory at once."""
METRICS = (
    *("events", "rejected", "flips", "different_scores", "max_change", "missing", "extra", "recorded_twice"),
    *(f"{name}{side}" for name in ("alerts", "alerts_per_day", "precision", "recall") for side in ("", "_before")),
    *("labelled", "precision_drop", "recall_drop", "stray_times"),
    *ASSESSED,
)
"""What a condition may be set on."""
SHARELESS = frozenset({"events", "max_change", "alerts_per_day", "alerts_per_day_before", *ASSESSED})
"""Of these, no percentage makes sense."""
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_CONDITION = re.compile(r"\s*([a-z_]+)\s*(<=|>=|==|!=|<|>)\s*(-?[0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)\s*(%?)\s*", re.ASCII)


class Condition(msgspec.Struct, frozen=True):
    """A comparison that must not hold; a limit in percent is compared with the share."""

    text: str
    metric: str
    comparison: str
    limit: float
    percent: bool


class Verdict(msgspec.Struct, frozen=True):
    """What became of a condition; without a `value`, the figure is not known, and that fails too."""

    condition: str
    value: float | None
    failed: bool
    said: str


class Study(msgspec.Struct, frozen=True):
    """What is said of a replay beyond its report."""

    figures: dict[str, Figure]
    segments: list[Segment]
    verdicts: list[Verdict]


def parse(text: str) -> Condition:
    """Read `METRIC OP NUMBER[%]`; raises SelectionError."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise SelectionError(f"--fail-if {text!r}: write METRIC OP NUMBER, such as 'flips > 0.5%' or 'recall < 0.8'")
    metric, comparison, number, percent = found.groups()
    if metric not in METRICS:
        near = get_close_matches(metric, METRICS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METRICS)}"
        raise SelectionError(f"--fail-if {text!r}: no figure is called {metric}; {hint}")
    if percent and metric in SHARELESS:
        raise SelectionError(f"--fail-if {text!r}: {metric} is no share of anything; write a number without %")
    return Condition(text.strip(), metric, comparison, float(number), bool(percent))


def judge(figures: Mapping[str, Figure], conditions: Sequence[Condition]) -> list[Verdict]:
    """Return a verdict for each condition, in their order."""
    return [_judged(figures.get(condition.metric), condition) for condition in conditions]


def junit(verdicts: Sequence[Verdict], suite: str) -> bytes:
    """Return the verdicts as JUnit's XML, as CI systems read it: a test case each."""
    failures = str(sum(verdict.failed for verdict in verdicts))
    root = Element("testsuites", tests=str(len(verdicts)), failures=failures)
    cases = SubElement(root, "testsuite", name=_printable(suite), tests=str(len(verdicts)), failures=failures)
    for verdict in verdicts:
        case = SubElement(cases, "testcase", classname="scorer.replay", name=_printable(verdict.condition))
        if verdict.failed:
            SubElement(case, "failure", message=_printable(verdict.said))
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _judged(figure: Figure | None, condition: Condition) -> Verdict:
    if figure is None:
        return Verdict(condition.text, None, True, f"{condition.metric} is not known: {_missing(condition.metric)}")
    value = figure.value
    if condition.percent:
        value = 100.0 * value / figure.of if figure.of else 0.0
    failed = _OPERATORS[condition.comparison](value, condition.limit)
    unit = "%" if condition.percent else ""
    return Verdict(condition.text, value, failed, f"{condition.metric} is {value:.6g}{unit}")


def _missing(metric: str) -> str:
    if metric.startswith(("labelled", "precision", "recall")):
        return "there are no labels, or none of the kind it needs"
    if metric.startswith("cost"):
        return "it needs --costs and labels, and decisions to compare with for what was before"
    words = {
        "ece": "there are no labels",
        "psi": "the bundle was packed without examples, so it has no references",
        "alerts_per_day": "the events have no times",
        "stray_times": "the events have no times",
    }
    return words.get(metric, "there are no decisions to compare with, or no event was decided both times")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
