"""What the product needs of a broker: the same tests on each, gaps of the embedded one marked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ProducerFenced, TopicAlreadyExistsError, UnknownError

from deploy.kafka import kafka
from deploy.kafka.kafka import KafkaNode, KafkaNodeError
from streams.kafka.topics import CLUSTER_ID
from tests.kafka.conftest import Broker
from tests.kit.brokers import Node, running

DEADLINE_SECONDS = 30
"""For one thing to come true; the slowest is a take-over on the embedded broker, about 3 s."""

embedded_gap = pytest.mark.embedded_gap

NO_PRODUCER_ID = "aiokafka asks by InitProducerId version 0, which it answers with an unknown error"


@pytest.mark.full
def test_apache_kafka_starts_with_classes_that_were_read_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Java ends at once where it is told that it must have the archive of them, and cannot."""
    monkeypatch.setattr(kafka, "JAVA_OPTIONS", (*kafka.JAVA_OPTIONS, "-Xshare:on"))
    with running(KafkaNode(tmp_path / "with")):
        pass
    (torn := tmp_path / "torn.jsa").write_bytes(kafka.CLASSES.read_bytes()[:100_000])
    with pytest.raises(KafkaNodeError):
        KafkaNode(tmp_path / "without").launch(classes=f"-XX:SharedArchiveFile={torn}")


@asynccontextmanager
async def admin_of(broker: Broker | Node) -> AsyncIterator[Any]:
    """An admin client, closed at the end."""
    client = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def producer_of(broker: Broker | Node, **settings: Any) -> AsyncIterator[Any]:
    """A producer, stopped at the end."""
    client = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, **{"acks": "all", "request_timeout_ms": 10_000, **settings}
    )
    await asyncio.wait_for(started(client), DEADLINE_SECONDS)
    try:
        yield client
    finally:
        await client.stop()


async def started(client: Any) -> None:
    """A client that does not get through its start is closed again, so that only the reason remains."""
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise


@asynccontextmanager
async def consumer_of(broker: Broker | Node, *topics: str, **settings: Any) -> AsyncIterator[Any]:
    """A consumer, stopped at the end."""
    client = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=broker.bootstrap,
        **{"auto_offset_reset": "earliest", "enable_auto_commit": False, **settings},
    )
    await asyncio.wait_for(started(client), DEADLINE_SECONDS)
    try:
        yield client
    finally:
        await client.stop()


async def create(
    broker: Broker | Node, topic: str, partitions: int = 1, configs: dict[str, str] | None = None
) -> list[int]:
    """Creates a topic; returns the error codes of the answer."""
    async with admin_of(broker) as admin:
        new = NewTopic(topic, partitions, 1, topic_configs=configs or {})
        answer = await admin.create_topics([new], timeout_ms=10_000)
    return [error[1] for error in answer.topic_errors]


async def partitions_of(broker: Broker, topic: str) -> list[int]:
    """The partitions of an existing topic, once the broker knows it."""
    found: list[int] = []
    async with admin_of(broker) as admin:

        async def known() -> bool:
            [described] = await admin.describe_topics([topic])
            found.extend(partition["partition"] for partition in described["partitions"])
            return bool(described["error_code"] == 0)

        await eventually(known)
    return sorted(found)


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Repeats a check, which itself waits for the broker, until it is true."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await check():
            pass


async def read(consumer: Any, tp: TopicPartition, count: int) -> list[ConsumerRecord[Any, Any]]:
    """The first `count` records of a partition, all of one poll's surplus included."""
    consumer.assign([tp])
    await consumer.seek_to_beginning(tp)
    records: list[ConsumerRecord[Any, Any]] = []

    async def enough() -> bool:
        for some in (await consumer.getmany(timeout_ms=500)).values():
            records.extend(some)
        return len(records) >= count

    await eventually(enough)
    return records


async def publish_batch(producer: Any, tp: TopicPartition, values: Sequence[bytes]) -> int:
    """Writes all values as one record batch; returns its base offset."""
    batch = producer.create_batch()
    for value in values:
        assert batch.append(key=b"key", value=value, timestamp=None) is not None
    acknowledged = await producer.send_batch(batch, tp.topic, partition=tp.partition)
    return int((await acknowledged).offset)


async def test_cluster_id_tells_the_embedded_broker(broker: Broker) -> None:
    """Metadata carries the embedded broker's own cluster id, and no other broker has it."""
    async with admin_of(broker) as admin:
        cluster = await admin.describe_cluster()
    assert (cluster["cluster_id"] == CLUSTER_ID) == (broker.kind == "embedded")


async def test_topic_has_its_partitions(broker: Broker, name: str) -> None:
    """A created topic has the number of partitions that was asked for."""
    assert await create(broker, name, partitions=6) == [0]
    assert await partitions_of(broker, name) == [0, 1, 2, 3, 4, 5]


async def test_topic_has_its_configs(broker: Broker, name: str) -> None:
    """A created topic keeps the configs it was created with, and they can be read back."""
    wanted = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.1",
        "retention.ms": "3600000",
    }
    assert await create(broker, name, configs=wanted) == [0]
    found: dict[str, str] = {}
    async with admin_of(broker) as admin:

        async def described() -> bool:
            [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
            [[error, _, _, _, entries]] = answer.resources
            found.update((entry[0], entry[1]) for entry in entries)
            return bool(error == 0)  # just after its creation Apache Kafka may not know the topic yet

        await eventually(described)
    assert {key: found.get(key) for key in wanted} == wanted


async def test_existing_topic_is_told(broker: Broker, name: str) -> None:
    """Creating a topic again changes nothing and is answered by the code for just that."""
    assert await create(broker, name, partitions=2) == [0]
    assert await create(broker, name, partitions=5) == [TopicAlreadyExistsError.errno]
    assert await partitions_of(broker, name) == [0, 1]


@embedded_gap("a Metadata request creates the topics it names, with 4 partitions", AssertionError)
async def test_unknown_topic_is_not_created(broker: Broker, name: str) -> None:
    """Asking for a topic that does not exist does not bring it into being."""
    async with admin_of(broker) as admin:
        await admin.describe_topics([name])
        assert name not in await admin.list_topics()


async def test_records_come_back_as_sent(broker: Broker, name: str) -> None:
    """Key, value, headers and timestamp come back unchanged, in order, with offsets without holes."""
    await create(broker, name)
    every_byte = bytes(range(256))
    sent = [
        (b"", b"", []),
        (None, every_byte, [("same", b"1"), ("same", b"2"), ("empty", b"")]),
        (every_byte, b"{}", [("h\u00e4ader", every_byte)]),
        *((b"k%d" % i, b"v%d" % i, []) for i in range(500)),
    ]
    async with producer_of(broker, linger_ms=5) as producer:
        for i, (key, value, headers) in enumerate(sent):
            acknowledged = await producer.send(
                name, value, key, partition=0, timestamp_ms=1_700_000_000_000 + i, headers=headers
            )
        await acknowledged  # the last one; a partition acknowledges in order
    async with consumer_of(broker) as consumer:
        records = await read(consumer, TopicPartition(name, 0), len(sent))
    assert [(record.key, record.value, list(record.headers)) for record in records] == sent
    assert [record.offset for record in records] == list(range(len(sent)))
    assert [record.timestamp - 1_700_000_000_000 for record in records] == list(range(len(sent)))


@pytest.mark.parametrize("compression", ["gzip", "lz4", "zstd"])
async def test_compressed_batches(broker: Broker, name: str, compression: str) -> None:
    """A compressed batch comes back as it was sent."""
    await create(broker, name)
    values = [b'{"n": %d, "stage": "web_checkout"}' % i for i in range(300)]
    async with producer_of(broker, compression_type=compression) as producer:
        await publish_batch(producer, TopicPartition(name, 0), values)
    async with consumer_of(broker) as consumer:
        records = await read(consumer, TopicPartition(name, 0), len(values))
    assert [record.value for record in records] == values


async def test_large_record(broker: Broker, name: str) -> None:
    """A record just under the usual limit of one megabyte passes."""
    await create(broker, name)
    value = b"x" * 1_000_000
    async with producer_of(broker, max_request_size=1_048_576) as producer:
        await producer.send_and_wait(name, value, partition=0)
    async with consumer_of(broker) as consumer:
        [record] = await read(consumer, TopicPartition(name, 0), 1)
    assert record.value == value


async def test_list_offsets_of_empty_partition(broker: Broker, name: str) -> None:
    """An empty partition begins and ends at 0."""
    await create(broker, name)
    tp = TopicPartition(name, 0)
    async with consumer_of(broker) as consumer:
        assert await consumer.beginning_offsets([tp]) == {tp: 0}
        assert await consumer.end_offsets([tp]) == {tp: 0}


@embedded_gap("ListOffsets(latest) answers the base offset of the last batch plus one", AssertionError)
async def test_list_offsets_tells_the_end(broker: Broker, name: str) -> None:
    """ListOffsets(latest) is the offset after the last record, also when that ended a batch of many."""
    await create(broker, name)
    tp = TopicPartition(name, 0)
    async with producer_of(broker) as producer:
        await publish_batch(producer, tp, [b"v"] * 10)
        assert await publish_batch(producer, tp, [b"v"] * 7) == 10
    async with consumer_of(broker) as consumer:
        assert await consumer.end_offsets([tp]) == {tp: 17}


async def test_fetch_tells_the_end(broker: Broker, name: str) -> None:
    """The high watermark of a Fetch is the offset after the last record, wherever the fetch begins."""
    await create(broker, name)
    tp = TopicPartition(name, 0)
    async with producer_of(broker) as producer:
        await publish_batch(producer, tp, [b"v"] * 10)
        await publish_batch(producer, tp, [b"v"] * 7)
    for start in (0, 10, 17):
        async with consumer_of(broker) as consumer:
            consumer.assign([tp])
            consumer.seek(tp, start)

            async def answered(consumer: Any = consumer) -> bool:
                await consumer.getmany(timeout_ms=500)
                return consumer.highwater(tp) is not None

            await eventually(answered)
            assert consumer.highwater(tp) == 17, f"fetched from offset {start}"


async def test_seek_into_a_batch(broker: Broker, name: str) -> None:
    """Reading from an offset inside a batch begins with exactly that record."""
    await create(broker, name)
    tp = TopicPartition(name, 0)
    async with producer_of(broker) as producer:
        await publish_batch(producer, tp, [b"%d" % i for i in range(10)])
    async with consumer_of(broker) as consumer:
        consumer.assign([tp])
        consumer.seek(tp, 6)
        record = await asyncio.wait_for(consumer.getone(), DEADLINE_SECONDS)
    assert (record.offset, record.value) == (6, b"6")


@embedded_gap("ListOffsets by time answers the first offset, whatever the time", AssertionError)
async def test_offset_for_a_time(broker: Broker, name: str) -> None:
    """The first record at or after a time is found, so that reading can begin there."""
    await create(broker, name)
    tp = TopicPartition(name, 0)
    async with producer_of(broker) as producer:
        for i in range(5):
            await producer.send_and_wait(name, b"v", partition=0, timestamp_ms=1_700_000_000_000 + i * 1000)
    async with consumer_of(broker) as consumer:
        found = await consumer.offsets_for_times({tp: 1_700_000_002_500})
    assert found[tp].offset == 3


async def test_committed_offset_survives_its_consumer(broker: Broker, name: str) -> None:
    """What one consumer of a group committed, the next one begins with."""
    await create(broker, name)
    tp = TopicPartition(name, 0)
    async with producer_of(broker) as producer:
        await publish_batch(producer, tp, [b"%d" % i for i in range(10)])
    async with consumer_of(broker, group_id=name) as consumer:
        consumer.assign([tp])
        assert await consumer.committed(tp) is None
        await consumer.commit({tp: 4})
    async with consumer_of(broker, group_id=name) as consumer:
        consumer.assign([tp])
        assert await consumer.committed(tp) == 4
        record = await asyncio.wait_for(consumer.getone(), DEADLINE_SECONDS)
    assert record.offset == 4


async def test_group_shares_and_takes_over(broker: Broker, name: str) -> None:
    """Two members share the partitions; after one leaves, the other has them all and its offsets."""
    await create(broker, name, partitions=4)
    everything = {TopicPartition(name, i) for i in range(4)}
    async with producer_of(broker) as producer:
        for tp in everything:
            await publish_batch(producer, tp, [b"v"] * 5)
    settings = {"group_id": name, "session_timeout_ms": 6000, "heartbeat_interval_ms": 1000}
    async with consumer_of(broker, name, **settings) as first:
        async with consumer_of(broker, name, **settings) as second:

            async def shared() -> bool:
                await asyncio.gather(first.getmany(timeout_ms=200), second.getmany(timeout_ms=200))
                mine, theirs = first.assignment(), second.assignment()
                return len(mine) == len(theirs) == 2 and mine | theirs == everything

            await eventually(shared)
            theirs = second.assignment()
            await second.commit(dict.fromkeys(theirs, 3))

        async def taken_over() -> bool:
            await first.getmany(timeout_ms=200)
            return bool(first.assignment() == everything)

        await eventually(taken_over)
        assert [await first.committed(tp) for tp in theirs] == [3, 3]


async def test_tombstone(broker: Broker, name: str) -> None:
    """A record without a value comes back without one, not with an empty one."""
    await create(broker, name, configs={"cleanup.policy": "compact"})
    async with producer_of(broker) as producer:
        await producer.send_and_wait(name, b"", key=b"k", partition=0)
        await producer.send_and_wait(name, None, key=b"k", partition=0)
    async with consumer_of(broker) as consumer:
        records = await read(consumer, TopicPartition(name, 0), 2)
    assert [(record.key, record.value) for record in records] == [(b"k", b""), (b"k", None)]


@embedded_gap(NO_PRODUCER_ID, UnknownError)
async def test_idempotent_producer(broker: Broker, name: str) -> None:
    """An idempotent producer writes, each record once and in order."""
    await create(broker, name)
    async with producer_of(broker, enable_idempotence=True) as producer:
        sent = [await producer.send(name, b"%d" % i, partition=0) for i in range(100)]
        await asyncio.wait_for(asyncio.gather(*sent), DEADLINE_SECONDS)
    async with consumer_of(broker) as consumer:
        records = await read(consumer, TopicPartition(name, 0), 100)
    assert [record.value for record in records] == [b"%d" % i for i in range(100)]


@embedded_gap(NO_PRODUCER_ID, UnknownError)
async def test_read_committed_sees_no_aborted_record(broker: Broker, name: str) -> None:
    """Of an aborted transaction read_committed sees nothing, of a committed one everything."""
    await create(broker, name)
    async with producer_of(broker, transactional_id=name) as producer:
        for value, commit in ((b"first", True), (b"aborted", False), (b"last", True)):
            await producer.begin_transaction()
            await producer.send_and_wait(name, value, partition=0)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
    async with consumer_of(broker, isolation_level="read_committed") as consumer:
        records = await read(consumer, TopicPartition(name, 0), 2)
    assert [record.value for record in records] == [b"first", b"last"]


@embedded_gap(NO_PRODUCER_ID, UnknownError)
async def test_offsets_and_records_commit_together(broker: Broker, name: str) -> None:
    """Offsets sent with a transaction count only when it is committed."""
    await create(broker, name)
    tp = TopicPartition(name, 0)
    async with (
        producer_of(broker, transactional_id=name) as producer,
        consumer_of(broker, group_id=name) as consumer,
    ):
        consumer.assign([tp])
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction({tp: 5}, name)
        await producer.abort_transaction()
        assert await consumer.committed(tp) is None
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction({tp: 7}, name)
        await producer.commit_transaction()

        async def committed() -> bool:
            return bool(await consumer.committed(tp) == 7)

        await eventually(committed)


@embedded_gap(NO_PRODUCER_ID, UnknownError)
async def test_newer_producer_fences_older(broker: Broker, name: str) -> None:
    """Once a producer starts with the same transactional id, the older one can write no more."""
    await create(broker, name)
    async with producer_of(broker, transactional_id=name) as older:
        await older.begin_transaction()
        await older.send_and_wait(name, b"pending", partition=0)
        async with producer_of(broker, transactional_id=name) as newer:
            with pytest.raises(ProducerFenced):
                await older.send_and_wait(name, b"late", partition=0)
            async with newer.transaction():
                await newer.send_and_wait(name, b"new", partition=0)
    async with consumer_of(broker, isolation_level="read_committed") as consumer:
        records = await read(consumer, TopicPartition(name, 0), 1)
    assert [record.value for record in records] == [b"new"]


@embedded_gap("it keeps everything in memory", AssertionError)
async def test_acknowledged_records_survive_a_crash(own_node: Node, name: str) -> None:
    """After SIGKILL and a new start, records and committed offsets are where they were."""
    await create(own_node, name)
    tp = TopicPartition(name, 0)
    async with producer_of(own_node) as producer:
        await publish_batch(producer, tp, [b"%d" % i for i in range(10)])
    async with consumer_of(own_node, group_id=name) as consumer:
        consumer.assign([tp])
        await consumer.commit({tp: 4})
    own_node.kill()
    own_node.start()
    async with consumer_of(own_node, group_id=name) as consumer:
        assert name in await consumer.topics()

        async def is_committed() -> bool:
            return bool(await consumer.committed(tp) == 4)

        # Under load a coordinator was seen to answer, in its first moments, that nothing is committed.
        await eventually(is_committed)
        consumer.assign([tp])
        record = await asyncio.wait_for(consumer.getone(), DEADLINE_SECONDS)
    assert (record.offset, record.value) == (4, b"4")
