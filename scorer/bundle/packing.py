"""`pack`: from what training left to a verified bundle. The ML engineer's whole interface is this one call."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from scorer.bundle import golden, manifest
from scorer.bundle.compile import compile_preprocessor
from scorer.bundle.examples import Examples
from scorer.bundle.feeds import check_output, feed_for
from scorer.bundle.judging import measure
from scorer.bundle.load import OTHERWISE, Bundle, load
from scorer.config.bands import check_bands
from scorer.decode import EventSchema, JsonDecoder
from scorer.errors import BandsError, PackError
from scorer.infer import ModelSpec, ScoreKind
from scorer.infer.export import export
from scorer.infer.model import Model, input_specs, load_saved_model, output_specs, signature_of
from scorer.infer.runtime import fingerprint
from scorer.records import Bands, Inputs, Rejection, Scores
from scorer.transform import Matrix, Plan, Raw, Transform
from scorer.transform.plan import Node, Numbers

BATCH_SHAPE = 1024
"""Rows of every model call: a small network's call costs the same up to here, and a lone event pays 0.1 ms more."""
LIBRARIES = ("scorer", "tensorflow", "keras", "scikit-learn", "numpy")


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
    schema: Mapping[str, Mapping[str, Any]] | None = None,
    text: Mapping[str, Any] | None = None,
    output: str | None = None,
    score: str = "probability",
    positive_class: int | None = None,
    bands: Mapping[str, float],
    batch_shape: int | None = None,
    tolerance: float = 1e-6,
    signature: str = "serving_default",
) -> Bundle:
    """Pack a model, its preprocessing and its bands into `directory`, prove the bundle, and return it loaded.

    Args:
        directory: where the bundle goes; one that is there already is replaced, anything else is refused.
        name: the model's name, in every decision.
        version: its version, in every decision.
        model: a Keras model, a `.keras` file, or a SavedModel directory.
        preprocessor: the *fitted* scikit-learn ColumnTransformer, Pipeline or transformer; None for a model that
            takes raw columns under the fields' names (or, with `columns`, as one matrix).
        events: raw example events, as they were before the preprocessor: dictionaries, or a DataFrame whose column
            names are paths (`card.country`).
        labels: 0 or 1 per event; then every example is scored, and the figures are kept in the bundle.
        event_id: the field that identifies an event to people.
        event_time: the field that says when it happened (milliseconds since the epoch, or a timestamp).
        columns: the columns' names in order, for a preprocessor or model that was fitted on arrays.
        schema: what the examples do not show: `{field: {"type": …, "nullable": …, "range": [low, high]}}`.
        text: field → the TextVectorization that prepared it in training; it is fused in front of the model.
        output: which named output is the score; may be left out where there is one.
        score: what the output means: `probability`, `logit` or `softmax`.
        positive_class: the column of a softmax that means fraud.
        bands: name → lowest score, ascending, inside (0, 1).
        batch_shape: rows of every model call (1,024 where left out).
        tolerance: the largest difference of a score from its packed one that another machine may show.
        signature: the SavedModel's signature.

    Raises:
        PackError: for what cannot be packed, by name, with what is supported.
        BandsError: for bands out of order or outside (0, 1).
    """
    target = Path(directory)
    faults = check_bands(bands, f"pack {name}: bands", otherwise=OTHERWISE)
    if faults:
        raise BandsError("\n".join(faults))
    if target.exists() and not (target / manifest.NAME).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise PackError(f"{target}: exists and is no bundle; remove it, or pack somewhere else")
    if score not in list(ScoreKind) or (score == ScoreKind.SOFTMAX) != (positive_class is not None):
        raise PackError(f"score {score!r}: give {', '.join(ScoreKind)}; a softmax, and only it, has a positive_class")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        room = Path(scratch) / "bundle"
        room.mkdir()
        packer = _Packer(room, Examples.of(events), preprocessor, columns)
        packer.export(model, signature, text or {})
        packer.contract(output, ScoreKind(score), positive_class, batch_shape)
        packer.plan(event_id, event_time, schema or {})
        packer.prove(events, bands)
        if labels is not None:
            packer.judge(labels, bands)
        packer.seal(name, version, bands, tolerance)
        load(room)
        if target.exists():
            target.rename(Path(scratch) / "former")
        room.rename(target)
    return load(target)


class _Packer:
    """The steps of one packing, in their order; each leaves what the next one needs."""

    def __init__(
        self,
        room: Path,
        examples: Examples,
        preprocessor: Any,
        columns: Sequence[str] | None,
    ) -> None:
        self._room = room
        self._examples = examples
        self._preprocessor = preprocessor
        self._columns = columns
        self._text: frozenset[str]
        self._signature: str
        self._figures: manifest.Figures | None = None
        self._spec: ModelSpec
        self._plan: Plan
        self._schema: EventSchema

    def export(self, model: Any, signature: str, text: Mapping[str, Any]) -> None:
        """Write the SavedModel, with the text preprocessing in front."""
        self._text = frozenset(text)
        self._signature = export(model, self._room / "model", signature=signature, text=text)

    def contract(
        self, output: str | None, score: ScoreKind, positive_class: int | None, batch_shape: int | None
    ) -> None:
        """Read the model's contract off its signature."""
        directory = self._room / "model"
        function = signature_of(load_saved_model(directory), self._signature, directory)
        inputs, outputs = input_specs(function), output_specs(function)
        if output is None and len(outputs) > 1:
            raise PackError(f"model: it has the outputs {sorted(outputs)}; say which one is the score with output=…")
        chosen = output or next(iter(outputs))
        if chosen not in outputs:
            raise PackError(f"model: no output {chosen!r}; it has {sorted(outputs)}")
        check_output(chosen, outputs[chosen], positive_class)
        fixed = {tensor.shape[0] for tensor in inputs.values()} - {None}
        shape = batch_shape or (cast(int, fixed.pop()) if fixed else BATCH_SHAPE)
        if shape < 1 or fixed - {shape}:
            raise PackError(f"batch_shape {shape}: the model takes {sorted(map(str, fixed)) or 'at least 1'} rows")
        self._spec = ModelSpec(self._signature, inputs, chosen, score, shape, positive_class)

    def plan(self, event_id: str | None, event_time: str | None, schema: Mapping[str, Mapping[str, Any]]) -> None:
        """Compile the preprocessor, feed every input of the model, and infer the events' schema."""
        node = None if self._columns is None else Node(list(self._columns), [Numbers()], list(self._columns))
        if self._preprocessor is not None:
            node = compile_preprocessor(self._preprocessor, columns=self._columns).node
        fields = self._text if node else self._text | self._examples.columns.keys()
        feeds = {
            name: feed_for(name, tensor, node, raw=name in fields & self._examples.columns.keys())
            for name, tensor in self._spec.inputs.items()
        }
        if self._preprocessor is not None and not any(isinstance(feed, Matrix) for feed in feeds.values()):
            raise PackError(f"model: none of its inputs {sorted(feeds)} takes the preprocessor's features")
        self._plan = Plan(feeds)
        whole = {feed.column for feed in feeds.values() if isinstance(feed, Raw) and feed.dtype.startswith("int")}
        self._schema = self._examples.schema(
            Transform(self._plan).fields, integers=whole, event_id=event_id, event_time=event_time, given=schema
        )

    def prove(self, events: Any, bands: Mapping[str, float]) -> None:
        """Choose golden events, hold the plan against the preprocessor itself, and write what came out."""
        rows = self._examples.golden_rows(self._schema)
        values, inputs = self._inputs(rows)
        if self._preprocessor is not None:
            self._check_parity(events, rows, inputs)
        model = Model(self._room / "model", self._spec, inputs.arrays)
        scores, rejected = model(inputs)
        self._refuse(rejected, rows)
        _check_independence(model, inputs, scores)
        golden.write(self._room, values, inputs, scores, Bands.of(bands, OTHERWISE))

    def judge(self, labels: Sequence[int], bands: Mapping[str, float]) -> None:
        """Score every example, and hold the scores against the labels."""
        rows = range(self._examples.count)
        _, inputs = self._inputs(rows)
        scores, rejected = Model(self._room / "model", self._spec, inputs.arrays)(inputs)
        self._refuse(rejected, rows)
        self._figures = measure(scores.score, labels, bands)

    def _inputs(self, rows: Sequence[int]) -> tuple[list[bytes], Inputs]:
        """Return examples as the stream would bring them, and what the model would get for them."""
        values = self._examples.encode(self._schema, rows)
        columns, rejected = JsonDecoder(self._schema)(golden.as_records(values))
        self._refuse(rejected, rows)
        inputs, rejected = Transform(self._plan)(columns)
        self._refuse(rejected, rows)
        return values, inputs

    def seal(self, name: str, version: str, bands: Mapping[str, float], tolerance: float) -> None:
        """Write the manifest, last."""
        sealed = manifest.Manifest(
            format=manifest.FORMAT,
            name=name,
            version=str(version),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            libraries={library: importlib.metadata.version(library) for library in LIBRARIES},
            fingerprint=fingerprint(),
            events=self._schema,
            plan=self._plan,
            model=self._spec,
            bands={band: float(edge) for band, edge in bands.items()},
            tolerance=float(tolerance),
            files=manifest.entries(self._room),
            figures=self._figures,
        )
        (self._room / manifest.NAME).write_bytes(manifest.encode(sealed))

    def _refuse(self, rejected: Sequence[Rejection], rows: Sequence[int]) -> None:
        if rejected:
            first = rejected[0]
            raise PackError(
                f"events: example {rows[first.row]} would be rejected as {first.reason}: {first.message} {first.path}; "
                f"{len(rejected)} of the {len(rows)} examples looked at would be"
            )

    def _check_parity(self, events: Any, rows: Sequence[int], inputs: Inputs) -> None:
        expected = self._transformed(events, rows)
        for name, feed in self._plan.inputs.items():
            if not isinstance(feed, Matrix):
                continue
            found, wanted = inputs.arrays[name], expected.astype(feed.dtype)
            apart = golden.ulps(found, wanted)
            if apart.any():
                row, column = np.unravel_index(int(np.argmax(apart)), apart.shape)
                raise PackError(
                    f"parity: example {rows[int(row)]}, feature {feed.node.features[int(column)]!r}: "
                    f"the stream gives {found[row, column]!r}, the preprocessor {wanted[row, column]!r}. JSON carries "
                    "float64: if the examples are float32, pack them as float64, as the stream will bring them"
                )

    def _transformed(self, events: Any, rows: Sequence[int]) -> NDArray[Any]:
        """Return what the fitted preprocessor itself gives for some examples, as a dense matrix."""
        if hasattr(events, "iloc"):
            chosen = events.iloc[list(rows)]
            raw = chosen[list(self._columns)].to_numpy() if self._columns is not None else chosen
        else:
            fitted_on: Sequence[str] = getattr(self._preprocessor, "feature_names_in_", list(self._examples.columns))
            names = list(self._columns or fitted_on)
            cells = [[self._examples.columns[name][row] for name in names] for row in rows]
            raw = np.array(cells, object) if self._columns is not None else _frame(cells, names)
        result = self._preprocessor.transform(raw)
        return np.asarray(result.toarray() if hasattr(result, "toarray") else result)


def _check_independence(model: Model, inputs: Inputs, scores: Scores) -> None:
    """Score the golden events in other company: an event's score may depend on nothing but the event."""
    others = np.roll(np.arange(len(inputs.rows))[::-1], len(inputs.rows) // 3)
    for half in np.array_split(others, 2):
        again, _ = model(Inputs(inputs.rows[half], {name: array[half] for name, array in inputs.arrays.items()}))
        if again.score.tobytes() != scores.score[half].tobytes():
            raise PackError(
                "model: an event's score depends on the events that share its batch, so that no replay could repeat "
                "it; is a layer in training mode, or does the model average over the batch?"
            )


def _frame(cells: Sequence[Sequence[Any]], names: Sequence[str]) -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise PackError("a preprocessor of named columns needs pandas: pip install 'scorer[pack]'") from error
    return pd.DataFrame(cells, columns=list(names))
