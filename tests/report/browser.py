"""A page in headless Chromium: opened, acted on by a script, and read."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000")
WATCH = """<script>window.faults = [];
addEventListener("error", (event) => faults.push(event.message));
addEventListener("securitypolicyviolation", (event) => faults.push(`policy: ${event.violatedDirective}`));
console.error = (...words) => faults.push(words.join(" "));</script>"""
ANSWER = '<script type="text/plain" id="answer">'


def chromium() -> str:
    """Return the browser's command; skip where there is none, fail under SCORER_REQUIRE_ALL=1."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        assert os.environ.get("SCORER_REQUIRE_ALL") != "1", "chromium is not installed"
        pytest.skip("chromium is not installed")
    return found


def acted(page: str, script: str, directory: Path, *flags: str) -> Any:
    """Open a page, run a script in it whose last `return` is the answer, and return that; a fault of the page raises.

    The script may await; `faults` is what went wrong up to its end.
    """
    asked = f"""<script>(async () => {{
let answer;
try {{ answer = await (async () => {{ {script} }})(); }} catch (error) {{ faults.push(String(error.stack)); }}
const held = document.createElement("script");
held.type = "text/plain"; held.id = "answer";
held.textContent = btoa(unescape(encodeURIComponent(JSON.stringify([faults, answer ?? null]))));
document.body.append(held);
}})();</script>"""
    file = directory / "page.html"
    file.write_text(page.replace("<style>", f"{WATCH}<style>", 1).replace("</body>", f"{asked}</body>"), "utf-8")
    profile = f"--user-data-dir={directory / 'profile'}"
    done = subprocess.run(
        [chromium(), *FLAGS, profile, *flags, "--dump-dom", file.as_uri()], capture_output=True, timeout=120, check=True
    )
    dom = done.stdout.decode()
    assert ANSWER in dom, done.stderr.decode()[-2000:]
    faults, answer = json.loads(base64.b64decode(dom.split(ANSWER)[1].split("<")[0]))
    assert faults == []
    return answer
