"""Pictures in room 2: Pillow's own bits, and nothing decoded that the header does not allow."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from scorer.errors import Reason
from scorer.records import Columns, Inputs, Rejection
from scorer.transform import Image, Pillow, Plan, Transform

SIDE = 8


def picture(seed: int, mode: str = "RGB", kind: str = "PNG", size: tuple[int, int] = (20, 24)) -> bytes:
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)
    file = io.BytesIO()
    PillowImage.frombytes(mode, (size[1], size[0]), pixels.tobytes()).save(file, kind)
    return file.getvalue()


def transformed(feed: Image, *data: bytes | None) -> tuple[Inputs, list[Rejection]]:
    values: NDArray[Any] = np.empty(len(data), object)
    values[:] = data
    columns = Columns(np.arange(len(data)), {"photo": values}, [], np.zeros(len(data), np.int64))
    return Transform(Plan({"x": feed}))(columns)


def feed_of(mode: Any = "RGB", resample: Any = "bicubic", dtype: Any = "float32", **limits: Any) -> Image:
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    chain = Pillow(mode, (SIDE, SIDE), resample, divisor=255.0)
    return Image("photo", dtype, [SIDE, SIDE, channels], **{"max_pixels": 10_000, "chain": chain} | limits)


@pytest.mark.parametrize("resample", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_every_chain_is_bit_equal_to_plain_pillow(resample: str, mode: str) -> None:
    """Every filter and mode, over grey, colour, transparent and CMYK pictures alike."""
    data = [picture(at, kind) for at, kind in enumerate(["L", "LA", "RGB", "RGBA"])]
    data += [picture(5, "CMYK", "JPEG"), picture(6, "L", "JPEG"), picture(7, "RGB", "JPEG")]

    inputs, rejected = transformed(feed_of(mode, resample), *data)

    by = PillowImage.Resampling[resample.upper()]
    plain = [PillowImage.open(io.BytesIO(one)).convert(mode).resize((SIDE, SIDE), by) for one in data]
    expected = np.stack([np.asarray(image, np.float32) / 255 for image in plain])
    assert rejected == []
    assert inputs.arrays["x"].tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_pixels_come_in_the_models_dtype(dtype: str) -> None:
    """Computed in float32, then cast; bytes are the pixels themselves where nothing is scaled."""
    chain = Pillow("RGB", None, "bicubic")

    inputs, _ = transformed(feed_of(dtype=dtype, chain=chain), picture(1, size=(SIDE, SIDE)))

    pixels = np.asarray(PillowImage.open(io.BytesIO(picture(1, size=(SIDE, SIDE)))))
    assert inputs.arrays["x"].dtype == dtype
    assert np.array_equal(inputs.arrays["x"][0], pixels)


def test_height_comes_before_width() -> None:
    """`resize` is (height, width), as arrays are; Pillow itself says (width, height)."""
    chain = Pillow("L", (4, 9), "nearest")

    inputs, _ = transformed(Image("photo", "float32", [4, 9], 10_000, None, chain), picture(2, "L"))

    expected = PillowImage.open(io.BytesIO(picture(2, "L"))).resize((9, 4), PillowImage.Resampling.NEAREST)
    assert np.array_equal(inputs.arrays["x"][0], np.asarray(expected, np.float32))


def claiming(width: int, height: int) -> bytes:
    """Return a PNG of a hundred bytes that claims to be so large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(101, 100), (20_000, 10_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.parametrize("chain", [feed_of().chain, None])
def test_too_many_pixels_are_refused_by_the_header(
    size: tuple[int, int], chain: Pillow | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is decoded: Pillow's loading of pixels is never reached."""
    feed = feed_of(chain=chain, **({} if chain else {"dtype": "string"}))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))

    _, rejected = transformed(feed, claiming(*size))

    assert [(r.row, r.reason) for r in rejected] == [(0, Reason.BAD_IMAGE)]
    assert "pixels" in rejected[0].message


def test_a_limit_is_the_largest_that_gets_through() -> None:
    """As many pixels as `max_pixels` are decoded, one more row is not."""
    feed = feed_of(max_pixels=480)

    _, rejected = transformed(feed, picture(1, size=(20, 24)), picture(1, size=(21, 24)))

    assert [r.row for r in rejected] == [1]


def test_a_null_is_a_missing_field() -> None:
    """Its neighbours are prepared."""
    inputs, rejected = transformed(feed_of(), picture(1), None, picture(2))

    assert [(r.row, r.reason, r.path) for r in rejected] == [(1, Reason.MISSING_FIELD, "$.photo")]
    assert inputs.without(rejected).arrays["x"].shape == (2, SIDE, SIDE, 3)


def test_a_message_is_short_whatever_the_bytes() -> None:
    """It goes into a header of the dead letter."""
    _, (rejected,) = transformed(feed_of(), b"\x89PNG\r\n\x1a\n" + b"x" * 5000)

    assert len(rejected.message) <= 330
    assert "\n" not in rejected.message


def test_pillow_is_imported_for_plans_of_images_only() -> None:
    """Serving anything else does without it."""
    program = "import sys, scorer.transform, scorer.bundle.opening; sys.exit('PIL' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
