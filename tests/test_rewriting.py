"""Bands written into a configuration: its comments, order and everything else stay to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scorer.config.rewriting import rewritten, write_bands
from scorer.errors import ConfigError

BANDS = {"review": 0.25, "block": 0.875}
HERE = Path("scorer.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "topics:\n  payments:\n    bundle: b  # ours\n    bands:\n      # people\n      review: 0.5   # was 0.4\n"
            "      block: 0.9\n  # the next one\n  other: {bundle: c}\n",
            "topics:\n  payments:\n    bundle: b  # ours\n    bands:\n      # people\n      review: 0.25   # was 0.4\n"
            "      block: 0.875\n  # the next one\n  other: {bundle: c}\n",
        ),
        (
            "topics: {payments: {bands: {review: 0.5, block: 0.9}, bundle: b}}\n",
            "topics: {payments: {bands: {review: 0.25, block: 0.875}, bundle: b}}\n",
        ),
        (
            "topics:\n  payments:\n    # of July\n    bundle: b\n",
            "topics:\n  payments:\n    # of July\n    bands: {review: 0.25, block: 0.875}\n    bundle: b\n",
        ),
        ("topics: {payments: {bundle: b}}\n", "topics: {payments: {bands: {review: 0.25, block: 0.875}, bundle: b}}\n"),
        (
            "x: &b {review: 0.5, block: 0.9}\ntopics: {payments: {bands: *b, bundle: b}}\n",
            "x: &b {review: 0.5, block: 0.9}\ntopics: {payments: {bands: *b, bundle: b}}\n",
        ),
    ],
)
def test_only_the_edges_change(text: str, expected: str) -> None:
    """Block and flow style, with or without bands before; what another place shares is left alone, and told."""
    if text == expected:
        with pytest.raises(ConfigError, match="by hand"):
            rewritten(text, "payments", BANDS, HERE)
        return

    assert rewritten(text, "payments", BANDS, HERE) == expected
    assert yaml.safe_load(expected)["topics"]["payments"]["bands"] == BANDS


@pytest.mark.parametrize("ending", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    bands: {review: 0.5, block: 0.9}|", "    bands: {review: 0.25, block: 0.875}|"),
        ("", "    bands: {review: 0.25, block: 0.875}|"),
    ],
)
def test_line_ends_stay_as_they_are(tmp_path: Path, ending: str, before: str, after: str) -> None:
    """Also those of another system, and those that are mixed; a line that is added ends as the first one does."""
    file, form = tmp_path / "scorer.yaml", "# ours|topics:|  payments:|{}    bundle: b|# the last, mixed\n# end\r\n"

    def data(bands: str) -> bytes:
        return form.format(bands).replace("|", ending).encode()

    file.write_bytes(data(before))

    write_bands(file, "payments", BANDS)

    assert file.read_bytes() == data(after)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("topics: {other: {bundle: b}}\n", "there is no topic payments"),
        ("topics: {payments: {bands: {hold: 0.5}}}\n", "has other bands than review, block"),
        ("topics:\n  other: {bands: &b {review: 0.5, block: 0.9}}\n  payments: {bands: *b}\n", "shared with other"),
        ("[]\n", "there is no topic payments"),
    ],
)
def test_what_cannot_be_written_is_told(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rewritten(text, "payments", BANDS, HERE)


def test_the_file_keeps_its_mode_and_a_broken_one_its_contents(tmp_path: Path) -> None:
    file, broken = tmp_path / "scorer.yaml", tmp_path / "broken.yaml"
    file.write_text("topics: {payments: {bundle: b}}\n", "utf-8")
    file.chmod(0o640)
    broken.write_text("topics: {payments: [\n", "utf-8")

    write_bands(file, "payments", BANDS)

    assert yaml.safe_load(file.read_text("utf-8"))["topics"]["payments"]["bands"] == BANDS
    assert file.stat().st_mode & 0o777 == 0o640
    with pytest.raises(ConfigError, match="cannot be written"):
        write_bands(broken, "payments", BANDS)
    assert broken.read_text("utf-8") == "topics: {payments: [\n"
    with pytest.raises(ConfigError, match="YAML only"):
        write_bands(tmp_path / "scorer.toml", "payments", BANDS)
