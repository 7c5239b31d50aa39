"""The page in a browser: what the sliders say is what Python counts, and nothing of it breaks or calls out."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml

from scorer.evaluation.findings import Report
from scorer.report.page import page, verdict
from tests.evaluation.events import simulated
from tests.report import reports
from tests.report.browser import acted
from tests.report.cards import CARDS, check, near

LOOK = """
const every = (selector, test) => [...document.querySelectorAll(selector)].every(test);
return [
  document.querySelectorAll("svg").length,
  document.body.innerText,
  document.querySelectorAll("img").length,
  every("svg", (one) => one.getAttribute("aria-label") && one.querySelector("title")),
  every("path", (one) => !/NaN|Infinity|undefined/.test(one.getAttribute("d"))),
  document.querySelectorAll("input[type=range]").length,
];
"""
MEASURE = """
const frame = document.createElement("iframe");
Object.assign(frame.style, { width: `${WIDTH}px`, height: "900px", border: 0, colorScheme: "SCHEME" });
frame.srcdoc = PAGE;
await new Promise((done) => { frame.onload = done; document.body.append(frame); });
const inner = frame.contentDocument, style = (one) => frame.contentWindow.getComputedStyle(one);
inner.documentElement.dataset.theme = "SCHEME";
const part = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const light = (text) => {
  const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map((one) => part(one / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one) => {
  const [a, b] = [light(style(one).color), light(style(inner.body).backgroundColor)].sort((x, y) => x - y);
  return (b + 0.05) / (a + 0.05);
};
const texts = [...inner.querySelectorAll("p, td, th, dt, dd, h1, h2, .card span, .card b, summary, .legend span")];
return [inner.documentElement.scrollWidth, inner.querySelectorAll("svg").length, Math.min(...texts.map(contrast))];
"""


@pytest.fixture(scope="module")
def full() -> Report:
    """Give a report with labels, costs, a capacity, another side, and a proposal."""
    return reports.full()


def test_the_sliders_say_what_python_counts(full: Report, tmp_path: Path) -> None:
    """At the bands, and wherever the sliders are moved to: alerts, reviews, precision, recall, mistakes, cost, YAML."""
    steps = [(0, 0), (0, -60), (1, 25), (0, 200), (1, -300)]
    script = f"""{CARDS}
return {msgspec.json.encode(steps).decode()}.map(([band, places]) => {{ slide(band, places); return read(); }});"""

    said = acted(page(full), script, tmp_path)

    scored, seen = simulated(4_000, rate=0.1, unknown=0.1), []
    for one in said:
        bands = yaml.safe_load(one["yaml"])["topics"]["payments"]["bands"]
        seen.append(tuple(bands.values()))
        check(one, scored, list(bands.values()))
    assert seen[0] == tuple(reports.BANDS.values())
    assert len(set(seen)) == len(steps)


def test_costs_and_capacity_can_be_changed_and_reset_brings_all_back(full: Report, tmp_path: Path) -> None:
    script = f"""{CARDS}
const first = read();
put("cost-alarm", 0); put("cost-review", 0); put("capacity", 1);
const changed = read();
slide(0, 30);
document.getElementById("reset").click();
return [first, changed, read()];"""

    first, changed, last = acted(page(full), script, tmp_path)

    missed = (
        full.effect.confusion
        and full.fraud_money
        and full.fraud_money - full.sweep.caught[full.sweep.edges.index(float(np.float32(0.35)))]
    )
    assert near(changed["cost"], missed or 0)
    assert (changed["over"], changed["reviews"]) == (True, first["reviews"])
    assert last == first


def test_the_keyboard_moves_a_slider_and_reaches_every_control(full: Report, tmp_path: Path) -> None:
    """Ranges, numbers and buttons are the browser's own, labelled, and none is taken out of the tab order."""
    script = """
const named = (one) => one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim();
return [...document.querySelectorAll("input, button, summary, pre[tabindex]")].map((one) => {
  one.focus();
  return [one.tagName, one === document.activeElement || one.tagName === "SUMMARY", !!named(one)];
});"""

    controls = acted(page(full), script, tmp_path)

    assert len(controls) > 20
    assert [one for one in controls if not (one[1] and one[2])] == []


def test_the_button_gives_the_yaml_of_the_chosen_edges(full: Report, tmp_path: Path) -> None:
    """Where the clipboard is not allowed, the text is selected, and the button says what to do."""
    script = """
const copy = document.getElementById("copy");
copy.click();
await new Promise((done) => setTimeout(done, 300));
return [copy.textContent, String(getSelection()), document.getElementById("yaml").textContent];"""

    word, selected, text = acted(page(full), script, tmp_path)

    assert word == "Copied" or (word.startswith("Selected") and selected.strip() == text.strip())


@pytest.mark.parametrize("at", range(7))
def test_a_report_of_any_kind_is_drawn_without_a_fault(at: int, tmp_path: Path) -> None:
    """Labels or none, one event, scores at both ends, no fraud; and no word of the data runs or becomes HTML."""
    report = reports.all_kinds()[at]
    pictures, text, images, named, finite, sliders = acted(page(report), LOOK, tmp_path)

    assert pictures >= 2
    assert (images, named, finite, sliders) == (0, True, True, 2)
    assert not re.search(r"\bNaN\b|undefined|Infinity|\[object", text)
    assert report.subject.topic in text or "<" in report.subject.topic


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_page_is_no_wider_than_its_window_and_its_text_stands_out(
    full: Report, width: int, scheme: str, tmp_path: Path
) -> None:
    """On a phone, wide tables scroll within themselves; the contrast is 4.5 at least (WCAG AA), light or dark."""
    words = {"PAGE": msgspec.json.encode(page(full)).decode().replace("<", "\\u003c"), "SCHEME": scheme}
    script = MEASURE.replace("${WIDTH}", str(width))
    for name, text in words.items():
        script = script.replace(name, text)

    wide, pictures, contrast = acted("<html><head><style></style></head><body></body></html>", script, tmp_path)

    assert wide <= width
    assert pictures > 5
    assert contrast >= 4.5


def test_the_page_fetches_nothing(full: Report) -> None:
    """No address but the namespace of SVG is in it, and its policy allows none."""
    text = page(full)

    addresses = set(re.findall(r"""(?:https?:)?//[^\s"'<>)]+""", re.sub(r"(?m)^\s*//.*$|localhost:9092", "", text)))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text
    assert not re.search(r"<(link|img|iframe|object)\b|@import|url\(", text)


def test_without_a_program_the_main_figures_are_there(full: Report) -> None:
    text = page(full)

    assert "<noscript>" in text
    for sentence in verdict(full):
        assert sentence.replace("'", "&#x27;") in text
    assert re.search(r"<td>recall</td><td>[0-9.]+%</td><td>[0-9.]+%</td>", text)


def test_the_page_holds_its_own_json_twin(full: Report) -> None:
    """What is embedded is the report, whole: a program may read either."""
    held = page(full).split('id="findings">')[1].split("</script>")[0]

    assert msgspec.json.decode(held, type=Report) == full
