"""One journey by its id, from the worker that keeps it: this one, or another that is asked, one hop away.

One that is over is read from the topic of closed journeys, where that worker knows it to lie.

Which one keeps it is what Faust's assignor told every member with the group's last assignment: partitions by
the URL their owner says it answers at. What was passed on is never passed on again, so no request can go
round in circles, however wrong two workers' views of the group are.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from monitor.counting.event import Id
from monitor.errors import UserError
from monitor.live.closed import ClosedJourney, closed_answer, decode
from monitor.live.journey import journey_answer
from streams.clock import now_ms
from streams.kafka.read_back import ReadBack, reading
from streams.settings import Settings
from streams.web.client import Answer, NotAnsweredError, ask, client_ssl, forwarded, path_of, refused

if TYPE_CHECKING:
    from streams.engine.app import App
    from streams.journeys.processor import JourneyProcessor, Places

READ_S = 4.0
"""How long reading a closed journey may take, waiting for other readers included: less than `ASK_S`, so that
the worker that asked hears why. It takes some 50 ms."""

PASSED_ON = (200, 404, 503)
"""What a worker answers about a journey. Anything else is not about the journey, but about the asking."""

MAX_ID: int = get_args(Id)[1].max_length
ID_RULE = f"a journey id is 1 to {MAX_ID} printable characters"


def is_id(text: str) -> bool:
    """Whether a journey may be asked for by this: `ID_RULE`."""
    return 0 < len(text) <= MAX_ID and text.isprintable()


ReadClosed = Callable[["Places"], AsyncGenerator[bytes, None]]
"""Gives the records at these places, one after the other."""


class JourneyLookup:
    """Answers for one worker. `app` is what it has of Faust, None until Kafka is reached; `read` reads closed
    journeys, from Kafka unless given."""

    def __init__(
        self,
        settings: Settings,
        worker: str,
        app: Callable[[], "App | None"],
        read: ReadClosed | None = None,
    ) -> None:
        self._worker = worker
        self._app = app
        self._context = client_ssl(settings)
        self._read = read or partial(read_closed, settings)
        self._reading = asyncio.Lock()

    async def look_up(self, journey_id: str, authorization: str | None, *, is_forwarded: bool) -> Answer:
        """What is known of a journey; 404 when nothing is, 503 with the reason when nobody can be asked.

        400 for what is no id.
        """
        if not is_id(journey_id):
            return refused(400, ID_RULE)
        app = self._app()
        if app is None:
            return refused(503, "this worker has not reached Kafka yet")
        journeys = app.journeys
        if journeys is None:
            return refused(404, "the journey file has no `journeys`, so no journeys are kept")
        if journeys.keeps(journey_id):
            return await self._from_here(journeys, journey_id)
        if is_forwarded:
            return refused(503, "the worker that was asked does not keep this journey now: try again")
        url = app.keeper_url(journeys.partition_of(journey_id))
        if url is None:
            return refused(503, "no worker is known to keep this journey now: try again")
        if url == app.url:
            return refused(503, _not_here(journeys))
        if app.url.startswith("https:") and not url.startswith("https:"):
            return refused(503, f"{url} keeps this journey, but without TLS, as this worker asks nobody")
        return await self._from_there(url, journey_id, authorization)

    async def _from_here(self, journeys: "JourneyProcessor", journey_id: str) -> Answer:
        found = journeys.look_up(journey_id)
        clock_ms = journeys.clock_ms(journey_id)
        if found is None or found.closed_ms is not None:
            try:
                closed = await self._closed(journeys.places_of(journey_id), journey_id)
            except (TimeoutError, KafkaError, UserError):
                return refused(503, f"Kafka has not given this journey, which is over, within {READ_S:g} s")
            if closed is not None:
                return self._told(closed_answer(closed, clock_ms, now_ms()))
        if found is None:
            return refused(404, "no such journey: none of its events was read, or it ended 7 days ago")
        return self._told(journey_answer(journey_id, found, journeys.rules, clock_ms, now_ms()))

    def _told(self, said: dict[str, Any]) -> Answer:
        return Answer(200, msgspec.json.encode({"worker": self._worker, **said}))

    async def _closed(self, places: "Places", journey_id: str) -> ClosedJourney | None:
        """The journey as it was published; one reads at a time, whoever asks how often."""
        if not places.offsets:
            return None
        async with asyncio.timeout(READ_S), self._reading, aclosing(self._read(places)) as records:
            async for record in records:
                with contextlib.suppress(msgspec.MsgspecError):
                    said = decode(record)
                    if said.journey_id == journey_id:
                        return said
        return None

    async def _from_there(self, url: str, journey_id: str, authorization: str | None) -> Answer:
        try:
            answer = await ask(url, path_of(journey_id), forwarded(authorization), self._context)
        except NotAnsweredError as error:
            return refused(503, f"the worker that keeps this journey cannot be asked: {error}")
        if answer.status in PASSED_ON:
            return answer
        return refused(503, f"the worker that keeps this journey, {url}, answered {answer.status}")


async def read_closed(settings: Settings, places: "Places") -> AsyncGenerator[bytes, None]:
    """Closed journeys from Kafka."""
    tp = TopicPartition(places.topic, places.partition)
    async with reading(settings) as consumer:
        for offset in places.offsets:
            record = await ReadBack(consumer, settings).at(tp, offset)
            if record is not None and record.value is not None:
                yield record.value


def _not_here(journeys: "JourneyProcessor") -> str:
    if journeys.owned is None:
        return "this worker keeps the journey, and is recovering it or waits for the group: try again"
    return (
        "another worker keeps this journey and says it answers at this worker's address: each needs a"
        " TOUCHPOINT_ADVERTISED_URL of its own"
    )
