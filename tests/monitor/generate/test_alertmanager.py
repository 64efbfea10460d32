"""Alertmanager takes the configuration, sends each severity to its own receiver, inhibits what is dragged."""

import subprocess
from pathlib import Path

import pytest
import yaml

from monitor.generate.alertmanager import alertmanager
from monitor.generate.files import as_yaml
from monitor.rules.plan import plan
from streams.commands.render import render
from streams.settings import SHIPPED_JOURNEY
from tests.kit.programs import touchpoint
from tests.kit.shipped import SHIPPED as JOURNEY


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The rendered configuration as a file."""
    file = tmp_path / "alertmanager.yaml"
    file.write_text(as_yaml(alertmanager(plan(JOURNEY))))
    return file


def amtool(*arguments: str) -> str:
    """What Alertmanager's own tool answers."""
    done = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.full
def test_alertmanager_takes_it(config: Path) -> None:
    """amtool finds no fault."""
    assert "SUCCESS" in amtool("check-config", str(config))


@pytest.mark.full
@pytest.mark.parametrize("severity", ["page", "ticket", "heartbeat"])
def test_each_severity_has_its_receiver(config: Path, severity: str) -> None:
    """Pages wake somebody, tickets wait, heartbeats go to whoever misses them."""
    route = [
        "config",
        "routes",
        "test",
        f"--config.file={config}",
        f"--verify.receivers=touchpoint-{severity}",
    ]
    amtool(*route, f"severity={severity}", "alertname=StageDegraded", "stage=store")


def test_the_token_goes_to_its_own_webhook_only(tmp_path: Path) -> None:
    """Every receiver reads the token's file; for another webhook it is another file, or none."""

    def files(webhook: str | None = None, file: str | None = None) -> list[str | None]:
        render(SHIPPED_JOURNEY, tmp_path, webhook=webhook, token_file=file)
        found = yaml.safe_load((tmp_path / "deploy/alertmanager/alertmanager.yaml").read_text())
        posts = [one for receiver in found["receivers"] for one in receiver.get("webhook_configs", ())]
        assert len(posts) == 4
        return [one.get("http_config", {}).get("authorization", {}).get("credentials_file") for one in posts]

    assert files() == [JOURNEY.links.webhook_token_file] * 4
    elsewhere = "https://elsewhere.example.com"
    assert files(elsewhere) == [None] * 4
    assert files(elsewhere, "/etc/token") == ["/etc/token"] * 4
    alone = touchpoint(
        "render", str(SHIPPED_JOURNEY), "--out", str(tmp_path), "--webhook-token-file", "/etc/token"
    )
    assert (alone.returncode, alone.stderr) == (
        1,
        "touchpoint: --webhook-token-file: needs --webhook; the journey file has links.webhook_token_file\n",
    )


def test_what_depends_on_a_stage_is_inhibited_by_it() -> None:
    """depends_on, followed to its end, becomes inhibition; a stage that depends on nothing has none. Pages
    on whole journeys depend on all that customers live through, tickets on nothing."""
    found: dict[str, set[str]] = {}
    for rule in alertmanager(plan(JOURNEY))["inhibit_rules"]:
        source, target = rule["source_matchers"], rule["target_matchers"]
        if 'because="trouble"' in source:
            found.setdefault(", ".join(target[1:]), set()).add(source[-1])
    assert found == {
        'stage="warehouse"': {'stage=~"web_checkout"'},
        'stage="delivery"': {'stage=~"warehouse|web_checkout"'},
        'severity="page", stage="journeys"': {'stage=~"web_checkout|call_queue|store|warehouse|delivery"'},
    }
