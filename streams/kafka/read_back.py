"""Records of a partition by their offsets: those before one, as far back as ids must be known for `dedupe_s`,
or a single one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from monitor.errors import UserError
from streams.kafka import security
from streams.settings import Settings

BEFORE = 64
"""Offsets looked at for a record just before the end. Not every offset holds one: transactions and compaction
leave gaps. Without any in so many, the partition is read from its beginning."""

POLL_MS = 500

POLL_RECORDS = 2000
"""Some 10 ms of decoding between two turns of the event loop."""


def reader(settings: Settings, poll_records: int) -> AIOKafkaConsumer:
    """A consumer of no group, which is told where to read; it sees what has been committed only."""
    return AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.split(","),
        **security.kafka_options(settings),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_poll_records=poll_records,
    )


class ReadBack:
    """Reads backwards from offsets; of no consumer group."""

    def __init__(self, consumer: AIOKafkaConsumer, patience_ms: float) -> None:
        self._consumer = consumer
        self._patience_ms = patience_ms

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: Settings) -> AsyncIterator["ReadBack"]:
        """For a with block."""
        consumer = reader(settings, POLL_RECORDS)
        try:
            await consumer.start()
            yield cls(consumer, settings.kafka_timeout_s * 1000)
        finally:
            await consumer.stop()

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
