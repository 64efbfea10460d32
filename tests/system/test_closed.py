"""Journeys that are over, through real brokers and workers: published whole, kept findable, none lost."""

import asyncio
import signal
from collections import defaultdict
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.kafka.kafka import KafkaNode
from monitor.live.closed import decode
from tests.kit.brokers import Node, TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, touchpoint
from tests.streams.web.test_lookup import tell

BROKERS = [pytest.param("embedded"), pytest.param("apache", marks=pytest.mark.full)]
TOPIC = "touchpoint.closed-journeys.v1"
HALF = 150
WAIT_S = 120


def publish(bootstrap: str, numbers: range) -> None:
    """A visit to the store, and the answer that ends the journey, half an hour ago; then word of now from
    everywhere, so that time passes."""
    ago, now = datetime.now(UTC) - timedelta(minutes=30), datetime.now(UTC)

    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=20) as producer:

            async def send(stage: str, id_: str, when: datetime, partition: int, **more: Any) -> None:
                event = {"id": id_, "time": when.isoformat(), "stage": stage, "outcome": "ok", **more}
                topic = f"touchpoint.{stage.replace('_', '-')}.v1"
                await producer.send(topic, orjson.dumps(event), partition=partition)

            for n in numbers:
                more = {"journey_id": f"j-{n}", "segment": "new"}
                await send("store", f"s-{n}", ago, n % 4, channel="store", **more)
                later = ago + timedelta(minutes=1)
                await send("feedback", f"f-{n}", later, n % 4, score={"kind": "nps", "value": 9}, **more)
            for partition in range(4):
                await send("store", f"now-{numbers.start}-{partition}", now, partition)

    asyncio.run(produce())


def published(bootstrap: str) -> dict[str, list[bytes]]:
    """All records of the topic by key."""
    found: defaultdict[str, list[bytes]] = defaultdict(list)

    async def read() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
        await consumer.start()
        try:
            tps = [TopicPartition(TOPIC, partition) for partition in range(4)]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            ends: dict[TopicPartition, int] = {}
            while len(ends) < 4 or any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=300)).values():
                    for record in records:
                        found[record.key.decode()].append(record.value)
                ends |= {tp: end for tp in tps if (end := consumer.highwater(tp)) is not None}
        finally:
            await consumer.stop()

    asyncio.run(read())
    return found


@pytest.mark.timeout(400)
@pytest.mark.parametrize("broker", BROKERS)
def test_no_closed_journey_is_lost_when_a_worker_is_killed(broker: str, tmp_path: Path) -> None:
    """Each is in the topic, again at most the same, and any worker answers for it, whoever kept it before."""
    node: Node = KafkaNode(tmp_path / "kafka") if broker == "apache" else TansuNode()
    with running(node), ExitStack() as stack:

        def worker(number: int) -> WorkerProcess:
            one = WorkerProcess(KAFKA=node.bootstrap, STATE_DIR=str(tmp_path / f"{number}"))
            return stack.enter_context(one)

        victim, survivor = worker(1), worker(2)
        until(lambda: victim.is_ready() and survivor.is_ready(), "both ready", WAIT_S)
        publish(node.bootstrap, range(HALF))
        until(lambda: published(node.bootstrap), "the first are over", WAIT_S)
        publish(node.bootstrap, range(HALF, 2 * HALF))
        victim.process.send_signal(signal.SIGKILL)
        victim.process.wait()
        ids = {f"j-{number}" for number in range(2 * HALF)}
        until(lambda: published(node.bootstrap).keys() == ids, "all are over", WAIT_S)
        found = published(node.bootstrap)
        assert {len(set(values)) for values in found.values()} == {1}
        said = decode(found["j-7"][0])
        assert (said.journey_id, said.result, said.segment, said.unhappy) == ("j-7", "visit", "new", False)
        assert (
            said.steps[-1].stage == "feedback"
        )  # what was read after it, of half an hour ago, came too late
        newcomer = worker(3)
        until(lambda: newcomer.is_ready() and survivor.is_ready(), "another is there", WAIT_S)

        def whole(one: WorkerProcess, journey_id: str) -> bool:
            told = tell(one, journey_id, "")
            return told.status == 200 and orjson.loads(found[journey_id][0]).items() <= told.body.items()

        for number in (0, HALF - 1, HALF, 2 * HALF - 1):
            for one in (newcomer, survivor):
                until(lambda: whole(one, f"j-{number}"), f"j-{number} of {one.url}", WAIT_S)  # noqa: B023
        assert tell(survivor, "j-unknown", "").status == 404
        shown = touchpoint("journey", "j-7", "--worker", survivor.url)
        assert (shown.returncode, "journey j-7: over since" in shown.stdout) == (0, True), shown
        assert "feedback" in shown.stdout
