"""The cards of a page: moved and read by a script, and checked beside what Python counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from scorer.evaluation.effect import prices
from scorer.evaluation.scored import Scored, band_of
from tests.report import reports

CARDS = """
const card = (id) => document.getElementById(id)?.textContent ?? null;
const slide = (band, places) => {
  const range = document.getElementById(`edge-${band}`);
  range.value = Number(range.value) + places;
  range.dispatchEvent(new Event("input"));
};
const put = (id, value) => {
  const field = document.getElementById(id);
  field.value = value;
  field.dispatchEvent(new Event("input"));
};
const box = (band) => document.querySelectorAll(".slider input[type=number]")[band];
const type = (band, text) => {
  box(band).value = text;
  box(band).dispatchEvent(new Event("change"));
};
const press = (field, key) => field.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
const cards = ["alerts", "reviews", "precision", "recall", "alarms", "missed", "cost"];
const read = () => ({
  ...Object.fromEntries(cards.map((id) => [id, card(id)])),
  yaml: card("yaml"),
  note: card("note"),
  boxes: [0, 1].map((band) => box(band).value),
  over: !!document.querySelector(".card.over"),
});
"""


def number(text: str) -> float:
    """Read a number as the page writes it."""
    return float(text.replace(",", "").replace(" %", ""))


def near(text: str, exact: float) -> bool:
    """Return whether a text says a number, as far as its digits go."""
    return abs(number(text) - exact) <= max(abs(exact) * 0.006, 0.051)


def check(said: dict[str, Any], scored: Scored, edges: list[float]) -> None:
    """Assert that the cards say what Python counts at these edges."""
    band, days = band_of(scored.score, edges), scored.days or 0
    alert = band > 0
    hits, alarms = np.count_nonzero(alert & scored.fraud), np.count_nonzero(alert & scored.legitimate)
    reviews = np.count_nonzero(band == 1) / days
    assert near(said["alerts"], np.count_nonzero(alert) / days)
    assert near(said["reviews"], reviews)
    assert near(said["recall"], 100 * hits / np.count_nonzero(scored.fraud))
    assert near(said["precision"], 100 * hits / (hits + alarms)) if hits + alarms else said["precision"] == "\u2013"
    assert number(said["alarms"]) == alarms
    assert number(said["missed"]) == np.count_nonzero(scored.fraud & ~alert)
    assert near(said["cost"], prices(scored, band, ["approve", *reports.BANDS], reports.COSTS).sum())
    assert said["over"] == (reviews > 20.0)
