"""Digits: images. Scans of handwriting, REAL, 8 x 8 pixels in 17 greys; here each is sent as a PNG in the event.

usage: python -m tests.examples.digits [--out DIR]

Data: the test part of UCI's Optical Recognition of Handwritten Digits (Alpaydin, Kaynak, 1998; CC BY 4.0), as it comes
with scikit-learn (`load_digits`). What is looked for is an eight. Training read the images with Pillow, so the scorer
reads them with Pillow too: `image=` says how, and `pack` proves on the examples that both get the same pixels.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from scorer.bundle import load, pack
from tests.examples import stream

SIZE, EIGHT = 16, 8


def main(out: Path) -> tuple[list[dict[str, Any]], Any, Any]:
    """Train, pack into `out`, score; return unseen events, which are an eight, and what the trained model says."""
    scans = load_digits()
    files = [png(scan) for scan in scans.images]
    events = [{"id": f"scan-{n}", "digit": base64.b64encode(file).decode()} for n, file in enumerate(files)]
    known, recent, unseen = slice(0, 900), slice(900, 1_300), slice(1_300, None)

    # Preprocessing and training, as one would do it without a scorer: ten classes, of which one is asked for.
    pixels = np.stack([prepared(file) for file in files])
    keras.utils.set_random_seed(1)
    inputs = keras.Input((SIZE, SIZE, 1), name="digit")
    hidden = keras.layers.Conv2D(32, 3, activation="relu")(inputs)
    hidden = keras.layers.MaxPooling2D()(hidden)
    hidden = keras.layers.Conv2D(64, 3, activation="relu")(hidden)
    hidden = keras.layers.Flatten()(keras.layers.MaxPooling2D()(hidden))
    hidden = keras.layers.Dropout(0.4)(hidden)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="classes")(hidden))
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(pixels[known], scans.target[known], epochs=15, batch_size=64, verbose=0)

    # Everything that the stream needs, in one call.
    pack(
        out,
        name="digits",
        version="1",
        model=model,
        preprocessor=None,
        image={
            "digit": {"library": "pillow", "mode": "L", "resize": [SIZE, SIZE], "resample": "bicubic", "scale": 1 / 255}
        },
        events=events[recent],
        labels=scans.target[recent] == EIGHT,
        event_id="id",
        score="softmax",
        positive_class=EIGHT,
        bands={"eight": 0.50},
        batch_shape=128,
    )

    # What the scorer will do with it.
    stream.show(stream.decide(load(out), events[unseen]))
    scores = model.predict(pixels[unseen], verbose=0)[:, EIGHT]
    return events[unseen], scans.target[unseen] == EIGHT, scores


def png(scan: Any) -> bytes:
    """Return a scan (8 x 8 numbers, 0 to 16) as a PNG file."""
    file = io.BytesIO()
    Image.fromarray((scan / 16 * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def prepared(file: bytes) -> Any:
    """Return what training makes of a file: 16 x 16 greys from 0 to 1."""
    image = Image.open(io.BytesIO(file)).convert("L").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)[..., np.newaxis] / 255


if __name__ == "__main__":
    main(stream.directory("digits"))
