"""Benchmarks: ratios of one run, printed by `make bench`, never asserted as times."""

from __future__ import annotations

import sys

from rich.console import Console

WIDTH = 140
"""Columns of a table that goes into a file."""


def printer() -> Console:
    """Return what tables are printed on."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)
