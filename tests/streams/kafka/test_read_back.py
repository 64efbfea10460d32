"""What is read once more, and what is said when Kafka goes away meanwhile."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from deploy.kafka.kafka import KafkaNode
from monitor.errors import UserError
from streams.kafka.read_back import reading, since
from streams.settings import Settings
from tests.kit.brokers import running
from tests.kit.programs import touchpoint
from tests.system.test_worker import TOPIC

pytestmark = pytest.mark.full

NUMBER = 20_000
"""More than one fetch brings."""


async def publish(kafka: str) -> None:
    """Records of one partition."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=20) as producer:
        for number in range(NUMBER):
            await producer.send(TOPIC, b"%100d" % number, partition=0)


def test_kafka_that_goes_away_is_said_so(tmp_path: Path) -> None:
    """aiokafka's own cancelling does not take the place of the error, nor does it of ours."""
    with running(KafkaNode(tmp_path)) as node:
        settings = Settings(kafka=node.bootstrap, kafka_timeout_s=5)

        async def read() -> None:
            await publish(node.bootstrap)
            assert len([record async for record in since(settings, [TOPIC], 0)]) == NUMBER
            records = since(settings, [TOPIC], 0)
            await anext(records)
            node.kill()
            with pytest.raises(UserError, match="no longer answers"):
                [record async for record in records]

        assert touchpoint("topics", KAFKA=node.bootstrap).returncode == 0
        asyncio.run(read())


def test_what_is_cancelled_stays_so(tmp_path: Path) -> None:
    """Also where Kafka is away."""
    with running(KafkaNode(tmp_path)) as node:
        settings = Settings(kafka=node.bootstrap)
        reads = asyncio.Event()

        async def read() -> None:
            async with reading(settings) as consumer:
                consumer.assign([TopicPartition(TOPIC, 0)])
                while True:
                    await consumer.getmany(timeout_ms=100)
                    reads.set()

        async def cancel() -> None:
            task = asyncio.create_task(read())
            await reads.wait()
            node.kill()
            reads.clear()
            await reads.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert touchpoint("topics", KAFKA=node.bootstrap).returncode == 0
        asyncio.run(cancel())
