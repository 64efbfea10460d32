"""Faust's Kafka transport, handing over one message per partition and fetch instead of one per record.

Stock Faust spends several asyncio tasks on each record and reaches some 10,000 a second. Here the value of a
Faust message is the list of records of one fetch of one partition, as aiokafka has read them, still as bytes.
Its offset is that of the last of them: acknowledging the message acknowledges them all. Changelogs come the
same way, so recovery is as fast as reading. What stock Faust keeps per offset (gaps, lists of acknowledged
offsets) would commit past an unacknowledged batch; here acknowledgements come strictly in order and only the
highest one matters.
"""

import time
import weakref
from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition
from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.engine.thread import FAUST_LOG, ConsumerThread, Polled
from streams.kafka import internals

IDLE_S = 0.02
"""How often a consumer that may not read yet looks whether it may."""

MAX_HANDED_BYTES = 16 * 1024 * 1024
"""Of values read and not yet folded, beyond which reading waits: batches are bounded by records otherwise."""

HOLD_S = 2.0
"""So long at most. Faust's own loop holds the last message of a poll until it has the next, also one that a
rebalance has thrown away, so that nobody folds it: only reading on sets it free."""


class BatchSchema(Schema):
    """Leaves the records of a batch as they are; a batch has no key."""

    def loads_key(self, *_: Any, **__: Any) -> None:
        """No key: each record of the batch has its own."""

    def loads_value(self, _: Any, message: Any, **__: Any) -> Any:
        """The list of records."""
        return message.value


class Consumer(driver.Consumer):
    """Faust's consumer, a batch at a time."""

    logger = FAUST_LOG

    @property
    def kafka(self) -> ConsumerThread:
        """What runs Kafka's client."""
        thread: ConsumerThread = internals.consumer_thread(self)
        return thread

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    _handed_bytes = 0
    _polled_s = 0.0
    """When there was a poll of sources last."""

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        if self.app.rebalancing or self._is_full():
            # After a recovery Faust resumes the sources, seeks them one by one, and then empties its agents'
            # queues. What is read of a source before all this is done would be thrown away.
            active_partitions = {tp for tp in active_partitions if self._is_changelog(tp)}
            if not active_partitions:  # to Kafka's client no partition means any
                await self.sleep(IDLE_S)
                return {}
        else:
            self._polled_s = time.monotonic()
        fetched = await super()._getmany(active_partitions, timeout)
        polled = self._held(self.kafka.polled_bytes)
        # A changelog has been read when its end is reached, and that may be a marker of a transaction.
        batches = {tp: batch for tp, batch in fetched.items() if batch or self._is_changelog(tp)}
        for tp, batch in batches.items():
            batch.polled = None if self._is_changelog(tp) else polled
        return {tp: [batch] for tp, batch in batches.items()}

    def _is_full(self) -> bool:
        """Whether reading has to wait for what is folded."""
        is_held = time.monotonic() - self._polled_s < HOLD_S
        return is_held and self._handed_bytes >= MAX_HANDED_BYTES

    def _held(self, size: int) -> Polled:
        """Counts the bytes of a poll until nobody holds it, be it folded or thrown away."""
        polled = Polled()
        self._handed_bytes += size
        weakref.finalize(polled, self._let_go, size)
        return polled

    def _let_go(self, size: int) -> None:
        self._handed_bytes -= size

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.last,
            record[-1].timestamp / 1000.0 if record else 0.0,
            record[-1].timestamp_type if record else 0,
            (),
            None,
            record,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets between two batches hold no records: compaction and transactions leave them out."""

    def _new_offset(self, tp: TP) -> int | None:
        acknowledged = internals.take_acknowledged(self, tp)
        return max(acknowledged) + 1 if acknowledged else None

    def _is_changelog(self, tp: TP) -> bool:
        return tp.topic in self.app.tables.changelog_topics

    async def confirm_membership(self, generation: int) -> bool:
        """Whether the group takes this worker for a member of that generation, as of now.

        It commits again what is committed, which the group's coordinator refuses from anybody else. Without
        this, a worker that was suspended while others took over could wake up and still become the owner.
        To a client that has no generation Kafka would say yes while the group is empty.
        """
        if generation < 0:
            return False
        sources = [tp for tp in self.assignment() if not self._is_changelog(tp)]
        if not sources:
            return True
        found = await self.kafka.call_thread(self.kafka.committed, sources)
        # What was lost is told from when on only once a commit says so, and there may be none for hours.
        # That of steps is committed, too, for what the group has committed of them says that there were any.
        first = {tp.topic: tp for tp in sorted(sources, reverse=True)}.values()
        again = {*first, *self.kafka.noticed.intersection(sources)}
        confirmed = await self.kafka.commit({tp: found.get(tp) or 0 for tp in again})
        _, joined = self.kafka.membership()
        return bool(confirmed and generation == self.app.consumer_generation_id == joined)

    async def committed_offsets(self, topic: str, partitions: Iterable[int]) -> dict[TopicPartition, int]:
        """Where reading goes on in each partition; 0 where nothing has been committed."""
        tps = [TopicPartition(topic, partition) for partition in sorted(partitions)]
        found = await self.kafka.call_thread(self.kafka.committed, tps)
        return {tp: found.get(tp) or 0 for tp in tps}

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: where a rebalance has left a partition without a position, Faust's own watch, which only
        logs, ends the worker. The worker has a watchdog of its own."""

    def verify_recovery_event_path(self, now: float, tp: TP) -> None:
        """Nothing, as above."""

    def committed(self) -> frozenset[tuple[TP, int]]:
        """The offset committed last, for each partition that has one."""
        return frozenset(
            (tp, offset) for tp, offset in internals.committed_offsets(self).items() if offset is not None
        )


class Transport(driver.Transport):
    """Faust's transport with the consumer above."""

    Consumer = Consumer
