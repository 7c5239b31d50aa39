"""Reference distributions: what a bundle's fields, features and scores looked like when it was packed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bundles import Trained, frame_of, pack_cards
from hypothesis import given
from hypothesis import strategies as st

from scorer.bundle import Bundle
from scorer.bundle.distribution import (
    CATEGORIES,
    LONGEST,
    Categorical,
    Distribution,
    Numeric,
    of_categories,
    of_column,
    of_numbers,
    shortened,
)
from scorer.bundle.manifest import decode, encode
from scorer.bundle.packing.examples import Examples
from scorer.bundle.packing.survey import Surveyor

numbers = st.lists(st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 2.0])), max_size=200)
texts = st.lists(st.one_of(st.none(), st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.text(max_size=80)), max_size=90)


@given(numbers)
def test_the_shares_of_numbers_are_those_of_their_bins(values: list[float]) -> None:
    """At least the lower edge, below the upper one; with the nulls they are all there is; ten bins at most."""
    column = np.array(values, np.float64)

    found = of_numbers(column)

    finite, edges = column[np.isfinite(column)], [-np.inf, *found.edges, np.inf]
    inside = [int(((finite >= low) & (finite < high)).sum()) for low, high in pairwise(edges)]
    assert found.shares == [count / max(len(column), 1) for count in inside]
    assert sum(found.shares) + found.nulls == pytest.approx(1.0 if values else 0.0)
    assert len(found.shares) <= 10
    assert found.edges == sorted(set(found.edges))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Distribution) == found


@given(st.integers(10, 500))
def test_the_bins_of_distinct_numbers_are_tenths(count: int) -> None:
    """To within one event."""
    found = of_numbers(np.random.default_rng(count).permutation(count))

    assert len(found.shares) == 10
    assert np.abs(np.array(found.shares) - 0.1).max() <= 1 / count


def test_a_rare_one_has_a_bin_of_its_own() -> None:
    """The deciles of a rare indicator are all zero: its becoming frequent must show all the same."""
    found = of_numbers(np.array([0.0] * 97 + [1.0] * 3))

    assert (found.edges, found.shares) == ([0.0, 1.0], [0.0, 0.97, 0.03])


def test_what_never_varied_shows_when_it_does() -> None:
    """Anything but the constant falls into another bin."""
    found = of_numbers(np.full(20, 3.5))

    assert found.shares == [0.0, 1.0, 0.0]
    assert np.searchsorted(found.edges, [3.4, 3.5, 3.6], side="right").tolist() == [0, 1, 2]


def test_statistics_are_of_the_finite_numbers() -> None:
    """Nulls and infinities are counted apart; what overflows is not said."""
    found = of_numbers(np.array([1.0, 2.0, 6.0, np.nan, np.inf]))
    huge = of_numbers(np.array([1.7e308, 1.7e308, -1.7e308]))

    assert (found.nulls, found.mean, found.min, found.max) == (0.4, 3.0, 1.0, 6.0)
    assert found.std == pytest.approx(np.std([1, 2, 6]))
    assert (huge.std, huge.max) == (None, 1.7e308)
    assert of_numbers(np.array([np.nan])) == Numeric([], [0.0], 1.0, None, None, None, None)


@given(texts)
def test_the_shares_of_categories_are_those_of_the_most_frequent(values: list[str | None]) -> None:
    """Twenty at most, descending; nulls and the rest make it whole."""
    column = np.array([*values, None], object)[:-1]

    found = of_categories(column)

    assert len(found.shares) <= CATEGORIES
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert all(share == values.count(value) / len(values) for value, share in found.shares.items())
    assert found.nulls == (values.count(None) / len(values) if values else 0.0)
    assert sum(found.shares.values()) + found.nulls + found.rest == pytest.approx(1.0 if values else 0.0)
    others = [values.count(v) / len(values) for v in {*values} - {None, *found.shares} if v and len(v) <= LONGEST]
    assert max(others, default=0) <= min(found.shares.values(), default=1)
    assert of_column(shortened(column)) == found


def test_long_texts_and_images_are_not_kept() -> None:
    """A manifest is no place for them: they are counted, and that is all."""
    column = np.array(["x" * 10_000, "x" * (LONGEST + 1), b"\x89PNG" * 1000, "ok", None], object)

    found = of_column(shortened(column))

    assert found == Categorical({"ok": 0.2}, 0.2, 0.6)
    assert all(value is None or len(value) <= LONGEST + 1 for value in shortened(column))


def test_booleans_are_categories() -> None:
    """By their names in JSON."""
    assert of_column(np.array([True, False, True, True])) == Categorical({"true": 0.75, "false": 0.25}, 0.0, 0.0)


def test_a_bundle_keeps_the_distributions_of_what_it_reads_and_gives(cards: Bundle, trained: Trained) -> None:
    """Of every field that feeds the model, every feature, and the score."""
    found = cards.manifest.reference
    assert found is not None

    features, scores = trained.features(trained.frame), trained.scores(trained.frame)
    amount, balance, country = (found.fields[name] for name in ("amount", "balance", "country"))
    assert (found.events, found.rejected) == (len(trained.frame), 0)
    assert set(found.fields) == {"amount", "hour", "balance", "country", "merchant.category"}
    assert isinstance(amount, Numeric)
    assert isinstance(balance, Numeric)
    assert isinstance(country, Categorical)
    assert amount.mean == pytest.approx(trained.frame["amount"].mean())
    assert balance.nulls == pytest.approx(trained.frame["balance"].isna().mean())
    assert country.shares == trained.frame["country"].value_counts(normalize=True).to_dict()
    assert len(found.features["features"]) == features.shape[1]
    means = [feature.mean for feature in found.features["features"].values()]
    np.testing.assert_allclose(means, features.mean(0), atol=1e-6)
    assert found.score.mean == pytest.approx(float(scores.mean()), abs=1e-6)


def test_the_distributions_are_read_back_as_written(cards: Bundle) -> None:
    """Nothing in them is beyond JSON."""
    assert decode(encode(cards.manifest), Path("bundle.json")).reference == cards.manifest.reference


def test_the_scores_distribution_is_of_the_calibrated_ones(trained: Trained, tmp_path: Path) -> None:
    """A quantile map makes the scores of its own examples uniform."""
    changes: dict[str, Any] = {"events": frame_of(500, seed=3), "calibration": "quantile"}

    found = pack_cards(trained, tmp_path / "bundle", **changes).manifest.reference

    assert found is not None
    np.testing.assert_allclose(found.score.edges, np.arange(1, 10) / 10, atol=0.01)


def test_of_very_many_examples_an_even_spread_is_looked_at(cards: Bundle, trained: Trained) -> None:
    """Every example is scored, but the fields and features of a bounded number are kept; those without a score none."""
    frame = frame_of(1000, seed=6)
    frame.loc[[0, 7, 999], "amount"] = -5.0  # whose logarithm is no number
    surveyor = Surveyor(cards.manifest.events, cards.manifest.plan, cards.decode, cards.transform, cards.model, 400)

    found = surveyor(Examples.of(frame), range(1000))
    reference = found.references(cards.manifest.plan, found.value.astype(np.float32))

    assert found.rows.tolist() == [row for row in range(1000) if row not in (0, 7, 999)]
    assert sorted(rejection.row for rejection in found.rejected) == [0, 7, 999]
    assert found.rows[found.kept].tolist() == [row for row in range(0, 1000, 3) if row not in (0, 999)]
    assert (reference.events, reference.rejected) == (332, 3)
    assert found.fields["amount"].tolist() == frame["amount"][found.rows[found.kept]].tolist()
    np.testing.assert_allclose(found.value, trained.scores(frame.loc[found.rows]), atol=1e-6)
