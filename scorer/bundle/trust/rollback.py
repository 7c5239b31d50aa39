"""The highest version of each signed bundle that this machine has served: an older one is refused, unless it is named.

Whoever can put files where bundles lie could otherwise bring back a model that was withdrawn, signature and all.
Without trusted keys nothing is remembered: the same person could write any version into an unsigned bundle.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from scorer.bundle.opening import Bundle
from scorer.bundle.trust import signing
from scorer.bundle.trust.cache import Cache
from scorer.bundle.trust.custody import Held
from scorer.errors import BundleError

Order: TypeAlias = list[tuple[int, int, str]]


def order(version: str) -> Order:
    """Return what versions are sorted by: digits as numbers, the rest as text, so that 10 follows 9 and 1.10 1.9.

    Numbers go after text, and a version after those that it continues. Dates in the order year, month, day ascend.
    """
    parts = re.findall("[0-9]+|[^0-9]+", version)
    # A number is its length and its digits: a version may be longer than what `int` reads.
    digits = [part.lstrip("0") if part[0] in "0123456789" else None for part in parts]
    return [
        (0, 0, part) if number is None else (1, len(number), number) for part, number in zip(parts, digits, strict=True)
    ]


class _Record(msgspec.Struct, frozen=True):
    name: str
    signer: str
    version: str


@dataclass(frozen=True, slots=True)
class Served:
    """A gate of `load`, and the memory behind it, per signer. `signers` are the ids of the trusted keys.

    `allowed` holds `name:version` of the older bundles that may be served all the same.
    """

    cache: Cache
    signers: Sequence[str]
    allowed: frozenset[str]

    @classmethod
    def of(cls, environment: Mapping[str, str], keys: Sequence[Path], allowed: Iterable[str]) -> Served:
        """Return the memory of this user, for these trusted keys; raises ConfigError for a key that is none."""
        return cls(Cache.of(environment), [signing.key_id(key) for key in keys], frozenset(allowed))

    def __call__(self, held: Held) -> None:
        """Raise BundleError where a higher version of the bundle's name was served here before."""
        name, version = held.manifest.name, held.manifest.version
        served = [record.version for signer in self.signers if (record := self._recall(name, signer))]
        highest = max(served, key=order, default=version)
        if order(version) < order(highest) and f"{name}:{version}" not in self.allowed:
            raise BundleError(
                f"{held.path}: {name} version {version} is older than {highest}, which this machine has served; "
                f"to go back to it, add {name}:{version} to trust.allow_rollback"
            )

    def remember(self, bundles: Iterable[Bundle]) -> None:
        """Note what is served from now on; where that cannot be noted, one warning in the log says so."""
        if not self.signers:
            return
        try:
            for bundle in bundles:
                self._note(_Record(bundle.manifest.name, bundle.signer, bundle.manifest.version))
        except OSError as error:
            logging.getLogger("scorer.bundle").warning(
                "the versions served are not remembered, a rollback will not be noticed: %s: %s; set SCORER_CACHE to a "
                "directory that only this user may write to",
                self.cache.directory or "no directory",
                error.strerror,
            )

    def _note(self, record: _Record) -> None:
        before = self._recall(record.name, record.signer)
        if before is None or order(before.version) < order(record.version):
            self.cache.write(_place(record.name, record.signer), msgspec.json.encode(record))

    def _recall(self, name: str, signer: str) -> _Record | None:
        try:
            record = msgspec.json.decode(self.cache.read(_place(name, signer)) or b"", type=_Record)
        except msgspec.MsgspecError:
            return None
        return record if (record.name, record.signer) == (name, signer) else None


def _place(name: str, signer: str) -> str:
    """Return the file of one name and signer: scorers that start together never write the same one for two bundles."""
    return f"served/{hashlib.sha256(f'{signer}:{name}'.encode()).hexdigest()}.json"
