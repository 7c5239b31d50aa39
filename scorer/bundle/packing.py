"""`pack`: from what training left to a verified bundle. The ML engineer's whole interface is this one call."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scorer.bundle import manifest
from scorer.bundle.examples import Examples
from scorer.bundle.load import OTHERWISE, Bundle, load
from scorer.bundle.packer import Packer
from scorer.config.bands import check_bands
from scorer.errors import BandsError, PackError
from scorer.infer import ScoreKind


def pack(
    directory: str | Path,
    *,
    name: str,
    version: str,
    model: Any,
    preprocessor: Any,
    events: Any,
    labels: Sequence[int] | None = None,
    event_id: str | None = None,
    event_time: str | None = None,
    columns: Sequence[str] | None = None,
    schema: Mapping[str, Mapping[str, Any]] | None = None,
    text: Mapping[str, Any] | None = None,
    output: str | None = None,
    score: str = "probability",
    positive_class: int | None = None,
    bands: Mapping[str, float],
    batch_shape: int | None = None,
    tolerance: float = 1e-6,
    signature: str = "serving_default",
) -> Bundle:
    """Pack a model, its preprocessing and its bands into `directory`, prove the bundle, and return it loaded.

    Args:
        directory: where the bundle goes; one that is there already is replaced, anything else is refused.
        name: the model's name, in every decision.
        version: its version, in every decision.
        model: a Keras model, a `.keras` file, or a SavedModel directory.
        preprocessor: the *fitted* scikit-learn ColumnTransformer, Pipeline or transformer; None for a model that
            takes raw columns under the fields' names (or, with `columns`, as one matrix).
        events: raw example events, as they were before the preprocessor: dictionaries, or a DataFrame whose column
            names are paths (`card.country`).
        labels: 0 or 1 per event; then every example is scored, and the figures are kept in the bundle.
        event_id: the field that identifies an event to people.
        event_time: the field that says when it happened (milliseconds since the epoch, or a timestamp).
        columns: the columns' names in order, for a preprocessor or model that was fitted on arrays.
        schema: what the examples do not show: `{field: {"type": …, "nullable": …, "range": [low, high]}}`.
        text: field → the TextVectorization that prepared it in training; it is fused in front of the model.
        output: which named output is the score; may be left out where there is one.
        score: what the output means: `probability`, `logit` or `softmax`.
        positive_class: the column of a softmax that means fraud.
        bands: name → lowest score, ascending, inside (0, 1).
        batch_shape: rows of every model call (1,024 where left out).
        tolerance: the largest difference of a score from its packed one that another machine may show.
        signature: the SavedModel's signature.

    Raises:
        PackError: for what cannot be packed, by name, with what is supported.
        BandsError: for bands out of order or outside (0, 1).
    """
    target = Path(directory)
    faults = check_bands(bands, f"pack {name}: bands", otherwise=OTHERWISE)
    if faults:
        raise BandsError("\n".join(faults))
    if target.exists() and not (target / manifest.NAME).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise PackError(f"{target}: exists and is no bundle; remove it, or pack somewhere else")
    if score not in list(ScoreKind) or (score == ScoreKind.SOFTMAX) != (positive_class is not None):
        raise PackError(f"score {score!r}: give {', '.join(ScoreKind)}; a softmax, and only it, has a positive_class")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        room = Path(scratch) / "bundle"
        room.mkdir()
        packer = Packer(room, Examples.of(events), preprocessor, columns)
        packer.export(model, signature, text or {})
        packer.contract(output, ScoreKind(score), positive_class, batch_shape)
        packer.plan(event_id, event_time, schema or {})
        packer.prove(events, bands)
        if labels is not None:
            packer.judge(labels, bands)
        packer.seal(name, version, bands, tolerance)
        load(room)
        if target.exists():
            target.rename(Path(scratch) / "former")
        room.rename(target)
    return load(target)
