"""A bundle's contract in words and as a document: what `check`, `pack` and `show` print. Needs no TensorFlow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from scorer.bundle.distribution import Distribution
    from scorer.bundle.golden import Proof
    from scorer.bundle.manifest import Figures, Manifest
    from scorer.decode.schema import Field
    from scorer.infer.spec import ModelSpec, TensorSpec
    from scorer.transform import Feed

Row: TypeAlias = tuple[str, str]
"""What is told, and the words."""

WIDTH = 16
CHOSEN = {
    "spread": "evenly spread",
    "null": "with a null",
    "unseen": "with an unseen category",
    "least": "with a least value",
    "greatest": "with a greatest value",
    "below": "just below a band",
    "edge": "at a band's edge",
}
"""The first word of why an event is golden, in full; all other reasons name a field with one rare or extreme value."""


def line(row: Row) -> str:
    """Return a row as one line of plain text."""
    return f"{row[0]:<{WIDTH}}{printable(row[1])}"


def printable(text: str) -> str:
    """Return text of a bundle as one that cannot steer a terminal: anybody may have written it."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def rows(manifest: Manifest, sha256: str, *, signed: bool, signer: str = "") -> Iterator[Row]:
    """Yield the contract: what goes in, what comes out, and what decides."""
    model, events = manifest.model, manifest.events
    yield "bundle", f"{manifest.name} version {manifest.version}, packed {manifest.created}"
    yield "sha256", sha256
    yield (
        "signed",
        f"by the trusted key {signer[:16]}"
        if signer
        else "yes; by whom, check says with --trust KEY.pem"
        if signed
        else "no",
    )
    size = sum(file.size for file in manifest.files)
    yield "files", f"{len(manifest.files)}, {size:,} bytes, all digests as listed"
    yield "packed with", ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())
    yield from (("event field", f"{name}: {field_words(field)}") for name, field in events.fields.items())
    yield "event id, time", f"{events.event_id or '-'}, {events.event_time or '-'}"
    for name, feed in manifest.plan.inputs.items():
        yield "model input", f"{name}: {_tensor(model.inputs[name])} from {_feed(feed)}"
    yield "model output", _output(model)
    if model.calibration:
        yield "calibration", calibration_words(model)
    yield "signature", f"{model.signature}, {model.batch_shape:,} rows a call"
    yield "bands", ", ".join(f"{name} from {edge:g}" for name, edge in manifest.bands.items())
    if manifest.figures:
        yield from _figures(manifest.figures, calibrated=model.calibration is not None)
    if reference := manifest.reference:
        yield "reference", f"{reference.events:,} events, score {distribution_words(reference.score)}"


def proof_row(proof: Proof, tolerance: float) -> Row:
    """Return what the golden events proved."""
    features = "bit-identical" if proof.features_identical else "within 2 ulp"
    scores = "bit-identical" if proof.scores_identical else f"within {proof.worst_difference:.2g}"
    return "golden events", f"{proof.events} proved: features {features}, scores {scores} (tolerance {tolerance:g})"


def chosen(reasons: Sequence[str]) -> dict[str, int]:
    """Return how many golden events were chosen for what, the most first."""
    kinds = (CHOSEN.get(reason.partition(" ")[0], "with a rare or extreme value") for reason in reasons)
    return dict(Counter(kinds).most_common())


def chosen_row(reasons: Sequence[str]) -> Row:
    """Return the golden events by why they are golden."""
    return "golden", f"{len(reasons)}: " + ", ".join(f"{count} {words}" for words, count in chosen(reasons).items())


def document(manifest: Manifest, sha256: str, *, signed: bool) -> dict[str, Any]:
    """Return the contract for programs: the manifest, with features and their making in place of the plan's steps."""
    import msgspec

    from scorer.bundle.lineage import features

    whole = msgspec.to_builtins(manifest)
    made = [
        {"input": one.input, "name": one.name, "dtype": one.dtype, "fields": list(one.fields), "made": one.words()}
        for one in features(manifest.plan)
    ]
    kept = {name: part for name, part in whole.items() if name not in ("plan", "seal")}
    return {"sha256": sha256, "signed": signed, **kept, "features": made}


def field_words(field: Field) -> str:
    """Return a field of the event in words."""
    limits = f", {field.range[0]:g} to {field.range[1]:g}" if field.range else ""
    return f"{field.type}{', may be null' if field.nullable else ''}{limits}"


def calibration_words(model: ModelSpec) -> str:
    """Return a calibration with its numbers, or with how many knots its curve has."""
    import msgspec

    numbers: Mapping[str, Any] = msgspec.to_builtins(model.calibration) if model.calibration else {"kind": "none"}
    told = [
        f"{name} {value:.6g}" if isinstance(value, float) else f"{len(value)} knots"
        for name, value in numbers.items()
        if name not in ("kind", "y")
    ]
    return ", ".join([numbers["kind"], *told])


def distribution_words(one: Distribution) -> str:
    """Return a reference distribution in words."""
    import msgspec

    nulls = f", null {one.nulls:.1%}" if one.nulls else ""
    numbers = msgspec.structs.asdict(one)
    if isinstance(numbers["shares"], dict):
        listed = [f"{name} {share:.1%}" for name, share in list(numbers["shares"].items())[:4]]
        return ", ".join([*listed, *([f"others {numbers['rest']:.1%}"] if numbers["rest"] else [])]) + nulls
    facts = [f"{name} {numbers[name]:.4g}" for name in ("mean", "std", "min", "max") if numbers[name] is not None]
    return ", ".join(facts) + nulls


def _figures(figures: Figures, *, calibrated: bool) -> Iterator[Row]:
    errors = (
        [figures.calibration_error_before, figures.calibration_error] if calibrated else [figures.calibration_error]
    )
    yield (
        "figures",
        f"{figures.events:,} labelled examples, {figures.positives:,} positive: "
        + ", ".join(
            [
                f"ROC AUC {figures.roc_auc:.3f}",
                f"average precision {figures.average_precision:.3f}",
                f"calibration error {' → '.join(f'{error:.4f}' for error in errors)}",
                f"Brier score {figures.brier:.4f}",
            ]
        ),
    )
    for name, band in figures.bands.items():
        quality = f"precision {band.precision:.3f}, recall {band.recall:.3f}"
        yield "", f"at {name} and above: {band.share:.2%} of events, {quality}"


def _output(model: ModelSpec) -> str:
    words = f"{model.output}, read as {model.score}"
    if model.positive_class is not None:
        words += f" of class {model.positive_class}"
    if model.reconstructs is not None:
        words += f": its {model.error} against the input {model.reconstructs}"
    return words


def _tensor(tensor: TensorSpec) -> str:
    return f"{tensor.dtype}[{', '.join('batch' if size is None else str(size) for size in tensor.shape)}]"


def _feed(feed: Feed) -> str:
    from scorer.transform import Matrix
    from scorer.transform.plan import Raw

    if isinstance(feed, Matrix):
        return f"{len(feed.node.features)} features: {', '.join(feed.node.features)}"
    return f"the field {feed.column}, {'raw' if isinstance(feed, Raw) else 'an image'}"
