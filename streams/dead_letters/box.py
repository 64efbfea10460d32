"""Dead letters as they lie in their topics, and which of them have been sent back.

Which letters have been sent back stands in the compacted topic `<group>-dead-letters-replay`: a bit per
letter, in chunks keyed `<topic>:<partition>:<chunk>`. Letters may so be chosen freely, and what is not chosen
stays open. (Committed offsets would not do: they are a prefix, Kafka forgets those of an idle group after
7 days, and the embedded broker keeps no text with them.) Whoever deletes a dead-letter topic deletes this one
too, else new letters at old offsets count as sent.

How letters and bits are written together stands in `streams/dead_letters/resend.py`.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from monitor.counting.event import Reason
from monitor.errors import UserError
from monitor.journey_file.model import Journey, Stage
from monitor.journey_file.nodes import nearest
from streams.kafka import topics
from streams.kafka.dead_letter import ATTEMPT
from streams.kafka.read_back import reading, until_the_end
from streams.settings import Settings

CHUNK = 8192
"""Letters per chunk of bits. A batch rewrites those it touches, 1 KiB each; 123 hold a million letters."""


class LettersError(UserError):
    """What was asked for cannot be done."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of a dead-letter topic. Its headers may be anybody's, so each is checked where it is used."""

    stage: str
    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    size: int

    @property
    def place(self) -> str:
        """TOPIC:PARTITION:OFFSET."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    def header(self, name: str) -> str:
        """The last header of that name as text, empty without one."""
        values = [value for header, value in self.headers if header == name and value]
        return values[-1].decode(errors="replace") if values else ""

    def number(self, name: str) -> int | None:
        """The same as a number, None when it is none."""
        text = self.header(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    @property
    def reason(self) -> str:
        """Why it was refused; others' letters may not say."""
        return self.header("dlq.reason") or "none"

    @property
    def attempt(self) -> int:
        """How often it has been refused; it is here, so at least once."""
        return max(self.number(ATTEMPT) or 1, 1)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters; a place is one letter and nothing else."""

    stages: Sequence[Stage]
    reason: str | None = None
    place: tuple[TopicPartition, int] | None = None

    def has(self, letter: Letter) -> bool:
        return self.reason in (None, letter.header("dlq.reason"))


def select(
    journey: Journey, stage: str | None = None, reason: str | None = None, place: str | None = None
) -> Selection:
    """Read what the user asked for; LettersError names the nearest stage, reason or topic."""
    stages = {one.name: one for one in journey.stages}
    if stage is not None and stage not in stages:
        raise LettersError(f"unknown stage `{stage}`{nearest(stage, stages)}")
    if reason is not None and reason not in set(Reason):
        raise LettersError(f"unknown reason `{reason}`{nearest(reason, Reason)}")
    if place is None:
        return Selection([stages[stage]] if stage else journey.stages, reason)
    if stage or reason:
        raise LettersError("give a letter, or choose by stage and reason, not both")
    topic, *numbers = place.rsplit(":", 2)
    if len(numbers) != 2 or not all(n.isascii() and n.isdigit() and len(n) < 19 for n in numbers):
        raise LettersError(
            f"`{place}` is not a refused event; write TOPIC:PARTITION:OFFSET, as `list` shows them"
        )
    by_topic = {one.dead_letter_topic: one for one in journey.stages}
    if topic not in by_topic:
        raise LettersError(f"`{topic}` is not a dead-letter topic of this journey{nearest(topic, by_topic)}")
    partition, offset = map(int, numbers)
    return Selection([by_topic[topic]], None, (TopicPartition(topic, partition), offset))


class Records:
    """Records by their letters: a worker that dies, or loses a partition, may write one's letter again.

    A letter that does not say whence it came, and from when, is of a record of its own.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[str, int], set[tuple[int, int]]] = {}

    def __contains__(self, letter: Letter) -> bool:
        tp, place = self._find(letter)
        return place in self._places.get(tp, ())

    def add(self, letter: Letter) -> None:
        """Its record is among them, if the letter says which that is."""
        tp, place = self._find(letter)
        if None not in (*tp, *place):
            self._places.setdefault(tp, set()).add(place)

    @staticmethod
    def _find(letter: Letter) -> Any:
        numbers = (letter.number(f"dlq.{name}") for name in ("partition", "offset", "timestamp"))
        partition, *place = numbers  # the time tells records of a topic from those of its predecessor
        return (letter.header("dlq.topic"), partition), tuple(place)


class Sent:
    """Which letters have been sent back."""

    def __init__(self) -> None:
        self._chunks: dict[bytes, bytes] = {}

    def restore(self, key: bytes, bits: bytes) -> None:
        """Take a chunk as it was written."""
        self._chunks[key] = bits.ljust(CHUNK // 8, b"\0")

    def __contains__(self, letter: Letter) -> bool:
        key, index = self._find(letter)
        return key in self._chunks and bool(self._chunks[key][index >> 3] & 1 << (index & 7))

    def marked(self, letters: Iterable[Letter]) -> dict[bytes, bytes]:
        """The chunks that would say that these are sent too; nothing changes yet."""
        chunks: dict[bytes, bytearray] = {}
        for letter in letters:
            key, index = self._find(letter)
            bits = chunks.setdefault(key, bytearray(self._chunks.get(key, bytes(CHUNK // 8))))
            bits[index >> 3] |= 1 << (index & 7)
        return {key: bytes(bits) for key, bits in chunks.items()}

    @staticmethod
    def _find(letter: Letter) -> tuple[bytes, int]:
        chunk, index = divmod(letter.offset, CHUNK)
        return f"{letter.topic}:{letter.partition}:{chunk}".encode(), index


def sent_topic(group: str) -> str:
    """Where the bits stand."""
    return f"{group}-dead-letters-replay"


class Box:
    """The dead letters of a journey, for reading."""

    def __init__(self, journey: Journey, settings: Settings, admin: Any, counts: Mapping[str, int]) -> None:
        self.journey = journey
        self.settings = settings
        self.admin = admin
        self.counts = counts
        self.sent_topic = sent_topic(settings.group)

    @classmethod
    @asynccontextmanager
    async def opened(cls, journey: Journey, settings: Settings) -> AsyncIterator["Box"]:
        """For a with block; no topic needs to exist."""
        names = [name for stage in journey.stages for name in (stage.topic, stage.dead_letter_topic)]
        async with topics.connected(settings) as admin:
            names.append(sent_topic(settings.group))
            yield cls(journey, settings, admin, await topics.partition_counts(admin, names))

    async def sent(self) -> Sent:
        """Which letters have been sent back up to now."""
        sent = Sent()
        if self.sent_topic in self.counts:
            async for record in self._read([TopicPartition(self.sent_topic, 0)]):
                if record.key is not None and record.value is not None:
                    sent.restore(record.key, record.value)
        return sent

    async def letters(self, selection: Selection) -> AsyncGenerator[Letter, None]:
        """The selected letters, in the order of each partition, up to what is there now."""
        stages = {stage.dead_letter_topic: stage.name for stage in selection.stages}
        at: list[TopicPartition] = [
            TopicPartition(t, p) for t in stages for p in range(self.counts.get(t, 0))
        ]
        first = None
        if selection.place is not None:
            tp, first = selection.place
            at = [tp] if tp in at else []
        async with contextlib.aclosing(self._read(at, first)) as records:
            async for record in records:
                if first is not None and record.offset != first:
                    return
                letter = Letter(
                    *(stages[record.topic], record.topic, record.partition, record.offset, record.timestamp),
                    *(record.key, record.value, tuple(record.headers), len(record.value or b"")),
                )
                if selection.has(letter):
                    yield letter
                if first is not None:
                    return

    async def _read(self, at: list[TopicPartition], first: int | None = None) -> AsyncGenerator[Any, None]:
        if not at:
            return
        async with reading(self.settings) as consumer:
            begins, ends = await consumer.beginning_offsets(at), await consumer.end_offsets(at)
            # The embedded broker answers too low an end, but of an empty partition the right one.
            waiting = {tp for tp in at if begins[tp] < ends[tp]}
            consumer.assign(sorted(waiting))
            for tp in waiting:
                consumer.seek(tp, begins[tp] if first is None else first)
            async for record in until_the_end(consumer, waiting, self.settings):
                yield record
