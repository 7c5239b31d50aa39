"""The operator's page says of every reason what to do, of every fate why, and names no option that there is not."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from scorer.cli import dlq
from scorer.dlq.letters import OF, REDRIVES
from scorer.dlq.plan import Fate
from scorer.dlq.show import COUNT_HEADS, LETTER_HEADS
from scorer.errors import Reason

PAGE = (Path(__file__).parents[2] / "docs" / "dead-letters.md").read_text(encoding="utf-8")


def first_column(heading: str) -> list[str]:
    """Return the first column of the table whose first heading this is."""
    (table,) = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [line.split("|")[1].strip() for line in table.splitlines()]


def test_every_reason_has_its_advice() -> None:
    """An operator finds each reason that a letter may have."""
    assert first_column("reason") == [f"`{reason}`" for reason in Reason]


def test_every_fate_has_its_explanation() -> None:
    """Whatever a plan prints of letters that are left, the page says why."""
    told = first_column("words of the plan")

    assert len(told) == len(Fate) - 1
    assert all(fate.startswith(words) for fate, words in zip(list(Fate)[1:], told, strict=True))


def test_every_option_is_real() -> None:
    """Every option on the page is one of a `dlq` command's, and every column of the output is what is printed."""
    commands = get_command(dlq.app).commands.values()  # type: ignore[attr-defined]
    options = {option for command in commands for one in command.params for option in one.opts}

    assert set(re.findall(r"(?<![\w-])--[a-z-]+[a-z]", PAGE)) <= options
    assert set(re.findall(r"`scorer dlq ([a-z]+)", PAGE)) == {"list", "show", "redrive"}
    assert re.search(r"\s+".join(LETTER_HEADS), PAGE)
    assert re.search(r"\s+".join(COUNT_HEADS), PAGE)
    assert {f"`{OF}`", f"`{REDRIVES}`"} <= set(re.findall(r"`scorer\.redrive[a-z.]*`", PAGE))
