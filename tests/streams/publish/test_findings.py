"""Findings: each change of an alert is published once, with the same id whoever posts it, or that is told."""

import urllib.error
from typing import Any

import orjson
import pytest

from monitor.journey_file.model import FINDINGS_TOPIC
from monitor.rules.finding import encode, finding
from tests.kit.brokers import TansuNode, running
from tests.kit.pager import Pager
from tests.kit.polling import until
from tests.kit.programs import touchpoint
from tests.system.test_worker import read_topic

FIRING: dict[str, Any] = {
    "status": "firing",
    "startsAt": "2026-11-21T21:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "labels": {"alertname": "StageDegraded", "stage": "store", "severity": "page", "owner": "store-managers"},
    "annotations": {
        "summary": "Store: 9 of 30",
        "n": "30",
        "reason": "queue",
        "dashboard_url": "http://g/d/s",
    },
}
OVER = FIRING | {"status": "resolved", "endsAt": "2026-11-21T21:30:00Z"}
POSTED_MS = 1_795_298_400_000
"""2026-11-21T22:00:00Z."""


def test_a_finding_says_what_of_whom_and_when() -> None:
    """The labels people know, what the alert says, where to look; Grafana's name of the alert is its own."""
    found = orjson.loads(encode(finding(FIRING, POSTED_MS)))
    assert len(found.pop("id")) == 32
    assert found == {
        "time": "2026-11-21T21:00:00Z",
        "alert": "StageDegraded",
        "status": "fired",
        "summary": "Store: 9 of 30",
        "about": {"stage": "store", "severity": "page", "owner": "store-managers"},
        "facts": {"n": "30", "reason": "queue"},
        "links": {"dashboard": "http://g/d/s"},
    }
    labels = FIRING["labels"] | {"alertname": "StageDegraded page store", "touchpoint": "StageDegraded"}
    assert finding(FIRING | {"labels": labels}, POSTED_MS).alert == "StageDegraded"


def test_the_same_change_has_the_same_id() -> None:
    """And another change, another alert or a relapse has another."""
    again = FIRING | {"startsAt": "2026-11-21T22:00:00Z"}
    other = FIRING | {"labels": FIRING["labels"] | {"stage": "delivery"}}
    different = [finding(alert, POSTED_MS).id for alert in (FIRING, OVER, again, other)]
    assert len(set(different)) == 4
    assert finding(dict(FIRING), POSTED_MS + 1).id == different[0]


@pytest.mark.parametrize("unknown", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"])
def test_the_time_of_a_change_is_one_that_was(unknown: str) -> None:
    """When it is said to have been; when it was posted, where Go's zero time says that nobody knows."""
    assert finding(FIRING, POSTED_MS).time == "2026-11-21T21:00:00Z"
    assert finding(OVER, POSTED_MS).time == "2026-11-21T21:30:00Z"
    assert finding(OVER | {"endsAt": unknown}, POSTED_MS).time == "2026-11-21T22:00:00.000Z"
    assert finding(FIRING | {"startsAt": unknown}, POSTED_MS).time == "2026-11-21T22:00:00.000Z"


@pytest.mark.parametrize("alert", [{}, {"labels": {}}, {"labels": 1, "annotations": {}, "status": "firing"}])
def test_what_is_no_alert_is_none(alert: dict[str, Any]) -> None:
    """The named errors, which the receiver answers with 400."""
    with pytest.raises((KeyError, TypeError, AttributeError)):
        finding(alert, POSTED_MS)


def test_each_change_is_published_once() -> None:
    """Fired and resolved, page and finding; nothing posted again is, a heartbeat never, nor what Grafana
    could not ask."""
    with running(TansuNode()) as broker:
        pager = Pager("--findings", KAFKA=broker.bootstrap)
        try:
            critical = FIRING | {"labels": {"alertname": "CriticalTouchpoint", "stage": "delivery"}}
            for alert in (FIRING, FIRING, OVER):
                pager.post("page", alert)
            for alert in (FIRING, OVER):
                unasked = {"alertname": "DatasourceError", "rulename": "StageDegraded page web_checkout"}
                pager.post("page", alert | {"labels": alert["labels"] | unasked})
            pager.post("finding", critical)
            pager.post("heartbeat", FIRING | {"labels": {"alertname": "Watchdog"}})
        finally:
            pager.stop()
        found = [orjson.loads(record.value) for record in read_topic(broker.bootstrap, FINDINGS_TOPIC)]
    assert [(one["alert"], one["status"]) for one in found] == [
        ("StageDegraded", "fired"),
        ("CriticalTouchpoint", "fired"),
        ("StageDegraded", "resolved"),
    ]


def test_a_finding_that_kafka_does_not_take_ends_the_receiver() -> None:
    """With one line; the answer makes Alertmanager post the change again, to whoever is started next."""
    with running(TansuNode()) as broker:
        pager = Pager("--findings", KAFKA=broker.bootstrap, KAFKA_TIMEOUT_S="1")
        try:
            broker.kill()
            with pytest.raises(urllib.error.HTTPError) as refused:
                pager.post("page", FIRING)
            assert refused.value.code == 503
            refused.value.close()
            until(lambda: pager.process.poll() is not None, "the receiver ends")
            assert pager.process.returncode == 1
            assert pager.lines[-1][1].startswith("touchpoint: ")
            assert not any("Traceback" in line for _, line in pager.lines)
        finally:
            pager.stop()


def test_without_kafka_the_receiver_says_so_and_no_more() -> None:
    """What Kafka's client logs of each attempt is not printed, as with every command."""
    done = touchpoint(
        "pages", "--http", "127.0.0.1:0", "--findings", KAFKA="127.0.0.1:9", KAFKA_TIMEOUT_S="1"
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("touchpoint: Kafka at 127.0.0.1:9 does not answer")
