"""The same job on stock Faust: an agent that decodes, judges and adds every event to its panes' table.

It uses the product's own codec and judge, so the difference is the engine around them: one message and one
table write per event and grain, instead of batches. Its table is keyed by pane, segment and partner, which
keeps its records small and is the fastest of the layouts tried. Its acknowledgements are not safe, since
stock Faust's are not.
"""

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import faust

from monitor.counting.event import Codec, Refused
from monitor.counting.judging import Judge
from monitor.counting.panes import LONG, SHORT
from monitor.journey_file.grammar import parse
from streams.settings import read
from tests.bench.load import STAGE
from tests.bench.report import tell
from tests.kit import plain

TICK_S = 0.005


async def main(events: int, partitions: int) -> None:
    """Run until `events` are counted; there may be more, which it does not wait for."""
    settings = read(os.environ)
    journey = parse(settings.journey.read_text())
    stage = journey.stage(STAGE)
    codec, judge = Codec(journey, stage), Judge(journey, stage)
    app = faust.App(
        settings.group,
        broker=f"kafka://{settings.kafka}",
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=2,
        broker_max_poll_records=4000,
        consumer_auto_offset_reset="earliest",
        producer_linger=0.02,
        producer_max_batch_size=131_072,
    )
    topic = app.topic(stage.topic, value_type=bytes, value_serializer="raw", partitions=partitions)
    panes = app.Table("panes", default=dict, partitions=partitions)
    done = {"counted": 0}

    @app.agent(topic)
    async def count(stream: Any) -> None:
        async for value in stream:
            event = codec.decode(value)
            now_ms = round(time.time() * 1000)
            if isinstance(event, Refused) or codec.refuse_time(event.at_ms, now_ms):
                continue
            counts = plain.counts(judge, event)
            for grain in (SHORT, LONG):
                name = f"{grain.ms}:{grain.start_of(event.at_ms)}:{event.segment}:{event.partner}"
                pane = panes[name]
                for counter, n in counts.items():
                    pane[counter] = pane.get(counter, 0) + n
                panes[name] = pane
            done["counted"] += 1

    await app.start()
    while not done["counted"]:
        await asyncio.sleep(TICK_S)
    began, began_cpu_s, first = time.perf_counter(), time.process_time(), done["counted"]
    while done["counted"] < events:
        await asyncio.sleep(TICK_S)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu_s
    counted = done["counted"]
    assert _events(panes.data) == counted, "the panes do not hold every event"
    tell(counted - first, seconds, cpu_us=1e6 * cpu_s / (counted - first))
    await app.stop()


def _events(panes: Mapping[str, Mapping[str, int]]) -> int:
    """Events in the long panes; each has one outcome."""
    long = [counts for name, counts in panes.items() if name.startswith(f"{LONG.ms}:")]
    return sum(n for counts in long for counter, n in counts.items() if counter.startswith("outcome/"))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
