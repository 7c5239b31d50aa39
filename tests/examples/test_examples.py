"""The examples do what they say: each is trained, packed and scored as it stands, and held against its own training."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from scorer.bundle import Bundle, load
from tests.examples import stream

HERE = Path(__file__).parent
AREAS = {"card_fraud": 0.85, "sms_spam": 0.97, "digits": 0.98, "sensor_anomaly": 0.99}
"""The least area under the ROC curve on events that neither training nor packing has seen, with room for other CPUs."""


@dataclass(frozen=True, slots=True)
class Run:
    """An example that has run: its bundle, its labels, what the trained model said, and what the stream says."""

    bundle: Bundle
    labels: NDArray[Any]
    trained: NDArray[np.float32]
    decisions: list[dict[str, Any]]

    def streamed(self, field: str = "score") -> NDArray[np.float64]:
        """Return a number of each decision, float64."""
        return np.array([decision[field] for decision in self.decisions], float)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Give what runs an example, each once."""
    done: dict[str, Run] = {}

    def once(name: str) -> Run:
        if name not in done:
            out = tmp_path_factory.mktemp("examples") / name
            events, labels, trained = import_module(f"tests.examples.{name}").main(out)
            bundle = load(out)
            done[name] = Run(bundle, np.asarray(labels), trained, stream.decide(bundle, events))
        return done[name]

    return once


@pytest.mark.parametrize("name", AREAS)
def test_the_stream_finds_what_is_looked_for(run: Callable[[str], Run], name: str) -> None:
    """Decisions on unseen raw events tell the positives from the others."""
    ran = run(name)

    assert 0 < ran.labels.sum() < len(ran.labels) == len(ran.decisions)
    assert roc_auc_score(ran.labels, ran.streamed()) >= AREAS[name]


@pytest.mark.parametrize("name", ["sms_spam", "digits"])
def test_scores_are_the_trained_models(run: Callable[[str], Run], name: str) -> None:
    """From raw text or from a PNG file in base64, each score is what Keras itself gave, within 1e-6."""
    ran = run(name)

    assert np.abs(ran.streamed() - ran.trained).max() <= 1e-6


def test_calibration_is_an_affine_map_of_log_odds(run: Callable[[str], Run]) -> None:
    """Platt scaling puts slope * log-odds + shift for the trained model's: the same two numbers for every payment."""
    ran = run("card_fraud")
    inner = (ran.trained > 1e-4) & (
        ran.trained < 0.999
    )  # float32 probabilities at the ends hold few digits of log-odds
    odds = np.log(ran.trained[inner].astype(float)) - np.log1p(-ran.trained[inner].astype(float))

    slope, shift = np.polyfit(odds, ran.streamed("log_odds")[inner], 1)

    assert slope > 0
    assert np.abs(slope * odds + shift - ran.streamed("log_odds")[inner]).max() <= 1e-3


def test_the_card_bundle_holds_its_figures(run: Callable[[str], Run]) -> None:
    """Given labels, `pack` keeps what the bands will find; calibrated scores are probabilities to within 2 %."""
    figures = run("card_fraud").bundle.manifest.figures

    assert figures is not None
    assert figures.roc_auc >= AREAS["card_fraud"]
    assert figures.calibration_error <= 0.02
    assert figures.bands["block"].precision > figures.bands["review"].precision > 0.1


def test_anomaly_scores_keep_the_order_of_the_errors(run: Callable[[str], Run]) -> None:
    """A reading that was reconstructed worse never scores lower, and the bands take the shares that they promise."""
    ran = run("sensor_anomaly")
    order = np.argsort(ran.trained)

    assert np.diff(ran.streamed()[order]).min() >= -1e-6
    assert np.mean(ran.streamed() >= 0.93) == pytest.approx(0.07, abs=0.02)
    assert np.mean(ran.streamed() >= 0.99) == pytest.approx(0.01, abs=0.01)


@pytest.mark.parametrize("name", AREAS)
def test_an_example_is_read_in_one_go(name: str) -> None:
    """One file of at most 120 lines that says what its data are, with one call of `pack`."""
    text = (HERE / f"{name}.py").read_text()
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "pack"]

    assert len(text.splitlines()) <= 120
    assert len(calls) == 1
    assert ("SIMULATED" in (ast.get_docstring(tree) or "")) != ("REAL" in (ast.get_docstring(tree) or ""))


def test_an_example_runs_from_the_command_line(tmp_path: Path) -> None:
    """As its docstring says: the bundle goes where `--out` says, and the highest scores are printed."""
    command = [sys.executable, "-m", "tests.examples.digits", "--out", str(tmp_path / "digits")]
    ran = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=True, timeout=300)

    assert len([line for line in ran.stdout.splitlines() if line.endswith(" eight")]) == 5
    assert load(tmp_path / "digits").manifest.name == "digits"


def test_the_data_are_small_and_cited() -> None:
    """What is copied into the repository is under 300 kB, and its source and licence lie beside it."""
    notice = (HERE / "data" / "README.md").read_text()

    for file in HERE.glob("data/*.gz"):
        assert file.stat().st_size < 300_000
        assert file.name in notice
    assert "CC BY 4.0" in notice
