"""From event to page through real parts: a fault pages once, by name, with its numbers, and resolves."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from monitor.alerts import alerts
from monitor.boards import boards
from monitor.journey_file import parse
from streams.pages import said
from streams.settings import SHIPPED_JOURNEY
from tests.pager import Pager, Rig, rig

JOURNEY = parse(SHIPPED_JOURNEY.read_text())


def test_an_alert_in_one_line() -> None:
    """Severity, state, name, what it says, what to do; nothing of it can break the line."""
    alert = {
        "status": "firing",
        "labels": {"alertname": "StageDegraded"},
        "annotations": {"summary": "Store:\n9 of 30", "runbook_url": "http://r"},
    }
    assert said("page", alert) == "PAGE firing StageDegraded: Store: 9 of 30 | http://r"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"alerts": 1}', b'{"alerts": [{}]}', b"\xff"])
def test_what_is_no_alert_is_refused(body: bytes) -> None:
    """The printer stays up and says no."""
    pager = Pager()
    try:
        request = urllib.request.Request(f"{pager.url}/page", data=body)  # noqa: S310 - loopback
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)  # noqa: S310 - loopback
        assert refused.value.code == 400
        refused.value.close()
        assert pager.process.poll() is None
    finally:
        pager.stop()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Everything running, healthy."""
    with rig(tmp_path_factory.mktemp("rig"), JOURNEY, SHIPPED_JOURNEY) as running:
        yield running


def asked(parts: Rig, expr: str) -> list[dict[str, Any]]:
    """What Prometheus answers to an instant query; an error of it is an error here."""
    query = urllib.parse.urlencode({"query": expr})
    url = f"{parts.alerting.prometheus}/api/v1/query?{query}"
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - loopback
        body = json.load(answer)
    assert body["status"] == "success", body
    found = body["data"]["result"]
    return found if isinstance(found, list) else [found]


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_fault_pages_with_its_numbers(parts: Rig) -> None:
    """All checkouts fail: one page names stage, numbers, reason, runbook."""
    assert parts.pager.said("PAGE") is None, "healthy traffic pages nobody"
    parts.traffic.bad_every["web_checkout"] = 1
    _, line = parts.page("PAGE firing StageDegraded: Web checkout")
    assert re.search(r"\(segment all\): \d+ of \d+ in \w+ were bad \([\d.]+%\), at most 5% may be", line), (
        line
    )
    assert "Most frequent reason at this stage: payment_declined" in line
    assert "Customers who start the checkout finish it" in line
    assert "https://runbooks.example.com/web-checkout" in line
    parts.traffic.bad_every.clear()
    names = {
        line.split(": ")[1].split(" (")[0] for _, line in parts.pager.lines if line.startswith("PAGE firing")
    }
    assert names == {"Web checkout"}, "what depends on the checkout, or is well, pages nobody"


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_silent_stage_pages(parts: Rig) -> None:
    """No event where hundreds are expected: a page says which stage, and since when."""
    parts.traffic.silent.add("store")
    _, line = parts.page("PAGE firing StageSilent: Store")
    assert "no event in 1m" in line
    parts.traffic.silent.clear()
    parts.page("PAGE resolved StageSilent: Store", 400)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_every_rule_and_every_panel_can_be_asked(parts: Rig) -> None:
    """Prometheus answers every query of every alert and board; what describes the journey has series."""
    for alert in alerts(JOURNEY):
        asked(parts, alert.expr)
        for fact in alert.facts.values():
            if fact.expr:
                asked(parts, fact.expr.replace('="EACH"', '=~".+"'))
    empty = []
    for name, board in boards(JOURNEY).items():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                expr = target["expr"].replace("$__rate_interval", "1m").replace("$__interval", "5s")
                expr = (
                    expr.replace("$__range", "5m")
                    .replace("$stage", "web_checkout")
                    .replace("${stage}", "web_checkout")
                )
                if "ALERTS" not in expr and not asked(parts, expr):  # all is well
                    empty.append(f"{name}: {panel['title']}: {expr}")
    assert empty == []


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_dead_worker_blinds_the_monitor(parts: Rig) -> None:
    """Last of all: without its worker the monitor pages for itself, and for no stage."""
    parts.worker.process.kill()
    _, line = parts.page("PAGE firing MonitorBlind")
    assert "(stage all): no_worker" in line or "(stage all): scrape_failed" in line
    assert not [line for _, line in parts.pager.lines if line.startswith("PAGE firing StageSilent: Web")]
