"""Made-up traffic to Kafka, at its own pace."""

import asyncio
import time
from collections.abc import Iterable

from streams.demo.simulator import SimulatedEvent
from streams.kafka.publisher import opened
from streams.publish.lines import Report
from streams.settings import Settings
from streams.stopping import entered
from streams.terminal import progress


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
