"""One worker, as `touchpoint worker` runs it, timed from its first event to its last acknowledgement."""

import asyncio
import os
import sys
import time

import uvloop

from monitor.journey_file.grammar import parse
from streams import settings as settings_reader
from streams.worker import Worker
from tests.bench.load import STAGE
from tests.bench.report import tell

TICK_S = 0.005


async def main(events: int) -> None:
    """Run until `events` are counted and acknowledged."""
    settings = settings_reader.read(os.environ)
    worker = Worker(parse(settings.journey.read_text()), settings)
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    while worker.app is None and not running.done():
        await asyncio.sleep(TICK_S)
    assert worker.app is not None
    stage = next(one for one in worker.app.stages if one.stage.name == STAGE)
    while not stage.results["counted"] and not running.done():
        await asyncio.sleep(TICK_S)
    began = time.perf_counter()
    first = stage.results["counted"]
    while (stage.results["counted"] < events or stage.unwritten) and not running.done():
        await asyncio.sleep(TICK_S)
    seconds = time.perf_counter() - began
    assert stage.results["counted"] == events
    await worker.snapshot()
    tell(events - first, seconds)
    stop.set()
    await running


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
