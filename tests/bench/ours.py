"""One worker, as `touchpoint worker` runs it, timed from its first event to its last acknowledgement."""

import asyncio
import os
import sys
import time

import uvloop

from monitor.journey_file.grammar import parse
from streams import settings as settings_reader
from streams.commands.shared import SWITCH_S
from streams.worker import Worker
from tests.bench.report import tell

TICK_S = 0.005


async def main(events: int, sent_on: int) -> None:
    """Run until so many events are counted and acknowledged, and so many steps and contacts taken."""
    settings = settings_reader.read(os.environ)
    worker = Worker(parse(settings.journey.read_text()), settings)
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    try:
        await _measure(worker, running, events, sent_on)
    finally:
        stop.set()
        await running


async def _measure(worker: Worker, running: "asyncio.Task[None]", events: int, sent_on: int) -> None:
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
    while counted() < events or taken() < sent_on or any(one.unwritten for one in processors):
        assert not running.done()
        await asyncio.sleep(TICK_S)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu_s
    assert (counted(), taken()) == (events, sent_on), f"{counted():,} events, {taken():,} steps and contacts"
    assert sum(one.counted_ever() for one in stages) == events, "the panes do not hold every event"
    await worker.snapshot()
    tell(events - first, seconds, cpu_us=1e6 * cpu_s / (events - first))


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_S)
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
