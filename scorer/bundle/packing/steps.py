"""The steps of packing a bundle, in their order."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from scorer.bundle import golden, manifest
from scorer.bundle.distribution import References
from scorer.bundle.feeds import check_output, check_plan, reconstructed
from scorer.bundle.opening import OTHERWISE
from scorer.bundle.packing import choosing
from scorer.bundle.packing.calibrating import fit
from scorer.bundle.packing.compile import compile_preprocessor
from scorer.bundle.packing.examples import Examples
from scorer.bundle.packing.images import ImageOptions
from scorer.bundle.packing.judging import measure, truth_of
from scorer.bundle.packing.parity import Reference, check_independence
from scorer.bundle.packing.shape import batch_shape
from scorer.bundle.packing.sources import Sources
from scorer.bundle.packing.survey import Survey, Surveyor, spread
from scorer.bundle.trust import signing
from scorer.decode import EventSchema, JsonDecoder
from scorer.errors import PackError
from scorer.infer import ModelSpec, ScoreKind
from scorer.infer.export import Fronts, export
from scorer.infer.fusing import Fused
from scorer.infer.model import Model, input_specs, load_saved_model, output_specs, signature_of
from scorer.infer.output import Reading
from scorer.infer.runtime import fingerprint
from scorer.records import Bands, Inputs, Rejection, Rows
from scorer.transform import Plan, Raw, Transform

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PROBED = 64
"""Examples, evenly spread, that stand for all where a call's cost or an event's size is measured."""
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
        self._images: dict[str, ImageOptions]
        self._told: dict[str, list[str]]
        self._fused: Mapping[str, Fused]
        self._shares: dict[str, list[int]]
        self._signature: str
        self._figures: manifest.Figures | None = None
        self._reference: References | None = None
        self._survey: Survey
        self._spec: ModelSpec
        self._plan: Plan
        self._schema: EventSchema
        self._event_bytes: float
        self._scored: tuple[Rows, NDArray[np.float32]]
        self._rooms: choosing.Rooms

    def export(
        self, model: Any, signature: str, text: Mapping[str, Any], image: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> None:
        """Write the SavedModel, with TensorFlow's preprocessing of text and images in front."""
        self._images = {field: ImageOptions.of(field, given) for field, given in image.items()}
        self._told = {name: [told] if isinstance(told, str) else list(told) for name, told in inputs.items()}
        chains = {f: options.in_tensorflow() for f, options in self._images.items() if options.library == "tensorflow"}
        if missing := (text.keys() | image.keys()) - self._examples.columns.keys():
            raise PackError(
                f"events: no field {sorted(missing)} for text= or image=; there are {sorted(self._examples.columns)}"
            )
        targets = {told[0]: name for name, told in self._told.items() if len(told) == 1 and told[0] in {*text, *chains}}
        fronts = Fronts(text, chains, targets, self._examples.texts)
        exported = export(model, self._room / "model", signature=signature, fronts=fronts)
        self._signature, self._fused = exported.signature, exported.fused
        for name, own in exported.renamed.items():
            told = self._told.pop(own, [own] if own in self._examples.columns else None)
            self._told |= {} if told is None else {name: told}

    def contract(
        self, output: str | None, score: ScoreKind, positive_class: int | None, error: Literal["mse", "mae"]
    ) -> None:
        """Read the model's contract off its signature; its batch shape is a later step's."""
        directory = self._room / "model"
        function = signature_of(load_saved_model(directory), self._signature, directory)
        inputs, outputs = input_specs(function), output_specs(function)
        if output is None and len(outputs) > 1:
            raise PackError(f"model: it has the outputs {sorted(outputs)}; say which one is the score with output=…")
        chosen = output or next(iter(outputs))
        if chosen not in outputs:
            raise PackError(f"model: no output {chosen!r}; it has {sorted(outputs)}")
        compared = None
        if score is ScoreKind.RECONSTRUCTION_ERROR:
            compared = reconstructed(chosen, outputs[chosen], inputs)
        else:
            check_output(chosen, outputs[chosen], positive_class)
        by = None if compared is None else error
        self._spec = ModelSpec(self._signature, inputs, chosen, score, 1, positive_class, compared, by)

    def plan(self, event_id: str | None, event_time: str | None, schema: Mapping[str, Mapping[str, Any]]) -> None:
        """Compile the preprocessor, feed every input of the model, and infer the events' schema."""
        compiled = None
        if self._preprocessor is not None:
            compiled = compile_preprocessor(self._preprocessor, columns=self._columns)
        fused = {front.field for front in self._fused.values()}
        told = {name: names for name, names in self._told.items() if not fused.issuperset(names)}
        sources = Sources(
            self._examples.columns.keys(),
            set(self._examples.texts) - {event_id, event_time},
            compiled,
            self._columns,
            told,
            self._images,
            self._fused,
        )
        feeds = sources.feeds(self._spec.inputs)
        self._shares = sources.shares(feeds)
        self._plan = Plan(feeds)
        whole = {feed.column for feed in feeds.values() if isinstance(feed, Raw) and feed.dtype.startswith("int")}
        self._schema = self._examples.schema(
            Transform(self._plan).fields, integers=whole, event_id=event_id, event_time=event_time, given=schema
        )
        check_plan(feeds, self._spec.inputs, self._schema)

    def shape(self, given: int | None) -> None:
        """Settle the rows of every model call: those given, those the model is fixed to, or by measurement."""
        values, probe = self._inputs(choosing.spread(self._examples.count, PROBED))
        self._event_bytes = choosing.event_bytes(values, probe)
        rows = batch_shape(self._room / "model", self._spec, given, probe.arrays)
        self._spec = msgspec.structs.replace(self._spec, batch_shape=rows)
        model = Model(self._room / "model", self._spec, probe.arrays)
        self._rooms = choosing.Rooms(JsonDecoder(self._schema), Transform(self._plan), model)

    def prove(self, events: Any, bands: Mapping[str, float]) -> None:
        """Choose golden events, hold the plan against the preprocessor itself, and write what came out."""
        effective, rooms = Bands.of(bands, OTHERWISE), self._rooms
        near = choosing.near_edges(*self._scored, effective)
        cases = choosing.real(self._examples, self._schema, near, self._event_bytes)
        rows = [case.row for case in cases]
        _, inputs = self._inputs(rows)
        reference = None
        if self._preprocessor is not None:
            reference = Reference(self._preprocessor, self._columns, self._examples, self._shares)
            reference.check(self._plan, events, rows, inputs)
        made = choosing.made(self._examples, self._schema, self._event_bytes)
        found, _, _ = rooms(choosing.encoded(self._examples, self._schema, made))
        made = [made[row] for row in found.rows.tolist()]
        cases += reference.agreeing(self._plan, events, made, found) if reference else made
        values = choosing.encoded(self._examples, self._schema, cases)
        inputs, scores, rejected = rooms(values)
        self._refuse(rejected, [case.row for case in cases])
        check_independence(rooms.model, inputs, scores)
        golden.write(self._room, values, inputs, scores, effective, reasons=[case.why for case in cases])

    def calibrate(self, method: str, labels: Any) -> None:
        """Score the examples as served, fit the calibration to that, and keep what they look like as reference.

        With labels that is every example, and none may be rejected; else at most 100,000, of those that have a score.
        """
        count = self._examples.count
        truth = None if labels is None else truth_of(labels, count)
        rows = range(count) if truth is not None else spread(count).tolist()
        model = self._rooms.model
        surveyor = Surveyor(self._schema, self._plan, self._rooms.decode, self._rooms.transform, model)
        self._survey = surveyor(self._examples, rows)
        if truth is not None:
            self._refuse(self._survey.rejected, range(count))
        calibration = fit(method, self._survey.value, self._spec.score, truth)
        self._rooms = replace(self._rooms, model=model.calibrated(calibration))
        self._spec = self._rooms.model.spec
        scores, _ = Reading(self._spec.score, calibration)(self._survey.value)
        self._reference = self._survey.references(self._plan, scores)
        self._scored = self._survey.rows, scores

    def judge(self, labels: Any, bands: Mapping[str, float]) -> None:
        """Hold the scores of the examples against their labels, with the calibration and without."""
        before, _ = Reading(self._spec.score, None)(self._survey.value)
        after, _ = Reading(self._spec.score, self._spec.calibration)(self._survey.value)
        self._figures = measure(after, labels, bands, before=before)

    def _inputs(self, rows: Sequence[int]) -> tuple[list[bytes], Inputs]:
        """Return examples as the stream would bring them, and what the model would get for them."""
        values = self._examples.encode(self._schema, rows)
        columns, rejected = JsonDecoder(self._schema)(golden.as_records(values))
        self._refuse(rejected, rows)
        inputs, rejected = Transform(self._plan)(columns)
        self._refuse(rejected, rows)
        return values, inputs

    def seal(
        self, name: str, version: str, bands: Mapping[str, float], tolerance: float, key: Ed25519PrivateKey | None
    ) -> None:
        """Write the signature, if there is a key to sign with, and the manifest, last."""
        for path in sorted(self._room.rglob("*"), reverse=True):  # TensorFlow leaves an empty `assets`
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
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
            reference=self._reference,
        )
        text = manifest.encode(sealed)
        if key is not None:
            (self._room / signing.NAME).write_bytes(key.sign(text))
        (self._room / manifest.NAME).write_bytes(text)

    def _refuse(self, rejected: Sequence[Rejection], rows: Sequence[int]) -> None:
        if rejected:
            first = rejected[0]
            raise PackError(
                f"events: example {rows[first.row]} would be rejected as {first.reason}: {first.message} {first.path}; "
                f"{len(rejected)} of the {len(rows)} examples looked at would be"
            )
