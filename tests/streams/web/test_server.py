"""A worker answers over HTTP from snapshots alone, with the same protection on every answer."""

import asyncio
import re
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

import streams.web.server as served
from monitor.counting import metrics
from monitor.counting.staff import stage_windows
from monitor.errors import UserError
from monitor.live.exposition import render
from monitor.live.snapshot import Snapshot, stage_snapshot
from monitor.rules.alerts import alerts
from monitor.rules.journeys import require_meant
from monitor.rules.plan import plan
from streams.settings import Settings
from streams.state.latest import Shown
from streams.web.answers import failures_answer, meant_answer, stages_answer
from streams.web.group import Member
from streams.web.server import HEADERS, PAGE, HttpServer, Sources
from streams.web.where import Causes
from tests.kit.programs import ROOT
from tests.kit.shipped import SHIPPED as CHAIR
from tests.streams.web.snapshots import FAILURES, MEANT, NOW, READY, snapshot

FILES = ROOT / "streams/page"

Get = Callable[..., Awaitable[aiohttp.ClientResponse]]


ALONE = [Member("w1")]
ALL_LATE = "experience=promise_delivery_window&partner=all"


class Worker:
    """What the server asks for."""

    def __init__(self) -> None:
        self.now = READY

    async def snapshot(self) -> Snapshot:
        return self.now

    def failures(self, stage: str) -> list[Shown] | None:
        if stage not in {known.name for known in CHAIR.stages}:
            return None
        return FAILURES if stage == "web_checkout" else []

    def meant(self, experience: str, labels: Mapping[str, str]) -> list[Shown]:
        require_meant(CHAIR, experience, labels)
        return [one for one in MEANT if labels.items() <= one.items()]


async def nothing(_topic: str, _begin_ms: int) -> AsyncGenerator[Any, None]:
    """What a topic holds that is empty."""
    for record in list[Any]():
        yield record


@pytest.fixture
def worker() -> Worker:
    """A ready worker; a test may change what it says."""
    return Worker()


@pytest.fixture
async def get(worker: Worker) -> AsyncIterator[Get]:
    """Asks a running server, and looks at the headers that every answer must have."""
    causes = Causes(CHAIR, Settings(), nothing)
    sources = Sources(worker.snapshot, worker.failures, meant=worker.meant, causes=causes)
    server = HttpServer(Settings(http="127.0.0.1:0"), sources)
    address = await server.start()
    try:
        async with aiohttp.ClientSession(f"http://{address}") as session:

            async def ask(path: str, method: str = "GET", **more: Any) -> aiohttp.ClientResponse:
                answer = await session.request(method, path, **more)
                await answer.read()
                assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
                return answer

            yield ask
    finally:
        await server.stop()


def test_protection_is_what_it_must_be() -> None:
    """The page may load nothing from elsewhere, its types are not guessed, nothing is kept."""
    assert HEADERS["Content-Security-Policy"] == "default-src 'self'"
    assert HEADERS["X-Content-Type-Options"] == "nosniff"
    assert HEADERS["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("path", "known"), PAGE.items())
async def test_serves_the_page(get: Get, path: str, known: tuple[str, str]) -> None:
    """Every file of the page is served as it stands, as UTF-8 of its own type."""
    name, content_type = known
    answer = await get(path)
    assert (answer.status, answer.content_type, answer.charset) == (200, content_type, "utf-8")
    assert await answer.read() == (FILES / name).read_bytes()


def test_serves_all_of_the_page() -> None:
    """No file of the page is forgotten."""
    assert {name for name, _ in PAGE.values()} == {file.name for file in FILES.iterdir()}


async def test_metrics_by_what_is_accepted(get: Get) -> None:
    """Metrics come in the format that is asked for, plain text by default."""
    for accept, kind in (
        ("*/*", "text/plain"),
        ("text/html", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ):
        answer = await get("/metrics", headers={"Accept": accept})
        assert (answer.status, answer.content_type) == (200, kind)
        expected, content_type = render(READY, accept)
        assert await answer.read() == expected
        assert answer.headers["Content-Type"] == content_type


async def test_metrics_while_not_ready(get: Get, worker: Worker) -> None:
    """A worker that is not ready is scraped all the same, and says so."""
    worker.now = snapshot(ready=False)
    answer = await get("/metrics")
    assert answer.status == 200
    assert "touchpoint_ready 0.0" in await answer.text()
    assert "touchpoint_window_" not in await answer.text()


async def test_renders_off_the_loop(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 series and more are rendered in another thread than the one that counts events."""
    experience = CHAIR.stages[0].experiences[0]
    many = tuple(replace(experience, name=f"experience_{i}") for i in range(60))
    stage = replace(CHAIR.stages[0], experiences=many)
    windows = stage_windows(CHAIR, stage)
    held = stage_snapshot(CHAIR, stage, windows, NOW)
    journey = replace(CHAIR, stages=(stage,))
    threads = []

    def watched(taken: Snapshot, accept: str) -> tuple[bytes, str]:
        threads.append(threading.get_ident())
        return render(replace(taken, journey=journey, stages=(held,)), accept)

    monkeypatch.setattr(served, "render", watched)
    body = await (await get("/metrics")).text()
    assert sum(not line.startswith("#") for line in body.splitlines()) > 10_000
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_probes(get: Get, worker: Worker) -> None:
    """A worker is alive as soon as it answers, and ready only once its counts are recovered."""
    for path, text in (("/livez", "alive\n"), ("/readyz", "ready\n")):
        answer = await get(path)
        assert (answer.status, await answer.text()) == (200, text)
    worker.now = snapshot(ready=False)
    assert (await get("/livez")).status == 200
    answer = await get("/readyz")
    assert (answer.status, await answer.text()) == (503, "waiting for Kafka at nowhere:1\n")


RUNBOOK_FILES = FILES.parent / "runbooks"


def test_every_alert_has_a_runbook() -> None:
    """And no runbook is of an alert that does not exist."""
    assert {file.stem for file in RUNBOOK_FILES.iterdir()} == {alert.name for alert in alerts(plan(CHAIR))}


@pytest.mark.parametrize("name", sorted({alert.name for alert in alerts(plan(CHAIR))}))
async def test_runbooks(get: Get, name: str) -> None:
    """Each alert's runbook is served as text that a browser shows."""
    answer = await get(f"/runbooks/{name}")
    assert (answer.status, answer.content_type, answer.charset) == (200, "text/plain", "utf-8")
    assert await answer.read() == (RUNBOOK_FILES / f"{name}.md").read_bytes()


@pytest.mark.parametrize(
    "name", ["StageDegraded.md", "stagedegraded", "..%2Fpage%2Findex.html", "%3Cb%3E", ""]
)
async def test_unknown_runbook(get: Get, name: str) -> None:
    """Any other name is not found, and not echoed."""
    answer = await get(f"/runbooks/{name}")
    assert answer.status == 404
    assert name not in (await answer.text()) or not name


RECORDED = re.findall(r"- record: (\S+)", (ROOT / "deploy/prometheus/touchpoint.rules.yaml").read_text())


@pytest.mark.parametrize("file", sorted(RUNBOOK_FILES.iterdir()), ids=lambda file: file.stem)
def test_runbooks_speak_of_what_there_is(file: Path) -> None:
    """One page, with every question answered; metrics and recorded series that it asks for exist, with their
    labels. A recorded series has labels of the metrics it is made of."""
    text = file.read_text()
    assert 30 <= len(text.splitlines()) <= 50
    assert text.startswith(f"# {file.stem}\n")
    for heading in ("What it means for the customer", "Look first", "When it resolves", "Sensitivity"):
        assert f"\n## {heading}" in text
    labels = {metric.name: {*metric.labels} for metric in metrics.METRICS}
    labels |= {
        f"{metric.name}_total": {*metric.labels} for metric in metrics.METRICS if metric.kind == "counter"
    }
    labels |= {name: set().union(*labels.values()) for name in RECORDED}
    for name, selector in re.findall(r"\b((?:\w+:)?touchpoint_[\w:]+)(?:\{([^}]*)\})?", text):
        assert set(re.findall(r"(\w+)=", selector)) <= labels[name]


async def test_api(get: Get, worker: Worker) -> None:
    """The API's answers come as JSON, from what the worker knows at that moment."""
    for now in (READY, snapshot(ready=False)):
        worker.now = now
        for path, body in (
            ("/api/stages", stages_answer(now, ALONE)),
            ("/api/stages/web_checkout/failures", failures_answer(now, ALONE, "web_checkout", FAILURES)),
            (f"/api/journeys?{ALL_LATE}", meant_answer(now, ALONE, "promise_delivery_window", MEANT)),
            (
                f"/api/journeys?{ALL_LATE}&partner=other",
                meant_answer(now, ALONE, "promise_delivery_window", []),
            ),
        ):
            answer = await get(path)
            assert (answer.status, answer.content_type) == (200, "application/json")
            assert await answer.read() == orjson.dumps(body)


@pytest.mark.parametrize("stage", ["web-checkout", "%3Cscript%3E", "web_checkout%2F"])
async def test_unknown_stage(get: Get, stage: str) -> None:
    """A stage the journey does not have is answered 404 in JSON, and not echoed."""
    answer = await get(f"/api/stages/{stage}/failures")
    assert (answer.status, answer.content_type) == (404, "application/json")
    assert await answer.json() == {"error": "no such stage"}


@pytest.mark.parametrize(
    ("query", "known"),
    [
        ("", "no such experience of journeys: known are goal, promise_"),
        ("experience=pays", "no such experience of journeys: known are goal, promise_"),
        ("experience=goal&partner=postnord", "it has no such label: known are segment"),
        ("experience=goal&segment=nope", "no such segment: known are "),
        ("experience=critical&stage=nowhere", "no such stage: known are "),
        ("experience=promise_delivery_window&partner=%3Cb%3E", "no such partner: known are "),
        ("experience=moves&from_channel=web&to_channel=x", "no such to_channel: known are "),
    ],
)
async def test_unknown_experience(get: Get, query: str, known: str) -> None:
    """An experience, a label or a value that no list has is told with what there is, and not echoed."""
    answer = await get(f"/api/journeys?{query}")
    assert (answer.status, answer.content_type) == (400, "application/json")
    said = (await answer.json())["error"]
    assert said.startswith(known)
    assert "<" not in said


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/page/../http.py", 404), ("POST", "/metrics", 405)],
)
async def test_errors_are_protected_too(get: Get, method: str, path: str, status: int) -> None:
    """What is not served is refused with the same headers as any answer."""
    assert (await get(path, method)).status == status


async def test_port_taken(worker: Worker) -> None:
    """An address in use is told in one line that names it, and nothing is left open."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = HttpServer(
            Settings(http=address), Sources(worker.snapshot, worker.failures, meant=worker.meant)
        )
        with pytest.raises(UserError, match=f"^cannot serve HTTP on {address}: ") as refused:
            await server.start()
        assert "\n" not in str(refused.value)
        assert refused.value.__cause__ is None
        await server.stop()


async def test_stops_unstarted(worker: Worker) -> None:
    """Stopping a server that never started is no error."""
    await HttpServer(
        Settings(http="127.0.0.1:0"), Sources(worker.snapshot, worker.failures, meant=worker.meant)
    ).stop()


@pytest.mark.parametrize("sent", [b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nx"])
async def test_who_asks_nothing_is_not_waited_for(
    sent: bytes, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour, as aiohttp has it, lets one stranger hold every file that a worker may open."""
    monkeypatch.setattr(served, "IDLE_S", 0.1)
    server = HttpServer(
        Settings(http="127.0.0.1:0"), Sources(worker.snapshot, worker.failures, meant=worker.meant)
    )
    host, _, port = (await server.start()).rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()
    finally:
        await server.stop()
