"""`bundle.json`: what a bundle is, what it reads, what it calls, and the digest of every other file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from scorer.decode import EventSchema
from scorer.errors import BundleError
from scorer.infer import ModelSpec
from scorer.transform import Plan

FORMAT = 1
NAME = "bundle.json"


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
    """On so many labelled examples, which the model may have been trained on: all figures in [0, 1].

    `calibration_error` is the expected calibration error over 15 bins of equal width (Naeini et al., 2015): the
    difference between mean score and share of positives of each bin, weighted by its events.
    """

    events: int
    positives: int
    roc_auc: float
    average_precision: float
    calibration_error: float
    bands: dict[str, BandFigures]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The contents of `bundle.json`.

    `created` is RFC 3339; `fingerprint` is that of the machine that packed (see `infer.runtime`); `tolerance` is the
    largest difference of a score from its packed one; `bands` are the lowest scores of each band, ascending.
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


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON: it is read by people too, and compared by `diff`."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(text: bytes, where: Path) -> Manifest:
    """Read a manifest; raises BundleError for another format version or anything that does not belong there."""
    try:
        version = msgspec.json.decode(text, type=_Versioned).format
        if version != FORMAT:
            raise BundleError(f"{where}: format {version}, this scorer reads format {FORMAT}; pack the bundle anew")
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleError(f"{where}: not a bundle's manifest: {error}; it is damaged, pack the bundle anew") from error


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
