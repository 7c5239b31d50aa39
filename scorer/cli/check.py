"""`scorer check`: prove a bundle and print its contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from scorer.bundle import Bundle
    from scorer.bundle.manifest import Figures
    from scorer.infer import TensorSpec
    from scorer.transform import Feed


def check(path: Annotated[Path, typer.Argument(help="The bundle's directory.", metavar="BUNDLE")]) -> None:
    """Verify a bundle's digests and golden events on this machine, and print what it takes and gives."""
    from scorer import bundle

    loaded = bundle.load(path)
    manifest, proof = loaded.manifest, loaded.proof
    rows: list[tuple[str, str]] = []
    rows.append(("bundle", f"{manifest.name} version {manifest.version}, packed {manifest.created}"))
    rows.append(("sha256", loaded.sha256))
    rows.append(("files", f"{len(manifest.files)}, all digests as listed"))
    rows.append(("packed with", ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())))
    for name, field in manifest.events.fields.items():
        note = ", may be null" if field.nullable else ""
        limits = f", {field.range[0]:g} to {field.range[1]:g}" if field.range else ""
        rows.append(("event field", f"{name}: {field.type}{note}{limits}"))
    rows.append(("event id, time", f"{manifest.events.event_id or '-'}, {manifest.events.event_time or '-'}"))
    for name, feed in manifest.plan.inputs.items():
        rows.append(("model input", f"{name}: {_shape(manifest.model.inputs[name])} from {_feed(feed)}"))
    rows.append(("model output", f"{manifest.model.output}, read as {manifest.model.score}"))
    rows.append(("signature", f"{manifest.model.signature}, {manifest.model.batch_shape} rows a call"))
    rows.append(("bands", ", ".join(f"{name} from {edge:g}" for name, edge in manifest.bands.items())))
    rows.append(("golden events", _proof(loaded)))
    if manifest.figures:
        rows += _figures(manifest.figures)
    for label, text in rows:
        print(f"{label:<16}{text}")
    if not proof.same_machine:
        print("note: packed on another CPU or TensorFlow; scores agree within the tolerance, not always bit for bit")


def _figures(figures: Figures) -> list[tuple[str, str]]:
    first = f"{figures.events} labelled examples, {figures.positives} positive: ROC AUC {figures.roc_auc:.3f}, "
    second = f"average precision {figures.average_precision:.3f}, calibration error {figures.calibration_error:.4f}"
    bands = []
    for name, band in figures.bands.items():
        quality = f"precision {band.precision:.3f}, recall {band.recall:.3f}"
        bands.append(("", f"at {name} and above: {band.share:.2%} of events, {quality}"))
    return [("figures", first + second), *bands]


def _shape(tensor: TensorSpec) -> str:
    return f"{tensor.dtype}[{', '.join('batch' if size is None else str(size) for size in tensor.shape)}]"


def _feed(feed: Feed) -> str:
    from scorer.transform import Raw

    if isinstance(feed, Raw):
        return f"the field {feed.column}, raw"
    return f"{len(feed.node.features)} features: {', '.join(feed.node.features)}"


def _proof(loaded: Bundle) -> str:
    proof = loaded.proof
    features = "bit-identical" if proof.features_identical else "within 2 ulp"
    scores = "bit-identical" if proof.scores_identical else f"within {proof.worst_difference:.2g}"
    return f"{proof.events} proved: features {features}, scores {scores} (tolerance {loaded.manifest.tolerance:g})"
