"""From event to page through real parts: a fault pages once, by name, with its numbers, and resolves."""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.alerting import Alerting, scraped
from monitor.boards.all import boards
from monitor.counting import metrics
from monitor.errors import UserError
from monitor.journey_file.model import QUEUED, STARTED
from monitor.rules.alerts import alerts
from monitor.rules.facts import Asked
from monitor.rules.plan import plan
from monitor.rules.series import ANY
from streams.demo.child import HOST, free_port
from streams.settings import SHIPPED_JOURNEY, Settings
from streams.web import pager
from streams.web.pager import Pages, said
from tests.kit.pager import JSON, Pager, Posting, Rig, rig, serving
from tests.kit.polling import until
from tests.kit.programs import ROOT, touchpoint_reading
from tests.kit.shipped import SHIPPED as JOURNEY

ALERT: dict[str, Any] = {
    "status": "firing",
    "startsAt": "2026-11-21T21:00:00Z",
    "endsAt": "2026-11-21T21:30:00Z",
    "labels": {"alertname": "StageDegraded", "stage": "store", "owner": "store-managers"},
    "annotations": {
        "summary": "Store:\n9 of 30\x1b[2J",
        "description": "Most frequent reason: queue.",
        "dashboard_url": "http://g/d/s",
        "failures_url": "http://m/api/stages/store/failures",
        "where_url": "http://m/?where#store",
        "runbook_url": "http://r",
        "alert_runbook_url": "http://m/runbooks/StageDegraded",
    },
}


def test_an_alert_says_what_why_whose_and_where() -> None:
    """Severity, state, name and what it says, then a line each; nothing of it can break a line."""
    assert said("page", ALERT).splitlines() == [
        r"PAGE firing StageDegraded: Store:\n9 of 30\x1b[2J",
        "    why       Most frequent reason: queue.",
        "    owner     store-managers",
        "    board     http://g/d/s",
        "    failures  http://m/api/stages/store/failures",
        "    where     http://m/?where#store",
        "    runbook   http://r",
        "    and       http://m/runbooks/StageDegraded",
    ]


def test_an_alert_says_no_more_than_there_is() -> None:
    """The end of an alert is one line; one runbook is not named twice, what is missing not at all."""
    over = said("page", ALERT | {"status": "resolved"})
    assert over == r"PAGE resolved StageDegraded: Store:\n9 of 30\x1b[2J"
    one = {"summary": "Blind", "runbook_url": "http://r", "alert_runbook_url": "http://r"}
    alert = {"status": "firing", "labels": {"alertname": "MonitorBlind"}, "annotations": one}
    assert said("page", alert) == "PAGE firing MonitorBlind: Blind\n    runbook   http://r"


def test_each_change_is_news_once() -> None:
    """An alert posted again with a change of its group is no news; another alert is, and a relapse."""
    pages = Pages(lambda _: None)
    ended, again = ALERT | {"status": "resolved"}, ALERT | {"startsAt": "2026-11-21T22:00:00Z"}
    other = ALERT | {"labels": ALERT["labels"] | {"stage": "delivery"}}
    posted = (ALERT, ALERT, other, ended, ended | {"startsAt": again["startsAt"]}, again, again, other, ended)
    news = [pages.is_news("page", alert) for alert in posted]
    assert news == [True, False, True, True, False, True, False, False, True]
    assert pages.is_news("ticket", ALERT)


def test_the_printer_prints_each_change_once() -> None:
    """Posted twice, printed once, with its lines below."""
    pager = Pager()
    try:
        for status in ("firing", "firing", "resolved", "resolved"):
            pager.post("page", ALERT | {"status": status})
    finally:
        pager.stop()
    said = [line for _, line in pager.lines if line.startswith("PAGE")]
    assert [line.split(":")[0] for line in said] == [
        "PAGE firing StageDegraded",
        "PAGE resolved StageDegraded",
    ]
    assert said[0].count("\n") == 7


def test_the_end_of_the_heartbeat_is_told_at_once() -> None:
    """Alertmanager says that it has ended before it says the same of every other alert."""
    pager = Pager()
    try:
        for status in ("firing", "resolved"):
            pager.post("heartbeat", ALERT | {"status": status})
    finally:
        pager.stop()
    said = [line for _, line in pager.lines if line.startswith("HEARTBEAT")]
    assert [line.split(":")[0] for line in said] == ["HEARTBEAT ended"]


@pytest.mark.full
@pytest.mark.parametrize("is_right", [True, False])
def test_alertmanager_shows_the_token(tmp_path: Path, is_right: bool) -> None:
    """The real one, with the rendered configuration: it pages by the token's file, and not with another."""
    (tmp_path / "wanted").write_text("0123456789abcdef0123")
    (tmp_path / "shown").write_text("0123456789abcdef0123" if is_right else "of-another-service-00")
    pager = Pager(PAGES_TOKEN_FILE=str(tmp_path / "wanted"))
    try:
        parts = Alerting(
            tmp_path / "run", SHIPPED_JOURNEY, [f"{HOST}:{free_port()}"], pager.url, tmp_path / "shown"
        )
        with parts as alerting:
            alert = {"labels": ALERT["labels"] | {"severity": "page"}, "annotations": ALERT["annotations"]}
            Posting(alerting.alertmanager).send("/api/v2/alerts", [alert])
            refused = alerting.directory / "prometheus-alertmanager.log"
            if is_right:
                until(lambda: pager.said("PAGE firing StageDegraded"), "paged")
            else:
                until(lambda: "unexpected status code 401" in refused.read_text(), "refused")
                assert pager.said("PAGE") is None
    finally:
        pager.stop()


def unasked(rule: str, status: str, name: str = "DatasourceError") -> dict[str, Any]:
    """What Grafana posts of a rule it could not ask, under the labels of that rule."""
    return {
        "status": status,
        "startsAt": "2026-11-21T21:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "labels": {
            "alertname": name, "rulename": rule, "touchpoint": rule.split()[0], "stage": "web_checkout",
            "severity": rule.split()[1], "datasource_uid": "touchpoint-prometheus", "ref_id": "A",
        },
        "annotations": {"Error": "connection refused", "summary": "Web checkout: unknown of unknown"},
    }  # fmt: skip


def test_a_grafana_that_cannot_ask_is_told_once() -> None:
    """Rule after rule fails and comes back: one page of blindness, one end of it, no stage; a heartbeat that
    could not be asked is none, and neither its failure nor the end of that ends it."""
    pager = Pager()
    rules = ("StageDegraded page web_checkout", "StageSilent page store", "Watchdog heartbeat")
    names = ("DatasourceError", "DatasourceNoData", "DatasourceError")
    try:
        for status in ("firing", "firing", "resolved"):
            for rule, name in zip(rules, names, strict=True):
                pager.post(rule.split()[1], unasked(rule, status, name))
    finally:
        pager.stop()
    assert [line for _, line in pager.lines][1:] == [
        "PAGE firing MonitorBlind: Grafana cannot query Prometheus: no stage is judged, and no alert is told "
        "as over until it can\n"
        "    why       connection refused",
        "PAGE resolved MonitorBlind: Grafana can query Prometheus again",
    ]


def test_a_blindness_without_a_reason_says_where_it_stands() -> None:
    """Grafana gives no reason when Prometheus does not answer at all."""
    told: list[str] = []
    with serving(told) as pager:
        alert = unasked("StageSilent page store", "firing")
        del alert["annotations"]["Error"]
        pager.post("page", alert)
    why = '    why       Grafana does not say; its log does, at "Failed to evaluate rule"'
    assert told[1].splitlines()[1] == why


RELAPSE = ALERT | {"startsAt": "2026-11-21T21:40:00Z"}
OVER = ALERT | {"status": "resolved"}
BEAT: dict[str, Any] = ALERT | {"labels": {"alertname": "Watchdog"}}
STILL = BEAT | {"status": "resolved"}
FAILS = unasked("StageSilent page store", "firing")
ANSWERS = unasked("StageSilent page store", "resolved")
BEGIN, END = "PAGE firing StageDegraded", "PAGE resolved StageDegraded"


@pytest.mark.parametrize(
    ("posted", "said"),
    [
        # As a real Grafana did when Prometheus died and came back: the alert goes on.
        ([ALERT, FAILS, OVER, RELAPSE, ANSWERS], [BEGIN]),
        # As a real Alertmanager did: it says last that the heartbeat has ended.
        ([BEAT, ALERT, OVER, STILL, BEAT, RELAPSE], [BEGIN]),
        ([ALERT, OVER, RELAPSE], [BEGIN]),
        # What was over by the time that it could be seen again is.
        ([ALERT, FAILS, OVER, ANSWERS], [BEGIN, END]),
        ([BEAT, ALERT, OVER, STILL, BEAT], [BEGIN, END]),
        ([ALERT, FAILS, OVER, RELAPSE, ANSWERS, OVER | {"startsAt": RELAPSE["startsAt"]}], [BEGIN, END]),
        ([ALERT, OVER, OVER], [BEGIN, END]),
        # Nobody knows.
        ([ALERT, FAILS, OVER], [BEGIN, f"not known to be over: {END}"]),
        ([BEAT, ALERT, OVER, STILL], [BEGIN, f"not known to be over: {END}"]),
    ],
)  # fmt: skip
def test_an_end_is_told_when_it_is_known(posted: list[dict[str, Any]], said: list[str]) -> None:
    """Not while alerting is blind, nor of an alert that fires again before that is known."""
    told: list[str] = []
    with serving(told) as pager:
        for alert in posted:
            pager.post("heartbeat" if alert["labels"]["alertname"] == "Watchdog" else "page", alert)
    names = [line.splitlines()[0].rsplit(":", 1)[0] for line in told if "StageDegraded" in line]
    assert [name.split(": Store")[0] for name in names] == said


def test_an_end_waits_until_alerting_sees_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long that is; then it is told by itself, with nothing more posted."""
    monkeypatch.setattr("streams.web.pager.SETTLE_S", 0.01)
    told: list[str] = []
    with serving(told) as pager:
        for alert in (ALERT, FAILS, OVER):
            pager.post("page", alert)
        other = ALERT | {"labels": ALERT["labels"] | {"stage": "delivery"}}
        pager.post("page", other)
        assert not any(line.startswith(END) for line in told)
        pager.post("page", ANSWERS)
        until(lambda: any(line.startswith(END) for line in told), "the end is told")


@pytest.fixture(scope="module")
def printer() -> Iterator[Pager]:
    """One to which nothing is posted that it prints."""
    pager = Pager()
    yield pager
    pager.stop()


def changed(**fields: Any) -> bytes:
    """A post of the alert with other fields."""
    return json.dumps({"alerts": [ALERT | fields]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"{}", b'{"alerts": 1}', b'{"alerts": [{}]}', b"\xff"),
        changed(labels={"touchpoint": ""}),
        changed(startsAt="x"),
        changed(endsAt="2026-05-04"),
    ],
)
def test_what_is_no_alert_is_refused(body: bytes, printer: Pager) -> None:
    """The printer stays up and says no."""
    request = urllib.request.Request(f"{printer.url}/page", body, JSON)  # noqa: S310 - loopback
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)  # noqa: S310 - loopback
    assert refused.value.code == 400
    refused.value.close()
    assert printer.process.poll() is None
    assert printer.said("") == printer.said("waiting for alerts"), "it printed something"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Everything running, healthy."""
    with rig(tmp_path_factory.mktemp("rig"), JOURNEY, SHIPPED_JOURNEY) as running:
        yield running


def asked(parts: Rig, expr: str) -> list[dict[str, Any]]:
    """What Prometheus answers to an instant query; an error of it is an error here."""
    query = urllib.parse.urlencode({"query": expr})
    url = f"{parts.alerting.prometheus}/api/v1/query?{query}"
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - loopback
        body = json.load(answer)
    assert body["status"] == "success", body
    found = body["data"]["result"]
    return found if isinstance(found, list) else [found]


async def test_a_body_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 408, and the connection closed."""
    monkeypatch.setattr(pager, "BODY_S", 0.1)
    told: asyncio.Queue[str] = asyncio.Queue()
    stop = asyncio.Event()
    receiving = asyncio.create_task(Pages(told.put_nowait).serve(Settings(http="127.0.0.1:0"), stop))
    host, _, port = (await told.get()).removeprefix("waiting for alerts on http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /page HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\nConnection: close\r\n\r\n{"
    )
    async with asyncio.timeout(60):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()
    stop.set()
    await receiving
    assert told.empty()


@pytest.mark.parametrize(
    ("work", "name"),
    [("_watch", "the watch over the heartbeat"), ("_end_later", "what tells the end of an alert")],
)
async def test_a_pager_of_which_a_task_fails_ends(
    monkeypatch: pytest.MonkeyPatch, work: str, name: str
) -> None:
    """Before, it went on, and nobody heard that the heartbeat had stopped, or that an alert was over."""

    async def failing(*_: object) -> None:
        raise OverflowError("too much")

    monkeypatch.setattr(Pages, work, failing)
    told: asyncio.Queue[str] = asyncio.Queue()
    pages = Pages(told.put_nowait)
    receiving = asyncio.create_task(pages.serve(Settings(http="127.0.0.1:0"), asyncio.Event()))
    url = (await told.get()).removeprefix("waiting for alerts on ")
    if work == "_end_later":
        await asyncio.to_thread(Posting(url).post, "page", OVER)
    try:
        with pytest.raises(UserError, match=f"^{name} has ended: OverflowError: too much$"):
            await asyncio.wait_for(asyncio.shield(receiving), 10)
    finally:
        receiving.cancel()
        await asyncio.wait([receiving])


def test_whoever_adds_a_worker_is_told_how() -> None:
    """All workers are named, and the command that names one more."""
    said = scraped(["127.0.0.1:8080", "127.0.0.1:8081"])
    assert "scraping 127.0.0.1:8080, 127.0.0.1:8081\n" in said
    assert 'ARGS="--worker 127.0.0.1:8080 --worker 127.0.0.1:8081 --worker 127.0.0.1:8082"' in said


@pytest.mark.parametrize("worker", ["8080", ":8080", "127.0.0.1", "http://x/y:1", "127.0.0.1:99999"])
def test_a_wrong_worker_is_told(worker: str) -> None:
    """One line that names the option and what was given."""
    command = [sys.executable, "-m", "deploy.alerting", "--worker", worker]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"argument --worker: `{worker}` must be HOST:PORT")


@pytest.mark.full
def test_every_worker_named_is_scraped() -> None:
    """`--worker` given twice, once as the address that a worker prints: Prometheus has two targets."""
    workers = ("--worker", "127.0.0.1:1", "--worker", "http://127.0.0.1:2/")
    command = [sys.executable, "-m", "deploy.alerting", *workers]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        url = f"{lines[0].split()[1]}/api/v1/targets"

        def targets() -> set[str]:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - loopback
                return {one["labels"]["instance"] for one in json.load(answer)["data"]["activeTargets"]}

        try:
            until(lambda: targets() == {"127.0.0.1:1", "127.0.0.1:2"}, "both are scraped")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert lines[1] == "scraping 127.0.0.1:1, 127.0.0.1:2\n"
    with pytest.raises(urllib.error.URLError):  # what it started has ended with it
        targets()


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_fault_pages_with_its_numbers(parts: Rig) -> None:
    """All checkouts fail: one page names stage, numbers, reason, runbook."""
    assert parts.pager.said("PAGE") is None, "healthy traffic pages nobody"
    parts.traffic.bad_every["web_checkout"] = 1
    _, line = parts.page("PAGE firing StageDegraded: Web checkout", with_line="and")
    most = {"all": 5, "business": 3, "new": 5, "returning": 5}
    worst = re.search(
        r"\(segment (\w+)\): \d+ of \d+ in \w+ were bad \([\d.]+%\), at most (\d)% may be", line
    )
    assert worst, line
    assert int(worst[2]) == most[worst[1]], "it is named after what was worst when it began"
    assert "Most frequent reason at this stage: payment_declined" in line
    assert "Customers who start the checkout finish it" in line
    for below in (
        f"owner     {JOURNEY.stage('web_checkout').owner}",
        f"board     {JOURNEY.links.grafana}/d/touchpoint-stage?var-stage=web_checkout",
        f"failures  {JOURNEY.links.monitor}/api/stages/web_checkout/failures",
        f"where     {JOURNEY.links.monitor}/?where#web_checkout",
        "runbook   https://runbooks.example.com/web-checkout",
        f"and       {JOURNEY.links.monitor}/runbooks/StageDegraded",
    ):
        assert f"\n    {below}" in line
    parts.traffic.bad_every.clear()
    names = {
        line.split(": ")[1].split(" (")[0] for _, line in parts.pager.lines if line.startswith("PAGE firing")
    }
    assert names == {"Web checkout"}, "what depends on the checkout, or is well, pages nobody"


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_silent_stage_pages(parts: Rig) -> None:
    """No event where hundreds are expected: a page says which stage, and since when.

    That it ends, five minutes after the last reason, is shown without waiting in
    `tests/monitor/generate/test_three_ways.py`.
    """
    parts.traffic.silent.add("store")
    _, line = parts.page("PAGE firing StageSilent: Store")
    assert re.search(r"no event for (1m )?[\d.]+s; \d+ were expected in the last 1m", line), line
    parts.traffic.silent.clear()


@pytest.mark.full
@pytest.mark.timeout(600)
def test_every_rule_and_every_panel_can_be_asked(parts: Rig) -> None:
    """Prometheus answers every query of every alert and board; what describes the journey has series."""
    now, stage = datetime.now(UTC).isoformat(), JOURNEY.stages[0].name
    begun = [
        json.dumps({"id": one, "time": now, "stage": stage, "outcome": one, "encounter_id": one})
        for one in (QUEUED, STARTED)
    ]
    published = touchpoint_reading("\n".join(begun).encode(), "publish", KAFKA=parts.traffic.bootstrap)
    assert published.returncode == 0, published.stderr
    for alert in alerts(plan(JOURNEY)):
        asked(parts, alert.expr)
        for fact in alert.facts(ANY).values():
            if isinstance(fact, Asked):
                asked(parts, fact.expr)
    with contextlib.suppress(AssertionError):  # journeys are over a minute after their last step
        until(lambda: not empty(parts), "every panel shows something", 150)
    assert empty(parts) == []


VARIABLES = {
    "$__rate_interval": "1m",
    "$__interval_ms": "5000",
    "$__interval": "5s",
    "$__range": "5m",
    "$__to": "1e15",  # never reached, so that no figure falls back to saying that nothing is known
    "${stage}": "web_checkout",
    "$stage": "web_checkout",
}
"""As Grafana puts them in; a name stands before its own beginning."""


def empty(parts: Rig) -> list[str]:
    """Panels, with their query, that show nothing; alerts, lost changelogs, fixes aside, for all is well."""
    found = []
    for name, board in boards(plan(JOURNEY)).items():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                expr = target["expr"]
                for variable, value in VARIABLES.items():
                    expr = expr.replace(variable, value)
                is_for_later = 'kind="follow_up"' in expr  # word within two days is not due in minutes
                of_trouble = ("ALERTS", metrics.WHOLE_SINCE.name, metrics.WINDOW_FIXABLE.name)
                is_of_trouble = any(name in expr for name in of_trouble)
                if not asked(parts, expr) and not is_of_trouble and not is_for_later:
                    found.append(f"{name}: {panel['title']}: {expr}")
    return found


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_dead_worker_blinds_the_monitor(parts: Rig) -> None:
    """Last of all: without its worker the monitor pages for itself, and for no stage."""
    parts.worker.process.kill()
    _, line = parts.page("PAGE firing MonitorBlind")
    assert "(stage all): No worker answers (no_worker)." in line
    assert "A worker cannot be scraped (scrape_failed)." in line
    assert not [line for _, line in parts.pager.lines if line.startswith("PAGE firing StageSilent: Web")]
