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
from tests.streams.engine.test_transport import CHANGELOG, GROUP, publish, worker_app

pytestmark = pytest.mark.full

JOURNEY = parse(
    "version: 1\njourney: x\nsegments: []\n"
    "stages: {a: {kind: customer, owner: me, topic: source, partitions: 2, experiences:"
    " {e: {judges: {}, good: {outcome: [ok]}, target: 0.9}}}}\n"
    "journeys: {owner: me, starts: {stage: [a]}, goal: {outcome: [ok]}, target: 0.9, limit: 1d}\n"
)

SOURCE = TP("source", 1)
"""The last of its partitions: the first is committed again whenever the group has moved on."""

STEPS = TP(steps_topic(GROUP), 3)
KEPT = changelog_topic(GROUP, JOURNEYS)


def since_ms(app: App) -> tuple[int, int]:
    """Since when windows of the stage and of its journeys are whole."""
    return app.consumer.kafka.whole_since_ms(SOURCE), app.consumer.kafka.whole_since_ms(STEPS)


async def delete(node: Node, *names: str) -> None:
    """What somebody does who takes these for rubbish."""
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(list(names))
    finally:
        await admin.close()


async def test_a_loss_is_told_once_and_its_time_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing may be counted, and so committed, for hours: each restart gave a later time, and told again.

    With their topic of steps Kafka forgets what was committed of journeys: what the stages committed tells.
    """
    with running(KafkaNode(tmp_path / "kafka")) as node:
        async with worker_app(node, tmp_path, JOURNEY) as app:
            await publish(node, SOURCE)
            assert await app.consumer.kafka.commit({SOURCE: 1})
            assert since_ms(app) == (0, 0)
        for lost, stage_is_lost in (((CHANGELOG.topic,), True), ((KEPT, STEPS.topic), False)):
            await delete(node, *lost)
            topic, partition = SOURCE if stage_is_lost else STEPS
            caplog.clear()
            async with worker_app(node, tmp_path, JOURNEY) as app:
                noticed = since_ms(app)
                assert f"{topic}:{partition}: its changelog was deleted" in caplog.text
                assert [bool(one) for one in noticed] == [True, not stage_is_lost]
            caplog.clear()
            async with worker_app(node, tmp_path, JOURNEY) as app:
                assert since_ms(app) == noticed
                assert "was deleted" not in caplog.text
