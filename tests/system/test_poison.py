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


BOMBS: dict[str, tuple[int, dict[str, Any]]] = {
    "values": (40, {"value": bytes(20 * MIB)}),
    "values just under the limit": (20, {"value": bytes(15 * MIB + 800_000)}),
    "keys": (600, {"key": bytes(MIB), "value": b"{}"}),
    "headers": (400, {"value": b"{}", "headers": [(f"h{n}", bytes(60_000)) for n in range(16)]}),
}
"""How many, and what each holds that packs into some hundred bytes."""


async def send_bombs(bootstrap: str, n: int, bomb: dict[str, Any]) -> None:
    """Some in a batch, spread over the partitions."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        compression_type="zstd",
        max_request_size=40 * MIB,
        max_batch_size=30 * MIB,
        linger_ms=50,
    ) as packed:
        sent = [await packed.send(TOPIC, partition=number % 4, **bomb) for number in range(n)]
        await asyncio.gather(*sent)


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
@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("broker", ["apache"], indirect=True)
def test_many_bombs_are_not_held_at_once(broker: Node, kind: str, tmp_path: Path) -> None:
    """They are read one after the other, however small they lie in Kafka before it starts. A letter takes no
    more than an event may, and all of them take little in Kafka."""
    n, bomb = BOMBS[kind]
    with WorkerProcess(KAFKA=broker.bootstrap) as worker:
        worker.ready()
        before = peak_bytes(worker)
        worker.end(signal.SIGTERM)
    asyncio.run(send_bombs(broker.bootstrap, n, bomb))
    with WorkerProcess(KAFKA=broker.bootstrap) as worker:
        until(lambda: set_aside(worker) == n, "all are set aside", 120)
        assert peak_bytes(worker) - before < 160 * MIB
        worker.end(signal.SIGTERM)
    letters = read_topic(broker.bootstrap, f"{TOPIC}.dlq")
    assert len(letters) == n
    sizes = [len(one.key or b"") + len(one.value) + sum(len(of) for _, of in one.headers) for one in letters]
    assert max(sizes) < 1_100_000
    logs = tmp_path.glob(f"kafka/**/{TOPIC}.dlq-*/*.log")
    assert 0 < sum(one.stat().st_size for one in logs) < 8 * MIB


def set_aside(worker: WorkerProcess) -> float:
    """Its dead letters."""
    return worker.scrape().sum("touchpoint_dead_letters_total", topic=TOPIC)
