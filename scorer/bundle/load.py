"""Opening a bundle: digests first, then the parts, then the proof. What fails a step is never served."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scorer.bundle import golden
from scorer.bundle.golden import Golden, Proof
from scorer.bundle.manifest import NAME, Manifest, decode, digest, files_under
from scorer.config.bands import check_bands
from scorer.decode import JsonDecoder
from scorer.encode import Encoder, Origin
from scorer.errors import BandsError, BundleError, GoldenError
from scorer.infer.model import Model
from scorer.infer.runtime import fingerprint
from scorer.pipeline import Lane
from scorer.records import Bands, Inputs
from scorer.transform import Transform

OTHERWISE = "approve"
"""What a score below the lowest band is called, unless a topic renames it."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: its manifest, the SHA-256 of that, its loaded parts, and what its golden events proved."""

    path: Path
    manifest: Manifest
    sha256: str
    decode: JsonDecoder
    transform: Transform
    model: Model
    proof: Proof

    def lane(
        self,
        topic: str,
        *,
        group: str,
        decisions: str,
        dead_letters: str,
        bands: Mapping[str, float] | None = None,
        otherwise: str = OTHERWISE,
        max_bytes: int = 1_000_000,
    ) -> Lane:
        """Return the lane of a topic that this bundle scores; without `bands`, the bundle's own count."""
        faults = check_bands(self.manifest.bands if bands is None else bands, str(self.path), otherwise=otherwise)
        if faults:
            raise BandsError("\n".join(faults))
        effective = Bands.of(self.manifest.bands if bands is None else bands, otherwise)
        origin = Origin(self.manifest.name, self.manifest.version, self.sha256)
        encoder = Encoder(
            origin, effective, group=group, decisions=decisions, dead_letters=dead_letters, max_bytes=max_bytes
        )
        return Lane(topic, self.decode, self.transform, self.model, effective, encoder)


def load(path: str | Path) -> Bundle:
    """Open a bundle and prove it.

    Raises BundleError where it is missing, incomplete, altered or of another format; GoldenError where its golden
    events do not give the packed features or scores on this machine.
    """
    path = Path(path)
    manifest, sha256 = check_files(path)
    packed = golden.read(path)
    decoder, transform = JsonDecoder(manifest.events), Transform(manifest.plan)
    read = {*transform.fields, manifest.events.event_id, manifest.events.event_time} - {None}
    if unknown := read - manifest.events.fields.keys():
        raise BundleError(f"{path / NAME}: reads fields that its events lack: {sorted(map(str, unknown))}; pack anew")
    inputs = golden_inputs(packed, decoder, transform, path)
    model = Model(path / "model", manifest.model, inputs.arrays)
    proof = _prove(path, manifest, packed, inputs, model)
    return Bundle(path, manifest, sha256, decoder, transform, model, proof)


def check_files(path: Path) -> tuple[Manifest, str]:
    """Check every file's size and digest against the manifest; return it, and the SHA-256 of its own bytes."""
    if not path.is_dir():
        raise BundleError(f"{path}: no such bundle; is the path right, and is it a directory?")
    try:
        text = (path / NAME).read_bytes()
    except OSError as error:
        raise BundleError(f"{path / NAME}: {error.strerror}; without its manifest this is no bundle") from error
    manifest = decode(text, path / NAME)
    found = {file.relative_to(path).as_posix(): file for file in files_under(path)}
    listed = {entry.path: entry for entry in manifest.files}
    for name in sorted(listed.keys() - found.keys()):
        raise BundleError(f"{path / name}: missing, though the manifest lists it; copy the bundle again, whole")
    for name in sorted(found.keys() - listed.keys()):
        raise BundleError(f"{path / name}: not in the manifest; a bundle holds nothing else, remove it")
    for name, entry in listed.items():
        if found[name].stat().st_size != entry.size or digest(found[name]) != entry.sha256:
            raise BundleError(f"{path / name}: altered since it was packed (its digest differs); copy the bundle again")
    return manifest, hashlib.sha256(text).hexdigest()


def golden_inputs(packed: Golden, decoder: JsonDecoder, transform: Transform, path: Path) -> Inputs:
    """Return what the model gets for the golden events; raises GoldenError if one of them is rejected."""
    columns, rejected = decoder(packed.records())
    if not rejected:
        inputs, rejected = transform(columns)
    if rejected:
        first = rejected[0]
        raise GoldenError(f"{path}: golden event {first.row} is rejected here: {first.message} ({first.path})")
    return inputs


def _prove(path: Path, manifest: Manifest, packed: Golden, inputs: Inputs, model: Model) -> Proof:
    same_machine = fingerprint() == manifest.fingerprint
    features_identical = golden.check_features(packed, inputs, path, same_machine=same_machine)
    scores, failed = model(inputs)
    if failed:
        raise GoldenError(f"{path}: golden event {failed[0].row}: {failed[0].message}")
    worst = golden.check_scores(packed, scores, Bands.of(manifest.bands, OTHERWISE), manifest.tolerance, path)
    return Proof(len(packed.values), same_machine, features_identical, worst == 0.0, worst)
