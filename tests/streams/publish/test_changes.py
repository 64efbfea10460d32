"""Changes reach every worker's metrics in the background, whatever else lies in their topic."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

import streams.publish.changes
from deploy.kafka.kafka import KafkaNode
from monitor.errors import UserError
from streams.clock import now_ms
from streams.kafka import read_back, topics
from streams.kafka.publisher import Publisher
from streams.publish.changes import ChangesReader, Told, publish, record
from streams.settings import Settings
from tests.kit.brokers import Node, TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, touchpoint
from tests.kit.shipped import SHIPPED as CHAIR

TOPIC = "touchpoint.changes.v1"
METRIC = "touchpoint_last_change_timestamp_seconds"


@asynccontextmanager
async def reading(reader: ChangesReader) -> AsyncIterator[None]:
    """The reader at work; it must not end by itself."""
    task = asyncio.create_task(reader.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def change(title: str, kind: str = "deploy", stage: str | None = None, ago_s: int = 0) -> bytes:
    """The record of a change so many seconds ago."""
    return record(CHAIR, Told(title, kind, stage, now_ms() - 1000 * ago_s), now_ms())


def titles(reader: ChangesReader) -> dict[str, str]:
    """The latest title by stage."""
    return {found.stage: found.title for found in reader.latest.since(now_ms())}


async def wait_for(probe: Callable[[], bool], what: str) -> None:
    """Wait without holding up the loop."""
    await asyncio.to_thread(until, probe, what)


async def send(bootstrap: str, values: list[bytes | None]) -> None:
    """Publish records as they are, even without a value."""
    async with Publisher(bootstrap, idempotent=False) as publisher:
        for value in values:
            await publisher.send(TOPIC, b"key", value)  # type: ignore[arg-type]


async def test_the_latest_of_each_stage(broker: Node, caplog: pytest.LogCaptureFixture) -> None:
    """From the beginning of the topic on; what is no change is told in a line that does not quote it."""
    settings = Settings(kafka=broker.bootstrap)
    async with topics.connected(settings) as admin:
        await topics.ensure_all(admin, [topics.changes_topic(CHAIR)], settings)
        assert await topics.partition_counts(admin, [TOPIC]) == {TOPIC: 1}
    late = change("late but old", stage="store", ago_s=60)
    long_ago = orjson.dumps(
        {
            "id": "x",
            "time": datetime.now(UTC) - timedelta(days=8),
            "kind": "deploy",
            "title": "old",
            "stage": "feedback",
        }
    )
    await send(
        broker.bootstrap,
        [change("first", stage="store", ago_s=5), late, None, b"hush {", long_ago, b'{"title":"hush"}'],
    )
    await publish(CHAIR, settings, change("everything", "incident"))
    reader = ChangesReader(CHAIR, settings)
    with caplog.at_level(logging.WARNING, "streams.publish.changes"):
        async with reading(reader):
            await wait_for(lambda: titles(reader) == {"store": "first", "all": "everything"}, "both read")
            await publish(CHAIR, settings, change("second", stage="store"))
            await wait_for(lambda: titles(reader)["store"] == "second", "news read")
    said = [entry.getMessage() for entry in caplog.records if entry.name == "streams.publish.changes"]
    assert said == [
        f"{TOPIC}:0:2 is not a change and is skipped: the record has no value",
        f"{TOPIC}:0:3 is not a change and is skipped: the value is not JSON text",
        f"{TOPIC}:0:5 is not a change and is skipped: Object missing required field `id`",
    ]


@pytest.mark.full
async def test_goes_on_after_a_broker_restart(tmp_path: Path) -> None:
    """What is published after the broker was killed and started again is read; what was known stays known."""
    with running(KafkaNode(tmp_path / "kafka")) as node:
        settings = Settings(kafka=node.bootstrap)
        await publish(CHAIR, settings, change("before", stage="store"))
        reader = ChangesReader(CHAIR, settings)
        async with reading(reader):
            await wait_for(lambda: titles(reader) == {"store": "before"}, "read")
            await asyncio.to_thread(node.kill)
            await asyncio.to_thread(node.start)
            assert titles(reader) == {"store": "before"}
            await publish(CHAIR, settings, change("after"))
            await wait_for(lambda: titles(reader) == {"store": "before", "all": "after"}, "read on")


async def test_waits_for_a_broker_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without Kafka it tries again and says so once, not at every attempt."""
    monkeypatch.setattr(streams.publish.changes, "RETRY_S", 0.05)
    reader = ChangesReader(CHAIR, Settings(kafka="127.0.0.1:9"))

    def tries(level: int) -> int:
        return sum(
            entry.levelno == level and "trying again" in entry.getMessage() for entry in caplog.records
        )

    with caplog.at_level(logging.INFO, "streams.publish.changes"):
        async with reading(reader):
            await wait_for(lambda: tries(logging.INFO) >= 2, "tried thrice")
            assert tries(logging.WARNING) == 1
            with running(TansuNode()) as node:
                settings = Settings(kafka=node.bootstrap)
                await publish(CHAIR, settings, change("at last"))
                reader._settings = settings  # as if it were there now
                await wait_for(lambda: titles(reader) == {"all": "at last"}, "read")


async def test_ends_with_what_fetches_for_it(broker: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is a task of Kafka's client, of which no poll tells: before, nothing more was read, unnoticed."""
    consumers: list[Any] = []

    @asynccontextmanager
    async def seen(settings: Settings) -> AsyncIterator[Any]:
        async with read_back.reading(settings) as consumer:
            consumers.append(consumer)
            yield consumer

    monkeypatch.setattr(streams.publish.changes, "reading", seen)
    following = asyncio.create_task(ChangesReader(CHAIR, Settings(kafka=broker.bootstrap)).run())
    try:
        await wait_for(lambda: bool(consumers), "reading")
        consumers[0]._fetcher._fetch_task.cancel()
        with pytest.raises(RuntimeError, match="nobody ends it"):
            await asyncio.wait_for(asyncio.shield(following), 10)
    finally:
        following.cancel()
        await asyncio.wait([following])


def test_from_the_command_to_the_metrics(broker: Node) -> None:
    """`touchpoint change` publishes one; every worker shows it, and one that starts later too."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    done = touchpoint(
        "change", "kassa 2.0", "--stage", "store", "--at", at.isoformat(), KAFKA=broker.bootstrap
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = orjson.loads(done.stdout)
    assert told.pop("id")
    assert datetime.fromisoformat(told.pop("time")) == at
    assert told == {"kind": "deploy", "stage": "store", "title": "kassa 2.0"}
    with WorkerProcess(KAFKA=broker.bootstrap) as worker:
        labels = {"stage": "store", "kind": "deploy", "title": "kassa 2.0"}
        until(lambda: worker.scrape().sum(METRIC, **labels) == at.timestamp(), "shown")
        done = touchpoint("change", "power cut", "--kind", "incident", KAFKA=broker.bootstrap)
        assert done.returncode == 0
        until(lambda: len(worker.scrape().labels(METRIC)) == 2, "shown while running")
        worker.ready()
        scrape = worker.scrape()
        assert scrape.sum("touchpoint_partitions") == scrape.sum("touchpoint_partitions_owned") == 32
        assert worker.get("/runbooks/StageSilent").startswith(b"# StageSilent\n")
        assert worker.end()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--kind", "deplo"], "unknown kind `deplo`; did you mean `deploy`?"),
        (["x", "--stage", "stor"], "unknown stage `stor`; did you mean `store`?"),
        (["x", "--at", "yesterday"], "`yesterday` is not an RFC 3339 time"),
        (
            ["x", "--at", "2026-01-01T00:00:00Z"],
            "the change is more than 7 days old, so nothing would show it",
        ),
        (["x", "--at", "2199-01-01T00:00:00Z"], "not published: ahead of the clock - at `$.time`"),
        (["x" * 81], "not published: Expected `str` of length <= 80 - at `$.title`"),
        ([" "], "not published: blank, or cannot be shown in one line - at `$.title`"),
        (["x"], "Kafka at 127.0.0.1:9 does not answer"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str) -> None:
    """A mistake is told in a line, with exit code 1."""
    done = touchpoint("change", *arguments, KAFKA="127.0.0.1:9", KAFKA_TIMEOUT_S="1")
    assert done.returncode == 1
    assert done.stderr.startswith(f"touchpoint: {said}")
    assert done.stderr.count("\n") == 1


async def test_a_topic_with_other_partitions_is_told(broker: Node) -> None:
    """The order of changes is that of one partition: any other count is an error before anything is sent."""
    settings = Settings(kafka=broker.bootstrap)
    async with topics.connected(settings) as admin:
        await topics.create(admin, [topics.Topic(TOPIC, 2)], settings)
    with pytest.raises(UserError, match=f"topic {TOPIC} has 2 partitions, expected 1"):
        await publish(CHAIR, settings, change("x"))
