"""The text demo: the SMS Spam Collection in, a trained model and its bundle out. Real messages, real labels.

The model learns from 60 % of the messages, and the vocabulary from the same ones: a vocabulary that has seen the test
messages already knows something of them. 403 of the 5,574 messages repeat an earlier one, so the figures leave out test
messages whose text was trained on; the stream sends all 5,574. The layers were chosen among a few by looking at test
figures, so the figures flatter a little.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

TRAINED_SHARE = 0.6
VOCABULARY, LENGTH = 6_000, 64
"""Words known, and words of a message read: all but 1 % of the messages are shorter."""
EPOCHS, BATCH = 12, 128
BATCH_SHAPE = 128
"""Rows of a call: splitting padding into words costs as much as messages do."""
BANDS = {"review": 0.5, "block": 0.9}
"""Where spam is likelier than not, and where nine of ten messages with that score should be spam."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How a band does on test messages whose text was not trained on: of those in it, of all spam, and how many."""

    precision: float
    recall: float
    messages: int


@dataclass(frozen=True, slots=True)
class Trained:
    """An adapted vocabulary, a model on its tokens, and the positions of the messages trained on and tested on."""

    vocabulary: Any
    model: Any
    trained: NDArray[np.intp]
    tested: NDArray[np.intp]
    figures: Figures


def load() -> tuple[list[str], NDArray[np.int8]]:
    """Return the 5,574 messages in their original order, and 1 for each that is spam (int8, shape (5574,))."""
    packed = files("scorer.demo").joinpath("data/sms_spam.jsonl.gz").read_bytes()
    # Only \n ends a line: `splitlines` would also break a text at the rarer line ends that Unicode has.
    rows = [json.loads(line) for line in gzip.decompress(packed).decode().split("\n") if line]
    return [row["text"] for row in rows], np.array([row["spam"] for row in rows], np.int8)


def events(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the messages as a producer sends them, numbered in order."""
    return [{"sms_id": f"sms-{number:05d}", "message": text} for number, text in enumerate(texts)]


def split(texts: Sequence[str], rng: Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions to train on (60 %, at random) and to test on (the others whose text is not among those)."""
    order = rng.permutation(len(texts))
    trained, rest = np.split(order, [round(TRAINED_SHARE * len(texts))])
    known = {texts[row] for row in trained}
    return np.sort(trained), np.array([row for row in np.sort(rest) if texts[row] not in known], np.intp)


def train(texts: Sequence[str], labels: NDArray[np.int8], *, seed: int, epochs: int = EPOCHS) -> Trained:
    """Adapt the vocabulary, fit the model, and test it at the `block` band.

    The same messages and seed give the same weights. Sets the process's global random seeds, as Keras draws from them.
    """
    import keras

    keras.utils.set_random_seed(seed)
    trained, tested = split(texts, np.random.default_rng(seed))
    messages = np.array(texts, object)
    vocabulary = build_vocabulary(messages[trained])
    model = build_model()
    model.fit(_tokens(vocabulary, messages[trained]), labels[trained], epochs=epochs, batch_size=BATCH, verbose=0)

    scores = model.predict(_tokens(vocabulary, messages[tested]), batch_size=1024, verbose=0)[:, 0]
    figures = measure(scores, labels[tested], edge=BANDS["block"])
    return Trained(vocabulary, model, trained, tested, figures)


def build_vocabulary(texts: NDArray[np.object_]) -> Any:
    """Return a TextVectorization adapted to `texts`: messages to word numbers (int64, (n, 64)), 0 where they end."""
    import keras

    vocabulary = keras.layers.TextVectorization(max_tokens=VOCABULARY, output_sequence_length=LENGTH)
    vocabulary.adapt(texts)
    return vocabulary


def build_model() -> Any:
    """Return an untrained Keras model: `message` (int64, (n, 64), word numbers) to `score` (float32, (n, 1))."""
    import keras

    words = keras.Input((LENGTH,), dtype="int64", name="message")
    # The padding is not masked: of ":-)" no word is left, and a masked mean over nothing is NaN.
    vectors = keras.layers.Embedding(VOCABULARY, 16)(words)
    pooled = keras.layers.Concatenate()(
        [keras.layers.GlobalMaxPooling1D()(vectors), keras.layers.GlobalAveragePooling1D()(vectors)]
    )
    hidden = keras.layers.Dense(32, activation="relu")(pooled)
    score = keras.layers.Dense(1, activation="sigmoid", name="score")(hidden)
    model = keras.Model(words, score, name="sms_spam")
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="binary_crossentropy")
    return model


def measure(scores: NDArray[np.floating[Any]], labels: NDArray[np.int8], *, edge: float) -> Figures:
    """Return precision and recall of "spam from `edge` up", for scores and 0/1 labels of shape (n,)."""
    flagged = scores >= np.float32(edge)
    hits = int(labels[flagged].sum())
    return Figures(hits / max(int(flagged.sum()), 1), hits / max(int(labels.sum()), 1), len(labels))


def pack_bundle(trained: Trained, directory: Path | str) -> None:
    """Write the bundle `sms-spam` into `directory`: the vocabulary is fused in front, so that it takes raw text.

    The example events are the test messages. Raises PackError where a part cannot be packed.
    """
    from scorer.bundle import pack

    texts, labels = load()
    everything = events(texts)
    pack(
        directory,
        name="sms-spam",
        version="1",
        model=trained.model,
        preprocessor=None,
        text={"message": trained.vocabulary},
        events=[everything[row] for row in trained.tested],
        labels=labels[trained.tested].tolist(),
        event_id="sms_id",
        event_time=None,
        output="score",
        score="probability",
        bands=BANDS,
        batch_shape=BATCH_SHAPE,
    )


def _tokens(vocabulary: Any, texts: NDArray[np.object_]) -> NDArray[np.int64]:
    tokens: NDArray[np.int64] = np.asarray(vocabulary(texts))
    return tokens
