"""What mistakes cost, as the options say it: `false_positive=40,missed=amount,review=5,reviewed=review+hold`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scorer.errors import SelectionError
from scorer.evaluation.effect import default_reviewed
from scorer.evaluation.findings import Costs
from scorer.evaluation.scored import Scored

EXAMPLE = "false_positive=40,missed=amount,review=5"
NAMES = ("false_positive", "missed", "review", "reviewed")


def read(text: str, bands: Sequence[str]) -> Costs:
    """Read costs of a topic with these `bands`, ascending.

    `missed` is a number, or the path of the event's field that has the amount; what is not named costs 0. Raises
    SelectionError for anything else.
    """
    given = parts(text)
    reviewed = given.get("reviewed", "").split("+") if "reviewed" in given else default_reviewed(bands)
    if unknown := [name for name in reviewed if name not in bands]:
        raise SelectionError(f"--costs {text!r}: no band is called {unknown[0]!r}; there are {', '.join(bands)}")
    numbers = {name: _number(given.get(name, "0")) for name in ("false_positive", "missed", "review")}
    amount = given["missed"] if numbers["missed"] is None else None
    for name, number in numbers.items():
        wrong = number is None and name != "missed"
        if wrong or (number is not None and not 0 <= number < float("inf")):
            raise SelectionError(f"--costs {text!r}: {name} is no number of 0 or more; write {EXAMPLE}")
    return Costs(numbers["false_positive"] or 0.0, numbers["missed"] or 0.0, amount, numbers["review"] or 0.0, reviewed)


def parts(text: str) -> dict[str, str]:
    """Return what is said of each name; raises SelectionError for a text that says nothing, or is none of costs."""
    if not text.strip():
        raise SelectionError(f"--costs {text!r}: says nothing; write {EXAMPLE}, or leave --costs out")
    given: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if name not in NAMES or name in given or not equals or not value:
            raise SelectionError(f"--costs {text!r}: {part!r} is not one more of {', '.join(NAMES)}; write {EXAMPLE}")
        given[name] = value
    return given


def check_amounts(scored: Scored, costs: Costs | None) -> None:
    """Raise SelectionError where frauds cost their amount, and not one has any: the field's name must be wrong."""
    if not (costs and costs.amount and scored.amount is not None):
        return
    amounts = scored.amount[scored.fraud]
    if len(amounts) and not np.isfinite(amounts).any():
        raise SelectionError(
            f"--costs: missed={costs.amount}: none of {len(amounts):,} frauds has a number there; name the event's "
            "field of the amount by its path, or the column of it, or write a number"
        )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
