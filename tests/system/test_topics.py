"""Topics that somebody changes while workers run, on Apache Kafka: every event counts all the same."""

import asyncio
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.kafka.kafka import KafkaNode
from monitor.counting.metrics import WHOLE_SINCE
from tests.kit.brokers import as_admin, running
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, touchpoint
from tests.system.test_worker import TOPIC, checkout, checkouts_in_hour, committed

pytestmark = pytest.mark.full

STEPS = "touchpoint-monitor-journey-steps"


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[str]:
    """Where a broker of the test's own answers."""
    with running(KafkaNode(tmp_path / "kafka")) as node:
        yield node.bootstrap


def add_partitions(kafka: str, topic: str, total: int) -> None:
    """What an operator does whose topic has become too small."""
    as_admin(kafka, lambda admin: admin.create_partitions({topic: NewPartitions(total)}))


def publish(kafka: str, numbers: range, partitions: int) -> None:
    """Checkouts with these numbers, evenly over so many partitions."""

    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=20) as producer:
            for number in numbers:
                await producer.send(TOPIC, checkout(number), partition=number % partitions)

    asyncio.run(produce())


def judged(*workers: WorkerProcess) -> float:
    """Checkouts in the last hour, over workers."""
    return checkouts_in_hour(*(worker.scrape() for worker in workers))[0]


def owned(*workers: WorkerProcess) -> float:
    """Partitions counted, over workers."""
    return sum(worker.scrape().sum("touchpoint_partitions_owned") for worker in workers)


def test_partitions_added_to_a_stage_are_counted(kafka: str, tmp_path: Path) -> None:
    """Workers notice by themselves, give the changelog as many, and count old and new partitions exactly."""
    with (
        WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path / "1")) as first,
        WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path / "2")) as second,
    ):
        workers = first.ready(), second.ready()
        publish(kafka, range(400), 4)
        until(lambda: judged(*workers) == 400, "counted")
        add_partitions(kafka, TOPIC, 8)
        publish(kafka, range(400, 1200), 8)
        until(lambda: owned(*workers) == 36 and judged(*workers) == 1200, "all 36 partitions", 120)
        assert {w.scrape().sum("touchpoint_partitions") for w in workers} == {36}
        publish(kafka, range(1200, 1600), 8)
        until(lambda: judged(*workers) == 1600, "counted on")
    with WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path / "1")) as again:
        again.ready()
        assert judged(again) == 1600


def test_a_worker_that_may_create_nothing_says_what_to_do(kafka: str, tmp_path: Path) -> None:
    """It ends with one line that names the topic and the command, which makes it work again."""
    settings = {"KAFKA": kafka, "STATE_DIR": str(tmp_path), "CREATE_TOPICS": "false"}
    assert touchpoint("topics", KAFKA=kafka).returncode == 0
    with WorkerProcess(**settings) as worker:
        worker.ready()
        add_partitions(kafka, TOPIC, 8)
        code, said = worker.ended(60)
    assert code == 1
    changelog = "touchpoint-monitor-web_checkout-changelog"
    line = f"topic {changelog} has 4 partitions, expected 8: `touchpoint topics --grow` adds the others"
    assert said.splitlines()[-1].endswith(line)
    assert line in touchpoint("topics", **settings).stderr
    assert f"{TOPIC}: 8 partitions" in touchpoint("topics", "--grow", **settings).stdout
    publish(kafka, range(800), 8)
    with WorkerProcess(**settings) as worker:
        worker.ready()
        until(lambda: judged(worker) == 800, "counted")


def test_a_topic_that_takes_less_than_is_written_is_named(kafka: str) -> None:
    """Each in one line, with what to set, after all counts; its first large record would end a worker."""
    fine = touchpoint("topics", KAFKA=kafka)
    assert (fine.returncode, f"{TOPIC}: " in fine.stdout) == (0, True)
    ours = (
        f"{TOPIC}.dlq",
        "touchpoint-monitor-journeys-kept-changelog",
        STEPS,
        "touchpoint.closed-journeys.v1",
    )

    def limit(n_bytes: int) -> None:
        some = [
            ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": str(n_bytes)})
            for name in (*ours, TOPIC)
        ]
        as_admin(kafka, lambda admin: admin.alter_configs(some))

    def ends(code: int) -> bool:
        return touchpoint("topics", KAFKA=kafka).returncode == code

    limit(1_048_588)
    until(lambda: ends(1), "the broker knows of the limit", 30)
    done = touchpoint("topics", KAFKA=kafka)
    assert done.stdout == fine.stdout
    assert sorted(done.stderr.splitlines()) == sorted(
        f"touchpoint: topic {name} takes records of at most 1,048,588 bytes, "
        "but larger ones may be written to it: set its max.message.bytes to 16777216"
        for name in ours
    )
    limit(16_777_216)
    until(lambda: ends(0), "the broker knows of the limit", 30)


def test_journeys_do_not_move_to_partitions_added_to_their_topic(kafka: str, tmp_path: Path) -> None:
    """A journey is kept where its id says; the line names both topics and what starts journeys anew."""
    with WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path)) as worker:
        worker.ready()
        add_partitions(kafka, STEPS, 8)
        code, said = worker.ended(60)
    assert code == 1
    assert said.splitlines()[-1].endswith(
        f"topic {STEPS} has 8 partitions, but journeys are kept in the 4 of"
        " touchpoint-monitor-journeys-kept-changelog: delete both, and journeys begin anew"
    )


def create_again(kafka: str, topic: str, partitions: int = 4) -> None:
    """What an operator does to get rid of a topic's records."""

    async def work(admin: Any) -> None:
        await admin.delete_topics([topic])
        code = -1
        async with asyncio.timeout(60):
            while code:  # Kafka is still deleting it
                code = (await admin.create_topics([NewTopic(topic, partitions, 1)])).topic_errors[0][1]

    as_admin(kafka, work)


CHANGELOG = "touchpoint-monitor-web_checkout-changelog"


def test_a_changelog_deleted_while_workers_run_is_made_anew(kafka: str, tmp_path: Path) -> None:
    """Its partitions were counted by nobody, until somebody restarted the worker."""
    with WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path)) as worker:
        worker.ready()
        publish(kafka, range(400), 4)
        until(lambda: committed(kafka) == 400, "committed")
        as_admin(kafka, lambda admin: admin.delete_topics([CHANGELOG]))
        until(lambda: f"topic {CHANGELOG} was deleted: beginning anew" in worker.said(), "noticed", 60)
        publish(kafka, range(400, 800), 4)
        until(lambda: committed(kafka) == 800, "counted on", 60)
        assert f"{TOPIC}:3: its changelog was deleted, and counts with it" in worker.said()
        assert worker.ready().scrape().sum(WHOLE_SINCE.name, topic=TOPIC) > 0


def test_a_changelog_deleted_meanwhile_is_told(kafka: str, tmp_path: Path) -> None:
    """Windows begin anew; since when they are whole is said until it is long ago, whoever counts on."""

    def since(worker: WorkerProcess) -> float:
        found = worker.scrape()
        assert {one["topic"] for one in found.labels(WHOLE_SINCE.name)} <= {TOPIC}
        return found.sum(WHOLE_SINCE.name, topic=TOPIC)

    with WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path)) as worker:
        worker.ready()
        publish(kafka, range(400), 4)
        until(lambda: committed(kafka) == 400, "committed")
        assert since(worker) == 0
        assert worker.json("/api/stages")["stages"][0]["whole_since"] is None
        worker.end(signal.SIGKILL)
    create_again(kafka, CHANGELOG)
    lost_s = time.time()
    with WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path)) as again:
        again.ready()
        noticed_s = since(again)
        assert 4 * lost_s < noticed_s < 4 * time.time()
        said = again.json("/api/stages")["stages"][0]["whole_since"]
        assert datetime.fromisoformat(said).timestamp() > lost_s
        assert f"{TOPIC}:3: its changelog was deleted, and counts with it" in again.said()
        publish(kafka, range(400, 800), 4)
        until(lambda: judged(again) == 400 and committed(kafka) == 800, "counted on")
        again.end(signal.SIGKILL)
    with WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path)) as last:
        last.ready()
        assert (judged(last), since(last)) == (400, noticed_s)


@pytest.mark.parametrize("is_running", [True, False])
def test_a_topic_created_again_is_counted_from_its_beginning(
    kafka: str, tmp_path: Path, is_running: bool
) -> None:
    """Its offsets begin anew, below those that are counted; what the old one held stays counted, once."""
    with WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path)) as worker:
        worker.ready()
        publish(kafka, range(400), 4)
        until(lambda: judged(worker) == 400, "counted")
        until(lambda: committed(kafka) == 400, "committed")
        if is_running:
            create_again(kafka, TOPIC)
            publish(kafka, range(400, 1200), 4)  # more than there were: the old offsets exist again
            until(lambda: judged(worker) == 1200, "the new topic counted")
            assert worker.process.poll() is None
        else:
            worker.end(signal.SIGKILL)
    if not is_running:
        create_again(kafka, TOPIC)
        publish(kafka, range(400, 1200), 4)
    with WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path)) as again:
        again.ready()
        until(lambda: judged(again) == 1200, "the new topic counted")
        publish(kafka, range(1200, 1300), 4)
        until(lambda: judged(again) >= 1300, "counted on")
        until(lambda: committed(kafka) == 900, "committed in the new topic")
        again.end(signal.SIGKILL)
    with WorkerProcess(KAFKA=kafka, STATE_DIR=str(tmp_path)) as last:
        last.ready()
        assert judged(last) == 1300
