"""How a service publishes touchpoint events: every event acknowledged by all replicas, or an error raised."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from monitor.counting.event import Headers
from monitor.errors import UserError
from streams.kafka import topics
from streams.kafka.security import kafka_options
from streams.settings import Settings

MAX_IN_FLIGHT = 10_000
"""Events sent but not yet acknowledged; at 1 KB each some 10 MB."""


CLOSE_S = 10.0
"""How long closing waits for a Kafka that does not answer."""


class Publisher:
    """An idempotent producer with delivery report: `acknowledged` counts what every replica has.

    `idempotent=False` is for the embedded broker, which knows no producer ids.
    """

    def __init__(self, bootstrap: str, *, idempotent: bool = True, **options: Any) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap.split(","),
            acks="all",
            enable_idempotence=idempotent,
            linger_ms=10,
            max_batch_size=131_072,
            **options,
        )
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._error: BaseException | None = None
        self.sent = 0
        self.acknowledged = 0

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
        except KafkaError as error:
            await self._producer.stop()
            raise UserError(f"Kafka does not answer: {type(error).__name__}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.flush()
        finally:
            with contextlib.suppress(TimeoutError):  # what is unsent was reported by flush, or is given up
                async with asyncio.timeout(CLOSE_S):
                    await self._producer.stop()

    async def send(self, topic: str, key: bytes | None, value: bytes) -> None:
        """Send one event; waits while too many are unacknowledged, raises UserError once one failed."""
        self._raise_if_failed()
        try:
            future = await self.begin(topic, key, value)
        except KafkaError as error:
            raise UserError(f"topic {topic}: {type(error).__name__}: {error}") from None
        self.sent += 1
        future.add_done_callback(self._done)

    async def begin(
        self, topic: str, key: bytes | None, value: bytes, headers: Headers = ()
    ) -> asyncio.Future[Any]:
        """Send one event; waits while too many are unacknowledged, and has nobody else know of its failure.

        What is returned is done once every replica has it; KafkaError when that failed.
        """
        while len(self._in_flight) >= MAX_IN_FLIGHT:
            await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
        future: asyncio.Future[Any] = await self._producer.send(topic, value, key, headers=[*headers])
        self._in_flight.add(future)
        future.add_done_callback(self._in_flight.discard)
        return future

    def _done(self, future: asyncio.Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._error = error
        else:
            self.acknowledged += 1

    async def flush(self) -> None:
        """Wait until everything sent is acknowledged; UserError when something was not."""
        await self._producer.flush()
        self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        if self._error is not None:
            lost = self.sent - self.acknowledged - len(self._in_flight)
            raise UserError(f"{lost} events were not taken: {type(self._error).__name__}: {self._error}")


@asynccontextmanager
async def opened(settings: Settings, *needed: topics.Topic) -> AsyncIterator[Publisher]:
    """A publisher to the Kafka of the settings and to topics that are there; UserError when it cannot be.

    It is idempotent where the broker can do that.
    """
    async with topics.connected(settings) as admin:
        for topic in needed:
            await topics.ensure_all(admin, [topic], settings)
        can = await topics.abilities(admin)
    options = kafka_options(settings)
    async with Publisher(settings.kafka, idempotent=can.producer_ids, **options) as publisher:
        yield publisher
