"""An address is taken wherever it is given, or nowhere; what is added to it goes where it belongs."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import typer
import yaml

from monitor.generate import alertmanager as routing
from monitor.generate import grafana as grafana_alerts
from monitor.generate.files import as_yaml
from monitor.journey_file.grammar import parse
from monitor.journey_file.links import is_address, webhook
from monitor.journey_file.model import Journey
from monitor.journey_file.nodes import JourneyFileError
from monitor.rules.plan import plan
from streams.commands.render import render
from streams.settings import SHIPPED_JOURNEY

TEXT = SHIPPED_JOURNEY.read_text()
JOURNEY = parse(TEXT)

BAD = (
    "not a url", "", "pager:9095", "ftp://pager/", "http://", "http:///page", "http://:9095", "http://pager:x/",
    "http://pager:99999/", "http://[::1", "http://pager/a b", "http://pager/%zz", "http://pager/${X}",
)  # fmt: skip
GOOD = (
    "http://127.0.0.1:9095",
    "https://pager.example.com/x/?token=a&b=$c%20/",
    "http://user@[::1]:9095/a/",
    "http://pager?x#y",
)


def sent_to(address: str) -> Journey:
    """The shipped journey, whose alerts are sent there."""
    return replace(JOURNEY, links=replace(JOURNEY.links, webhook=address))


@pytest.mark.parametrize("address", BAD)
def test_a_bad_address_is_refused_wherever_it_is_given(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the journey file and as an option, in one line; nothing is written."""
    given = yaml.safe_load(TEXT)
    given["links"]["webhook"] = address
    with pytest.raises(JourneyFileError) as refused:
        parse(as_yaml(given))
    assert [error.path for error in refused.value.errors] == ["links.webhook"]
    with pytest.raises(typer.Exit) as ended:
        render(SHIPPED_JOURNEY, tmp_path / "out", webhook=address)
    said = f"touchpoint: --webhook: `{address}` must be an http or https address\n"
    assert (ended.value.exit_code, capsys.readouterr().err) == (1, said)
    assert not (tmp_path / "out").exists()


def in_file(address: str) -> str:
    """The shipped journey file with this address, and without the token of the one that it replaces."""
    given = yaml.safe_load(TEXT)
    given["links"]["webhook"] = address
    del given["links"]["webhook_token_file"]
    return as_yaml(given)


@pytest.mark.parametrize("address", GOOD)
def test_a_good_address_is_taken_wherever_it_is_given(address: str) -> None:
    """As an option and in the journey file, and alerts go to the same place."""
    assert is_address(address)
    read = parse(in_file(address))
    assert read.links.webhook_token_file is None
    assert webhook(read, "page") == webhook(sent_to(address), "page")


def test_the_option_gives_the_files_that_the_journey_file_does(tmp_path: Path) -> None:
    """Of an address with all that could be changed on its way."""
    address = GOOD[1]
    (file := tmp_path / "journey.yaml").write_text(in_file(address))
    out = tmp_path / "out"
    routes = out / "deploy/alertmanager/alertmanager.yaml"
    points = out / "grafana/provisioning/alerting/contact-points.yaml"
    render(SHIPPED_JOURNEY, out, webhook=address)
    written = [routes.read_text(), points.read_text()]
    render(file, out)
    assert [routes.read_text(), points.read_text()] == written


@pytest.mark.parametrize(
    ("address", "posted"),
    [
        (GOOD[0], "http://127.0.0.1:9095/page"),
        (GOOD[1], "https://pager.example.com/x/page?token=a&b=$c%20/"),
        (GOOD[2], "http://user@[::1]:9095/a/page"),
        (GOOD[3], "http://pager/page?x#y"),
    ],
)
def test_the_severity_ends_the_path(address: str, posted: str) -> None:
    """Before a query; a variable of Grafana's it does not become."""
    journey = sent_to(address)
    assert webhook(journey, "page") == posted
    pager = routing.receiver("page")
    receivers = {one["name"]: one for one in routing.alertmanager(plan(journey))["receivers"]}
    assert receivers[pager]["webhook_configs"][0]["url"] == posted
    points = {one["name"]: one for one in grafana_alerts.contact_points(journey)["contactPoints"]}
    assert points[pager]["receivers"][0]["settings"]["url"] == posted.replace("$", "$$")


@pytest.mark.full
@pytest.mark.parametrize("address", GOOD)
def test_alertmanager_takes_what_is_taken_here(address: str, tmp_path: Path) -> None:
    """amtool finds no fault."""
    (file := tmp_path / "alertmanager.yaml").write_text(as_yaml(routing.alertmanager(plan(sent_to(address)))))
    done = subprocess.run(["amtool", "check-config", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
