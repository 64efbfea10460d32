"""Workers that are killed show together, row by row, what the README files alone come to."""

import asyncio
import signal
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
import yaml
from aiokafka import AIOKafkaProducer

from deploy.kafka.kafka import KafkaNode
from monitor.journey_file.grammar import parse
from tests.kit.brokers import running
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, touchpoint
from tests.oracle.oracle import Event, Rows, count, moment
from tests.oracle.test_oracle import JOURNEY, differing, generated, rows, told_late
from tests.system.test_static import Fleet

pytestmark = [pytest.mark.full, pytest.mark.timeout(480)]

STAGES = parse(JOURNEY)
SLICES = 30
"""Of some five hours each."""
KILLS_AFTER = {5, 11, 19}


def settled(seed: int, number: int, now: datetime) -> list[Event]:
    """Generated events in the order of their time, but for journeys that change while they are looked at."""
    events = generated(seed, number, now)
    tree = yaml.safe_load(JOURNEY)
    before, after = (count(tree, events, now + timedelta(minutes=minutes))[1] for minutes in (-3, 12))
    kept = [
        event for event in events if (one := event.get("journey_id")) is None or before[one] == after[one]
    ]
    return sorted(kept, key=lambda event: moment(event["time"]))


async def publish(kafka: str, events: list[Event]) -> None:
    """Those of a journey, or else of a case, keep their order."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=20) as producer:
        for event in events:
            key = str(event.get("journey_id") or event.get("case_id") or event["id"])
            await producer.send(STAGES.stage(event["stage"]).topic, orjson.dumps(event), key.encode())


async def say(kafka: str, time: datetime) -> list[Event]:
    """For each partition an event of then and of no journey: without one it would vouch for the present."""
    said: list[Event] = []
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        for stage in STAGES.stages:
            for partition in await producer.partitions_for(stage.topic):
                event = {
                    "id": f"{partition}-{time:%d}",
                    "time": time.isoformat(),
                    "stage": stage.name,
                    "outcome": "ok",
                }
                await producer.send(stage.topic, orjson.dumps(event), partition=partition)
                said.append(event)
    return said


def counted_by(worker: WorkerProcess) -> float:
    """Events of any stage."""
    return worker.scrape().sum("touchpoint_records_total", result="counted")


def who_counts(workers: list[WorkerProcess], before: list[float]) -> list[int]:
    """The numbers of those that have counted more than before."""
    return [number for number, one in enumerate(workers) if counted_by(one) > before[number]]


def test_workers_that_are_killed_count_what_the_readme_files_say(tmp_path: Path) -> None:
    """Of journeys at every edge, published as they happen, while who counts most dies and comes again; also
    what is published when its deadline has been counted."""
    file = tmp_path / "journey.yaml"
    file.write_text(JOURNEY)
    now = datetime.now(UTC).replace(microsecond=0)
    events = settled(4, 1200, now)
    late = told_late(events, now)
    assert late
    events = [one for one in events if one not in late]
    bounds = [len(events) * number // SLICES for number in range(SLICES + 1)]
    with running(KafkaNode(tmp_path / "kafka")) as node, ExitStack() as stack:
        assert touchpoint("topics", KAFKA=node.bootstrap, JOURNEY=str(file)).returncode == 0
        beside = asyncio.run(say(node.bootstrap, moment(events[0]["time"])))
        fleet = Fleet(node.bootstrap, tmp_path, stack, JOURNEY=str(file))
        for number, (begin, end) in enumerate(pairwise(bounds)):
            before = [counted_by(one) for one in fleet.workers]
            asyncio.run(publish(node.bootstrap, events[begin:end]))
            if number in KILLS_AFTER:
                victim = until(partial(who_counts, fleet.workers, before), "one of them counts")[0]
                fleet.restart(victim, signal.SIGKILL)
        beside += asyncio.run(say(node.bootstrap, now))
        agreed(fleet, [*events, *beside], now)
        before = [counted_by(one) for one in fleet.workers]
        asyncio.run(publish(node.bootstrap, late))
        victim = until(partial(who_counts, fleet.workers, before), "one of them counts")[0]
        fleet.restart(victim, signal.SIGKILL)
        agreed(fleet, [*events, *late, *beside], now)


def agreed(fleet: Fleet, events: list[Event], now: datetime) -> None:
    """What the workers show together comes to be what the README files say of these events."""
    expected, _ = count(yaml.safe_load(JOURNEY), events, now)
    wrong: dict[tuple[str, ...], tuple[int, int]] = {}

    def agree() -> bool:
        found: Rows = Counter()
        for one in fleet.workers:
            found += rows(one.get("/metrics").decode())
        wrong.clear()
        wrong.update(differing(found, expected))
        return not wrong

    with suppress(AssertionError):  # rows that differ say more
        until(agree, "every row is as the README files say", 120)
    assert wrong == {}
