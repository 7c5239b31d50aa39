"""`image=`: what `pack` is told of a field of pictures → Pillow's chain in the plan, or TensorFlow's in the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from scorer.errors import PackError
from scorer.infer import TensorSpec
from scorer.infer.fusing import ImageChain
from scorer.transform import Image, Pillow
from scorer.transform.image import MOST_PIXELS

Side = Annotated[int, Meta(ge=1, le=16_384)]
MODES = {"L": 1, "RGB": 3, "RGBA": 4}
TF_METHODS = {
    name: name
    for name in ("nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
} | {"lanczos": "lanczos3"}
PILLOW_METHODS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
FLOATS = ("float16", "float32", "float64")


class ImageOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One field's pictures as training prepared them; what is left out is the library's default, or the model's.

    `resize` is (height, width); pixels are 0 to 255 until `scale`, then `offset` is added. `max_pixels` is the number
    of pixels up to which a picture is decoded at all.
    """

    library: Literal["tensorflow", "pillow"]
    resize: tuple[Side, Side] | None = None
    resample: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    channels: Literal[1, 3, 4] | None = None
    mode: Literal["L", "RGB", "RGBA"] | None = None
    max_pixels: Annotated[int, Meta(ge=1, le=MOST_PIXELS)] = 16_000_000
    dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        """Refuse, as msgspec does, what contradicts itself or is not the library's."""
        methods = TF_METHODS if self.library == "tensorflow" else PILLOW_METHODS
        if self.resample is not None and self.resample not in methods:
            raise ValueError(f"resample {self.resample!r}: {self.library} has {', '.join(methods)}")
        if self.resample is not None and self.resize is None:
            raise ValueError("resample without resize")
        if self.mode and self.channels and MODES[self.mode] != self.channels:
            raise ValueError(f"mode {self.mode} has {MODES[self.mode]} channels, not {self.channels}")
        if self.library == "tensorflow" and self.dtype != "float32":
            raise ValueError("a TensorFlow chain computes in float32")
        if not np.isfinite([self.scale, self.offset]).all():
            raise ValueError("scale and offset must be finite numbers")

    @classmethod
    def of(cls, field: str, given: Any) -> ImageOptions:
        """Read what `pack` was given for a field; raises PackError that says which key is wrong."""
        if not isinstance(given, Mapping):
            raise PackError(
                f"image {field!r}: a {type(given).__name__}; give {{'library': 'pillow' or 'tensorflow', …}}"
            )
        plain = {key: _plain(key, value) for key, value in given.items()}
        try:
            return msgspec.convert(plain, cls)
        except msgspec.ValidationError as error:
            raise PackError(f"image {field!r}: {error}") from error

    @property
    def depth(self) -> int | None:
        """The channels that were asked for, if any were."""
        return self.channels or (MODES[self.mode] if self.mode else None)

    @property
    def divisor(self) -> float:
        """Return the whole number whose reciprocal the scale is, else 1: training has x / 255, not x * (1 / 255)."""
        whole = round(1 / self.scale) if self.scale > 0 else 1
        return float(whole) if whole and 1 / whole == self.scale else 1.0

    @property
    def factor(self) -> float:
        """Return what is left to multiply by."""
        return self.scale if self.divisor == 1.0 else 1.0

    def in_tensorflow(self) -> ImageChain:
        """Return the chain to fuse in front of the model."""
        method = TF_METHODS[self.resample or "bilinear"]
        return ImageChain(self.depth, self.resize, method, self.divisor, self.factor, self.offset)

    def feed(self, column: str, name: str, tensor: TensorSpec, size: tuple[int, int] | None) -> Image:
        """Return what feeds the model input `name` of this tensor; `size` is what a chain inside the model must have.

        Raises PackError where the input cannot take what the chain gives.
        """
        if tensor.dtype == "string":
            if self.library == "pillow":
                raise PackError(
                    f"image {column!r}: model input {name!r} takes image bytes, Pillow's chain gives pixels"
                )
            return Image(column, "string", [] if len(tensor.shape) == 1 else [1], self.max_pixels, size)
        if tensor.dtype not in (*FLOATS, "uint8"):
            raise PackError(
                f"image {column!r}: model input {name!r} takes {tensor.dtype}, pixels are {', '.join(FLOATS)}"
            )
        pixels = self._pixels(column, name, tensor.shape[1:])
        flat = [int(np.prod(pixels))]
        shapes = {3: pixels, 2: pixels[:2] if pixels[2] == 1 else [], 1: flat}
        shape = shapes.get(len(tensor.shape) - 1, [])
        if not shape or any(want not in (None, given) for want, given in zip(tensor.shape[1:], shape, strict=True)):
            raise PackError(
                f"image {column!r}: its chain gives (height, width, channels) {pixels}, model input {name!r} takes "
                f"{tensor.shape[1:]} an image; change resize or channels"
            )
        size = None if self.resize else (pixels[0], pixels[1])
        return Image(column, tensor.dtype, shape, self.max_pixels, size, self._chain(pixels[2]))  # type: ignore[arg-type]

    def _pixels(self, column: str, name: str, shape: list[int | None]) -> list[int]:
        """Return height, width and channels: those told, else those that the model takes."""
        takes = [*shape, 1] if len(shape) == 2 else shape if len(shape) == 3 else [None, None, None]
        sides = list(self.resize or takes[:2])
        if None in sides:
            raise PackError(f"image {column!r}: model input {name!r} {shape} does not say a size; say resize: [h, w]")
        depth = self.depth or (takes[2] if takes[2] in MODES.values() else 3)
        return [int(side) for side in [*sides, depth] if side is not None]

    def _chain(self, channels: int) -> Pillow:
        mode: Any = next(mode for mode, depth in MODES.items() if depth == channels)
        resample: Any = self.resample or "bicubic"
        return Pillow(mode, self.resize, resample, self.divisor, self.factor, self.offset, self.dtype)


def _plain(key: str, value: Any) -> Any:
    """Return what JSON could say: NumPy's and TensorFlow's dtypes by name, one side as a square's."""
    if key == "dtype":
        return getattr(value, "name", None) or np.dtype(value).name
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if key == "resize" and isinstance(value, int):
        return [value, value]
    return float(value) if key in ("scale", "offset") and isinstance(value, int | float) else value
