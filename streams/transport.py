"""Faust's Kafka transport, handing over one message per partition and fetch instead of one per record.

Stock Faust spends several asyncio tasks on each record and reaches some 10,000 a second. Here the value of a
Faust message is the list of records of one fetch of one partition, still as bytes, and its offset is that of
the last of them: acknowledging the message acknowledges them all. Changelogs come the same way, so recovery
is as fast as reading. What stock Faust keeps per offset (gaps, lists of acknowledged offsets) would commit
past an unacknowledged batch; here acknowledgements come strictly in order and only the highest one matters.
"""

from typing import Any

from faust.serializers.schemas import Schema
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage


class BatchSchema(Schema):
    """Leaves the records of a batch as they are; a batch has no key."""

    def loads_key(self, *_: Any, **__: Any) -> None:
        """No key: each record of the batch has its own."""

    def loads_value(self, _: Any, message: Any, **__: Any) -> Any:
        """The list of records."""
        return message.value


class Consumer(driver.Consumer):
    """Faust's consumer, a batch at a time."""

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        fetched = await super()._getmany(active_partitions, timeout)
        return {tp: [records] for tp, records in fetched.items() if records}

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        last = record[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
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
        acked = self._acked[tp]
        if not acked:
            return None
        highest: int = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return highest + 1


class Transport(driver.Transport):
    """Faust's transport with the consumer above."""

    Consumer = Consumer
