"""Batches of records as brokers store them, byte by byte: for what no client would write."""

import struct
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

Told = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]
"""Key, value and headers."""

STRANGE = "hXX"
"""In the place of a header name that is not UTF-8: see `strange`."""

_AFTER_CRC = 21


def batch(*told: Told, codec: int = 0, first: int = 0) -> bytes:
    """A batch as a broker stores it, from this offset on; `codec` as Kafka numbers them."""
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 2**30)
    for number, (key, value, headers) in enumerate(told):
        assert builder.append(number, 1000 + number, key, value, headers) is not None
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, first)
    return bytes(data)


def strange(data: bytes) -> bytes:
    """An uncompressed batch with the name `STRANGE` as `kcat -H $'h\\xe4\\xff=v'` would write it."""
    return resealed(data.replace(STRANGE.encode(), b"h\xe4\xff"))


def resealed(data: bytes) -> bytes:
    """With the checksum that fits."""
    return data[: _AFTER_CRC - 4] + struct.pack(">I", calc_crc32c(data[_AFTER_CRC:])) + data[_AFTER_CRC:]


def made_strange(made: Any) -> Any:
    """A producer's batch, uncompressed, in which every `STRANGE` becomes a name that is not UTF-8."""
    build = made._build
    made._build = lambda: strange(bytes(build()))
    return made


async def send_strange(producer: AIOKafkaProducer, topic: str, *values: bytes) -> None:
    """Publish records that each have a header whose name is not UTF-8; the producer does not compress."""
    made = producer.create_batch()
    for value in values:
        made.append(key=None, value=value, timestamp=None, headers=[(STRANGE, b"v")])
    await (await producer.send_batch(made_strange(made), topic, partition=0))
