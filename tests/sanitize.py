"""`make sanitize`: what is compiled, under AddressSanitizer and UndefinedBehaviorSanitizer, against every parity test.

A program and no test: it needs a C compiler with its sanitizers, which is not the wheel's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ("tests/decode", "tests/test_encode.py", "-k", "not million")
INSIDE = """
import importlib.util, sys, pytest
spec = importlib.util.spec_from_file_location("scorer.compiled._native", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.modules["scorer.compiled._native"] = module
code = pytest.main(sys.argv[2:])
from scorer import compiled
assert compiled.Plan is module.Plan, "the tests had another library"
sys.exit(code)
"""


def build(library: Path) -> None:
    """Compile every C file of the package, to be watched."""
    include = sysconfig.get_path("include")
    flags = ("-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-shared", "-fPIC")
    sources = sorted(map(str, (ROOT / "scorer" / "compiled").glob("*.c")))
    subprocess.run(["cc", *flags, "-fno-sanitize-recover", f"-I{include}", *sources, "-o", str(library)], check=True)


def runtime(name: str) -> str:
    """Return the path of a sanitizer's library, which must be loaded before Python's own."""
    return subprocess.run(["cc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Build, run the tests, and return their exit code."""
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / "_native.so"
        build(library)
        watched = {"LD_PRELOAD": f"{runtime('libasan.so')} {runtime('libubsan.so')}", "ASAN_OPTIONS": "detect_leaks=0"}
        command = [sys.executable, "-c", INSIDE, str(library), "-q", "-p", "no:cacheprovider", *TESTS]
        return subprocess.run(command, cwd=ROOT, env={**os.environ, **watched}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
