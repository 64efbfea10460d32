"""Batches of records as brokers store them, byte by byte: for what no client would write."""

import struct
from typing import Any

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

Told = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]
"""Key, value and headers."""

STRANGE = "hXX"
"""In the place of a header name that is not UTF-8: see `strange`."""

_LENGTH_AT, _AFTER_CRC, _HEADER = 8, 21, 61


def batch(*told: Told, codec: int = 0, first: int = 0) -> bytes:
    """A batch as a broker stores it, from this offset on; `codec` as Kafka numbers them."""
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 2**30)
    for number, (key, value, headers) in enumerate(told):
        assert builder.append(number, 1000 + number, key, value, headers) is not None
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, first)
    return bytes(data)


def crowded(headers: int, codec: int = 4) -> bytes:
    """Three records of which the middle one has so many headers, all empty: some kilobytes compressed."""
    return written(*(_record(at, headers=headers if at == 1 else 0) for at in range(3)), codec=codec)


def numbered(*deltas: int, attributes: int = 0, first: int = 0) -> bytes:
    """A record for each of these, which it says to be its distance from the first offset; its value, too."""
    return written(*(_record(one, b"%d" % one, attributes=attributes) for one in deltas), first=first)


def written(*records: bytes, codec: int = 0, first: int = 0) -> bytes:
    """A batch of records that are written already, said to have an offset each."""
    packed = bytes(cramjam.zstd.compress(b"".join(records)) if codec else b"".join(records))
    told: list[Told] = [(None, b"v", [])] * len(records)
    data = bytearray(batch(*told, codec=codec, first=first)[:_HEADER] + packed)
    struct.pack_into(">i", data, _LENGTH_AT, len(data) - _LENGTH_AT - 4)
    return resealed(bytes(data))


def _record(at: int, value: bytes = b"v", *, headers: int = 0, attributes: int = 0) -> bytes:
    body = bytes([attributes, 0]) + _number(at) + _number(-1) + _number(len(value)) + value
    body += _number(headers) + b"\0\1" * headers
    return _number(len(body)) + body


def _number(value: int) -> bytes:
    value, found = (value << 1) ^ (value >> 63), bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


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
