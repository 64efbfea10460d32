"""How many of Python's own instructions an event costs: a busy machine counts as many as a quiet one.

This guards against work that creeps in for every event. It does not see what C functions do, nor what Kafka's
client does: `python -m tests.bench speed` measures time. Costs are multiples of a small fixed program that is
counted in the same run, so that they hold for each version of Python.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from types import FrameType, SimpleNamespace
from typing import Any

import orjson
import pytest

from monitor.counting.event import Codec
from streams.demo.simulator import SimulatedEvent, Simulator
from streams.journeys.processor import Extent, JourneyProcessor
from streams.kafka.outgoing import Outgoing
from streams.state.processor import Processor
from streams.state.stage import StageProcessor
from streams.state.steps import StepSender
from tests.kit.shipped import SHIPPED as JOURNEY
from tests.streams.state.test_plain import NOW, SPAN_MS, Record

COSTS = {"stages": 2.15, "journeys": 6.61}
"""From the bytes of a record to panes; with journeys also to what is written. A gain is noted here, too."""

TOLERATED = 0.15

RATE = 0.15
"""Of the shipped file's traffic, in which days pass as minutes: some 6,000 events of whole journeys."""

EVENTS_PER_FLUSH = 1_000


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Counts the instructions that Python executes within, as `instructions`."""
    executed: Counter[str] = Counter()

    def trace(frame: FrameType, what: str, _: object) -> Any:
        if what == "call":
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
        executed["instructions"] += what == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield executed
    finally:
        sys.settrace(before)


def yardstick(values: Sequence[bytes]) -> None:
    """What costs are multiples of: read each event, and count the values of its fields."""
    found: dict[tuple[str, str], int] = {}
    for value in values:
        for name, text in orjson.loads(value).items():
            if isinstance(text, str):
                found[name, text] = found.get((name, text), 0) + 1


class Worker:
    """All stages and, if wanted, journeys, each of one partition; whatever is written has arrived at once."""

    def __init__(self, *, journeys: bool) -> None:
        self._steps: list[Record] = []
        self._taken = 0
        self._offsets: Counter[str] = Counter()
        self.stages = {stage.topic: self._stage(stage, journeys=journeys) for stage in JOURNEY.stages}
        extent = Extent(frozenset((stage.name, 0) for stage in JOURNEY.stages), 1, 10**9)
        self.journeys = JourneyProcessor(JOURNEY, "steps", "journeys", self._produce, extent)

    def _stage(self, stage: Any, *, journeys: bool) -> StageProcessor:
        steps = StepSender(stage.name, "steps", 1, lambda *_: None, lambda: NOW) if journeys else None
        return StageProcessor(Codec(JOURNEY, stage), stage.name, self._produce, steps)

    async def _produce(self, records: Sequence[Outgoing]) -> Sequence[int]:
        if records[0].topic == "steps":
            first = len(self._steps) + self._taken
            self._steps += [Record(first + n, one.value or b"") for n, one in enumerate(records)]
        return range(len(records))

    async def own(self) -> "Worker":
        """Take over every partition."""
        everything: list[Processor[Any]] = [*self.stages.values(), self.journeys]
        for one in everything:
            await one.own(frozenset({0}), 1, lambda: True)
        return self

    async def take(self, events: Sequence[SimulatedEvent]) -> None:
        """Count events, and write what is to be written."""
        batches: defaultdict[str, list[Record]] = defaultdict(list)
        for event in events:
            batches[event.topic].append(Record(self._offsets[event.topic], event.value))
            self._offsets[event.topic] += 1
        for topic, records in batches.items():
            self.stages[topic].fold(SimpleNamespace(partition=0, value=records), NOW)
            await self.stages[topic].flush(lambda _: None)
        steps, self._steps = self._steps, []
        self._taken += len(steps)
        if steps:
            self.journeys.fold(SimpleNamespace(partition=0, value=steps), NOW)
            await self.journeys.flush(lambda _: None)


def traffic() -> list[SimulatedEvent]:
    """A quarter of an hour of all stages, oldest first."""
    simulator = Simulator(JOURNEY, seed=1, start_ms=NOW - SPAN_MS, rate=RATE, compress=1_000)
    return list(takewhile(lambda event: event.at_ms < NOW, simulator.events()))


async def costs() -> dict[str, float]:
    """Of the later events of the traffic: those before fill what is remembered."""
    events = traffic()
    batches = [events[start : start + EVENTS_PER_FLUSH] for start in range(0, len(events), EVENTS_PER_FLUSH)]
    later = batches[len(batches) // 2 :]
    with counted() as plain:
        yardstick([event.value for batch in later for event in batch])
    found = {}
    for name in COSTS:
        worker = await Worker(journeys=name == "journeys").own()
        for batch in batches[: -len(later)]:
            await worker.take(batch)
        with counted() as executed:
            for batch in later:
                await worker.take(batch)
        assert sum(stage.results["counted"] for stage in worker.stages.values()) == len(events)
        assert (worker.journeys.results["counted"] > 0) == (name == "journeys")
        found[name] = executed["instructions"] / plain["instructions"]
    return found


@pytest.mark.long
async def test_an_event_costs_what_it_did() -> None:
    """Somebody has added work to every event if it costs more; the figure is old if it costs less."""
    assert await costs() == pytest.approx(COSTS, rel=TOLERATED)
