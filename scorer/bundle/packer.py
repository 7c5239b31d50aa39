"""The steps of packing a bundle, in their order."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from scorer.bundle import golden, manifest
from scorer.bundle.compile import compile_preprocessor
from scorer.bundle.examples import Examples
from scorer.bundle.feeds import check_output, feed_for
from scorer.bundle.judging import measure
from scorer.bundle.load import OTHERWISE
from scorer.bundle.parity import Reference, check_independence
from scorer.decode import EventSchema, JsonDecoder
from scorer.errors import PackError
from scorer.infer import ModelSpec, ScoreKind
from scorer.infer.export import export
from scorer.infer.model import Model, input_specs, load_saved_model, output_specs, signature_of
from scorer.infer.runtime import fingerprint
from scorer.records import Bands, Inputs, Rejection
from scorer.transform import Matrix, Plan, Raw, Transform
from scorer.transform.plan import Node, Numbers

BATCH_SHAPE = 1024
"""Rows of every model call: a small network's call costs the same up to here, and a lone event pays 0.1 ms more."""
LIBRARIES = ("scorer", "tensorflow", "keras", "scikit-learn", "numpy")


class Packer:
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
            Reference(self._preprocessor, self._columns, self._examples).check(self._plan, events, rows, inputs)
        model = Model(self._room / "model", self._spec, inputs.arrays)
        scores, rejected = model(inputs)
        self._refuse(rejected, rows)
        check_independence(model, inputs, scores)
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
