"""Records on their way to Kafka, as the stages and the dead letters hand them over, and how they get there.

aiokafka's `send` spends a future and some ten calls on each record, and journeys write more records than are
read. So batches are made here, and each is waited for once.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from streams.kafka import internals


class Outgoing(NamedTuple):
    """A record to be produced; without a partition, the key decides."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] | None = None


Produce = Callable[[Sequence[Outgoing]], Awaitable[Sequence[int]]]
"""Writes records of one topic; the offset of each, once the broker has acknowledged them all."""


async def produce(producer: Any, records: Sequence[Outgoing]) -> Sequence[int]:
    """Write records of one topic with an `AIOKafkaProducer`, those of a partition in their order.

    Returns the offset of each, once the broker has acknowledged them all; KafkaError when it does not.
    """
    topic = records[0].topic
    await producer.partitions_for(topic)
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        partition = record.partition
        if partition is None:
            partition = internals.partition_for(producer, topic, record.key)
        places[partition].append(place)
    offsets = [0] * len(records)

    async def write(partition: int, wanted: Iterable[int]) -> None:
        sent: list[tuple[list[int], Awaitable[Any]]] = []
        some: list[int] = []
        batch = producer.create_batch()
        for place in wanted:
            _, _, key, value, headers = records[place]
            if batch.append(timestamp=None, key=key, value=value, headers=headers or []) is None:
                sent.append((some, await producer.send_batch(batch, topic, partition=partition)))
                some, batch = [], producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers or [])
            some.append(place)
        batch.close()  # nothing more comes to it, so it goes at once
        sent.append((some, await producer.send_batch(batch, topic, partition=partition)))
        acknowledged = await asyncio.gather(*(future for _, future in sent))
        for (taken, _), told in zip(sent, acknowledged, strict=True):
            for number, place in enumerate(taken):
                offsets[place] = told.offset + number

    await asyncio.gather(*(write(*one) for one in places.items()))
    return offsets
