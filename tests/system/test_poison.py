"""Records that nobody should publish, and somebody does: no worker stops, no good event counts wrongly."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from streams.kafka.topics import steps_topic
from streams.settings import Settings
from tests.kit.batches import send_strange
from tests.kit.brokers import Node
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess
from tests.kit.shipped import SHIPPED as JOURNEY
from tests.system.test_worker import TOPIC, checkout, read_topic

MIB = 1024 * 1024
GOOD = 200
ZERO_DAY = {"id": "p", "kind": "delivery_window", "due": "0001-01-01T00:00:00+02:00"}


async def poison(bootstrap: str) -> None:
    """All kinds, between good events on partition 0; the good ones of strange header names are 2 of them."""
    plain = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    packed = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type="zstd", max_request_size=400 * MIB
    )
    await asyncio.gather(plain.start(), packed.start())
    change = {"id": "c", "kind": "deploy", "title": "harmless", "time": orjson.loads(checkout(0))["time"]}
    try:
        for number in range(2, GOOD // 2):
            await plain.send(TOPIC, checkout(number), partition=0)
        await plain.flush()
        await send_strange(plain, TOPIC, checkout(0), checkout(1))
        await plain.send_and_wait(TOPIC, checkout(-1, journey_id="j", promise=ZERO_DAY), partition=0)
        for size in (20, 300):
            await packed.send_and_wait(TOPIC, bytes(size * MIB), partition=0)
        await send_strange(plain, JOURNEY.changes_topic, b"no change")
        await plain.send_and_wait(JOURNEY.changes_topic, orjson.dumps(change), partition=0)
        await send_strange(plain, steps_topic(Settings().group), b"no steps")
        for number in range(GOOD // 2, GOOD):
            await plain.send(TOPIC, checkout(number), partition=0)
    finally:
        await asyncio.gather(plain.stop(), packed.stop())


async def send_bombs(bootstrap: str, n: int) -> None:
    """Each a record of 20 MiB that packs into some hundred bytes, spread over the partitions."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type="zstd", max_request_size=40 * MIB
    ) as packed:
        for number in range(n):
            await packed.send_and_wait(TOPIC, bytes(20 * MIB), partition=number % 4)


def peak_bytes(worker: WorkerProcess) -> int:
    """The most memory that the worker has had."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def in_windows(worker: WorkerProcess) -> float:
    """Checkouts of the last hour, whichever worker counted them."""
    about = {"stage": "web_checkout", "experience": "checkout_completed", "window": "1h"}
    return worker.scrape().sum("touchpoint_window_events", **about)


def test_no_record_stops_a_worker(broker: Node) -> None:
    """Strange header names, dates of .NET, bombs of compression, what is no step and no change; twice."""
    with WorkerProcess(KAFKA=broker.bootstrap) as worker:
        worker.ready()
        before = peak_bytes(worker)
        asyncio.run(poison(broker.bootstrap))
        until(lambda: in_windows(worker) == GOOD, "all good events counted", 60)
        sample = worker.scrape()
        refused = {
            reason: sample.sum("touchpoint_dead_letters_total", topic=TOPIC, reason=reason)
            for reason in ("bad_time", "too_large", "unreadable", "unprocessable")
        }
        assert refused == {"bad_time": 1, "too_large": 1, "unreadable": 1, "unprocessable": 0}
        assert worker.is_ready()
        until(lambda: "harmless" in worker.get("/metrics").decode(), "the change is read")
        assert peak_bytes(worker) - before < 160 * MIB
        code, said = worker.end(signal.SIGTERM)
        assert (code, "Traceback" in said) == (0, False)
    with WorkerProcess(KAFKA=broker.bootstrap) as again:
        assert in_windows(again.ready()) == GOOD
    letters: dict[bytes, Any] = {}

    def are_readable() -> bool:
        letters.update(
            (dict(one.headers)["dlq.reason"], one) for one in read_topic(broker.bootstrap, f"{TOPIC}.dlq")
        )
        return {b"too_large", b"unreadable"} <= letters.keys()

    until(are_readable, "the letters can be read")
    large, unreadable = letters[b"too_large"], letters[b"unreadable"]
    assert (len(large.value), dict(large.headers)["dlq.size"]) == (64 * 1024, str(20 * MIB).encode())
    assert b"cannot be read" in dict(unreadable.headers)["dlq.error"]


@pytest.mark.full
@pytest.mark.parametrize("broker", ["apache"], indirect=True)
def test_many_bombs_are_not_held_at_once(broker: Node) -> None:
    """They are read one after the other, however small they lie in Kafka: 40 of 20 MiB, before it starts."""
    with WorkerProcess(KAFKA=broker.bootstrap) as worker:
        worker.ready()
        before = peak_bytes(worker)
        worker.end(signal.SIGTERM)
    asyncio.run(send_bombs(broker.bootstrap, 40))
    with WorkerProcess(KAFKA=broker.bootstrap) as worker:
        until(lambda: refused_as_large(worker) == 40, "all are set aside", 120)
        assert peak_bytes(worker) - before < 160 * MIB


def refused_as_large(worker: WorkerProcess) -> float:
    """Dead letters of that reason."""
    return worker.scrape().sum("touchpoint_dead_letters_total", topic=TOPIC, reason="too_large")
