"""The whole line to the pager, of real parts: broker, worker, Prometheus, Alertmanager, printer of pages."""

import asyncio
import json
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from deploy.alerting import Alerting
from monitor.journey_file.model import Journey
from streams.settings import Settings
from streams.web.pager import Pages
from tests.kit.brokers import TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import TOUCHPOINT, WorkerProcess, environment

PER_S = 20
"""Events a second and stage: 30 within any 20 s."""

TICK_S = 0.05

RARELY = 200
"""Each so manieth event is bad: far fewer than any target allows."""

CHANNELS = {"call_queue": "phone", "store": "store", "feedback": "email"}


JSON = {"Content-Type": "application/json"}


@dataclass
class Traffic:
    """Steady events of every stage, `PER_S` each; the test turns stages bad or silent while they flow."""

    journey: Journey
    bootstrap: str
    bad_every: dict[str, int] = field(default_factory=dict)
    """Stage to k: every k-th event is bad."""
    silent: set[str] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Publish until stopped; for a thread."""
        asyncio.run(self._publish())

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()

    async def _publish(self) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all") as producer:
            started, number = time.monotonic(), 0
            while not self._stop.is_set():
                while number < (time.monotonic() - started) * PER_S:
                    number += 1
                    for stage in self.journey.stages:
                        if stage.name not in self.silent:
                            value = orjson.dumps(self._event(stage.name, number))
                            await producer.send(stage.topic, value)
                    if number % 500 == 0:  # far fewer than a ticket takes
                        await producer.send(self.journey.stages[0].topic, b"no event")
                await asyncio.sleep(TICK_S)

    def _event(self, stage: str, number: int) -> dict[str, Any]:
        every = self.bad_every.get(stage)
        now = datetime.now(UTC).isoformat()
        event: dict[str, Any] = {
            "id": f"{stage}-{number}",
            "time": now,
            "stage": stage,
            "journey_id": f"j-{number}",
            "segment": ("new", "returning", "business")[number % 3],
            "channel": CHANNELS.get(stage, "web"),
            "location": ("helsinki", "tampere")[number % 2],
            "outcome": "ok",
            "wait_s": 1.0,
            "duration_s": 20.0,
            "system_wait_s": 2.0,
            "internal_ok": True,
            "promise": {"id": f"p-{number}", "kind": "delivery_window", "kept": True},
            "handoff": {"id": f"h-{number}", "from": "warehouse", "to": "delivery"},
        }
        if stage == "feedback" and number % 2:
            outcome = "followed_up" if number % 20 == 1 else "asked"
            event |= {"outcome": outcome, "journey_id": f"asked-{number}"}
        elif stage in ("feedback", "staff_pulse"):
            nps = {"kind": "nps", "value": 3 if number % RARELY == RARELY // 2 else 9}
            event["score"] = {"kind": "csat", "value": 5} if stage == "staff_pulse" else nps
        if stage == "call_queue" and not number % 50:
            event["journey_id"] = f"waiting-{number}"
            event["promise"] = {"id": f"b-{number}", "kind": "call_back", "due": now}
        if every and number % every == 0:
            event |= {"outcome": "failed", "reason": self._reason(stage)}
        elif number % RARELY == 0:
            outcome = "abandoned" if stage == "web_checkout" else "failed"
            event |= {"outcome": outcome, "reason": self._reason(stage)}
        return event

    def _reason(self, stage: str) -> str | None:
        reasons = self.journey.stage(stage).reasons
        return reasons[0] if reasons else None


@dataclass(frozen=True, slots=True)
class Posting:
    """Posts to a receiver of alerts."""

    url: str

    def post(self, severity: str, *alerts: dict[str, Any]) -> None:
        """Alerts as Alertmanager posts them; HTTPError when they are not taken."""
        self.send(f"/{severity}", {"alerts": alerts})

    def send(self, path: str, said: Any) -> None:
        """JSON; HTTPError when it is not taken."""
        request = urllib.request.Request(self.url + path, json.dumps(said).encode(), JSON)  # noqa: S310 - loopback
        urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - loopback


@contextmanager
def serving(told: list[str]) -> Iterator[Posting]:
    """The receiver within this process, which tells into the list."""

    async def serve() -> None:
        loop.append(asyncio.get_running_loop())
        await Pages(told.append).serve(Settings(http="127.0.0.1:0"), stop)

    loop: list[asyncio.AbstractEventLoop] = []
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    until(lambda: bool(told), "the receiver listens")
    try:
        yield Posting(re.findall(r"http://\S+", told[0])[0])
    finally:
        loop[0].call_soon_threadsafe(stop.set)
        thread.join(60)
    assert not thread.is_alive()


class Pager:
    """A `touchpoint pages` process and what it has printed."""

    def __init__(self, *options: str, **settings: str) -> None:
        self.process = subprocess.Popen(
            [TOUCHPOINT, "pages", "--http", "127.0.0.1:0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(**settings) | {"PYTHONUNBUFFERED": "1"},
            text=True,
        )
        self.lines: list[tuple[float, str]] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        until(lambda: self.said("waiting for alerts"), "the pager listens")
        self.url = re.findall(r"http://\S+", self.lines[-1][1])[0]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(" "):  # belongs to the one before
                at, before = self.lines[-1]
                self.lines[-1] = at, f"{before}\n{line.rstrip()}"
            else:
                self.lines.append((time.monotonic(), line.rstrip()))

    def said(self, start: str) -> tuple[float, str] | None:
        """When a line that starts so was printed last, and it with what has come below it so far."""
        found = [(at, line) for at, line in self.lines if line.startswith(start)]
        return found[-1] if found else None

    def post(self, severity: str, *alerts: dict[str, Any]) -> None:
        """Alerts as Alertmanager posts them; HTTPError when they are not taken."""
        Posting(self.url).post(severity, *alerts)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
        self._reading.join(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class Rig:
    """All parts, running and healthy."""

    traffic: Traffic
    worker: WorkerProcess
    alerting: Alerting
    pager: Pager

    def page(self, start: str, deadline_s: float = 240, with_line: str = "") -> tuple[float, str]:
        """Wait for a line of the pager, and one below it that starts so; when it came, and all of it."""

        def has_come() -> bool:
            found = self.pager.said(start)
            return found is not None and (not with_line or f"\n    {with_line} " in found[1])

        until(has_come, f"a line `{start}`", deadline_s)
        found = self.pager.said(start)
        assert found is not None
        return found


@contextmanager
def rig(directory: Path, journey: Journey, journey_file: Path) -> Iterator[Rig]:
    """Everything started, with traffic flowing for as long as windows of a minute need to fill."""
    with ExitStack() as stack:
        node = stack.enter_context(running(TansuNode()))
        worker = stack.enter_context(WorkerProcess(KAFKA=node.bootstrap, JOURNEY=str(journey_file)))
        worker.ready()
        traffic = Traffic(journey, node.bootstrap)
        publishing = threading.Thread(target=traffic.run, daemon=True)
        publishing.start()
        stack.callback(_both(traffic.stop, publishing.join))
        pager = Pager()
        stack.callback(pager.stop)
        address = worker.url.removeprefix("http://")
        alerting = stack.enter_context(Alerting(directory, journey_file, [address], pager.url))
        until(lambda: _full_minute(worker, journey), "a minute of events", 120)
        yield Rig(traffic, worker, alerting, pager)


def _full_minute(worker: WorkerProcess, journey: Journey) -> bool:
    stage = journey.stages[0]
    seen = worker.scrape().sum("touchpoint_window_outcomes", stage=stage.name, window="1m")
    return seen >= 50 * PER_S


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        first()
        second()

    return run
