"""Libraries from npm that tests run with node, each with a lock file of its own."""

import fcntl
import hashlib
import os
import subprocess
from pathlib import Path

from tests.kit.programs import ROOT

CACHE = ROOT / ".cache"


def installed(where: Path) -> Path:
    """The `node_modules` of that folder's lock file, fetched when missing or when the lock has changed."""
    lock, home = where / "package-lock.json", CACHE / where.relative_to(ROOT / "tests")
    wanted, stamp = hashlib.sha256(lock.read_bytes()).hexdigest(), home / "stamp"
    home.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # test runs side by side
        if not stamp.exists() or stamp.read_text() != wanted:
            for file in (lock, lock.with_name("package.json")):
                (home / file.name).write_bytes(file.read_bytes())
            run(["npm", "ci", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund"], home)
            stamp.write_text(wanted)
    return home / "node_modules"


def run(command: list[str], directory: Path, given: str = "") -> str:
    """Standard output of a program that has to end well."""
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
