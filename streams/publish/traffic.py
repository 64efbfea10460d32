"""Events towards Kafka: from standard input, from a file of history, from the simulator."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from monitor.counting.event import Codec, Event, Refused, epoch_ms, stage_of
from monitor.errors import UserError
from monitor.journey_file.model import Journey
from streams.clock import now_ms
from streams.kafka.publisher import opened
from streams.settings import Settings
from streams.terminal import progress

PROBLEMS_SHOWN = 20
"""Lines of a bad file that are shown; the count says how many there were."""


class InputError(UserError):
    """A file that cannot be read."""


@dataclass(slots=True)
class Report:
    """What became of the events: each is acknowledged by Kafka or refused here, with its line."""

    published: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)

    def refuse(self, number: int, refused: Refused) -> None:
        self.refused += 1
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(f"line {number}: {refused.reason}: {refused.error}")


def read_time(text: str) -> int:
    """RFC 3339 to ms; ValueError in one line."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{text}` is no RFC 3339 time") from None
    if at.tzinfo is None:
        raise ValueError(f"`{text}` has no offset; write 2026-01-01T00:00:00Z")
    if not 1971 <= at.year <= 2200:
        raise ValueError(f"`{text}` is not between 1971 and 2200")
    return epoch_ms(at)


class _Reader:
    """Lines to events of the right topic."""

    def __init__(self, journey: Journey, settings: Settings) -> None:
        self._codecs = {
            stage.name: (
                stage.topic,
                Codec(journey, stage, refuse_personal_data=settings.refuse_personal_data),
            )
            for stage in journey.stages
        }
        self._any = next(iter(self._codecs.values()))

    def read(self, line: bytes) -> tuple[str, Event] | Refused:
        """The topic and the event of a line. Times are not judged here: history is old."""
        topic, codec = self._codecs.get(stage_of(line) or "", self._any)
        event = codec.decode(line)
        return event if isinstance(event, Refused) else (topic, event)


def _key(event: Event) -> bytes:
    return (event.journey_id or event.id or "").encode()


async def publish(
    journey: Journey,
    settings: Settings,
    lines: Iterable[tuple[int, bytes]],
    stop: asyncio.Event,
    now_ms: int,
) -> Report:
    """Publish (line number, JSON) pairs; what a worker would refuse is refused here, by line."""
    report, reader = Report(), _Reader(journey, settings)
    codec = Codec(journey, journey.stages[0])
    async with opened(settings) as publisher:
        with progress(None) as bar:
            task = bar.add_task("published")
            for number, line in lines:
                if stop.is_set():
                    break
                if not line.strip():
                    continue
                read = reader.read(line.strip())
                if isinstance(read, Refused):
                    report.refuse(number, read)
                    continue
                topic, event = read
                if refused := codec.refuse_time(event.at_ms, now_ms):
                    report.refuse(number, refused)
                    continue
                await publisher.send(topic, _key(event), line.strip())
                bar.update(task, advance=1)
        await publisher.flush()
        report.published = publisher.acknowledged
    return report


async def replay(
    journey: Journey, settings: Settings, file: Path, speed: float, until_now: bool, stop: asyncio.Event
) -> Report:
    """Publish a file of history in its order; a `speed` of 0 is as fast as Kafka takes it."""
    report, reader = Report(), _Reader(journey, settings)
    events = list(_history(file, reader, report))
    shift_ms = now_ms() - max(event.at_ms for _, _, event in events) if until_now and events else 0
    async with opened(settings) as publisher:
        with progress(len(events)) as bar:
            task = bar.add_task("published", total=len(events))
            began_s, first_ms = time.monotonic(), events[0][2].at_ms if events else 0
            for line, topic, event in events:
                if stop.is_set():
                    break
                if speed:
                    due_s = (event.at_ms - first_ms) / 1000 / speed
                    await asyncio.sleep(max(0.0, began_s + due_s - time.monotonic()))
                await publisher.send(topic, _key(event), _shifted(line, shift_ms) if shift_ms else line)
                bar.update(task, advance=1)
        await publisher.flush()
        report.published = publisher.acknowledged
    return report


def _history(file: Path, reader: _Reader, report: Report) -> Iterator[tuple[bytes, str, Event]]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(map(bytes.strip, lines), 1):
                if not line:
                    continue
                read = reader.read(line)
                if isinstance(read, Refused):
                    report.refuse(number, read)
                else:
                    yield (line, *read)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from None


def _shifted(line: bytes, shift_ms: int) -> bytes:
    """The event with every time moved by `shift_ms`."""
    event: dict[str, Any] = orjson.loads(line)
    shift = timedelta(milliseconds=shift_ms)

    def moved(text: str) -> str:
        try:
            return (datetime.fromisoformat(text).astimezone(UTC) + shift).isoformat()
        except OverflowError:
            raise InputError(f"event {event['id']}: {text} cannot be moved to now") from None

    event["time"] = moved(event["time"])
    promise = event.get("promise") or {}
    for name in ("due_from", "due"):
        if promise.get(name):
            promise[name] = moved(promise[name])
    return orjson.dumps(event)
