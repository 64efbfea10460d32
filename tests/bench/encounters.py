"""What it costs a stage that calls name their encounter, and that their beginnings are published too.

`python -m tests.bench.encounters`: the same calls three ways, decoded, counted and written as a worker does
it, without Kafka. Told is the CPU for each call, not each event, and how many changelog records it takes.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import orjson

from monitor.counting.event import Codec
from monitor.counting.times import rfc3339
from streams.kafka.outgoing import Outgoing
from streams.state.stage import StageProcessor
from tests.kit.shipped import SHIPPED as JOURNEY

STAGE = JOURNEY.stage("call_queue")
BATCH = 4_000
NOW_MS = 1_800_000_000_000
WAYS = {"no encounter named": (False, False), "ends name it": (True, False), "beginnings too": (True, True)}


def records(calls: int, is_named: bool, has_beginnings: bool) -> Iterator[SimpleNamespace]:
    """A call each 10 ms that waits for 8 s."""
    told: list[tuple[int, dict[str, object]]] = []
    for number in range(calls):
        name = {"encounter_id": f"q-{number}"} if is_named else {}
        about: dict[str, object] = {"stage": STAGE.name, "segment": "new", **name}
        at_ms = NOW_MS - 10 * (calls - number)
        told.append((at_ms, about | {"id": f"e-{number}", "outcome": "ok", "wait_s": 8.0}))
        if has_beginnings:
            told.append((at_ms - 8_000, about | {"id": f"b-{number}", "outcome": "queued"}))
    for offset, (at_ms, event) in enumerate(sorted(told, key=lambda one: one[0])):
        value = orjson.dumps(event | {"time": rfc3339(at_ms)})
        yield SimpleNamespace(offset=offset, value=value, headers=(), key=b"k", timestamp=at_ms)


async def measure(calls: int, is_named: bool, has_beginnings: bool) -> tuple[float, float]:
    """CPU in µs, and changelog records, for each call."""
    written = 0

    async def produce(outgoing: Sequence[Outgoing]) -> Sequence[int]:
        nonlocal written
        written += len(outgoing)
        return range(len(outgoing))

    held = StageProcessor(Codec(JOURNEY, STAGE), "changelog", produce)
    await held.own(frozenset({0}), 1, lambda: True)
    known = list(records(calls, is_named, has_beginnings))
    began_s = time.process_time()
    for start in range(0, len(known), BATCH):
        held.fold(SimpleNamespace(value=known[start : start + BATCH], partition=0), NOW_MS)
        await held.flush(lambda _: None)
    cpu_s = time.process_time() - began_s
    assert held.results["counted"] == len(known)
    return 1e6 * cpu_s / calls, written / calls


def main() -> None:
    """Each way, three times; the quickest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=40_000)
    calls = parser.parse_args().calls
    print(f"{calls:,} calls, in batches of {BATCH:,} events")
    for name, way in WAYS.items():
        cpu_us, written = min(asyncio.run(measure(calls, *way)) for _ in range(3))
        print(f"{name:20} {cpu_us:6.1f} µs of CPU and {written:.2f} changelog records for each call")


if __name__ == "__main__":
    main()
