"""Opening a bundle: whatever was altered since it was packed, it is refused, and the message says where."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.bundle import Bundle, load
from scorer.bundle.manifest import digest, reseal
from scorer.errors import BandsError, BundleError, GoldenError

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def copy(cards: Bundle, tmp_path: Path) -> Path:
    """Give a bundle that a test may spoil."""
    return Path(shutil.copytree(cards.path, tmp_path / "cards"))


def rewrite(path: Path, edit: Edit) -> None:
    """Edit a bundle's manifest and seal it anew, as someone does who hides a change."""
    manifest = json.loads((path / "bundle.json").read_bytes())
    edit(manifest)
    (path / "bundle.json").write_bytes(reseal(json.dumps(manifest).encode()))


def relist(path: Path, name: str) -> None:
    """Make the manifest list a file as it is now."""

    def entry(manifest: dict[str, Any]) -> None:
        listed = next(file for file in manifest["files"] if file["path"] == name)
        listed |= {"size": (path / name).stat().st_size, "sha256": digest(path / name)}

    rewrite(path, entry)


FILES = [
    "golden.jsonl",
    "golden.npz",
    "model/fingerprint.pb",
    "model/saved_model.pb",
    "model/variables/variables.data-00000-of-00001",
    "model/variables/variables.index",
]


def test_these_are_all_files_of_a_bundle(cards: Bundle) -> None:
    """The tests below spoil each of them in turn; the manifest lists exactly these."""
    found = {path.relative_to(cards.path).as_posix() for path in cards.path.rglob("*") if path.is_file()}

    assert found == {*FILES, "bundle.json"}
    assert {entry.path for entry in cards.manifest.files} == set(FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_flipped_bit_is_refused(copy: Path, name: str, place: float) -> None:
    """In any file, at its beginning, middle or end; the size is unchanged, the digest is not."""
    content = bytearray((copy / name).read_bytes())
    content[int((len(content) - 1) * place)] ^= 1
    (copy / name).write_bytes(content)

    with pytest.raises(BundleError, match=f"{name}: altered"):
        load(copy)


@pytest.mark.parametrize("name", [*FILES, "bundle.json"])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    """A copy that was cut off is no bundle."""
    (copy / name).unlink()

    with pytest.raises(BundleError, match=name):
        load(copy)


@pytest.mark.parametrize("name", ["notes.txt", "model/assets/words.txt", ".hidden", "model/keras_metadata.pb"])
def test_an_added_file_is_refused(copy: Path, name: str) -> None:
    """TensorFlow might read what the manifest does not know."""
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(b"x")

    with pytest.raises(BundleError, match=f"{name}: not in the manifest"):
        load(copy)


@pytest.mark.parametrize("name", ["golden.npz", "model/saved_model.pb", "model"])
def test_a_symbolic_link_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    """Its target could be exchanged after the digest was taken."""
    (copy / name).rename(tmp_path / "target")
    (copy / name).symlink_to(tmp_path / "target")

    with pytest.raises(BundleError, match="symbolic"):
        load(copy)


def test_a_manifest_that_is_a_symbolic_link_is_refused(copy: Path, tmp_path: Path) -> None:
    """The manifest is a file of the bundle like the others."""
    (copy / "bundle.json").rename(tmp_path / "target")
    (copy / "bundle.json").symlink_to(tmp_path / "target")

    with pytest.raises(BundleError, match="symbolic"):
        load(copy)


def _wider(manifest: dict[str, Any]) -> None:
    manifest["model"]["inputs"]["features"]["shape"] = [None, 3]


def _doubled_feature(manifest: dict[str, Any]) -> None:
    manifest["plan"]["inputs"]["features"]["node"]["features"].append("more")


def _other_mean(manifest: dict[str, Any]) -> None:
    branch = manifest["plan"]["inputs"]["features"]["node"]["steps"][0]["branches"][0]
    next(step for step in branch["steps"] if step["kind"] == "subtract")["by"][0] += 1e-3


def _swapped_bands(manifest: dict[str, Any]) -> None:
    manifest["bands"] = dict(reversed(manifest["bands"].items()))


SPOILED: dict[str, tuple[Edit, type[BundleError], str]] = {
    "another format": (lambda m: m.update(format=2), BundleError, "format 2, this scorer reads format 1"),
    "no format": (lambda m: m.pop("format"), BundleError, "manifest"),
    "unknown key": (lambda m: m.update(run="rm -rf"), BundleError, "manifest"),
    "missing key": (lambda m: m.pop("bands"), BundleError, "manifest"),
    "ill-typed key": (lambda m: m.update(tolerance="much"), BundleError, "manifest"),
    "a file unlisted": (lambda m: m["files"].pop(), BundleError, "not in the manifest"),
    "a file elsewhere": (
        lambda m: m["files"].append({"path": "../../etc/passwd", "size": 1, "sha256": "0" * 64}),
        BundleError,
        "no name of a file",
    ),
    "another digest": (lambda m: m["files"][0].update(sha256="0" * 64), BundleError, "altered"),
    "another size": (lambda m: m["files"][0].update(size=1), BundleError, "altered"),
    "another signature": (lambda m: m["model"].update(signature="serve"), BundleError, "no signature 'serve'"),
    "another output": (lambda m: m["model"].update(output="x"), BundleError, "no output 'x'"),
    "another width": (_wider, BundleError, "takes"),
    "another score": (lambda m: m["model"].update(score="logit"), GoldenError, "golden event"),
    "a batch of none": (lambda m: m["model"].update(batch_shape=0), BundleError, "batch_shape"),
    "a batch below none": (lambda m: m["model"].update(batch_shape=-8), BundleError, "batch_shape"),
    "a column that is none": (
        lambda m: m["model"].update(score="softmax", positive_class=5),
        BundleError,
        "positive_class|column",
    ),
    "a feature too many": (_doubled_feature, BundleError, "feature plan"),
    "a mean moved by a thousandth": (_other_mean, GoldenError, "golden event .* feature 0"),
    "a field of another type": (
        lambda m: m["events"]["fields"]["amount"].update(type="string"),
        BundleError,
        "golden event|amount",
    ),
    "a field that is gone": (lambda m: m["events"]["fields"].pop("hour"), BundleError, "hour"),
    "an id that is gone": (lambda m: m["events"].update(event_id="nobody"), BundleError, "nobody"),
    "bands moved": (lambda m: m["bands"].update(review=0.45), GoldenError, "decided"),
    "bands swapped": (_swapped_bands, BundleError, "bands|decided"),
    "bands out of range": (lambda m: m["bands"].update(block=1.5), BundleError, "bands: block: .* not 1.5"),
    "an edge that is no number": (lambda m: m["bands"].update(block=math.nan), BundleError, "bands.block is nan"),
    "an infinite edge": (lambda m: m["bands"].update(review=math.inf), BundleError, "bands.review is inf"),
    "equal bands": (lambda m: m["bands"].update(review=0.6), BundleError, "bands: block: must start above review"),
    "no band": (lambda m: m["bands"].clear(), BundleError, "bands"),
    "a band called as what is below": (lambda m: m.update(bands={"approve": 0.5}), BundleError, "bands: approve"),
    "a tolerance that is no number": (lambda m: m.update(tolerance=math.nan), BundleError, "tolerance is nan"),
    "a tolerance of everything": (lambda m: m.update(tolerance=1.0), BundleError, "tolerance: must be from 0 to 0.001"),
    "a tolerance below zero": (lambda m: m.update(tolerance=-1e-6), BundleError, "tolerance"),
    "an empty range": (
        lambda m: m["events"]["fields"]["amount"].update(range=[9.0, 1.0]),
        BundleError,
        r"fields\.amount\.range",
    ),
}


@pytest.mark.parametrize("case", SPOILED)
def test_an_edited_manifest_is_refused(copy: Path, case: str) -> None:
    """What it says is checked, proved by the golden events, or both; never a traceback."""
    edit, kind, said = SPOILED[case]
    rewrite(copy, edit)

    with pytest.raises(kind, match=said):
        load(copy)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(copy: Path, content: bytes) -> None:
    """Whatever the file holds, the message has its path."""
    (copy / "bundle.json").write_bytes(content)

    with pytest.raises(BundleError, match=r"bundle\.json"):
        load(copy)


def test_a_golden_score_edited_with_its_digest_is_refused(copy: Path) -> None:
    """The digests agree then; the model does not."""
    first, *others = (copy / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    golden = json.loads(first)
    golden["score"] = round(golden["score"] + 2e-5, 7)
    (copy / "golden.jsonl").write_text("\n".join([json.dumps(golden), *others]), encoding="utf-8")
    relist(copy, "golden.jsonl")

    with pytest.raises(GoldenError, match=r"golden event 0 scores .* when packed") as refused:
        load(copy)

    assert refused.value.exit_code == 21


def test_a_golden_feature_edited_with_its_digest_is_refused(copy: Path) -> None:
    """One unit in the last place of one feature is enough, on the machine that packed."""
    with np.load(copy / "golden.npz") as arrays:
        features = arrays["features"]
    features[3, 2] = np.nextafter(features[3, 2], np.float32(9))
    np.savez(copy / "golden.npz", features=features)
    relist(copy, "golden.npz")

    with pytest.raises(GoldenError, match="golden event 3, input 'features', feature 2"):
        load(copy)


@pytest.mark.parametrize("arrays", [{}, {"other": np.zeros(3, np.float32)}, {"features": np.array([{}], object)}])
def test_golden_features_of_other_inputs_are_refused(copy: Path, arrays: dict[str, Any]) -> None:
    """A proof without the features, of another input, or with pickled objects proves nothing."""
    np.savez(copy / "golden.npz", **arrays)
    relist(copy, "golden.npz")

    with pytest.raises(BundleError, match="golden"):
        load(copy)


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"not JSON\n"])
def test_golden_events_that_are_none_are_refused(copy: Path, content: bytes) -> None:
    """A bundle without proof does not serve."""
    (copy / "golden.jsonl").write_bytes(content)
    relist(copy, "golden.jsonl")

    with pytest.raises(BundleError, match="golden"):
        load(copy)


def test_another_models_weights_with_their_digest_are_refused(copy: Path) -> None:
    """A model that was exchanged in place does not give the golden scores."""
    name = "model/variables/variables.data-00000-of-00001"
    content = bytearray((copy / name).read_bytes())
    content[2] ^= 0x40
    (copy / name).write_bytes(content)
    relist(copy, name)

    with pytest.raises(BundleError):
        load(copy)


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_what_is_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    """The message has the path as it was given."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(BundleError, match=f"{name}: no such bundle"):
        load(tmp_path / name)


def test_the_bundles_digest_is_that_of_its_manifest(cards: Bundle, copy: Path) -> None:
    """It is in every decision: two bundles of one digest are the same bundle, file by file."""
    rewrite(copy, lambda manifest: manifest.update(version="8"))

    assert cards.sha256 == digest(cards.path / "bundle.json")
    assert load(copy).sha256 != cards.sha256


def test_a_topics_bands_override_the_bundles(cards: Bundle) -> None:
    """With a version of their own; out of order, they are refused."""
    names = {"group": "g", "decisions": "d", "dead_letters": "q"}

    own = cards.lane("t", **names)
    other = cards.lane("t", **names, bands={"stop": 0.7}, otherwise="pass")

    assert own.bands.names == ("approve", "review", "block")
    assert other.bands.names == ("pass", "stop")
    assert own.bands.version != other.bands.version
    with pytest.raises(BandsError, match="stop"):
        cards.lane("t", **names, bands={"block": 0.7, "stop": 0.6})


def test_a_bundle_is_served_without_what_packs_it(cards: Bundle) -> None:
    """A process that loads one imports neither scikit-learn, Keras nor pandas, whatever is installed."""
    program = f"""
import sys
from pathlib import Path
from scorer import bundle
bundle.load(Path({str(cards.path)!r}))
print(sorted({{"keras", "sklearn", "pandas", "scorer.bundle.packing"}} & sys.modules.keys()))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
