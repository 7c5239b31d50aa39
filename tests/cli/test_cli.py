"""The command line as a stranger meets it: one line, the right exit code, never a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scorer import errors
from scorer.bundle import Bundle
from scorer.bundle.manifest import digest, reseal

NOWHERE = "127.0.0.1:1"
"""Nothing listens on port 1."""


def scorer(*arguments: str | Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as its user does; whatever it says, it says without a traceback."""
    found = subprocess.run(
        [sys.executable, "-m", "scorer", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=environment,
    )
    assert "Traceback" not in found.stderr
    assert "Error(" not in found.stderr
    return found


def complaint(found: subprocess.CompletedProcess[str]) -> str:
    """Return what is said on standard error beside the log, which is JSON lines."""
    return "\n".join(line for line in found.stderr.splitlines() if not line.startswith("{"))


def settings(directory: Path, bootstrap: str = NOWHERE, bundle: Path = Path("nowhere"), **changes: Any) -> Path:
    """Write a configuration, whole but for what `changes` say."""
    lane = {"bundle": str(bundle), "decisions": "payments.decisions", "dead_letters": "payments.dlq"}
    document = {
        "kafka": {"bootstrap.servers": bootstrap},
        "group": "cards",
        "topics": {"payments": lane},
        "http": {"listen": "127.0.0.1:0"},
    }
    path = directory / "scorer.yaml"
    path.write_text(yaml.safe_dump(document | changes), encoding="utf-8")
    return path


def codes() -> dict[str, int]:
    """Return the exit code that each error class itself sets."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ScorerError)]
    return {kind.__name__: vars(kind)["exit_code"] for kind in kinds}


def test_every_error_has_an_exit_code_of_its_own() -> None:
    """Scripts tell them apart; none is 0, nor 2, which the shell's own usage errors have."""
    found = codes()

    assert len(set(found.values())) == len(found)
    assert not {0, 2} & set(found.values())
    assert all(0 < code < 126 for code in found.values())


def test_help_lists_every_command_with_a_sentence() -> None:
    """What there is to run is one screen."""
    found = scorer("--help")

    listed = re.findall(r"^│ ([a-z]+) +([A-Z].*)│$", found.stdout, re.MULTILINE)
    assert found.returncode == 0
    assert {"run", "replay", "pack", "check", "show", "diff", "kafka", "demo"} <= {name for name, _ in listed}


def test_help_imports_no_library_but_the_one_that_prints_it() -> None:
    """It answers in the blink of an eye: what it loads beside the standard library, a bare Typer command loads too."""
    bare = "import typer; main = typer.Typer(); main.command()(lambda: None)"

    assert _loaded_for_help("from scorer.cli import main") - _loaded_for_help(bare) == {"scorer"}


def _loaded_for_help(imports: str) -> set[str]:
    program = f"""
import sys
{imports}
try:
    main()
except SystemExit:
    print(*{{name.partition(".")[0] for name in sys.modules}} - sys.stdlib_module_names - {{"__main__"}})
"""
    found = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    return set(found.stdout.splitlines()[-1].split())


def test_run_makes_no_threads_for_the_cores_of_its_host() -> None:
    """A container has less than the host: NumPy's pool, as large as the host by itself, is one thread."""
    program = """
from scorer.cli import main
try:
    main()
except SystemExit:
    import numpy, threadpoolctl
    print({pool["num_threads"] for pool in threadpoolctl.threadpool_info()})
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    found = subprocess.run(
        [sys.executable, "-c", program, "run", "nowhere.yaml"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert found.stdout == "{1}\n"


@pytest.mark.parametrize("command", ["run", "pack", "check", "show", "diff", "replay", "kafka", "demo"])
def test_every_command_explains_itself(command: str) -> None:
    """`--help` works without a configuration, a broker or a bundle."""
    found = scorer(command, "--help")

    assert found.returncode == 0
    assert "Usage" in found.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that takes nothing")
def test_an_output_that_takes_no_more_is_told_in_one_line(cards: Bundle) -> None:
    for arguments in (["--help"], ["check", str(cards.path)]):
        with Path("/dev/full").open("w") as full:
            found = subprocess.run(
                [sys.executable, "-m", "scorer", *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=180,
                check=False,
            )
        assert found.returncode == errors.OutputError.exit_code
        assert complaint(found) == (
            "scorer: the output cannot be written: No space left on device; make room, or write somewhere else"
        )


def test_a_closed_output_is_no_error(cards: Bundle) -> None:
    """Whoever starts the command may have closed it: `>&-`."""
    found = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", sys.executable, "-m", "scorer", "check", str(cards.path)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=180,
        check=False,
    )
    assert (found.returncode, complaint(found)) == (0, "")


def unheard(how: str, *arguments: str | Path) -> list[str]:
    """Return a command whose standard error cannot be written: it is closed, or its disk is full."""
    if how == "2>/dev/full" and not Path("/dev/full").exists():
        pytest.skip("needs a device that takes nothing")
    return ["sh", "-c", f'exec "$@" {how}', "sh", sys.executable, "-m", "scorer", *map(str, arguments)]


@pytest.mark.parametrize("how", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize(
    ("arguments", "code"), [(["rum"], 2), (["run", "nowhere.yaml"], 10), (["check", "bundles/nowhere"], 20)]
)
def test_an_exit_code_does_not_depend_on_whether_anybody_can_be_told(how: str, arguments: list[str], code: int) -> None:
    """Scripts read it where nobody reads the line."""
    found = subprocess.run(unheard(how, *arguments), capture_output=True, timeout=180, check=False)

    assert (found.returncode, found.stdout) == (code, b"")


@pytest.mark.parametrize("how", ["2>/dev/full", "2>&-"])
def test_a_command_that_succeeds_needs_nobody_to_tell(how: str, cards: Bundle) -> None:
    found = subprocess.run(unheard(how, "check", cards.path), capture_output=True, timeout=180, check=False)

    assert found.returncode == 0
    assert b"golden events" in found.stdout


def test_an_unknown_command_is_a_usage_error() -> None:
    """As every other tool has it."""
    assert scorer("rum").returncode == 2


def test_all_faults_of_a_configuration_are_told_at_once(tmp_path: Path) -> None:
    """Unknown keys with the one that was meant, ill-typed values, missing ones: one run, one list, with lines."""
    path = settings(
        tmp_path,
        goup="x",
        instance=0,
        batch={"max_event": 10, "max_wait_ms": "soon"},
        topics={"payments": {"bundle": "b", "decisons": "d", "dead_letters": "q"}},
        create_topics="perhaps",
    )

    found = scorer("run", path)

    said = complaint(found)
    assert found.returncode == 10
    for place, hint in [("goup", "group"), ("batch.max_event", "max_events"), ("payments.decisons", "decisions")]:
        assert re.search(rf"scorer\.yaml:\d+: .*{re.escape(place)}: unknown key; did you mean.*{hint}", said), said
    assert re.search(r"max_wait_ms: must be a number, not 'soon'", said), said
    assert re.search(r"create_topics: must be true or false", said), said
    assert "payments.decisions: missing" in said
    assert "6 faults" in said


@pytest.mark.parametrize(
    ("name", "text"), [("nowhere.yaml", None), ("scorer.json", "{}"), ("scorer.yaml", ""), ("scorer.yaml", "a: [")]
)
def test_a_configuration_that_cannot_be_read_is_refused(tmp_path: Path, name: str, text: str | None) -> None:
    """Missing, of another kind, empty, or no YAML: with its path."""
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")

    found = scorer("run", tmp_path / name)

    assert found.returncode == 10
    assert str(tmp_path / name) in complaint(found)


@pytest.mark.parametrize("how", ["file", "option"])
def test_a_property_that_the_scorer_owns_is_refused(tmp_path: Path, how: str) -> None:
    """Wherever it is set, its name is told, and what to do instead."""
    kafka = {"bootstrap.servers": NOWHERE} | ({"group.id": "mine"} if how == "file" else {})
    options = [] if how == "file" else ["-X", "group.id=mine"]

    found = scorer("run", settings(tmp_path, kafka=kafka), *options)

    assert found.returncode == 11
    assert "group.id" in complaint(found)
    assert "set group instead" in complaint(found)


def test_bands_out_of_order_are_refused(tmp_path: Path) -> None:
    """With the topic and the band."""
    lane = {"bundle": "b", "decisions": "d", "dead_letters": "q", "bands": {"block": 0.9, "review": 0.6}}

    found = scorer("run", settings(tmp_path, topics={"payments": lane}))

    assert found.returncode == 12
    assert "payments.bands.review" in complaint(found)


def test_a_missing_bundle_is_told_by_its_path() -> None:
    """In one line; TensorFlow is not even loaded for it."""
    found = scorer("check", "bundles/nowhere")

    assert found.returncode == 20
    assert found.stderr.startswith("scorer: bundles/nowhere: no such bundle")
    assert len(found.stderr.splitlines()) == 1


def test_an_altered_bundle_is_refused(cards: Bundle, tmp_path: Path) -> None:
    """In one line, with the file."""
    copy = Path(shutil.copytree(cards.path, tmp_path / "cards"))
    with (copy / "model/saved_model.pb").open("ab") as file:
        file.write(b"\x00")

    found = scorer("check", copy)

    assert found.returncode == 20
    assert "saved_model.pb: altered" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_bundle_that_does_not_prove_itself_is_refused(cards: Bundle, tmp_path: Path) -> None:
    """In one line, with the golden event, what it scores here and what it scored when packed."""
    copy = Path(shutil.copytree(cards.path, tmp_path / "cards"))
    first, *others = (copy / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    (copy / "golden.jsonl").write_text(
        "\n".join([json.dumps(json.loads(first) | {"score": 0.123}), *others]), encoding="utf-8"
    )
    manifest = json.loads((copy / "bundle.json").read_bytes())
    entry = next(file for file in manifest["files"] if file["path"] == "golden.jsonl")
    entry |= {"size": (copy / "golden.jsonl").stat().st_size, "sha256": digest(copy / "golden.jsonl")}
    (copy / "bundle.json").write_bytes(reseal(json.dumps(manifest).encode()))

    found = scorer("check", copy)

    assert found.returncode == 21
    assert re.fullmatch(r"scorer: .*: golden event 0 scores .* here, 0\.123 when packed.*\n", found.stderr)


def test_check_prints_the_contract(cards: Bundle) -> None:
    """What goes in, what comes out, the features in their order, the bands, and the digest that decisions carry."""
    found = scorer("check", cards.path)

    assert (found.returncode, found.stderr) == (0, "")
    out = found.stdout
    assert re.search(r"^bundle +cards version 7, packed ", out, re.MULTILINE)
    assert cards.sha256 in out
    assert re.search(r"^event field +balance: number, may be null$", out, re.MULTILINE)
    assert re.search(r"^event field +merchant\.category: string$", out, re.MULTILINE)
    assert re.search(r"^event id, time +transaction_id, event_time$", out, re.MULTILINE)
    features = cards.manifest.plan.inputs["features"].node.features  # type: ignore[union-attr]  # a matrix
    assert f"{len(features)} features: {', '.join(features)}" in out
    assert re.search(r"^model input +features: float32\[batch, 11\]", out, re.MULTILINE)
    assert re.search(r"^model output +fraud, read as probability$", out, re.MULTILINE)
    assert re.search(r"^bands +review from 0\.4, block from 0\.6$", out, re.MULTILINE)
    assert re.search(r"^golden events +\d+ proved: features bit-identical, scores bit-identical", out, re.MULTILINE)


def test_an_unreachable_broker_ends_the_command(cards: Bundle, tmp_path: Path) -> None:
    """Within about 15 seconds, with the address; waiting for ever would look like working."""
    started = time.monotonic()

    found = scorer("run", settings(tmp_path, bundle=cards.path))

    assert found.returncode == 31
    assert NOWHERE in complaint(found)
    assert len(complaint(found).splitlines()) == 1
    assert time.monotonic() - started < 60


def test_a_bundle_without_trust_is_refused_before_kafka_hears_of_it(cards: Bundle, tmp_path: Path) -> None:
    """No broker is asked, no topic made: with trusted keys, an unsigned bundle ends the command first."""
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "release.pub.pem").write_bytes(key)

    found = scorer("run", settings(tmp_path, bundle=cards.path, trust={"keys": ["release.pub.pem"]}))

    assert found.returncode == 20
    assert "not signed" in complaint(found)


def test_a_property_that_librdkafka_does_not_know_is_told_by_name(cards: Bundle, tmp_path: Path) -> None:
    """A typing error in a property is found at the start."""
    kafka = {"bootstrap.servers": NOWHERE, "fetch.mn.bytes": 1}
    found = scorer("run", settings(tmp_path, bundle=cards.path, kafka=kafka))

    assert found.returncode == 30
    assert "fetch.mn.bytes" in complaint(found)


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    """Before anything else is begun: no broker is asked, no model loaded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = scorer("run", settings(tmp_path, http={"listen": f"127.0.0.1:{port}"}))

    assert found.returncode == 40
    assert str(port) in complaint(found)


def test_missing_topics_are_told_all_at_once(bootstrap: str, cards: Bundle, tmp_path: Path) -> None:
    """Nothing is created that nobody asked for."""
    lane = {"bundle": str(cards.path), "decisions": "cli-none.decisions", "dead_letters": "cli-none.dlq"}

    found = scorer("run", settings(tmp_path, bootstrap, topics={"cli-none": lane}))

    assert found.returncode == 32
    assert "cli-none, cli-none.decisions, cli-none.dlq" in complaint(found)
    assert "create_topics" in complaint(found)


def test_a_service_with_a_missing_bundle_does_not_start(tmp_path: Path) -> None:
    """The path is relative to the configuration's directory, and is told whole; no broker is asked."""
    found = scorer("run", settings(tmp_path))

    assert found.returncode == 20
    assert str(tmp_path / "nowhere") in complaint(found)
