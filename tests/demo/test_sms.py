"""The text demo: the data are what they claim to be, and the test part is one."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from scorer.demo import sms


def test_all_messages_are_there() -> None:
    """5,574 messages, 747 of them spam (13.4 %), 403 of them repeating an earlier one."""
    texts, labels = sms.load()

    assert len(texts) == len(labels) == 5_574
    assert int(labels.sum()) == 747
    assert labels.mean() == pytest.approx(0.134, abs=0.0005)
    assert len(texts) - len(set(texts)) == 403


def test_texts_are_exact() -> None:
    """Order, length, entities and rare characters are those of the collection."""
    texts, labels = sms.load()

    assert texts[1] == "Ok lar... Joking wif u oni..."
    assert (labels[1], labels[2]) == (0, 1)
    assert max(map(len, texts)) == 910
    assert sum(not text.isascii() for text in texts) == 483
    assert any("〨" in text for text in texts)


def test_the_file_says_nothing_of_when_it_was_packed() -> None:
    """The gzip header has no time stamp, so that it does not change when it is packed again."""
    packed = files("scorer.demo").joinpath("data/sms_spam.jsonl.gz").read_bytes()

    assert packed[4:8] == bytes(4)


def test_the_data_are_cited() -> None:
    """The authors ask for a citation: it stands beside the file."""
    said = files("scorer.demo").joinpath("data/README.md").read_text("utf-8")

    assert "Almeida" in said
    assert "Yamakami" in said
    assert "2011" in said


def test_events_carry_the_text_unchanged() -> None:
    """Every message becomes one event, numbered in order."""
    texts, _ = sms.load()

    events = sms.events(texts)

    assert [event["message"] for event in events] == texts
    assert (events[0]["sms_id"], events[-1]["sms_id"]) == ("sms-00000", "sms-05573")


def test_no_text_is_both_trained_and_tested_on() -> None:
    """60 % of the messages are trained on; a test message that repeats one of them is left out."""
    texts, _ = sms.load()

    trained, tested = sms.split(texts, np.random.default_rng(1))

    assert len(trained) == round(0.6 * len(texts))
    assert not {texts[row] for row in trained} & {texts[row] for row in tested}
    assert 0 < len(texts) - len(trained) - len(tested) <= 403


def test_a_figure_counts_what_it_says() -> None:
    """Precision is of the messages from the edge up, recall of all spam; the edge itself is inside."""
    scores, labels = np.array([0.9, 0.95, 0.2, 0.1], np.float32), np.array([1, 0, 1, 0], np.int8)

    figures = sms.measure(scores, labels, edge=0.9)

    assert figures == sms.Figures(precision=0.5, recall=0.5, messages=4)


def test_every_message_gets_a_finite_score() -> None:
    """Even one that has no word in it, such as an emoticon: NaN is no score."""
    texts, labels = sms.load()
    trained = sms.train(texts[:400], labels[:400], seed=1, epochs=1)

    tokens = trained.vocabulary(np.array([":-)", "", "call now", "〨ud"], object))

    assert np.isfinite(trained.model.predict(np.asarray(tokens), verbose=0)).all()
