"""The one rule that all bands obey, wherever they are written: a bundle, a topic's settings, a replay's arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np


def band_faults(bands: Mapping[str, object], otherwise: str = "approve") -> Iterator[tuple[str, str, bool]]:
    """Yield (band's name, what is wrong, whether its edge is) in the order written; no band at all is ("", …, False).

    `bands` gives each band's lowest score. Edges lie strictly inside (0, 1) and ascend strictly, both as float32,
    since that is how scores are compared with them: 0.99999999 is 1 there, and 0.60000001 is 0.6.
    """
    if not bands:
        yield "", "names no band: give at least one", False
    before: tuple[str, np.float32] | None = None
    for name, edge in bands.items():
        if not name.strip():
            yield name, "a band must have a name", False
        if name == otherwise:
            yield name, "is also the decision below the lowest band (otherwise): give one of them another name", False
        rounded = _rounded(edge)
        if rounded is None:
            yield name, "must be a number strictly between 0 and 1 (as float32)", True
            continue
        if before is not None and rounded <= before[1]:
            yield name, f"must start above {before[0]}, the band before it (as float32)", True
        before = name, rounded


def check_bands(bands: Mapping[str, object], where: str, *, otherwise: str = "approve") -> list[str]:
    """Return the faults of `bands` as texts that begin with `where` (a file and key, an option), or an empty list.

    For bands outside the service's configuration; raise `BandsError` with them. The rule is `band_faults`.
    """
    return [
        f"{where}: {f'{name}: ' if name else ''}{message}{f', not {bands[name]!r}' if at_edge else ''}"
        for name, message, at_edge in band_faults(bands, otherwise)
    ]


def _rounded(edge: object) -> np.float32 | None:
    """Return the edge as scores are compared with it, or None where it is no number strictly inside (0, 1)."""
    if isinstance(edge, bool) or not isinstance(edge, int | float | np.floating) or not 0 < edge < 1:
        return None
    rounded = np.float32(edge)
    return rounded if 0 < rounded < 1 else None
