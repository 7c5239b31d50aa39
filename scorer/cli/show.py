"""`scorer show`: a bundle's contract, read off its manifest. No library that could run a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from scorer.bundle.manifest import Manifest
    from scorer.bundle.trust.custody import Held

VERIFIED = "digests verified; not proven here: run scorer check"


@dataclass(frozen=True, slots=True)
class _Table:
    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    @classmethod
    def of(cls, title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> _Table:
        from scorer.cli.contract import printable

        return cls(title, heads, [tuple(map(printable, row)) for row in rows])


def show(
    path: Annotated[Path, typer.Argument(help="The bundle's directory.", metavar="BUNDLE")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the contract as one JSON object.")] = False,
) -> None:
    """Print a bundle's contract: its digests are verified, its model is not run."""
    import msgspec

    from scorer.bundle import golden
    from scorer.bundle.feeds import consistent
    from scorer.bundle.trust.custody import take
    from scorer.cli import contract

    with take(path) as held:
        manifest = held.manifest
        consistent(manifest.plan, manifest.model.inputs, manifest.events, path)
        reasons = golden.read(held.directory, manifest.events.event_id, path).reasons
    if as_json:
        found = contract.document(held.manifest, held.sha256, signed=held.signed)
        counts = {"events": len(reasons), "chosen": contract.chosen(reasons)}
        print(msgspec.json.encode({"verified": "digests", **found, "golden": counts}).decode())
        return
    _print(held, reasons)


def _print(held: Held, reasons: Sequence[str]) -> None:
    from rich.console import Console

    from scorer.cli import contract

    console = Console(markup=False, highlight=False)
    for row in (*contract.rows(held.manifest, held.sha256, signed=held.signed), contract.chosen_row(reasons)):
        console.print(contract.line(row), soft_wrap=True)
    for table in _tables(held.manifest):
        (_drawn if console.is_terminal else _plain)(table, console)
    console.print(f"\n{VERIFIED} {held.path}", soft_wrap=True)


def _tables(manifest: Manifest) -> Iterator[_Table]:
    from scorer.bundle.lineage import features
    from scorer.cli.contract import distribution_words

    made = features(manifest.plan)
    several = len(manifest.plan.inputs) > 1
    named = [(f"{one.input}/{one.name}" if several else one.name, one.words()) for one in made]
    yield _Table.of("features, in the model's order", ("feature", "made of"), named)
    if reference := manifest.reference:
        seen = [(name, distribution_words(one)) for name, one in reference.fields.items()]
        yield _Table.of("fields, as they were when packed", ("field", "distribution"), seen)
    sizes = [(file.path, f"{file.size:,}", file.sha256[:16]) for file in manifest.files]
    yield _Table.of("files", ("file", "bytes", "sha256"), sizes)


def _drawn(table: _Table, console: Console) -> None:
    from rich import box
    from rich.table import Table

    drawn = Table(*table.heads, box=box.SIMPLE, title=table.title, title_justify="left")
    for row in table.rows:
        drawn.add_row(*row)
    console.print(drawn)


def _plain(table: _Table, console: Console) -> None:
    """Print a table for files and pipes: one line a row, nothing cut."""
    widths = [max(map(len, column)) for column in zip(table.heads, *table.rows, strict=True)]
    console.print(f"\n{table.title}")
    for row in table.rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        console.print("  ".join(cells).rstrip(), soft_wrap=True)
