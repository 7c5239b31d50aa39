"""Examples from anywhere: whatever training has its events in gives the same columns, and the same bundle."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bundle_walks import close, packed, scores_of

from scorer.bundle.packing.examples import Examples
from scorer.bundle.packing.gathering import MOST_EVENTS
from scorer.decode import EventSchema, FieldType
from scorer.errors import PackError
from scorer.infer.runtime import tensorflow

COUNT = 37
NAMES = ["amount", "hour"]


def events() -> list[dict[str, Any]]:
    return [
        {"amount": at * 1.25, "hour": at % 24, "online": at % 3 == 0, "card": {"country": ["FI", "ÅX", ""][at % 3]}}
        for at in range(COUNT)
    ]


def flat() -> dict[str, list[Any]]:
    return {
        "amount": [event["amount"] for event in events()],
        "hour": [event["hour"] for event in events()],
        "online": [event["online"] for event in events()],
        "card.country": [event["card"]["country"] for event in events()],
    }


def dataset(batch: int | None = None, **changes: Any) -> Any:
    made = tensorflow().data.Dataset.from_tensor_slices(flat() | changes)
    return made if batch is None else made.batch(batch)


SOURCES = {
    "dictionaries": events,
    "dotted dictionaries": lambda: [dict(zip(flat(), row, strict=True)) for row in zip(*flat().values(), strict=True)],
    "generator": lambda: iter(events()),
    "frame": lambda: pd.DataFrame(flat()),
    "arrow table": lambda: pa.table(flat()),
    "arrow table of structs": lambda: pa.Table.from_pylist(events()),
    "record batch": lambda: pa.RecordBatch.from_pylist(events()),
    "dataset": dataset,
    "batched dataset": lambda: dataset(10),
    "nested dataset": lambda: tensorflow().data.Dataset.from_tensor_slices(
        {name: flat()[name] for name in ("amount", "hour", "online")} | {"card": {"country": flat()["card.country"]}}
    ),
    "columns of one": lambda: (
        tensorflow()
        .data.Dataset.from_tensor_slices({name: [[value] for value in values] for name, values in flat().items()})
        .batch(8)
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_columns_are_the_same_from_anywhere(source: str) -> None:
    """Paths, values and their types; a dataset's last batch may be short."""
    found = Examples.of(SOURCES[source]())

    assert found.count == COUNT
    columns = {name: list(values) for name, values in found.columns.items()}
    if "dataset" in source or source == "columns of one":
        columns["amount"] = [round(value, 6) for value in columns["amount"]]
    assert columns == flat()
    assert [type(columns[name][1]) for name in flat()] == [float, int, bool, str]


@pytest.mark.parametrize("batch", [None, 1, 8, COUNT])
def test_labels_of_a_dataset_come_with_it(batch: int | None) -> None:
    """(features, label), or (features, label, weight): 0 or 1 an event, in whichever dtype and shape."""
    tf, truth = tensorflow(), [at % 2 for at in range(COUNT)]
    for labels in (np.array(truth), np.array(truth, np.float32)[:, None], np.array(truth, bool)):
        made = tf.data.Dataset.from_tensor_slices((flat(), labels, np.ones(COUNT)))

        found = Examples.of(made if batch is None else made.batch(batch))

        assert found.labels == truth
        assert found.count == COUNT


def test_targets_that_are_no_labels_are_left_alone() -> None:
    """An autoencoder's dataset has its own features for a target."""
    x = np.random.default_rng(1).normal(size=(COUNT, 2))
    made = tensorflow().data.Dataset.from_tensor_slices((x, x)).batch(10)

    assert Examples.of(made, names=NAMES).labels is None


@pytest.mark.parametrize("batch", [None, 10])
def test_a_datasets_matrix_takes_names_from_columns(batch: int | None) -> None:
    """Rows of two are two fields."""
    x = np.arange(COUNT * 2.0).reshape(COUNT, 2)
    made = tensorflow().data.Dataset.from_tensor_slices(x)

    for source in (made if batch is None else made.batch(batch), x):
        found = Examples.of(source, names=NAMES)
        assert {name: list(values) for name, values in found.columns.items()} == dict(
            zip(NAMES, x.T.tolist(), strict=True)
        )


@pytest.mark.parametrize("batch", [None, 1000])
def test_an_endless_dataset_is_read_so_far_and_no_further(batch: int | None) -> None:
    """`repeat()` without an end must not hang; neither must a generator."""
    made = tensorflow().data.Dataset.from_tensor_slices({"x": np.arange(999.0)}).repeat()
    sources = [made.batch(batch)] if batch else [({"x": 1.0} for _ in itertools.count())]

    for source in sources:
        assert Examples.of(source).count == MOST_EVENTS


@pytest.mark.parametrize("unbatched", [False, True])
def test_a_dataset_packs_and_scores_as_the_model_does(unbatched: bool, tmp_path: Path) -> None:
    """Its labels give the bundle its figures, though none were passed."""
    import keras

    tf = tensorflow()
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    x = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
    made = tf.data.Dataset.from_tensor_slices((x, (x[:, 0] > 0).astype(int)))

    bundle = packed(tmp_path / "b", model, made if unbatched else made.batch(16), columns=NAMES)

    rows = [dict(zip(NAMES, row, strict=True)) for row in x.astype(np.float64).tolist()]
    assert close(scores_of(bundle, rows), model(x))
    assert bundle.manifest.figures is not None
    assert bundle.manifest.figures.events == 60


@pytest.mark.parametrize("batch", [None, 10])
def test_text_that_tensorflow_holds_as_bytes_is_text_and_pictures_stay_bytes(batch: int | None) -> None:
    """What is UTF-8 throughout a column is text; bytes keep the zeros at their end."""
    made = dataset(photo=[b"\x89PNG" + bytes([at, 0]) for at in range(COUNT)])

    found = Examples.of(made if batch is None else made.batch(batch))

    assert found.columns["card.country"][1] == "ÅX"
    assert found.columns["photo"][1] == b"\x89PNG\x01\x00"


PLAIN: dict[str, tuple[Any, Any]] = {
    "decimal": (Decimal("12.34"), 12.34),
    "decimal that is no number": (Decimal("NaN"), None),
    "numpy float": (np.float32(0.5), 0.5),
    "numpy int": (np.int64(7), 7),
    "numpy bool": (np.bool_(True), True),
    "numpy text": (np.str_("x"), "x"),
    "numpy array of none": (np.array(3.5), 3.5),
    "date": (dt.date(2024, 2, 29), dt.datetime(2024, 2, 29)),
    "datetime": (dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC), dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)),
    "numpy datetime": (np.datetime64("2024-02-29T12:00:00.000000000"), dt.datetime(2024, 2, 29, 12)),
    "numpy no time": (np.datetime64("NaT"), None),
    "pandas timestamp": (pd.Timestamp("2024-02-29 12:00:00.000000001"), dt.datetime(2024, 2, 29, 12)),
    "pandas no time": (pd.NaT, None),
    "pandas null": (pd.NA, None),
    "nan": (float("nan"), None),
    "bytes": (b"\x00\xff", b"\x00\xff"),
    "bytearray": (bytearray(b"ab"), b"ab"),
    "memoryview": (memoryview(b"ab"), b"ab"),
    "uuid": (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_values_become_what_json_would_say(case: str) -> None:
    """Scalars of NumPy and pandas, decimals and dates: plain values, with None for what is missing."""
    given, expected = PLAIN[case]

    (found,) = Examples.of([{"x": given}]).columns["x"]

    assert found == expected
    assert type(found) is type(expected)


def schema_of(examples: Examples, **given: Any) -> EventSchema:
    return examples.schema(list(examples.columns), integers=set(), event_id=None, event_time=None, given=given)


def test_bytes_are_base64_in_the_stream() -> None:
    """Examples may have either: bytes, or base64 text where it is said that the field holds bytes."""
    data = bytes(range(256))
    text = base64.b64encode(data).decode()

    raw = Examples.of([{"blob": data}])
    told = Examples.of([{"blob": text}], binary={"blob"})

    for examples in (raw, told):
        schema = schema_of(examples)
        assert schema.fields["blob"].type is FieldType.BYTES
        assert examples.encode(schema, [0]) == [b'{"blob":"' + text.encode() + b'"}']
    assert schema_of(told, blob={"type": "bytes", "nullable": True}).fields["blob"].nullable


REFUSED: dict[str, tuple[Any, str]] = {
    "a number": (7, "a int; give example events as dictionaries or as a DataFrame"),
    "text": ("events.json", "a str"),
    "a dictionary of columns": (flat(), "a dict"),
    "a list of lists": ([[1.0, 2.0]], "a list"),
    "nothing": ([], "at least one example"),
    "an empty dataset": (lambda: dataset().take(0), "at least one example"),
    "a matrix without names": (lambda: tensorflow().data.Dataset.from_tensor_slices(np.ones((3, 2))), "columns="),
    "a field of vectors": (lambda: dataset(vector=np.ones((COUNT, 2))), r"'vector' has shape \[2\]"),
    "a batch of vectors": (lambda: dataset(8, vector=np.ones((COUNT, 2))), r"'vector' has shape \[8, 2\]"),
    "ragged tensors": (
        lambda: tensorflow().data.Dataset.from_tensors({"x": tensorflow().ragged.constant([[1.0], [2.0, 3.0]])}),
        "dense|shape",
    ),
    "no base64": ([{"blob": "no base64!"}], "'blob' holds bytes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_holds_no_events_is_refused_by_name(case: str) -> None:
    """The message says what came, and what is taken."""
    given, said = REFUSED[case]

    with pytest.raises(PackError, match=said):
        Examples.of(given() if callable(given) else given, binary={"blob"})


def test_a_matrix_of_another_width_is_refused() -> None:
    """Its columns cannot be named."""
    with pytest.raises(PackError, match="columns names 2"):
        Examples.of(np.ones((4, 3)), names=NAMES)
