"""What the bad encounters of a stage have in common, from its events in Kafka, which are read once more.

No state is kept for it: it is asked for when an alert fires, which is rare, and then of any stage.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import orjson
from aiokafka.errors import KafkaError

from monitor.causes.asked import BEFORE_MIN, LAST_MIN, NOT_OF_STAFF
from monitor.causes.encounters import Encounters
from monitor.counting.event import Codec, Event
from monitor.counting.times import rfc3339
from monitor.errors import UserError
from monitor.journey_file.model import Journey, Stage
from streams.clock import now_ms
from streams.kafka.read_back import since
from streams.settings import Settings
from streams.web.client import Answer, refused

MINUTE_MS = 60_000

MOST_MIN = 24 * 60.0
"""Of both together that a worker reads."""

MOST_EVENTS = 1_000_000
"""That a worker reads for one answer, in some 10 s, in turns with what it counts."""

AGAIN_S = 15.0
"""For so long the same is answered to whoever else asks the same: an alert is opened by several people."""

WITHOUT_KAFKA = 503

Read = Callable[[str, int], AsyncGenerator[Any, None]]
"""Gives all records of a topic since a moment (ms)."""


class TooManyError(UserError):
    """More events than a worker reads for one answer."""


async def count(
    records: AsyncGenerator[Any, None],
    codec: Codec,
    asked: Iterable[Encounters],
    earliest_ms: int,
    most: float = math.inf,
) -> None:
    """Count what has happened since. What was published again counts once, what is refused does not.

    TooManyError after so many events.
    """
    seen: set[str | None] = set()
    async with aclosing(records):
        async for record in records:
            event = codec.decode(record.value, record.headers)
            if isinstance(event, Event) and event.at_ms >= earliest_ms and event.id not in seen:
                if len(seen) >= most:
                    raise TooManyError(f"there are more than {most:,} events in this time")
                seen.add(event.id)
                for one in asked:
                    one.add(event)


class Causes:
    """Answers for one worker, one at a time. `read` gives records, from Kafka unless given."""

    def __init__(self, journey: Journey, settings: Settings, read: Read | None = None) -> None:
        self._stages = {stage.name: stage for stage in journey.stages}
        self._codecs = {
            name: Codec(journey, stage, refuse_personal_data=settings.refuse_personal_data)
            for name, stage in self._stages.items()
        }
        self._read = read or (lambda topic, begin_ms: since(settings, [topic], begin_ms))
        self._lock = asyncio.Lock()
        self._known: dict[tuple[str, float, float], tuple[float, Answer]] = {}
        """Answers, and until when they are given again, by what was asked."""

    async def look_up(self, stage: str, query: Mapping[str, str]) -> Answer:
        """The body of `/api/stages/<stage>/where`, `?last=` and `before=` in minutes.

        404 for no stage or one of staff, 400 for other minutes, 413 for too many events, 503 without Kafka.
        """
        if stage not in self._stages:
            return refused(404, "no such stage")
        if self._stages[stage].kind == "staff":
            return refused(404, NOT_OF_STAFF)
        try:
            last, before = (
                float(query.get(name, default))
                for name, default in (("last", LAST_MIN), ("before", BEFORE_MIN))
            )
        except ValueError:
            return refused(400, "`last` and `before` are numbers of minutes")
        if not (last > 0 and before > 0 and last + before <= MOST_MIN):
            return refused(400, f"`last` and `before` are above 0, and together at most {MOST_MIN:g} minutes")
        return await self._once(self._stages[stage], last, before)

    async def _once(self, stage: Stage, last: float, before: float) -> Answer:
        asked = stage.name, last, before
        async with self._lock:
            clock = asyncio.get_running_loop().time
            self._known = {key: held for key, held in self._known.items() if held[0] > clock()}
            if asked in self._known:
                return self._known[asked][1]
            answer = await self._answer(stage, round(last * MINUTE_MS), round(before * MINUTE_MS))
            if answer.status != WITHOUT_KAFKA:
                self._known[asked] = clock() + AGAIN_S, answer
            return answer

    async def _answer(self, stage: Stage, last_ms: int, before_ms: int) -> Answer:
        at_ms = now_ms()
        begin_ms = at_ms - last_ms
        asked = [Encounters(one, begin_ms) for one in stage.experiences]
        earliest_ms = begin_ms - before_ms
        records, codec = self._read(stage.topic, earliest_ms), self._codecs[stage.name]
        try:
            await count(records, codec, asked, earliest_ms, MOST_EVENTS)
        except TooManyError as error:
            return refused(413, f"{error}: ask for less with `before`, or `touchpoint where {stage.name}`")
        except UserError as error:
            return refused(WITHOUT_KAFKA, str(error))
        except KafkaError as error:
            return refused(WITHOUT_KAFKA, f"Kafka cannot be read: {type(error).__name__}")
        told = {
            "stage": stage.name, "at": rfc3339(at_ms), "begin": rfc3339(begin_ms),
            "experiences": await asyncio.to_thread(_told, asked),
        }  # fmt: skip
        return Answer(200, orjson.dumps(told))


def _told(asked: Sequence[Encounters]) -> list[dict[str, Any]]:
    """Of each experience what was found, for programs and in words; or why nothing can be said."""
    answers: list[dict[str, Any]] = []
    for one in asked:
        try:
            found = one.found()
        except ValueError as error:
            answers.append({"experience": one.experience.name, "words": [f"{one.experience.title}: {error}"]})
        else:
            answers.append({**one.as_json(found), "words": list(one.told(found))})
    return answers
