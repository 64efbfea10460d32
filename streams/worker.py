"""One worker of the consumer group: HTTP up, topics checked, Faust running, until stopped or failed."""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version

from monitor.errors import UserError
from monitor.journey_file.model import Journey
from monitor.live.snapshot import Snapshot, stage_snapshot
from monitor.rules.journeys import require_meant
from streams.clock import now_ms
from streams.engine.app import App
from streams.kafka import topics
from streams.publish.changes import ChangesReader
from streams.settings import Settings
from streams.state.latest import Shown
from streams.web.client import advertised_url
from streams.web.group import Group
from streams.web.guard import exposure
from streams.web.lookup import JourneyLookup
from streams.web.server import HttpServer, Sources
from streams.web.where import Causes

log = logging.getLogger(__name__)

STOP_S = 10.0
"""How long a graceful stop may take; what is left then is read again by the next owner."""

SNAPSHOT_MS = 250
"""Scrapes and pages that ask within this time share one snapshot."""


class Worker:
    """Composes the parts; `run` is its whole life."""

    def __init__(self, journey: Journey, settings: Settings) -> None:
        self._journey = journey
        self._settings = settings
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._http = HttpServer(
            settings,
            Sources(
                snapshot=self.snapshot,
                failures=self.failures,
                journeys=JourneyLookup(settings, self._name, lambda: self.app),
                meant=self.meant,
                group=Group(settings, lambda: self.app),
                causes=Causes(journey, settings),
                rescue=self.rescue,
            ),
        )
        self._changes = ChangesReader(journey, settings)
        self._version = version("touchpoint-monitor")
        self._snapshot: Snapshot | None = None
        self._snapshot_lock = asyncio.Lock()
        self.app: App | None = None
        self.address = ""

    @property
    def url(self) -> str:
        """Where HTTP answers, once it does."""
        return f"{'https' if self._settings.http_cert else 'http'}://{self.address}"

    async def run(self, stop: asyncio.Event, started: Callable[[], None] = lambda: None) -> None:
        """Work until `stop` is set; a UserError says why it cannot.

        `started` is called once HTTP answers, before Kafka is reached.
        """
        self.address = await self._http.start()
        if warning := exposure(self._settings):
            log.warning("%s", warning)
        try:
            started()
            while await self._live(stop):
                pass
        finally:
            await self._http.stop()

    async def _live(self, stop: asyncio.Event) -> bool:
        """Find Kafka and its topics, and work; True when topics have changed and this begins anew."""
        connecting = asyncio.create_task(self._connect())
        try:
            return await _first(connecting, stop) and await self._work(connecting.result(), stop)
        finally:
            connecting.cancel()

    async def _connect(self) -> App:
        try:
            self._settings.state_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self._settings.state_dir}: {error.strerror}") from None
        async with topics.connected(self._settings) as admin:
            counts = await topics.ensure(admin, self._journey, self._settings)
            can = await topics.abilities(admin)
            url = advertised_url(self._settings, self.address)
            app = App(self._journey, self._settings, counts, can, url)
            app.know_topics(await topics.states(admin, app.cluster.topics))
        return app

    async def _work(self, app: App, stop: asyncio.Event) -> bool:
        """Work until `stop` is set; True if until topics have changed."""
        self.app = app
        stop_flushing = asyncio.Event()
        flushing: list[asyncio.Task[None]] = []
        begin, keep = app.health.begin, app.health.supervisor.keep
        kept = {"the reader of changes": self._changes.run, "the watch over Kafka": app.cluster.watch}
        beside = [begin(name, keep(name, work)) for name, work in kept.items()]
        failing = begin("the watch over the worker", app.health.wait_for_failure())
        starting = begin("the start", self._start(app, flushing, stop_flushing))
        try:
            if not await _first(failing, stop):
                return False
            if app.health.failure is not None or app.cluster.change is None:
                raise UserError(app.health.failure or failing.result())
            log.warning("%s: beginning anew", app.cluster.change)
            return True
        finally:
            self.app = None
            app.health.is_ending = True
            for task in (starting, failing, *beside):
                task.cancel()
            stop_flushing.set()
            await self._stop(app, flushing)
            await asyncio.wait(beside, timeout=STOP_S)

    async def _start(self, app: App, flushing: list[asyncio.Task[None]], stop: asyncio.Event) -> None:
        """Start Faust, which takes until all is recovered and as long as Kafka keeps it waiting."""
        try:
            await app.start()
        except Exception as error:
            app.health.fail("the worker cannot start", error)
            return
        rest_collector()
        for one in app.processors:
            flushing.append(app.health.begin(f"the writing of {one.name}", app.flush_until(one, stop)))

    async def _stop(self, app: App, flushing: list[asyncio.Task[None]]) -> None:
        """Write and commit what is folded, then leave the group. If Kafka is gone, leave without."""
        try:
            async with asyncio.timeout(STOP_S):
                if app.health.failure is None and flushing:
                    await asyncio.gather(*flushing)
                    await app.consumer.commit()
                await app.stop()
        except TimeoutError:
            log.warning("stopped without Kafka's answer; what is not committed will be read again")
        finally:
            for task in flushing:
                task.cancel()

    # -- what HTTP answers from ----------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        """What the worker knows now; the loop is given up between two stages."""
        async with self._snapshot_lock:
            at_ms = now_ms()
            held = self._snapshot
            if held is None or not 0 <= at_ms - held.at_ms < SNAPSHOT_MS:
                held = self._snapshot = await self._take_snapshot(at_ms)
            return held

    async def _take_snapshot(self, at_ms: int) -> Snapshot:
        app = self.app
        if app is None:
            stages = [stage_snapshot(self._journey, stage, None, at_ms) for stage in self._journey.stages]
        else:
            stages = []
            for processor in app.stages:
                stages.append(processor.snapshot(at_ms, app.lags(processor, at_ms / 1000)))
                await asyncio.sleep(0)
        journeys = None
        if app is not None and app.journeys is not None:
            journeys = app.journeys.snapshot(at_ms, app.lags(app.journeys, at_ms / 1000))
        ready = app is not None and app.health.is_ready and all(stage.sums for stage in stages)
        ready = ready and (journeys is None or bool(journeys.sums))
        return Snapshot(
            journey=self._journey,
            at_ms=at_ms,
            ready=ready,
            stages=tuple(stages),
            version=self._version,
            partitions=app.partition_total if app else 0,
            owned=sum(len(one.owned or ()) for one in app.processors) if app else 0,
            worker=self._name,
            changes=self._changes.latest.since(at_ms),
            problems=() if ready else (self._problem(app),),
            journeys=journeys,
        )

    def _problem(self, app: App | None) -> str:
        if app is None:
            return f"waiting for Kafka at {self._settings.kafka}"
        return app.health.problem

    def failures(self, stage: str) -> list[Shown] | None:
        """The latest failing encounters of a stage, newest first; None when there is no such stage."""
        if stage not in {known.name for known in self._journey.stages}:
            return None
        held = [one for one in (self.app.stages if self.app else ()) if one.stage.name == stage]
        return held[0].failures() if held else []

    def meant(self, experience: str, labels: Mapping[str, str]) -> list[Shown]:
        """The latest journeys that an alert on an experience of whole journeys means, newest first; UserError
        when there is no such experience, or it has not these labels."""
        names = require_meant(self._journey, experience, labels)
        journeys = self.app.journeys if self.app is not None else None
        return journeys.meant(experience, names, labels) if journeys is not None else []

    async def rescue(self) -> list[Shown]:
        """Customers who can still be helped, by what can be done."""
        journeys = self.app.journeys if self.app is not None else None
        return await journeys.rescue(now_ms()) if journeys is not None else []


def rest_collector() -> None:
    """Keep Python's garbage collector from holding the event loop: a full collection took 70 ms.

    What has been loaded lives as long as the worker, so it is set aside.
    """
    gc.unfreeze()  # a worker that began anew has left an app behind
    gc.collect()
    gc.freeze()


async def _first(work: Awaitable[object], stop: asyncio.Event) -> bool:
    """Wait for work or stop; True when the work is done, whose error is raised."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return working in done
