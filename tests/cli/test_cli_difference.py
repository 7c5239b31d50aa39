"""What changed between two manifests, how features are told, and how far distributions are apart."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from cli_world import manifest, plan, references

from scorer.bundle.diff.difference import Change, Shift, difference
from scorer.bundle.diff.stability import FLOOR, psi
from scorer.bundle.distribution import Categorical, Numeric
from scorer.bundle.lineage import features
from scorer.bundle.manifest import Figures, File
from scorer.decode.schema import EventSchema, Field, FieldType
from scorer.transform.plan import (
    Add,
    Apply,
    Bin,
    Branch,
    Clip,
    Divide,
    Fork,
    Image,
    Impute,
    Lookup,
    Matrix,
    Multiply,
    Node,
    Normalize,
    Numbers,
    OneHot,
    Ordinal,
    Pillow,
    Plan,
    Power,
    Products,
    Quantile,
    Raw,
    Step,
    Subtract,
    Target,
    Unsign,
)

AB = Lookup(["a", "b"], [0, 1], None, None)
STEPS: list[tuple[Step, list[str]]] = [
    (Numbers(), ["x", "y"]),
    (Unsign(), ["x", "y"]),
    (Add([1.0, 2.5]), ["x, plus 1", "y, plus 2.5"]),
    (Subtract([1.0, -2.0]), ["x, minus 1", "y, minus -2"]),
    (Multiply([1.0, 1e9]), ["x, times 1", "y, times 1e+09"]),
    (Divide([3.0, "inf"]), ["x, divided by 3", "y, divided by inf"]),
    (Clip(0.0, 1.0), ["x, clip (low 0, high 1)", "y, clip (low 0, high 1)"]),
    (Apply("log1p"), ["x, log1p", "y, log1p"]),
    (Normalize("l2", "rows"), ["x, divided by its row's l2 norm", "y, divided by its row's l2 norm"]),
    (Products([[], [1], [0, 1], [0, 0]]), ["a constant, 1", "y", "x and y, multiplied", "x, squared"]),
    (Impute(None, [1.5, None], [1]), ["x, null → 1.5", "y, is null"]),
    (Fork([Branch([1], [Apply("sqrt")]), Branch([0], [])]), ["y, sqrt", "x"]),
    (OneHot([AB, Lookup(["c"], [0], 0, -1)], [2, 1]), ["x, is 'a'", "x, is 'b'", "y, is 'c' or null"]),
    (
        Ordinal([AB, AB], [[0.0, 1.0], [0.0, 1.0]]),
        ["x, the code of its category, 2 known", "y, the code of its category, 2 known"],
    ),
    (
        Target([AB, AB], [[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6]]]),
        [f"{name}, the code of its category, 2 known" for name in "xxy"],
    ),
    (
        Power("yeo-johnson", [0.5, -1.0]),
        [f"{name}, power (method yeo-johnson, lambdas {value})" for name, value in (("x", "0.5"), ("y", "-1"))],
    ),
    (Bin([[1.0, 2.0, 3.0], [0.5]]), ["x, bin (edges 3 values)", "y, bin (edges 0.5)"]),
    (
        Quantile([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], [0.0, 0.5, 1.0], normal=False),
        [f"{name}, quantile (quantiles 3 values, references 3 values)" for name in "xy"],
    ),
]


@pytest.mark.parametrize(("step", "words"), STEPS, ids=[type(step).__name__ for step, _ in STEPS])
def test_every_step_of_a_plan_is_told_in_words(step: Step, words: list[str]) -> None:
    """Which fields a feature comes from, and what is done to them."""
    node = Node(["x", "y"], [step], [f"f{at}" for at in range(len(words))])

    assert [one.words() for one in features(Plan({"in": Matrix(node, "float32")}))] == words


def test_no_step_is_left_out() -> None:
    """A new kind of step is told before it is released."""
    assert {type(step) for step, _ in STEPS} == set(get_args(Step))


def test_raw_columns_and_images_are_features() -> None:
    """A model that prepares its own data still says what it reads."""
    chain = Pillow("L", (8, 8), "bicubic", divisor=255.0)
    made = features(Plan({"n": Raw("a", "int64", 1), "p": Image("photo", "float32", [8, 8, 1], 1000, chain=chain)}))

    assert made[0].words() == "a"
    assert made[1].words() == (
        "photo, a PNG or JPEG of any size, at most 1,000 pixels, L by Pillow, resized to 8 by 8 (bicubic), "
        "/ 255 * 1 + 0"
    )


def test_a_manifest_does_not_differ_from_itself() -> None:
    """Nothing is found where there is nothing."""
    found = difference(manifest(), manifest())

    assert found.sections == {}
    assert (found.shifts, found.vocabularies) == ([], [])
    assert not any((found.fields.added, found.fields.removed, found.fields.retyped, found.fields.ids))
    assert found.stability is not None
    assert {*found.stability.fields.values(), *found.stability.features.values(), found.stability.score} == {0.0}


def test_what_a_manifest_says_is_compared_value_by_value() -> None:
    """Identity, libraries, bands: each with its path, what it was and what it is."""
    found = difference(manifest(), manifest(version="8", libraries={"numpy": "2"}, bands={"review": 0.5, "block": 0.6}))

    assert found.sections == {
        "identity": [Change("version", "7", "8")],
        "libraries": [Change("tensorflow", "2.21.0", None), Change("numpy", None, "2")],
        "bands": [Change("review", 0.4, 0.5)],
    }


def test_a_section_that_only_one_side_has_is_one_change() -> None:
    """Figures of a bundle that was packed with labels, against one without: not a line for each number."""
    figures = Figures(10, 2, 0.9, 0.5, 0.1, 0.1, 0.1, 0.3, {})

    assert [change.path for change in difference(manifest(), manifest(figures=figures)).sections["figures"]] == [""]


def test_fields_of_the_events_come_and_go() -> None:
    """Added, removed and retyped ones are told apart, and so are event id and time."""
    fields = {"amount": Field(FieldType.INTEGER), "hour": Field(FieldType.NUMBER)}

    found = difference(manifest(), manifest(events=EventSchema(fields, event_id="hour"))).fields

    assert (list(found.added), list(found.removed)) == (["hour"], ["country"])
    assert found.retyped == [Change("amount", Field(FieldType.NUMBER), Field(FieldType.INTEGER))]
    assert found.ids == [Change("event_id", None, "hour")]


def test_a_moved_statistic_is_told_with_its_feature() -> None:
    """What the scaler learned, before and after, and how far that is."""
    found = difference(manifest(), manifest(plan=plan(center=91.7)))

    assert found.shifts == [Shift(["features/amount"], "center", 88.1, 91.7, pytest.approx(3.6 / 91.7))]


def test_the_largest_shift_comes_first() -> None:
    """It is what a reviewer must see."""
    shifts = difference(manifest(plan=_scaled(1.0, 1.0)), manifest(plan=_scaled(1.01, 2.0))).shifts

    assert [shift.features for shift in shifts] == [["in/b"], ["in/a"]]


def _scaled(first: float, second: float) -> Plan:
    return Plan({"in": Matrix(Node(["x", "y"], [Divide([first, second])], ["a", "b"]), "float32")})


def test_of_many_numbers_the_one_that_moved_most_is_told() -> None:
    """A thousand quantiles are one line."""

    def binned(*edges: float) -> Plan:
        return Plan({"in": Matrix(Node(["x"], [Bin([list(edges)])], ["a"]), "float32")})

    found = difference(manifest(plan=binned(1.0, 2.0, 4.0)), manifest(plan=binned(1.0, 3.0, 5.0)))

    assert found.shifts == [Shift(["in/a"], "edges", 2.0, 3.0, pytest.approx(1 / 3), at=1)]


def test_an_imputer_before_an_encoder_is_told_once() -> None:
    """It changed once, though every category of the field goes through it."""

    def filled(fill: str) -> Plan:
        return Plan({"in": Matrix(Node(["x"], [Impute(None, [fill]), OneHot([AB], [2])], ["a", "b"]), "float32")})

    found = difference(manifest(plan=filled("a")), manifest(plan=filled("b")))

    assert found.shifts == [Shift(["in/a", "in/b"], "fill", "a", "b", 1.0)]


def test_categories_gained_and_lost_are_told_by_their_field() -> None:
    """And the features that they are."""
    found = difference(manifest(), manifest(plan=plan(countries=("FI", "NO"))))

    assert [(one.field, one.gained, one.lost) for one in found.vocabularies] == [("country", ["NO"], ["SE"])]
    assert found.features.added == ["features/country_NO"]
    assert found.features.removed == ["features/country_SE"]
    assert not found.features.moved


def test_the_code_of_a_category_is_compared_with_that_of_the_same_category() -> None:
    """Though it has another place, since a category before it is new."""

    def coded(categories: list[str], codes: list[float]) -> Plan:
        lookup = Lookup([*categories], list(range(len(codes))), None, None)
        return Plan({"in": Matrix(Node(["x"], [Target([lookup], [[[*codes]]])], ["a"]), "float32")})

    before, after = coded(["b", "c"], [0.2, 0.3]), coded(["a", "b", "c"], [0.9, 0.2, 0.6])
    found = difference(manifest(plan=before), manifest(plan=after))

    assert found.shifts == [Shift(["in/a"], "code of 'c'", 0.3, 0.6, 0.5)]
    assert [one.gained for one in found.vocabularies] == [["a"]]


def test_features_in_another_order_are_told() -> None:
    """The model would read one for the other."""
    swapped = ("log", "amount", "country_FI", "country_SE")

    found = difference(manifest(), manifest(plan=plan(features=swapped))).features

    assert found.moved
    assert [change.path for change in found.remade] == ["features/amount", "features/log"]


def test_files_are_told_by_what_became_of_them() -> None:
    """By their digests, not by their sizes."""
    files = [File("golden.jsonl", 10, "1" * 64), File("arrays.npz", 1, "2" * 64)]

    found = difference(manifest(), manifest(files=files)).files

    assert (found.added, found.removed, found.altered) == (["arrays.npz"], [], ["golden.jsonl"])


def test_without_references_there_is_no_index() -> None:
    """Of one side neither."""
    assert difference(manifest(reference=None), manifest()).stability is None


def test_the_index_is_that_of_its_formula() -> None:
    """By hand, for numbers, nulls and categories."""
    one = Numeric([1.0], [0.4, 0.4], 0.2, 1.0, 1.0, 0.0, 2.0)
    other = Numeric([1.0], [0.2, 0.7], 0.1, 1.0, 1.0, 0.0, 2.0)
    wanted = -0.2 * math.log(0.5) + 0.3 * math.log(0.7 / 0.4) - 0.1 * math.log(0.5)

    assert psi(one, other) == pytest.approx(wanted)
    assert psi(other, one) == pytest.approx(wanted)


def test_a_category_that_only_one_side_lists_counts() -> None:
    """As one that hardly was there on the other side."""
    one, other = Categorical({"a": 1.0}, 0.0, 0.0), Categorical({"a": 0.5, "b": 0.5}, 0.0, 0.0)

    assert psi(one, other) == pytest.approx(-0.5 * math.log(0.5) + (0.5 - FLOOR) * math.log(0.5 / FLOOR))


def test_other_bins_of_the_same_numbers_make_no_difference() -> None:
    """What is even within each bin stays even over the other's bins."""
    one = Numeric([1.0, 2.0, 3.0], [0.25] * 4, 0.0, 2.0, 1.0, 0.0, 4.0)
    other = Numeric([0.5, 3.5], [0.125, 0.75, 0.125], 0.0, 2.0, 1.0, 0.0, 4.0)

    assert psi(one, other) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("empty", [Numeric([], [0.0], 1.0, None, None, None, None)])
def test_a_column_of_nulls_has_an_index(empty: Any) -> None:
    """It is far from one with numbers, and not from itself."""
    assert psi(empty, empty) == 0.0
    assert psi(references().score, empty) > 1
    assert psi(empty, references().score) > 1
