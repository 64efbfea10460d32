"""The batched transport for the embedded broker, whose ListOffsets stops short of the true end of a topic.

It answers the base offset of the last batch plus one, so recovery would end early and lose counts. Fetch
tells the true end; Apache Kafka needs none of this.
"""

from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.engine import transport


class ConsumerThread(transport.ConsumerThread):
    """The consumer thread with end offsets taken from Fetch."""

    async def _highwaters(self, partitions: Any) -> Mapping[TP, int]:
        listed: Mapping[TP, int] = await super()._highwaters(partitions)
        tps = {driver.ensure_aiokafka_TP(tp): tp for tp, end in listed.items() if end > 0}
        if not tps:
            return listed
        conf = self.transport.app.conf
        probe = AIOKafkaConsumer(
            bootstrap_servers=driver.server_list(self.transport.url, self.transport.default_port),
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )
        await probe.start()
        try:
            probe.assign(list(tps))
            for kafka_tp, tp in tps.items():
                probe.seek(kafka_tp, listed[tp] - 1)
            while any(probe.highwater(kafka_tp) is None for kafka_tp in tps):
                await probe.getmany(timeout_ms=50)
            return {**listed, **{tp: probe.highwater(kafka_tp) for kafka_tp, tp in tps.items()}}
        finally:
            await probe.stop()


class Consumer(transport.Consumer):
    """The batched consumer on that thread."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class Transport(transport.Transport):
    """The batched transport for the embedded broker."""

    Consumer = Consumer
