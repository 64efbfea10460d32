"""`make audit`: no locked dependency has a known hole, as of a date; nothing is asked of any service.

`advisories.json` holds what PyPA's advisory database says of the locked packages, and its date. `make
advisories` writes it anew from a copy of that database. A package it was not made for is an error.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import SpecifierSet

HERE = Path(__file__).resolve().parent
LOCK, ADVISORIES = HERE.parent / "requirements.lock", HERE / "advisories.json"

OLD_DAYS = 90
"""Holes become known every month. Where there is no network nobody can renew advisories, so their age is told
and is no fault."""

LOCKED = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)


def locked(lock: Path) -> list[tuple[str, str]]:
    """Names, as PyPI normalises them, and versions."""
    return [(_normal(name), version) for name, version in LOCKED.findall(lock.read_text())]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def faults(lock: Path, known: dict[str, Any]) -> Iterator[str]:
    """One line for each hole, and for each package of which nothing is known."""
    for name, version in locked(lock):
        if name not in known["packages"]:
            yield f"{name}: {ADVISORIES.name} was not made for it; `make advisories` writes it anew"
            continue
        for advisory, hole in known["packages"][name].items():
            if any(
                SpecifierSet(affected).contains(version, prereleases=True) for affected in hole["affects"]
            ):
                yield f"{name} {version}: {advisory} ({', '.join(hole['aliases'])}) affects {hole['affects']}"


def renewed(lock: Path, database: Path) -> dict[str, Any]:
    """What a copy of the database says of the locked packages; its format is OSV (https://ossf.github.io/osv-schema)."""
    git = ["git", "-C", str(database), "log", "-1", "--format=%cs"]
    day = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    names = sorted({name for name, _ in locked(lock)})
    return {"date": day, "packages": {name: dict(_holes(database / "vulns" / name)) for name in names}}


def _holes(directory: Path) -> Iterator[tuple[str, dict[str, list[str]]]]:
    for file in sorted(directory.glob("*.yaml")):
        advisory = yaml.load(file.read_text(), yaml.CSafeLoader)
        if "withdrawn" not in advisory:
            affects = [one for affected in advisory["affected"] for one in _affects(affected)]
            yield advisory["id"], {"aliases": advisory.get("aliases", []), "affects": affects}


def _affects(affected: dict[str, Any]) -> Iterator[str]:
    """PEP 440 specifiers; single versions only where there is no range."""
    ranges = [one["events"] for one in affected.get("ranges", ()) if one["type"] == "ECOSYSTEM"]
    if not ranges:
        yield from (f"=={version}" for version in affected.get("versions", ()))
    for events in ranges:
        yield from _specifiers(events)


def _specifiers(events: Iterable[dict[str, str]]) -> Iterator[str]:
    since = None
    for event in events:
        ((kind, version),) = event.items()
        if kind == "introduced":
            since = f">={version}"
        elif since is not None:
            yield f"{since},{'<' if kind == 'fixed' else '<='}{version}"
            since = None
    if since is not None:
        yield since


def main() -> int:
    """Exit code 1, and a line each, for holes."""
    parser = argparse.ArgumentParser(prog="deploy.audit", description=__doc__)
    parser.add_argument("--lock", type=Path, default=LOCK)
    parser.add_argument("--advisories", type=Path, default=ADVISORIES)
    parser.add_argument("--renew", type=Path, metavar="DATABASE", help="write the advisories from this copy")
    arguments = parser.parse_args()
    try:
        if arguments.renew:
            found = renewed(arguments.lock, arguments.renew)
            arguments.advisories.write_text(json.dumps(found, indent=1) + "\n")
        known = json.loads(arguments.advisories.read_text())
        lines = list(faults(arguments.lock, known))
    except OSError as error:
        sys.exit(f"audit: {error.filename}: {error.strerror}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"audit: {arguments.renew}: {error.stderr.strip()}")
    print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr)
    age = (datetime.now(UTC).date() - date.fromisoformat(known["date"])).days
    if age > OLD_DAYS:
        told = f"{age} days old, and knows no later hole: `make advisories` renews it"
        print(f"audit: {arguments.advisories} is {told}", file=sys.stderr)
    print(f"audit: {len(locked(arguments.lock))} locked packages, {len(lines)} faults, as of {known['date']}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
