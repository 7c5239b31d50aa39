"""What `pack` was called with, checked before any work is done: one line that names the argument."""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import index
from typing import Any

from scorer.bundle.manifest import MAX_TOLERANCE
from scorer.errors import PackError
from scorer.infer import ScoreKind


def text(name: str, value: Any) -> str:
    """Return a name or version as text; a version may be a number."""
    found = str(value) if name == "version" and not isinstance(value, bool) else value
    if not isinstance(found, str) or not found.strip():
        raise PackError(f"{name} {value!r}: must be text, and not empty")
    return found


def whole(name: str, value: Any, least: int) -> int | None:
    """Return a whole number of Python's or NumPy's, or None."""
    if value is None:
        return None
    try:
        number = None if isinstance(value, bool) else index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise PackError(f"{name} {value!r}: must be a whole number, at least {least}")
    return number


def tolerance(value: Any) -> float:
    """Return the tolerance as a float from 0 to `MAX_TOLERANCE`."""
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= MAX_TOLERANCE:
        raise PackError(f"tolerance {value!r}: must be a number from 0 to {MAX_TOLERANCE:g}")
    return number


def score_kind(score: Any, positive_class: int | None, error: Any) -> ScoreKind:
    """Return what the output means; a softmax, and only it, has a positive class."""
    if score not in list(ScoreKind) or (score == ScoreKind.SOFTMAX) != (positive_class is not None):
        raise PackError(
            f"score {score!r} with positive_class {positive_class}: give {', '.join(ScoreKind)}; a softmax, and only "
            "it, has a positive_class, the column that is the score"
        )
    if error not in ("mse", "mae"):
        raise PackError(f"error {error!r}: a reconstruction is compared with the input by 'mse' or 'mae'")
    return ScoreKind(score)


def mapping(name: str, value: Any, kind: type = object) -> dict[str, Any]:
    """Return a mapping of names to values of a kind; None is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(inner, kind) for inner in value.values()):
        raise PackError(f"{name}: must be a mapping by name, such as {EXAMPLES[name]}, not {value!r:.80}")
    return {str(key): inner for key, inner in value.items()}


EXAMPLES = {
    "schema": "{'amount': {'type': 'number', 'nullable': True}}",
    "text": "{'message': text_vectorization}",
    "image": "{'photo': {'library': 'pillow', 'resize': [64, 64]}}",
    "inputs": "{'model_input': ['transformer']}",
    "bands": "{'review': 0.6, 'block': 0.9}",
}
