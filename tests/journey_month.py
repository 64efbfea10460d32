"""A month of customers with known truth through real workers that are killed and joined, counted exactly.

`python -m tests.journey_month --journeys 200000` prints what was compared;
`tests/system/test_journeys.py` runs the short form. The month lies in the past and is published at once, so
that every journey is over at the end.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.kafka.kafka import KafkaNode
from monitor.counting.panes import LONG
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.journeys.open import JourneyRules
from streams.demo.simulator import SimulatedEvent, Simulator
from streams.journeys.partition import JourneyPartition
from streams.kafka import topics
from streams.kafka.publisher import opened
from streams.kafka.topics import JOURNEYS, changelog_topic
from streams.settings import SHIPPED_JOURNEY, Settings
from streams.state.partition import PaneRecord
from tests.kit.brokers import Node, TansuNode, running
from tests.kit.journey_truth import Truth, sharing_cases
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess

DAY_MS = 86_400_000
MONTH_DAYS = 30
GROUP = "touchpoint-month"
OVER_DAYS = 20
"""So long before now the month ends: more than any journey's limit and what is promised in it."""

PER_DAY = 50_000 * 24
"""Journeys that the shipped file expects, about; the simulator's rate is set from it."""


@dataclass(frozen=True)
class Outcome:
    """What was published and compared."""

    events: int
    journeys: int
    truth: Counter[str]
    counted: Counter[str]
    kills: int
    seconds: float

    @property
    def wrong(self) -> dict[str, tuple[int, int]]:
        """Counter to (counted, truth), where they differ."""
        names = self.counted.keys() | self.truth.keys()
        return {n: (self.counted[n], self.truth[n]) for n in names if self.counted[n] != self.truth[n]}


def month(journey: Journey, journeys: int, seed: int) -> tuple[list[SimulatedEvent], Truth]:
    """Events of about so many journeys, none of which begins after the month, and what they come to."""
    end_ms = round(time.time() * 1000) - OVER_DAYS * DAY_MS
    start_ms = end_ms - MONTH_DAYS * DAY_MS
    simulator = Simulator(journey, seed=seed, start_ms=start_ms, rate=journeys / (MONTH_DAYS * PER_DAY))
    truth, events, begun, random = Truth(journey), [], set(), Random(seed)
    for event in simulator.events():
        if event.at_ms > end_ms + 15 * DAY_MS:
            break
        journey_id = orjson.loads(event.value).get("journey_id")
        if event.at_ms <= end_ms:
            begun.add(journey_id)
        elif journey_id not in begun:
            continue
        for told in sharing_cases(event, random, journeys // 20):
            events.append(told)
            truth.add(told)
    return events, truth


def last_words(journey: Journey, partitions: dict[str, int]) -> list[tuple[str, int, bytes]]:
    """For every partition an event of now that belongs to no journey: the month is over, says each source."""
    now = datetime.now(UTC).isoformat()
    found = []
    for stage in journey.stages:
        event = {"id": f"now-{stage.name}", "time": now, "stage": stage.name, "outcome": "ok"}
        found += [(stage.topic, p, orjson.dumps(event)) for p in range(partitions[stage.topic])]
    return found


async def publish(journey: Journey, node: Node, events: list[SimulatedEvent]) -> int:
    """All of it, in the order of its time; returns how many partitions keep journeys."""
    settings = Settings(kafka=node.bootstrap, group=GROUP)
    async with topics.connected(settings) as admin:
        counts = await topics.ensure(admin, journey, settings)
    async with opened(settings) as publisher:
        for event in events:
            await publisher.send(event.topic, event.key, event.value)
        await publisher.flush()
        for topic, partition, value in last_words(journey, counts):
            await publisher._producer.send_and_wait(topic, value, partition=partition)
    return counts[topics.steps_topic(GROUP)]


async def counted(journey: Journey, node: Node, partitions: int) -> Counter[str]:
    """Every counter of journeys, as the changelog has it."""
    topic = changelog_topic(GROUP, JOURNEYS)
    consumer = AIOKafkaConsumer(bootstrap_servers=node.bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        rules = JourneyRules(journey)
        held = [JourneyPartition(rules, frozenset(), journey.horizon_ms) for _ in range(partitions)]
        tps = [TopicPartition(topic, p) for p in range(partitions)]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends: dict[TopicPartition, int] = {}  # as a fetch tells them: the embedded broker lists too little
        while len(ends) < len(tps) or any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for tp, records in (await consumer.getmany(timeout_ms=300)).items():
                for record in records:
                    held[tp.partition].restore(PaneRecord(record.key, record.value))
            for tp in tps:
                if (end := consumer.highwater(tp)) is not None:
                    ends.setdefault(tp, end)
    finally:
        await consumer.stop()
    found: Counter[str] = Counter()
    for one in held:
        for key, counts in one.panes.panes():
            if key.grain_ms == LONG.ms:
                found.update(counts)
    return found


def run(node: Node, journeys: int, *, seed: int, kills: int, deadline_s: float) -> Outcome:
    """Publish a month, count it with workers that die and join, compare."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "journey.yaml"
        horizon_days = OVER_DAYS + MONTH_DAYS + 10
        file.write_text(SHIPPED_JOURNEY.read_text().replace("horizon: 8d", f"horizon: {horizon_days}d"))
        journey = parse(file.read_text())
        events, truth = month(journey, journeys, seed)
        partitions = asyncio.run(publish(journey, node, events))
        wanted = truth.counters()
        closed = _closed(wanted)
        settings = {"KAFKA": node.bootstrap, "GROUP": GROUP, "JOURNEY": str(file)}
        random = Random(seed)

        def worker(stack: ExitStack) -> WorkerProcess:
            return stack.enter_context(WorkerProcess(STATE_DIR=f"{directory}/{random.random()}", **settings))

        def shown(one: WorkerProcess) -> float:
            scrape = one.scrape()
            return scrape.sum("touchpoint_records_total", topic=f"{GROUP}-journey-steps", result="counted")

        with ExitStack() as stack:
            held = [worker(stack), worker(stack)]

            def over() -> bool:
                return _closed(asyncio.run(counted(journey, node, partitions))) >= closed

            killed = 0
            while killed < kills and not over():
                victim = held.pop(random.randrange(len(held)))
                at = shown(victim) if victim.is_ready() else 0.0
                until(lambda: (victim.is_ready() and shown(victim) > at) or over(), "journeys kept", 120)  # noqa: B023
                victim.process.send_signal(signal.SIGKILL)
                victim.process.wait()
                held.append(worker(stack))
                killed += 1
            until(over, f"{closed} journeys over", deadline_s)
            for one in held:
                code, said = one.end()
                assert code == 0, said
        return Outcome(
            len(events), truth.journeys, wanted, asyncio.run(counted(journey, node, partitions)), killed,
            time.monotonic() - began,
        )  # fmt: skip


def _closed(counters: Counter[str]) -> int:
    return sum(n for name, n in counters.items() if name.startswith("closed/"))


def main() -> int:
    """0 when every count is exact."""
    parser = argparse.ArgumentParser(prog="python -m tests.journey_month", description=__doc__)
    parser.add_argument("--journeys", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=5, help="workers killed and replaced while they count")
    parser.add_argument("--broker", choices=("apache", "embedded"), default="apache")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        node: Node = KafkaNode(directory) if arguments.broker == "apache" else TansuNode()
        stack.enter_context(running(node))
        found = run(node, arguments.journeys, seed=arguments.seed, kills=arguments.kills, deadline_s=3600)
    firsts: Counter[str] = Counter()
    for name, n in found.truth.items():
        firsts[name.split("/")[0]] += n
    print(
        f"{found.events:,} events of {found.journeys:,} journeys, {found.kills} kills, {found.seconds:.0f} s"
    )
    print(", ".join(f"{first} {n:,}" for first, n in sorted(firsts.items())))
    for name, (got, truth) in sorted(found.wrong.items()):
        print(f"WRONG {name}: counted {got:,}, truth {truth:,}")
    print(f"{len(found.truth)} counters, {len(found.wrong)} wrong")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
