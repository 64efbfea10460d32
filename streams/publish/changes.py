"""Deploys and incidents: every worker reads the whole topic for itself, of no group, as long as it runs.

What is read is only shown beside the numbers: a worker counts and is ready without it, and a Kafka that does
not give the records is asked again for ever.
"""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from monitor.journey_file.model import Journey
from monitor.journey_file.nodes import nearest
from monitor.live.change import KEPT_MS, KINDS, Change, LatestChanges, read, written
from streams.clock import now_ms
from streams.kafka import internals, topics
from streams.kafka.publisher import opened
from streams.kafka.read_back import reading
from streams.settings import Settings

log = logging.getLogger(__name__)

RETRY_S = 10.0
"""Between two attempts to read. A change is news for days, so a few seconds late is no harm."""

POLL_MS = 1000

TOLD = 10
"""Of what is skipped of one poll, each in a line."""


class ChangesReader:
    """Reads the topic from its beginning on. Reading it again, after a lost connection, changes nothing."""

    def __init__(self, journey: Journey, settings: Settings) -> None:
        self._journey = journey
        self._settings = settings
        self.latest = LatestChanges()
        self._is_failing = False

    async def run(self) -> None:
        """Read until cancelled, or until the task of Kafka's client that fetches has ended."""
        while True:
            try:
                await self._follow()
            except KafkaError as error:
                level = logging.INFO if self._is_failing else logging.WARNING
                topic, name = self._journey.changes_topic, type(error).__name__
                log.log(level, "%s cannot be read, trying again: %s", topic, name)
                self._is_failing = True
            await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        async with reading(self._settings) as consumer:
            consumer.assign([TopicPartition(self._journey.changes_topic, 0)])
            while True:
                for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                    self._is_failing = False
                    self._take(records)
                    await asyncio.sleep(0)  # aiokafka gives what it holds without a turn of the event loop
                if error := internals.fetching_error(consumer):
                    raise error

    def _take(self, records: Sequence[Any]) -> None:
        skipped = []
        for record in records:
            written_ms = record.timestamp if record.timestamp > 0 else now_ms()
            change = read(record.value, self._journey, written_ms)
            if isinstance(change, Change):
                self.latest.add(change)
            else:
                place = f"{record.topic}:{record.partition}:{record.offset}"
                skipped.append(f"{place} is not a change and is skipped: {change}")
        for line in skipped[:TOLD]:
            log.warning("%s", line)
        if (more := len(skipped) - TOLD) > 0:
            log.warning("%d more records of %s are not changes and are skipped", more, records[0].topic)


class Told(NamedTuple):
    """A change as somebody tells it; without a stage it is about all."""

    title: str
    kind: str
    stage: str | None
    at_ms: int


def record(journey: Journey, told: Told, now_ms: int) -> bytes:
    """The record of a change of a new id; ValueError in one line for what no worker would show."""
    title, kind, stage, at_ms = told
    names = [known.name for known in journey.stages]
    known_kind = next((one for one in KINDS if one == kind), None)
    if known_kind is None:
        raise ValueError(f"unknown kind `{kind}`{nearest(kind, KINDS)}")
    if stage is not None and stage not in names:
        raise ValueError(f"unknown stage `{stage}`{nearest(stage, names)}")
    if at_ms <= now_ms - KEPT_MS:
        raise ValueError("the change is more than 7 days old, so nothing would show it")
    value = written(uuid.uuid4().hex, at_ms, known_kind, title, stage)
    if isinstance(change := read(value, journey, now_ms), str):
        raise ValueError(f"not published: {change}")
    return value


async def publish(journey: Journey, settings: Settings, value: bytes) -> None:
    """Publish the record of a change; a UserError says why it was not taken."""
    async with opened(settings, topics.changes_topic(journey)) as publisher:
        await publisher.send(journey.changes_topic, None, value)
