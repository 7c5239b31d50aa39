"""`scorer pack`: from files that training left to a verified bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scorer.errors import BandsError, PackError

if TYPE_CHECKING:
    from scorer.bundle import Bundle


def pack(
    directory: Annotated[Path, typer.Argument(help="Where the bundle goes; one that is there is replaced.")],
    *,
    model: Annotated[Path, typer.Option(help="The model: a SavedModel directory or a .keras file.")],
    events: Annotated[Path, typer.Option(help="Raw example events: .jsonl, .jsonl.gz, .parquet or .csv.")],
    name: Annotated[str, typer.Option(help="The model's name, in every decision.")],
    version: Annotated[str, typer.Option(help="Its version, in every decision.")],
    band: Annotated[list[str], typer.Option(metavar="NAME=SCORE", help="A band and its lowest score, ascending.")],
    preprocessor: Annotated[Path | None, typer.Option(help="The fitted scikit-learn object, a .skops file.")] = None,
    labels: Annotated[str | None, typer.Option(help="Field of the events with 0 or 1, taken out of them.")] = None,
    event_id: Annotated[str | None, typer.Option(help="Field that identifies an event, such as card.id.")] = None,
    event_time: Annotated[str | None, typer.Option(help="Field that says when it happened.")] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Columns in order, for what was fitted on arrays.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="INPUT=TRANSFORMER,…", help="What feeds an input, for models with several."),
    ] = None,
    schema: Annotated[
        str | None, typer.Option(metavar="FILE|{…}", help="Fields' type, nullable and range, in JSON or YAML.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="FILE|{…}", help="Fields with images and their chain, in JSON or YAML.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="Which named output is the score.")] = None,
    score: Annotated[
        str | None,
        typer.Option(help="What it means: probability, logit, softmax, reconstruction_error or anomaly."),
    ] = None,
    positive_class: Annotated[int | None, typer.Option(help="The column of a softmax that is the score.")] = None,
    error: Annotated[str | None, typer.Option(help="Of a reconstruction: mse or mae.")] = None,
    calibration: Annotated[
        str | None, typer.Option(help="none, platt, isotonic, temperature or quantile; most need --labels.")
    ] = None,
    batch_shape: Annotated[int | None, typer.Option(help="Rows of every model call; measured if not given.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="How far a score may be off on another machine.")] = None,
    signature: Annotated[str | None, typer.Option(help="The SavedModel's signature.")] = None,
    sign: Annotated[Path | None, typer.Option(metavar="KEY.pem", help="Sign with this private Ed25519 key.")] = None,
) -> None:
    """Pack a model, its preprocessing and its bands into one verified bundle, and print its contract."""
    told = {
        "name": name,
        "version": version,
        "model": model,
        "bands": bands_of(band),
        "event_id": event_id,
        "event_time": event_time,
        "columns": columns and columns.split(","),
        "inputs": inputs and _feeding(inputs),
        "schema": schema and _mapping(schema, "--schema"),
        "image": image and _mapping(image, "--image"),
        "output": output,
        "score": score,
        "positive_class": positive_class,
        "error": error,
        "calibration": calibration,
        "batch_shape": batch_shape,
        "tolerance": tolerance,
        "signature": signature,
        "sign": sign,
    }
    # What is not said is left to `pack` itself, so that its defaults are written in one place.
    given = {option: value for option, value in told.items() if value is not None}
    _report(_packed(directory, given, preprocessor, events, labels))


def _packed(
    directory: Path, given: Mapping[str, Any], preprocessor: Path | None, events: Path, labels: str | None
) -> Bundle:
    from scorer.bundle.packing import reading
    from scorer.cli.waiting import waiting

    if not given["model"].exists():
        raise PackError(f"{given['model']}: no such model; give a SavedModel directory or a .keras file")
    with waiting(f"reading {preprocessor or events}") as step:
        fitted = None if preprocessor is None else reading.read_preprocessor(preprocessor)
        step(f"reading {events}")
        examples, truth = reading.read_events(events, given.get("schema")), None
        if labels is not None:
            examples, truth = reading.split_labels(examples, labels)
        step(f"packing and proving {directory}")
        from scorer import bundle

        return bundle.pack(directory, preprocessor=fitted, events=examples, labels=truth, **given)


def _report(packed: Bundle) -> None:
    from scorer.bundle import golden
    from scorer.cli import check, contract

    check.report(packed)
    reasons = golden.read(packed.path, packed.manifest.events.event_id, packed.path).reasons
    print(contract.line(contract.chosen_row(reasons)))
    print(f"packed: {packed.path}")


def bands_of(texts: Sequence[str]) -> dict[str, float]:
    """Return bands from texts such as `review=0.6`; raises BandsError for one that is none, or is named twice."""
    bands: dict[str, float] = {}
    for text in texts:
        name, _, edge = text.rpartition("=")
        if not name or name in bands:
            raise BandsError(f"--band {text!r}: is not one more NAME=SCORE; write --band review=0.6 --band block=0.92")
        try:
            bands[name] = float(edge)
        except ValueError as error:
            raise BandsError(f"--band {text!r}: {edge!r} is no number; write --band review=0.6") from error
    return bands


def _feeding(texts: Sequence[str]) -> dict[str, Any]:
    feeding: dict[str, Any] = {}
    for text in texts:
        name, _, transformers = text.partition("=")
        if not (name and transformers) or name in feeding:
            raise PackError(
                f"--input {text!r}: is not one more INPUT=TRANSFORMER,…; write --input model_input=scale,encode"
            )
        feeding[name] = transformers.split(",")
    return feeding


def _mapping(text: str, option: str) -> dict[str, Any]:
    from scorer.bundle.packing.reading import read_mapping

    return read_mapping(text, option)
