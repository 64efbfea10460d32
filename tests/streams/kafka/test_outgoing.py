"""Records come to Kafka whole, in order, and where it is said that they lie."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from monitor.counting.event import Reason, Refused
from streams.kafka import internals
from streams.kafka.dead_letter import dead_letter
from streams.kafka.outgoing import Outgoing, Writer
from tests.kit.brokers import TansuNode, running
from tests.streams.kafka.test_dead_letter import Record

BATCH_BYTES = 1_000


@pytest.fixture(scope="module")
def broker() -> Iterator[TansuNode]:
    """A broker that creates topics of several partitions."""
    with running(TansuNode()) as node:
        yield node


async def written(broker: TansuNode, records: Sequence[Outgoing]) -> list[tuple[int, int, Any]]:
    """Of each record, once it is written: partition, the offset told, and what lies there."""
    bootstrap = broker.bootstrap
    async with (
        AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=BATCH_BYTES) as producer,
        AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer,
    ):
        found = []
        for record, offset in zip(records, await Writer(lambda: producer).write(records), strict=True):
            partition = record.partition
            if partition is None:
                partition = internals.partition_for(producer, record.topic, record.key)
            tp = TopicPartition(record.topic, partition)
            consumer.assign([tp])
            consumer.seek(tp, offset)
            found.append((partition, offset, await consumer.getone()))
    return found


async def test_many_batches_keep_order_and_offsets(broker: TansuNode) -> None:
    """With keys, values and headers as they were given; a second write goes on behind the first."""
    records = []
    for n in range(120):
        headers = [("h", b"%d" % n)] if n % 3 else None
        records.append(Outgoing("many", (0, 1, None)[n % 3], b"k%d" % n, b"v" * (n % 97), headers))
    for turn in (1, 2):
        ends: dict[int, int] = {}
        for record, (partition, offset, read) in zip(records, await written(broker, records), strict=True):
            assert (read.key, read.value) == (record.key, record.value)
            assert list(read.headers) == (record.headers or [])
            assert offset == ends.get(partition, offset) >= 0
            ends[partition] = offset + 1
        assert sum(ends.values()) == turn * len(records)


async def test_one_that_fills_a_batch_alone_is_written(broker: TansuNode) -> None:
    """Between others, and deletions: what is larger than a batch makes one of its own."""
    values = [b"small", b"x" * 5 * BATCH_BYTES, None]
    found = await written(broker, [Outgoing("large", 0, b"k", value) for value in values])
    assert [(offset, read.value) for _, offset, read in found] == list(enumerate(values))


async def test_many_write_to_one_partition_at_once(broker: TansuNode) -> None:
    """Each has the whole time that a request may take, not what the others have left of it."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, request_timeout_ms=2_000) as producer:
        writer = Writer(lambda: producer)
        told = await asyncio.gather(*(writer.write([Outgoing("at-once", 0, b"k", b"v")]) for _ in range(200)))
    assert sorted(offset for (offset,) in told) == list(range(200))


async def test_what_kafka_does_not_take_is_an_error() -> None:
    """A broker that is away is Kafka's own error, not silence."""
    with running(TansuNode()) as node:
        producer = AIOKafkaProducer(bootstrap_servers=node.bootstrap, request_timeout_ms=1_000)
        await producer.start()
        writer = Writer(lambda: producer)
        await writer.write([Outgoing("away", 0, b"k", b"v")])
    try:
        with pytest.raises(KafkaError):
            await writer.write([Outgoing("away", 0, b"k", b"v"), Outgoing("away", 0, b"k", b"w")])
    finally:
        await producer.stop()


class Narrow(AIOKafkaProducer):  # type: ignore[misc] # shipped without types
    """One whose topics take batches of 1,000 bytes at most, as Kafka says by `max.message.bytes`."""

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        """Refuse what is larger."""
        if batch.size() <= 1_000:
            return await super().send_batch(batch, topic, partition=partition)
        refused = asyncio.get_running_loop().create_future()
        refused.set_exception(MessageSizeTooLargeError())
        return refused


async def test_a_letter_that_its_topic_does_not_take_is_written_shorter(broker: TansuNode) -> None:
    """Each that fits is whole, once; of another a head that fits, its true size and where it lies."""
    refused = Refused(Reason.NOT_JSON, "no JSON")
    values = [b"a", b"v" * 100_000, b"b" * 300, b"c" * 300]
    origin = TopicPartition("touchpoint.store.v1", 3)
    letters = [dead_letter("narrow", origin, Record(value=value), refused) for value in values]
    async with (
        Narrow(bootstrap_servers=broker.bootstrap) as producer,
        AIOKafkaConsumer(
            "narrow", bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest"
        ) as consumer,
    ):
        offsets = await Writer(lambda: producer).write(letters)
        found = [await consumer.getone() for _ in letters]
        with pytest.raises(MessageSizeTooLargeError):
            await Writer(lambda: producer).write([Outgoing("narrow", 0, b"k", b"v" * 1_000)])
    assert sorted(offsets) == [one.offset for one in found]
    read = {one.offset: one for one in found}
    whole, cut, *others = (read[offset] for offset in offsets)
    assert [one.value for one in (whole, *others)] == [values[0], *values[2:]]
    assert 100 < len(cut.value) < 1_000
    assert values[1].startswith(cut.value)
    assert dict(cut.headers) == {**dict(whole.headers), "dlq.size": b"100000"}
