"""`make audit` finds a planted hole, and knows what it cannot know."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.programs import ROOT


def audit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The program's answer."""
    command = [sys.executable, "-m", "deploy.audit", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def lock(directory: Path, *lines: str) -> Path:
    """A lock file of these packages."""
    path = directory / "requirements.lock"
    path.write_text("".join(f"{line} \\\n    --hash=sha256:00\n" for line in lines))
    return path


def old(advisories: Path, days: int) -> str:
    """What is said of advisories of that age."""
    return f"audit: {advisories} is {days} days old, and knows no later hole: `make advisories` renews it\n"


def test_what_is_locked_has_no_known_hole() -> None:
    """And every locked package is looked at; the date of the advisories is said."""
    done = audit()
    assert done.returncode == 0
    packages = len([line for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line])
    advisories = ROOT / "deploy" / "advisories.json"
    known = json.loads(advisories.read_text())
    days = (datetime.now(UTC).date() - date.fromisoformat(known["date"])).days
    assert done.stderr == (old(advisories, days) if days > 90 else "")
    assert done.stdout == f"audit: {packages} locked packages, 0 faults, as of {known['date']}\n"


@pytest.mark.parametrize(("days", "is_old"), [(90, False), (91, True)])
def test_old_advisories_are_told(days: int, is_old: bool, tmp_path: Path) -> None:
    """In one line, with how to renew them; they are no fault of what is locked."""
    written = (datetime.now(UTC) - timedelta(days=days)).date().isoformat()
    advisories = tmp_path / "advisories.json"
    advisories.write_text(json.dumps({"date": written, "packages": {"one": {}}}))
    done = audit("--lock", lock(tmp_path, "one==1.0"), "--advisories", advisories)
    assert (done.returncode, done.stdout) == (0, f"audit: 1 locked packages, 0 faults, as of {written}\n")
    assert done.stderr == (old(advisories, days) if is_old else "")


def test_an_old_version_is_found(tmp_path: Path) -> None:
    """With its advisory, the other names of it, and which versions have the hole."""
    done = audit("--lock", lock(tmp_path, "aiohttp==3.9.1 ; python_version < '4'", "numpy==2.4.6"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        "aiohttp 3.9.1: PYSEC-2024-24 (CVE-2024-23334, GHSA-5h86-8mv2-jq9f) affects ['>=1.0.5,<3.9.2']"
    )


def test_a_package_nothing_is_known_of_is_a_fault(tmp_path: Path) -> None:
    """It came after the advisories were written."""
    done = audit("--lock", lock(tmp_path, "Some_New.Thing==1.0"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        "some-new-thing: advisories.json was not made for it; `make advisories` writes it anew"
    )


def test_advisories_are_taken_from_the_database(tmp_path: Path) -> None:
    """Those of the locked packages, with all their ranges, but for withdrawn ones; then they are held to."""

    def advisory(number: int, name: str, **more: Any) -> dict[str, Any]:
        return {"id": f"PYSEC-{number}", "aliases": [], "affected": [{"package": {"name": name}, **more}]}

    def within(*events: dict[str, str]) -> dict[str, Any]:
        return {
            "ranges": [
                {"type": "GIT", "events": [{"introduced": "0"}]},
                {"type": "ECOSYSTEM", "events": events},
            ]
        }

    twice = within({"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "2.0"}, {"last_affected": "2.1"})
    found = [
        advisory(1, "one", **twice, versions=["1.1"]),
        advisory(2, "one", **within({"introduced": "3.0"})),
        advisory(3, "one", versions=["2.2", "2.3"]),
        advisory(4, "one", versions=["2.5"]) | {"withdrawn": "2024-01-01T00:00:00Z"},
        advisory(5, "other", versions=["2.5"]),
    ]
    for one in found:
        directory = tmp_path / "vulns" / one["affected"][0]["package"]["name"]
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{one['id']}.yaml").write_text(yaml.safe_dump(one))
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for step in (
        ["init", "--quiet"],
        ["commit", "--quiet", "--allow-empty", "-m", "x", "--date", "2024-05-06"],
    ):
        subprocess.run(["git", *who, *step], cwd=tmp_path, check=True)
    written = tmp_path / "advisories.json"

    def names(version: str) -> set[str]:
        done = audit(
            "--lock", lock(tmp_path, f"one=={version}"), "--advisories", written, "--renew", tmp_path
        )
        assert "Traceback" not in done.stderr
        return {line.split()[2] for line in done.stderr.splitlines()}

    assert names("1.1") == names("2.0") == names("2.1") == {"PYSEC-1"}
    assert names("3.1") == {"PYSEC-2"}
    assert names("2.3") == {"PYSEC-3"}
    assert names("2.5") == names("1.2") == set()
    assert list(json.loads(written.read_text())["packages"]) == ["one"]


@pytest.mark.parametrize("lost", ["--lock", "--advisories", "--renew"])
def test_a_file_that_is_not_there_is_one_line(lost: str, tmp_path: Path) -> None:
    """And no traceback."""
    done = audit(lost, tmp_path / "nowhere")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "nowhere") in done.stderr
