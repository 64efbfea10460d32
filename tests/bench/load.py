"""The loads of the benchmarks, made of the simulator's events, and how they are published: fast, and once."""

import asyncio
import itertools
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaProducer

from monitor.journey_file.model import Journey
from streams.demo.simulator import SimulatedEvent, Simulator

STAGE = "web_checkout"

DISTINCT = 20_000
"""Checkouts generated; the load repeats them, since how a stage counts an event does not depend on its id."""

MINUTE_MS = 60_000
DAY_MS = 86_400_000

EVENTS_PER_DAY = 2_700_000
"""That the shipped file expects, about; the simulator's rate is set from it."""

COMPRESSED = 1_000
"""What is days apart in a journey comes minutes apart, so that whole journeys fit into `DENSE_MS`."""

DENSE_MS = 10 * MINUTE_MS

BATCH_BYTES = 131_072
"""What a busy producer sends, the product's own for one."""

MAX_IN_FLIGHT = 64
"""Batches not yet acknowledged, 8 MB."""

Record = tuple[str, bytes, bytes]
"""Topic, key, value."""


def checkouts(journey: Journey, events: int, spread_ms: int, *, in_journeys: bool = True) -> Iterator[Record]:
    """Events of one stage spread evenly over the last `spread_ms`; without journeys they name none."""
    topic, now_ms = journey.stage(STAGE).topic, round(time.time() * 1000)
    simulator = Simulator(journey, seed=1, start_ms=now_ms - DENSE_MS, rate=20)
    wanted = (event for event in simulator.events() if event.topic == topic)
    templates = []
    for event in itertools.islice(wanted, DISTINCT):
        value = event.value if in_journeys else re.sub(rb'"journey_id":"[^"]*",', b"", event.value)
        templates.append((event.key, *_around_time(value)))
    for number, (key, before, after) in enumerate(itertools.islice(itertools.cycle(templates), events)):
        at_s = (now_ms - spread_ms + spread_ms * number // events) / 1000
        time_of = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").encode()
        yield topic, key, before + time_of + after


def dense_journeys(journey: Journey, events: int) -> list[SimulatedEvent]:
    """Whole journeys of the last ten minutes at all stages, each of 2 to 6 steps as they are lived."""
    start_ms = round(time.time() * 1000) - DENSE_MS

    def traffic(rate: float) -> Iterator[SimulatedEvent]:
        simulator = Simulator(journey, seed=1, start_ms=start_ms, rate=rate, compress=COMPRESSED)
        return itertools.takewhile(lambda event: event.at_ms < start_ms + DENSE_MS, simulator.events())

    usual = sum(1 for _ in traffic(1.0))  # at this time of the day
    return list(itertools.islice(traffic(events / usual), events))


def sparse_journeys(journey: Journey, events: int, days: int) -> list[SimulatedEvent]:
    """A thinned out week of all stages: nearly every event is in a pane of its own."""
    now_ms = round(time.time() * 1000)
    rate = events / (days * EVENTS_PER_DAY)
    simulator = Simulator(journey, seed=1, start_ms=now_ms - days * DAY_MS, rate=rate)
    return [event for event in itertools.islice(simulator.events(), events) if event.at_ms < now_ms]


async def publish(bootstrap: str, records: Iterable[Record]) -> int:
    """Publish to topics that exist, by the hash of the key; returns the mean size of a value in bytes."""
    count = size = 0
    partitions: dict[str, int] = {}
    batches: dict[tuple[str, int], Any] = {}
    in_flight: set[asyncio.Future[Any]] = set()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=BATCH_BYTES)

    async def send(topic: str, partition: int) -> None:
        batch = batches.pop((topic, partition))
        batch.close()
        in_flight.add(await producer.send_batch(batch, topic, partition=partition))
        if len(in_flight) >= MAX_IN_FLIGHT:
            done, _ = await asyncio.wait(in_flight, return_when=asyncio.FIRST_COMPLETED)
            in_flight.difference_update(done)
            await asyncio.gather(*done)

    async with producer:
        for topic, key, value in records:
            if topic not in partitions:
                partitions[topic] = len(await producer.partitions_for(topic))
            place = topic, zlib.crc32(key) % partitions[topic]
            if place not in batches:
                batches[place] = producer.create_batch()
            if batches[place].append(key=key, value=value, timestamp=None) is None:
                await send(*place)
                batches[place] = producer.create_batch()
                assert batches[place].append(key=key, value=value, timestamp=None) is not None
            count, size = count + 1, size + len(value)
        for place in list(batches):
            await send(*place)
        await asyncio.gather(*in_flight)
    return size // max(count, 1)


def _around_time(value: bytes) -> tuple[bytes, bytes]:
    """An event's bytes before and after its time."""
    start = value.index(b'"time":"') + len(b'"time":"')
    return value[:start], value[value.index(b'"', start) :]
