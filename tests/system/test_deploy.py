"""What is shipped for deployment is whole: Compose and Dockerfile pass their tools, mounted paths exist."""

import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.generate.files import rendered
from streams.commands.shared import read_journey
from streams.settings import SHIPPED_JOURNEY
from tests.kit.programs import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
BIN = Path(sys.executable).parent

PINNED = re.compile(r".+:v?\d+\.\d+\.\d+(-[\w.-]+)?")


SECRETS = {"GRAFANA_ADMIN_PASSWORD": "of-your-own", "PAGES_TOKEN": "0123456789abcdef0123"}
"""What the Compose file takes from its environment."""


def composed(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Compose's answer, with no secret but the given ones."""
    command = [str(BIN / "docker-compose"), "--env-file", os.devnull, "--file", str(COMPOSE), *arguments]
    kept = {name: text for name, text in os.environ.items() if name not in SECRETS}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=kept | environment)


def services() -> dict[str, Any]:
    """The services of the Compose file."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


@pytest.mark.parametrize(
    "command",
    [
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)],
        ["hadolint", str(DEPLOY / "Dockerfile")],
    ],
    ids=lambda command: str(command[0]),
)
def test_its_own_tools_find_no_fault(command: list[str]) -> None:
    """The Compose schema, a Dockerfile linter."""
    program, *arguments = command
    done = subprocess.run([str(BIN / program), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_takes_it_with_secrets_only() -> None:
    """A secret that is missing or empty is named, with what to do; given, each comes where it belongs."""
    for name in SECRETS:
        for environment in ({**SECRETS, name: ""}, {key: SECRETS[key] for key in SECRETS if key != name}):
            refused = composed("config", "--quiet", **environment)
            assert refused.returncode != 0
            assert f"required variable {name} is missing a value: set it to" in refused.stderr
    done = composed("config", **SECRETS)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)
    grafana, pages = (found["services"][name]["environment"] for name in ("grafana", "pages"))
    assert grafana["GF_SECURITY_ADMIN_PASSWORD"] == SECRETS["GRAFANA_ADMIN_PASSWORD"]
    assert pages["TOUCHPOINT_PAGES_TOKEN"] == SECRETS["PAGES_TOKEN"]
    (given,) = found["services"]["alertmanager"]["secrets"]
    assert found["secrets"][given["source"]]["environment"] == "PAGES_TOKEN"
    links = read_journey(SHIPPED_JOURNEY).links
    assert links.webhook_token_file == f"/run/secrets/{given['source']}"


def test_base_images_are_pinned() -> None:
    """The Dockerfile builds upon an exact version."""
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert bases
    assert [base for base in bases if not PINNED.fullmatch(base)] == []


@pytest.mark.parametrize("name", services())
def test_images_are_pinned_and_health_is_known(name: str) -> None:
    """An exact tag; a health check, its own or the image's, or a reason for none."""
    service = services()[name]
    assert PINNED.fullmatch(service["image"]), service["image"]
    if "build" in service:
        assert "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text()
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", services())
def test_mounted_paths_exist(name: str) -> None:
    """Every path of the repository that a container sees is there, as is every build context."""
    service = services()[name]
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (DEPLOY / source).exists(), source
    if "build" in service:
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_everything_the_dockerfile_copies_exists() -> None:
    """COPY from the build context names files of the repository."""
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source


def test_ports_are_bound_to_this_machine() -> None:
    """The stack has no passwords, so nobody else may reach it."""
    for service in services().values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_generated_files_are_what_the_journey_file_gives() -> None:
    """Whoever changes the journey or a generator commits what it gives: `touchpoint render ... --out .`."""
    for path, text in rendered(read_journey(SHIPPED_JOURNEY)).items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, path


def test_no_generated_file_is_left_over() -> None:
    """What is no longer generated is no longer there."""
    made = set(rendered(read_journey(SHIPPED_JOURNEY)))
    there = {
        file.relative_to(ROOT).as_posix()
        for directory in ("grafana", "deploy/schema", "deploy/alertmanager")
        for file in (ROOT / directory).rglob("*")
        if file.is_file() and file.suffix not in (".md", ".webp")  # a README and its pictures
    }
    assert there == {path for path in made if not path.startswith("deploy/prometheus/")}


def test_generated_files_are_marked() -> None:
    """A diff collapses what nobody writes by hand, and the lock files; it collapses nothing else."""
    lines = (ROOT / ".gitattributes").read_text().splitlines()
    patterns = [line.split()[0] for line in lines if line.endswith(" linguist-generated")]
    made = {*rendered(read_journey(SHIPPED_JOURNEY)), "requirements.lock"}
    assert {path for path in made if not any(fnmatch(path, pattern) for pattern in patterns)} == set()
    by_hand = (
        "grafana/README.md",
        "deploy/compose.yaml",
        "deploy/prometheus/prometheus.yaml",
        "pyproject.toml",
    )
    assert [path for path in by_hand if any(fnmatch(path, pattern) for pattern in patterns)] == []
