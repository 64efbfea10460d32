"""What two workers that are killed show together is what the README files alone come to, row by row."""

import asyncio
import contextlib
import random
import signal
import urllib.error
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import yaml

from monitor.journey_file.grammar import parse
from streams.kafka import topics
from streams.kafka.publisher import opened
from streams.settings import Settings
from tests.kit.brokers import TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess
from tests.oracle.oracle import Event, Rows, count
from tests.oracle.test_oracle import JOURNEY, generated, rows

GROUP = "touchpoint-oracle"
KILLS = 2


async def topics_of(settings: Settings) -> dict[str, int]:
    """Make them; how many partitions each has."""
    async with topics.connected(settings) as admin:
        return await topics.ensure(admin, parse(JOURNEY), settings)


async def publish(settings: Settings, events: list[Event]) -> None:
    """Events of a journey, or else of a case, keep their order."""
    stages = parse(JOURNEY)
    async with opened(settings) as publisher:
        for event in events:
            key = str(event.get("journey_id") or event.get("case_id") or event["id"])
            await publisher.send(stages.stage(event["stage"]).topic, key.encode(), orjson.dumps(event))
        await publisher.flush()


async def say_now(settings: Settings, partitions: dict[str, int], now: datetime) -> list[Event]:
    """For every partition an event of now that belongs to no journey: so far each source has been read."""
    said: list[Event] = []
    async with opened(settings) as publisher:
        for stage in parse(JOURNEY).stages:
            for partition in range(partitions[stage.topic]):
                event = {
                    "id": f"now-{partition}",
                    "time": now.isoformat(),
                    "stage": stage.name,
                    "outcome": "ok",
                }
                value = orjson.dumps(event)
                await publisher._producer.send_and_wait(stage.topic, value, partition=partition)
                said.append(event)
    return said


def shown(workers: list[WorkerProcess], metrics: set[str]) -> Rows:
    """What they show together."""
    found: Rows = Counter()
    for worker in workers:
        found += rows(worker.get("/metrics").decode())
    return Counter({row: n for row, n in found.items() if row[0] in metrics and row[1:2] != ("staff_pulse",)})


def counted_by(worker: WorkerProcess) -> float:
    """Events of any stage."""
    return worker.scrape().sum("touchpoint_records_total", result="counted")


def first_to_count(workers: list[WorkerProcess], before: dict[str, float]) -> WorkerProcess:
    """One that has counted more than before."""
    found = until(lambda: [one for one in workers if counted_by(one) > before[one.url]], "one counts")
    return found[0]


def differing(found: Rows, wanted: Rows) -> dict[tuple[str, ...], tuple[int, int]]:
    """Row to (shown, as the README files say)."""
    rows_of_both = found.keys() | wanted.keys()
    return {row: (found[row], wanted[row]) for row in rows_of_both if found[row] != wanted[row]}


@pytest.mark.full
@pytest.mark.timeout(300)
def test_workers_that_are_killed_count_what_the_readme_files_say(tmp_path: Path) -> None:
    """Journeys at every edge are published in any order while workers are killed and replaced."""
    file = tmp_path / "journey.yaml"
    file.write_text(JOURNEY)
    now, random_ = datetime.now(UTC).replace(microsecond=0), random.Random(4)
    events = generated(4, 160, now)
    with running(TansuNode()) as node, ExitStack() as stack:
        settings = Settings(kafka=node.bootstrap, group=GROUP, journey=file)
        partitions = asyncio.run(topics_of(settings))

        def worker() -> WorkerProcess:
            places = {"KAFKA": node.bootstrap, "GROUP": GROUP, "JOURNEY": str(file)}
            return stack.enter_context(
                WorkerProcess(STATE_DIR=str(tmp_path / str(random_.random())), **places)
            )

        workers = [worker(), worker()]
        for part in range(KILLS + 1):
            before = {one.url: counted_by(one) for one in workers}
            asyncio.run(publish(settings, events[part :: KILLS + 1]))
            if part < KILLS:
                victim = first_to_count(workers, before)
                victim.process.send_signal(signal.SIGKILL)
                victim.process.wait()
                workers.remove(victim)
                workers.append(worker())
        events += asyncio.run(say_now(settings, partitions, now))
        expected, _ = count(yaml.safe_load(JOURNEY), events, now + timedelta(minutes=5))
        metrics = {row[0] for row in expected}
        wanted = Counter({row: n for row, n in expected.items() if row[1:2] != ("staff_pulse",)})
        wrong: list[object] = []

        def agree() -> bool:
            try:
                wrong[:] = differing(shown(workers, metrics), wanted).items()
            except urllib.error.URLError:
                return False
            return not wrong

        with contextlib.suppress(AssertionError):
            until(agree, "every row is as the README files say", 120)
        assert wrong == []
