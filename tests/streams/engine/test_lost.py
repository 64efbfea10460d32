"""What is lost with a topic that somebody deleted, on Apache Kafka: told once, and kept told."""

from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from faust.types import TP

from deploy.kafka.kafka import KafkaNode
from monitor.journey_file.grammar import parse
from streams.engine.app import App
from streams.kafka.topics import JOURNEYS, changelog_topic, steps_topic
from tests.kit.brokers import Node, running
from tests.streams.engine.test_transport import CHANGELOG, GROUP, WITH_JOURNEYS, publish, worker_app

pytestmark = pytest.mark.full

JOURNEY = parse(
    "version: 1\njourney: x\nsegments: []\n"
    "stages: {a: {kind: customer, owner: me, topic: source, partitions: 2, experiences:"
    " {e: {judges: {}, good: {outcome: [ok]}, target: 0.9}}}}\n"
)

SOURCE = TP("source", 1)
"""The last of its partitions: the first is committed again whenever the group has moved on."""


def since_ms(app: App) -> int:
    """Since when windows are whole; 0 where nothing was lost."""
    since: int = app.consumer.kafka.whole_since_ms(SOURCE)
    return since


async def delete(node: Node, *names: str) -> None:
    """What somebody does who takes it for rubbish."""
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(list(names))
    finally:
        await admin.close()


async def test_a_loss_is_told_once_and_its_time_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing may be counted, and so committed, for hours: each restart gave a later time, and told again."""
    told = f"{SOURCE.topic}:{SOURCE.partition}: its changelog was deleted"
    with running(KafkaNode(tmp_path / "kafka")) as node:
        async with worker_app(node, tmp_path, JOURNEY) as app:
            await publish(node, SOURCE)
            assert await app.consumer.kafka.commit({SOURCE: 1})
            assert since_ms(app) == 0
        await delete(node, CHANGELOG.topic)
        async with worker_app(node, tmp_path, JOURNEY) as app:
            noticed = since_ms(app)
            assert noticed > 0
            assert told in caplog.text
        caplog.clear()
        async with worker_app(node, tmp_path, JOURNEY) as app:
            assert since_ms(app) == noticed
            assert told not in caplog.text


async def test_journeys_without_anything_left_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Their steps and their changelog were deleted, and with them what said that there had been any."""
    steps = TP(steps_topic(GROUP), 0)
    told = f"{steps.topic}:0: nothing is kept of it from before"
    with running(KafkaNode(tmp_path / "kafka")) as node:
        for _ in range(2):  # a group that has counted nothing has lost nothing, nor one that has counted
            async with worker_app(node, tmp_path, WITH_JOURNEYS) as app:
                assert app.consumer.kafka.whole_since_ms(steps) == 0
                await publish(node, TP("source", 0))
                assert await app.consumer.kafka.commit({TP("source", 0): 1})
        await delete(node, steps.topic, changelog_topic(GROUP, JOURNEYS))
        async with worker_app(node, tmp_path, WITH_JOURNEYS) as app:
            noticed = app.consumer.kafka.whole_since_ms(steps)
            assert noticed > 0
            assert app.consumer.kafka.whole_since_ms(TP("source", 0)) == 0
            assert told in caplog.text
        caplog.clear()
        async with worker_app(node, tmp_path, WITH_JOURNEYS) as app:
            assert app.consumer.kafka.whole_since_ms(steps) == noticed
            assert told not in caplog.text
