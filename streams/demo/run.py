"""The main job on one machine: embedded broker, simulated chair journey, one worker, the live page."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.journey_file.nodes import DURATION, UNIT_MS
from monitor.rules.verdict import State
from streams.clock import now_ms
from streams.demo.broker import EmbeddedBroker
from streams.demo.faults import Fault
from streams.demo.simulator import Simulator
from streams.files import text_of, write
from streams.kafka import topics
from streams.kafka.publisher import Publisher
from streams.kafka.security import kafka_options
from streams.settings import PLAINTEXT, Settings
from streams.terminal import StagesView
from streams.web.answers import stages_answer
from streams.worker import SNAPSHOT_MS, Worker

HISTORY_S = 300
"""Traffic of the last minutes is published at once, so that windows and trends do not begin empty."""

COMPRESS = 5000
"""A day between two stages of a journey passes in 17 seconds."""

JOURNEY_FILE = "demo-journey.yaml"
"""In the state directory: the journey file in the demo's time, for a second worker."""

RATE = 2.0
"""Twice the journey's rhythm: enough events in 20 s for the quickest rule even at night."""

SEED = 7

DRAIN_S = 20.0
"""How long the worker may take, at the end, to count what has been published."""

SUMMED_WINDOW = "1d"
"""Longer than a demo: every journey that is over."""

ALERTS = {State.DEGRADED: "StageDegraded", State.SILENT: "StageSilent"}
"""What the worker itself sees of what pages. Alerts proper come from Prometheus: only there does one explain
or hold back another, and are slow burns and whole journeys held to their limits."""


class Wanted(NamedTuple):
    """The broker's port, how many seconds of live traffic, and what goes wrong in it."""

    kafka_port: int | None
    for_s: float | None
    faults: Sequence[Fault]


async def run(journey: Journey, settings: Settings, wanted: Wanted, stop: asyncio.Event) -> dict[str, Any]:
    """Run until `stop`, or `for_s` seconds of live traffic; returns the summary.

    When nobody reads what it shows any more (`touchpoint demo 2>&1 | head`), it stops as if told to.
    """
    journey, settings = _in_demo_time(journey, settings)
    broker = EmbeddedBroker(wanted.kafka_port)
    with StagesView(when_unread=stop.set) as view, contextlib.ExitStack() as at_the_end:
        broker.start()
        at_the_end.callback(broker.stop)
        settings = dataclasses.replace(
            settings,
            kafka=broker.bootstrap,
            kafka_security=PLAINTEXT,  # of the embedded broker, which knows no other
            create_topics=True,
        )
        async with topics.connected(settings) as admin:
            await topics.ensure(admin, journey, settings)
        return await _Demo(journey, settings, broker, view, wanted.faults, stop).run(wanted.for_s)


def _in_demo_time(journey: Journey, settings: Settings) -> tuple[Journey, Settings]:
    """The same journey with whole journeys as short as the traffic's, and settings that name its file.

    At the pace of the shipped file nothing would be over, lost or gone astray before two days have passed.
    """
    if journey.journeys is None:
        return journey, settings
    file = settings.state_dir / JOURNEY_FILE
    short = compressed(text_of(settings.journey))
    write({file: short})
    return parse(short), dataclasses.replace(settings, journey=file)


def compressed(text: str) -> str:
    """A valid journey file with the durations of whole journeys divided by `COMPRESS`, in full seconds."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101 - it is valid
    journeys = next(section for key, section in root.value if key.value == "journeys")
    for scalar in {id(one): one for one in _scalars(journeys)}.values():  # an alias is the node it stands for
        if duration := DURATION.fullmatch(scalar.value):
            real_ms = int(duration[1]) * UNIT_MS[duration[2]]
            scalar.value = f"{max(1, round(real_ms / 1000 / COMPRESS))}s"
    return str(yaml.serialize(root, allow_unicode=True))


def _scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item)
    elif isinstance(node, yaml.MappingNode):
        for _, member in node.value:
            yield from _scalars(member)


@dataclass(eq=False)
class _Demo:
    _journey: Journey
    _settings: Settings
    _broker: EmbeddedBroker
    _view: StagesView
    _faults: Sequence[Fault]
    _stop: asyncio.Event

    def __post_init__(self) -> None:
        settings = self._settings
        self._worker = Worker(self._journey, settings)
        self._publisher = Publisher(settings.kafka, idempotent=False, **kafka_options(settings))
        self._alerts: dict[tuple[str, str], float] = {}
        self._began = time.time()
        self._history: int | None = None
        self._live_ms: int | None = None
        """Since when the history is counted: a snapshot from before that knows half of it."""
        self._announced = asyncio.Event()

    async def run(self, for_s: float | None) -> dict[str, Any]:
        end_worker = asyncio.Event()
        working = asyncio.create_task(self._worker.run(end_worker, started=self._announce))
        async with self._publisher:
            publishing = asyncio.create_task(self._publish(for_s))
            showing = asyncio.create_task(self._show())
            deciding = asyncio.create_task(self._stop.wait())
            tasks: list[asyncio.Task[Any]] = [working, publishing, showing]
            try:
                await asyncio.wait({*tasks, deciding}, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()
            finally:
                publishing.cancel()
                deciding.cancel()
                await asyncio.wait({publishing, deciding})
        await self._drain(working)
        showing.cancel()
        summary = await self._summary()
        end_worker.set()
        await working
        return summary

    def _announce(self) -> None:
        kafka, url, file = self._settings.kafka, self._worker.url, self._settings.journey
        self._announced.set()
        self._view.say(f"live page   {url}/     metrics   {url}/metrics")
        first = self._worker.address
        host, _, port = first.rpartition(":")
        second = f"{host}:{int(port) + 1}"
        one_more = f"TOUCHPOINT_KAFKA={kafka} TOUCHPOINT_HTTP={second} TOUCHPOINT_JOURNEY={file}"
        self._view.say(f"one more    {one_more} touchpoint worker")
        self._view.say(f'then        make pages ARGS="--worker {first} --worker {second}" scrapes both')

    async def _publish(self, for_s: float | None) -> None:
        """History at once, then traffic at its pace; it may take `for_s` seconds from then on."""
        live_ms = round(self._began * 1000)
        simulator = Simulator(
            self._journey,
            seed=SEED,
            start_ms=live_ms - HISTORY_S * 1000,
            live_ms=live_ms,
            rate=RATE,
            compress=COMPRESS,
            faults=self._faults,
        )
        for event in simulator.events():
            if self._history is None and event.at_ms >= live_ms:
                await self._publisher.flush()
                self._history = self._publisher.acknowledged
                if for_s is not None:
                    asyncio.get_running_loop().call_later(for_s, self._stop.set)
            await asyncio.sleep(max(event.at_ms / 1000 - time.time(), 0))
            await self._publisher.send(event.topic, event.key, event.value)

    async def _show(self) -> None:
        await self._announced.wait()
        part = None
        while True:
            self._broker.check()
            answer = stages_answer(known := await self._worker.snapshot())
            if self._has_counted_history() and self._live_ms is None:
                self._live_ms = now_ms()
            is_live = self._live_ms is not None and known.at_ms >= self._live_ms
            for stage in answer["stages"] if is_live else ():
                if stage["state"] in ALERTS:
                    seen = stage["stage"], stage["state"]
                    self._alerts.setdefault(seen, round(time.time() - self._began, 1))
            if answer["ready"]:
                if answer["only_part"] not in (None, part):
                    self._view.say(answer["only_part"])
                part = answer["only_part"]
                caption = f"published {self._publisher.acknowledged}, counted {self._results('counted')}"
                self._view.show(answer["stages"], caption)
            await asyncio.sleep(0.5)

    def _results(self, name: str) -> int:
        processors = self._worker.app.stages if self._worker.app else []
        return sum(processor.results[name] for processor in processors)

    def _has_counted_history(self) -> bool:
        """Before that, half of the history looks like a minute without events."""
        return self._history is not None and self._results("counted") >= self._history

    def _counted(self) -> dict[str, int]:
        """Events counted by stage; complete when this worker owns every partition."""
        processors = self._worker.app.stages if self._worker.app else []
        return {processor.stage.name: processor.counted_ever() for processor in processors}

    async def _drain(self, working: asyncio.Task[None]) -> None:
        deadline = time.monotonic() + DRAIN_S
        while not working.done() and time.monotonic() < deadline:
            if sum(self._counted().values()) + self._results("refused") >= self._publisher.acknowledged:
                return
            known = await self._worker.snapshot()
            waiting = sum(lag.records for stage in known.stages for lag in stage.lags)
            if known.ready and known.owned < known.partitions and not waiting:
                return  # others count the rest
            await asyncio.sleep(0.05)

    async def _summary(self) -> dict[str, Any]:
        await asyncio.sleep(SNAPSHOT_MS / 1000)  # then one from before the last event is handed out no more
        answer, counted = stages_answer(await self._worker.snapshot()), self._counted()
        return {
            "published": self._publisher.acknowledged,
            "counted": sum(counted.values()),
            "refused": self._results("refused"),
            "partitions": answer["partitions"],
            "only_part": answer["only_part"],
            "stages": {
                stage["stage"]: {
                    "state": stage["state"],
                    "quality": stage["quality"],
                    "target": stage["target"],
                    "events": counted.get(stage["stage"], 0),
                }
                for stage in answer["stages"]
            },
            "alerts": [
                {"alert": ALERTS[State(state)], "stage": stage, "after_s": after_s}
                for (stage, state), after_s in self._alerts.items()
            ],
            "journeys": _journeys(answer["journeys"]),
        }


def _journeys(known: dict[str, Any] | None) -> dict[str, Any] | None:
    """Whole journeys of an `/api/stages` answer; None where none are kept, or nothing is known of them."""
    if known is None or known["over"] is None:
        return None
    over = known["over"][SUMMED_WINDOW]
    return {
        "open": known["open"],
        "over": sum(over.values()),
        "met": over["met"],
        "missed": over["missed"],
        "hit": known["hit"],
        "weakest": known["weakest"] and known["weakest"]["stage"],
        "overdue": known["overdue"],
        "handoffs_lost": known["handoffs_lost"],
        "labyrinths": known["labyrinths"],
    }
