"""Made-up traffic to Kafka, at its own pace."""

import asyncio
import time
from collections.abc import Iterable

from streams.demo.simulator import SimulatedEvent
from streams.publish.lines import Report, publishing
from streams.settings import Settings
from streams.stopping import pause


async def publish_simulated(
    settings: Settings, events: Iterable[SimulatedEvent], stop: asyncio.Event
) -> Report:
    """Publish simulated events when they happen, until they end or `stop` is set."""
    report = Report()
    async with publishing(settings, stop, report) as send:
        for event in events:
            if stop.is_set():
                break
            await pause(stop, event.at_ms / 1000 - time.time())
            await send(event.topic, event.key, event.value)
    return report
