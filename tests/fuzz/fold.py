"""Records in, everything a worker does with them out, without Kafka: nothing raises, nothing is set aside.

One round is a worker's life. It counts events and passes them on as steps; journeys open and fall due; a
successor reads what was written and knows the same; both answer over HTTP. The quarantine would hide our own
faults, so every warning that the monitor logs breaks the round.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote
from zlib import crc32

import aiohttp
from yarl import URL

from monitor.counting.event import Codec, Reason
from monitor.journeys.step import decode
from monitor.live.snapshot import Snapshot
from streams.journeys.processor import Extent, JourneyProcessor, Places
from streams.kafka.outgoing import Outgoing
from streams.settings import Settings
from streams.state.dedupe import Sightings
from streams.state.partition import PaneRecord
from streams.state.processor import Processor
from streams.state.stage import StageProcessor
from streams.state.steps import StepSender
from streams.web.lookup import JourneyLookup, is_id
from streams.web.server import HttpServer, Sources
from tests.fuzz.holds import JOURNEY, NOW_MS
from tests.fuzz.hostile import follow, forged, packed, some
from tests.fuzz.record import Header
from tests.kit.kept import kept

Sent = tuple[str, bytes, list[Header]]
"""Stage, value and headers of a record on that stage's topic."""

STEPS = "steps"
STEP_PARTITIONS = 2
BATCH = 50
DAY_MS = 86_400_000
MOMENTS_MS = (NOW_MS, NOW_MS + DAY_MS, NOW_MS + 40 * DAY_MS)
"""When what has been read is looked at; at the last of them every journey is over."""

JOURNEYS_ASKED = 100


class Record(NamedTuple):
    """As much of a consumer's record as a worker reads."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    headers: Sequence[Header] = ()
    key: bytes | None = None
    timestamp: int = NOW_MS


class Message:
    """A batch, as the transport hands it over."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.partition = records[0].partition
        self.value: Sequence[Record] | None = records


class Life:
    """A worker that owns everything, and what it has written, by topic."""

    def __init__(self) -> None:
        self.written: defaultdict[str, list[Outgoing]] = defaultdict(list)
        self.now_ms = NOW_MS
        self.stages = {stage.name: self._stage(stage.name) for stage in JOURNEY.stages}
        sources = frozenset((name, 0) for name in self.stages)
        extent = Extent(sources, STEP_PARTITIONS, max_bytes=2**40)
        self.journeys = JourneyProcessor(JOURNEY, STEPS, "journeys", self._produce, extent)
        self._next: Counter[str] = Counter()
        """Offsets of the records of each stage that are to be read next."""
        self._steps_read = 0
        self.steps: list[Outgoing] = []
        """All that it has passed on."""

    def _stage(self, name: str) -> StageProcessor:
        stage = JOURNEY.stage(name)
        sender = StepSender(name, STEPS, STEP_PARTITIONS, lambda _partition, _offset: 0, lambda: self.now_ms)
        codec = Codec(JOURNEY, stage, refuse_personal_data=False)
        return StageProcessor(codec, name, self._produce, sender)

    async def _produce(self, records: Sequence[Outgoing]) -> Sequence[int]:
        written = self.written[records[0].topic]
        written += records
        return range(len(written) - len(records), len(written))

    async def _closed(self, places: Places) -> AsyncGenerator[bytes, None]:
        written = self.written[places.topic]
        for offset in places.offsets:
            if offset < len(written):  # Kafka has nothing where another worker's record is gone
                yield written[offset].value or b""

    async def own(self, generation: int) -> None:
        """Take over everything."""
        for stage in self.stages.values():
            await stage.own(frozenset({0}), generation, lambda: True)
        await self.journeys.own(frozenset(range(STEP_PARTITIONS)), generation, lambda: True)

    async def read(self, sent: Iterable[Sent]) -> None:
        """Fold events, in batches as Kafka would give them, and write."""
        for stage, records in self._records(sent):
            self._next[stage.topic] += len(records)
            for start in range(0, len(records), BATCH):
                stage.fold(Message(records[start : start + BATCH]), self.now_ms)
            assert stage.refusals[Reason.UNPROCESSABLE] == 0
        await self.pass_time(self.now_ms)

    def _records(self, sent: Iterable[Sent]) -> Iterator[tuple[StageProcessor, list[Record]]]:
        for name, records in groupby(sorted(sent, key=lambda one: one[0]), lambda one: one[0]):
            stage = self.stages[name]
            yield (
                stage,
                [
                    Record(stage.topic, 0, offset, value, headers)
                    for offset, (_, value, headers) in enumerate(records, self._next[stage.topic])
                ],
            )

    def recall(self, sent: Iterable[Sent]) -> None:
        """Read the ids of these events back, as a successor does: they are those that were seen."""
        for stage, records in self._records(sent):
            if stage.dedupe_ms:
                found = Sightings(stage.dedupe_ms)
                stage.recall(found, records, self.now_ms)
                assert len(found) == len(stage._sightings[0])

    async def read_forged(self, other: "Life", random: Random) -> None:
        """Take over what another has written, and what somebody else wrote between it; then count on."""
        self.inherit(other)
        processors: list[Processor[Any]] = [*self.stages.values(), self.journeys]
        for processor in processors:
            for record in some(other.written[processor._changelog], random):
                key, value, headers = forged(record, random)
                processor.restore(record.partition or 0, [PaneRecord(key, value)], headers)
        await self.own(3)
        for number, record in enumerate(some(other.steps, random)):
            value = packed(record.value or b"", random)
            self.journeys.fold(
                Message([Record(STEPS, record.partition or 0, 2**30 + number, value)]), self.now_ms
            )

    async def pass_time(self, now_ms: int) -> None:
        """Write what is folded, and read the steps and marks of that moment."""
        self.now_ms = now_ms
        for stage in self.stages.values():
            await stage.flush(lambda _: None)
        steps = self.written.pop(STEPS, [])
        for partition in range(STEP_PARTITIONS):
            records = [
                Record(STEPS, partition, self._steps_read + number, one.value)
                for number, one in enumerate(steps)
                if one.partition == partition
            ]
            if records:
                assert all(decode(one.value or b"") is not None for one in records)
                self.journeys.fold(Message(records), now_ms)
        self._steps_read += len(steps)
        self.steps += steps
        await self.journeys.flush(lambda _: None)

    def snapshot(self) -> Snapshot:
        """All that it answers from."""
        return Snapshot(
            journey=JOURNEY,
            at_ms=self.now_ms,
            ready=True,
            stages=tuple(one.snapshot(self.now_ms, ()) for one in self.stages.values()),
            version="fuzz",
            partitions=len(self.stages),
            owned=len(self.stages),
            journeys=self.journeys.snapshot(self.now_ms, ()),
        )

    def counts(self) -> dict[str, list[Any]]:
        """All that it ever counted."""
        processors: list[Processor[Any]] = [*self.stages.values(), self.journeys]
        return {
            one.name: sorted(
                (key, sorted(counts.items()))
                for held in one._partitions.values()
                for key, counts in one._panes(held).panes()
            )
            for one in processors
        }

    def inherit(self, other: "Life") -> None:
        """Read the changelogs of the one before, and have its closed journeys at hand."""
        self.written[JOURNEY.journeys_topic] += other.written[JOURNEY.journeys_topic]
        processors: list[Processor[Any]] = [*self.stages.values(), self.journeys]
        for processor in processors:
            for record in other.written[processor._changelog]:
                assert record.partition is not None
                assert record.key is not None
                processor.restore(record.partition, [PaneRecord(record.key, record.value)])


class Door:
    """HTTP of a worker, for whichever life is asked: a server for each would take longer than its answers."""

    def __init__(self) -> None:
        self._asked: list[tuple[Life, Snapshot]] = []
        lookup = JourneyLookup(Settings(), "fuzz", lambda: self._life, self._closed)  # type: ignore[arg-type, return-value]
        self._server = HttpServer(
            Settings(http="127.0.0.1:0"), Sources(self._snapshot, self._failures, lookup)
        )

    async def __aenter__(self) -> "Door":
        self._address = await self._server.start()
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._server.stop()
        self._asked.clear()  # aiohttp remembers the handlers of a thousand servers

    @property
    def _life(self) -> Life:
        return self._asked[0][0]

    async def _snapshot(self) -> Snapshot:
        return self._asked[0][1]

    def _failures(self, stage: str) -> list[Any]:
        return self._life.stages[stage].failures()

    def _closed(self, places: Places) -> AsyncGenerator[bytes, None]:
        return self._life._closed(places)

    async def ask(self, life: Life, *good: int) -> None:
        """It says what it knows, with these statuses: metrics, stages, failures, and some journeys."""
        self._asked[:] = [(life, life.snapshot())]
        partitions = life.journeys._partitions.values()
        ids = (id_ for held in partitions for id_, _ in kept(held) if is_id(id_))
        paths = ["/metrics", "/api/stages", *(f"/api/stages/{name}/failures" for name in life.stages)]
        paths += [f"/api/journeys/{quote(id_, safe='')}" for id_ in islice(ids, JOURNEYS_ASKED)]
        for path in paths:
            url = URL(f"http://{self._address}{path}", encoded=True)
            async with self._session.get(url) as answer:
                body = await answer.read()
                assert answer.status in good, f"{url}: {answer.status} {body[:200]!r}"


def fold(sent: Sequence[Sent]) -> int:
    """Live one round; how many events were counted. AssertionError names the records that break it."""
    try:
        return asyncio.run(_round(sent))
    except Exception as error:
        for half in (sent[: len(sent) // 2], sent[len(sent) // 2 :]):
            if 0 < len(half) < len(sent):
                fold(half)
        raise AssertionError(f"this breaks the worker: {sent!r}") from error


async def _round(sent: Sequence[Sent]) -> int:
    async with Door() as door:
        return await _live(sent, door)


async def _live(sent: Sequence[Sent], door: Door) -> int:
    with _warnings_raise():
        first, second = Life(), Life()
        await first.own(1)
        await first.read(sent)
        first.recall(sent)
        for now_ms in MOMENTS_MS:
            await first.pass_time(now_ms)
            await door.ask(first, 200)
        second.inherit(first)
        second.now_ms = first.now_ms
        await second.own(2)
        assert second.counts() == first.counts(), "a successor knows something else"
        await door.ask(second, 200)
    await _forge(first, door, Random(crc32(b"".join(value for _, value, _ in sent))))
    return sum(stage.results["counted"] for stage in first.stages.values())


async def _forge(first: Life, door: Door, random: Random) -> None:
    """A worker that reads records of others in its own topics: it warns of them, and goes on."""
    third = Life()
    third.now_ms = first.now_ms
    with _silent():
        await third.read_forged(first, random)
        await third.pass_time(third.now_ms)
    await door.ask(third, 200, 404)  # a journey of a forged id is kept where nobody looks for it
    follow(random)


@contextmanager
def _silent() -> Iterator[None]:
    """Nobody wants to read some hundred warnings."""
    logger = logging.getLogger("streams")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _warnings_raise() -> Iterator[None]:
    """Nothing is passed over, set aside or answered with 500 unnoticed."""
    heard: list[str] = []

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(logging.Formatter().format(record))

    handler = Heard(logging.WARNING)
    watched = [logging.getLogger(name) for name in ("streams", "monitor", "aiohttp")]
    for logger in watched:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in watched:
            logger.removeHandler(handler)
    assert not heard, "\n".join(heard)
