"""`scorer check`: prove a bundle on this machine and print its contract."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from scorer.bundle import Bundle


def check(
    path: Annotated[Path, typer.Argument(help="The bundle's directory.", metavar="BUNDLE")],
    trust: Annotated[
        list[Path] | None,
        typer.Option(metavar="KEY.pem", help="A trusted public key, Ed25519: one of them must have signed the bundle."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the contract and the proof as one JSON object.")
    ] = False,
) -> None:
    """Verify a bundle's digests, signature, ops and golden events on this machine; print what it takes and gives."""
    import msgspec

    from scorer.cli.waiting import waiting

    with waiting(f"checking {path}", lines=False):  # its standard error is for what is wrong
        loaded = opened(path, trust or ())
    if as_json:
        print(msgspec.json.encode(_document(loaded)).decode())
    else:
        report(loaded)


def opened(path: Path, keys: Sequence[Path]) -> Bundle:
    """Load a bundle that this machine may never have seen: it is tried in a process of its own first."""
    from scorer import bundle
    from scorer.bundle.trust.admission import Admission

    return bundle.load(path, keys=keys, gates=[Admission.of(os.environ)])


def report(loaded: Bundle) -> None:
    """Print a loaded bundle's contract and proof."""
    from scorer.cli import contract

    manifest, proof = loaded.manifest, loaded.proof
    for row in contract.rows(manifest, loaded.sha256, signed=loaded.signed, signer=loaded.signer):
        print(contract.line(row))
    print(contract.line(contract.proof_row(proof, manifest.tolerance)))
    for worst in filter(None, (proof.worst_feature, proof.worst_score)):
        print(contract.line(("", worst)))
    if not proof.same_machine:
        print("note: packed on another CPU or TensorFlow; scores agree within the tolerance, not always bit for bit")


def _document(loaded: Bundle) -> dict[str, Any]:
    import msgspec

    from scorer.cli import contract

    proof = msgspec.to_builtins(loaded.proof)
    found = contract.document(loaded.manifest, loaded.sha256, signed=loaded.signed)
    return {"verified": "all", **found, "signer": loaded.signer or None, "proof": proof}
