"""Fired and resolved alerts on their way to the topic of findings: taken by Kafka, or that is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from monitor.errors import UserError
from monitor.journey_file.model import Journey
from streams.kafka import topics
from streams.kafka.publisher import opened
from streams.settings import Settings


@asynccontextmanager
async def sharing(journey: Journey, settings: Settings) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    """What publishes findings, for a with block; a UserError says why it cannot."""
    async with opened(settings, topics.findings_topic(journey)) as publisher:

        async def share(value: bytes) -> None:
            try:
                async with asyncio.timeout(settings.kafka_timeout_s):  # whoever posts does not wait for ever
                    await publisher.send(journey.findings_topic, None, value)
                    await publisher.flush()
            except TimeoutError:
                taken_s = f"{settings.kafka_timeout_s:g}"
                raise UserError(f"Kafka did not take a finding within {taken_s} s") from None

        yield share
