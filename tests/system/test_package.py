"""What a user installs: the wheel runs without the repository, and systemd takes the unit."""

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import orjson
import pytest

from monitor.generate.files import rendered
from streams.settings import SHIPPED_JOURNEY, describe
from tests.kit.npm import run
from tests.kit.programs import ROOT
from tests.kit.shipped import SHIPPED

pytestmark = pytest.mark.full

UNIT = ROOT / "deploy/systemd/touchpoint-worker@.service"
BUILT_OF = ("monitor", "streams", "pyproject.toml", "README.md", "LICENSE")
EXPOSURE = "20"
"""Tenths of what `systemd-analyze security` counts, of 100; a unit without any protection has 96."""


def built(directory: Path) -> Path:
    """The wheel, built of the sdist and of nothing else."""
    source = directory / "source"
    for name in BUILT_OF:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    backend = "from setuptools import build_meta; build_meta.build_sdist('..')"
    run([sys.executable, "-c", backend], source)
    (sdist,) = directory.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run([*pip, "--wheel-dir", str(directory), str(sdist)], directory)
    (wheel,) = directory.glob("*.whl")
    shutil.rmtree(source)
    return wheel


def installed(wheel: Path, directory: Path) -> Path:
    """The command, in an environment with nothing but the wheel and what it asks for, as locked."""
    home = directory / "venv"
    venv.create(home)
    lock = (ROOT / "requirements.lock").read_text()
    locked = re.findall(r"^[\w.-]+==[^\\\n]+", lock, re.MULTILINE)  # constraints may have no hashes
    (directory / "locked.txt").write_text("\n".join(locked))
    pip = [sys.executable, "-m", "pip", "--python", str(home), "install", "--quiet", "--no-compile"]
    run([*pip, "--constraint", "locked.txt", f"touchpoint-monitor[demo] @ {wheel.as_uri()}"], directory)
    return home / "bin/touchpoint"


@pytest.mark.timeout(900)
def test_the_wheel_runs_without_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`demo`, `render` and `backtest`, as after `pipx install`."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "empty").mkdir()
    touchpoint = str(installed(built(tmp_path), tmp_path))

    def said(*arguments: str) -> str:
        return run([touchpoint, *arguments], tmp_path / "empty")

    summary = orjson.loads(said("demo", "--for", "1", "--http", "127.0.0.1:0").splitlines()[-1])
    assert summary["counted"] > 0
    journey = tmp_path / "journey.yaml"
    shutil.copy(SHIPPED_JOURNEY, journey)
    said("render", str(journey), "--out", str(tmp_path / "out"))
    for path, text in rendered(SHIPPED).items():
        assert (tmp_path / "out" / path).read_text(encoding="utf-8") == text, path
    history = tmp_path / "history.jsonl"
    history.write_text(said("simulate", "--events", "2000", "--start", "2026-01-05T12:00:00Z"))
    assert orjson.loads(said("backtest", str(history), "--json"))["counted"] == 2000


@pytest.fixture
def unit(tmp_path: Path) -> str:
    """The unit, with a command that exists here."""
    there = tmp_path / UNIT.name
    command = Path(sys.executable).parent / "touchpoint"
    there.write_text(UNIT.read_text().replace("/opt/touchpoint/bin/touchpoint", str(command)))
    return str(there)


def test_systemd_takes_the_unit(unit: str, tmp_path: Path) -> None:
    """No word it does not know, and little that the worker could reach beside its own."""
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")  # it only warns of a word that it does not know
    run(["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", unit], tmp_path)


def test_the_unit_s_settings_are_those_of_the_code() -> None:
    """A worker would not start with another."""
    named = set(re.findall(r"(TOUCHPOINT_\w+)=", UNIT.read_text()))
    assert named <= {name for name, _, _ in describe()}
    assert len(named) == 3
