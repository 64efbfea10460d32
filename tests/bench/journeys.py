"""What whole journeys cost: events a second with and without them, a step by itself, a million open journeys.

The whole worker runs on the embedded broker. Alone it is run by `python -m tests.bench.journeys`, a part of
it by its name: `worker`, `steps` or `open`.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from uuid import UUID

import msgspec
import uvloop
from msgspec.structs import replace

from monitor.event import Codec, Event, epoch_ms
from monitor.journey import Journey
from monitor.journey_counters import CounterTally
from monitor.journey_file import parse
from monitor.judging import Judge
from monitor.open_journey import JourneyRules
from monitor.publisher import Publisher
from monitor.simulator import SimulatedEvent, Simulator
from monitor.steps import GRACE_MS, Step, Steps, decode, encode, step_of
from streams import settings as settings_reader
from streams import topics
from streams.command import ONE_BLAS_THREAD, SWITCH_S
from streams.embedded import EmbeddedBroker
from streams.journey_partition import JourneyPartition
from streams.journey_processor import JourneyProcessor
from streams.outgoing import Outgoing
from streams.partition import PaneRecord
from streams.settings import SHIPPED_JOURNEY, Settings
from streams.step_sender import StepSender, partition_of
from streams.worker import Worker, rest_collector
from tests.bench.report import peak_mb, tell
from tests.programs import environment

JOURNEY = parse(SHIPPED_JOURNEY.read_text())

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

EVENTS = 100_000
DAYS = 7
"""Of simulated traffic: in so long most journeys begun are over, and none of it is too old to be counted."""

EVENTS_PER_DAY = 2_700_000
"""That the shipped file expects, about; the simulator's rate is set from it."""

EVENTS_PER_FLUSH = 500
STEP_PARTITIONS = 4
"""As topics have unless told otherwise."""

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

TICK_S = 0.005


def main() -> None:
    """Print each part's figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.journeys", description=__doc__)
    parser.add_argument("part", nargs="?", choices=["worker", "steps", "open"])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the whole worker")
    parser.add_argument("--open", type=int, nargs="+", default=OPEN, help="how many journeys are held")
    parser.add_argument("--child", choices=["worker", "hold", "recover"], help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, nargs="*", default=(), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child == "worker":
        sys.setswitchinterval(SWITCH_S)
        uvloop.run(_work(settings_reader.read(os.environ), *arguments.number))
    elif arguments.child == "hold":
        uvloop.run(_hold(arguments.number[0], arguments.file))
    elif arguments.child == "recover":
        uvloop.run(_recover(arguments.file))
    else:
        if arguments.part in (None, "worker"):
            _workers(arguments.rounds)
        if arguments.part in (None, "steps"):
            _steps(arguments.rounds)
        if arguments.part in (None, "open"):
            _open(arguments.open)


def _child(kind: str, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.bench.journeys", "--child", kind, *arguments],
        env=environment(**settings) | ONE_BLAS_THREAD,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _said(child: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line a child says."""
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, f"exit code {child.wait()}"
    found: dict[str, Any] = json.loads(line)
    return found


def _traffic(start_ms: int) -> list[SimulatedEvent]:
    rate = EVENTS / (DAYS * EVENTS_PER_DAY)
    return list(islice(Simulator(JOURNEY, seed=1, start_ms=start_ms, rate=rate).events(), EVENTS))


# -- the whole worker --------------------------------------------------------------------------------


def _workers(rounds: int) -> None:
    """The same events with and without the section, in turn; the ratio of medians."""
    events = [one for one in _traffic(_now_ms() - DAYS * DAY_MS) if one.at_ms < _now_ms()]
    steps = sum(b'"journey_id"' in one.value for one in events)
    shipped = SHIPPED_JOURNEY.read_text()
    texts = {"with": shipped, "without": re.sub(r"(?m)^journeys:\n((  .*)?\n)*", "", shipped)}
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in texts}
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            for kind, text in texts.items():
                file = Path(directory) / f"{kind}.yaml"
                file.write_text(text)
                assert (parse(text).journeys is None) == (kind == "without")
                said = _worker_round(file, events, steps if kind == "with" else 0, directory)
                found[kind].append(said)
                print(f"journeys {kind:7} {said['events_per_s']:9,.0f} events/s  {said['cpu_us']:4.0f} µs of "
                      f"CPU each  {said['peak_mb']:4.0f} MB peak", flush=True)  # fmt: skip
    for what, unit in (("events_per_s", "events/s"), ("cpu_us", "µs of CPU each")):
        without, with_journeys = (
            statistics.median(one[what] for one in found[kind]) for kind in ("without", "with")
        )
        print(
            f"{len(events):,} events, {steps:,} of them steps: median without journeys {without:,.0f} "
            f"{unit}, with {with_journeys:,.0f}: {with_journeys / without:.2f} times",
            flush=True,
        )


def _worker_round(file: Path, events: Sequence[SimulatedEvent], steps: int, directory: str) -> dict[str, Any]:
    broker = EmbeddedBroker()
    broker.start()
    try:
        asyncio.run(_publish(broker.bootstrap, parse(file.read_text()), events))
        settings = {"KAFKA": broker.bootstrap, "JOURNEY": str(file), "STATE_DIR": directory}
        numbers = ("--number", str(len(events)), str(steps))
        with _child("worker", *numbers, HTTP="127.0.0.1:0", SESSION_TIMEOUT_S="6", **settings) as child:
            return _said(child)
    finally:
        broker.stop()


async def _publish(bootstrap: str, journey: Journey, events: Sequence[SimulatedEvent]) -> None:
    settings = Settings(kafka=bootstrap)
    async with topics.connected(settings) as admin:
        await topics.ensure(admin, journey, settings)
    async with Publisher(bootstrap, idempotent=False) as publisher:
        for event in events:
            await publisher.send(event.topic, event.key, event.value)


async def _work(settings: Settings, events: int, steps: int) -> None:
    """One worker, as `touchpoint worker` runs it, from its first event to its last acknowledgement."""
    worker = Worker(parse(settings.journey.read_text()), settings)
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    while worker.app is None and not running.done():
        await asyncio.sleep(TICK_S)
    assert worker.app is not None
    stages, journeys, processors = worker.app.stages, worker.app.journeys, worker.app.processors

    def counted() -> int:
        return sum(one.results["counted"] for one in stages)

    def taken() -> int:
        return 0 if journeys is None else journeys.results["counted"]

    while not counted() and not running.done():
        await asyncio.sleep(TICK_S)
    began, began_cpu_s, first = time.perf_counter(), time.process_time(), counted()
    while counted() < events or taken() < steps or any(one.unwritten for one in processors):
        assert not running.done()
        await asyncio.sleep(TICK_S)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu_s
    assert (counted(), taken()) == (events, steps)
    tell(events - first, seconds, cpu_us=1e6 * cpu_s / (events - first))
    stop.set()
    await running


# -- a step by itself --------------------------------------------------------------------------------


def _steps(rounds: int) -> None:
    """What one step costs whoever keeps its journey, without Kafka; times are of this thread's own work."""
    records = list(_records(_traffic(_now_ms() - DAYS * DAY_MS)))
    steps = sum(len(decode(value).steps) for _, value in records)
    took_us: list[dict[str, float]] = []
    rest_collector()
    for _ in range(rounds):
        spent_s, kept = _keep(records)
        took_us.append({what: 1e6 * seconds / steps for what, seconds in spent_s.items()})
    medians = {what: statistics.median(one[what] for one in took_us) for what in took_us[0]}
    print(
        f"{steps:,} steps of {kept:,} journeys, {steps / len(records):.0f} in a record, µs each: "
        + ", ".join(f"{what} {us:.1f}" for what, us in medians.items())
        + f"; together {sum(medians.values()):.1f}",
        flush=True,
    )


def _records(events: Sequence[SimulatedEvent]) -> Iterator[tuple[int, bytes]]:
    """Partition and value of records of the steps topic, as the stages send them on."""
    senders = {
        stage.topic: StepSender(stage.name, "steps", STEP_PARTITIONS, lambda *_: False)
        for stage in JOURNEY.stages
    }
    for offset, (event, step) in enumerate(_as_steps(events)):
        sender = senders[event.topic]
        if step is not None:
            sender.add(step)
        sender.note(0, offset, event.at_ms)
        if (offset + 1) % EVENTS_PER_FLUSH == 0:
            for sender in senders.values():
                for record in sender.take([0], event.at_ms):
                    assert record.partition is not None
                    assert record.value is not None
                    yield record.partition, record.value


def _as_steps(events: Iterable[SimulatedEvent]) -> Iterator[tuple[SimulatedEvent, Step | None]]:
    """Each event, and its step if it is one of a journey."""
    judges = {stage.topic: (Codec(JOURNEY, stage), Judge(JOURNEY, stage)) for stage in JOURNEY.stages}
    for offset, simulated in enumerate(events):
        codec, judge = judges[simulated.topic]
        event = codec.decode(simulated.value)
        assert isinstance(event, Event)
        is_step = event.journey_id is not None
        yield simulated, step_of(event, 0, offset, judge.judge(event)) if is_step else None


def _keep(records: Sequence[tuple[int, bytes]]) -> tuple[dict[str, float], int]:
    """Seconds spent on each part of the work, and how many journeys there were."""
    rules, sources = JourneyRules(JOURNEY), frozenset((stage.name, 0) for stage in JOURNEY.stages)
    held = [JourneyPartition(rules, sources, JOURNEY.horizon_ms) for _ in range(STEP_PARTITIONS)]
    for one in held:
        asyncio.run(one.own(1, lambda: True))
    spent_s = {"reading": 0.0, "taking": 0.0, "counting": 0.0, "writing": 0.0}
    journeys: set[str] = set()
    unwritten = 0
    at_s = time.thread_time()

    def spend(what: str) -> None:
        nonlocal at_s
        now_s = time.thread_time()
        spent_s[what] += now_s - at_s
        at_s = now_s

    for offset, (partition, value) in enumerate(records):
        kept = held[partition]
        spend("reading")
        record = decode(value)
        spend("reading")
        taken = kept.take(offset, record)
        spend("taking")
        if taken.made:
            kept.panes.fold(taken.made, CounterTally, kept.clock_ms)
        spend("counting")
        unwritten += taken.steps
        if unwritten >= EVENTS_PER_FLUSH:
            unwritten = 0
            for one in held:
                one.take_changes()
                one.take_stale()
            spend("writing")
        journeys.update(step.journey_id for step in record.steps)
        at_s = time.thread_time()
    return spent_s, len(journeys)


# -- open journeys -----------------------------------------------------------------------------------


def _open(numbers: Sequence[int]) -> None:
    """Memory and speed with few and with many open journeys, in turn; then what taking them over costs."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        children: dict[int, subprocess.Popen[str]] = {}
        for number in numbers:
            file = Path(directory) / str(number)
            children[number] = stack.enter_context(
                _child("hold", "--number", str(number), "--file", str(file))
            )
            said = _said(children[number])
            print(f"{number:9,} open journeys of {said['steps'] / number:.1f} steps: "
                  f"{said['resident_mb']:.0f} MB, {said['before_mb']:.0f} before; made at "
                  f"{said['steps_per_s']:,.0f} steps/s; {said['bytes'] / number:.0f} bytes each in the "
                  f"changelog", flush=True)  # fmt: skip
        took_us: dict[int, list[float]] = {number: [] for number in numbers}
        for _ in range(min(numbers) // FURTHER):
            for number, child in children.items():
                assert child.stdin is not None
                child.stdin.write("go\n")
                child.stdin.flush()
                took_us[number].append(_said(child)["us"])
        medians = {number: statistics.median(found) for number, found in took_us.items()}
        print("a further step to a random one: " + ", ".join(
            f"{us:.1f} µs of {number:,}" for number, us in medians.items()), flush=True)  # fmt: skip
        few, many = min(numbers), max(numbers)
        print(f"throughput {medians[few] / medians[many]:.2f} times that of {few:,}, goal {GOAL_SHARE} and "
              f"more; memory goal: at most {GOAL_MB} MB", flush=True)  # fmt: skip
        for child in children.values():
            child.communicate()
        with _child("recover", "--file", str(Path(directory) / str(many))) as child:
            said = _said(child)
        print(f"recovery of {said['journeys']:,} journeys: read in {said['read_s']:.1f} s, taken over in "
              f"{said['own_s']:.1f} s; the loop held for {said['batch_ms']:.0f} ms by a batch of {READ:,}, "
              f"{said['held_ms']:.0f} ms by taking over (at most); {said['resident_mb']:.0f} MB, "
              f"{said['peak_mb']:.0f} MB peak", flush=True)  # fmt: skip


class Keeper:
    """A processor of journeys without Kafka; what it writes goes into a file, when there is one."""

    def __init__(self) -> None:
        source = (JOURNEY.stages[0].name, 0)
        self.processor = JourneyProcessor(
            JOURNEY, "steps", "changelog", self._produce, frozenset([source]), PARTITIONS
        )
        self._source = source
        self._offset = 0
        self._done = asyncio.get_running_loop().create_future()
        self._done.set_result(None)
        self.written: list[tuple[int, bytes, bytes | None]] | None = None

    async def _produce(self, record: Outgoing) -> asyncio.Future[None]:
        if self.written is not None:
            assert record.partition is not None
            assert record.key is not None
            self.written.append((record.partition, record.key, record.value))
        return self._done

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
    start_ms = _now_ms() - FILL_MS
    templates = _templates(start_ms)
    before_mb = resident_mb()
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
    held = keeper.processor.snapshot(_now_ms(), ()).open_journeys
    assert (held, keeper.processor.results["counted"]) == (number, steps)
    del block
    _tell(
        resident_mb=resident_mb(), before_mb=before_mb, steps=steps, steps_per_s=steps / seconds, bytes=size
    )
    shuffled = random.Random(1).sample(range(number), number)
    for turn, _ in enumerate(sys.stdin):
        chosen = shuffled[turn * FURTHER : (turn + 1) * FURTHER]
        further = [_call(_id(n), n, _now_ms()) for n in chosen]
        _tell(us=1e6 * await keeper.take(further, 0) / FURTHER)
    assert keeper.processor.snapshot(_now_ms(), ()).open_journeys == number


def _id(number: int) -> str:
    """As a service would give them: nothing of one tells the next."""
    return str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def _templates(start_ms: int) -> list[list[Step]]:
    """Journeys of two or three steps with a promise and a hand-over that is still to be received."""
    begun: dict[str, Step] = {}
    found: list[list[Step]] = []
    for _, step in _as_steps(Simulator(JOURNEY, seed=1, start_ms=start_ms, rate=0.1).events()):
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
    _tell(
        journeys=keeper.processor.snapshot(_now_ms(), ()).open_journeys,
        read_s=sum(read_s),
        batch_ms=1000 * max(read_s),
        own_s=own_s,
        held_ms=1000 * max(held_s),
        resident_mb=resident_mb(),
        peak_mb=peak_mb(),
    )


def resident_mb() -> float:
    """Memory held now."""
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert resident is not None
    return int(resident[1]) / 1024


def _tell(**found: float) -> None:
    print(json.dumps(found), flush=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
