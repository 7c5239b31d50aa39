"""Spam: text. The messages are REAL, and so are their labels: the SMS Spam Collection, free for all purposes.

usage: python -m tests.examples.sms_spam [--out DIR]

Cite: Almeida, Gómez Hidalgo, Yamakami, *Contributions to the Study of SMS Spam Filtering: New Collection and Results*,
DocEng 2011. The data and their notice are in `scorer/demo/data`.

Messages that repeat an earlier one are left out, so that none is both trained and tested on. TensorFlow split the texts
into words in training, so TensorFlow does it in the stream: `pack` fuses the layer in front of the model, which then
takes the raw text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from scorer.bundle import load, pack
from scorer.demo import sms
from tests.examples import stream

WORDS, LENGTH = 5_000, 60


def main(out: Path) -> tuple[list[dict[str, Any]], Any, Any]:
    """Train, pack into `out`, score; return unseen events, which are spam, and what the trained model says."""
    texts, spam = sms.load()
    first = np.unique(texts, return_index=True)[1]
    rows = np.random.default_rng(1).permutation(first)
    known, recent, unseen = np.split(rows, [3_000, 4_000])
    messages = np.array(texts, object)
    events = [{"id": f"sms-{row}", "message": text} for row, text in enumerate(texts)]

    # Preprocessing and training, as one would do it without a scorer.
    keras.utils.set_random_seed(1)
    vocabulary = keras.layers.TextVectorization(WORDS, output_sequence_length=LENGTH)
    vocabulary.adapt(messages[known])
    tokens = keras.Input((LENGTH,), dtype="int64", name="message")
    vectors = keras.layers.Embedding(WORDS, 16)(tokens)
    pooled = [keras.layers.GlobalMaxPooling1D()(vectors), keras.layers.GlobalAveragePooling1D()(vectors)]
    hidden = keras.layers.Dense(32, activation="relu")(keras.layers.Concatenate()(pooled))
    model = keras.Model(tokens, keras.layers.Dense(1, activation="sigmoid", name="score")(hidden))
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy")
    model.fit(vocabulary(messages[known]), spam[known], epochs=10, batch_size=128, verbose=0)

    # Everything that the stream needs, in one call.
    pack(
        out,
        name="sms-spam",
        version="1",
        model=model,
        preprocessor=None,
        text={"message": vocabulary},
        events=[events[row] for row in recent],
        labels=spam[recent],
        event_id="id",
        bands={"review": 0.50, "block": 0.90},
        batch_shape=128,  # splitting padding into words costs as much as messages do
    )

    # What the scorer will do with it.
    stream.show(stream.decide(load(out), [events[row] for row in unseen]))
    scores = model.predict(vocabulary(messages[unseen]), verbose=0)[:, 0]
    return [events[row] for row in unseen], spam[unseen], scores


if __name__ == "__main__":
    main(stream.directory("sms-spam"))
