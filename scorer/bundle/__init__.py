"""The artefact: model + preprocessing + thresholds + proof in one directory, verified whenever it is loaded.

`packing` makes one from what training left (`pack`): `examples` reads the events, `compile` the fitted preprocessor,
`feeds` ties both to the model's inputs, `judging` holds scores against labels. `manifest` is its table of contents,
`golden` its proof; `load` opens it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scorer.bundle.load import Bundle, load
from scorer.bundle.manifest import Manifest

if TYPE_CHECKING:
    from scorer.bundle.packing import pack

__all__ = ["Bundle", "Manifest", "load", "pack"]


def __getattr__(name: str) -> Any:
    # Packing brings scikit-learn, which serving must not import.
    if name == "pack":
        from scorer.bundle.packing import pack

        return pack
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
