"""Made-up traffic to standard output or Kafka, at its own pace or as fast as possible."""

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence

from monitor.journey_file.model import Journey
from streams.demo.faults import Fault
from streams.demo.simulator import SimulatedEvent, Simulator
from streams.kafka.publisher import opened
from streams.publish.traffic import Report
from streams.settings import Settings
from streams.stopping import entered
from streams.terminal import progress


def simulated(
    journey: Journey,
    seed: int,
    start_ms: int,
    rate: float,
    compress: float,
    faults: Sequence[Fault],
    events: int | None,
) -> Iterator[SimulatedEvent]:
    """The simulator's events, at most `events` of them."""
    simulator = Simulator(journey, seed=seed, start_ms=start_ms, rate=rate, compress=compress, faults=faults)
    return itertools.islice(simulator.events(), events)


async def publish_simulated(
    settings: Settings, events: Iterable[SimulatedEvent], stop: asyncio.Event
) -> Report:
    """Publish simulated events when they happen, until they end or `stop` is set."""
    report = Report()
    async with entered(stop, opened(settings)) as publisher:
        with progress(None) as bar:
            task = bar.add_task("published")
            for event in events:
                if stop.is_set():
                    break
                ahead_s = event.at_ms / 1000 - time.time()
                if ahead_s > 0:
                    with_stop = asyncio.create_task(stop.wait())
                    await asyncio.wait({with_stop}, timeout=ahead_s)
                    with_stop.cancel()
                await publisher.send(event.topic, event.key, event.value)
                bar.update(task, advance=1)
        await publisher.flush()
        report.published = publisher.acknowledged
    return report
