"""The load of the soak, a process of its own: what the broker acknowledged is what it reports, no more.

Each partition has one writer with one batch under way, and nobody else writes there: so the offset of every
record is known, and whether a batch whose answer got lost was written shows in the producer's own sequence
numbers or, should these fail, in the end of the partition. Commands come as JSON lines on standard input,
each is answered by one JSON line.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from monitor.counting.panes import LONG
from monitor.journey_file.model import Stage
from tests.soak.events import BASE, BLOCK_EVENTS, BLOCKS, Block, blocks, journey

MOST_BLOCKS = 10
"""Blocks of one batch when catching up: some 300 KB, well below the broker's limit of 1 MiB."""

REQUEST_MS = 120_000
"""How long a batch may wait for the broker. It is stopped for 30 s, and a loaded machine starts it slowly:
with aiokafka's 40 s the load gave up."""

LATE_MS = ((0, 94), (4 * 60_000, 3), (50 * 60_000, 2), (30 * 3_600_000, 1))
"""How late blocks are, and how often: late ones land in older panes."""


@dataclass(slots=True)
class Writer:
    """One partition and what was published to it."""

    stage: Stage
    partition: int
    blocks: list[Block]
    next_offset: int = 0
    sent_blocks: int = 0
    counted: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    """Blocks by (journey version, start of the long pane, number of the block)."""
    bad: list[int] = field(default_factory=list)
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Load:
    """All writers, and the commands that hold and resume them."""

    def __init__(self, producer: AIOKafkaProducer, per_s: float, partitions: int, seed: int) -> None:
        self._producer = producer
        self._rng = random.Random(seed)
        self._started_s = time.monotonic()
        self._version = BASE
        stages = journey(BASE).stages
        self._block_s = BLOCK_EVENTS / per_s * len(stages) * partitions
        self.writers = [
            Writer(stage, partition, stage_blocks)
            for stage in stages
            for stage_blocks in [blocks(stage, seed)]
            for partition in range(partitions)
        ]
        self._may_run = {stage.name: asyncio.Event() for stage in stages}
        for may_run in self._may_run.values():
            may_run.set()

    async def write(self, writer: Writer) -> None:
        """Publish block after block, at the pace asked for; faster while behind it."""
        may_run = self._may_run[writer.stage.name]
        while True:
            if not may_run.is_set():
                writer.idle.set()
                await may_run.wait()
            due = (time.monotonic() - self._started_s) / self._block_s - writer.sent_blocks
            if due < 1:
                await asyncio.sleep(min((1 - due) * self._block_s, 0.1))
                continue
            await self._batch(writer, min(int(due), MOST_BLOCKS))

    async def _batch(self, writer: Writer, size: int) -> None:
        batch = self._producer.create_batch()
        at_ms = round(time.time() * 1000)
        offset, key = writer.next_offset, b"%d" % writer.partition
        counted: Counter[tuple[str, int, int]] = Counter()
        bad = []
        for _ in range(size):
            late_ms = self._rng.choices([ms for ms, _ in LATE_MS], [weight for _, weight in LATE_MS])[0]
            block_ms = at_ms - late_ms
            stamp = datetime.fromtimestamp(block_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            time_text = b"%s.%03dZ" % (stamp.encode(), block_ms % 1000)
            number = self._rng.randrange(BLOCKS)
            for template in writer.blocks[number]:
                value = template.record(writer.partition, offset, time_text)
                if batch.append(key=key, value=value, timestamp=None) is None:
                    raise RuntimeError("a batch is too small for its blocks")
                if template.is_bad:
                    bad.append(offset)
                offset += 1
            counted[self._version, LONG.start_of(block_ms), number] += 1
        batch.close()
        sent = await self._producer.send_batch(batch, writer.stage.topic, partition=writer.partition)
        metadata = await sent
        if metadata is not None and metadata.offset not in (-1, writer.next_offset):
            raise RuntimeError(
                f"{writer.stage.topic} {writer.partition}: written at {metadata.offset}, "
                f"expected {writer.next_offset}: the load itself lost or doubled records"
            )
        writer.next_offset = offset
        writer.sent_blocks += size
        writer.counted.update(counted)
        writer.bad += bad

    async def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a command says; every answer tells the next offset of each partition."""
        names = command.get("stages") or list(self._may_run)
        concerned = [writer for writer in self.writers if writer.stage.name in names]
        if command["do"] == "hold":
            for name in names:
                self._may_run[name].clear()
            for writer in concerned:
                await writer.idle.wait()
        elif command["do"] == "resume":
            self._version = command.get("version", self._version)
            for writer in concerned:
                writer.idle.clear()
                self._may_run[writer.stage.name].set()
        elif command["do"] == "report":
            self._report(Path(command["file"]))
        return {"offsets": [[w.stage.topic, w.partition, w.next_offset] for w in self.writers]}

    def _report(self, file: Path) -> None:
        report = [
            {
                "stage": writer.stage.name,
                "partition": writer.partition,
                "counted": [[*key, n] for key, n in writer.counted.items()],
                "bad": writer.bad,
            }
            for writer in self.writers
        ]
        file.write_text(json.dumps(report))


async def _run(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async with AIOKafkaProducer(
        bootstrap_servers=arguments.kafka,
        acks="all",
        enable_idempotence=arguments.idempotent,
        max_batch_size=900_000,
        request_timeout_ms=REQUEST_MS,
        retry_backoff_ms=200,
    ) as producer:
        load = Load(producer, arguments.events_per_s, arguments.partitions, arguments.seed)

        async def obey() -> None:
            while line := await commands.readline():
                print(json.dumps(await load.obey(json.loads(line))), flush=True)

        obeying = asyncio.create_task(obey())
        writing = [asyncio.create_task(load.write(writer)) for writer in load.writers]
        done, _ = await asyncio.wait([obeying, *writing], return_when=asyncio.FIRST_COMPLETED)
        for task in writing:
            task.cancel()
        for task in done:
            task.result()


def main() -> None:
    """Runs until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.load")
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--events-per-s", type=float, required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--idempotent", action=argparse.BooleanOptionalAction, default=True)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
