"""Events towards Kafka from standard input, and what every way there needs: topics, keys, a report."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from monitor.counting.event import Codecs, Event, Refused
from monitor.journey_file.model import Journey
from streams.files import FileProblemError
from streams.kafka.publisher import opened
from streams.settings import Settings
from streams.stopping import entered
from streams.terminal import progress

PROBLEMS_SHOWN = 20
"""Lines of a bad file that are shown; the count says how many there were."""


@dataclass(slots=True)
class Report:
    """What became of the events: each is acknowledged by Kafka or refused here, with its line."""

    published: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)
    ended: str | None = None
    """What ended the reading before its end."""

    def refuse(self, number: int, refused: Refused) -> None:
        self.refused += 1
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(f"line {number}: {refused.reason}: {refused.error}")


def key(event: Event) -> bytes:
    """Events of one encounter are read by one worker, and those of one journey stay in order."""
    return (event.encounter_id or event.journey_id or event.id or "").encode()


Send = Callable[[str, bytes, bytes], Awaitable[None]]
"""Sends an event: its topic, key and value."""


@asynccontextmanager
async def publishing(
    settings: Settings, stop: asyncio.Event, report: Report, total: int | None = None
) -> AsyncIterator[Send]:
    """What sends events, of which there are `total`, for a with block. Behind it the report says how many of
    them Kafka has."""
    async with entered(stop, opened(settings)) as publisher:
        with progress("published", total) as advance:

            async def send(topic: str, key: bytes, value: bytes) -> None:
                await publisher.send(topic, key, value)
                advance(1)

            yield send
        await publisher.flush()
        report.published = publisher.acknowledged


async def publish(
    journey: Journey,
    settings: Settings,
    lines: AsyncIterator[bytes],
    stop: asyncio.Event,
    now_ms: int,
) -> Report:
    """Publish lines of JSON until they end or `stop`; what a worker would refuse is refused, by line."""
    report = Report()
    codecs = Codecs(journey, refuse_personal_data=settings.refuse_personal_data)
    number = 0
    async with publishing(settings, stop, report) as send:
        try:
            async for line in lines:
                number += 1
                if stop.is_set():
                    break
                if not (value := line.strip()):
                    continue
                codec = codecs.of(value)
                read = codec.decode(value)
                if isinstance(read, Refused):
                    report.refuse(number, read)
                elif refused := codec.refuse_time(read.at_ms, now_ms):
                    report.refuse(number, refused)
                else:
                    await send(codec.stage.topic, key(read), value)
        except FileProblemError as error:  # what came before has been published, and is told
            report.ended = str(error)
    return report
