"""The batched consumer of a real worker's app, on the embedded broker and, marked `full`, on Apache Kafka."""

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.protocol.offset import OffsetResetStrategy
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from deploy.kafka.kafka import KafkaNode
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.live.journeys import PartitionLag
from streams.engine import transport
from streams.engine.app import App
from streams.engine.tables import ChangelogQueue, TableManager
from streams.engine.thread import ConsumerThread
from streams.engine.transport import IDLE_S, Transport
from streams.journeys.records import clock_key, pack_clock
from streams.kafka import topics
from streams.kafka.errors import in_words
from streams.settings import Settings
from streams.state.partition import next_epoch
from streams.worker import Worker
from tests.kit.brokers import Node, TansuNode, running
from tests.kit.members import join

JOURNEY = parse(
    "version: 1\njourney: x\nsegments: []\n"
    "stages: {a: {kind: customer, owner: me, topic: source, partitions: 1, experiences:"
    " {e: {judges: {}, good: {outcome: [ok]}, target: 0.9}}}}\n"
)
"""One stage of one partition, so that of two workers one has none."""

TWO_PARTITIONS = (
    "version: 1\njourney: x\nsegments: []\n"
    "stages: {a: {kind: customer, owner: me, topic: source, partitions: 2, experiences:"
    " {e: {judges: {}, good: {outcome: [ok]}, target: 0.9}}}}\n"
)

WITH_JOURNEYS = parse(
    "version: 1\njourney: x\nsegments: []\n"
    "stages: {a: {kind: customer, owner: me, topic: source, partitions: 1, experiences:"
    " {e: {judges: {}, good: {outcome: [ok]}, target: 0.9}}}}\n"
    "journeys: {owner: me, starts: {stage: [a]}, goal: {outcome: [ok]}, target: 0.9, limit: 1d}\n"
)

GROUP = "transport"

SOURCE = TP("source", 0)
CHANGELOG = TP(topics.changelog_topic(GROUP, "a"), 0)

DEADLINE_S = 60


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Repeat a check, which itself waits for something, until it is true."""
    async with asyncio.timeout(DEADLINE_S):
        while not await check():
            pass


@asynccontextmanager
async def worker_app(broker: Node, state: Path, journey: Journey = JOURNEY) -> AsyncIterator[App]:
    """A worker's app that has joined the group and owns what it was assigned."""
    settings = Settings(kafka=broker.bootstrap, group=GROUP, session_timeout_s=6, state_dir=state)
    async with topics.connected(settings) as admin:
        counts = await topics.ensure(admin, journey, settings)
        can = await topics.abilities(admin)
        app = App(journey, settings, counts, can)
        app.know_topics(await topics.states(admin, app.cluster.topics))
    watching = asyncio.create_task(app.cluster.watch())  # or Kafka is not heard after 15 s
    await app.start()
    try:
        await eventually(lambda: owns(app))
        yield app
    finally:
        await app.stop()
        watching.cancel()


async def owns(app: App) -> bool:
    """Whether every stage has its partitions, after a turn of the loop."""
    await asyncio.sleep(IDLE_S)
    assert app.health.failure is None
    return not app.rebalancing and all(stage.owned is not None for stage in app.processors)


async def publish(broker: Node, *tps: TP) -> None:
    """One record into each partition."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer:
        for tp in tps:
            await producer.send_and_wait(tp.topic, b"value", b"key", partition=tp.partition)


@pytest.mark.full
async def test_what_waits_behind_an_open_transaction_is_lag(tmp_path: Path) -> None:
    """Records behind it cannot be read and nobody is idle: lag counts them, and journeys' time stands still.

    Nothing is to be done about them either, so the watchdog has no work to wait for.
    """
    with running(KafkaNode(tmp_path / "kafka")) as node:
        async with (
            worker_app(node, tmp_path) as app,
            AIOKafkaProducer(bootstrap_servers=node.bootstrap, transactional_id="open") as producer,
        ):
            stage, consumer = app.processors[0], app.consumer
            await producer.begin_transaction()
            await producer.send_and_wait(SOURCE.topic, b"value", partition=0)
            await publish(node, SOURCE, SOURCE)

            async def lag() -> PartitionLag:
                await asyncio.sleep(IDLE_S)
                return app.lags(stage, time.time())[0]

            async def is_behind() -> bool:
                return (await lag()).records == 3

            async def is_not_read_up() -> bool:
                return consumer.kafka.read_up_ms_ago(SOURCE, None) is None

            await eventually(is_behind)
            await eventually(is_not_read_up)  # the fetch under way has to return first
            assert app.health._work_state() is None
            before = await lag()

            async def is_older() -> bool:
                return (await lag()).blocked_s > before.blocked_s >= 0

            await eventually(is_older)
            assert (await lag()).seconds >= before.seconds
            await producer.commit_transaction()

            async def is_read() -> bool:
                return await lag() == PartitionLag(0, 0, 0, position=3) and stage.results["refused"] == 3

            await eventually(is_read)


async def test_sources_are_not_read_while_the_group_rebalances(broker: Node, tmp_path: Path) -> None:
    """Changelogs are read meanwhile; with nothing but sources to read, nothing is, and a moment passes."""
    async with worker_app(broker, tmp_path) as app:
        await app._fetcher.stop()  # what comes in from here on is for this test to read,
        consumer = app.consumer
        await consumer._getmany({SOURCE}, 1.5)  # once the fetcher's own last call, of 1 s, has ended
        await publish(broker, SOURCE, CHANGELOG)
        read: dict[TP, list[list[bytes]]] = {}

        async def read_some(*tps: TP) -> bool:
            for tp, batches in (await consumer._getmany(set(tps), 0.5)).items():
                read[tp] = [[record.value for record in batch] for batch in batches]
            return bool(read)

        app.rebalancing = True
        await eventually(lambda: read_some(SOURCE, CHANGELOG))
        assert read == {CHANGELOG: [[b"value"]]}

        read.clear()
        began_s = asyncio.get_running_loop().time()
        assert not await read_some(SOURCE)
        assert asyncio.get_running_loop().time() - began_s >= IDLE_S / 2

        app.rebalancing = False
        await eventually(lambda: read_some(SOURCE))
        assert read == {SOURCE: [[b"value"]]}


async def test_a_large_batch_of_one_partition_holds_up_no_other(broker: Node, tmp_path: Path) -> None:
    """aiokafka hands over the whole of it first: a million empty records held up other stages for minutes."""
    first, second = SOURCE, TP(SOURCE.topic, 1)
    async with worker_app(broker, tmp_path, parse(TWO_PARTITIONS)) as app:
        await app._fetcher.stop()
        consumer, most = app.consumer, app.conf.broker_max_poll_records
        await consumer._getmany({first, second}, 1.5)
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, max_batch_size=1_000_000) as producer:
            batch = producer.create_batch()
            for _ in range(5 * most):
                assert batch.append(key=None, value=b"", timestamp=None) is not None
            await (await producer.send_batch(batch, first.topic, partition=first.partition))
        read: dict[TP, int] = {}

        async def read_some() -> bool:
            read.update(
                {tp: len(one) for tp, (one,) in (await consumer._getmany({first, second}, 0.5)).items()}
            )
            return bool(read)

        await eventually(read_some)
        assert read == {first: most}
        await publish(broker, second)
        await eventually(lambda: has_fetched(consumer.kafka, second))
        for _ in range(2):  # it is behind what is left of the first, once
            await read_some()
        assert read == {first: most - 1, second: 1}


@pytest.mark.full
async def test_a_changelog_that_ends_with_an_aborted_transaction_is_recovered(tmp_path: Path) -> None:
    """Its last offsets hold no record: Faust waited for them at every start, until the worker gave up."""
    with running(KafkaNode(tmp_path / "kafka")) as node:
        async with worker_app(node, tmp_path):
            await publish(node, CHANGELOG)
        for partition in (CHANGELOG, SOURCE):
            async with AIOKafkaProducer(
                bootstrap_servers=node.bootstrap, transactional_id="foreign"
            ) as producer:
                await producer.begin_transaction()
                await producer.send_and_wait(partition.topic, b"value", b"key", partition=0)
                await producer.abort_transaction()
        async with worker_app(node, tmp_path) as app:
            assert app.processors[0].owned == frozenset({0})


async def has_fetched(kafka: ConsumerThread, tp: TP) -> bool:
    """Whether Kafka's client holds something of a partition that nobody has taken."""
    await asyncio.sleep(IDLE_S)
    return kafka.unread(tp) > 0


async def test_reading_waits_for_what_is_not_folded_but_not_for_ever(
    broker: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that nobody folds, as one that a rebalance has thrown away, stops reading for a while only."""
    async with worker_app(broker, tmp_path) as app:
        await app._fetcher.stop()
        consumer = app.consumer
        await consumer._getmany({SOURCE}, 1.5)
        monkeypatch.setattr(transport, "MAX_HANDED_BYTES", 1)
        monkeypatch.setattr(transport, "HOLD_S", float("inf"))
        held: list[Any] = []

        async def read_more() -> bool:
            found = await consumer._getmany({SOURCE}, 0.5)
            held.extend(batch for batches in found.values() for batch in batches)
            return bool(found)

        await publish(broker, SOURCE)
        await eventually(read_more)
        await publish(broker, SOURCE)
        assert not await read_more()
        held[-1].clear()
        await eventually(read_more)

        await publish(broker, SOURCE)
        assert not await read_more()
        monkeypatch.setattr(transport, "HOLD_S", 0.0)
        await eventually(read_more)
        assert len(held) == 3


async def test_a_member_is_confirmed_until_the_group_moves_on(broker: Node, tmp_path: Path) -> None:
    """A second member joins: both are confirmed in the new generation, nobody in the old one.

    One of the two has no partition, hence nothing it could commit, and is confirmed too.
    """
    async with worker_app(broker, tmp_path / "1") as first:
        old = first.consumer_generation_id
        assert await first.consumer.confirm_membership(old)
        async with worker_app(broker, tmp_path / "2") as second:

            async def shared() -> bool:
                return await owns(first) and first.consumer_generation_id == second.consumer_generation_id

            await eventually(shared)
            assert sorted(len(app.processors[0].owned or ()) for app in (first, second)) == [0, 1]
            new = first.consumer_generation_id
            assert new > old
            for app in (first, second):
                assert await app.consumer.confirm_membership(new)
                if app.processors[0].owned:
                    assert not await app.consumer.confirm_membership(old)


async def dropped(broker: Node, app: App) -> None:
    """Have the group's coordinator forget a member, which does not know of it yet."""
    coordinator = app.consumer._thread._ensure_consumer()._coordinator
    client = AIOKafkaClient(bootstrap_servers=broker.bootstrap)
    await client.bootstrap()
    try:
        node = client.get_random_node()
        await client.ready(node)
        answer = await client.send(node, LeaveGroupRequest(GROUP, coordinator.member_id))
        assert answer.error_code == 0
    finally:
        await client.close()


async def is_back(app: App, since: int) -> bool:
    """Whether it owns its partitions again, in a later generation."""
    return await owns(app) and app.consumer_generation_id != since


async def test_a_member_that_the_group_has_dropped_is_not_confirmed(broker: Node, tmp_path: Path) -> None:
    """What the coordinator knows counts, not what the worker believes; it then joins anew by itself."""
    async with worker_app(broker, tmp_path) as app:
        generation = app.consumer_generation_id
        await dropped(broker, app)
        assert not await app.consumer.confirm_membership(generation)
        await eventually(lambda: is_back(app, generation))
        assert await app.consumer.confirm_membership(app.consumer_generation_id)


async def test_a_client_without_a_generation_is_not_confirmed(broker: Node, tmp_path: Path) -> None:
    """Kafka lets anybody commit for a group without members, whether or not the worker has heard of it."""
    async with worker_app(broker, tmp_path) as app:
        coordinator = app.consumer._thread._ensure_consumer()._coordinator
        generation = app.consumer_generation_id
        await dropped(broker, app)
        coordinator.reset_generation()
        assert not await app.consumer.confirm_membership(generation)
        with pytest.MonkeyPatch.context() as patch:  # puts back what it finds: it may have joined anew by now
            patch.setattr(app, "consumer_generation_id", -1)
            assert not await app.consumer.confirm_membership(-1)
        await eventually(lambda: is_back(app, generation))


async def test_what_another_has_owned_meanwhile_is_read_anew(broker: Node, tmp_path: Path) -> None:
    """A worker that the group had dropped goes on from what its successor has written of journeys."""
    async with worker_app(broker, tmp_path, WITH_JOURNEYS) as app:
        assert app.journeys is not None
        generation = app.consumer_generation_id
        topic, partition, epoch = topics.changelog_topic(GROUP, topics.JOURNEYS), 0, generation + 1
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer:
            clock = pack_clock(7, 1_800_000_000_000, {})
            await producer.send_and_wait(topic, clock, clock_key(epoch), partition=partition)
        await dropped(broker, app)
        await eventually(lambda: is_back(app, generation))
        assert app.journeys.snapshot(0, ()).clocks_ms[partition] == 1_800_000_000_000


async def test_only_what_was_ours_in_each_generation_is_read_on(broker: Node, tmp_path: Path) -> None:
    """One that the worker did not see, or saw without the partition, may have had another owner."""
    async with worker_app(broker, tmp_path) as app:
        (stage,), recovery, generation = app.processors, app.tables.recovery, app.consumer_generation_id
        assigned = set(app.consumer.assignment())

        async def is_read_on(later: int, tps: set[TP]) -> bool:
            recovery.active_offsets[CHANGELOG] = 7
            stage.restore(0, [])
            await recovery.on_rebalance(tps, set(), set(), generation + later)
            held = {tp.partition for tp in recovery.active_offsets if tp == CHANGELOG}
            assert held == stage._partitions.keys()
            return bool(held)

        assert await is_read_on(1, assigned)
        assert not await is_read_on(3, assigned)
        assert not await is_read_on(4, set())
        assert not await is_read_on(5, assigned)
        assert await is_read_on(6, assigned)
        assert not await is_read_on(-1, assigned)


async def test_a_confirmation_commits_nothing_new(broker: Node, tmp_path: Path) -> None:
    """What is committed stays so: confirming neither loses nor skips an event."""
    async with worker_app(broker, tmp_path) as app:
        kafka = app.consumer._thread._ensure_consumer()
        await publish(broker, SOURCE, SOURCE, SOURCE)
        assert await app.consumer._commit({SOURCE: 2})
        assert await app.consumer.confirm_membership(app.consumer_generation_id)
        assert await app.consumer._thread.call_thread(kafka.committed, SOURCE) == 2


async def test_recovery_is_told_in_the_log(
    broker: Node, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that reads a changelog says how far it is and, at the end, how much it was."""
    settings = Settings(kafka=broker.bootstrap, group=GROUP)
    async with topics.connected(settings) as admin:
        await topics.ensure(admin, JOURNEY, settings)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer:
        for start_ms in range(0, 9_000_000, 300_000):  # deletions are records too
            await producer.send_and_wait(CHANGELOG.topic, None, b"300000:%d:1" % start_ms, partition=0)
    caplog.set_level(logging.INFO, logger="streams.engine.app")
    async with worker_app(broker, tmp_path):
        told = [record.message for record in caplog.records if record.module == "app"]
    assert told[0].startswith("recovering counts: ")
    assert told[-1].startswith("counts recovered: 30 records read in ")


async def test_a_worker_waits_for_no_more_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are declared before it starts; Faust would wait a second for others."""
    slept_s: list[float] = []

    async def sleep(_: TableManager, seconds: float) -> None:
        slept_s.append(seconds)

    monkeypatch.setattr(TableManager, "sleep", sleep)
    with running(TansuNode()) as node:
        async with worker_app(node, tmp_path) as app:
            assert set(app.tables) == {"a"}
    assert slept_s == []


@pytest.mark.parametrize(("can", "session_s"), [(topics.APACHE_KAFKA, 30), (topics.EMBEDDED, 4)])
async def test_the_embedded_broker_keeps_nobody_waiting_to_join(
    can: topics.Abilities, session_s: float
) -> None:
    """It would for half of the session timeout that the setting has."""
    conf = App(JOURNEY, Settings(kafka="127.0.0.1:9"), {"source": 1}, can).conf
    assert (conf.broker_session_timeout, conf.broker_heartbeat_interval) == (session_s, session_s / 10)


async def test_a_fetch_across_a_rebalance_takes_nothing_from_the_recovery(
    broker: Node, tmp_path: Path
) -> None:
    """What it finds where a recovery has sought meanwhile is left for the recovery to read."""
    async with worker_app(broker, tmp_path) as app:
        thread = app.consumer._thread
        await publish(broker, CHANGELOG)
        assert CHANGELOG in await thread.getmany({CHANGELOG}, DEADLINE_S)
        lingering = asyncio.ensure_future(thread.getmany({CHANGELOG}, DEADLINE_S))  # at the end: it waits
        await thread.call_thread(asyncio.sleep, IDLE_S)
        assert not lingering.done()
        app.rebalancing_count += 1
        await thread.seek_wait({CHANGELOG: 0})
        assert await lingering == {}
        assert await thread.position(CHANGELOG) == 0
        assert CHANGELOG in await thread.getmany({CHANGELOG}, DEADLINE_S)


async def test_a_partition_without_a_position_ends_no_worker(broker: Node, tmp_path: Path) -> None:
    """Faust's watch over partitions may look while a rebalance has left one without."""
    async with worker_app(broker, tmp_path) as app:
        assignment = app.consumer._thread._ensure_consumer()._subscription.subscription.assignment
        assignment.state_value(TopicPartition(*SOURCE)).await_reset(OffsetResetStrategy.EARLIEST)
        await app.consumer.verify_all_partitions_active()
        app.consumer.verify_recovery_event_path(0.0, TP("of nobody", 0))


async def test_a_recovery_that_the_group_has_left_behind_owns_nothing(broker: Node, tmp_path: Path) -> None:
    """Faust takes an interrupted recovery for a finished one; what it says of an earlier one is void."""
    async with worker_app(broker, tmp_path) as app:
        (stage,) = app.processors
        stage.suspend()
        await app.tables.recovery.on_recovery_completed(app.consumer_generation_id - 1)
        assert stage.owned is None
        await app.tables.recovery.on_recovery_completed(app.consumer_generation_id)
        assert stage.owned == {0}


async def test_a_changelog_read_in_part_is_never_owned(broker: Node, tmp_path: Path) -> None:
    """A worker that would take over counts it has not read ends instead."""
    async with worker_app(broker, tmp_path) as app:
        (stage,) = app.processors
        stage.suspend()
        app.tables.recovery.active_highwaters[CHANGELOG] += 1
        await app.tables.recovery.on_recovery_completed(app.consumer_generation_id)
        assert stage.owned is None
        assert app.health.failure is not None
        assert "is read to" in app.health.failure
        app.health.failure = None  # the worker ends here; the test goes on to stop it


async def test_batches_of_an_earlier_generation_are_dropped(broker: Node, tmp_path: Path) -> None:
    """What waited for room in the queue while the group moved on is not read as the new owner's."""
    async with worker_app(broker, tmp_path) as app:
        queue = app.tables.changelog_queue
        for generation in (app.consumer_generation_id - 1, app.consumer_generation_id):
            queue.put_nowait(SimpleNamespace(message=SimpleNamespace(generation_id=generation)))
        found = await ChangelogQueue.get(queue)
        assert found.message.generation_id == app.consumer_generation_id


@asynccontextmanager
async def joining(broker: Node, state: Path, **options: Any) -> AsyncIterator[App]:
    """A worker's app at its start, which hears Kafka."""
    settings = Settings(kafka=broker.bootstrap, group=GROUP, state_dir=state, **options)
    async with topics.connected(settings) as admin:
        counts = await topics.ensure(admin, JOURNEY, settings)
    app = App(JOURNEY, settings, counts)
    beside = [asyncio.create_task(app.cluster.watch()), asyncio.create_task(app.start())]
    try:
        yield app
    finally:
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
        await app.stop()


async def failure(app: App) -> str:
    """Why the app cannot go on."""
    async with asyncio.timeout(DEADLINE_S):
        return await app.health.wait_for_failure()


async def test_a_restarted_static_member_has_epochs_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is of its predecessor's generation, whose late writes must not stand under its own key."""
    apps = [App(JOURNEY, Settings(kafka="127.0.0.1:9", instance_id="a"), {"source": 1}) for _ in range(2)]
    epochs = []
    for app, now_ms in zip(apps, (1_800_000_000_000, 1_800_000_001_000), strict=True):
        monkeypatch.setattr(app._clock, "now_ms", lambda now_ms=now_ms: now_ms)
        epochs.append(next_epoch(-1, app.term(3)))
        monkeypatch.setattr(app._clock, "now_ms", lambda now_ms=now_ms: now_ms + 60_000)
        assert next_epoch(-1, app.term(3)) == epochs[-1]
    assert epochs[0] < epochs[1] < next_epoch(epochs[1], 4)


async def test_a_broker_that_dies_before_the_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Kafka was there for the topics and is gone when Faust starts: said once, by the line that ends all."""

    async def start() -> None:
        raise KafkaConnectionError("Unable to bootstrap from [('127.0.0.1', 9, <AddressFamily.AF_INET: 2>)]")

    settings = Settings(kafka="127.0.0.1:9")
    app = App(JOURNEY, settings, {"source": 1})
    monkeypatch.setattr(app, "start", start)
    await Worker(JOURNEY, settings)._start(app, [], asyncio.Event())
    assert app.health.failure == "the worker cannot start: Kafka at 127.0.0.1:9 does not answer"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.full
async def test_a_session_timeout_that_kafka_refuses_ends_the_worker(tmp_path: Path) -> None:
    """Kafka's client only waits after such an answer; the worker names the setting and what is allowed."""
    with running(KafkaNode(tmp_path / "kafka")) as node:
        async with joining(node, tmp_path, session_timeout_s=1) as app:
            said = await failure(app)
    assert said.startswith(
        "the worker cannot join its group: Kafka refuses TOUCHPOINT_SESSION_TIMEOUT_S of 1;"
    )
    assert "allow 6 to 1800 s" in said


@pytest.mark.full
async def test_a_group_of_another_program_ends_the_worker(tmp_path: Path) -> None:
    """A group whose members share work in another way takes no worker, and the worker says so."""
    with running(KafkaNode(tmp_path / "kafka")) as node:
        settings = Settings(kafka=node.bootstrap, group=GROUP)
        async with topics.connected(settings) as admin:
            await topics.ensure(admin, JOURNEY, settings)
        other = AIOKafkaConsumer("source", bootstrap_servers=node.bootstrap, group_id=GROUP)
        async with other, joining(node, tmp_path) as app:
            said = await failure(app)
    assert said == (
        "the worker cannot join its group: the group transport belongs to another program;"
        " TOUCHPOINT_GROUP names the group"
    )


@pytest.mark.full
async def test_a_group_of_the_new_protocol_ends_the_worker(tmp_path: Path) -> None:
    """To Kafka the attempt is an unknown error; the worker says what it is, as of a classic group."""
    with running(KafkaNode(tmp_path / "kafka")) as node:
        settings = Settings(kafka=node.bootstrap, group=GROUP)
        async with topics.connected(settings) as admin:
            await topics.ensure(admin, JOURNEY, settings)
        await join(node.bootstrap, GROUP, "source")
        async with joining(node, tmp_path) as app:
            said = await failure(app)
    assert said == (
        "the worker cannot join its group: the group transport has members of Kafka's new consumer protocol,"
        " which no worker can join; TOUCHPOINT_GROUP names the group"
    )


@pytest.mark.full
async def test_a_worker_that_the_group_keeps_waiting_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka answers, but another member holds the group up for longer than any rebalance may take."""
    monkeypatch.setattr("streams.engine.health.JOIN_S", 3.0)
    with running(KafkaNode(tmp_path / "kafka")) as node:
        async with worker_app(node, tmp_path / "1") as held:
            coordinator = held.consumer._thread._ensure_consumer()._coordinator
            await held.consumer._thread.call_thread(asleep, coordinator)
            async with joining(node, tmp_path / "2", watchdog_s=1) as app:
                try:
                    said = await failure(app)
                finally:
                    await (
                        held.stop()
                    )  # lets the other's request to join be answered, which its stop waits for
                assert re.fullmatch(r"the group transport has assigned no partitions for [0-9 min]+ s", said)


async def asleep(coordinator: Any) -> None:
    """From now on this member answers no call to join, but is alive to Kafka."""
    coordinator.request_rejoin = lambda: None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            KafkaConnectionError("Unable to bootstrap from [('h', 1, <AddressFamily.AF_INET: 2>)]"),
            "Kafka at h:1 does not answer",
        ),
        (
            GroupAuthorizationFailedError(GROUP),
            f"Kafka does not allow the group {GROUP}: its user needs READ on the group that TOUCHPOINT_GROUP"
            " names",
        ),
        (KafkaError("InvalidGroupIdError()\nmore"), "KafkaError: InvalidGroupIdError()"),
        (TopicAuthorizationFailedError(), "[Error 29] TopicAuthorizationFailedError"),
        (RuntimeError("source is read to 1 of 2"), "RuntimeError: source is read to 1 of 2"),
        (None, "no error"),
    ],
)
def test_an_error_is_one_line_without_names_of_pythons(error: Exception | None, line: str) -> None:
    """What a person can mend is said in words; the rest is named once."""
    assert in_words(error, Settings(kafka="h:1", group=GROUP)) == line


def test_what_derives_from_faust_logs_as_faust() -> None:
    """Otherwise its chatter would show under our names where Faust's own does not: at the default level."""

    def derived(service: Any) -> Iterator[Any]:
        for one in service.__subclasses__():
            yield one
            yield from derived(one)

    ours = {one for one in derived(Service) if one.__module__.startswith("streams.")}
    assert {App, Transport.Consumer} <= ours
    assert {one.logger.name for one in ours} == {"faust.touchpoint"}


@pytest.mark.parametrize(("position", "sought"), [(11, [10]), (5, [])], ids=["as it was", "sought meanwhile"])
async def test_only_what_a_poll_has_passed_is_put_back(
    position: int, sought: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll passes a marker and waits; a rebalance seeks to what is committed before it. To put back what
    the poll has passed would leave out all between."""
    tp = TopicPartition("topic", 0)

    async def fetch(*_: object) -> dict[Any, Any]:
        return {}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    monkeypatch.setattr("streams.kafka.internals.passed", lambda: {tp: (10, 10)})
    thread = ConsumerThread.__new__(ConsumerThread)
    thread.app = SimpleNamespace(rebalancing_count=2)
    monkeypatch.setattr(thread, "_state", lambda _: SimpleNamespace(position=position))
    found: list[int] = []
    consumer = SimpleNamespace(assignment=lambda: {tp}, seek=lambda _, offset: found.append(offset))
    assert await thread._fetch_records(consumer, None, 1) == {}
    assert found == sought


async def test_what_was_read_up_is_true_as_of_the_fetch_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker suspended in a fetch knows what Kafka said before it slept, whenever it wakes."""
    tp, at = TopicPartition("topic", 0), SimpleNamespace(ms=1000)
    monkeypatch.setattr("streams.engine.thread.now_ms", lambda: at.ms)

    async def fetch(*_: object, sleeps_ms: int) -> dict[Any, Any]:
        at.ms += sleeps_ms
        return {tp: [SimpleNamespace(offset=7)]} if at.ms == 2000 else {}

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    thread = ConsumerThread.__new__(ConsumerThread)
    thread.app = SimpleNamespace(rebalancing_count=1)
    monkeypatch.setattr(thread, "_state", lambda _: SimpleNamespace(position=8, lso=8, highwater=8))
    consumer = SimpleNamespace(assignment=lambda: {tp}, _fetcher=SimpleNamespace(_records=OrderedDict()))
    for sleeps_ms in (1000, 10, 3_600_000):
        await thread._fetch_records(consumer, None, 1, sleeps_ms=sleeps_ms)
    assert thread.read_up_ms_ago(TP("topic", 0), 7) == at.ms - 2000
    assert thread.read_up_ms_ago(TP("topic", 0), 6) is None
    await thread._fetch_records(consumer, None, 1, sleeps_ms=10)
    assert thread.read_up_ms_ago(TP("topic", 0), 7) == at.ms - 2010
    at.ms += 600_000
    assert thread.read_up_ms_ago(TP("topic", 0), 7) == at.ms - 2010
    thread.forget_handed()
    assert thread.read_up_ms_ago(TP("topic", 0), 7) is None
