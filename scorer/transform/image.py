"""Images: the bytes of a field → the array that training's own Pillow code made of them.

What costs time or memory is decided on the header, which is all that `Image.open` reads: the format (PNG or JPEG,
nothing else that Pillow could open) and the number of pixels. A picture that fails rejects its own event and no other.

Bits are those of plain Pillow code: `np.asarray(Image.open(file).convert(mode).resize((width, height), resample),
np.float32) / 255`. As in that code, the EXIF orientation is not applied, an animation is its first frame, and Pillow
decides what becomes of palettes, of transparency (dropped by "RGB" and "L"), of CMYK and of 16 bits a channel.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.errors import BundleError, Reason
from scorer.records import Columns
from scorer.transform.block import Faults, nulls
from scorer.transform.plan import Image, Pillow

MOST_PIXELS = 178_956_970
"""Pixels beyond which Pillow itself refuses an image (twice its MAX_IMAGE_PIXELS)."""
END_OF_JPEG = b"\xff\xd9"
MAX_MESSAGE = 300


def image_feeder(name: str, feed: Image) -> Callable[[Columns, Faults], NDArray[Any]]:
    """Return what makes the model input `name` of a batch: an array of shape (n, *feed.shape).

    Rejected are events whose image is null, no PNG or JPEG, broken, too large, or of another size than it must have.
    Raises BundleError where Pillow is not installed: it is imported for plans that need it, and only then.
    """
    try:
        import PIL.Image
    except ImportError as error:
        raise BundleError(
            f"feature plan: input {name!r} takes images of {feed.column!r}, and Pillow is not installed: "
            "pip install 'scorer[image]'"
        ) from error
    return partial(_images, feed, PIL.Image)


def _images(feed: Image, pillow: Any, columns: Columns, faults: Faults) -> NDArray[Any]:
    values = columns.values[feed.column]
    text = feed.dtype == "string"
    array = (
        np.full((len(values), *feed.shape), b"", object) if text else np.zeros((len(values), *feed.shape), feed.dtype)
    )
    null = nulls(values)
    faults.reject(null, Reason.MISSING_FIELD, feed.column, "is null, and the model needs an image")
    said: dict[int, str] = {}
    with warnings.catch_warnings(
        action="ignore"
    ):  # Pillow's: of large images, which have their limit here, and of EXIF
        for entry in np.flatnonzero(~null).tolist():
            try:
                array[entry] = _prepared(feed, pillow, values[entry])
            except MemoryError:
                raise
            except Exception as error:  # Pillow's parsers raise whatever the bytes lead them to
                said[entry] = " ".join(str(error).split())[:MAX_MESSAGE]
    bad = np.zeros(len(values), np.bool_)
    bad[list(said)] = True
    faults.reject(bad, Reason.BAD_IMAGE, feed.column, lambda entry: f"no image to score: {said[entry]}")
    return array


def _prepared(feed: Image, pillow: Any, data: bytes) -> Any:
    image = _opened(feed, pillow, data)
    if feed.chain is not None:
        return _pixels(feed.chain, pillow, image).reshape(feed.shape)
    image.verify()  # a PNG's checksums; TensorFlow fails the whole batch for a file that was cut
    if not data.startswith(b"\x89PNG") and END_OF_JPEG not in data:
        raise ValueError("the JPEG is cut short: it has no end")
    return data


def _opened(feed: Image, pillow: Any, data: bytes) -> Any:
    """Return the image, its header read and found to be within bounds, its pixels not yet decoded."""
    try:
        image = pillow.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except pillow.UnidentifiedImageError as error:
        raise ValueError(f"{len(data)} bytes that are no PNG or JPEG") from error
    width, height = image.size
    if width * height > feed.max_pixels:
        raise ValueError(f"{width} x {height} pixels, over the bundle's max_pixels of {feed.max_pixels}")
    if feed.size is not None and (height, width) != tuple(feed.size):
        raise ValueError(f"{width} x {height} pixels (width x height), the model takes {feed.size[1]} x {feed.size[0]}")
    return image


def _pixels(chain: Pillow, pillow: Any, image: Any) -> NDArray[Any]:
    """Return float32 or float64 of shape (height, width) or (height, width, channels); 0 to 255 before scaling."""
    image = image.convert(chain.mode)
    if chain.resize is not None:
        height, width = chain.resize
        image = image.resize((width, height), pillow.Resampling[chain.resample.upper()])
    pixels = np.asarray(image, chain.dtype)
    if chain.divisor != 1.0:
        pixels = pixels / chain.divisor  # NumPy keeps the array's dtype: float32 / 255.0 is float32
    if chain.factor != 1.0:
        pixels = pixels * chain.factor
    return pixels + chain.offset if chain.offset else pixels
