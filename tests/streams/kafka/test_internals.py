"""Each private name of aiokafka, Faust and mode that is relied on does what it is relied on for.

A failure here says that an upgrade took a name away, before a worker finds out.
"""

import ast
import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata
from faust.exceptions import ConsumerNotStarted, NotReady
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.kafka import internals
from tests.kit.brokers import TansuNode, running

ROOT = Path(__file__).parents[3]
KAFKA = TopicPartition("source", 0)


@pytest.fixture(scope="module")
def broker() -> Iterator[TansuNode]:
    """A broker that the clients below talk to."""
    with running(TansuNode()) as node:
        yield node


async def test_an_admin_client_has_a_client_that_asks(broker: TansuNode) -> None:
    """What `topic_states` sends its own request with."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        client = internals.admin_client(admin)
        assert isinstance(client, AIOKafkaClient)
        assert client.get_random_node() is not None
    finally:
        await admin.close()


async def test_the_isolation_level_is_taken_at_the_start(broker: TansuNode) -> None:
    """Set before the start, it is what records are fetched with."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id="isolated")
    assert consumer._isolation_level == "read_uncommitted"
    internals.read_committed_only(consumer)
    async with consumer:
        assert consumer._fetcher._isolation_level == fetcher.READ_COMMITTED


async def test_how_long_a_fetch_waits_is_taken_at_the_start(broker: TansuNode) -> None:
    """Set before the start, it is what the broker is asked to wait."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id="waiting")
    internals.fetch_waits_ms(consumer, 123)
    async with consumer:
        assert consumer._fetcher._fetch_max_wait_ms == 123


async def test_a_producer_says_where_a_key_goes(broker: TansuNode) -> None:
    """Once it knows the topic, it is where its own `send` puts a record of that key."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        for key in (b"a", b"b", b"c"):
            sent = await producer.send_and_wait("keys", b"value", key)
            assert internals.partition_for(producer, "keys", key) == sent.partition
        same, other = (internals.partition_for(producer, "keys", b"k" * 10_000 + end) for end in (b"a", b"b"))
        assert same == other, "the beginning of a long key decides"
        assert internals.partition_for(producer, "keys", None) in await producer.partitions_for("keys")


async def test_records_are_handed_over_as_they_are_read(broker: TansuNode) -> None:
    """With our deserializer of keys, set before the start, a record is aiokafka's own, without its topic."""
    tp = TopicPartition("as-read", 0)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        await producer.send_and_wait(tp.topic, b"value", b"key", partition=0, headers=[("h", b"v")])
    consumer = AIOKafkaConsumer(tp.topic, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    internals.read_raw(consumer)
    async with consumer:
        record = await consumer.getone()
    assert not hasattr(record, "topic")
    assert (record.offset, record.key, record.value, [*record.headers]) == (
        0,
        b"key",
        b"value",
        [("h", b"v")],
    )
    assert record.timestamp > 0


async def test_a_group_member_tells_of_its_assignment_commits_and_fetches(broker: TansuNode) -> None:
    """One real consumer, from before its start to its first record."""
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        await producer.send_and_wait(KAFKA.topic, b"value", partition=KAFKA.partition)
    consumer = AIOKafkaConsumer(
        KAFKA.topic, bootstrap_servers=broker.bootstrap, group_id="internals", auto_offset_reset="earliest"
    )
    assert internals.pending_error(consumer) is None
    assert internals.coordination_error(consumer) is None
    assert internals.is_unassigned(consumer)
    async with consumer:
        assert internals.fetch_state(consumer, KAFKA) is None
        await consumer.getone()
        assert not internals.is_unassigned(consumer)
        state = internals.fetch_state(consumer, KAFKA)
        assert (state.position, state.highwater, state.lso) == (1, 1, 1)
        await consumer.commit({KAFKA: (1, "which Tansu does not keep")})
        (committed,) = (await internals.fetch_committed(consumer, [KAFKA])).values()
        assert committed == OffsetAndMetadata(1, "")
        assert time.time() * 1000 - state.timestamp < 60_000
        assert internals.coordination_error(consumer) is internals.fetching_error(consumer) is None
        member, generation = internals.membership(consumer)
        assert member
        assert generation >= 0
        await internals.leave_group(consumer, LeaveGroupRequest)
        connections = list(consumer._client._conns.values())
        assert any(one.connected() for one in connections)
        await internals.close_client(consumer)
        assert not any(one.connected() for one in connections)
        assert internals.membership(consumer) == ("", -1)
        consumer._fetcher._fetch_task.cancel()
        await asyncio.wait([consumer._fetcher._fetch_task])
        assert isinstance(internals.fetching_error(consumer), RuntimeError)


async def test_what_a_member_asks_its_group_goes_through(broker: TansuNode) -> None:
    """From the first join on, with the member's id at that time: empty until the group has given one."""
    asked: list[tuple[str, str]] = []

    class Name:
        def __init__(self, send: Callable[[Any], Any]) -> None:
            self._send = send

        async def send(self, request: Any, member_id: str) -> Any:
            asked.append((type(request).__name__, member_id))
            return await self._send(request)

    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id="through")
    async with consumer:
        internals.send_through(consumer, Name)
        consumer.subscribe([KAFKA.topic])
        await consumer._subscription.wait_for_assignment()
        assert asked[0] == ("JoinGroupRequest", "")
        assert ("SyncGroupRequest", consumer._coordinator.member_id) in asked


async def test_an_error_waits_until_it_is_taken() -> None:
    """What the coordinator keeps for the next fetch is raised once, and then forgotten."""
    running_task = asyncio.ensure_future(asyncio.Event().wait())
    coordinator = GroupCoordinator.__new__(GroupCoordinator)
    coordinator._coordination_task = running_task
    coordinator._closing = asyncio.get_running_loop().create_future()
    coordinator._error_consumed_fut = None
    coordinator._pending_exception = KafkaConnectionError("away")
    consumer = SimpleNamespace(_coordinator=coordinator)
    assert isinstance(internals.pending_error(consumer), KafkaConnectionError)
    with pytest.raises(KafkaConnectionError):
        internals.take_error(consumer)
    assert internals.pending_error(consumer) is None
    assert internals.coordination_error(consumer) is None
    running_task.cancel()
    await asyncio.wait([running_task])
    assert isinstance(internals.coordination_error(consumer), RuntimeError)


def test_a_batch_is_read_from_its_buffer() -> None:
    """Another kind of bytes in its place is what records are read from."""

    class Bytes(bytearray):
        """Told apart from what was there before."""

    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 16)
    builder.append(0, 1, b"key", b"value", [])
    batch = _DefaultRecordBatchPy(bytes(builder.build()))
    internals.replace_buffer(batch, Bytes)
    assert isinstance(batch._buffer, Bytes)
    assert [record.value for record in batch] == [b"value"]


def test_the_fetcher_reads_what_stands_in_its_module() -> None:
    """`records.guard` puts another class in the place of this name."""
    assert "MemoryRecords" in fetcher.Fetcher._proc_fetch_request.__code__.co_names
    asked = {name for name in dir(MemoryRecords) if not name.startswith("_")}
    assert {"has_next", "next_batch", "size_in_bytes"} == asked


@pytest.fixture
async def app(broker: TansuNode) -> faust.App:
    """Stock Faust."""
    return faust.App("internals", broker=f"kafka://{broker.bootstrap}", store="memory://", web_enabled=False)


async def test_an_assignment_holds_what_the_leader_wrote(app: faust.App) -> None:
    """Compressed; and the assignor asks its `_url` for where this member answers."""
    assignment = SimpleNamespace(user_data=app.assignor._compress(b"written"))
    assert internals.member_metadata(app.assignor, assignment) == b"written"
    assert app.assignor._url == app.conf.canonical_url


@pytest.fixture
async def consumer(app: faust.App) -> AsyncIterator[Any]:
    """Stock Faust's consumer, which is never started; it has made a loop for its thread."""
    yield app.consumer
    app.consumer._thread.thread_loop.close()


async def test_a_producer_has_a_client(app: faust.App) -> None:
    """None of it before the start: an AttributeError, which the watch over Kafka takes for no answer."""
    with pytest.raises(AttributeError):
        internals.producer_client(app.producer)
    with pytest.raises(NotReady):
        internals.kafka_producer(app.producer)
    await app.producer.start()
    try:
        assert isinstance(internals.producer_client(app.producer), AIOKafkaClient)
        assert isinstance(internals.kafka_producer(app.producer), AIOKafkaProducer)
    finally:
        await app.producer.stop()


async def test_a_crash_sets_the_event(app: faust.App) -> None:
    """A service that crashes anywhere below the app crashes the app."""
    assert not internals.crashed(app).is_set()
    await app.crash(RuntimeError("planned"))
    assert internals.crashed(app).is_set()


async def test_a_table_manager_uses_what_it_is_given(app: faust.App) -> None:
    """Both are made at first use, unless they are there."""
    queue, recovery = SimpleNamespace(), SimpleNamespace()
    internals.set_recovery(app.tables, queue, recovery)
    assert app.tables.changelog_queue is queue
    assert app.tables.recovery is recovery


async def test_a_table_manager_registers_its_tables(app: faust.App, consumer: Any) -> None:
    """Which the consumer waits for before it subscribes; stock Faust does just that after a second."""
    assert "sleep(1.0)" in inspect.getsource(type(app.tables).on_start)
    consumer._thread._consumer = SimpleNamespace(assignment=frozenset)
    waiting = asyncio.ensure_future(app.tables.wait_until_tables_registered())
    await internals.register_tables(app.tables)
    await asyncio.wait_for(waiting, 60)
    with pytest.raises(RuntimeError, match="Too late to add tables"):
        app.Table("late")


async def test_a_consumer_has_a_thread_that_has_a_consumer(consumer: Any) -> None:
    """Not before it starts: `is_started` says so."""
    thread = internals.consumer_thread(consumer)
    assert isinstance(thread, driver.AIOKafkaConsumerThread)
    assert not internals.is_started(thread)
    with pytest.raises(ConsumerNotStarted):
        internals.kafka_consumer(thread)
    thread._consumer = kafka = object()
    assert internals.is_started(thread)
    assert internals.kafka_consumer(thread) is kafka


async def test_acknowledged_offsets_are_taken_once(app: faust.App, consumer: Any) -> None:
    """Faust keeps each in a list and in an index; what was taken is acknowledged anew if it comes again."""
    tp = TP("source", 0)
    app.topics.acks_enabled_for = lambda topic: topic == tp.topic
    for _ in range(2):
        for offset in (3, 5):
            consumer.ack(ConsumerMessage(*tp, offset, 0.0, 0, (), None, [], None, tp=tp))
        assert internals.take_acknowledged(consumer, tp) == [3, 5]
        assert internals.take_acknowledged(consumer, tp) == []


async def test_commits_are_remembered(consumer: Any) -> None:
    """By the consumer itself, once Kafka has taken them."""
    tp = TP("source", 0)
    assert internals.committed_offsets(consumer)[tp] is None
    source = inspect.getsource(type(consumer)._commit_offsets)
    assert "self._committed_offset.update(" in source


REPLACED = {
    "_add_gap": "(self, tp, offset_from, offset_to)",
    "_commit": "(self, offsets)",
    "_create_worker_consumer": "(self, transport)",
    "_fetch_records": "(self, consumer, active_partitions, timeout=None, max_records=None)",
    "_getmany": "(self, active_partitions, timeout)",
    "_highwaters": "(self, partitions)",
    "_new_consumer_thread": "(self)",
    "_new_offset": "(self, tp)",
    "_to_message": "(self, tp, record)",
}
"""Private methods of Faust's that `streams/engine` replaces, with the signature Faust calls them by."""


def replaced() -> Iterator[tuple[str, Any]]:
    """Private methods of our classes that one of Faust's has too, with Faust's."""
    for path in sorted((ROOT / "streams" / "engine").glob("[!_]*.py")):
        for kind in vars(import_module(f"streams.engine.{path.stem}")).values():
            if isinstance(kind, type) and kind.__module__.startswith("streams."):
                above = [one for one in kind.__mro__ if not one.__module__.startswith("streams.")]
                private = [name for name in vars(kind) if name.startswith("_") and name[1] != "_"]
                for name in private:
                    yield from (
                        (name, vars(one)[name]) for one in above if inspect.isfunction(vars(one).get(name))
                    )


def test_methods_that_are_replaced_have_the_signature_they_had() -> None:
    """Nothing private is replaced that is not listed, and Faust calls each by what ours takes."""
    found: dict[str, list[str]] = {}
    for name, method in replaced():
        arguments = [
            one.replace(annotation=one.empty) for one in inspect.signature(method).parameters.values()
        ]
        found.setdefault(name, []).append(str(inspect.Signature(arguments)))
    assert {name: said[0] for name, said in found.items()} == REPLACED


def private_names(path: Path) -> tuple[set[str], list[ast.Attribute]]:
    """The names that a file defines, and where it uses any with an underscore."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    used = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr.startswith("_")]
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {
        node.attr for node in used if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    return own, [node for node in used if not node.attr.startswith("__")]


def test_nothing_else_reaches_for_private_names() -> None:
    """What no file of a room defines is somebody else's: used in this one module only, and seen there. What a
    class has from another room it may use of itself."""
    found = {
        path: private_names(path) for name in ("streams", "monitor") for path in (ROOT / name).rglob("*.py")
    }
    anybody = {"_replace", "_fields", "_exit"}
    inherited = anybody.union(*(names for names, _ in found.values()))
    reaching = set()
    for path, (_, used) in found.items():
        own = anybody.union(*(names for other, (names, _) in found.items() if other.parent == path.parent))
        if any(one.attr not in (inherited if ast.unparse(one.value) == "self" else own) for one in used):
            reaching.add(path.name)
    assert reaching == {"internals.py"}
