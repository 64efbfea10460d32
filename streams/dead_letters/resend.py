"""Sends dead letters back to the topics they came from: each once.

On Apache Kafka the letters of a batch and the bits that say so are one transaction: both are there or
neither, for whoever reads committed records. A later replay fences an earlier one, and reads the bits only
after that. The embedded broker has no transactions: bits follow the acknowledgement of their letters, so a
crash in between sends these again.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerFenced

from monitor.counting.display import counted, printable
from monitor.counting.event import Codec, Reason, Refused
from streams.dead_letters.box import Box, Letter, LettersError, Records, Selection, Sent
from streams.dead_letters.shown import one
from streams.kafka import security, topics
from streams.kafka.dead_letter import ATTEMPT, SIZE
from streams.stopping import pause
from streams.terminal import progress

BATCH = 200
"""Letters of one transaction, whose end costs some 10 ms; what a crash on the embedded broker repeats."""

BATCH_BYTES = 2 * topics.MAX_RECORD_BYTES
"""Bytes after which a batch is sent however few its letters, so that huge ones do not fill the memory."""

TRANSACTION_MS = 20_000
"""A replay that died holds back readers of committed records for this long, or until the next replay."""

FRAME_BYTES = 150
"""More than Kafka adds to a record that is alone in its batch: 61 + 21, and 10 per header counted apart."""

SENT_ALONG = (ATTEMPT, "dlq.topic", "dlq.partition", "dlq.offset")
"""What a letter keeps on its way back: the count goes on, and whence it came can be traced."""

PROBLEMS_SHOWN = 20
"""Letters left that are named; the counts say how many there were."""


@dataclass(slots=True)
class Replayed:
    """What became of the selected letters."""

    sent: int = 0
    sent_before: int = 0
    left: int = 0
    refused: int = 0
    problems: list[str] = field(default_factory=list)

    def say(self, letter: Letter, problem: str) -> None:
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(f"{letter.place}: {problem}")


@dataclass(frozen=True, slots=True)
class Way:
    """How letters are sent: at most `rate` a second; a dry run tells of each and sends none."""

    max_attempts: int
    rate: float | None = None
    would_send: Callable[[str], None] | None = None
    value: bytes | None = None
    """What the one letter selected by its place is mended to."""


HOPELESS = frozenset(Reason) - {
    *(Reason.UNKNOWN_STAGE, Reason.UNKNOWN_OUTCOME, Reason.WRONG_TOPIC, Reason.PERSONAL_DATA),
    Reason.IN_FUTURE,
}
"""Why an event is refused for good; the others depend on the journey file, a setting, or the clock."""


def _mended(box: Box, letter: Letter, value: bytes, now_ms: int) -> Letter:
    """The letter with another value; LettersError if a worker would refuse that too."""
    letter = replace(letter, value=value, size=len(value))
    if refused := _refused(box, letter, now_ms):
        raise LettersError(f"the mended value would be refused again: {refused.reason}: {refused.error}")
    return letter


def _refused(box: Box, letter: Letter, now_ms: int) -> Refused | None:
    """What a worker would say of it now."""
    [stage] = [stage for stage in box.journey.stages if stage.name == letter.stage]
    codec = Codec(box.journey, stage, refuse_personal_data=box.settings.refuse_personal_data)
    event = codec.decode(
        letter.value, [header for header in letter.headers if not header[0].startswith("dlq.")]
    )
    return event if isinstance(event, Refused) else codec.refuse_time(event.at_ms, now_ms)


async def resend(box: Box, selection: Selection, way: Way, stop: asyncio.Event, now_ms: int) -> Replayed:
    """Send back the selected letters that are there now."""
    if selection.place is not None:
        await one(box, selection)  # which is an error where there is none
    report = Replayed()
    sieve = _Sieve(box, way, await _limits(box), now_ms, report)
    async with (
        _sender(box, is_dry=way.would_send is not None) as sender,
        contextlib.aclosing(box.letters(selection)) as letters,
    ):
        batch = _Batch(sender, way, report)
        with progress("sent back") as advance:
            async for letter in letters:
                if batch.has(letter):
                    continue
                if way.value is not None:
                    letter = _mended(box, letter, way.value, now_ms)  # noqa: PLW2901 - the letter, mended
                if sieve.goes(letter):
                    batch.add(letter)
                if batch.is_full:
                    advance(await batch.send(stop))
                if stop.is_set():
                    break
            advance(await batch.send(stop))
    return report


class _Batch:
    """Letters that wait to be sent, one of each record; others of the same are marked with it."""

    def __init__(self, sender: "_Sender", way: Way, report: Replayed) -> None:
        self._sender = sender
        self._way = way
        self._report = report
        self._due_s = 0.0
        """When the next batch may go (monotonic seconds)."""
        self._size = max(1, min(BATCH, int(way.rate or BATCH)))
        self._letters: list[Letter] = []
        self._copies: list[Letter] = []
        self._known = Records()

    def has(self, letter: Letter) -> bool:
        """Whether its record has been sent, or waits."""
        if letter in self._sender.sent:
            self._known.add(letter)
            self._report.sent_before += 1
            return True
        if letter in self._known:
            self._copies.append(letter)
            return True
        return False

    def add(self, letter: Letter) -> None:
        """Have it wait."""
        self._known.add(letter)
        self._letters.append(letter)

    @property
    def is_full(self) -> bool:
        """Whether it is time to send."""
        letters = self._letters
        return len(letters) >= self._size or sum(one.size for one in letters) >= BATCH_BYTES

    async def send(self, stop: asyncio.Event) -> int:
        """Send all, and begin anew; how many letters that were. A dry run tells of them only."""
        letters, self._letters = self._letters, []
        copies, self._copies = self._copies, []
        if self._way.would_send is not None:
            for letter in letters:
                topic = letter.header("dlq.topic")
                self._way.would_send(f"{letter.place}: to {topic}, attempt {letter.attempt}")
        else:
            if self._way.rate and letters:
                await pause(stop, self._due_s - time.monotonic())
                self._due_s = time.monotonic() + len(letters) / self._way.rate
            if stop.is_set():
                return 0
            if letters or copies:
                await self._sender.send(letters, copies)
        self._report.sent += len(letters)
        return len(letters)


@dataclass(frozen=True, slots=True)
class _Sieve:
    """Which letters are to be sent."""

    box: Box
    way: Way
    limits: dict[str, int]
    now_ms: int
    report: Replayed

    def goes(self, letter: Letter) -> bool:
        """Whether the letter is to be sent."""
        topic = letter.header("dlq.topic")
        if topic not in {stage.topic for stage in self.box.journey.stages} & self.box.counts.keys():
            self.report.refused += 1
            where = f"dlq.topic is `{printable(topic)}`, which is not the topic of a stage"
            self.report.say(letter, f"refused: {where}")
            return False
        if why := self._left(letter):
            self.report.left += 1
            self.report.say(letter, f"left: {why}")
            return False
        return True

    def _left(self, letter: Letter) -> str | None:
        """Why the letter stays where it is; None if it need not."""
        if letter.attempt >= self.way.max_attempts:
            return f"refused {counted(letter.attempt, 'time')}; --max-attempts raises the cap"
        if letter.header(SIZE) and self.way.value is None:
            where = ":".join(letter.header(f"dlq.{name}") for name in ("topic", "partition", "offset"))
            told = f"it holds a part of its record only, which lies at {printable(where)}"
            return f"{told}; --value sends the whole event from a file"
        size = letter.size + len(letter.key or b"") + FRAME_BYTES
        size += sum(len(name.encode()) + len(value or b"") + 10 for name, value in letter.headers)
        if size > self.limits.get(letter.header("dlq.topic"), topics.MAX_RECORD_BYTES):
            return f"{letter.size} bytes are more than its topic takes"
        refused = _refused(self.box, letter, self.now_ms)
        if refused and refused.reason in HOPELESS:
            return f"no worker will count it: {refused.reason}: {refused.error}; --value sends a mended one"
        return None


async def _limits(box: Box) -> dict[str, int]:
    """The largest record of each stage's topic. One that Kafka refuses would end its whole transaction."""
    wanted = [stage.topic for stage in box.journey.stages if stage.topic in box.counts]
    return await topics.largest_records(box.admin, wanted)


class _Sender:
    """Writes batches and their bits."""

    def __init__(self, box: Box, producer: Any, is_transactional: bool) -> None:
        self._box = box
        self._producer = producer
        self._is_transactional = is_transactional
        self.sent = Sent()

    async def send(self, letters: list[Letter], copies: list[Letter]) -> None:
        """Returns when letters are with every replica, and bits of them and of copies."""
        chunks = self.sent.marked([*letters, *copies])
        async with self._producer.transaction() if self._is_transactional else contextlib.nullcontext():
            await asyncio.gather(*[await self._back(letter) for letter in letters])
            for key, bits in chunks.items():
                await self._producer.send_and_wait(self._box.sent_topic, bits, key, partition=0)
        for key, bits in chunks.items():
            self.sent.restore(key, bits)

    async def _back(self, letter: Letter) -> Any:
        topic, partition = letter.header("dlq.topic"), letter.number("dlq.partition")
        if partition is not None and partition >= self._box.counts[topic]:
            partition = None  # no such partition any more; the key decides
        headers = [header for header in letter.headers if not header[0].startswith("dlq.")]
        headers += [(name, letter.header(name).encode()) for name in SENT_ALONG if letter.header(name)]
        return await self._producer.send(topic, letter.value, letter.key, partition, headers=headers)


@asynccontextmanager
async def _sender(box: Box, *, is_dry: bool) -> AsyncIterator[_Sender]:
    if is_dry or not any(stage.dead_letter_topic in box.counts for stage in box.journey.stages):
        sender = _Sender(box, None, False)
        sender.sent = await box.sent()
        yield sender
        return
    can = await topics.abilities(box.admin)
    if box.sent_topic not in box.counts:
        if not box.settings.create_topics:
            raise LettersError(f"topic {box.sent_topic} does not exist")
        made = topics.Topic(box.sent_topic, 1, {"cleanup.policy": "compact"})
        await topics.create(box.admin, [made], box.settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=box.settings.kafka.split(","),
        **security.kafka_options(box.settings),
        acks="all",
        max_request_size=topics.MAX_RECORD_BYTES,
        transactional_id=box.sent_topic if can.producer_ids else None,
        transaction_timeout_ms=TRANSACTION_MS,
    )
    sender = _Sender(box, producer, can.producer_ids)
    try:
        await producer.start()
        if can.producer_ids:
            async with producer.transaction():
                pass  # returns when earlier replays are fenced and their transactions ended
        sender.sent = await box.sent()
        yield sender
    except ProducerFenced:
        asyncio.get_running_loop().set_exception_handler(_tell_unless_fenced)
        raise LettersError("another replay has taken over; this one has stopped") from None
    finally:
        await producer.stop()


def _tell_unless_fenced(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Leave out what has been told: a fenced producer fails each letter under way, and futures of its own."""
    if not isinstance(context.get("exception"), ProducerFenced):
        loop.default_exception_handler(context)
