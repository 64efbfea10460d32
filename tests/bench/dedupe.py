"""What `dedupe_s` costs: memory and time of the ids, the warm-up of a worker, and its share of folding.

The warm-up starts Apache Kafka and a worker, so it needs Java 17 (deploy/install-test-programs). Alone it is
run by `python -m tests.bench.dedupe`, a part of it by its name: `ids`, `fold` or `warmup`.
"""

import argparse
import asyncio
import dataclasses
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.kafka.kafka import KafkaNode
from monitor.counting.event import Codec
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from streams import settings as settings_reader
from streams.__main__ import COLLECT_AFTER, ONE_BLAS_THREAD
from streams.commands.shared import SWITCH_S
from streams.demo.simulator import Simulator
from streams.kafka import topics
from streams.kafka.outgoing import Outgoing
from streams.settings import SHIPPED_JOURNEY, Settings
from streams.state.dedupe import Sightings
from streams.state.stage import StageProcessor
from streams.worker import Worker, rest_collector
from tests.bench.load import DENSE_MS, STAGE, checkouts, publish
from tests.bench.report import peak_mb, tell
from tests.kit.brokers import running
from tests.kit.programs import environment
from tests.kit.shipped import SHIPPED

PER_S = 10_000
DEDUPE_S = 600
IDS_S = 900
"""Half as long again as ids are known: from 600 s on as many are dropped as come."""

BATCH = 4000
PARTITIONS = 4
RECORDS = 1_000_000
GROUP = "bench-dedupe"

FOLDED = 400_000
"""Distinct events a round, far more than the tail, so chunks are searched as well."""

TICK_S = 0.002


def main() -> None:
    """Print each part's figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.dedupe", description=__doc__)
    parser.add_argument("part", nargs="?", choices=["ids", "fold", "warmup"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--partitions", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        sys.setswitchinterval(SWITCH_S)
        uvloop.run(_warm_up(settings_reader.read(os.environ)))
    elif arguments.partitions:
        _ids(arguments.partitions)
    else:
        if arguments.part in (None, "ids"):
            for partitions in (1, 12):
                found = _process("ids", "--partitions", str(partitions))
                print(f"{PER_S:,} ids/s known for {DEDUPE_S} s, {partitions} partitions: "
                      f"{found['ids']:,} ids held, at most {found['peak_mb'] - found['before_mb']:.0f} MB, "
                      f"{1e9 / found['events_per_s']:,.0f} ns each, a batch of {BATCH:,} "
                      f"{found['median_ms']:.0f} ms (worst {found['worst_ms']:.0f})", flush=True)  # fmt: skip
        if arguments.part in (None, "fold"):
            asyncio.run(_fold(arguments.rounds))
        if arguments.part in (None, "warmup"):
            if shutil.which("java"):
                _warm_ups(arguments.rounds)
            else:
                print("warm-up: not measured, it needs Java 17")


def _process(*arguments: str, **settings: str) -> dict[str, Any]:
    said = subprocess.run(
        [sys.executable, "-m", "tests.bench.dedupe", *arguments],
        env=environment(**settings) | ONE_BLAS_THREAD,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


# -- the ids alone -----------------------------------------------------------------------------------


def _ids(partitions: int) -> None:
    """Distinct ids at an even pace, each partition's batch in turn; times are of this thread's own work."""
    sightings = [Sightings(DEDUPE_S * 1000) for _ in range(partitions)]
    before_mb = peak_mb()
    took_s: list[float] = []
    for number in range(IDS_S * PER_S // BATCH):
        first, turn = number * BATCH, number // partitions
        ids = [f"c-{i:012x}-checkout" for i in range(first, first + BATCH)]
        times_ms = [i * 1000 // PER_S for i in range(first, first + BATCH)]
        began_s = time.thread_time()
        repeated = sightings[number % partitions].see(range(turn * BATCH, (turn + 1) * BATCH), ids, times_ms)
        took_s.append(time.thread_time() - began_s)
        assert not any(repeated)
    held = sum(map(len, sightings))
    assert held >= DEDUPE_S * PER_S
    tell(
        IDS_S * PER_S,
        sum(took_s),
        ids=held,
        before_mb=before_mb,
        median_ms=1000 * statistics.median(took_s),
        worst_ms=1000 * max(took_s),
    )


# -- folding with and without ------------------------------------------------------------------------


async def _fold(rounds: int) -> None:
    """The same events with and without, in turn; the ratio of medians."""
    journey = SHIPPED
    stage = journey.stage(STAGE)
    now_ms = round(time.time() * 1000)
    simulated = Simulator(journey, seed=1, start_ms=now_ms - 600_000, rate=20).events()
    values = [event.value for event in islice((e for e in simulated if e.topic == stage.topic), 20_000)]
    events = list(_renamed(values))

    async def produce(records: Sequence[Outgoing]) -> Sequence[int]:
        return range(len(records))

    took_s: dict[int, list[float]] = {0: [], DEDUPE_S * 1000: []}
    for _ in range(rounds):
        for dedupe_ms, found in took_s.items():
            model = dataclasses.replace(stage, dedupe_ms=dedupe_ms)
            processor = StageProcessor(Codec(journey, model), "changelog", produce)
            await processor.own(frozenset({0}), 1, lambda: True)
            seconds = 0.0
            for first in range(0, FOLDED, BATCH):
                records = [
                    SimpleNamespace(
                        offset=first + i,
                        value=value,
                        key=None,
                        headers=(),
                        timestamp=now_ms + first // 10,
                        topic=stage.topic,
                        partition=0,
                    )
                    for i, value in enumerate(events[first : first + BATCH])
                ]
                began_s = time.thread_time()
                processor.fold(SimpleNamespace(value=records, partition=0, offset=first + BATCH - 1), now_ms)
                seconds += time.thread_time() - began_s
                await processor.flush(lambda _: None)
            assert processor.results["counted"] == FOLDED
            found.append(seconds)
    without, with_ids = (statistics.median(found) for found in took_s.values())
    print(
        f"folding {FOLDED:,} events: without {1e6 * without / FOLDED:.2f} µs each, with ids "
        f"{1e6 * with_ids / FOLDED:.2f} µs: {with_ids / without:.2f} times",
        flush=True,
    )


def _renamed(values: list[bytes]) -> Iterator[bytes]:
    """The events again and again, each with an id of its own."""
    for number in range(FOLDED):
        value = values[number % len(values)]
        start = value.index(b'"id":"') + 6
        yield value[:start] + b"%d-" % number + value[start:]


# -- the warm-up -------------------------------------------------------------------------------------


def _warm_ups(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name, running(KafkaNode(Path(name) / "kafka")) as node:
        file = Path(name) / "journey.yaml"
        file.write_text(
            SHIPPED_JOURNEY.read_text().replace(
                f"  {STAGE}:\n", f"  {STAGE}:\n    partitions: {PARTITIONS}\n    dedupe_s: 3600\n"
            )
        )
        asyncio.run(_prepare(node.bootstrap, parse(file.read_text())))
        for _ in range(rounds):
            found = _process(
                "--worker", KAFKA=node.bootstrap, GROUP=GROUP, JOURNEY=str(file), HTTP="127.0.0.1:0",
                SESSION_TIMEOUT_S="6",
            )  # fmt: skip
            print(f"{RECORDS:,} records read back: {found['seconds']:.1f} s, "
                  f"{1e6 / found['events_per_s']:.1f} µs each; a batch holds the loop "
                  f"{found['median_ms']:.0f} ms (worst {found['worst_ms']:.0f}); "
                  f"{found['peak_mb']:.0f} MB peak, {found['before_mb']:.0f} before", flush=True)  # fmt: skip


async def _prepare(kafka: str, journey: Journey) -> None:
    """A topic of events and a group that has committed them all."""
    settings = Settings(kafka=kafka, group=GROUP)
    async with topics.connected(settings) as admin:
        await topics.ensure(admin, journey, settings)
    topic = journey.stage(STAGE).topic
    await publish(kafka, checkouts(journey, RECORDS, DENSE_MS))
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=GROUP, enable_auto_commit=False)
    await consumer.start()
    ends = await consumer.end_offsets([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    assert sum(ends.values()) == RECORDS
    consumer.assign(list(ends))
    await consumer.commit(ends)
    await consumer.stop()


async def _warm_up(settings: Settings) -> None:
    """One worker, as `touchpoint worker` runs it, until the stage with ids is owned."""
    worker = Worker(parse(settings.journey.read_text()), settings)
    took_s: list[float] = []
    began_s: list[float] = []
    recall = StageProcessor.recall

    def timed(self: StageProcessor, sightings: Sightings, records: Sequence[Any], now_ms: int) -> None:
        began_s.append(time.perf_counter())
        start_s = time.thread_time()
        recall(self, sightings, records, now_ms)
        took_s.append(time.thread_time() - start_s)

    StageProcessor.recall = timed  # type: ignore[method-assign]
    gc.set_threshold(*COLLECT_AFTER)
    rest_collector()
    before_mb = peak_mb()
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    while (worker.app is None or any(one.owned is None for one in worker.app.stages)) and not working.done():
        await asyncio.sleep(TICK_S)
    seconds = time.perf_counter() - began_s[0]
    assert worker.app is not None
    stage = next(one for one in worker.app.stages if one.stage.name == STAGE)
    assert stage.results["counted"] == 0
    tell(
        RECORDS,
        seconds,
        before_mb=before_mb,
        median_ms=1000 * statistics.median(took_s),
        worst_ms=1000 * max(took_s),
    )
    stop.set()
    await working


if __name__ == "__main__":
    main()
