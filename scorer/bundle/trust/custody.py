"""A bundle's directory → a private copy of it, whole and as its manifest says. Nothing else of a bundle is ever opened.

What was verified is what is loaded: bytes are hashed while they are copied to where no one else writes, and only the
copy is read from then on. The directory may be hostile: every name is opened below the directory's own handle, without
following links, and no more of a file is read than its entry in the manifest lists.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from scorer.bundle.manifest import NAME, File, Manifest, decode
from scorer.bundle.trust import signing
from scorer.errors import BundleError

MAX_MANIFEST = 64 << 20
"""Bytes: large arrays have their own file, so that a longer manifest is none of ours."""
MAX_DEPTH = 16
"""Directories inside directories; a SavedModel has two, with assets three."""
_CHUNK = 1 << 20
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Held:
    """A verified private copy: `directory` lives as long as `take`; messages name `path`, where it came from.

    `sha256` is that of the manifest's bytes; `signed` says that there is a signature, `signer` whose it is: the
    `signing.key_id` of the trusted key that verified it, or "" where no key was asked to.
    """

    path: Path
    directory: Path
    manifest: Manifest
    sha256: str
    signed: bool = False
    signer: str = ""


Gate: TypeAlias = Callable[[Held], None]
"""What a verified bundle must pass before a library opens it; raises BundleError."""


@contextmanager
def take(path: Path, keys: Sequence[Path] = ()) -> Iterator[Held]:
    """Copy a bundle into a private directory and verify it; the copy is removed at the end.

    With `keys`, the signature is verified before anything of the manifest is read.

    Raises BundleError, naming the file, for a bundle that is missing, half-written or altered, that has one file more
    or less than its manifest lists, a link, a device, a name that leads outside, or no signature of one of `keys`.
    """
    with ExitStack() as stack:
        root = _opened(path)
        stack.callback(os.close, root)
        text = _read(root, path, NAME, MAX_MANIFEST)
        signature = _signature(root, path)
        signer = signing.verify(text, signature, keys, path) if keys else ""
        manifest = decode(text, path / NAME)
        listed = _listed(manifest, path)
        _refuse_others(root, path, listed)
        try:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scorer-bundle-")))
            (directory / NAME).write_bytes(text)
            for entry in manifest.files:
                _copy(root, path, entry, directory)
        except OSError as error:
            raise BundleError(
                f"{path}: no private copy can be made: {error.strerror}; it takes "
                f"{sum(entry.size for entry in manifest.files)} bytes: make room, or set TMPDIR to another directory"
            ) from error
        yield Held(path, directory, manifest, hashlib.sha256(text).hexdigest(), signature is not None, signer)


def reopen(directory: Path, path: Path) -> Held:
    """Return what another process of this user holds in `directory`, without verifying it again."""
    text = (directory / NAME).read_bytes()
    return Held(path, directory, decode(text, path / NAME), hashlib.sha256(text).hexdigest())


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except PermissionError as error:
        raise BundleError(f"{path}: {error.strerror}; may this user read the bundle?") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: no such bundle; is the path right, and is it a directory?") from error


def _signature(root: int, path: Path) -> bytes | None:
    try:
        os.stat(signing.NAME, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return _read(root, path, signing.NAME, 1 << 10)


def _listed(manifest: Manifest, path: Path) -> Mapping[str, File]:
    """Return the manifest's entries by name; every name is one plain file below the bundle's directory."""
    listed: dict[str, File] = {}
    spelt: dict[str, str] = {}
    for entry in manifest.files:
        name, parts = entry.path, entry.path.split("/")
        plain = name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(parts)
        if not plain or len(parts) > MAX_DEPTH or _same(name) in {NAME, signing.NAME}:
            raise BundleError(f"{path / NAME}: lists {name!r}, which is no name of a file in a bundle; pack it anew")
        if entry.size < 0 or not re.fullmatch("[0-9a-f]{64}", entry.sha256):
            raise BundleError(f"{path / NAME}: {name}: altered, its size or digest is none; copy the bundle again")
        for part in accumulate(parts, "{}/{}".format):
            other = spelt.setdefault(_same(part), part)
            if other != part or part in listed:
                raise BundleError(f"{path / NAME}: lists {name!r} beside {other!r}, its double; pack the bundle anew")
        listed[name] = entry
    if within := [name for name in listed for above in PurePosixPath(name).parents if str(above) in listed]:
        raise BundleError(f"{path / NAME}: lists {within[0]!r} inside what it lists as a file; pack the bundle anew")
    return listed


def _same(name: str) -> str:
    """Return a name as file systems compare it that know no case, or compose accents."""
    return unicodedata.normalize("NFC", name.casefold())


def _refuse_others(root: int, path: Path, listed: Mapping[str, File]) -> None:
    """Walk the directory; everything in it is a listed regular file or on the way to one, and none is missing."""
    found, idle = set(), []
    above_listed = {str(parent) for name in listed for parent in PurePosixPath(name).parents}
    for above, name, mode in _walk(root, path):
        inner = f"{above}/{name}" if above else name
        if stat.S_ISLNK(mode):
            raise BundleError(f"{path / inner}: a bundle holds no symbolic links; copy the file itself")
        if stat.S_ISDIR(mode):
            idle += [] if inner in above_listed else [inner]
            continue
        if not stat.S_ISREG(mode):
            raise BundleError(f"{path / inner}: no regular file (a device, pipe or socket); remove it")
        if inner not in listed and inner not in {NAME, signing.NAME}:
            raise BundleError(f"{path / inner}: not in the manifest; a bundle holds nothing else, remove it")
        found.add(inner)
    for name in idle:
        raise BundleError(f"{path / name}: a directory without a file of the manifest; remove it")
    for name in sorted(listed.keys() - found):
        raise BundleError(f"{path / name}: missing, though the manifest lists it; copy the bundle again, whole")


def _walk(root: int, path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield (directory inside the bundle, name, file mode) of everything below `root`."""
    try:
        for above, directories, files, handle in os.fwalk(".", dir_fd=root, onerror=_raise):
            inside = above.removeprefix(".").removeprefix("/")
            if inside.count("/") >= MAX_DEPTH:
                raise BundleError(f"{path / inside}: more than {MAX_DEPTH} directories deep; this is no bundle")
            for name in sorted([*directories, *files]):
                yield inside, name, os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
    except OSError as error:
        where = path / str(error.filename or "")
        raise BundleError(f"{where}: {error.strerror}; may this user read the bundle?") from error


def _raise(error: OSError) -> None:
    raise error


def _copy(root: int, path: Path, entry: File, directory: Path) -> None:
    target = directory / entry.path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    altered = BundleError(f"{path / entry.path}: altered since it was packed, its digest differs; copy it again")
    with _source(root, path, entry.path) as source, target.open("xb") as copy:
        if os.fstat(source).st_size != entry.size:
            raise altered
        digest, left = hashlib.sha256(), entry.size
        while left and (chunk := os.read(source, min(left, _CHUNK))):
            digest.update(chunk)
            copy.write(chunk)
            left -= len(chunk)
    if left or digest.hexdigest() != entry.sha256:
        raise altered


def _read(root: int, path: Path, name: str, limit: int) -> bytes:
    with _source(root, path, name) as source:
        if (size := os.fstat(source).st_size) > limit:
            raise BundleError(f"{path / name}: {size} bytes long, which is none of a bundle's; copy the bundle again")
        with os.fdopen(os.dup(source), "rb") as file:
            return file.read(limit)


@contextmanager
def _source(root: int, path: Path, name: str) -> Iterator[int]:
    """Open a regular file of the bundle, no part of whose name is a link."""
    *above, last = name.split("/")
    with ExitStack() as stack:
        try:
            at = root
            for part in above:
                at = os.open(part, _READ | os.O_DIRECTORY, dir_fd=at)
                stack.callback(os.close, at)
            source = os.open(last, _READ, dir_fd=at)
        except OSError as error:
            raise BundleError(f"{path / name}: {_why(error, name)}") from error
        stack.callback(os.close, source)
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise BundleError(f"{path / name}: no regular file; copy the bundle again")
        yield source


def _why(error: OSError, name: str) -> str:
    if error.errno == errno.ELOOP:
        return "a bundle holds no symbolic links; copy the file itself"
    if name == NAME:
        return f"{error.strerror}; without its manifest this is no bundle"
    return f"{error.strerror}; copy the bundle again, whole"
