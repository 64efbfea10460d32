"""History towards Kafka: in its order, at its own pace times a speed, with all times shifted if asked for."""

import asyncio
import contextlib
import time
from array import array
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import IO, NamedTuple

import msgspec

from monitor.counting.event import Codec, Codecs, Event, Reason, Refused, Time
from monitor.counting.formats import text_of
from monitor.errors import UserError
from monitor.journey_file.model import Journey
from monitor.journeys.open import KEEP_MS
from streams import files
from streams.publish.lines import Report, key, publishing
from streams.settings import Settings
from streams.stopping import pause
from streams.terminal import progress

HOUR_MS = 3_600_000
YEAR_MS = 31_556_952_000

TIMES = ("time", "due_from", "due")
"""Fields of an event, its promise and its envelope that are shifted."""

WRAPPING = ("data", "promise")
"""Fields that hold some of these."""


class _Told(NamedTuple):
    number: int
    line: bytes
    topic: str
    event: Event


class History:
    """Events of a stream, read once to know them, and again for each time they are asked for."""

    def __init__(
        self, journey: Journey, settings: Settings, stream: IO[bytes], now_ms: int, *, until_now: bool
    ) -> None:
        """`until_now` shifts times so that the newest event happened at `now_ms`; else none may lie ahead."""
        self._stream = stream
        self._horizon_ms = journey.horizon_ms
        self._codecs = Codecs(journey, refuse_personal_data=settings.refuse_personal_data)
        self._latest_ms = None if until_now else now_ms
        self.report = Report()
        with_journeys = {
            stage.name for stage in journey.stages if stage.kind != "staff" and journey.journeys is not None
        }
        self.times_ms, self._steps_ms = array("q"), array("q")
        """Of all events in their order, and of those of journeys."""
        with progress("read") as advance:
            for told in self._read(self.report.refuse):
                at_ms = told.event.at_ms
                self.times_ms.append(at_ms)
                if told.event.journey_id is not None and told.event.stage in with_journeys:
                    self._steps_ms.append(at_ms)
                advance(1)
        oldest_ms, newest_ms = (pick(self.times_ms, default=now_ms) for pick in (min, max))
        self._shift_ms = now_ms - newest_ms if until_now else 0
        self._unshifted_ms = now_ms - self._shift_ms
        if oldest_ms + self._shift_ms < 0:
            years = (newest_ms - oldest_ms) // YEAR_MS
            raise UserError(f"the events span {years} years, more than since 1970: is a time wrong?")

    def too_old(self, file: str, speed: float) -> Iterator[str]:
        """What is lost of it when it is published to a monitor that runs, at this `speed`, and what to do
        instead."""
        steps, events = len(self._steps_ms), len(self.times_ms)
        if late := sum(KEEP_MS < self._age_ms(at_ms, speed) <= self._horizon_ms for at_ms in self._steps_ms):
            yield (
                f"{late:,} of {steps:,} events of journeys happened more than {KEEP_MS // HOUR_MS} h ago. "
                "A running monitor counts them at their stage, but opens no journey for them. "
                f"For whole journeys of any age: touchpoint backtest {file}"
            )
        if refused := sum(self._age_ms(at_ms, speed) > self._horizon_ms for at_ms in self.times_ms):
            days = self._horizon_ms // (24 * HOUR_MS)
            yield (
                f"{refused:,} of {events:,} events happened more than {days} d ago, "
                "before the `horizon` of the journey file. Workers refuse them as too_old. "
                f"Raise the horizon{'' if self._latest_ms is None else ', or shift them with --until-now'}"
            )

    def _age_ms(self, at_ms: int, speed: float) -> float:
        """How old an event of then is when its turn comes: while others are published it grows older."""
        waited_ms = max(0, at_ms - self.times_ms[0]) / speed if speed else 0
        return self._unshifted_ms - at_ms + waited_ms

    def again(self) -> Iterator[_Told]:
        """The events that were not refused, shifted; one that cannot be is refused."""
        for told in self._read(lambda *_: None):
            line = self._shifted(told.line)
            if isinstance(line, Refused):
                self.report.refuse(told.number, line)
            else:
                yield told._replace(line=line)

    def _read(self, refuse: Callable[[int, Refused], None]) -> Iterator[_Told]:
        self._stream.seek(0)
        for number, line in enumerate(map(bytes.strip, files.lines(self._stream)), 1):
            if not line:
                continue
            codec = self._codecs.of(line)
            read = codec.decode(line)
            if isinstance(read, Refused):
                refuse(number, read)
            elif refused := self._refused_as_ahead(codec, read):
                refuse(number, refused)
            else:
                yield _Told(number, line, codec.stage.topic, read)

    def _refused_as_ahead(self, codec: Codec, event: Event) -> Refused | None:
        """History is old; what is yet to come is a mistake that every worker refuses."""
        if self._latest_ms is None:
            return None
        refused = codec.refuse_time(event.at_ms, self._latest_ms)
        return refused if refused is not None and refused.reason is not Reason.TOO_OLD else None

    def _shifted(self, line: bytes) -> bytes | Refused:
        if not self._shift_ms:
            return line
        try:
            moved = _moved(text_of(line), timedelta(milliseconds=self._shift_ms))
        except OverflowError:
            return Refused(Reason.BAD_TIME, "a time cannot be moved to now")
        read = self._codecs.of(moved).decode(moved)
        return read if isinstance(read, Refused) else moved


async def replay(history: History, settings: Settings, speed: float, stop: asyncio.Event) -> Report:
    """Publish history; a `speed` of 0 is as fast as Kafka takes it."""
    report = history.report
    async with publishing(settings, stop, report, len(history.times_ms)) as send:
        began_s = time.monotonic()
        for _, line, topic, event in history.again():
            if speed:
                due_s = (event.at_ms - history.times_ms[0]) / 1000 / speed
                await pause(stop, began_s + due_s - time.monotonic())
            if stop.is_set():
                break
            await send(topic, key(event), line)
    return report


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_bytes = msgspec.json.Decoder(bytes).decode
_decode_time = msgspec.json.Decoder(Time).decode
_encode = msgspec.json.encode


def _moved(value: bytes, shift: timedelta) -> bytes:
    """The event, or a part of it, with every time moved; all else as it was written. OverflowError when no
    calendar has the new time."""
    fields = _decode_fields(value)
    for name in TIMES:
        with contextlib.suppress(msgspec.ValidationError):  # none, or not one that anybody reads
            fields[name] = msgspec.Raw(_encode(_decode_time(fields.get(name, b"null")) + shift))
    if {"specversion", "data_base64"} <= fields.keys():
        fields["data"] = msgspec.Raw(text_of(_decode_bytes(fields.pop("data_base64"))))
    for name in WRAPPING:
        if bytes(fields.get(name, b"")).lstrip()[:1] == b"{":
            fields[name] = msgspec.Raw(_moved(fields[name], shift))
    return _encode(fields)
