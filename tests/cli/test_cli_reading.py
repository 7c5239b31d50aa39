"""What `scorer pack` reads: events, labels, preprocessors and mappings from files, none of which can run code."""

from __future__ import annotations

import gzip
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from bundles import Trained
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, StandardScaler

from scorer.bundle.packing.examples import Examples
from scorer.bundle.packing.reading import read_events, read_mapping, read_preprocessor, split_labels
from scorer.errors import PackError

LINES = '{"amount": 1.5, "card": {"country": "NA"}}\n\n{"amount": null, "card": {"country": null}}\n'
WANTED = {"amount": [1.5, None], "card.country": ["NA", None]}


@pytest.mark.parametrize("kind", [".jsonl", ".ndjson", ".jsonl.gz", ".csv", ".csv.gz", ".parquet"])
def test_every_format_gives_the_same_events(tmp_path: Path, kind: str) -> None:
    """Objects, structs and dotted columns become paths; null is null, and Namibia is a country."""
    path = tmp_path / f"events{kind}"
    text = (LINES if "json" in kind else "amount,card.country\n1.5,NA\n,\n").encode()
    if kind == ".parquet":
        rows: list[dict[str, Any]] = [{"amount": 1.5, "card": {"country": "NA"}}, {"card": {"country": None}}]
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_bytes(gzip.compress(text) if kind.endswith(".gz") else text)

    found = Examples.of(read_events(path))

    assert {name: list(column) for name, column in found.columns.items()} == WANTED


def test_a_text_column_of_csv_keeps_its_zeros(tmp_path: Path) -> None:
    """Where the schema says that it is text: a postal code is no number."""
    path = tmp_path / "events.csv"
    path.write_text("zip\n00123\n5\n", encoding="utf-8")

    assert read_events(path, {"zip": {"type": "string"}})["zip"].tolist() == ["00123", "5"]
    assert read_events(path)["zip"].tolist() == [123, 5]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("events.txt", b"", "which format is it?"),
        ("events.parquet.gz", b"", "which format is it?"),
        ("nowhere.jsonl", None, "no such file"),
        ("events.jsonl", b"", "holds no events"),
        ("events.csv", b"", "cannot be read as .csv"),
        ("events.csv", b"a,b\n", "holds no events"),
        ("events.jsonl", b'{"a": 1}\n[1]\n', "events.jsonl:2: is no JSON object"),
        ("events.jsonl.gz", b"{}", "cannot be read as .jsonl: Not a gzipped file"),
        ("events.parquet", b"PAR1", "cannot be read as .parquet"),
    ],
)
def test_events_that_cannot_be_read_are_told_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    """With the file, and the line where there is one."""
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(PackError) as caught:
        read_events(tmp_path / name)

    assert str(caught.value).startswith(str(tmp_path / name))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_are_taken_out_of_the_events() -> None:
    """The model must not read what it is to find; a path reaches into objects, a DataFrame has it as a column."""
    events = [{"a": 1, "truth": {"fraud": True, "seen": 2}}, {"a": 2, "truth": {"fraud": 0.0, "seen": 3}}]
    dotted = [{"a": 1, "truth.fraud": "1"}]
    frame = pd.DataFrame({"a": [1, 2], "y": [0, 1]})

    assert split_labels(events, "truth.fraud") == (
        [{"a": 1, "truth": {"seen": 2}}, {"a": 2, "truth": {"seen": 3}}],
        [1, 0],
    )
    assert split_labels(dotted, "truth.fraud") == ([{"a": 1}], [1])
    rest, labels = split_labels(frame, "y")
    assert (list(rest.columns), labels) == (["a"], [0, 1])
    assert "fraud" in events[0]["truth"]  # type: ignore[operator]  # the caller's events are left as they were


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([{"y": 1}, {}], "event 1 has no field 'y'"),
        ([{"y": 1}, {"y": None}], "event 1 has None"),
        ([{"y": "fraud"}], "event 0 has 'fraud'"),
        ([{"y": 2}], "event 0 has 2"),
        (pd.DataFrame({"z": [1]}), "no field 'y' in the events; there are ['z']"),
    ],
)
def test_an_event_without_a_label_is_told(events: Any, said: str) -> None:
    """By its place: half a set of labels is none."""
    with pytest.raises(PackError) as caught:
        split_labels(events, "y")

    assert said in str(caught.value)


def test_a_preprocessor_comes_back_as_it_was_saved(trained: Trained, tmp_path: Path) -> None:
    """The features of the object from the file are those of the object that was fitted."""
    skops.io.dump(trained.preprocessor, tmp_path / "preprocessor.skops")

    found = read_preprocessor(tmp_path / "preprocessor.skops")

    assert np.array_equal(found.transform(trained.frame), trained.features(trained.frame))


@pytest.mark.parametrize(
    "fitted",
    [
        ColumnTransformer(
            [
                ("n", StandardScaler(), make_column_selector(dtype_include=np.number)),
                ("c", OneHotEncoder(dtype=np.float32), make_column_selector(dtype_exclude=np.number)),
            ]
        ),
        ColumnTransformer([("o", OrdinalEncoder(dtype=np.float32), ["b"])], remainder="passthrough"),
        ColumnTransformer(
            [("l", make_pipeline(FunctionTransformer(np.log1p), KBinsDiscretizer(2, quantile_method="linear")), ["a"])]
        ),
    ],
)
def test_what_skops_does_not_trust_by_itself_is_read_where_it_is_mere_data(fitted: Any, tmp_path: Path) -> None:
    """Column selectors and dtypes run nothing: a preprocessor with them needs no option."""
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": np.array(["x", "y", "x"], object)})
    skops.io.dump(fitted.fit(frame), tmp_path / "p.skops")

    assert type(read_preprocessor(tmp_path / "p.skops")) is type(fitted)


class Trap:
    """An object whose unpickling leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("name", ["p.pkl", "p.joblib", "p.skops"])
def test_a_pickle_is_refused_unopened(tmp_path: Path, name: str) -> None:
    """Whatever it is called: nothing in it is executed, and the message says what to do in training."""
    (tmp_path / name).write_bytes(pickle.dumps(Trap(tmp_path / "mark")))

    with pytest.raises(PackError, match=r"is a pickle.*was not opened.*skops\.io\.dump"):
        read_preprocessor(tmp_path / name)

    assert not (tmp_path / "mark").exists()


def _strange(values: Any) -> Any:
    return values


def test_a_function_of_ones_own_is_refused_by_its_name(tmp_path: Path) -> None:
    """The file names code that only some module has: it is not imported."""
    skops.io.dump(FunctionTransformer(_strange).fit([[1.0]]), tmp_path / "p.skops")

    with pytest.raises(PackError, match=r"holds .*_strange, which is not scikit-learn's.*was not loaded"):
        read_preprocessor(tmp_path / "p.skops")


@pytest.mark.parametrize("content", [None, b"", b"no zip", "zip"])
def test_what_is_no_preprocessor_is_told(tmp_path: Path, content: bytes | str | None) -> None:
    """Missing, empty, another format, another zip: one line with the file."""
    path = tmp_path / "p.skops"
    if content == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a", "b")
    elif isinstance(content, bytes):
        path.write_bytes(content)

    with pytest.raises(PackError) as caught:
        read_preprocessor(path)

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ['{"a": {"range": [0, 1]}}', "{a: {range: [0, 1]}}", "s.json", "s.yaml"])
def test_a_mapping_is_json_or_yaml_in_place_or_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """However it is written, it says the same."""
    monkeypatch.chdir(tmp_path)
    Path("s.json").write_text('{"a": {"range": [0, 1]}}', encoding="utf-8")
    Path("s.yaml").write_text("a:\n  range: [0, 1]\n", encoding="utf-8")

    assert read_mapping(text, "--schema") == {"a": {"range": [0, 1]}}


@pytest.mark.parametrize("text", ["{a: 1", "nowhere.json", "list.json"])
def test_what_is_no_mapping_is_told_with_its_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """One line with the option's name."""
    monkeypatch.chdir(tmp_path)
    Path("list.json").write_text("[1]", encoding="utf-8")

    with pytest.raises(PackError, match=r"^--schema "):
        read_mapping(text, "--schema")
