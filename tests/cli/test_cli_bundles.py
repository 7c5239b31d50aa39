"""`scorer pack`, `check`, `show` and `diff`, as their users meet them."""

from __future__ import annotations

import json
import pickle
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from bundles import BANDS, BATCH_SHAPE, Trained, frame_of, pack_cards, payloads
from cli_world import run
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from scorer.bundle import Bundle, golden
from scorer.bundle.feeds import consistent
from scorer.bundle.lineage import features
from scorer.bundle.manifest import decode, digest, reseal
from scorer.cli import contract, waiting
from scorer.errors import BundleError

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Give the command line, in this process: exit code, output, complaints."""
    return lambda *arguments: run(monkeypatch, capsys, *arguments)


@pytest.fixture(scope="session")
def left(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give what training left on a disk: model, preprocessor, examples with labels, a schema, and a pair of keys."""
    directory = tmp_path_factory.mktemp("training")
    trained.model.save(directory / "model.keras")
    skops.io.dump(trained.preprocessor, directory / "preprocessor.skops")
    (directory / "pickled.skops").write_bytes(pickle.dumps(trained.preprocessor))
    labelled = trained.frame.assign(fraud=(trained.frame["amount"] > 60).astype(int))
    (directory / "events.jsonl").write_bytes(b"\n".join(payloads(labelled)) + b"\n")
    labelled.to_csv(directory / "events.csv", index=False)
    labelled.to_parquet(directory / "events.parquet")
    (directory / "schema.yaml").write_text("amount: {range: [0, 1000000000]}\n", encoding="utf-8")
    for name in ("ours", "theirs"):
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (directory / f"{name}.key").write_bytes(private)
        (directory / f"{name}.pem").write_bytes(public)
    return directory


@pytest.fixture(scope="session")
def again(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Give the card model of the next week: other statistics, a new country, another edge, other weights."""
    import keras

    frame = frame_of(900, seed=9)
    frame.loc[0, "country"] = "NO"
    from sklearn.base import clone

    preprocessor = clone(trained.preprocessor)
    inputs = keras.Input((preprocessor.fit_transform(frame).shape[1],), name="features")
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="fraud")(inputs))
    week = replace(trained, frame=frame, preprocessor=preprocessor, model=model)
    directory = tmp_path_factory.mktemp("bundles") / "again"
    return pack_cards(week, directory, version="8", bands={"review": 0.45, "block": 0.6})


def packing(left: Path, target: Path, events: str = "events.jsonl", **changes: object) -> list[object]:
    """Return the arguments that pack the card model from its files."""
    options: dict[str, object] = {
        "model": left / "model.keras",
        "preprocessor": left / "preprocessor.skops",
        "events": left / events,
        "name": "cards",
        "version": "7",
        "labels": "fraud",
        "event-id": "transaction_id",
        "event-time": "event_time",
        "batch-shape": BATCH_SHAPE,
    }
    given = [f"--{name}={value}" for name, value in (options | changes).items() if value is not None]
    return ["pack", target, *given, *(f"--band={name}={edge}" for name, edge in BANDS.items())]


def proved(bundle: Path) -> tuple[list[Any], dict[str, Any]]:
    """Return a bundle's golden scores, and the features that the model got for them."""
    packed = golden.read(bundle, "transaction_id", bundle)
    return packed.scores.tolist(), {name: array.tolist() for name, array in packed.inputs.items()}


@pytest.mark.parametrize("events", ["events.jsonl", "events.csv", "events.parquet"])
def test_files_pack_to_what_the_call_packs(
    scorer: Command, cards: Bundle, left: Path, tmp_path: Path, events: str
) -> None:
    """The same plan, the same schema without the label, the same golden features and scores."""
    code, out, err = scorer(*packing(left, tmp_path / "cards", events))

    assert code == 0, err
    manifest = json.loads((tmp_path / "cards/bundle.json").read_bytes())
    there = json.loads((cards.path / "bundle.json").read_bytes())
    assert (manifest["plan"], manifest["events"]) == (there["plan"], there["events"])
    assert proved(tmp_path / "cards") == proved(cards.path)
    assert "bit-identical, scores bit-identical" in out
    assert "1,500 labelled examples" in out
    assert f"packed: {tmp_path / 'cards'}" in out


def test_what_is_said_at_packing_reaches_the_bundle(scorer: Command, left: Path, tmp_path: Path) -> None:
    """Calibration, schema and signature: and the calibration error is told before and after."""
    options = {"calibration": "platt", "schema": left / "schema.yaml", "sign": left / "ours.key", "tolerance": 1e-5}

    code, out, err = scorer(*packing(left, tmp_path / "cards", **options))

    assert code == 0, err
    assert "calibration     platt, slope " in out
    assert " → " in next(line for line in out.splitlines() if line.startswith("figures"))
    manifest = json.loads((tmp_path / "cards/bundle.json").read_bytes())
    assert manifest["events"]["fields"]["amount"]["range"] == [0.0, 1e9]
    assert manifest["tolerance"] == 1e-5
    _check_trust(scorer, tmp_path / "cards", left)


def _check_trust(scorer: Command, bundle: Path, left: Path) -> None:
    code, out, err = scorer("check", bundle, "--trust", left / "theirs.pem", "--trust", left / "ours.pem")
    assert code == 0, err
    assert "signed          by the trusted key " in out
    code, _, err = scorer("check", bundle, "--trust", left / "theirs.pem")
    assert code == 20
    assert "not signed by a trusted key" in err


def test_an_unsigned_bundle_is_refused_where_keys_are_trusted(scorer: Command, cards: Bundle, left: Path) -> None:
    """With the exit code of a bundle that cannot be trusted."""
    code, _, err = scorer("check", cards.path, "--trust", left / "ours.pem")

    assert code == 20
    assert "not signed" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"preprocessor": "pickled.skops"}, (22, "is a pickle")),
        ({"preprocessor": "nowhere.skops"}, (22, "no such file")),
        ({"model": "nowhere.keras"}, (22, "no such model")),
        ({"events": "nowhere.csv"}, (22, "no such file")),
        ({"labels": "frod"}, (22, "no field 'frod'")),
        ({"schema": "{amount: "}, (22, "--schema")),
        ({"image": "[1]"}, (22, "--image")),
        ({"input": "features"}, (22, "--input 'features'")),
        ({"band": "high"}, (12, "--band 'high'")),
        ({"band": "high=x"}, (12, "'x' is no number")),
        ({"band": "block=0.9"}, (12, "--band 'block=0.6'")),
        ({"sign": "ours.pem"}, (22, "a public key")),
    ],
)
def test_what_cannot_be_packed_is_told_in_one_line(
    scorer: Command, left: Path, tmp_path: Path, changes: dict[str, str], wanted: tuple[int, str]
) -> None:
    """With the option or the file, its exit code, and no bundle left behind."""
    files = {"preprocessor", "model", "sign"}
    given = {name: left / value if name in files else value for name, value in changes.items()}
    events = str(given.pop("events", "events.jsonl"))

    found, _, err = scorer(*packing(left, tmp_path / "cards", events, **given))

    assert found == wanted[0], err
    assert wanted[1] in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "cards").exists()


def test_check_as_json_has_contract_and_proof(scorer: Command, cards: Bundle) -> None:
    """For a pipeline that decides what to deploy."""
    code, out, _ = scorer("check", cards.path, "--json")

    found = json.loads(out)
    assert code == 0
    assert found["verified"] == "all"
    assert found["sha256"] == cards.sha256
    assert found["proof"]["scores_identical"] is True
    assert len(found["features"]) == 11


def test_show_prints_the_contract_without_a_model(scorer: Command, cards: Bundle) -> None:
    """Identity, fields, features with their making, bands, golden events by why, files; and what it did not do."""
    code, out, err = scorer("show", cards.path)

    assert (code, err) == (0, "")
    assert f"sha256          {cards.sha256}" in out
    assert "event field     balance: number, may be null" in out
    assert "evenly spread" in out
    assert "bands           review from 0.4, block from 0.6" in out
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert lines["log__amount"].endswith("amount, log1p")
    assert lines["number__hour"].endswith("divided by " + lines["number__hour"].rpartition(" ")[2])
    assert lines["category__country_FI"].endswith("country, is 'FI'")
    assert lines["golden.npz"].split()[2] == next(f for f in cards.manifest.files if f.path == "golden.npz").sha256[:16]
    assert "digests verified; not proven here: run scorer check" in out


def test_a_bundle_cannot_steer_the_terminal(scorer: Command, cards: Bundle, tmp_path: Path) -> None:
    """Names in it are anybody's: what is no printable character is told, not sent."""
    copy = Path(shutil.copytree(cards.path, tmp_path / "cards"))
    text = (copy / "bundle.json").read_bytes()
    (copy / "bundle.json").write_bytes(reseal(text.replace(b'"log__amount"', b'"log\\u001b[31m"')))

    for command in (["show", copy], ["diff", cards.path, copy, "--no-scores"]):
        code, out, _ = scorer(*command)
        assert code == 0
        assert "\x1b" not in out
        assert "log\\x1b[31m" in out


def test_show_loads_no_library_that_could_run_a_model(cards: Bundle) -> None:
    """Nor the one that fits: anybody may look at a bundle, anywhere, at once."""
    program = """
import sys
from scorer.cli import main
try:
    main()
except SystemExit as end:
    heavy = {"tensorflow", "keras", "sklearn", "pandas", "confluent_kafka"}
    print(end.code, sorted(heavy & sys.modules.keys()))
"""
    for command in (["show", cards.path], ["diff", cards.path, cards.path, "--no-scores"]):
        found = subprocess.run(
            [sys.executable, "-c", program, *map(str, command)], capture_output=True, text=True, check=True, timeout=60
        )
        assert found.stdout.splitlines()[-1] == "0 []"


def test_show_as_json_has_stable_keys(scorer: Command, cards: Bundle) -> None:
    """What a program may rely on."""
    code, out, _ = scorer("show", cards.path, "--json")

    found = json.loads(out)
    keys = {"verified", "sha256", "signed", "name", "version", "created", "format", "libraries", "fingerprint"}
    keys |= {"events", "model", "bands", "tolerance", "files", "figures", "reference", "features", "golden"}
    assert code == 0
    assert found.keys() == keys
    assert found["features"][3] == {
        "input": "features",
        "name": "log__amount",
        "dtype": "float32",
        "fields": ["amount"],
        "made": "amount, log1p",
    }
    assert found["golden"]["events"] == cards.proof.events == sum(found["golden"]["chosen"].values())


@pytest.mark.parametrize("command", ["show", "diff"])
def test_an_altered_bundle_is_not_shown(scorer: Command, cards: Bundle, tmp_path: Path, command: str) -> None:
    """What cannot be trusted is not told as if it could."""
    copy = Path(shutil.copytree(cards.path, tmp_path / "cards"))
    with (copy / "golden.npz").open("ab") as file:
        file.write(b"\x00")

    code, out, err = scorer(command, copy, *([cards.path] if command == "diff" else []))

    assert (code, out) == (20, "")
    assert "golden.npz: altered" in err
    assert len(err.splitlines()) == 1


def resealed(path: Path, edit: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    """Edit a manifest, list its files as they are now, and seal it anew: what somebody does who hides a change."""
    manifest = json.loads((path / "bundle.json").read_bytes())
    for entry in manifest["files"]:
        file = path / entry["path"]
        entry |= {"size": file.stat().st_size, "sha256": digest(file)}
    edit(manifest)
    (path / "bundle.json").write_bytes(reseal(json.dumps(manifest).encode()))


def nested_too_deeply(path: Path) -> None:
    (path / "bundle.json").write_bytes(b'{"format":1,"plan":' * 200_000)


def torn(path: Path) -> None:
    (path / "golden.npz").write_bytes((path / "golden.npz").read_bytes()[:-30])
    resealed(path)


def emptied(path: Path) -> None:
    (path / "golden.npz").write_bytes(b"")
    resealed(path)


def deep_event(path: Path) -> None:
    with (path / "golden.jsonl").open("ab") as file:
        file.write(b'{"event":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}\n")
    resealed(path)


def without_inputs(path: Path) -> None:
    resealed(path, lambda manifest: manifest["model"]["inputs"].clear())


def a_feature_less(path: Path) -> None:
    resealed(path, lambda manifest: manifest["plan"]["inputs"]["features"]["node"]["features"].pop())


def a_directory_more(path: Path) -> None:
    (path / "model" / ".e").mkdir()


@pytest.mark.parametrize(
    "spoil", [nested_too_deeply, torn, emptied, deep_event, without_inputs, a_feature_less, a_directory_more]
)
@pytest.mark.parametrize("command", ["show", "diff"])
def test_a_hostile_bundle_is_one_line(
    scorer: Command, cards: Bundle, tmp_path: Path, command: str, spoil: Callable[[Path], None]
) -> None:
    """However it was spoilt and sealed again: it names the bundle, not the private copy, and shows nothing."""
    copy = Path(shutil.copytree(cards.path, tmp_path / "cards"))
    spoil(copy)

    code, out, err = scorer(command, copy, *([cards.path] if command == "diff" else []))

    assert (code, out) == (20, "")
    assert str(copy) in err
    assert len(err.splitlines()) == 1


def spoilt(value: Any, draw: random.Random) -> Any:
    """Return a JSON document with one place of it changed at random."""
    if isinstance(value, dict | list) and value and draw.random() < 0.9:
        place = draw.choice(list(value) if isinstance(value, dict) else list(range(len(value))))
        if draw.random() < 0.25:
            if isinstance(value, dict):
                return {name: inner for name, inner in value.items() if name != place}
            return [*value[:place], *value[place + 1 :]] if draw.random() < 0.5 else [*value, value[place]]
        changed = spoilt(value[place], draw)
        if isinstance(value, dict):
            return {**value, place: changed}
        return [*value[:place], changed, *value[place + 1 :]]
    return draw.choice([0, -1, 10**9, 1.5, "x", "", None, [], {}, True])


def test_no_manifest_breaks_the_telling(cards: Bundle) -> None:
    """A thousand manifests, each changed at one place and sealed again: told, or refused by name."""
    draw, told = random.Random(5), 0
    document = json.loads((cards.path / "bundle.json").read_bytes())
    for _ in range(1000):
        text = reseal(json.dumps(spoilt(document, draw)).encode())
        try:
            found = decode(text, Path("bundle.json"))
            consistent(found.plan, found.model.inputs, found.events, Path("bundle"))
        except BundleError:
            continue
        features(found.plan)
        list(contract.rows(found, "0" * 64, signed=False))
        told += 1
    assert told > 20


def test_diff_tells_what_changed(scorer: Command, cards: Bundle, again: Bundle) -> None:
    """Identity, bands, features, statistics, categories, drift, files, scores and decisions, in one reading."""
    code, out, err = scorer("diff", cards.path, again.path)

    assert code == 0, err
    for line in (
        "identity        version: 7 → 8",
        "bands           review: 0.4 → 0.45",
        "feature         + features/category__country_NO",
        "categories      country: gained ['NO']",
        "file            golden.npz: other contents",
        "model           inputs.features.shape: [None, 11] → [None, 12]",
    ):
        assert line in out.splitlines()
    mean = cards.manifest.reference.fields["amount"].mean  # type: ignore[union-attr]  # packed with both
    assert f"statistic       features/number__amount: center {mean:.6g} → " in out
    assert "PSI             score " in out
    assert "scores          mean " in out
    assert "largest change  " in out


def test_diff_counts_decisions_over_the_golden_events_of_both(
    scorer: Command, cards: Bundle, trained: Trained, tmp_path: Path
) -> None:
    """The same model with another edge: scores stay to the bit, and just those between the edges are decided anew."""
    other = pack_cards(trained, tmp_path / "other", bands={"review": 0.5, "block": 0.6})
    both = [golden.read(bundle.path, "transaction_id", bundle.path) for bundle in (cards, other)]
    scores = {value: score for one in both for value, score in zip(one.values, one.scores, strict=True)}
    between = [score for score in scores.values() if np.float32(0.4) <= score < np.float32(0.5)]

    code, out, err = scorer("diff", cards.path, other.path, "--json")

    assert code == 0, err
    said = json.loads(out)["verdicts"]
    assert said["events"] == said["both"] == said["identical"] == len(scores)
    assert said["changed"] == len(between) > 0
    assert {(cell["before"], cell["after"]): cell["events"] for cell in said["matrix"]}["review", "approve"] == len(
        between
    )
    assert sum(cell["events"] for cell in said["matrix"]) == said["both"]


def test_diff_without_scores_loads_no_model(scorer: Command, cards: Bundle, again: Bundle) -> None:
    """The contracts are compared all the same."""
    code, out, _ = scorer("diff", cards.path, again.path, "--no-scores", "--json")

    found = json.loads(out)
    assert code == 0
    assert found["verdicts"] is None
    assert found["differs"] is True
    assert found["features"]["added"] == ["features/category__country_NO"]
    assert found["before"]["version"] == "7"


def test_the_exit_code_tells_a_difference_only_when_asked(scorer: Command, cards: Bundle, again: Bundle) -> None:
    """As `git diff` has it."""
    assert scorer("diff", cards.path, again.path, "--no-scores")[0] == 0
    assert scorer("diff", cards.path, again.path, "--no-scores", "--exit-code")[0] == 1
    code, out, _ = scorer("diff", cards.path, cards.path, "--exit-code")
    assert code == 0
    assert "the same bundle: no byte of it differs" in out


def test_long_work_is_told_off_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line now and then with the step it is at; a command whose standard error is for faults alone is silent."""
    monkeypatch.setattr(waiting, "EVERY", 0.0)
    told = ""

    with waiting.waiting("reading events") as step:
        step("packing")
        while " packing, " not in told:
            told += capsys.readouterr().err
    assert re.search(r"^scorer: packing, \d+ s so far$", told, re.MULTILINE)
    capsys.readouterr()
    with waiting.waiting("checking", lines=False) as step:
        step("proving")
    assert capsys.readouterr().err == ""
