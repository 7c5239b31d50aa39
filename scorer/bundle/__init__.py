"""The artefact: model + preprocessing + thresholds + proof in one directory, verified whenever it is loaded.

`manifest` is its table of contents, with `feeds` (what the model's inputs take), `distribution` (how features and
scores were spread) and `golden`, its proof; `lineage` tells in words what makes each feature. `opening` loads one,
through the gates of `trust`. `packing` makes one, `diff` compares two.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scorer.bundle.manifest import Manifest
    from scorer.bundle.opening import Bundle, load
    from scorer.bundle.packing import pack

__all__ = ["Bundle", "Manifest", "load", "pack"]

_HOMES = {"Bundle": "opening", "Manifest": "manifest", "load": "opening", "pack": "packing"}


def __getattr__(name: str) -> Any:
    # Packing brings scikit-learn, which serving must not import; loading brings what showing does not need.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
