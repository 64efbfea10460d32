"""What one step of a journey costs, part by part. What journeys cost a worker says `tests.bench speed`."""

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence

from monitor.counting.event import Codec, Event
from monitor.counting.judging import Judge
from monitor.journeys.counters import CounterTally
from monitor.journeys.open import JourneyRules
from monitor.journeys.step import Step, decode, step_of
from streams.__main__ import COLLECT_AFTER
from streams.demo.simulator import SimulatedEvent
from streams.journeys.partition import JourneyPartition
from streams.state.partition import Run
from streams.state.steps import StepSender
from streams.worker import rest_collector
from tests.bench.load import sparse_journeys
from tests.kit.shipped import SHIPPED as JOURNEY

HOUR_MS = 3_600_000

EVENTS = 100_000
DAYS = 7
"""Of simulated traffic: in so long most journeys begun are over, and none of it is too old to be counted."""

EVENTS_PER_FLUSH = 500

STEP_PARTITIONS = 4
"""As topics have unless told otherwise."""


def main() -> None:
    """What one step costs whoever keeps its journey, without Kafka; times are of this thread's own work."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.journeys", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    records = list(_records(sparse_journeys(JOURNEY, EVENTS, DAYS)))
    steps = sum(len(decode(value).steps) for _, value in records)
    took_us: list[dict[str, float]] = []
    gc.set_threshold(*COLLECT_AFTER)
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
    at_ms = 0
    senders = {
        stage.topic: StepSender(stage.name, "steps", STEP_PARTITIONS, lambda *_: None, lambda: at_ms)
        for stage in JOURNEY.stages
    }
    for offset, (event, step) in enumerate(as_steps(events)):
        sender = senders[event.topic]
        if step is not None:
            sender.add(0, [step], ())
        at_ms = event.at_ms
        sender.note(0, offset)
        sender.note_events(0, at_ms, 0)
        if (offset + 1) % EVENTS_PER_FLUSH == 0:
            for sender in senders.values():
                for record in sender.drain([0]):
                    assert record.partition is not None
                    assert record.value is not None
                    yield record.partition, record.value


def as_steps(events: Iterable[SimulatedEvent]) -> Iterator[tuple[SimulatedEvent, Step | None]]:
    """Each event, and its step if it is one of a journey."""
    judges = {stage.topic: (Codec(JOURNEY, stage), Judge(JOURNEY, stage)) for stage in JOURNEY.stages}
    for offset, simulated in enumerate(events):
        codec, judge = judges[simulated.topic]
        event = codec.decode(simulated.value)
        assert isinstance(event, Event)
        is_step = event.journey_id is not None
        yield simulated, step_of(event, event.at_ms, 0, offset, judge.judge(event)) if is_step else None


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
            kept.panes.fold(Run.of(taken.made), CounterTally, kept.clock_ms)
        spend("counting")
        unwritten += taken.steps
        if unwritten >= EVENTS_PER_FLUSH:
            unwritten = 0
            for one in held:
                one.take_changes()
            spend("writing")
        journeys.update(step.journey_id for step in record.steps)
        at_s = time.thread_time()
    return spent_s, len(journeys)


if __name__ == "__main__":
    main()
