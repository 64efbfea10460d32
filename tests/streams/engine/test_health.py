"""The watchdog and the steady clock, stepped by hand."""

import asyncio
from collections.abc import Hashable
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from streams import clock
from streams.clock import SteadyClock
from streams.engine.health import Supervisor, Watchdog
from streams.kafka import internals
from tests.kit.brokers import Node
from tests.streams.engine.test_transport import SOURCE, eventually, failure, worker_app


def test_work_without_progress_is_timed_from_its_beginning() -> None:
    """Stalled counts from the last change; a change starts it over; no work is never stalled."""
    state: Hashable | None = None
    dog = Watchdog(lambda: state, patience_s=60)
    assert dog.stalled_s(0) == 0
    state = ("lag", 1)
    assert dog.stalled_s(100) == 0
    assert dog.stalled_s(130) == 30
    state = ("lag", 2)
    assert dog.stalled_s(140) == 0
    assert dog.stalled_s(155) == 15
    state = None
    assert dog.stalled_s(500) == 0
    state = ("lag", 2)
    assert dog.stalled_s(900) == 0


async def test_it_barks_once_patience_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """With work that never moves, the wait ends after the patience."""
    monkeypatch.setattr("streams.engine.health.CHECK_S", 0.001)
    dog = Watchdog(lambda: "stuck", patience_s=0.01)
    assert await dog.bark() >= 0.01


def test_the_steady_clock_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the machine's clock jumps back an hour, the steady one runs on until it is caught up."""
    hour = 3_600_000
    walls = iter([1_000_000, 1_000_500, 1_001_000 - hour, 1_002_000 - hour, 1_009_000])
    ticks = iter([50.0, 50.5, 51.0, 52.0, 53.0])
    monkeypatch.setattr(clock, "now_ms", lambda: next(walls))
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    steady = SteadyClock()
    assert [steady.now_ms() for _ in range(4)] == [1_000_500, 1_001_000, 1_002_000, 1_009_000]


async def test_what_ends_is_begun_again_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that dies once is a problem until its successor has run for a while."""
    monkeypatch.setattr("streams.engine.health.RESTART_S", 0)
    monkeypatch.setattr("streams.engine.health.SETTLED_S", 0.05)
    failures: list[str] = []
    supervisor = Supervisor(lambda what, _: failures.append(what))
    seen: list[dict[str, str]] = []

    async def work() -> None:
        seen.append(dict(supervisor.problems))
        if len(seen) == 1:
            raise UnicodeDecodeError("utf-8", b"h\xe4", 1, 2, "invalid")
        await asyncio.Event().wait()

    keeping = asyncio.create_task(supervisor.keep("the reader", work))
    async with asyncio.timeout(60):
        while len(seen) < 2 or supervisor.problems:
            await asyncio.wait([keeping], timeout=0.001)
    keeping.cancel()
    assert seen == [{}, {"the reader": "the reader has ended (UnicodeDecodeError)"}]
    assert failures == []


@pytest.mark.parametrize("error", [None, KeyError("x")])
async def test_what_ends_again_and_again_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """Also if it ends without an error: nothing that is kept running should."""
    monkeypatch.setattr("streams.engine.health.RESTART_S", 0)
    failures: list[str] = []
    supervisor = Supervisor(lambda what, _: failures.append(what))

    async def work() -> None:
        if error is not None:
            raise error

    await asyncio.wait_for(supervisor.keep("the reader", work), 10)
    assert failures == ["the reader has ended 4 times"]
    assert list(supervisor.problems) == ["the reader"]


async def test_what_waits_for_something_that_is_cancelled_is_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was not cancelled itself, as a worker does that ends."""
    monkeypatch.setattr("streams.engine.health.RESTART_S", 0)
    supervisor = Supervisor(lambda _what, _error: None)
    times = 0

    async def work() -> None:
        nonlocal times
        times += 1
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waited.cancel()
        await waited

    await asyncio.wait_for(supervisor.keep("the reader", work), 10)
    assert (times, list(supervisor.problems)) == (4, ["the reader"])


async def test_a_partition_of_which_kafka_says_nothing_is_not_read(
    broker: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no leader, or a connection hangs: its lag was that of the last answer before, and ready 1.

    Kafka's client asks nothing of a partition that is paused, either.
    """
    monkeypatch.setattr("streams.engine.thread.TOLD_MS", 500)
    monkeypatch.setattr("streams.engine.health.STALLED_S", 0.5)
    async with worker_app(broker, tmp_path) as app:

        async def is_ready() -> bool:
            await asyncio.sleep(0.01)
            return app.health.is_ready

        async def is_not_ready() -> bool:
            return not await is_ready()

        await eventually(is_ready)
        client = internals.kafka_consumer(app.consumer.kafka)
        client.pause(TopicPartition(*SOURCE))
        await eventually(is_not_ready)
        said = "Kafka gives nothing of source partition 0: its leader is away, or hangs"
        assert (app.health.problem, app.health.failure) == (said, None)
        app.consumer.kafka.thread_loop.call_soon_threadsafe(client.resume, TopicPartition(*SOURCE))
        await eventually(is_ready)


async def test_a_worker_that_fetches_nothing_any_more_ends(broker: Node, tmp_path: Path) -> None:
    """Kafka's client ends its own task at what it does not expect; every poll was empty then, for ever."""
    async with worker_app(broker, tmp_path) as app:
        client = internals.kafka_consumer(app.consumer.kafka)
        app.consumer.kafka.thread_loop.call_soon_threadsafe(client._fetcher._fetch_task.cancel)
        assert await failure(app) == "reading has ended: RuntimeError: nobody ends it"
