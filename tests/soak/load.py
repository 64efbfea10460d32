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
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from monitor.counting.panes import LONG
from monitor.journey_file.model import Stage
from streams.kafka.topics import steps_topic
from tests.kit.batches import STRANGE, made_strange, send_strange
from tests.soak import poison
from tests.soak.account import GROUP
from tests.soak.events import BASE, BLOCK_EVENTS, BLOCKS, Block, blocks, journey

MOST_BLOCKS = 10
"""Blocks of one batch when catching up: some 300 KB, well below the broker's limit of 1 MiB."""

REQUEST_MS = 120_000
"""How long a batch may wait for the broker. It is stopped for 30 s, and a loaded machine starts it slowly:
with aiokafka's 40 s the load gave up."""

TRANSACTION_MS = 600_000
"""Longer than any is left open here; then Kafka would abort it."""

LATE_MS = ((0, 94), (4 * 60_000, 3), (50 * 60_000, 2), (30 * 3_600_000, 1))
"""How late blocks are, and how often: late ones land in older panes."""


Headers = Sequence[tuple[str, bytes]]


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
    incarnation: int = 0
    """How often its topic has been deleted and created again."""
    bad: list[tuple[int, int]] = field(default_factory=list)
    """Incarnation and offset of what must be refused."""
    poison: Counter[str] = field(default_factory=Counter)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    work: deque[Callable[[], Awaitable[None]]] = field(default_factory=deque)
    """What else is to be written, between two batches."""

    @property
    def place(self) -> TopicPartition:
        """Where it writes."""
        return TopicPartition(self.stage.topic, self.partition)


@dataclass(slots=True)
class Filled:
    """What stands in a batch: how many records, and which of them count or must be refused."""

    size: int = 0
    counted: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    bad: list[int] = field(default_factory=list)


class Load:
    """All writers, and the commands that hold and resume them."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        producers: dict[str | None, AIOKafkaProducer],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._kafka, self._producers, self._tasks = arguments.kafka, producers, tasks
        self._seed = seed = arguments.seed
        self._rng = random.Random(seed)
        self._started_s = time.monotonic()
        self._version = BASE
        self._transactions = 0
        self._open: tuple[Writer, AIOKafkaProducer, Filled] | None = None
        stages, partitions = journey(BASE).stages, arguments.partitions
        self._block_s = BLOCK_EVENTS / arguments.events_per_s * len(stages) * partitions
        for stage in stages:
            poison.require_refused(stage)
        self.writers = [
            Writer(stage, partition, stage_blocks)
            for stage in stages
            for stage_blocks in [blocks(stage, seed)]
            for partition in range(partitions)
        ]
        self._may_run = {stage.name: asyncio.Event() for stage in stages}
        for may_run in self._may_run.values():
            may_run.set()
        self._writing = [tasks.create_task(self.write(writer)) for writer in self.writers]

    def end(self) -> None:
        """Write no more."""
        for task in self._writing:
            task.cancel()

    def _due(self) -> float:
        return float((time.monotonic() - self._started_s) / self._block_s)

    async def write(self, writer: Writer) -> None:
        """Publish block after block, at the pace asked for; faster while behind it."""
        may_run = self._may_run[writer.stage.name]
        while True:
            if writer.work:
                await writer.work[0]()
                writer.work.popleft()
                continue
            if not may_run.is_set():
                writer.idle.set()
                await may_run.wait()
            due = self._due() - writer.sent_blocks
            if due < 1:
                await asyncio.sleep(min((1 - due) * self._block_s, 0.1))
                continue
            await self._batch(writer, min(int(due), MOST_BLOCKS))

    async def _batch(self, writer: Writer, size: int) -> None:
        batch = self._plain.create_batch()
        filled = self._fill(batch, writer, size)
        await self._publish(self._plain, batch, writer, filled)
        self._note(writer, filled)
        writer.sent_blocks += size

    @property
    def _plain(self) -> AIOKafkaProducer:
        return self._producers[None]

    def _fill(self, batch: Any, writer: Writer, size: int, headers: Headers = ()) -> Filled:
        at_ms = round(time.time() * 1000)
        offset, series = writer.next_offset, b"%d-%d" % (writer.incarnation, writer.partition)
        filled = Filled()
        for _ in range(size):
            late_ms = self._rng.choices([ms for ms, _ in LATE_MS], [weight for _, weight in LATE_MS])[0]
            block_ms = at_ms - late_ms
            stamp = datetime.fromtimestamp(block_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            time_text = b"%s.%03dZ" % (stamp.encode(), block_ms % 1000)
            number = self._rng.randrange(BLOCKS)
            for template in writer.blocks[number]:
                at = offset + filled.size
                value = template.record(series, at, time_text)
                if batch.append(key=series, value=value, timestamp=None, headers=list(headers)) is None:
                    raise RuntimeError("a batch is too small for its blocks")
                if template.is_bad:
                    filled.bad.append(at)
                filled.size += 1
            filled.counted[self._version, LONG.start_of(block_ms), number] += 1
        return filled

    async def _publish(self, producer: AIOKafkaProducer, batch: Any, writer: Writer, filled: Filled) -> None:
        batch.close()
        metadata = await (await producer.send_batch(batch, writer.stage.topic, partition=writer.partition))
        if metadata is not None and metadata.offset not in (-1, writer.next_offset):
            raise RuntimeError(
                f"{writer.stage.topic} {writer.partition}: written at {metadata.offset}, "
                f"expected {writer.next_offset}: the load itself lost or doubled records"
            )
        writer.next_offset += filled.size

    def _note(self, writer: Writer, filled: Filled) -> None:
        """What was published counts."""
        writer.counted.update(filled.counted)
        writer.bad += [(writer.incarnation, offset) for offset in filled.bad]

    # -- poison --------------------------------------------------------------------------------------

    async def _poison(self) -> None:
        """Each kind somewhere between the next batches; at once in what else workers read."""
        for kind in poison.ALL:
            writer = self._rng.choice(self.writers)
            write = self._strange if kind == poison.STRANGE_HEADERS else self._refused
            writer.work.append(partial(write, writer, kind))
        for topic in (journey(BASE).changes_topic, steps_topic(GROUP)):
            await send_strange(self._plain, topic, b"neither a change nor a step")

    async def _refused(self, writer: Writer, kind: str) -> None:
        packing = "zstd" if kind in poison.BOMBS else None
        batch = self._producers[packing].create_batch()
        value = (poison.KINDS | poison.BOMBS)[kind](writer.stage)
        batch.append(key=b"poison", value=value, timestamp=None)
        filled = Filled(1, bad=[writer.next_offset])
        await self._publish(self._producers[packing], batch, writer, filled)
        self._note(writer, filled)
        writer.poison[kind] += 1

    async def _strange(self, writer: Writer, kind: str) -> None:
        batch = made_strange(self._plain.create_batch())
        filled = self._fill(batch, writer, 1, [(STRANGE, b"v")])
        await self._publish(self._plain, batch, writer, filled)
        self._note(writer, filled)
        writer.poison[kind] += filled.size

    # -- transactions --------------------------------------------------------------------------------

    async def _begin(self, writer: Writer) -> None:
        """Write a block in a transaction, and leave that open."""
        self._transactions += 1
        producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka,
            transactional_id=f"soak-{self._transactions}",
            transaction_timeout_ms=TRANSACTION_MS,
            max_batch_size=900_000,
        )
        await producer.start()
        await producer.begin_transaction()
        batch = producer.create_batch()
        filled = self._fill(batch, writer, 1)
        await self._publish(producer, batch, writer, filled)
        self._open = writer, producer, filled

    async def _end(self, *, commit: bool) -> None:
        """Only what is committed counts. Its marker takes an offset of its own."""
        assert self._open is not None
        writer, producer, filled = self._open
        await (producer.commit_transaction() if commit else producer.abort_transaction())
        await producer.stop()
        writer.next_offset += 1
        async with AIOKafkaConsumer(bootstrap_servers=self._kafka) as consumer, asyncio.timeout(60):
            while True:
                ends = await consumer.end_offsets([writer.place])
                if ends[writer.place] == writer.next_offset:
                    break
                await asyncio.sleep(0.05)
        if commit:
            self._note(writer, filled)
        self._open = None

    # -- commands ------------------------------------------------------------------------------------

    async def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a command says; every answer tells the next offset of each partition."""
        names = command.get("stages") or list(self._may_run)
        concerned = [writer for writer in self.writers if writer.stage.name in names]
        match command["do"]:
            case "hold":
                for name in names:
                    self._may_run[name].clear()
                for writer in concerned:
                    await writer.idle.wait()
            case "resume":
                self._version = command.get("version", self._version)
                for writer in concerned:
                    writer.idle.clear()
                    self._may_run[writer.stage.name].set()
            case "report":
                self._report(Path(command["file"]))
            case "poison":
                await self._poison()
            case "begin":
                await self._between(concerned[0], partial(self._begin, concerned[0]))
            case "end":
                assert self._open is not None
                await self._between(self._open[0], partial(self._end, commit=command["commit"]))
            case "grown":
                await self._grow(concerned, command["partitions"])
            case "recreated":
                for writer in concerned:
                    writer.incarnation, writer.next_offset = writer.incarnation + 1, 0
        return {"offsets": [[w.stage.topic, w.partition, w.next_offset] for w in self.writers]}

    async def _between(self, writer: Writer, write: Callable[[], Awaitable[None]]) -> None:
        """Write something between two batches of a partition, and wait for it."""
        done = asyncio.Event()

        async def written() -> None:
            await write()
            done.set()

        writer.work.append(written)
        await done.wait()

    async def _grow(self, writers: list[Writer], partitions: int) -> None:
        """A stage has been given more partitions."""
        first = writers[0]
        for producer in self._producers.values():
            while len(await producer.partitions_for(first.stage.topic)) < partitions:
                await producer.client.force_metadata_update()
        for partition in range(len(writers), partitions):
            writer = Writer(first.stage, partition, first.blocks, sent_blocks=int(self._due()))
            writer.incarnation = first.incarnation
            self.writers.append(writer)
            self._writing.append(self._tasks.create_task(self.write(writer)))

    def _report(self, file: Path) -> None:
        report = [
            {
                "stage": writer.stage.name,
                "partition": writer.partition,
                "counted": [[*key, n] for key, n in writer.counted.items()],
                "bad": writer.bad,
                "poison": writer.poison,
            }
            for writer in self.writers
        ]
        file.write_text(json.dumps(report))


async def _run(arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    producers = {
        packing: AIOKafkaProducer(
            bootstrap_servers=arguments.kafka,
            acks="all",
            enable_idempotence=arguments.idempotent,
            compression_type=packing,
            max_batch_size=900_000,
            request_timeout_ms=REQUEST_MS,
            retry_backoff_ms=200,
        )
        for packing in (None, "zstd")
    }
    async with producers[None], producers["zstd"], asyncio.TaskGroup() as tasks:
        load = Load(arguments, producers, tasks)
        while line := await commands.readline():
            print(json.dumps(await load.obey(json.loads(line))), flush=True)
        load.end()


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
