"""What whole journeys cost: events a second with and without them, a step by itself.

The whole worker runs on the embedded broker. Alone it is run by `python -m tests.bench.journeys`, a part of
it by its name: `worker` or `steps`.
"""

import argparse
import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

from monitor.counting.event import Codec, Event
from monitor.counting.judging import Judge
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.journeys.counters import CounterTally
from monitor.journeys.open import JourneyRules
from monitor.journeys.step import Step, decode, step_of
from streams import settings as settings_reader
from streams.clock import now_ms
from streams.commands.shared import SWITCH_S
from streams.demo.broker import EmbeddedBroker
from streams.demo.simulator import SimulatedEvent, Simulator
from streams.kafka import topics
from streams.kafka.publisher import Publisher
from streams.settings import SHIPPED_JOURNEY, Settings
from streams.state.journey_partition import JourneyPartition
from streams.state.steps import StepSender
from streams.worker import Worker, rest_collector
from tests.bench.report import child, said, tell

JOURNEY = parse(SHIPPED_JOURNEY.read_text())

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

EVENTS = 100_000
DAYS = 7
"""Of simulated traffic: in so long most journeys begun are over, and none of it is too old to be counted."""

EVENTS_PER_DAY = 2_700_000
"""That the shipped file expects, about; the simulator's rate is set from it."""

EVENTS_PER_FLUSH = 500
TICK_S = 0.005

STEP_PARTITIONS = 4
"""As topics have unless told otherwise."""


def main() -> None:
    """Print each part's figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.journeys", description=__doc__)
    parser.add_argument("part", nargs="?", choices=["worker", "steps"])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the whole worker")
    parser.add_argument("--child", type=int, nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        sys.setswitchinterval(SWITCH_S)
        uvloop.run(_work(settings_reader.read(os.environ), *arguments.child))
    else:
        if arguments.part in (None, "worker"):
            _workers(arguments.rounds)
        if arguments.part in (None, "steps"):
            _steps(arguments.rounds)


def _traffic(start_ms: int) -> list[SimulatedEvent]:
    rate = EVENTS / (DAYS * EVENTS_PER_DAY)
    return list(islice(Simulator(JOURNEY, seed=1, start_ms=start_ms, rate=rate).events(), EVENTS))


# -- the whole worker --------------------------------------------------------------------------------


def _workers(rounds: int) -> None:
    """The same events with and without the section, in turn; the ratio of medians."""
    events = [one for one in _traffic(now_ms() - DAYS * DAY_MS) if one.at_ms < now_ms()]
    steps = sum(b'"journey_id"' in one.value for one in events)
    shipped = SHIPPED_JOURNEY.read_text()
    texts = {"with": shipped, "without": re.sub(r"(?m)^journeys:\n((  .*)?\n)*", "", shipped)}
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in texts}
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            for kind, text in texts.items():
                file = Path(directory) / f"{kind}.yaml"
                file.write_text(text)
                assert (parse(text).journeys is None) == (kind == "without")
                said = _worker_round(file, events, steps if kind == "with" else 0, directory)
                found[kind].append(said)
                print(f"journeys {kind:7} {said['events_per_s']:9,.0f} events/s  {said['cpu_us']:4.0f} µs of "
                      f"CPU each  {said['peak_mb']:4.0f} MB peak", flush=True)  # fmt: skip
    for what, unit in (("events_per_s", "events/s"), ("cpu_us", "µs of CPU each")):
        without, with_journeys = (
            statistics.median(one[what] for one in found[kind]) for kind in ("without", "with")
        )
        print(
            f"{len(events):,} events, {steps:,} of them steps: median without journeys {without:,.0f} "
            f"{unit}, with {with_journeys:,.0f}: {with_journeys / without:.2f} times",
            flush=True,
        )


def _worker_round(file: Path, events: Sequence[SimulatedEvent], steps: int, directory: str) -> dict[str, Any]:
    broker = EmbeddedBroker()
    broker.start()
    try:
        asyncio.run(_publish(broker.bootstrap, parse(file.read_text()), events))
        settings = {"KAFKA": broker.bootstrap, "JOURNEY": str(file), "STATE_DIR": directory}
        numbers = ("--child", str(len(events)), str(steps))
        settings |= {"HTTP": "127.0.0.1:0", "SESSION_TIMEOUT_S": "6"}
        with child("tests.bench.journeys", *numbers, **settings) as process:
            return said(process)
    finally:
        broker.stop()


async def _publish(bootstrap: str, journey: Journey, events: Sequence[SimulatedEvent]) -> None:
    settings = Settings(kafka=bootstrap)
    async with topics.connected(settings) as admin:
        await topics.ensure(admin, journey, settings)
    async with Publisher(bootstrap, idempotent=False) as publisher:
        for event in events:
            await publisher.send(event.topic, event.key, event.value)


async def _work(settings: Settings, events: int, steps: int) -> None:
    """One worker, as `touchpoint worker` runs it, from its first event to its last acknowledgement."""
    worker = Worker(parse(settings.journey.read_text()), settings)
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    while worker.app is None and not running.done():
        await asyncio.sleep(TICK_S)
    assert worker.app is not None
    stages, journeys, processors = worker.app.stages, worker.app.journeys, worker.app.processors

    def counted() -> int:
        return sum(one.results["counted"] for one in stages)

    def taken() -> int:
        return 0 if journeys is None else journeys.results["counted"]

    while not counted() and not running.done():
        await asyncio.sleep(TICK_S)
    began, began_cpu_s, first = time.perf_counter(), time.process_time(), counted()
    while counted() < events or taken() < steps or any(one.unwritten for one in processors):
        assert not running.done()
        await asyncio.sleep(TICK_S)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu_s
    assert (counted(), taken()) == (events, steps)
    tell(events - first, seconds, cpu_us=1e6 * cpu_s / (events - first))
    stop.set()
    await running


# -- a step by itself --------------------------------------------------------------------------------


def _steps(rounds: int) -> None:
    """What one step costs whoever keeps its journey, without Kafka; times are of this thread's own work."""
    records = list(_records(_traffic(now_ms() - DAYS * DAY_MS)))
    steps = sum(len(decode(value).steps) for _, value in records)
    took_us: list[dict[str, float]] = []
    rest_collector()
    for _ in range(rounds):
        spent_s, kept = _keep(records)
        took_us.append({what: 1e6 * seconds / steps for what, seconds in spent_s.items()})
    medians = {what: statistics.median(one[what] for one in took_us) for what in took_us[0]}
    print(
        f"{steps:,} steps of {kept:,} journeys, {steps / len(records):.0f} in a record, µs each: "
        + ", ".join(f"{what} {us:.1f}" for what, us in medians.items())
        + f"; together {sum(medians.values()):.1f}",
        flush=True,
    )


def _records(events: Sequence[SimulatedEvent]) -> Iterator[tuple[int, bytes]]:
    """Partition and value of records of the steps topic, as the stages send them on."""
    at_ms = 0
    senders = {
        stage.topic: StepSender(stage.name, "steps", STEP_PARTITIONS, lambda *_: None, lambda: at_ms)
        for stage in JOURNEY.stages
    }
    for offset, (event, step) in enumerate(as_steps(events)):
        sender = senders[event.topic]
        if step is not None:
            sender.add(step)
        at_ms = event.at_ms
        sender.note(0, offset)
        sender.note_events(0, at_ms, 0)
        if (offset + 1) % EVENTS_PER_FLUSH == 0:
            for sender in senders.values():
                for record in sender.drain([0]):
                    assert record.partition is not None
                    assert record.value is not None
                    yield record.partition, record.value


def as_steps(events: Iterable[SimulatedEvent]) -> Iterator[tuple[SimulatedEvent, Step | None]]:
    """Each event, and its step if it is one of a journey."""
    judges = {stage.topic: (Codec(JOURNEY, stage), Judge(JOURNEY, stage)) for stage in JOURNEY.stages}
    for offset, simulated in enumerate(events):
        codec, judge = judges[simulated.topic]
        event = codec.decode(simulated.value)
        assert isinstance(event, Event)
        is_step = event.journey_id is not None
        yield simulated, step_of(event, 0, offset, judge.judge(event)) if is_step else None


def _keep(records: Sequence[tuple[int, bytes]]) -> tuple[dict[str, float], int]:
    """Seconds spent on each part of the work, and how many journeys there were."""
    rules, sources = JourneyRules(JOURNEY), frozenset((stage.name, 0) for stage in JOURNEY.stages)
    held = [JourneyPartition(rules, sources, JOURNEY.horizon_ms) for _ in range(STEP_PARTITIONS)]
    for one in held:
        asyncio.run(one.own(1, lambda: True))
    spent_s = {"reading": 0.0, "taking": 0.0, "counting": 0.0, "writing": 0.0}
    journeys: set[str] = set()
    unwritten = 0
    at_s = time.thread_time()

    def spend(what: str) -> None:
        nonlocal at_s
        now_s = time.thread_time()
        spent_s[what] += now_s - at_s
        at_s = now_s

    for offset, (partition, value) in enumerate(records):
        kept = held[partition]
        spend("reading")
        record = decode(value)
        spend("reading")
        taken = kept.take(offset, record)
        spend("taking")
        if taken.made:
            kept.panes.fold(taken.made, CounterTally, kept.clock_ms)
        spend("counting")
        unwritten += taken.steps
        if unwritten >= EVENTS_PER_FLUSH:
            unwritten = 0
            for one in held:
                one.take_changes()
            spend("writing")
        journeys.update(step.journey_id for step in record.steps)
        at_s = time.thread_time()
    return spent_s, len(journeys)


if __name__ == "__main__":
    main()
