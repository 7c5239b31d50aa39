"""`bundle.json`: what a bundle is, what it reads, what it calls, and the digest of every file, its own included."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path

import msgspec

from scorer.bundle.distribution import References
from scorer.config.bands import check_bands
from scorer.decode import EventSchema
from scorer.errors import BundleError
from scorer.infer import ModelSpec
from scorer.transform import Plan

FORMAT = 1
NAME = "bundle.json"
UNSEALED = "0" * 64
MAX_TOLERANCE = 1e-3
"""Scores that far apart would move decisions: a tolerance above it proves nothing."""
_SEAL = re.compile(rb'("seal"\s*:\s*")([0-9a-f]{64})(?=")')


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the bundle: its path inside, its size in bytes, its SHA-256 in hexadecimal."""

    path: str
    size: int
    sha256: str


class BandFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At and above a band's edge: the share of all events, of these the positive, of all positives those in here."""

    share: float
    precision: float
    recall: float


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """On so many labelled examples, which the model may have been trained on, and its calibration fitted.

    `calibration_error` is the expected calibration error over 15 bins of equal width (Naeini et al., 2015): the
    difference between mean score and share of positives of each bin, weighted by its events; `calibration_error_before`
    is that of the scores without the calibration. `brier` is the mean squared difference of score and label, `log_loss`
    their mean cross-entropy in nats. All but the last are in [0, 1].
    """

    events: int
    positives: int
    roc_auc: float
    average_precision: float
    calibration_error: float
    calibration_error_before: float
    brier: float
    log_loss: float
    bands: dict[str, BandFigures]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The contents of `bundle.json`.

    `created` is RFC 3339; `fingerprint` is that of the machine that packed (see `infer.runtime`); `tolerance` is the
    largest difference of a score from its packed one; `bands` are the lowest scores of each band, ascending; `seal` is
    the text's own digest (see `reseal`).
    """

    format: int
    name: str
    version: str
    created: str
    libraries: dict[str, str]
    fingerprint: dict[str, str]
    events: EventSchema
    plan: Plan
    model: ModelSpec
    bands: dict[str, float]
    tolerance: float
    files: list[File]
    figures: Figures | None = None
    reference: References | None = None
    seal: str = UNSEALED


def encode(manifest: Manifest) -> bytes:
    """Return the manifest, sealed, as indented JSON: it is read by people too, and compared by `diff`."""
    return reseal(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def reseal(text: bytes) -> bytes:
    """Return a manifest's text with its seal set anew: the SHA-256 of the text itself, with zeros for the seal.

    It finds a flipped bit in a bundle that nobody signed. It stops no one who means it: a signature does.
    """
    blank = _SEAL.sub(rb"\g<1>" + UNSEALED.encode(), text)
    seal = hashlib.sha256(blank).hexdigest().encode()
    return _SEAL.sub(rb"\g<1>" + seal, text)


def decode(text: bytes, where: Path) -> Manifest:
    """Read a manifest.

    Raises BundleError for another format version, for anything that does not belong there, for a tolerance that
    proves nothing, and for a text that is not as it was sealed.
    """
    try:
        version = msgspec.json.decode(text, type=_Versioned).format
        if version != FORMAT:
            raise BundleError(f"{where}: format {version}, this scorer reads format {FORMAT}; pack the bundle anew")
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = _no_number(text) or f"not a bundle's manifest: {error}"
        raise BundleError(f"{where}: {why}; it is damaged, pack the bundle anew") from error
    if faults := _faults(manifest):
        raise BundleError("\n".join(f"{where}: {fault}; pack the bundle anew" for fault in faults))
    if len(_SEAL.findall(text)) != 1 or reseal(text) != text:
        raise BundleError(f"{where}: altered since it was packed (its seal differs); copy the bundle again")
    return manifest


def _faults(manifest: Manifest) -> list[str]:
    """Return which of the manifest's numbers would make a proof or a decision meaningless."""
    faults = check_bands(manifest.bands, "bands")
    if not 0 <= manifest.tolerance <= MAX_TOLERANCE:
        faults.append(f"tolerance: must be from 0 to {MAX_TOLERANCE:g}, not {manifest.tolerance:g}")
    for name, field in manifest.events.fields.items():
        if field.range and not field.range[0] <= field.range[1]:
            faults.append(f"events.fields.{name}.range: {list(field.range)} holds no number")
    return faults


def _no_number(text: bytes) -> str:
    """Return which entry is NaN or infinite, which JSON does not know but other programs write; "" if none is."""
    try:
        entries = [("", json.loads(text))]
    except (ValueError, RecursionError):
        return ""
    for path, value in entries:
        if isinstance(value, float) and not math.isfinite(value):
            return f"{path} is {value}, which is no finite number"
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        entries += [(f"{path}.{key}".lstrip("."), item) for key, item in inner]
    return ""


def files_under(directory: Path) -> list[Path]:
    """Return all files below a bundle's directory but the manifest, sorted.

    Raises BundleError for a symbolic link, which could be pointed elsewhere after its target was checked.
    """
    found = []
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            raise BundleError(f"{path}: a bundle holds no symbolic links; copy the file itself")
        if path.is_file() and path != directory / NAME:
            found.append(path)
    return found


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entries(directory: Path) -> list[File]:
    """Return an entry for every file below a directory but the manifest."""
    files = files_under(directory)
    return [File(path.relative_to(directory).as_posix(), path.stat().st_size, digest(path)) for path in files]


class _Versioned(msgspec.Struct):
    format: int
