"""Golden events: they cover what is likeliest to be wrong, and a proof that fails names the worst event and feature."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bundles import BANDS, CATEGORIES, NUMBERS, Trained, frame_of, nested, pack_cards, payloads
from numpy.typing import NDArray

from scorer.bundle import Bundle
from scorer.bundle.golden import Golden, Proof, as_records, check_features, prove, read, ulps
from scorer.bundle.opening import golden_inputs
from scorer.bundle.packing.choosing import MADE, REAL, Case, encoded, made, near_edges, real
from scorer.bundle.packing.compile import compile_preprocessor
from scorer.bundle.packing.examples import Examples
from scorer.bundle.packing.parity import Reference
from scorer.decode import EventSchema, Field, FieldType, JsonDecoder
from scorer.errors import GoldenError, PackError
from scorer.records import Bands, Inputs
from scorer.transform import Matrix, Plan, Raw, Transform


def lines(bundle: Bundle) -> list[dict[str, Any]]:
    """Return the golden events of a bundle as they are written."""
    return [json.loads(line) for line in (bundle.path / "golden.jsonl").read_text(encoding="utf-8").splitlines()]


def at(event: dict[str, Any], path: str) -> Any:
    for key in path.split("."):
        event = event[key]
    return event


def held(bundle: Bundle, path: str) -> list[Any]:
    """Return what the golden events hold in a field."""
    return [at(line["event"], path) for line in lines(bundle)]


def test_there_are_256_to_1024_golden_events_and_each_says_why(cards: Bundle) -> None:
    """Most are an even spread of the examples."""
    reasons = [line["why"] for line in lines(cards)]

    assert 256 <= len(reasons) <= REAL + MADE == 1024
    assert all(reasons)
    assert reasons.count("spread") >= 128


def test_of_few_examples_all_become_golden(trained: Trained, tmp_path: Path) -> None:
    """Ten examples are ten golden events, and the made ones."""
    bundle = pack_cards(trained, tmp_path / "bundle", events=trained.frame.iloc[:10])

    ids = held(bundle, "transaction_id")
    assert set(ids) == set(trained.frame["transaction_id"].iloc[:10])
    assert len(ids) > 10


def test_every_fields_ends_are_golden(cards: Bundle, trained: Trained) -> None:
    """The least and greatest number, a null where there is one, every category."""
    for name in NUMBERS:
        column = trained.frame[name]
        assert {column.min(), column.max()} <= set(held(cards, name))
    assert None in held(cards, "balance")
    for name in CATEGORIES:
        assert set(trained.frame[name]) <= set(held(cards, name))


def test_the_events_next_to_each_bands_edge_are_golden(cards: Bundle, trained: Trained) -> None:
    """Closest below and at or above, of all examples."""
    columns, _ = cards.decode(as_records(payloads(trained.frame)))
    inputs, _ = cards.transform(columns)
    score = cards.model(inputs)[0].score
    golden = {float(line["score"]) for line in lines(cards)}

    for name, edge in BANDS.items():
        below, above = score[score < np.float32(edge)], score[score >= np.float32(edge)]
        assert {float(str(below.max())), float(str(above.min()))} <= golden
        assert {f"below {name}", f"edge {name}"} <= {line["why"] for line in lines(cards)}


def test_what_the_examples_lack_is_made(trained: Trained, tmp_path: Path) -> None:
    """An unseen category for every text, a null for every field that may be one, numbers at the end of their ranges."""
    schema = {
        "amount": {"range": [0, 1e6]},
        "hour": {"nullable": True},
        "country": {"nullable": True},
    }
    encoder = trained.preprocessor

    bundle = pack_cards(trained, tmp_path / "bundle", preprocessor=encoder, schema=schema)

    reasons = {line["why"] for line in lines(bundle)}
    assert {"null hour", "null country", "unseen country", "unseen merchant.category"} <= reasons
    assert {None, "unseen"} <= set(held(bundle, "country"))
    assert {0.0, 1e6} <= set(held(bundle, "amount"))
    assert {1e30, -1e30} <= set(held(bundle, "balance"))
    assert any(value == 0 and np.signbit(value) for value in held(bundle, "balance") if value is not None)
    assert min(held(bundle, "amount")) >= 0
    assert max(held(bundle, "amount")) <= 1e6


def test_what_the_bundle_rejects_is_not_golden(tmp_path: Path) -> None:
    """An encoder that refuses unknown categories packs as well; the stream will reject what it refuses."""
    bundle = pack_countries(tmp_path, handle_unknown="error")

    assert set(held(bundle, "country")) == {"FI", "SE"}


def test_an_unseen_category_is_held_against_the_encoder_itself(tmp_path: Path) -> None:
    """It is golden, with the features that scikit-learn gives for it."""
    bundle = pack_countries(tmp_path, handle_unknown="ignore")

    place = held(bundle, "country").index("unseen")
    with np.load(bundle.path / "golden.npz") as arrays:
        assert arrays["x"][place].tolist() == [0.0, 0.0]


def pack_countries(tmp_path: Path, handle_unknown: str) -> Bundle:
    import keras
    from sklearn.preprocessing import OneHotEncoder

    from scorer.bundle import pack

    frame = pd.DataFrame({"country": ["FI", "SE"] * 20})
    encoder = OneHotEncoder(handle_unknown=handle_unknown, sparse_output=False).fit(frame)
    x = keras.Input((2,), name="x")
    model = keras.Model(x, keras.layers.Dense(1, "sigmoid")(x))
    return pack(
        tmp_path / "bundle",
        name="m",
        version="1",
        model=model,
        preprocessor=encoder,
        events=frame,
        bands=BANDS,
        batch_shape=16,
    )


FLAT = pd.DataFrame({"number": [1.0, 2.0, 3.0], "word": ["a", "b", "a"], "whole": [1, 2, 3]})
SCHEMA = EventSchema(
    {"number": Field(FieldType.NUMBER), "word": Field(FieldType.STRING), "whole": Field(FieldType.NUMBER)}
)


def trial(frame: pd.DataFrame, reference: Any, planned: Any, cases: list[Case]) -> list[Case]:
    """Hold cases under the plan of one fitted object against another object."""
    node = compile_preprocessor(planned).node
    plan = Plan({"x": Matrix(node, "float32")})
    examples = Examples.of(frame)
    columns, rejected = JsonDecoder(SCHEMA)(as_records(encoded(examples, SCHEMA, cases)))
    inputs, refused = Transform(plan)(columns)
    assert not [*rejected, *refused]
    return Reference(reference, None, examples, {"x": range(len(node.features))}).agreeing(plan, frame, cases, inputs)


def encoder(**settings: Any) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    transformer = make_column_transformer(
        (StandardScaler(), ["number", "whole"]),
        (OneHotEncoder(sparse_output=False, drop=None, **settings), ["word"]),
    )
    return transformer.fit(FLAT)


def test_made_events_that_the_preprocessor_agrees_on_are_kept() -> None:
    """Also where a column changes its dtype by them: a fraction in a column of whole numbers."""
    cases = [case for case in made(Examples.of(FLAT), SCHEMA, 100) if case.change]

    assert trial(FLAT, encoder(handle_unknown="ignore"), encoder(handle_unknown="ignore"), cases) == cases
    assert {case.why for case in cases} >= {"unseen word", "whole 1e-30", "number -0.0", "number 1e+30"}


def test_made_events_that_the_preprocessor_sees_otherwise_are_refused() -> None:
    """Examples may all agree, and an unseen category still go elsewhere; the message names the case."""
    strict = {"handle_unknown": "infrequent_if_exist", "min_frequency": 2}
    cases = [Case(0, "unseen word", ("word", "unseen"))]

    with pytest.raises(PackError, match="example 0 with unseen word"):
        trial(FLAT, encoder(**strict), _like(encoder(**strict)), cases)


def _like(other: Any) -> Any:
    """Return an encoder of as many features, to which unseen words are nowhere."""
    from sklearn.base import clone

    loose = clone(other)
    loose.set_params(onehotencoder__handle_unknown="ignore")
    return loose.fit(FLAT)


def test_made_events_that_the_preprocessor_refuses_are_left_out() -> None:
    """The others stay: what it refuses is found by halving."""
    cases = [case for case in made(Examples.of(FLAT), SCHEMA, 100) if case.change]

    kept = trial(FLAT, encoder(handle_unknown="error"), encoder(handle_unknown="ignore"), cases)

    assert kept == [case for case in cases if case.why != "unseen word"]


def test_fewer_golden_events_are_chosen_where_each_is_large() -> None:
    """Twelve megabytes in all, but 32 events at least, of which some are an even spread."""
    frame = frame_of(2000)
    schema = EventSchema({name: Field(FieldType.NUMBER, nullable=True) for name in NUMBERS})
    examples = Examples.of(frame[NUMBERS])

    counts = {size: len(real(examples, schema, [], size)) for size in (1e2, 1e5, 1e7)}

    assert counts[1e2] >= 256
    assert 32 <= counts[1e5] <= 126
    assert 12 <= counts[1e7] <= 32
    assert len(made(examples, schema, 1e7)) <= 8


def test_a_record_of_many_fields_has_a_bounded_proof() -> None:
    """Four hundred fields with nulls and extremes: at most 768 real events, an even spread of 256 among them."""
    draw = np.random.default_rng(1)
    names = [f"f{i}" for i in range(400)]
    values = draw.normal(size=(400, 2000)).tolist()
    columns = {name: [None, *column[1:]] for name, column in zip(names, values, strict=True)}
    schema = EventSchema({name: Field(FieldType.NUMBER, nullable=True) for name in names})
    examples = Examples(columns, 2000)

    cases = real(examples, schema, near_edges(*scored(2000), Bands.of(BANDS, "approve")), 1000.0)

    assert 512 <= len(cases) <= REAL
    assert sum(case.why == "spread" for case in cases) >= 180  # some of the 256 are golden for another reason, too
    assert sum(case.why.startswith(("below", "edge")) for case in cases) == 16
    assert len(made(examples, schema, 1000.0)) == MADE


def scored(count: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    return np.arange(count), np.linspace(0, 1, count, dtype=np.float32)


def test_an_edge_beyond_all_scores_has_neighbours_on_one_side() -> None:
    """And events of the same score are as good as each other."""
    bands = Bands.of({"high": 0.9}, "approve")

    cases = near_edges(np.array([5, 6, 7]), np.array([0.1, 0.5, 0.5], np.float32), bands)

    assert {(case.row, case.why) for case in cases} == {(5, "below high"), (6, "below high"), (7, "below high")}


@pytest.fixture(scope="module")
def golden(cards: Bundle) -> Golden:
    """Give the golden events as they were packed."""
    return read(cards.path, cards.manifest.events.event_id, cards.path)


def proved(bundle: Bundle, golden: Golden, *, same_machine: bool = True) -> Proof:
    return prove(
        golden,
        golden_inputs(golden, bundle.decode, bundle.transform, bundle.path),
        bundle.model,
        plan=bundle.manifest.plan,
        bands=Bands.of(bundle.manifest.bands, "approve"),
        tolerance=bundle.manifest.tolerance,
        where=bundle.path,
        same_machine=same_machine,
    )


def moved(golden: Golden, by: int, places: list[tuple[int, int]]) -> Golden:
    """Return golden events whose packed features lie so many units in the last place away."""
    features = golden.inputs["features"].copy()
    bits = features.view(np.int32)
    for place in places:
        bits[place] += by
    return replace(golden, inputs={"features": features})


def test_a_feature_that_differs_is_named_with_its_event(cards: Bundle, golden: Golden) -> None:
    """By its own name, how far it is off, which event, why that is golden, and how many events differ."""
    name = cards.manifest.plan.inputs["features"].node.features[2]  # type: ignore[union-attr]
    spoiled = moved(golden, 1, [(3, 0), (4, 2), (9, 1)])
    spoiled = moved(spoiled, 5, [(4, 2)])

    with pytest.raises(GoldenError) as refused:
        proved(cards, spoiled)

    message = str(refused.value)
    assert f"golden event 4, input 'features', feature 2 {name!r}: " in message
    assert "6 ulp apart" in message
    assert f"line 5 of golden.jsonl, transaction_id {at(lines(cards)[4]['event'], 'transaction_id')}" in message
    assert f"chosen as: {golden.reasons[4]}" in message
    assert f"3 of {len(golden.values)} golden events differ" in message


@pytest.mark.parametrize(("by", "refused"), [(1, False), (2, False), (3, True)])
def test_two_units_in_the_last_place_are_let_pass_on_another_machine(
    cards: Bundle, golden: Golden, by: int, refused: bool
) -> None:
    """And told of: the worst feature, and how many events differ."""
    spoiled = moved(golden, by, [(3, 1), (7, 2)])

    if refused:
        with pytest.raises(GoldenError, match="feature 1"):
            proved(cards, spoiled, same_machine=False)
        return
    proof = proved(cards, spoiled, same_machine=False)

    assert (proof.features_identical, proof.differing) == (False, 2)
    assert "golden event 3" in proof.worst_feature


def test_a_score_that_differs_is_named_with_its_event(cards: Bundle, golden: Golden) -> None:
    """The worst one, how far it is off, and how many are beyond the tolerance."""
    scores = golden.scores.copy()
    scores[[5, 8]] += np.array([1e-4, 3e-4], np.float32)

    with pytest.raises(GoldenError) as refused:
        proved(cards, replace(golden, scores=scores))

    message = str(refused.value)
    assert "golden event 8 scores" in message
    assert "0.0003 apart (line 9 of golden.jsonl, transaction_id tx-" in message
    assert f"2 of {len(golden.values)} golden events are beyond the tolerance of 1e-06" in message


def test_a_score_within_the_tolerance_is_told_of(cards: Bundle, golden: Golden) -> None:
    """The proof holds, and says which event is furthest off."""
    scores = golden.scores.copy()
    scores[5] = np.nextafter(scores[5], np.float32(1))

    proof = proved(cards, replace(golden, scores=scores))

    assert (proof.scores_identical, proof.differing) == (False, 1)
    assert 0 < proof.worst_difference < 1e-6
    assert "golden event 5 scores" in proof.worst_score


def test_a_proof_without_differences_tells_of_none(cards: Bundle) -> None:
    """As on the machine that packed."""
    assert (cards.proof.differing, cards.proof.worst_feature, cards.proof.worst_score) == (0, "", "")


def test_a_decision_that_differs_away_from_every_edge_is_refused(cards: Bundle, golden: Golden) -> None:
    """With the event that it is about."""
    decisions = ["block" if name == "approve" else name for name in golden.decisions]

    with pytest.raises(GoldenError, match=r"golden event \d+ is decided 'approve' here, 'block' when packed \(line"):
        proved(cards, replace(golden, decisions=decisions))


def test_pixels_compare_as_features_do(golden: Golden) -> None:
    """Inputs of any rank: the worst place is told by its coordinates."""
    image = np.zeros((len(golden.values), 4, 4, 3), np.float32)
    other = image.copy()
    other[6, 1, 2, 0] = 1.0
    plan = Plan({"photo": Raw("photo", "float32", 1)})
    packed = replace(golden, inputs={"photo": other})

    with pytest.raises(GoldenError, match=r"golden event 6, input 'photo', at \[1, 2, 0\]: 0.0 here, 1.0 when packed"):
        check_features(packed, Inputs(np.arange(len(image)), {"photo": image}), plan, Path("b"), same_machine=False)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ulps_count_what_lies_between(dtype: type[np.floating[Any]]) -> None:
    """Across zero too; the two zeros are one apart, NaN is NaN, and a number is infinitely far from it."""
    one, tiny = dtype(1), np.nextafter(dtype(0), dtype(1))
    left = np.array([one, one, 0.0, -tiny, np.nan, np.nan, np.inf], dtype)
    right = np.array([one, np.nextafter(one, dtype(2)), -0.0, tiny, -np.nan, 1.0, np.finfo(dtype).max], dtype)

    assert ulps(left, right).tolist() == [0.0, 1.0, 1.0, 2.0, 0.0, np.inf, 1.0]


def test_dictionaries_have_the_same_golden_events_as_a_frame(cards: Bundle, trained: Trained, tmp_path: Path) -> None:
    """Whatever the examples came in: choosing looks at values."""
    bundle = pack_cards(trained, tmp_path / "bundle", events=nested(trained.frame))

    assert (bundle.path / "golden.jsonl").read_bytes() == (cards.path / "golden.jsonl").read_bytes()
