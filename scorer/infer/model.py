"""A SavedModel, called through its serving signature at one batch shape."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.errors import BundleError, ModelFailedError, Reason, Stage
from scorer.infer.allowlist import check_saved_model
from scorer.infer.calibration import Calibration, Doubles
from scorer.infer.output import RAW, Reading, sound, value_of
from scorer.infer.runtime import tensorflow
from scorer.infer.spec import ModelSpec, ScoreKind, TensorSpec
from scorer.records import Inputs, Rejection, Rows, Scores

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A batch's results while it is scored; `failed` are the rows whose call failed, with what TensorFlow said.

    `wanted` is what a row's value ought to have been.
    """

    value: Doubles
    score: NDArray[np.float32]
    log_odds: NDArray[np.float32]
    wanted: str
    failed: dict[int, str]

    def rejections(self, rows: Rows) -> Iterator[Rejection]:
        for at in np.flatnonzero(~sound(self.score, self.log_odds)).tolist():
            if at in self.failed:
                yield Rejection(int(rows[at]), Stage.INFER, Reason.MODEL_FAILED, "", self.failed[at])
            else:
                message = f"the model gave {self.score[at]!s}, which is no {self.wanted}"
                yield Rejection(int(rows[at]), Stage.INFER, Reason.BAD_SCORE, "", message)


class Model:
    """Calls one signature: `model(inputs)` gives a score for every row that has one, and a rejection for the rest.

    Every call has `spec.batch_shape` rows, so nothing retraces and a score does not depend on who shared the batch:
    long batches are cut, short ones are filled up with `padding`, one known-good row.
    """

    def __init__(self, directory: Path, spec: ModelSpec, padding: Arrays) -> None:
        """Load the SavedModel and check it against its contract.

        `padding` holds one row an input. Raises BundleError where the directory does not load or its signature,
        inputs or output are not those of `spec`.
        """
        loaded = load_saved_model(directory)
        signature = signature_of(loaded, spec.signature, directory)
        found = input_specs(signature)
        if found != spec.inputs:
            raise BundleError(f"{directory}: signature {spec.signature!r} takes {found}, the bundle says {spec.inputs}")
        if spec.output not in signature.structured_outputs:
            raise BundleError(f"{directory}: signature {spec.signature!r} has no output {spec.output!r}")
        shape = signature.structured_outputs[spec.output].shape
        if shape.rank == 2 and shape[1] is not None and (spec.positive_class or 0) >= shape[1]:
            raise BundleError(f"{directory}: output {spec.output!r} has no column {spec.positive_class}")
        self.spec = spec
        self._loaded = loaded  # the signature borrows its variables
        self._signature = signature
        self._dtypes = {name: tensorflow().dtypes.as_dtype(tensor.dtype) for name, tensor in spec.inputs.items()}
        self._padding = {name: np.repeat(row[:1], spec.batch_shape, axis=0) for name, row in padding.items()}
        self._read = Reading(spec.score, spec.calibration)

    def __call__(self, inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        """Score a batch.

        Rejected are rows whose value is NaN, infinite or, for a probability, outside [0, 1], and rows that make the
        call itself fail: they are found by halving. Raises ModelFailedError where the model fails on its own padding
        row too.
        """
        sheet = self._sheet(inputs)
        return Scores(inputs.rows, sheet.score, sheet.log_odds), list(sheet.rejections(inputs.rows))

    def calibrated(self, calibration: Calibration | None) -> Model:
        """Return the same loaded model with another calibration."""
        model = copy.copy(self)
        model.spec = msgspec.structs.replace(self.spec, calibration=calibration)
        model._read = Reading(model.spec.score, calibration)
        return model

    def values(self, inputs: Inputs) -> tuple[Doubles, list[Rejection]]:
        """Return what the model itself says of a batch, before any calibration: float64, shape (n,); rejects alike."""
        sheet = self._sheet(inputs)
        return sheet.value, list(sheet.rejections(inputs.rows))

    def _sheet(self, inputs: Inputs) -> _Sheet:
        count = len(inputs.rows)
        wanted = "finite number" if self.spec.score in (*RAW, ScoreKind.LOGIT) else "probability"
        sheet = _Sheet(np.empty(count), np.empty(count, np.float32), np.empty(count, np.float32), wanted, {})
        for start in range(0, count, self.spec.batch_shape):
            self._score(inputs.arrays, start, min(start + self.spec.batch_shape, count), sheet)
        return sheet

    def _call(self, arrays: Arrays) -> Doubles:
        """Return the values of at most `batch_shape` rows, float64, followed by those of the padding.

        What is computed of them is computed at the one shape too: NumPy's loops have other ends than middles.
        """
        tf = tensorflow()
        count = len(next(iter(arrays.values())))
        if count < self.spec.batch_shape:
            arrays = {name: np.concatenate([array, self._padding[name][count:]]) for name, array in arrays.items()}
        tensors = {name: tf.constant(array, self._dtypes[name]) for name, array in arrays.items()}
        output = self._signature(**tensors)[self.spec.output].numpy()
        return value_of(output, self.spec, None if self.spec.reconstructs is None else arrays[self.spec.reconstructs])

    def _score(self, arrays: Arrays, start: int, stop: int, sheet: _Sheet) -> None:
        try:
            value = self._call({name: array[start:stop] for name, array in arrays.items()})
        except tensorflow().errors.OpError as error:
            if stop - start > 1:  # halve the rows until the poison stands alone
                middle = (start + stop) // 2
                self._score(arrays, start, middle, sheet)
                self._score(arrays, middle, stop, sheet)
                return
            self._prove_alive(error)
            sheet.failed[start] = _said(error)
            sheet.value[start] = sheet.score[start] = sheet.log_odds[start] = np.nan
            return
        filled, (score, log_odds) = stop - start, self._read(value)
        sheet.value[start:stop] = value[:filled]
        sheet.score[start:stop], sheet.log_odds[start:stop] = score[:filled], log_odds[:filled]

    def _prove_alive(self, error: Exception) -> None:
        """Score the padding alone: a model that fails on its own golden row is broken, not the event."""
        try:
            self._call(self._padding)
        except tensorflow().errors.OpError:
            raise ModelFailedError(
                f"the model fails on every event, its own golden row too: {error}; "
                "nothing was dead-lettered, check the bundle with `scorer check`"
            ) from error


def _said(error: Exception) -> str:
    """Return what TensorFlow says of a failed call, on one line: its first line is often a mere heading."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip() != "Graph execution error:")
    return text[:300]


def load_saved_model(directory: Path) -> Any:
    """Load a SavedModel; raises BundleError where it may do more than compute, or TensorFlow cannot load it."""
    check_saved_model(directory)
    tf = tensorflow()
    try:
        return tf.saved_model.load(str(directory))
    except Exception as error:  # a graph that contradicts itself trips TensorFlow anywhere
        raise BundleError(f"{directory}: not a SavedModel that TensorFlow {tf.__version__} loads: {error}") from error


def signature_of(loaded: Any, name: str, directory: Path) -> Any:
    """Return a SavedModel's signature; raises BundleError naming those that exist."""
    if name not in loaded.signatures:
        raise BundleError(f"{directory}: no signature {name!r}; it has {sorted(loaded.signatures) or 'none'}")
    return loaded.signatures[name]


def input_specs(signature: Any) -> dict[str, TensorSpec]:
    """Return a signature's inputs by name."""
    named = signature.structured_input_signature[1]
    return {name: _tensor_spec(tensor) for name, tensor in sorted(named.items())}


def output_specs(signature: Any) -> dict[str, TensorSpec]:
    """Return a signature's outputs by name."""
    return {name: _tensor_spec(tensor) for name, tensor in sorted(signature.structured_outputs.items())}


def _tensor_spec(tensor: Any) -> TensorSpec:
    if tensor.shape.rank is None:
        raise BundleError(f"the signature's tensor {tensor.name!r} has no known rank; export the model with shapes")
    return TensorSpec(tensor.dtype.name, tensor.shape.as_list())
