"""Whoever follows a runbook at night finds what it sends to: paths of the API, links of the alert."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from monitor.generate.templates import filled
from monitor.rules.alerts import alerts
from monitor.rules.journeys import meant_labels
from monitor.rules.plan import plan
from tests.kit.programs import ROOT
from tests.kit.shipped import SHIPPED as CHAIR
from tests.streams.web.test_server import Get, get, worker  # noqa: F401 - fixtures

RUNBOOKS = sorted((ROOT / "streams/runbooks").glob("*.md"))
STANDS_FOR = {
    "promise_KIND": "promise_delivery_window",
    "handoff_FROM_TO": "handoff_warehouse_delivery",
    "=FROM": "=chat",
    "=TO": "=phone",
    "=STAGE": "=delivery",
    "=PARTNER": "=postnord",
    "<stage>": "web_checkout",
}
"""What a reader puts in the place of a word in capitals."""

MEANT = {
    "JourneyDegraded",
    "PromisesOverdue",
    "HandoversLost",
    "CustomersLost",
    "UnderstandingGap",
    "CriticalTouchpoint",
}


def put_in(text: str) -> str:
    """The text as a reader takes it."""
    for word, name in STANDS_FOR.items():
        text = text.replace(word, name)
    return text


def links() -> Iterator[tuple[str, str]]:
    """Every path of the API that a runbook names, but for a list of single encounters by the id of one."""
    for file in RUNBOOKS:
        for path in re.findall(r"`?(/(?:api|readyz|metrics)[\w/<>?=&_]*)", file.read_text()):
            yield file.stem, path


@pytest.mark.parametrize(("name", "path"), sorted(set(links())))
async def test_each_path_answers(get: Get, name: str, path: str) -> None:  # noqa: F811
    """With a stage, partner or channel of the journey in the place of what stands in capitals."""
    assert (await get(put_in(path))).status == 200, f"{name}: {path}"


@pytest.mark.parametrize("file", RUNBOOKS, ids=lambda file: file.stem)
def test_each_link_stands_on_the_alert(file: Path) -> None:
    """What a runbook calls `failures_url` or `dashboard_url` is on every alert of its name."""
    named = set(re.findall(r"`(\w+_url)`", file.read_text()))
    held = [set(alert.annotations) for alert in alerts(plan(CHAIR)) if alert.name == file.stem]
    assert held
    assert all(named <= one for one in held), file.stem
    assert ("failures_url" in named) or file.stem not in MEANT


async def test_each_alert_leads_to_the_journeys_it_means(get: Get) -> None:  # noqa: F811
    """The experience is listed, the labels are those of its lists, and the worker answers."""
    led = 0
    for alert in alerts(plan(CHAIR)):
        if alert.name in MEANT:
            fields = re.findall(r"\{(\w+)\}", alert.annotations["failures_url"])
            url = urlsplit(filled(alert.annotations["failures_url"], dict.fromkeys(fields, "all")))
            assert (await get(f"{url.path}?{url.query}")).status == 200, alert.title
            query = dict(parse_qsl(url.query))
            experience = query.pop("experience")
            assert tuple(query) == meant_labels(CHAIR)[experience] == tuple(fields)
            assert alert.labels.get("experience", experience) == experience
            led += 1
    assert led > len(MEANT)
