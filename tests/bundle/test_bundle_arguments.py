"""What `pack` is called with: NumPy's kinds are as good as Python's, and a mistake is one line that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import BANDS

from scorer.bundle import pack
from scorer.errors import BandsError, PackError

NAMES = ["a", "b", "c"]


def model() -> Any:
    """Return a softmax over three features."""
    import keras

    inputs = keras.Input((3,), name="features")
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="classes")(inputs))


def packed(directory: Path, **changes: Any) -> Any:
    """Pack it."""
    rows = np.random.default_rng(1).normal(size=(40, 3)).tolist()
    arguments: dict[str, Any] = {
        "name": "m",
        "version": "1",
        "model": model(),
        "preprocessor": None,
        "columns": NAMES,
        "events": [dict(zip(NAMES, row, strict=True)) for row in rows],
        "score": "softmax",
        "positive_class": 1,
        "bands": BANDS,
        "batch_shape": 16,
    }
    return pack(directory, **arguments | changes)


def test_numpys_kinds_are_taken(tmp_path: Path) -> None:
    """A class from `argmax`, names from an array, numbers from anywhere."""
    bundle = packed(
        tmp_path / "bundle",
        version=np.int64(7),
        positive_class=np.int64(1),
        batch_shape=np.int64(16),
        columns=np.array(NAMES),
        tolerance=np.float32(1e-5),
    )
    assert (bundle.manifest.version, bundle.manifest.model.positive_class) == ("7", 1)


@pytest.mark.parametrize(
    ("argument", "value", "told"),
    [
        ("positive_class", "fraud", "positive_class 'fraud': must be a whole number"),
        ("positive_class", True, "positive_class True: must be a whole number"),
        ("positive_class", 1.0, "positive_class 1.0: must be a whole number"),
        ("positive_class", -1, "at least 0"),
        ("positive_class", None, "a softmax, and only it, has a positive_class"),
        ("batch_shape", "16", "batch_shape '16': must be a whole number"),
        ("batch_shape", 0, "at least 1"),
        ("bands", [0.5], "bands: must be a mapping"),
        ("inputs", ["a"], "inputs: must be a mapping"),
        ("schema", {"a": "number"}, "schema: must be a mapping"),
        ("text", print, "text: must be a mapping"),
        ("image", {"a": 1}, "image 'a': a int; give"),
        ("name", 5, "name 5: must be text"),
        ("name", "", "name '': must be text"),
        ("version", "", "version '': must be text"),
        ("tolerance", float("nan"), "tolerance nan: must be a number from 0 to 0.001"),
        ("tolerance", -1, "tolerance -1: must be"),
        ("tolerance", 0.5, "tolerance 0.5: must be"),
        ("tolerance", "1e-6", "tolerance '1e-6': must be"),
        ("signature", "nope", "no signature 'nope'; it has"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(tmp_path: Path, argument: str, value: Any, told: str) -> None:
    """It names the argument and what it takes; nothing is left behind."""
    with pytest.raises(PackError) as caught:
        packed(
            tmp_path / "bundle", **{argument: value} | ({"model": saved(tmp_path)} if argument == "signature" else {})
        )
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bundle").exists()


def saved(directory: Path) -> Path:
    """Return a SavedModel of it."""
    model().export(directory / "saved", verbose=False)
    return directory / "saved"


def test_a_band_that_is_no_number_is_told(tmp_path: Path) -> None:
    """As one of the bands."""
    with pytest.raises(BandsError, match="review"):
        packed(tmp_path / "bundle", bands={"review": float("nan")})


def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    """A file in the way, say; the line names the directory that was asked for."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PackError, match=r"file/bundle: cannot be written: .*"):
        packed(tmp_path / "file" / "bundle")
