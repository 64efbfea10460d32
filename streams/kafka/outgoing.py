"""Records on their way to Kafka, as the stages and the dead letters hand them over, and how they get there.

aiokafka's `send` spends a future and some ten calls on each record, and journeys write more records than are
read. So batches are made here, and each is waited for once.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

from aiokafka.errors import MessageSizeTooLargeError

from streams.kafka import internals


class Outgoing(NamedTuple):
    """A record to be produced; without a partition, the key decides."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] | None = None
    is_packed: bool = False
    """Whether those of its topic are written compressed."""

    def shorter(self) -> "Outgoing | None":
        """What to write where its topic has no room for it; None where nothing may be left out."""
        return None


Produce = Callable[[Sequence[Outgoing]], Awaitable[Sequence[int]]]
"""Writes records of one topic; the offset of each, once the broker has acknowledged them all."""


class Writer:
    """Writes with the `AIOKafkaProducer` that it is given once there is something to write."""

    def __init__(self, producer: Callable[[], Any]) -> None:
        self._producer = producer
        self._turns: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        """aiokafka lets one batch of a partition wait at a time. It takes what others wait for off the time
        that each may wait, again and again: ten stages that write steps at once had none left."""

    async def write(self, records: Sequence[Outgoing]) -> Sequence[int]:
        """Write records of one topic, those of a partition in their order.

        Returns the offset of each, once the broker has acknowledged them all; KafkaError when it does not.
        """
        producer, topic = self._producer(), records[0].topic
        await producer.partitions_for(topic)
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, record in enumerate(records):
            partition = record.partition
            if partition is None:
                partition = internals.partition_for(producer, topic, record.key)
            places[partition].append(place)
        offsets = [0] * len(records)

        async def write(partition: int, wanted: Sequence[int]) -> None:
            told = await self._write_to(producer, partition, [records[place] for place in wanted])
            for place, offset in zip(wanted, told, strict=True):
                offsets[place] = offset

        await asyncio.gather(*(write(*one) for one in places.items()))
        return offsets

    async def _write_to(self, producer: Any, partition: int, records: Sequence[Outgoing]) -> list[int]:
        topic = records[0].topic
        counts: list[int] = []
        sent: list[Awaitable[Any]] = []
        async with self._turns[topic, partition]:
            is_packed = records[0].is_packed
            new_batch = partial(internals.packed_batch, producer) if is_packed else producer.create_batch
            batch = new_batch()
            for _, _, key, value, headers, _ in records:
                if batch.append(timestamp=None, key=key, value=value, headers=headers or []) is None:
                    counts.append(batch.record_count())
                    sent.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = new_batch()
                    batch.append(timestamp=None, key=key, value=value, headers=headers or [])
            batch.close()  # nothing more comes to it, so it goes at once
            counts.append(batch.record_count())
            sent.append(await producer.send_batch(batch, topic, partition=partition))
        ends = list(accumulate(counts))
        batches = [records[end - count : end] for end, count in zip(ends, counts, strict=True)]
        taken = (self._taken(producer, partition, *one) for one in zip(sent, batches, strict=True))
        return [offset for offsets in await asyncio.gather(*taken) for offset in offsets]

    async def _taken(
        self, producer: Any, partition: int, sent: Awaitable[Any], batch: Sequence[Outgoing]
    ) -> list[int]:
        """The offsets of a batch. One that its topic does not take is written again record by record, and a
        record by itself shorter."""
        try:
            first = (await sent).offset
        except MessageSizeTooLargeError:
            shorter = batch[0].shorter()
            if shorter is None:
                raise
            again = batch if len(batch) > 1 else [shorter]
            return [(await self._write_to(producer, partition, [one]))[0] for one in again]
        return [first + number for number in range(len(batch))]
