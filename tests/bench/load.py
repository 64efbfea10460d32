"""The load of the throughput benchmark: checkout events of the simulator, over a topic's partitions."""

import itertools
import time
from datetime import UTC, datetime

from monitor.journey_file.model import Journey
from streams.demo.simulator import Simulator
from streams.kafka.publisher import Publisher

STAGE = "web_checkout"

DISTINCT = 20_000
"""Events generated; the load repeats them, since how an event is counted does not depend on its id."""


async def publish(
    journey: Journey, bootstrap: str, topic: str, events: int, *, idempotent: bool, spread_ms: int
) -> int:
    """Publish `events` events spread evenly over the last `spread_ms`; returns the mean size in bytes."""
    now_ms = round(time.time() * 1000)
    simulator = Simulator(journey, seed=1, start_ms=now_ms - 600_000, rate=20)
    wanted = (event for event in simulator.events() if event.topic == journey.stage(STAGE).topic)
    templates = [(event.key, *_around_time(event.value)) for event in itertools.islice(wanted, DISTINCT)]
    async with Publisher(bootstrap, idempotent=idempotent) as publisher:
        for number, (key, before, after) in enumerate(itertools.islice(itertools.cycle(templates), events)):
            at_s = (now_ms - spread_ms + spread_ms * number // events) / 1000
            time_of = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").encode()
            await publisher.send(topic, key, before + time_of + after)
    return sum(len(before) + 29 + len(after) for _, before, after in templates) // len(templates)


def _around_time(value: bytes) -> tuple[bytes, bytes]:
    """An event's bytes before and after its time."""
    start = value.index(b'"time":"') + len(b'"time":"')
    return value[:start], value[value.index(b'"', start) :]
