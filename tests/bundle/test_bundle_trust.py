"""Trust: what was verified is what is loaded, who signed it is known, and nothing unproven runs inside the service."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from bundles import Trained, pack_cards
from hypothesis import given
from hypothesis import strategies as st

from scorer.bundle import Bundle, load, pack
from scorer.bundle.golden import as_records
from scorer.bundle.manifest import digest, reseal
from scorer.bundle.trust import signing
from scorer.bundle.trust.admission import Admission
from scorer.bundle.trust.cache import Cache
from scorer.bundle.trust.custody import Held, take
from scorer.bundle.trust.rollback import Served, order
from scorer.errors import BundleError, ConfigError, PackError
from scorer.records import Inputs

Openssl = Callable[..., Path]


@pytest.fixture(scope="session")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> Openssl:
    """Give what makes key files as their users do; fail under SCORER_REQUIRE_ALL=1 where there is no openssl."""
    program = shutil.which("openssl")
    if program is None:
        assert os.environ.get("SCORER_REQUIRE_ALL") != "1"
        pytest.skip("no openssl")
    directory = tmp_path_factory.mktemp("keys")

    def make(name: str, *arguments: str | Path) -> Path:
        path = directory / name
        if not path.exists():
            subprocess.run([program, *map(str, arguments), "-out", str(path)], check=True, capture_output=True)
        return path

    return make


@pytest.fixture(scope="session")
def private(openssl: Openssl) -> Path:
    """Give a private key."""
    return openssl("release.pem", "genpkey", "-algorithm", "ed25519")


@pytest.fixture(scope="session")
def public(openssl: Openssl, private: Path) -> Path:
    """Give its public half."""
    return openssl("release.pub", "pkey", "-in", private, "-pubout")


@pytest.fixture(scope="session")
def other(openssl: Openssl) -> Path:
    """Give the public half of another key."""
    key = openssl("other.pem", "genpkey", "-algorithm", "ed25519")
    return openssl("other.pub", "pkey", "-in", key, "-pubout")


@pytest.fixture(scope="session")
def signed(trained: Trained, private: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a signed bundle's directory, which is not to be changed."""
    return pack_cards(trained, tmp_path_factory.mktemp("signed") / "cards", sign=private).path


@pytest.fixture
def copy(signed: Path, tmp_path: Path) -> Path:
    """Give a signed bundle that a test may spoil."""
    return Path(shutil.copytree(signed, tmp_path / "cards"))


def rewrite(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit a bundle's manifest and seal it anew, as someone does who hides a change."""
    manifest = json.loads((path / "bundle.json").read_bytes())
    edit(manifest)
    (path / "bundle.json").write_bytes(reseal(json.dumps(manifest).encode()))


def relist(path: Path) -> None:
    """Make the manifest list all files of the model as they are now; TensorFlow leaves an empty `assets`."""
    if (assets := path / "model" / "assets").is_dir() and not any(assets.iterdir()):
        assets.rmdir()
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith("bundle.")]
    entries = [
        {"path": file.relative_to(path).as_posix(), "size": file.stat().st_size, "sha256": digest(file)}
        for file in files
    ]
    rewrite(path, lambda manifest: manifest.update(files=entries))


FLIPS = """
import random
import sys
from pathlib import Path
from scorer.bundle import load
from scorer.errors import BundleError
path, keys, times = Path(sys.argv[1]), [Path(key) for key in sys.argv[3:]], int(sys.argv[2])
draw, tried = random.Random(7), 0
for file in sorted(path.rglob("*")):
    content = file.read_bytes() if file.is_file() else b""
    if file.name == "bundle.sig" and not keys:
        continue
    for bit in {draw.randrange(8 * len(content)) for _ in range(times)} if content else ():
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            load(path, keys=keys)
        except BundleError as error:
            assert str(path) in str(error), error
            assert "scorer-bundle-" not in str(error), error
            tried += 1
        else:
            raise AssertionError(f"{file}: bit {bit} does not matter")
    if content:
        file.write_bytes(content)
print(tried, "tensorflow" in sys.modules)
"""


@pytest.mark.parametrize("with_keys", [True, False])
def test_one_flipped_bit_anywhere_is_refused_before_tensorflow_is_loaded(
    copy: Path, public: Path, with_keys: bool
) -> None:
    """In every file, the manifest and the signature among them, at random places; nothing has been executed."""
    found = subprocess.run(
        [sys.executable, "-c", FLIPS, copy, "60", *([public] if with_keys else [])],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert found.returncode == 0, found.stderr
    tried, loaded = found.stdout.split()
    assert int(tried) > 60 * 5
    assert loaded == "False"


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "model/../../x", "/etc/passwd", "model//x", "./golden.npz", "model/", "", "model\\x", "model/a\nb"),
        *("bundle.json", "BUNDLE.json", "bundle.sig", "/".join("abcdefghijklmnopqrstuvwxyz")),
    ],
)
def test_a_listed_name_that_is_no_plain_file_below_the_bundle_is_refused(copy: Path, name: str) -> None:
    """The manifest comes from outside, and its names become files of the private copy."""
    rewrite(copy, lambda manifest: manifest["files"].append({"path": name, "size": 1, "sha256": "0" * 64}))

    with pytest.raises(BundleError, match=r"bundle\.json: lists .* no name of a file"):
        load(copy)


@pytest.mark.parametrize("name", ["golden.npz", "Golden.NPZ", "MODEL/x", "golden.npz/x"])
def test_a_name_listed_twice_is_refused(copy: Path, name: str) -> None:
    """Also where a file system without case would take two for one, or a file would have to be a directory."""
    rewrite(copy, lambda manifest: manifest["files"].append({"path": name, "size": 1, "sha256": "0" * 64}))

    with pytest.raises(BundleError, match=r"bundle\.json: lists "):
        load(copy)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        above = Path.cwd()
        os.chdir(path.parent)  # a socket's path may be 108 bytes long
        server.bind(path.name)
        os.chdir(above)


@pytest.mark.parametrize("name", ["golden.npz", "model/saved_model.pb", "more", "bundle.json", "bundle.sig"])
@pytest.mark.parametrize("make", [_pipe, _socket])
def test_what_is_no_regular_file_is_refused_at_once(copy: Path, name: str, make: Callable[[Path], None]) -> None:
    """Opening a pipe would wait for ever."""
    (copy / name).unlink(missing_ok=True)
    make(copy / name)

    with pytest.raises(BundleError, match=name):
        load(copy)


@pytest.mark.parametrize("name", ["bundle.sig", "bundle.json", "model/variables", "model/more"])
def test_links_are_refused_wherever_they_lead(copy: Path, tmp_path: Path, name: str) -> None:
    """The signature, directories and links that are not listed are no exception; nor one that stays inside."""
    target = tmp_path / "target"
    if (copy / name).exists():
        (copy / name).rename(target)
    (copy / name).symlink_to(target)

    with pytest.raises(BundleError, match=f"{name}: .*symbolic"):
        load(copy)


def test_the_bundles_directory_itself_may_be_reached_by_a_link(signed: Path, tmp_path: Path) -> None:
    """Releases are switched by such a link; it is followed once, and all files come from where it led then."""
    (tmp_path / "current").symlink_to(signed)

    assert load(tmp_path / "current").manifest.name == "cards"


def test_a_half_written_directory_is_refused(copy: Path) -> None:
    """The manifest is written last, and without it nothing counts."""
    (copy / "bundle.json").unlink()

    with pytest.raises(BundleError, match="without its manifest this is no bundle"):
        load(copy)


@pytest.mark.parametrize("spoil", [True, False])
def test_what_was_verified_is_what_is_loaded(copy: Path, cards: Bundle, spoil: bool) -> None:
    """Whoever exchanges files after the verification is too late: the private copy counts, and nobody else reads it."""
    seen: list[Path] = []

    def exchange(held: Held) -> None:
        seen.append(held.directory)
        assert held.directory.stat().st_mode & 0o777 == 0o700
        for file in (file for file in copy.rglob("*") if file.is_file()):
            file.write_bytes(b"something else")
        if spoil:
            raise BundleError("refused by a gate")

    if spoil:
        with pytest.raises(BundleError, match="refused by a gate"):
            load(copy, gates=[exchange])
    else:
        assert load(copy, gates=[exchange]).proof.scores_identical

    assert [path.exists() for path in seen] == [False]


def test_a_bundle_serves_when_its_copy_is_gone(trained: Trained, tmp_path: Path) -> None:
    """A vocabulary that is a file of the SavedModel is in memory by then."""
    import tensorflow as tf

    (tmp_path / "words.txt").write_text("fine\nodd\nbad\n", encoding="utf-8")

    class Words(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        def __init__(self) -> None:
            super().__init__()
            self.words = tf.saved_model.Asset(str(tmp_path / "words.txt"))
            lines = tf.lookup.TextFileInitializer(
                self.words, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            )
            self.table = tf.lookup.StaticHashTable(lines, -1)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
        def score(self, word: Any) -> dict[str, Any]:
            return {"score": tf.reshape((tf.cast(self.table.lookup(word), tf.float32) + 1.5) / 5.0, [-1, 1])}

    module = Words()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.score})
    (tmp_path / "words.txt").unlink()
    events = [{"word": word} for word in ["fine", "odd", "bad", "unknown"] * 20]
    pack(
        tmp_path / "words",
        name="words",
        version="1",
        model=tmp_path / "saved",
        preprocessor=None,
        events=events,
        bands={"block": 0.5},
    )
    shutil.rmtree(tmp_path / "saved")

    bundle = load(tmp_path / "words")
    shutil.rmtree(tmp_path / "words")
    columns, _ = bundle.decode(as_records([b'{"word": "bad"}', b'{"word": "fine"}', b'{"word": "nowhere"}']))
    inputs, _ = bundle.transform(columns)
    scores, rejected = bundle.model(Inputs(inputs.rows, inputs.arrays))

    assert not rejected
    np.testing.assert_allclose(scores.score, [0.7, 0.3, 0.1], rtol=1e-6)


def test_a_bundle_signed_by_a_trusted_key_is_loaded(signed: Path, public: Path, other: Path) -> None:
    """Any one of the keys will do; the bundle says that it is signed, and by whom."""
    found = load(signed, keys=[other, public])

    assert (found.signed, found.signer) == (True, signing.key_id(public))


def test_without_trusted_keys_signatures_are_not_looked_at(copy: Path, cards: Bundle) -> None:
    """One that is there is reported as not verified."""
    (copy / "bundle.sig").write_bytes(b"none")

    assert (load(copy).signed, load(copy).signer) == (True, "")
    assert not cards.signed


def test_openssl_verifies_the_signature_too(signed: Path, public: Path) -> None:
    """It is the raw signature over the manifest's exact bytes: an auditor needs nothing of ours."""
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    files = ["-in", str(signed / "bundle.json"), "-sigfile", str(signed / "bundle.sig")]
    found = subprocess.run([*command, *files], capture_output=True, text=True, check=False)

    assert (signed / "bundle.sig").stat().st_size == 64
    assert (found.returncode, found.stdout.strip()) == (0, "Signature Verified Successfully")


UNTRUSTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "unsigned": (lambda path: (path / "bundle.sig").unlink(), "not signed"),
    "edited": (lambda path: rewrite(path, lambda m: m.update(version="8")), "altered since"),
    "a swapped scaler": (
        lambda path: rewrite(path, lambda m: m["plan"]["inputs"]["features"]["node"]["steps"][0]["branches"].reverse()),
        "altered since",
    ),
    "cut": (lambda path: (path / "bundle.sig").write_bytes(bytes(63)), "63 bytes"),
    "zeros": (lambda path: (path / "bundle.sig").write_bytes(bytes(64)), "not signed by a trusted key"),
    "of no use": (lambda path: (path / "bundle.sig").write_bytes(bytes(4096)), "4096 bytes"),
}


@pytest.mark.parametrize("case", UNTRUSTED)
def test_what_no_trusted_key_signed_is_refused(copy: Path, public: Path, case: str) -> None:
    """Whatever its seal says; the message names the keys that were tried."""
    spoil, said = UNTRUSTED[case]
    spoil(copy)

    with pytest.raises(BundleError, match=said) as refused:
        load(copy, keys=[public])

    assert refused.value.exit_code == 20


def test_the_signature_of_another_key_is_refused(signed: Path, other: Path) -> None:
    """With the key file that was tried."""
    with pytest.raises(BundleError, match=rf"bundle\.sig: not signed by a trusted key.*tried .*{other.name}"):
        load(signed, keys=[other])


@pytest.mark.parametrize("kind", ["missing", "garbage", "private", "rsa", "directory"])
def test_a_trusted_key_that_is_none_is_a_fault_of_the_configuration(
    openssl: Openssl, private: Path, signed: Path, tmp_path: Path, kind: str
) -> None:
    """With its file and what to do; it is never skipped in silence."""
    rsa = openssl("rsa.pem", "genpkey", "-algorithm", "rsa")
    path = {"private": private, "rsa": openssl("rsa.pub", "pkey", "-in", rsa, "-pubout"), "directory": tmp_path}.get(
        kind, tmp_path / kind
    )
    (tmp_path / "garbage").write_bytes(b"-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----\n")

    with pytest.raises(ConfigError, match=rf"{path}: "):
        load(signed, keys=[path])


def test_an_encrypted_key_signs_with_its_passphrase(openssl: Openssl) -> None:
    """From the environment: not from the command line, which other users see."""
    path = openssl("locked.pem", "genpkey", "-algorithm", "ed25519", "-aes-256-cbc", "-pass", "pass:horse")

    assert len(signing.private_key(path, {"SCORER_SIGN_PASSPHRASE": "horse"}).sign(b"")) == 64
    with pytest.raises(PackError, match="encrypted: set its passphrase in SCORER_SIGN_PASSPHRASE"):
        signing.private_key(path, {})
    with pytest.raises(PackError, match="cannot be decrypted"):
        signing.private_key(path, {"SCORER_SIGN_PASSPHRASE": "donkey"})


def test_a_passphrase_does_not_disturb_a_key_without_one(private: Path) -> None:
    """The variable may be set for another key."""
    assert len(signing.private_key(private, {"SCORER_SIGN_PASSPHRASE": "horse"}).sign(b"")) == 64


@pytest.mark.parametrize("kind", ["missing", "garbage", "public", "rsa"])
def test_a_key_that_cannot_sign_is_refused_before_anything_is_packed(
    openssl: Openssl, trained: Trained, public: Path, tmp_path: Path, kind: str
) -> None:
    """With its file."""
    rsa = openssl("rsa.pem", "genpkey", "-algorithm", "rsa")
    path = {"public": public, "rsa": rsa}.get(kind, tmp_path / kind)
    (tmp_path / "garbage").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAA\n-----END PRIVATE KEY-----\n")

    with pytest.raises(PackError, match=rf"{path}: "):
        pack_cards(trained, tmp_path / "bundle", sign=path)

    assert not (tmp_path / "bundle").exists()


ASCENDING = ["", "1", "1.2", "1.9", "1.10", "1.10-rc1", "2", "007a", "9", "10", "2024-12-31", "2025-01-02", "9" * 5000]


def test_versions_have_a_natural_order() -> None:
    """Digits are numbers of any length, the rest is text."""
    assert sorted(ASCENDING, key=order) == ASCENDING
    assert order("v10") > order("v9")
    assert order("1.0.0") == order("1.00.0")


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_text_is_a_version(versions: list[str]) -> None:
    """Whatever a manifest holds, versions can be compared, and equal texts are equal."""
    assert all(order(version) == order(version) for version in sorted(versions, key=order))


@pytest.fixture
def held(signed: Path) -> Iterator[Held]:
    """Give a bundle in custody: cards, version 7."""
    with take(signed) as held:
        yield held


def serve(directory: Path, bundle: Bundle, version: str, signer: str = "somebody") -> None:
    """Remember that a version of the bundle's name was served."""
    import msgspec

    manifest = msgspec.structs.replace(bundle.manifest, version=version)
    served = dataclasses.replace(bundle, manifest=manifest, signed=True, signer=signer)
    Served(Cache(directory), [signer], frozenset()).remember([served])


@pytest.mark.parametrize(("before", "refused"), [("8", True), ("10", True), ("7.1", True), ("7", False), ("6", False)])
def test_an_older_version_than_served_is_refused(
    cards: Bundle, held: Held, tmp_path: Path, before: str, refused: bool
) -> None:
    """Unless allowed by name; the highest version counts, whatever was served last."""
    serve(tmp_path, cards, before)
    serve(tmp_path, cards, "5")

    Served(Cache(tmp_path), ["somebody"], frozenset({"cards:7"}))(held)
    gate = Served(Cache(tmp_path), ["somebody"], frozenset({"cards:6", "other:7"}))
    if not refused:
        gate(held)
        return
    with pytest.raises(BundleError, match=rf"older than {before}, .* add cards:7 to trust\.allow_rollback"):
        gate(held)


def test_versions_are_remembered_by_signer(cards: Bundle, held: Held, public: Path, tmp_path: Path) -> None:
    """What one key signed shuts out nothing that another did; without trusted keys, nothing is shut out."""
    serve(tmp_path, cards, "999", signing.key_id(public))
    environment = {"SCORER_CACHE": str(tmp_path)}

    with pytest.raises(BundleError, match="older than 999"):
        Served.of(environment, [public], [])(held)
    Served(Cache(tmp_path), ["somebody"], frozenset())(held)
    Served.of(environment, [], [])(held)


@pytest.mark.parametrize("kind", ["missing", "a file", "of everyone", "none", "torn"])
def test_a_memory_that_cannot_be_kept_stops_nobody(
    cards: Bundle, held: Held, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says so; what others may have written there is not believed."""
    directory = tmp_path / "cache"
    if kind in ("of everyone", "torn"):
        serve(directory, cards, "8")
        for file in (directory / "served").iterdir():
            file.write_bytes(b"{") if kind == "torn" else file.chmod(0o666)
    if kind == "of everyone":
        (directory / "served").chmod(0o777)
    if kind == "a file":
        directory.write_bytes(b"")
    memory = Served(Cache(None if kind == "none" else directory), [""], frozenset())

    memory(held)
    with caplog.at_level(logging.WARNING):
        memory.remember([cards, cards])

    assert len(caplog.records) == (0 if kind in ("missing", "torn") else 1)


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({"SCORER_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, Path("/c")),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, Path("/x/scorer")),
        ({"XDG_CACHE_HOME": "x", "HOME": "/h"}, Path("/h/.cache/scorer")),
        ({"SCORER_CACHE": ""}, None),
    ],
)
def test_the_memory_lies_where_the_environment_says(environment: dict[str, str], directory: Path | None) -> None:
    """In the order of the documentation."""
    assert Cache.of(environment).directory == directory


def test_what_was_packed_here_starts_at_once(signed: Path, held: Held) -> None:
    """Packing has proved it: a gate of no time at all lets it pass."""
    Admission(Cache.of(os.environ), os.environ, seconds=0.0)(held)


def test_an_unseen_bundle_is_tried_once(held: Held, tmp_path: Path) -> None:
    """In a process of its own; then its verdict is remembered, unless others may write to it."""
    cache = Cache(tmp_path / "cache")
    Admission(cache, os.environ)(held)

    Admission(cache, os.environ, seconds=0.0)(held)
    (verdict,) = (tmp_path / "cache" / "admitted").iterdir()
    verdict.chmod(0o666)
    with pytest.raises(BundleError, match="did not load within 0 s"):
        Admission(cache, os.environ, seconds=0.0)(held)


def test_a_trial_that_fails_says_why_and_is_not_remembered(copy: Path, tmp_path: Path) -> None:
    """With the error that `load` itself would raise, and the path as it was given."""
    rewrite(copy, lambda manifest: manifest["model"].update(score="logit"))
    with pytest.raises(BundleError) as direct:
        load(copy)

    with pytest.raises(BundleError) as refused, take(copy) as held:
        Admission(Cache(tmp_path / "cache"), os.environ)(held)

    assert type(refused.value) is type(direct.value)
    assert str(refused.value) == str(direct.value)
    assert not (tmp_path / "cache").exists()


def replace_model(path: Path, score: Callable[[Any], Any]) -> None:
    """Put another SavedModel of the same signature into a bundle, and list its files."""
    import tensorflow as tf

    module = tf.Module()
    module.score = tf.function(
        lambda features: {"fraud": score(features)}, input_signature=[tf.TensorSpec([None, 11], name="features")]
    )
    shutil.rmtree(path / "model")
    tf.saved_model.save(module, str(path / "model"), signatures={"serving_default": module.score})
    relist(path)


def test_a_model_that_hangs_is_refused_in_time(copy: Path, tmp_path: Path) -> None:
    """Its process is gone then, and it saw nothing of the service's environment."""
    import tensorflow as tf

    def endless(features: Any) -> Any:
        (found,) = tf.while_loop(lambda x: tf.reduce_sum(x) < np.inf, lambda x: (x * 0.5,), [features])
        return found[:, :1]

    replace_model(copy, endless)
    environment = {"PATH": os.environ["PATH"], "SCORER__KAFKA__SASL_PASSWORD": "hunter2", "AWS_SECRET": "hunter2"}
    gate, seen, tried = Admission(Cache(tmp_path / "cache"), environment, seconds=8.0), {}, threading.Event()

    def watch() -> None:
        while not tried.wait(0.05):
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if "scorer.bundle.trust.trial" in child.cmdline():
                        seen[child] = child.environ()

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    with pytest.raises(BundleError, match=f"{copy}: did not load within 8 s"), take(copy) as held:
        gate(held)
    tried.set()
    watcher.join()

    assert time.monotonic() - started < 60
    assert seen
    assert not any(child.is_running() for child in seen)
    assert all("hunter2" not in str(found) for found in seen.values())


def test_a_model_that_eats_the_memory_costs_its_trial_only(copy: Path, tmp_path: Path) -> None:
    """One text of 4 GiB ends the process that makes it, TensorFlow and all; the limit comes on top of TensorFlow."""
    import tensorflow as tf

    def greedy(features: Any) -> Any:
        text = tf.strings.join([tf.strings.as_string(features[0, 0]), "x" * (1 << 16)])
        length = tf.strings.length(tf.strings.reduce_join(tf.fill([1 << 16], text)))
        return tf.cast(length, tf.float32) * features[:, :1]

    replace_model(copy, greedy)

    with pytest.raises(BundleError, match=r"died with SIGABRT, .* more than 1 GiB of memory"), take(copy) as held:
        Admission(Cache(tmp_path / "cache"), os.environ, memory=1 << 30)(held)


def test_run_asks_for_trust(bootstrap: str, cards: Bundle, signed: Path, public: Path, tmp_path: Path) -> None:
    """With trusted keys, `scorer run` refuses the unsigned bundle, and the version below one that was served."""

    def run(bundle: Path, **trust: Any) -> subprocess.CompletedProcess[str]:
        document = {
            "kafka": {"bootstrap.servers": bootstrap},
            "group": "trust",
            "create_topics": True,
            "topics": {"trust": {"bundle": str(bundle), "decisions": "trust.decisions", "dead_letters": "trust.dlq"}},
            "trust": trust,
            "http": {"listen": "127.0.0.1:0"},
        }
        (tmp_path / "scorer.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "scorer", "run", str(tmp_path / "scorer.yaml")],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            env=os.environ | {"SCORER_CACHE": str(tmp_path / "cache")},
        )

    (tmp_path / "release.pub").write_bytes(public.read_bytes())
    serve(tmp_path / "cache", cards, "8", signing.key_id(public))
    unsigned, older = run(cards.path, keys=["release.pub"]), run(signed, keys=["release.pub"])

    assert unsigned.returncode == older.returncode == 20, unsigned.stderr + older.stderr
    assert f"{cards.path}: not signed" in unsigned.stderr.splitlines()[-1]
    assert str(tmp_path / "release.pub") in unsigned.stderr.splitlines()[-1]
    assert "add cards:7 to trust.allow_rollback" in older.stderr.splitlines()[-1]
