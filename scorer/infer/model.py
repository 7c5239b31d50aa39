"""A SavedModel, called through its serving signature at one batch shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.errors import BundleError, ModelFailedError, Reason, Stage
from scorer.infer.output import score_of, sound
from scorer.infer.runtime import tensorflow
from scorer.infer.spec import ModelSpec, TensorSpec
from scorer.records import Inputs, Rejection, Rows, Scores

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A batch's results while it is scored; `failed` are the rows whose call failed, with what TensorFlow said."""

    score: NDArray[np.float32]
    log_odds: NDArray[np.float32]
    failed: dict[int, str]

    def rejections(self, rows: Rows) -> Iterator[Rejection]:
        for at in np.flatnonzero(~sound(self.score, self.log_odds)).tolist():
            if at in self.failed:
                yield Rejection(int(rows[at]), Stage.INFER, Reason.MODEL_FAILED, "", self.failed[at])
            else:
                message = f"the model gave {self.score[at]!s}, which is no probability"
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

    def __call__(self, inputs: Inputs) -> tuple[Scores, list[Rejection]]:
        """Score a batch.

        Rejected are rows whose score is NaN or outside [0, 1], and rows that make the call itself fail: they are
        found by halving. Raises ModelFailedError where the model fails on its own padding row too.
        """
        count = len(inputs.rows)
        sheet = _Sheet(np.empty(count, np.float32), np.empty(count, np.float32), {})
        for start in range(0, count, self.spec.batch_shape):
            self._score(inputs.arrays, start, min(start + self.spec.batch_shape, count), sheet)
        return Scores(inputs.rows, sheet.score, sheet.log_odds), list(sheet.rejections(inputs.rows))

    def raw(self, arrays: Arrays) -> NDArray[Any]:
        """Return the signature's output for at most `batch_shape` rows, padded to the shape and cut back."""
        tf = tensorflow()
        count = len(next(iter(arrays.values())))
        tensors = {}
        for name, array in arrays.items():
            if count < self.spec.batch_shape:
                array = np.concatenate([array, self._padding[name][count:]])  # noqa: PLW2901
            tensors[name] = tf.constant(array, self._dtypes[name])
        output: NDArray[Any] = self._signature(**tensors)[self.spec.output].numpy()
        return output[:count]

    def _score(self, arrays: Arrays, start: int, stop: int, sheet: _Sheet) -> None:
        try:
            output = self.raw({name: array[start:stop] for name, array in arrays.items()})
        except tensorflow().errors.OpError as error:
            if stop - start > 1:  # halve the rows until the poison stands alone
                middle = (start + stop) // 2
                self._score(arrays, start, middle, sheet)
                self._score(arrays, middle, stop, sheet)
                return
            self._prove_alive(error)
            sheet.failed[start] = _said(error)
            sheet.score[start] = sheet.log_odds[start] = np.nan
            return
        sheet.score[start:stop], sheet.log_odds[start:stop] = score_of(output, self.spec)

    def _prove_alive(self, error: Exception) -> None:
        """Score the padding alone: a model that fails on its own golden row is broken, not the event."""
        try:
            self.raw(self._padding)
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
    """Load a SavedModel; raises BundleError where TensorFlow cannot."""
    tf = tensorflow()
    try:
        return tf.saved_model.load(str(directory))
    except (OSError, ValueError, tf.errors.OpError) as error:
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
