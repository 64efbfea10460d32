"""The true ends of partitions of the embedded broker, whose ListOffsets stops short of them.

It answers the base offset of the last batch plus one, so recovery would end early and lose counts. Fetch
tells the true end; Apache Kafka needs none of this.
"""

from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP


async def fetched_ends(transport: Any, listed: Mapping[TP, int]) -> Mapping[TP, int]:
    """The end offsets as Fetch tells them, for what `transport`, Faust's, was told by ListOffsets."""
    tps = {driver.ensure_aiokafka_TP(tp): tp for tp, end in listed.items() if end > 0}
    if not tps:
        return listed
    conf = transport.app.conf
    probe = AIOKafkaConsumer(
        bootstrap_servers=driver.server_list(transport.url, transport.default_port),
        **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
    )
    await probe.start()
    try:
        probe.assign(list(tps))
        for kafka_tp, tp in tps.items():
            probe.seek(kafka_tp, listed[tp] - 1)
        while any(probe.highwater(kafka_tp) is None for kafka_tp in tps):
            await probe.getmany(timeout_ms=50, max_records=1)
        return {**listed, **{tp: probe.highwater(kafka_tp) for kafka_tp, tp in tps.items()}}
    finally:
        await probe.stop()
