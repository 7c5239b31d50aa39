"""Packing small models, and walking raw events through a bundle's rooms as the service does."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from bundles import BANDS
from numpy.typing import NDArray

from scorer.bundle import Bundle, pack
from scorer.bundle.golden import as_records
from scorer.records import Inputs, Rejection

SHAPE = 16


def packed(directory: Path, model: Any, events: Any, **changes: Any) -> Bundle:
    """Pack a model at a small batch shape; a preprocessor and all else are in `changes`."""
    arguments: dict[str, Any] = {"name": "m", "version": "1", "preprocessor": None, "bands": BANDS}
    return pack(directory, model=model, events=events, **arguments | {"batch_shape": SHAPE} | changes)


def encoded(events: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return events as producers write them: bytes are base64."""
    return [msgspec.json.encode(event) for event in events]


def inputs_of(bundle: Bundle, events: Sequence[Mapping[str, Any]]) -> Inputs:
    """Return what the model gets for events, none of which may be rejected."""
    columns, rejected = bundle.decode(as_records(encoded(events)))
    inputs, refused = bundle.transform(columns)
    assert [*rejected, *refused] == []
    return inputs


def scores_of(bundle: Bundle, events: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
    """Return the scores of events, none of which may be rejected."""
    scores, rejected = bundle.model(inputs_of(bundle, events))
    assert rejected == []
    return scores.score


def rejections_of(bundle: Bundle, values: Sequence[bytes]) -> list[Rejection]:
    """Return the rejections of raw values, by whichever room."""
    columns, undecoded = bundle.decode(as_records(values))
    inputs, unfit = bundle.transform(columns)
    _, unscored = bundle.model(inputs.without(unfit))
    return sorted([*undecoded, *unfit, *unscored], key=lambda rejection: rejection.row)


def close(found: NDArray[np.float32], expected: Any) -> bool:
    """Return whether scores are training's, within the tolerance that a bundle states."""
    wanted = np.asarray(expected, np.float64).reshape(found.shape)
    return bool(np.abs(found.astype(np.float64) - wanted).max() <= 1e-6)


def picture(seed: int, size: tuple[int, int] = (20, 24), mode: str = "RGB", kind: str = "PNG") -> bytes:
    """Return a picture of noise with a gradient, (height, width) large."""
    from PIL import Image

    draw = np.random.default_rng(seed)
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    ramp = np.linspace(0, 200, size[1])[None, :, None]
    pixels = (ramp + draw.integers(0, 55, (*size, channels))).astype(np.uint8)
    file = io.BytesIO()
    Image.frombytes(mode, (size[1], size[0]), pixels.tobytes()).save(file, kind)
    return file.getvalue()
