"""What a person reads on a panel: real answers through Grafana's own data library (`@grafana/data`)."""

import fcntl
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.kit.programs import ROOT

HERE = ROOT / "tests" / "grafana"
CACHE = ROOT / ".cache" / "grafana"

VERSIONS = ("9.4", "13")
"""The oldest Grafana that is supported, and the newest."""

Json = dict[str, Any]


def library(version: str) -> Path:
    """Where that version lies; it is fetched when missing or when its lock file has changed."""
    lock, home = HERE / version / "package-lock.json", CACHE / version
    wanted, stamp = hashlib.sha256(lock.read_bytes()).hexdigest(), home / "stamp"
    home.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{version}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # test runs side by side
        if not stamp.exists() or stamp.read_text() != wanted:
            for file in (lock, lock.with_name("package.json")):
                (home / file.name).write_bytes(file.read_bytes())
            _run(["npm", "ci", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund"], home)
            stamp.write_text(wanted)
    return home / "node_modules" / "@grafana" / "data"


def displayed(version: str, panels: list[Json]) -> list[list[str]]:
    """The lines of each panel, given as `{"panel": …, "answers": {refId: Prometheus' data}}`."""
    asked = json.dumps({"library": str(library(version)), "panels": panels})
    lines: list[list[str]] = json.loads(_run(["node", str(HERE / "displayed.cjs")], CACHE, asked))
    return lines


def _run(command: list[str], directory: Path, given: str = "") -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | {"LC_ALL": "en_US.UTF-8"},  # numbers as an English browser writes them
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
