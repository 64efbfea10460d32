"""The load of the throughput benchmark: checkout events of the simulator, over a topic's partitions."""

import itertools
import time

from monitor.journey import Journey
from monitor.publisher import Publisher
from monitor.simulator import Simulator

STAGE = "web_checkout"

DISTINCT = 20_000
"""Events generated; the load repeats them, since how an event is counted does not depend on its id."""


async def publish(journey: Journey, bootstrap: str, topic: str, events: int, *, idempotent: bool) -> int:
    """Publish `events` events of the last minutes; returns the mean size of one in bytes."""
    now_ms = round(time.time() * 1000)
    simulator = Simulator(journey, seed=1, start_ms=now_ms - 600_000, rate=20)
    wanted = (event for event in simulator.events() if event.topic == journey.stage(STAGE).topic)
    distinct = list(itertools.islice(wanted, DISTINCT))
    async with Publisher(bootstrap, idempotent=idempotent) as publisher:
        for event in itertools.islice(itertools.cycle(distinct), events):
            await publisher.send(topic, event.key, event.value)
    return sum(len(event.value) for event in distinct) // len(distinct)
