"""A worker answers over HTTP from snapshots alone, with the same protection on every answer."""

import re
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import streams.web.server as served
from monitor.counting import metrics
from monitor.counting.event import Event, Score
from monitor.counting.judging import Judge, counter_names, reason_name
from monitor.counting.panes import LONG, SHORT, PaneKey, Tally
from monitor.counting.windows import StageWindows
from monitor.journey_file.grammar import parse
from monitor.journeys.counters import counter_names as journey_counter_names
from monitor.live.exposition import render
from monitor.live.journeys import JourneysSnapshot, ages
from monitor.live.snapshot import Snapshot, stage_snapshot, unknown_stage
from monitor.rules.alerts import alerts
from monitor.rules.plan import plan
from monitor.rules.qualities import JOURNEYS_LAG_S
from monitor.rules.verdict import MIN_GROUP
from streams.settings import SHIPPED_JOURNEY
from streams.state.stage import Failure
from streams.web.server import HEADERS, PAGE, Answers, HttpServer, PortTakenError, stages_answer
from tests.kit.programs import ROOT

CHAIR = parse(SHIPPED_JOURNEY.read_text())
FILES = ROOT / "streams/page"
NOW = 1_800_000_030_000
FAILED = Event(
    id="e1", time=datetime(2026, 7, 1, 12, 30, 0, 250_000, tzinfo=UTC), stage="web_checkout",
    outcome="failed", segment="new", reason="payment_error", journey_id="j1",
)  # fmt: skip

Get = Callable[..., Awaitable[aiohttp.ClientResponse]]


def snapshot(ready: bool = True) -> Snapshot:
    """A worker whose checkout has counted 30 good and 20 failed events."""
    stages = []
    for stage in CHAIR.stages:
        windows = StageWindows(counter_names(CHAIR, stage))
        tally = Tally(Judge(CHAIR, stage))
        if stage.name == "web_checkout":
            for i in range(50):
                tally.add(FAILED if i < 20 else Event(stage=stage.name, outcome="ok", segment="new"), NOW)
        for key, counts in tally.panes():
            windows.add(key, counts)
        stages.append(stage_snapshot(CHAIR, stage, windows, NOW))
    if not ready:
        stages = [unknown_stage(CHAIR, stage) for stage in CHAIR.stages]
    problems = () if ready else ("waiting for Kafka at nowhere:1",)
    return Snapshot(
        CHAIR, NOW, ready, tuple(stages), "1", partitions=8, owned=4, worker="w1", problems=problems
    )


READY = snapshot()


class Worker:
    """What the server asks for."""

    def __init__(self) -> None:
        self.now = READY

    async def snapshot(self) -> Snapshot:
        return self.now

    def failures(self, stage: str) -> list[Failure] | None:
        if stage not in {known.name for known in CHAIR.stages}:
            return None
        return [Failure(FAILED, ("checkout_completed",))] if stage == "web_checkout" else []


@pytest.fixture
def worker() -> Worker:
    """A ready worker; a test may change what it says."""
    return Worker()


@pytest.fixture
async def get(worker: Worker) -> AsyncIterator[Get]:
    """Asks a running server, and looks at the headers that every answer must have."""
    server = HttpServer("127.0.0.1:0", Answers(worker.snapshot, worker.failures))
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
    assert "touchpoint_window" not in await answer.text()


async def test_renders_off_the_loop(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 series and more are rendered in another thread than the one that counts events."""
    experience = CHAIR.stages[0].experiences[0]
    many = tuple(replace(experience, name=f"experience_{i}") for i in range(60))
    stage = replace(CHAIR.stages[0], experiences=many)
    windows = StageWindows(counter_names(CHAIR, stage))
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


async def test_stages(get: Get) -> None:
    """The API gives each stage's state, its weakest experience and whom it hits, in journey order."""
    answer = await get("/api/stages")
    assert (answer.status, answer.content_type) == (200, "application/json")
    body = await answer.json()
    assert {key: body[key] for key in ("journey", "ready", "at", "worker", "partitions", "problems")} == {
        "journey": "chair",
        "ready": True,
        "at": "2027-01-15T08:00:30Z",
        "worker": "w1",
        "partitions": {"owned": 4, "of": 8},
        "problems": [],
    }
    assert [stage["stage"] for stage in body["stages"]] == [stage.name for stage in CHAIR.stages]
    checkout, quiet = body["stages"][:2]
    trend = checkout.pop("trend")
    assert checkout == {
        "stage": "web_checkout",
        "title": "Web checkout",
        "kind": "customer",
        "owner": "web-team",
        "runbook": "https://runbooks.example.com/web-checkout",
        "depends_on": [],
        "state": "degraded",
        "silent": None,
        "window": "1m",
        "quality": 0.6,
        "target": 0.95,
        "weakest": {
            "experience": "checkout_completed",
            "title": "Customers who start the checkout finish it",
            "segment": "new",
        },
        "n": 50,
        "bad": 20,
        "journeys_hit": None,
        "events_per_minute": 10.0,
        "top_reason": "payment_error",
    }
    last_s = NOW // 60_000 * 60
    assert trend == [[last_s - 60 * back, 0.6 if back == 0 else None] for back in range(59, -1, -1)]
    assert (quiet["state"], quiet["quality"], quiet["target"], quiet["weakest"], quiet["n"]) == (
        "quiet", None, None, None, 0,
    )  # fmt: skip


def with_journeys(ready: bool = True, *, clock_ms: int = NOW - 60_000) -> Snapshot:
    """A worker that keeps journeys: 3 over, 2 hit at the store lately, a promise overdue."""
    windows = StageWindows(journey_counter_names(CHAIR))
    counts = {"closed/met/new": 2, "closed/missed/new": 1, "hit/store/new": 2, "weakest/store/new": 1}
    for grain in (SHORT, LONG):
        windows.add(PaneKey(grain.ms, grain.start_of(NOW)), counts)
    overdue = [("promise/delivery_window", "postnord", NOW - 1000)]
    journeys = JourneysSnapshot(
        topic="steps",
        column=windows.column,
        sums=windows.sums(NOW),
        results={},
        open_journeys=9,
        overdue=ages(overdue, NOW),
        clocks_ms={0: clock_ms},
        slowest={0: ("store", 3)},
        lags=(),
    )
    return replace(snapshot(ready=ready), journeys=journeys)


def test_whole_journeys() -> None:
    """The API says what whole journeys come to, and by stage how many are hit now; of staff, none can be."""
    body = stages_answer(with_journeys())
    assert body["journeys"] == {
        "judged_until": "2027-01-15T07:59:30Z",
        "held_up_by": None,
        "open": 9,
        "over": {window: {"met": 2, "missed": 1, "visit": 0} for window in ("1h", "1d")},
        "hit": {s.name: 2 if s.name == "store" else 0 for s in CHAIR.stages if s.kind != "staff"},
        "weakest": {"stage": "store", "title": "Store", "journeys": 1},
        "overdue": {"postnord": 1},
        "labyrinths": 0,
        "handoffs_lost": 0,
    }
    hit = {stage["stage"]: stage["journeys_hit"] for stage in body["stages"]}
    assert (hit["store"], hit["delivery"], hit["staff_pulse"]) == (2, 0, None)


@pytest.mark.parametrize(
    ("clock_ms", "is_held_up"),
    [(NOW - JOURNEYS_LAG_S * 1000, False), (NOW - JOURNEYS_LAG_S * 1000 - 1, True), (0, True)],
)
def test_what_holds_journeys_up_is_named(clock_ms: int, is_held_up: bool) -> None:
    """As soon as `MonitorBlind` calls them held up, by what the slowest partition waits for."""
    known = stages_answer(with_journeys(clock_ms=clock_ms))["journeys"]
    by = {"stage": "store", "title": "Store", "partition": 3} if is_held_up else None
    assert known["held_up_by"] == by
    assert (known["judged_until"] is None) == (clock_ms == 0)


def test_whole_journeys_unknown() -> None:
    """While not ready nothing is known of journeys; where the file asks for none there is nothing to know."""
    body = stages_answer(with_journeys(ready=False))
    assert set(body["journeys"]) == set(stages_answer(with_journeys())["journeys"])
    assert set(body["journeys"].values()) == {stage["journeys_hit"] for stage in body["stages"]} == {None}
    without = replace(with_journeys(), journey=replace(CHAIR, journeys=None), journeys=None)
    assert stages_answer(without)["journeys"] is None


@pytest.mark.parametrize("n", [1, MIN_GROUP - 1, MIN_GROUP])
def test_a_small_group_of_staff_is_not_shown(n: int) -> None:
    """What fewer than the least group answered to this worker is as if nobody had; nor is it in the trend."""
    pulse = CHAIR.stage("staff_pulse")
    windows, tally = StageWindows(counter_names(CHAIR, pulse)), Tally(Judge(CHAIR, pulse))
    for i in range(n):
        score = Score(kind="csat", value=1 if i == 0 else 5)
        tally.add(Event(stage=pulse.name, outcome="ok", reason="tools", score=score), NOW)
    for key, counts in tally.panes():
        windows.add(key, counts)
    held = stage_snapshot(CHAIR, pulse, windows, NOW)
    said = stages_answer(replace(READY, stages=(held,)))["stages"][0]
    in_trend = [quality for _, quality in said["trend"] if quality is not None]
    if n < MIN_GROUP:
        assert (said["state"], said["quality"], said["n"], said["bad"]) == ("quiet", None, 0, 0)
        assert (said["weakest"], said["top_reason"], in_trend) == (None, None, [])
    else:
        assert (said["n"], said["bad"], in_trend) == (n, 1, [(n - 1) / n])


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


@pytest.mark.parametrize("file", sorted(RUNBOOK_FILES.iterdir()), ids=lambda file: file.stem)
def test_runbooks_speak_of_what_there_is(file: Path) -> None:
    """One page, with every question answered; the metrics it asks for exist, with their labels."""
    text = file.read_text()
    assert 30 <= len(text.splitlines()) <= 50
    assert text.startswith(f"# {file.stem}\n")
    for heading in ("What it means for the customer", "Look first", "When it resolves", "Sensitivity"):
        assert f"\n## {heading}" in text
    labels = {metric.name: {*metric.labels} for metric in metrics.METRICS}
    labels |= {
        f"{metric.name}_total": {*metric.labels} for metric in metrics.METRICS if metric.kind == "counter"
    }
    for name, selector in re.findall(r"\b(touchpoint_\w+)(?:\{([^}]*)\})?", text):
        assert set(re.findall(r"(\w+)=", selector)) <= labels[name]


async def test_stages_while_not_ready(get: Get, worker: Worker) -> None:
    """While nothing is known the API says so, with every stage quiet and without a trend."""
    worker.now = snapshot(ready=False)
    body = await (await get("/api/stages")).json()
    assert (body["ready"], body["problems"]) == (False, ["waiting for Kafka at nowhere:1"])
    assert {(stage["state"], len(stage["trend"])) for stage in body["stages"]} == {("quiet", 0)}
    assert body["stages"][0]["quality"] is None


def test_answer_needs_no_server() -> None:
    """The body of `/api/stages` is made from a snapshot alone, for the demo's summary."""
    assert stages_answer(READY)["stages"][0]["n"] == 50


async def test_failures(get: Get) -> None:
    """The latest failing encounters are given with what happened and the experiences it was bad for."""
    body = await (await get("/api/stages/web_checkout/failures")).json()
    assert body == {
        "stage": "web_checkout",
        "partitions": {"owned": 4, "of": 8},
        "only_part": "this worker lists failures of 4 of 8 partitions; ask every worker",
        "failures": [
            {
                "id": "e1",
                "time": "2026-07-01T12:30:00.250000Z",
                "outcome": "failed",
                "reason": "payment_error",
                "segment": "new",
                "partner": None,
                "channel": None,
                "location": None,
                "journey_id": "j1",
                "experiences": ["checkout_completed"],
            }
        ],
    }
    assert (await (await get("/api/stages/store/failures")).json())["failures"] == []


async def test_who_sees_a_part_says_so(get: Get, worker: Worker) -> None:
    """One of several workers says how much it counts; one that counts all, or is not ready, says nothing."""
    part = "this worker counts 4 of 8 partitions; Grafana or Prometheus adds all workers up"
    assert (await (await get("/api/stages")).json())["only_part"] == part
    for now in (replace(READY, owned=8), replace(READY, ready=False)):
        worker.now = now
        for path in ("/api/stages", "/api/stages/web_checkout/failures"):
            assert (await (await get(path)).json())["only_part"] is None


def test_a_silent_stage_says_what_was_expected() -> None:
    """Who counts all says silent, not quiet or good, where events are expected and none came."""
    store = CHAIR.stage("store")
    windows, tally = StageWindows(counter_names(CHAIR, store)), Tally(Judge(CHAIR, store))
    tally.add(Event(stage=store.name, outcome="ok"), NOW - 120_000)
    for key, counts in tally.panes():
        windows.add(key, counts)
    before = stage_snapshot(CHAIR, store, windows, NOW)
    known = replace(READY, owned=8, stages=(*READY.stages[:2], before))
    checkout, silent = stages_answer(known)["stages"][:2]
    assert (checkout["state"], checkout["silent"]) == ("degraded", None)
    assert (silent["state"], silent["silent"]) == ("silent", {"window": "1m", "expected": 125})


def test_nothing_bad_hits_nobody() -> None:
    """Where nothing was bad for the weakest experience, nobody is hit and no reason is given."""
    checkout = CHAIR.stages[0]
    windows = StageWindows(counter_names(CHAIR, checkout))
    tally = Tally(Judge(CHAIR, checkout))
    for _ in range(50):
        tally.add(Event(stage=checkout.name, outcome="ok", segment="new"), NOW)
    for key, counts in tally.panes():
        windows.add(key, {**counts, reason_name("unspecified"): 3})  # bad for another experience
    held = stage_snapshot(CHAIR, checkout, windows, NOW)
    said = stages_answer(replace(READY, stages=(held,)))["stages"][0]
    assert (said["n"], said["bad"]) == (50, 0)
    assert (said["weakest"]["segment"], said["top_reason"]) == (None, None)


@pytest.mark.parametrize("stage", ["web-checkout", "%3Cscript%3E", "web_checkout%2F"])
async def test_unknown_stage(get: Get, stage: str) -> None:
    """A stage the journey does not have is answered 404 in JSON, and not echoed."""
    answer = await get(f"/api/stages/{stage}/failures")
    assert (answer.status, answer.content_type) == (404, "application/json")
    assert await answer.json() == {"error": "no such stage"}


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
        server = HttpServer(address, Answers(worker.snapshot, worker.failures))
        with pytest.raises(PortTakenError, match=f"^cannot serve HTTP on {address}: ") as refused:
            await server.start()
        assert "\n" not in str(refused.value)
        assert refused.value.__cause__ is None
        await server.stop()


async def test_stops_unstarted(worker: Worker) -> None:
    """Stopping a server that never started is no error."""
    await HttpServer("127.0.0.1:0", Answers(worker.snapshot, worker.failures)).stop()
