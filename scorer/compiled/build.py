"""Hatchling's hook that compiles this folder into the wheel, with the C compiler of a wheel: Zig's.

It serves every Python from 3.11 on, by the stable ABI, and every glibc from 2.17 on. Where it cannot be built, as
without Python's headers, the wheel goes without.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("scorer/compiled/columns.c", "scorer/compiled/weave.c")
TARGET = "scorer/compiled/_native.abi3.so"
GLIBC = "2.17"


class CompiledHook(BuildHookInterface[Any]):
    """Compiles, and says in the wheel's name for whom."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Put what is compiled into the wheel, or warn."""
        root = Path(self.root)
        (root / TARGET).unlink(missing_ok=True)
        why = _compile([root / source for source in SOURCES], root / TARGET)
        if why:
            self.app.display_warning(f"scorer/compiled was not compiled, events cost more without it: {why}")
            return
        build_data["pure_python"] = False
        build_data["artifacts"].append(TARGET)
        if sys.platform == "linux":
            build_data["tag"] = f"cp311-abi3-manylinux_{GLIBC.replace('.', '_')}_{platform.machine()}"
        else:
            build_data["infer_tag"] = True


def _compile(sources: Sequence[Path], target: Path) -> str:
    """Compile; return why not, or nothing."""
    if sys.platform not in {"linux", "darwin"}:
        return f"not tried on {sys.platform}"
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").exists():
        return f"{include} has no Python.h; Debian has it in python3-dev"
    # Left to itself, Zig compiles for the very processor that it runs on.
    linux = ["-target", f"{platform.machine()}-linux-gnu.{GLIBC}"]
    where = linux if sys.platform == "linux" else ["-undefined", "dynamic_lookup"]
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-s", *where, f"-I{include}"]
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, "-m", "ziglang", "cc", *flags, *map(str, sources), "-o", str(target)],
            env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache},
            capture_output=True,
            text=True,
            check=False,
        )
    return done.stderr if done.returncode else ""
