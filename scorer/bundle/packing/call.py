"""`pack`: from what training left to a verified bundle. The ML engineer's whole interface is this one call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from scorer.bundle import manifest
from scorer.bundle.opening import OTHERWISE, Bundle, load
from scorer.bundle.packing.arguments import mapping, score_kind, whole
from scorer.bundle.packing.arguments import text as text_of
from scorer.bundle.packing.arguments import tolerance as tolerance_of
from scorer.bundle.packing.calibrating import method_of
from scorer.bundle.packing.examples import Examples
from scorer.bundle.packing.steps import Packer
from scorer.bundle.trust import signing
from scorer.bundle.trust.admission import Admission
from scorer.config.bands import check_bands
from scorer.errors import BandsError, BundleError, PackError


def pack(
    directory: str | Path,
    *,
    name: str,
    version: str,
    model: Any,
    preprocessor: Any,
    events: Any,
    labels: Sequence[int] | None = None,
    event_id: str | None = None,
    event_time: str | None = None,
    columns: Sequence[str] | None = None,
    inputs: Mapping[str, str | Sequence[str]] | None = None,
    schema: Mapping[str, Mapping[str, Any]] | None = None,
    text: Mapping[str, Any] | None = None,
    image: Mapping[str, Mapping[str, Any]] | None = None,
    output: str | None = None,
    score: str = "probability",
    positive_class: int | None = None,
    error: Literal["mse", "mae"] = "mse",
    calibration: str | None = None,
    bands: Mapping[str, float],
    batch_shape: int | None = None,
    tolerance: float = 1e-6,
    signature: str = "serving_default",
    sign: str | Path | None = None,
) -> Bundle:
    """Pack a model, its preprocessing and its bands into `directory`, prove the bundle, and return it loaded.

    Args:
        directory: where the bundle goes; one that is there already is replaced, anything else is refused.
        name: the model's name, in every decision.
        version: its version, in every decision.
        model: a Keras model (subclassed: called at least once), a `.keras` file, or a SavedModel directory of
            TensorFlow 1 or 2.
        preprocessor: the *fitted* scikit-learn ColumnTransformer, Pipeline or transformer; None for a model that
            takes raw columns under the fields' names (or, with `columns`, as one matrix).
        events: raw example events, as they were before the preprocessor: dictionaries (a list or any iterable), a
            DataFrame whose column names are paths (`card.country`), a pyarrow Table, or a `tf.data.Dataset`, batched
            or not. Of an iterable or dataset the first 100,000 events are taken.
        labels: 0 or 1 per event (left out, those of a dataset of (features, label)); then every example is scored,
            and the figures are kept in the bundle: among them the expected calibration error, with the calibration
            and without.
        event_id: the field that identifies an event to people.
        event_time: the field that says when it happened (milliseconds since the epoch, or a timestamp).
        columns: the columns' names in order, for a preprocessor or model that was fitted on arrays, and for events
            that come as a matrix.
        inputs: model input → what feeds it: names of transformers of the ColumnTransformer, a field of text= or
            image=, or fields as they are. Inputs that are not named take the field of their name, or all features.
        schema: what the examples do not show: `{field: {"type": …, "nullable": …, "range": [low, high]}}`.
        text: field → the TextVectorization that prepared it in training; it is fused in front of the model.
        image: field of PNG or JPEG bytes (base64 in the stream) → how training prepared it: `library` ("tensorflow",
            fused in front of the model, or "pillow"), `resize` [height, width], `resample`, `scale`, `offset`,
            `channels` or `mode`, `dtype`, and `max_pixels`, up to which a picture is decoded at all.
        output: which named output is the score; may be left out where there is one.
        score: what the output means: `probability`, `logit`, `softmax`, `reconstruction_error` (of an autoencoder: the
            output is compared with the one float input of its shape; or it is one float an event, the error itself)
            or `anomaly` (one float an event of any range, more being more suspicious).
        positive_class: the column of a softmax that means fraud.
        error: how a reconstruction is compared with the input: mean squared (`mse`) or mean absolute (`mae`) error.
        calibration: how the model's output becomes the score: `none`, `platt`, `isotonic`, `temperature` (these three
            are fitted to the labels) or `quantile` (to the examples, no labels needed: the score is the share of them
            that was less suspicious). Where left out: `none`, but `quantile` for a reconstruction error or anomaly,
            which `none` would only clip to [0, 1]. It wants events that the model has not been trained on.
        bands: name → lowest score, ascending, inside (0, 1).
        batch_shape: rows of every model call; left out, the largest whose call costs little more than a small one's
            is measured. Rounded up to a multiple of eight, unless it is one.
        tolerance: the largest difference of a score from its packed one that another machine may show, up to 0.001.
        signature: the SavedModel's signature.
        sign: the file of a private Ed25519 key in PEM: `bundle.sig` is then its signature over `bundle.json`. If the
            key is encrypted, SCORER_SIGN_PASSPHRASE has the passphrase.

    Raises:
        PackError: for what cannot be packed, by name, with what is supported.
        BandsError: for bands out of order or outside (0, 1).
    """
    target = Path(directory)
    name, version, tolerance = text_of("name", name), text_of("version", version), tolerance_of(tolerance)
    positive_class, batch_shape = whole("positive_class", positive_class, 0), whole("batch_shape", batch_shape, 1)
    columns = None if columns is None else [str(column) for column in columns]
    schema, inputs = mapping("schema", schema, Mapping), mapping("inputs", inputs)
    text, image, bands = mapping("text", text), mapping("image", image), mapping("bands", bands)
    faults = check_bands(bands, f"pack {name}: bands", otherwise=OTHERWISE)
    if faults:
        raise BandsError("\n".join(faults))
    kind = score_kind(score, positive_class, error)
    binary = {*image, *(field for field, said in schema.items() if said.get("type") == "bytes")}
    examples = Examples.of(events, names=columns, binary=binary)
    labels = examples.labels if labels is None else labels
    method = method_of(calibration, kind, labelled=labels is not None)
    key = None if sign is None else signing.private_key(Path(sign), os.environ)
    with _room_for(target) as room:
        packer = Packer(room, examples, preprocessor, columns)
        packer.export(model, signature, text, image, inputs)
        packer.contract(output, kind, positive_class, error)
        packer.plan(event_id, event_time, schema)
        packer.shape(batch_shape)
        packer.calibrate(method, labels)
        packer.prove(events, bands)
        if labels is not None:
            packer.judge(labels, bands)
        packer.seal(name, version, bands, tolerance, key)
        load(room)
    packed = load(target)
    Admission.of(os.environ).remember(packed.sha256)
    return packed


@contextmanager
def _room_for(target: Path) -> Iterator[Path]:
    """Give an empty directory beside `target`, which takes its place at the end; what was there goes, if a bundle.

    Raises PackError for anything else there, where nothing can be written, and for what is wrong with the new bundle:
    its directory is gone then, so that the message names the target.
    """
    if target.exists() and not (target / manifest.NAME).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise PackError(f"{target}: exists and is no bundle; remove it, or pack somewhere else")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
            room = Path(scratch) / "bundle"
            room.mkdir()
            try:
                yield room
            except BundleError as error:
                raise PackError(str(error).replace(str(room), str(target))) from error
            if target.exists():
                target.rename(Path(scratch) / "former")
            room.rename(target)
    except OSError as error:
        raise PackError(f"{target}: cannot be written: {error.strerror or error}; pack somewhere else") from error
