"""A million open journeys: the memory they take, the speed that is left, what taking them over costs."""

import argparse
import asyncio
import gc
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import IO
from uuid import UUID

import msgspec
import uvloop
from msgspec.structs import replace

from monitor.counting.times import epoch_ms
from monitor.journeys.step import GRACE_MS, Step, Steps, encode
from streams.__main__ import COLLECT_AFTER
from streams.clock import now_ms
from streams.demo.simulator import Simulator
from streams.journeys.processor import Extent, JourneyProcessor
from streams.kafka.outgoing import Outgoing
from streams.state.partition import PaneRecord
from streams.state.steps import partition_of
from streams.worker import rest_collector
from tests.bench.journeys import HOUR_MS, as_steps
from tests.bench.report import child, peak_mb, resident_mb, said, say
from tests.kit.shipped import SHIPPED as JOURNEY

MODULE = "tests.bench.open_journeys"

PARTITIONS = 12
OPEN = (10_000, 1_000_000)
FURTHER = 1_000
"""Steps of a round, none to a journey that got one before: journeys must not grow longer where fewer are."""

FILL_BLOCK = 10_000
"""Journeys whose first steps are written before further ones come."""

FILL_MS = 20 * HOUR_MS
"""What is promised is due from 24 hours on, so all of them are open when the last one has begun."""

STEPS_PER_RECORD = 100
TEMPLATES = 500

GOAL_MB = 1024
GOAL_SHARE = 0.9

READ = 4_000
"""Changelog records of one batch."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--open", type=int, nargs="+", default=OPEN, help="how many journeys are held")
    parser.add_argument("--hold", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.file is None:
        _open(arguments.open)
    else:
        uvloop.run(_hold(arguments.hold, arguments.file) if arguments.hold else _recover(arguments.file))


def _open(numbers: Sequence[int]) -> None:
    """Memory and speed with few and with many open journeys, in turn; then what taking them over costs."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        children: dict[int, subprocess.Popen[str]] = {}
        for number in numbers:
            file = Path(directory) / str(number)
            children[number] = stack.enter_context(child(MODULE, "--hold", str(number), "--file", str(file)))
            told = said(children[number])
            print(f"{number:9,} open journeys of {told['steps'] / number:.1f} steps: "
                  f"{told['resident_mb']:.0f} MB, {told['before_mb']:.0f} before; made at "
                  f"{told['steps_per_s']:,.0f} steps/s; {told['bytes'] / number:.0f} bytes each in the "
                  f"changelog", flush=True)  # fmt: skip
        took_us: dict[int, list[float]] = {number: [] for number in numbers}
        for _ in range(min(numbers) // FURTHER):
            for number, process in children.items():
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
                took_us[number].append(said(process)["us"])
        medians = {number: statistics.median(found) for number, found in took_us.items()}
        print("a further step to a random one: " + ", ".join(
            f"{us:.1f} µs of {number:,}" for number, us in medians.items()), flush=True)  # fmt: skip
        few, many = min(numbers), max(numbers)
        print(f"throughput {medians[few] / medians[many]:.2f} times that of {few:,}, goal {GOAL_SHARE} and "
              f"more; memory goal: at most {GOAL_MB} MB", flush=True)  # fmt: skip
        for process in children.values():
            process.communicate()
        with child(MODULE, "--file", str(Path(directory) / str(many))) as process:
            told = said(process)
        print(f"recovery of {told['journeys']:,} journeys: read in {told['read_s']:.1f} s, taken over in "
              f"{told['own_s']:.1f} s; the loop held for {told['batch_ms']:.0f} ms by a batch of {READ:,}, "
              f"{told['held_ms']:.0f} ms by taking over (at most); {told['resident_mb']:.0f} MB, "
              f"{told['peak_mb']:.0f} MB peak", flush=True)  # fmt: skip


class Keeper:
    """A processor of journeys without Kafka; what it writes goes into a file, when there is one."""

    def __init__(self) -> None:
        source = (JOURNEY.stages[0].name, 0)
        self.processor = JourneyProcessor(
            JOURNEY, "steps", "changelog", self._produce, Extent(frozenset([source]), PARTITIONS, 2**40)
        )
        self._source = source
        self._offset = 0
        self.written: list[tuple[int, bytes, bytes | None]] | None = None

    async def _produce(self, records: Sequence[Outgoing]) -> Sequence[int]:
        if self.written is not None:
            for record in records:
                assert record.partition is not None
                assert record.key is not None
                self.written.append((record.partition, record.key, record.value))
        return range(len(records))

    async def own(self) -> None:
        """Take over all partitions."""
        await self.processor.own(frozenset(range(PARTITIONS)), 1, lambda: True)

    async def take(self, steps: Sequence[Step], mark_ms: int) -> float:
        """Send steps to whoever keeps their journeys; seconds of this thread's work, writing included."""
        by_partition = sorted(steps, key=lambda step: partition_of(step.journey_id, PARTITIONS))
        spent_s = 0.0
        for partition, group in groupby(by_partition, lambda step: partition_of(step.journey_id, PARTITIONS)):
            some = list(group)
            records = []
            for start in range(0, len(some), STEPS_PER_RECORD):
                self._offset += 1
                value = encode(Steps(*self._source, mark_ms, tuple(some[start : start + STEPS_PER_RECORD])))
                records.append(
                    SimpleNamespace(offset=self._offset, value=value, timestamp=0, partition=partition)
                )
            began_s = time.thread_time()
            self.processor.fold(SimpleNamespace(value=records, partition=partition), 0)
            spent_s += time.thread_time() - began_s
        began_s = time.thread_time()
        await self.processor.flush(lambda _: None)
        return spent_s + time.thread_time() - began_s


async def _hold(number: int, file: Path) -> None:
    """Hold so many open journeys, then take a round of further steps for every line of standard input."""
    start_ms = now_ms() - FILL_MS
    templates = _templates(start_ms)
    before_mb = resident_mb()
    gc.set_threshold(*COLLECT_AFTER)
    rest_collector()
    keeper = Keeper()
    await keeper.own()
    steps, size, seconds = 0, 0, 0.0
    with file.open("wb") as changelog:
        for first in range(0, number, FILL_BLOCK):
            block = [
                _renamed(templates[n % len(templates)], n, start_ms + FILL_MS * n // number)
                for n in range(first, min(first + FILL_BLOCK, number))
            ]
            mark_ms = block[0][0].at_ms - GRACE_MS
            seconds += await keeper.take([one[0] for one in block], mark_ms)
            keeper.written = []
            seconds += await keeper.take([step for one in block for step in one[1:]], mark_ms)
            for frame in _frames(keeper.written):
                changelog.write(frame)
            size += sum(len(value or b"") for _, _, value in keeper.written)
            keeper.written = None
            steps += sum(map(len, block))
    held = keeper.processor.snapshot(now_ms(), ()).open_journeys
    assert (held, keeper.processor.results["counted"]) == (number, steps)
    del block
    say(resident_mb=resident_mb(), before_mb=before_mb, steps=steps, steps_per_s=steps / seconds, bytes=size)
    shuffled = random.Random(1).sample(range(number), number)
    for turn, _ in enumerate(sys.stdin):
        chosen = shuffled[turn * FURTHER : (turn + 1) * FURTHER]
        further = [_call(_id(n), n, now_ms()) for n in chosen]
        say(us=1e6 * await keeper.take(further, 0) / FURTHER)
    assert keeper.processor.snapshot(now_ms(), ()).open_journeys == number


def _id(number: int) -> str:
    """As a service would give them: nothing of one tells the next."""
    return str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def _templates(start_ms: int) -> list[list[Step]]:
    """Journeys of two or three steps with a promise and a hand-over that is still to be received."""
    begun: dict[str, Step] = {}
    found: list[list[Step]] = []
    for _, step in as_steps(Simulator(JOURNEY, seed=1, start_ms=start_ms, rate=0.1).events()):
        if step is not None and step.stage == "web_checkout":
            begun[step.journey_id] = step
        elif step is not None and step.promise and step.handoff and step.journey_id in begun:
            call = _call(step.journey_id, step.offset, step.at_ms + HOUR_MS)
            found.append([begun[step.journey_id], step, *([call] if len(found) % 2 else [])])
            if len(found) == TEMPLATES:
                break
    return found


def _renamed(template: Sequence[Step], number: int, at_ms: int) -> list[Step]:
    """The same journey as of another customer at another time."""
    journey_id, later_ms = _id(number), at_ms - template[0].at_ms
    steps = []
    for step in template:
        promise, handoff = step.promise, step.handoff
        if promise is not None:
            assert promise.due is not None
            due = datetime.fromtimestamp((epoch_ms(promise.due) + later_ms) / 1000, UTC)
            promise = replace(promise, id=f"p-{journey_id}", due=due)
        if handoff is not None:
            handoff = replace(handoff, id=f"h-{journey_id}")
        steps.append(
            replace(
                step, journey_id=journey_id, offset=number, at_ms=step.at_ms + later_ms, promise=promise,
                handoff=handoff,
            )
        )  # fmt: skip
    return steps


def _call(journey_id: str, offset: int, at_ms: int) -> Step:
    """The customer asks where it stays."""
    return Step(journey_id, "call_queue", 1, offset, at_ms, "ok", 2, (), "new", "phone", initiator="customer")


Written = tuple[int, bytes, bytes | None]
"""Partition, key and value of a changelog record."""

_encode_some = msgspec.msgpack.Encoder().encode
_decode_some = msgspec.msgpack.Decoder(list[Written]).decode


def _frames(records: Sequence[Written]) -> Iterator[bytes]:
    """Batches of a partition's records, as a fetch brings them, each behind its length."""
    for _, group in groupby(sorted(records, key=lambda one: one[0]), lambda one: one[0]):
        some = list(group)
        for start in range(0, len(some), READ):
            frame = _encode_some(some[start : start + READ])
            yield len(frame).to_bytes(4, "big") + frame


def _read_frames(file: IO[bytes]) -> Iterator[list[Written]]:
    while length := file.read(4):
        yield _decode_some(file.read(int.from_bytes(length, "big")))


async def _recover(file: Path) -> None:
    """Read a changelog, become the owner; how long this thread worked without a turn for anybody else."""
    rest_collector()
    keeper = Keeper()
    read_s: list[float] = []
    with file.open("rb") as changelog:
        for some in _read_frames(changelog):
            records = [PaneRecord(key, value) for _, key, value in some]
            began_s = time.thread_time()
            keeper.processor.restore(some[0][0], records)
            read_s.append(time.thread_time() - began_s)
    held_s = [0.0]

    async def watch() -> None:
        while True:
            left_s = time.thread_time()
            await asyncio.sleep(0)
            held_s.append(time.thread_time() - left_s)

    watching = asyncio.create_task(watch())
    began_s = time.thread_time()
    await keeper.own()
    own_s = time.thread_time() - began_s
    watching.cancel()
    say(
        journeys=keeper.processor.snapshot(now_ms(), ()).open_journeys,
        read_s=sum(read_s),
        batch_ms=1000 * max(read_s),
        own_s=own_s,
        held_ms=1000 * max(held_s),
        resident_mb=resident_mb(),
        peak_mb=peak_mb(),
    )


if __name__ == "__main__":
    main()
