"""What the tests of `show` and `diff` are made of: manifests written by hand, and commands run in this process."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from scorer.bundle.distribution import Categorical, Numeric, References
from scorer.bundle.manifest import File, Manifest
from scorer.decode.schema import EventSchema, Field, FieldType
from scorer.infer.spec import ModelSpec, ScoreKind, TensorSpec
from scorer.transform.plan import (
    Apply,
    Branch,
    Divide,
    Fork,
    Impute,
    Lookup,
    Matrix,
    Node,
    Numbers,
    OneHot,
    Plan,
    Subtract,
)


def plan(center: float = 88.1, countries: tuple[str, ...] = ("FI", "SE"), features: tuple[str, ...] = ()) -> Plan:
    """Return a plan: a scaled amount, its logarithm, a country."""
    lookup = Lookup(list(countries), list(range(len(countries))), -1, -1)
    branches = [
        Branch([0], [Numbers(), Impute(None, [12.5]), Subtract([center]), Divide([2.0])]),
        Branch([0], [Apply("log1p")]),
        Branch([1], [OneHot([lookup], [len(countries)])]),
    ]
    names = features or ("amount", "log", *(f"country_{name}" for name in countries))
    return Plan({"features": Matrix(Node(["amount", "country"], [Fork(branches)], list(names)), "float32")})


def references(shares: tuple[float, ...] = (0.25, 0.25, 0.5)) -> References:
    """Return reference distributions of both fields, one feature and the score."""
    one = Numeric([1.0, 2.0], list(shares), 0.0, 1.5, 1.0, 0.0, 4.0)
    country = Categorical({"FI": 0.6, "SE": 0.3}, 0.05, 0.05)
    return References(100, 0, {"amount": one, "country": country}, {"features": {"amount": one}}, one)


def manifest(**changes: Any) -> Manifest:
    """Return a manifest, whole but for what `changes` say."""
    made = Manifest(
        format=1,
        name="cards",
        version="7",
        created="2026-01-01T00:00:00+00:00",
        libraries={"tensorflow": "2.21.0"},
        fingerprint={"cpu": "x"},
        events=EventSchema({"amount": Field(FieldType.NUMBER), "country": Field(FieldType.STRING, nullable=True)}),
        plan=plan(),
        model=ModelSpec(
            "serving_default", {"features": TensorSpec("float32", [None, 4])}, "fraud", ScoreKind.PROBABILITY, 64
        ),
        bands={"review": 0.4, "block": 0.6},
        tolerance=1e-6,
        files=[File("golden.jsonl", 10, "0" * 64)],
        reference=references(),
    )
    return msgspec.structs.replace(made, **changes)


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, and what it said on both streams but for its progress."""
    from scorer.cli import main

    monkeypatch.setattr(sys, "argv", ["scorer", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    complaints = [line for line in said.err.splitlines(keepends=True) if not line.endswith(" s so far\n")]
    return int(end.value.code or 0), said.out, "".join(complaints)
