"""Ed25519 over the exact bytes of `bundle.json`, which holds the digest of every other file: a bundle's origin.

`bundle.sig` is the raw signature of 64 bytes (RFC 8032). Keys are PEM: PKCS #8 the private, SubjectPublicKeyInfo the
public one, as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write them, so that openssl verifies it
too: `openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in bundle.json -sigfile bundle.sig`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scorer.errors import BundleError, ConfigError, PackError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NAME = "bundle.sig"
LENGTH = 64
PASSPHRASE = "SCORER_SIGN_PASSPHRASE"
"""The variable that holds the passphrase of an encrypted private key."""


def private_key(path: Path, environment: Mapping[str, str]) -> Ed25519PrivateKey:
    """Read the key that signs, with the passphrase of `SCORER_SIGN_PASSPHRASE` where it is encrypted.

    Raises PackError for what cannot be read, decrypted, or is no private Ed25519 key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = _content(path, PackError)
    if b"PUBLIC KEY-----" in text:
        raise PackError(f"{path}: a public key; sign with the private one, and give this one to `trust.keys`")
    encrypted, passphrase = b"-----BEGIN ENCRYPTED" in text, environment.get(PASSPHRASE, "")
    if encrypted and not passphrase:
        raise PackError(f"{path}: the key is encrypted: set its passphrase in {PASSPHRASE}")
    try:
        key = load_pem_private_key(text, passphrase.encode() if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = f"cannot be decrypted: is the passphrase in {PASSPHRASE} right?" if encrypted else _wanted("private")
        raise PackError(f"{path}: {why}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PackError(f"{path}: {_wanted('private')}")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Read a trusted key; raises ConfigError for what cannot be read or is no public Ed25519 key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    text = _content(path, ConfigError)
    if b"PRIVATE KEY-----" in text:
        raise ConfigError(
            f"{path}: a private key, which belongs on no machine that serves; "
            "give `trust.keys` its public half: openssl pkey -in KEY -pubout"
        )
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: {_wanted('public')}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path}: {_wanted('public')}")
    return key


def key_id(path: Path) -> str:
    """Return the SHA-256 of a public key, in hexadecimal: its name, wherever its file lies."""
    return hashlib.sha256(public_key(path).public_bytes_raw()).hexdigest()


def verify(text: bytes, signature: bytes | None, keys: Sequence[Path], bundle: Path) -> str:
    """Return the `key_id` of the first of `keys` that signed `text`.

    Raises BundleError where none did, or there is no signature; ConfigError for a key that is none.
    """
    from cryptography.exceptions import InvalidSignature

    trusted = {path: public_key(path) for path in keys}
    tried = ", ".join(map(str, keys))
    if signature is None:
        raise BundleError(f"{bundle}: not signed, and only bundles signed by {tried} are trusted; pack it with sign=…")
    if len(signature) != LENGTH:
        raise BundleError(f"{bundle / NAME}: {len(signature)} bytes, a signature has {LENGTH}; copy the bundle again")
    for path, key in trusted.items():
        try:
            key.verify(signature, text)
        except InvalidSignature:
            continue
        return key_id(path)
    raise BundleError(f"{bundle / NAME}: not signed by a trusted key, or altered since; tried {tried}; do not serve it")


def _content(path: Path, kind: type[PackError | ConfigError]) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise kind(f"{path}: the key cannot be read: {error.strerror}") from error


def _wanted(half: str) -> str:
    made = {"private": "openssl genpkey -algorithm ed25519", "public": "openssl pkey -in KEY -pubout"}
    return f"no {half} Ed25519 key in PEM; make one with: {made[half]}"
