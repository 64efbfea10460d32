"""How long a worker takes to recover 200,000 changelog records of one stage from Apache Kafka.

The changelog is as it stands before compaction gets to it: every pane of the horizon, each written 17
times as its counts grew, by two owners. The clock runs from the assignment until every stage is owned.
"""

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaProducer

from deploy.kafka.kafka import KafkaNode
from monitor.counting.event import Codec, Event, Refused
from monitor.counting.judging import Judge
from monitor.counting.panes import LONG, SHORT, Tally
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from streams import settings as settings_reader
from streams.__main__ import ONE_BLAS_THREAD
from streams.commands.shared import SWITCH_S
from streams.demo.simulator import Simulator
from streams.kafka import topics
from streams.settings import Settings
from streams.state.partition import PaneRecord, Partition, Positioned, Run
from streams.worker import Worker
from tests.bench.load import STAGE
from tests.bench.report import tell
from tests.kit.brokers import running
from tests.kit.programs import environment
from tests.kit.shipped import SHIPPED

RECORDS = 200_000

GOAL_S = 5.0

GROUP = f"bench-recovery-{os.getpid()}"
"""A new one for each run: a changelog that another run has filled would be longer."""

WRITES = 17
"""Of each pane: with 4 partitions, a little more than the records wanted, so all panes are among them."""

EVENTS_PER_WRITE = 6
"""After 17 writes a pane has nearly every counter a busy one has, so its record is as long as real ones."""

DISTINCT = 3_000
"""Events generated: a pane record holds counts, which do not depend on the events' ids."""

TICK_S = 0.005


def main() -> None:
    """Print every round and the median."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recovery", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kafka", help="HOST:PORT of Apache Kafka; a node of its own unless given")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        sys.setswitchinterval(SWITCH_S)
        uvloop.run(_recover(settings_reader.read(os.environ)))
    elif arguments.kafka:
        _rounds(arguments.kafka, arguments.rounds)
    else:
        with tempfile.TemporaryDirectory() as directory, running(KafkaNode(Path(directory))) as node:
            _rounds(node.bootstrap, arguments.rounds)


def _rounds(kafka: str, rounds: int) -> None:
    journey = SHIPPED
    logging.getLogger("aiokafka").setLevel("CRITICAL")  # a new topic has no leader at first; it tries again
    mean_bytes = asyncio.run(_fill(journey, Settings(kafka=kafka, group=GROUP)))
    print(f"recovery of {RECORDS:,} changelog records, {mean_bytes} bytes each", flush=True)
    seconds = []
    for _ in range(rounds):
        said = subprocess.run(
            [sys.executable, "-m", "tests.bench.recovery", "--worker"],
            env=environment(KAFKA=kafka, GROUP=GROUP, HTTP="127.0.0.1:0", SESSION_TIMEOUT_S="6")
            | ONE_BLAS_THREAD,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        found = json.loads(said.splitlines()[-1])
        assert round(found["seconds"] * found["events_per_s"]) >= RECORDS
        seconds.append(found["seconds"])
        print(f"{found['seconds']:5.2f} s  {found['events_per_s']:10,.0f} records/s  "
              f"{found['peak_mb']:6.0f} MB peak", flush=True)  # fmt: skip
    print(f"median: {statistics.median(seconds):.2f} s; goal: within {GOAL_S:g} s", flush=True)


async def _recover(settings: Settings) -> None:
    """One worker, as `touchpoint worker` runs it, until it owns what it has recovered."""
    worker = Worker(parse(settings.journey.read_text()), settings)
    stop = asyncio.Event()
    running_worker = asyncio.create_task(worker.run(stop))
    while (worker.app is None or not worker.app.rebalancing) and not running_worker.done():
        await asyncio.sleep(TICK_S)
    assert worker.app is not None
    while worker.app.consumer.assignment() == set() and not running_worker.done():
        await asyncio.sleep(TICK_S)
    began = time.perf_counter()
    while any(stage.owned is None for stage in worker.app.processors) and not running_worker.done():
        await asyncio.sleep(TICK_S)
    tell(worker.app.recovery_progress.records, time.perf_counter() - began)
    stop.set()
    await running_worker


async def _fill(journey: Journey, settings: Settings) -> int:
    """Write the changelog; returns the mean size of its records in bytes."""
    async with topics.connected(settings) as admin:
        counts = await topics.ensure(admin, journey, settings)
    stage = journey.stage(STAGE)
    changelog, partitions = topics.changelog_topic(settings.group, stage.name), counts[stage.topic]
    records = list(islice(_records(journey), RECORDS // partitions))
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka, acks="all", linger_ms=20, max_batch_size=131_072
    ) as producer:
        sent = []
        for key, value in records:
            for partition in range(partitions):
                sent.append(await producer.send(changelog, value, key, partition=partition))
        await asyncio.gather(*sent)
    assert len(sent) == RECORDS
    return sum(len(key) + len(value or b"") for key, value in records) // len(records)


def _records(journey: Journey) -> Iterator[PaneRecord]:
    """What one partition's owners write: the panes of the horizon, oldest first, each growing."""
    events = cycle(_events(journey))
    judge = Judge(journey, journey.stage(STAGE))
    now_ms = round(time.time() * 1000)
    slots = [now_ms - age for age in range(journey.horizon_ms - LONG.ms, SHORT.window_ms, -LONG.ms)]
    slots += [now_ms - age for age in range(SHORT.window_ms, 0, -SHORT.ms)]
    panes = Partition(journey.horizon_ms)
    panes.own(1)
    offset = 0
    for number, at_ms in enumerate(slots):
        if number == len(slots) // 2:
            panes.own(2)
        for _ in range(WRITES):
            run = [
                Positioned(offset + i, at_ms, event)
                for i, event in enumerate(islice(events, EVENTS_PER_WRITE))
            ]
            offset += EVENTS_PER_WRITE
            panes.fold(Run.of(run), partial(Tally, judge), now_ms)
            yield from panes.take_changes()
            yield from panes.take_stale()


def _events(journey: Journey) -> list[Event]:
    """Events of the stage as the simulator makes them."""
    stage = journey.stage(STAGE)
    codec = Codec(journey, stage)
    simulated = Simulator(journey, seed=1, start_ms=round(time.time() * 1000), rate=20).events()
    values = (event.value for event in simulated if event.topic == stage.topic)
    found = (codec.decode(value) for value in islice(values, DISTINCT))
    return [event for event in found if not isinstance(event, Refused)]


if __name__ == "__main__":
    main()
