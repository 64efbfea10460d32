"""Work left undone costs time, not memory: a backlog and a flood of bad records on Apache Kafka, in figures.

Starts a broker and real workers of its own, so it needs Java 17 (deploy/install-test-programs). What it
prints is checked: every event counted, every bad record among the dead letters. Alone it is run by
`python -m tests.bench.backlog`, a part of it by its name. `large`, records too large to read, is run by name
only.
"""

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import re
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.kafka.kafka import KafkaNode
from monitor.counting.event import MAX_BYTES
from tests.bench.load import STAGE, checkouts, publish
from tests.kit.brokers import running
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, touchpoint
from tests.kit.shipped import SHIPPED as JOURNEY

GOOD_TOPIC = JOURNEY.stage(STAGE).topic
FLOODED = JOURNEY.stage("call_queue")

PARTITIONS = 12

SPREAD_MS = 3_600_000
"""What a worker was away for: an hour, all of it in the windows that are made of short panes."""

FLAT_MB = 8
"""The second half of the work may add this much: panes of its own half hour are some 3 MB, the rest is what
an allocator keeps. A worker that kept 1 byte in 100 it reads would grow by 8 MB in half of 5 million."""

FLOOD_FLAT_MB = 40
"""The same for a flood: the dead letters that wait to be written come and go by so much."""

GOOD_PER_S = 500
QUIET_S = 15

BATCH_BYTES = 900_000
"""Below the 1 MiB that Kafka takes at most unless told otherwise."""

LARGE_BATCH_BYTES = MAX_BYTES + 100_000
"""One record that is too large to read; the broker of the bench takes twice as much."""

SHARES = (0.2, 0.5, 1.0)
"""Of the work done, when memory is shown."""

TICK_S = 0.1
DEADLINE_S = 900


class Watch:
    """What a worker process has counted and refused, and the memory it holds."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker

    def records(self, topic: str, result: str) -> int:
        """Records of a topic by result; read with one expression, as parsing a whole scrape takes a core."""
        text = self._worker.get("/metrics").decode()
        for labels, value in re.findall(r"^touchpoint_records_total\{(.*)\} (\S+)$", text, re.MULTILINE):
            if f'topic="{topic}"' in labels and f'result="{result}"' in labels:
                return int(float(value))
        return 0

    def _memory_mb(self, field: str) -> float:
        status = Path(f"/proc/{self._worker.process.pid}/status").read_text()
        found = re.search(rf"{field}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    @property
    def resident_mb(self) -> float:
        """Memory held now."""
        return self._memory_mb("VmRSS")

    @property
    def peak_mb(self) -> float:
        """The most it ever held."""
        return self._memory_mb("VmHWM")


def work_off(watch: Watch, topic: str, result: str, total: int) -> list[tuple[float, int, float]]:
    """(seconds, records, MB) again and again until all is dealt with."""
    seen: list[tuple[float, int, float]] = []

    def is_done() -> bool:
        done = watch.records(topic, result)
        seen.append((time.monotonic(), done, watch.resident_mb))
        return done >= total

    until(is_done, f"{total:,} records of {topic} {result}", DEADLINE_S)
    return seen


def at_share(seen: list[tuple[float, int, float]], share: float) -> float:
    """Memory when that share of the work was done, MB."""
    total = seen[-1][1]
    return next(mb for _, done, mb in seen if done >= share * total)


def growth_mb(seen: list[tuple[float, int, float]]) -> float:
    """How much more was held at most in the second half of the work than in the first."""
    total = seen[-1][1]
    first, second = (
        max(mb for _, done, mb in seen if (done >= total / 2) is is_second) for is_second in (False, True)
    )
    return second - first


def backlog(node: KafkaNode, events: int) -> None:
    """Events that waited for a worker: counted exactly, without its memory growing."""
    began = time.monotonic()
    size = asyncio.run(publish(node.bootstrap, checkouts(JOURNEY, events, SPREAD_MS)))
    print(f"backlog: {events:,} events of {size} bytes published in {time.monotonic() - began:.0f} s")
    with WorkerProcess(KAFKA=node.bootstrap) as worker:
        watch = Watch(worker)
        idle_mb = watch.resident_mb
        seen = work_off(watch, GOOD_TOPIC, "counted", events)
        first = next(i for i, (_, done, _) in enumerate(seen) if done)
        seconds = seen[-1][0] - seen[first][0]
        counted = until(lambda: window_events(worker) == events and events, "windows complete")
        shown = "  ".join(f"{share:.0%} {at_share(seen, share):.0f}" for share in SHARES)
        print(
            f"  {(events - seen[first][1]) / seconds:,.0f} events/s; MB: idle {idle_mb:.0f}  {shown}  "
            f"peak {watch.peak_mb:.0f}, second half against first {growth_mb(seen):+.1f}; "
            f"published {events:,}, counted {seen[-1][1]:,}, in the windows {counted:,}",
            flush=True,
        )
        assert seen[-1][1] == events
        assert growth_mb(seen) < FLAT_MB, "memory grew with the work done"
        assert worker.end()[0] == 0


def window_events(worker: WorkerProcess) -> int:
    """Events in the longest window, whichever worker counted them."""
    found = worker.scrape().sum("touchpoint_window_events", experience="checkout_completed", window="7d")
    return int(found)


class GoodStream:
    """Good events at a steady pace to one stage, and how long each took until it was counted."""

    def __init__(self, bootstrap: str, watch: Watch) -> None:
        self._bootstrap = bootstrap
        self._watch = watch
        self._sent: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._sending = threading.Thread(target=lambda: asyncio.run(self._send()))
        self._before = watch.records(GOOD_TOPIC, "counted")
        self.seen: list[tuple[float, int]] = []

    def __enter__(self) -> "GoodStream":
        self._sending.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._sending.join()

    async def _send(self) -> None:
        number, step = 0, max(1, round(GOOD_PER_S * TICK_S))
        began = time.monotonic()
        async with AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all") as producer:
            while not self._stop.is_set():
                at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                some = [
                    await producer.send(GOOD_TOPIC, good_event(number + i, at), b"%d" % (number + i))
                    for i in range(step)
                ]
                await asyncio.gather(*some)
                number += step
                self._sent.append((time.monotonic(), number))
                await asyncio.sleep(max(0.0, began + number / GOOD_PER_S - time.monotonic()))

    def look(self) -> None:
        """Note what has been counted by now."""
        counted = self._watch.records(GOOD_TOPIC, "counted") - self._before
        self.seen.append((time.monotonic(), counted))

    def finish(self) -> int:
        """Stop sending and wait until all is counted; how many there were."""
        self.__exit__()
        total = self._sent[-1][1]

        def is_done() -> bool:
            self.look()
            return self.seen[-1][1] >= total

        until(is_done, "good events counted")
        return total

    def waits_s(self) -> list[float]:
        """From acknowledged by Kafka to seen counted, for every tick; asking takes part of it."""
        waits = []
        seen = iter(self.seen)
        at_s, counted = next(seen)
        for sent_s, number in self._sent:
            while counted < number:
                at_s, counted = next(seen)
            waits.append(max(0.0, at_s - sent_s))
        return waits


def good_event(number: int, at: str) -> bytes:
    """A checkout that is counted."""
    return (
        f'{{"id":"g-{number}","time":"{at}","stage":"{STAGE}","outcome":"ok","segment":"new",'
        f'"partner":"klarna","duration_s":30}}'
    ).encode()


def bad_event(number: int) -> bytes:
    """A call of an outcome nobody knows, some 300 bytes."""
    return (
        f'{{"id":"b-{number}","time":"2026-01-01T00:00:00Z","stage":"{FLOODED.name}","outcome":"meh",'
        f'"touchpoint":"{"x" * 200}"}}'
    ).encode()


def large_event(_: int) -> bytes:
    """A record just too large to be read."""
    return b"x" * (MAX_BYTES + 1)


async def flood(bootstrap: str, numbers: Iterable[int], value: Callable[[int], bytes], size: int) -> None:
    """Publish bad records as fast as Kafka takes them: whole batches, each to one partition in turn."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", max_batch_size=size, max_request_size=size + 100_000
    ) as producer:
        partitions = itertools.cycle(range(PARTITIONS))
        batch = producer.create_batch()
        waiting: list[asyncio.Future[object]] = []
        for number in numbers:
            key = b"%d" % number
            if batch.append(key=key, value=value(number), timestamp=None) is None:
                batch.close()
                waiting.append(await producer.send_batch(batch, FLOODED.topic, partition=next(partitions)))
                batch = producer.create_batch()
                assert batch.append(key=key, value=value(number), timestamp=None) is not None
        batch.close()
        waiting.append(await producer.send_batch(batch, FLOODED.topic, partition=next(partitions)))
        await asyncio.gather(*waiting)


def run_flood(bootstrap: str, bad: int) -> None:
    """`flood` as a process of its own: the bench's own clock must not wait for it."""
    asyncio.run(flood(bootstrap, range(bad), bad_event, BATCH_BYTES))


async def letters(bootstrap: str, wanted: set[bytes]) -> tuple[int, int]:
    """How many dead letters there are, and how many of the wanted keys are not among them at the deadline."""
    found = 0
    async with AIOKafkaConsumer(
        FLOODED.dead_letter_topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                while wanted:
                    for records in (await consumer.getmany(timeout_ms=1000)).values():
                        found += len(records)
                        wanted.difference_update(record.key for record in records)
    return found, len(wanted)


def flooded(node: KafkaNode, bad: int) -> None:
    """Bad records at full speed on one stage while another stage gets good ones, against the same without."""
    with WorkerProcess(KAFKA=node.bootstrap) as worker:
        worker.ready(DEADLINE_S)
        watch = Watch(worker)
        rest_mb = watch.resident_mb
        with GoodStream(node.bootstrap, watch) as quiet:
            ends = time.monotonic() + QUIET_S
            while time.monotonic() < ends:
                quiet.look()
                time.sleep(TICK_S)
            quiet.finish()
        before = watch.records(FLOODED.topic, "refused")
        levels: list[tuple[float, int, float]] = []
        publishing = multiprocessing.get_context("spawn").Process(
            target=run_flood, args=(node.bootstrap, bad)
        )
        with GoodStream(node.bootstrap, watch) as loud:
            began = time.monotonic()
            publishing.start()
            while not levels or levels[-1][1] < bad:
                assert time.monotonic() < began + DEADLINE_S, f"stalled at {levels[-1]}"
                loud.look()
                refused = watch.records(FLOODED.topic, "refused") - before
                levels.append((time.monotonic(), refused, watch.resident_mb))
                time.sleep(TICK_S)
            seconds = time.monotonic() - began
            publishing.join()
            assert publishing.exitcode == 0
            good = loud.finish()
        print(
            f"flood: {bad:,} bad records of {len(bad_event(0)):,} bytes in {seconds:.1f} s, "
            f"{bad / seconds:,.0f} a second; MB: before {rest_mb:.0f}  "
            f"50% {at_share(levels, 0.5):.0f}  100% {levels[-1][2]:.0f}  peak {watch.peak_mb:.0f}, "
            f"second half against first {growth_mb(levels):+.1f}"
        )
        for what, stream in (("without flood", quiet), ("in the flood", loud)):
            waits = stream.waits_s()
            print(
                f"  good events {what}: published to seen counted median {statistics.median(waits):.2f} s, "
                f"longest {max(waits):.2f} s"
            )
        found, lost = asyncio.run(letters(node.bootstrap, {b"%d" % number for number in range(bad)}))
        print(
            f"  good events counted {good:,}; dead letters {found:,}, bad records lost {lost:,}", flush=True
        )
        assert lost == 0
        assert growth_mb(levels) < FLOOD_FLAT_MB, "memory grew with the bad records"
        assert worker.end()[0] == 0


def large(node: KafkaNode, records: int) -> None:
    """Records too large to read that waited for a worker: what is held counts in bytes, not in records."""
    asyncio.run(flood(node.bootstrap, range(records), large_event, LARGE_BATCH_BYTES))
    with WorkerProcess(KAFKA=node.bootstrap) as worker:
        watch = Watch(worker)
        seen = work_off(watch, FLOODED.topic, "refused", records)
        found, lost = asyncio.run(letters(node.bootstrap, {b"%d" % number for number in range(records)}))
        shown = "  ".join(f"{share:.0%} {at_share(seen, share):.0f}" for share in SHARES)
        print(
            f"large: {records:,} records of {MAX_BYTES + 1:,} bytes; MB: {shown}  peak {watch.peak_mb:.0f}, "
            f"second half against first {growth_mb(seen):+.1f}; dead letters {found:,}, lost {lost:,}",
            flush=True,
        )
        assert lost == 0
        assert growth_mb(seen) < FLOOD_FLAT_MB, "memory grew with the large records"
        assert worker.end()[0] == 0


def main() -> None:
    """Run all of it, or the one part that is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.backlog", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("backlog", "flood", "large"))
    parser.add_argument("--events", type=int, default=5_000_000, help="events of the backlog")
    parser.add_argument("--bad", type=int, default=1_000_000, help="bad records of the flood")
    parser.add_argument("--large", type=int, default=2_000, help="records too large to read")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="touchpoint-backlog-"))
    try:
        with running(KafkaNode(directory, config={"message.max.bytes": "2000000"})) as node:
            created = touchpoint("topics", KAFKA=node.bootstrap, TOPIC_PARTITIONS=str(PARTITIONS))
            assert created.returncode == 0, created.stderr
            if arguments.part in (None, "backlog"):
                backlog(node, arguments.events)
            if arguments.part in (None, "flood"):
                flooded(node, arguments.bad)
            if arguments.part == "large":
                large(node, arguments.large)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
