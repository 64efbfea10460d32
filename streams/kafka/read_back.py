"""Records read once more, of no consumer group: those before an offset, as far back as ids must be known for
`dedupe_s`, a single one, or all since a moment."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from monitor.errors import UserError
from streams.kafka import internals, security, topics
from streams.settings import Settings

BEFORE = 64
"""Offsets looked at for a record just before the end. Not every offset holds one: transactions and compaction
leave gaps. Without any in so many, the partition is read from its beginning."""

POLL_MS = 500

POLL_RECORDS = 2000
"""Some 10 ms of decoding between two turns of the event loop."""


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of no group, which is told where to read; it sees what has been committed only."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.split(","),
        **security.kafka_options(settings),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_poll_records=POLL_RECORDS,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await _stop(consumer)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Stop it. Where Kafka is away, aiokafka cancels a fetch that waits to be tried again, and lets that out
    as if we were cancelled: it would take the place of the error that says so."""
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        await internals.close_client(consumer)
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise


async def until_the_end(
    consumer: AIOKafkaConsumer, waiting: Iterable[TopicPartition], settings: Settings
) -> AsyncGenerator[Any, None]:
    """What these partitions hold from where the consumer stands up to the end that their first answer tells:
    that of what is committed, where the broker knows of transactions."""
    left, ends, idle_ms = set(waiting), dict[TopicPartition, int](), 0
    while left:
        fetched = await consumer.getmany(*left, timeout_ms=POLL_MS)
        for tp in left - ends.keys():
            stable = consumer.last_stable_offset(tp)
            end = consumer.highwater(tp) if stable in (None, -1) else stable
            if end is not None:
                ends[tp] = end
        for record in itertools.chain.from_iterable(fetched.values()):
            if record.offset < ends[TopicPartition(record.topic, record.partition)]:
                yield record
        ended = {tp for tp in left if tp in ends and await consumer.position(tp) >= ends[tp]}
        left -= ended
        await asyncio.sleep(0)  # aiokafka gives what it holds without a turn of the event loop
        idle_ms = 0 if ended or fetched else idle_ms + POLL_MS
        if idle_ms > settings.kafka_timeout_s * 1000:
            raise UserError(f"Kafka at {settings.kafka} no longer answers")


async def since(settings: Settings, names: Sequence[str], begin_ms: int) -> AsyncGenerator[Any, None]:
    """Everything that was written to topics since a moment, each partition's records in their order.

    UserError when there is no such topic, or no Kafka.
    """
    async with topics.connected(settings) as admin:
        partitions = await topics.partition_counts(admin, names)
        if missing := [name for name in names if name not in partitions]:
            raise UserError(f"{settings.kafka} has no topic {', '.join(missing)}")
        async with reading(settings) as consumer:
            at = [TopicPartition(name, number) for name in partitions for number in range(partitions[name])]
            found = await consumer.offsets_for_times(dict.fromkeys(at, begin_ms))
            waiting = {tp: offset.offset for tp, offset in found.items() if offset is not None}
            consumer.assign(list(waiting))
            for tp, offset in waiting.items():
                consumer.seek(tp, offset)
            async for record in until_the_end(consumer, waiting, settings):
                yield record


class ReadBack:
    """Reads backwards from offsets, with a consumer that is `reading`."""

    def __init__(self, consumer: AIOKafkaConsumer, settings: Settings) -> None:
        self._consumer = consumer
        self._patience_ms = settings.kafka_timeout_s * 1000

    async def before(
        self, ends: Mapping[TopicPartition, int], span_ms: int, latest_ms: int
    ) -> AsyncIterator[list[Any]]:
        """For each partition all records before its offset that are at most `span_ms` older than the last of
        them, and maybe some more; in order, one partition's records in each list.

        Records written after `latest_ms`, by their own word, are taken for written then.
        """
        begins = await self._consumer.beginning_offsets(list(ends))
        for tp, end in ends.items():
            if begins[tp] < end:
                async for records in self._partition(tp, begins[tp], end, span_ms, latest_ms):
                    yield records

    async def at(self, tp: TopicPartition, offset: int) -> Any | None:
        """The record at an offset; None if there is none, or none any more."""
        self._consumer.assign([tp])
        async for records in self._between(tp, offset, offset + 1):
            return records[0]
        return None

    async def _partition(
        self, tp: TopicPartition, begin: int, end: int, span_ms: int, latest_ms: int
    ) -> AsyncIterator[list[Any]]:
        self._consumer.assign([tp])
        written_ms: list[int] = []
        async for records in self._between(tp, max(begin, end - BEFORE), end):
            written_ms += [record.timestamp for record in records]
        start = begin
        if written_ms:  # the highest: a single old one would have the whole topic read
            earliest_ms = max(0, min(max(written_ms), latest_ms) - span_ms)
            found = (await self._consumer.offsets_for_times({tp: earliest_ms}))[tp]
            start = max(begin, found.offset) if found else begin
        async for records in self._between(tp, start, end):
            yield records

    async def _between(self, tp: TopicPartition, start: int, end: int) -> AsyncIterator[list[Any]]:
        self._consumer.seek(tp, start)
        waited_ms = 0
        while await self._consumer.position(tp) < end:
            fetched = await self._consumer.getmany(tp, timeout_ms=POLL_MS)
            records = [record for record in fetched.get(tp, ()) if record.offset < end]
            if records:
                yield records
            waited_ms = 0 if fetched else waited_ms + POLL_MS
            if waited_ms > self._patience_ms:
                raise UserError(f"{tp.topic}: Kafka does not give the records before offset {end}")
