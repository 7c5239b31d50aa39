"""The documentation cannot lie: what the README says is held against the code, and its example is run."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import docs_tables
import pytest
from sklearn.decomposition import PCA

from scorer import config
from scorer.bundle.packing.compile import compile_preprocessor
from scorer.errors import PackError

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = ["README.md", "CONTRIBUTING.md", "deploy/README.md", "docs/bundles.md", "docs/dead-letters.md"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(
    "table", [docs_tables.settings, docs_tables.metrics, docs_tables.exit_codes, docs_tables.reasons]
)
def test_table_is_the_codes_own(table: Callable[[], str]) -> None:
    """Every setting, metric, exit code and reason is in the README, with the words that the code has for it."""
    assert table() in README, f"put this into README.md:\n{table()}"


def test_supported_classes_are_the_compilers_own() -> None:
    """Every scikit-learn class that is compiled is in the documentation, and no other."""
    page = (ROOT / "docs" / "bundles.md").read_text()
    (listed,) = re.findall(r"<!-- supported -->\n(.*?)\n<!-- /supported -->", page, re.DOTALL)
    told = re.findall(r"`(\w+)`", listed)
    with pytest.raises(PackError) as caught:
        compile_preprocessor(PCA().fit([[1.0, 2.0], [3.0, 5.0]]), columns=["a", "b"])
    supported = str(caught.value).partition("subclasses: ")[2].partition(", 'passthrough'")[0].split(", ")
    assert told == supported


def test_example_runs(tmp_path: Path) -> None:
    """The README's example trains and packs a bundle that `scorer check` accepts and its configuration names."""
    (example,) = blocks("python")
    assert len(example.splitlines()) <= 40
    subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True, capture_output=True, timeout=180)
    (text,) = blocks("yaml")
    (tmp_path / "scorer.yaml").write_text(text)
    settings = config.load(tmp_path / "scorer.yaml", environment={})
    for topic in settings.topics.values():
        command = [sys.executable, "-m", "scorer", "check", str(topic.bundle)]
        checked = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        assert "features bit-identical" in checked.stdout


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "scorer/DESIGN.md",
        "deploy/README.md",
        "docs/bundles.md",
        "docs/dead-letters.md",
    ],
)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link in the documentation points to a file that exists."""
    page = ROOT / name
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{name}: {target}"


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "deploy/README.md", "docs/bundles.md", "docs/dead-letters.md"]
)
def test_commands_exist(name: str) -> None:
    """Every `make` target and `scorer` command that the documentation names exists."""
    page = (ROOT / name).read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert (
        set(re.findall(r"\bmake ([a-z]+)\b(?=[`\s]|$)", " ".join(re.findall(r"`[^`]+`|^    .*$", page, re.MULTILINE))))
        <= targets
    )
    shown = subprocess.run(
        [sys.executable, "-m", "scorer", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for command in set(re.findall(r"`scorer ([a-z]+)", page)):
        assert re.search(rf"\b{command}\b", shown), command


def test_command_line_options_are_real() -> None:
    """Every option that the README shows for a command is one that the command takes."""
    for command, options in re.findall(r"scorer (run|check|replay|record|play|kafka|demo)((?: [^`\n|]*)?)", README):
        wanted = re.findall(r"(--[a-z-]+)", options)
        if wanted:
            arguments = [sys.executable, "-m", "scorer", command, "--help"]
            shown = subprocess.run(arguments, capture_output=True, text=True, check=True, env={"COLUMNS": "200"}).stdout
            assert all(option in shown for option in wanted), (command, wanted)
