"""The one place that touches private names of aiokafka, Faust and mode; all three are pinned for its sake.

`tests/streams/kafka/test_internals.py` holds each name to what is relied on here, and each method of Faust's
that `streams/engine` replaces to the signature it has. Nothing is imported: whoever calls has the object.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

# -- aiokafka ----------------------------------------------------------------------------------------


def admin_client(admin: Any) -> Any:
    """The `AIOKafkaClient` of an `AIOKafkaAdminClient`."""
    return admin._client


def read_committed_only(consumer: Any) -> None:
    """Have an `AIOKafkaConsumer` that has not started pass over transactions that did not commit."""
    consumer._isolation_level = "read_committed"


def fetch_waits_ms(consumer: Any, at_most_ms: int) -> None:
    """Have an `AIOKafkaConsumer` that has not started wait so long for records where there are none.

    A broker answers the next fetch after the one before, whatever partitions that one waits for.
    """
    consumer._fetch_max_wait_ms = at_most_ms


def _as_read(key: bytes | None) -> bytes | None:
    return key


def read_raw(consumer: Any) -> None:
    """Have an `AIOKafkaConsumer` that has not started give its records as it reads them.

    Making `ConsumerRecord`s of them, which say topic and partition each, takes more time than reading does.
    """
    consumer._key_deserializer = _as_read


class PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc] # shipped without types
    """The records of one fetch of one partition, as the consumer asked for them."""

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record if self._key_deserializer is _as_read else super()._consumer_record(tp, record)


POLL_BYTES = 8 * 1024 * 1024
"""Of keys, values and headers that one poll takes from one partition, or from all in a thread that says when
a poll begins. A poll is bounded by records otherwise, and a megabyte that says one thing packs into a hundred
bytes."""

_poll = threading.local()


def begin_poll() -> None:
    """Have the next poll of this thread take `POLL_BYTES` from all partitions together."""
    _poll.room, _poll.passed = POLL_BYTES, {}


def passed() -> Mapping[Any, tuple[int, int]]:
    """Of each partition the first and last offset that the poll has passed, records or not: markers of
    transactions, and what was aborted or compacted, have offsets too."""
    return dict(_poll.passed)


def polled_bytes() -> int:
    """What has been taken since the poll began."""
    return POLL_BYTES - int(_poll.room)


class FetchResult(fetcher.FetchResult):  # type: ignore[misc] # shipped without types
    """What is left of one fetch of one partition."""

    def getall(self, max_records: int | None = None) -> list[Any]:
        """The next records, at most so many, and no more once they fill the room there is."""
        room = getattr(_poll, "room", POLL_BYTES)
        if room <= 0 or not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        found: list[Any] = []
        fetched: Any = self._partition_records  # type: ignore[has-type]
        begin = fetched.next_fetch_offset
        for record in fetched:
            found.append(record)
            room -= len(record.value or b"") + len(record.key or b"")
            if record.headers:
                room -= sum(len(name) + len(content or b"") for name, content in record.headers)
            if room <= 0 or len(found) == max_records:
                self._update_position()
                break
        else:
            self._update_position()
            self._partition_records = None
        if hasattr(_poll, "room"):
            _poll.room = room
            _poll.passed[self._topic_partition] = begin, fetched.next_fetch_offset - 1
        return found


def take_last(consumer: Any, last: Any, tps: Iterable[Any]) -> Any:
    """Take what is left of one of these partitions' fetches after that of all others: of `last` while
    something is left of it. Returns which one.

    aiokafka would take it to its end first, and a batch of a million records holds up every other partition
    for minutes. Only of one, for what is left may be a batch that is inflated.
    """
    waiting = consumer._fetcher._records
    if last not in waiting:
        last = next((tp for tp in tps if tp in waiting), None)
    if last is not None:
        waiting.move_to_end(last)
    return last


HASHED_BYTES = 1024
"""Of a key. Ours are shorter; those of dead letters are somebody else's."""


def partition_for(producer: Any, topic: str, key: bytes | None) -> int:
    """Where an `AIOKafkaProducer` that knows the topic sends a record with that key, of which the beginning
    decides: aiokafka takes 0.2 s for a megabyte."""
    key = key and key[:HASHED_BYTES]
    return int(producer._partition(topic, None, key, None, key, None))


def packed_batch(producer: Any) -> BatchBuilder:
    """An empty batch of an `AIOKafkaProducer`, compressed by LZ4 whatever else it writes is."""
    return BatchBuilder(producer._message_accumulator._batch_size, DefaultRecordBatch.CODEC_LZ4)


async def fetch_committed(consumer: Any, tps: Iterable[Any]) -> Mapping[Any, Any]:
    """What the group's coordinator has committed of these, with its metadata."""
    committed: Mapping[Any, Any] = await consumer._coordinator.fetch_committed_offsets(list(tps))
    return committed


def is_unassigned(consumer: Any) -> bool:
    """Whether the group has not assigned anything yet, or is about to do so anew."""
    return bool(consumer._subscription.reassignment_in_progress)


def membership(consumer: Any) -> tuple[str, int]:
    """Id of the member and its generation; -1 while it is none, and each time it joins anew another id."""
    return consumer._coordinator.member_id, consumer._coordinator.generation


def pending_error(consumer: Any) -> BaseException | None:
    """What the client would raise at the next fetch, and waits for until then."""
    coordinator = consumer._coordinator
    error: BaseException | None = coordinator._pending_exception if coordinator else None
    return error


def coordination_error(consumer: Any) -> BaseException | None:
    """What ended the task that keeps the membership; None while it runs."""
    coordinator = consumer._coordinator
    return _end_of(coordinator._coordination_task if coordinator else None)


def fetching_error(consumer: Any) -> BaseException | None:
    """What ended the task of a started `AIOKafkaConsumer` that fetches, of which no poll tells; None while it
    runs."""
    return _end_of(consumer._fetcher._fetch_task)


def _end_of(routine: Any) -> BaseException | None:
    if routine is None or not routine.done():
        return None
    error: BaseException | None = None if routine.cancelled() else routine.exception()
    return error or RuntimeError("nobody ends it")


def send_through(consumer: Any, name: Callable[[Callable[[Any], Any]], Any]) -> Any:
    """Have what a started `AIOKafkaConsumer` asks its group go through the `send` of what `name` makes.

    It is made of aiokafka's own way to send, and given the request and the member's id at that time.
    """
    coordinator = consumer._coordinator
    made = name(coordinator._send_req)
    coordinator._send_req = lambda request: made.send(request, coordinator.member_id)
    return made


def take_error(consumer: Any) -> None:
    """Raise the pending error and forget it, so that the client tries again."""
    consumer._coordinator.check_errors()


async def leave_group(consumer: Any, request: Callable[[str, str], Any]) -> None:
    """Send a request made of the names of group and member; forget the generation whatever comes of it."""
    coordinator = consumer._coordinator
    try:
        await coordinator._send_req(request(coordinator.group_id, coordinator.member_id))
    finally:
        coordinator.reset_generation()


async def close_client(consumer: Any) -> None:
    """Close the connections of a consumer; nothing where they are closed."""
    await consumer._client.close()


def fetch_state(consumer: Any, tp: Any) -> Any:
    """`lso`, `highwater` and `position` of an assigned partition, and when a fetch has last told of it
    (`timestamp`, ms); None until one has."""
    subscription = consumer._subscription.subscription
    assignment = subscription.assignment if subscription else None
    state = assignment.state_value(tp) if assignment else None
    return None if state is None or state.lso is None or not state.has_valid_position else state


def replace_buffer(batch: Any, kind: type[bytearray]) -> None:
    """Have aiokafka's `_DefaultRecordBatchPy` read its records from another kind of bytes."""
    batch._buffer = kind(batch._buffer)


# -- Faust and mode ----------------------------------------------------------------------------------


def kafka_producer(producer: Any) -> Any:
    """The `AIOKafkaProducer` of Faust's producer; Faust's NotReady while it has not started."""
    return producer._ensure_producer()


def producer_client(producer: Any) -> Any:
    """The `AIOKafkaClient` of Faust's producer; AttributeError while it starts or stops."""
    return producer._producer.client


def crashed(service: Any) -> asyncio.Event:
    """Set once a service of mode's has crashed."""
    event: asyncio.Event = service._crashed
    return event


def set_recovery(manager: Any, queue: Any, recovery: Any) -> None:
    """Give Faust's table manager the queue and the recovery that it would make for itself at first use."""
    manager._changelog_queue, manager._recovery = queue, recovery


async def register_tables(manager: Any) -> None:
    """Start the tables of Faust's table manager; from then on the consumer subscribes to what they read."""
    await manager._update_channels()


def member_metadata(assignor: Any, assignment: Any) -> bytes:
    """What Faust's assignor on the leader has written for this member."""
    written: bytes = assignor._decompress(assignment.user_data)
    return written


def consumer_thread(consumer: Any) -> Any:
    """The thread in which Faust's consumer runs Kafka's."""
    return consumer._thread


def is_started(thread: Any) -> bool:
    """Whether Faust's consumer thread has made its `AIOKafkaConsumer`."""
    return thread._consumer is not None


def kafka_consumer(thread: Any) -> Any:
    """The `AIOKafkaConsumer` of Faust's consumer thread; Faust's ConsumerNotStarted when there is none."""
    return thread._ensure_consumer()


def committed_offsets(consumer: Any) -> Mapping[Any, int | None]:
    """What Faust's consumer committed last in each partition."""
    offsets: Mapping[Any, int | None] = consumer._committed_offset
    return offsets


def take_acknowledged(consumer: Any, tp: Any) -> list[int]:
    """Offsets acknowledged to Faust's consumer since they were last taken."""
    offsets = list(consumer._acked[tp])
    consumer._acked[tp].clear()
    consumer._acked_index[tp].clear()
    return offsets
