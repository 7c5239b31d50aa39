"""Opening a bundle: custody first, then the gates, the parts, the proof. What fails a step is never served."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scorer.bundle import golden
from scorer.bundle.feeds import consistent
from scorer.bundle.golden import Golden, Proof
from scorer.bundle.manifest import Manifest
from scorer.bundle.trust.custody import Gate, Held, take
from scorer.config.bands import check_bands
from scorer.decode import JsonDecoder
from scorer.encode import Encoder, Origin
from scorer.errors import BandsError, GoldenError, ScorerError
from scorer.infer.model import Model
from scorer.infer.runtime import fingerprint
from scorer.pipeline import Lane
from scorer.records import Bands, Inputs
from scorer.transform import Transform

OTHERWISE = "approve"
"""What a score below the lowest band is called, unless a topic renames it."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: its manifest, the SHA-256 of that, its loaded parts, and what its golden events proved.

    `signed` says that it has a signature, `signer` which trusted key verified it (see `custody.Held`).
    """

    path: Path
    manifest: Manifest
    sha256: str
    decode: JsonDecoder
    transform: Transform
    model: Model
    proof: Proof
    signed: bool = False
    signer: str = ""

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
        cloudevents: bool = False,
    ) -> Lane:
        """Return the lane of a topic that this bundle scores; without `bands`, the bundle's own count."""
        faults = check_bands(self.manifest.bands if bands is None else bands, str(self.path), otherwise=otherwise)
        if faults:
            raise BandsError("\n".join(faults))
        effective = Bands.of(self.manifest.bands if bands is None else bands, otherwise)
        origin = Origin(self.manifest.name, self.manifest.version, self.sha256)
        encoder = Encoder(
            origin,
            effective,
            group=group,
            decisions=decisions,
            dead_letters=dead_letters,
            max_bytes=max_bytes,
            cloudevents=cloudevents,
        )
        rows = self.manifest.model.batch_shape
        return Lane(topic, self.decode, self.transform, self.model, effective, encoder, rows)


def load(path: str | Path, *, keys: Sequence[str | Path] = (), gates: Iterable[Gate] = ()) -> Bundle:
    """Open a bundle and prove it, from a private copy that is gone when this returns.

    `keys` are the files of the trusted public keys; with any, only bundles that one of them signed are opened. `gates`
    are what else the verified copy must pass before TensorFlow sees it: `admission.Admission`, `rollback.Served`.

    Raises BundleError where it is missing, incomplete, altered, not signed by one of `keys`, refused by a gate or of
    another format; GoldenError where its golden events do not give the packed features or scores on this machine;
    ConfigError for a key that is none.
    """
    with take(Path(path), [Path(key) for key in keys]) as held:
        for gate in gates:
            gate(held)
        return open_held(held)


def open_held(held: Held) -> Bundle:
    """Open and prove what is in custody; everything is in memory then. Errors name the directory that it came from."""
    try:
        return _open(held)
    except ScorerError as error:
        raise type(error)(str(error).replace(str(held.directory), str(held.path))) from error


def _open(held: Held) -> Bundle:
    path, manifest = held.directory, held.manifest
    packed = golden.read(path, manifest.events.event_id, held.path)
    decoder = JsonDecoder(manifest.events)
    transform = consistent(manifest.plan, manifest.model.inputs, manifest.events, held.path)
    inputs = golden_inputs(packed, decoder, transform, path)
    model = Model(path / "model", manifest.model, inputs.arrays)
    proof = _prove(path, manifest, packed, inputs, model)
    return Bundle(
        held.path, manifest, held.sha256, decoder, transform, model, proof, signed=held.signed, signer=held.signer
    )


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
    return golden.prove(
        packed,
        inputs,
        model,
        plan=manifest.plan,
        bands=Bands.of(manifest.bands, OTHERWISE),
        tolerance=manifest.tolerance,
        where=path,
        same_machine=fingerprint() == manifest.fingerprint,
    )
