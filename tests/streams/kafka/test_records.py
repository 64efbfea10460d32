"""No batch stops a reader of Kafka: each record is read, or told to be unreadable, in bounded memory."""

import gzip
import struct
import tracemalloc
from typing import Any, Literal

import cramjam
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from hypothesis import assume, given
from hypothesis import strategies as st

from monitor.counting.formats import Unreadable
from streams.kafka.records import COUNTED_FROM, HEAD_BYTES, MAX_HEADERS, MAX_INFLATED, Records
from tests.kit.batches import STRANGE, Told, batch, crowded, numbered, resealed, strange

GZIP, SNAPPY, LZ4, ZSTD = range(1, 5)


def read(data: bytes, begin: int = 0) -> list[Any]:
    """What aiokafka's consumer makes of it."""
    found = PartitionRecords(TopicPartition("t", 0), Records(data), [], begin, None, None, True, 1)
    return list(found)


PLAIN: list[Told] = [(b"k", b"v" * 2000, [("name", b"x"), ("none", None)]), (None, None, []), (b"", b"", [])]


@pytest.mark.parametrize("codec", range(5))
def test_every_codec_is_read(codec: int) -> None:
    """Keys, values, headers, offsets and times, of several batches; the last may be cut off."""
    data = batch(*PLAIN, codec=codec) + batch(*PLAIN, codec=codec, first=3)
    found = read(data + batch(*PLAIN, first=6)[:-1], begin=1)
    assert [one.offset for one in found] == [1, 2, 3, 4, 5]
    assert [(one.key, one.value, list(one.headers)) for one in found[2:]] == PLAIN
    assert [one.timestamp for one in found] == [1001, 1002, 1000, 1001, 1002]


@pytest.mark.parametrize("codec", range(5))
def test_a_header_name_that_is_no_utf8_is_written_with_backslashes(codec: int) -> None:
    """`kcat -H $'h\\xe4=v'`: the record is read, and those around it."""
    data = batch((b"a", b"1", []), (b"b", b"2", [(STRANGE, b"v")]), (b"c", b"3", [("plain", b"w")]))
    data = strange(data)
    if codec:
        packed: dict[int, Any] = {
            GZIP: gzip.compress,
            SNAPPY: cramjam.snappy.compress_raw,
            LZ4: cramjam.lz4.compress,
            ZSTD: cramjam.zstd.compress,
        }
        data = data[:61] + bytes(packed[codec](data[61:]))
        data = data[:8] + struct.pack(">i", len(data) - 12) + data[12:22] + bytes([codec]) + data[23:]
    found = read(resealed(data))
    assert [(one.offset, one.key, one.value) for one in found] == [
        (0, b"a", b"1"),
        (1, b"b", b"2"),
        (2, b"c", b"3"),
    ]
    assert [list(one.headers) for one in found] == [[], [("h\\xe4\\xff", b"v")], [("plain", b"w")]]


def broken(change: str) -> bytes:
    """A batch of three records, offsets 5 to 7, that Kafka's client cannot read."""
    data = bytearray(batch(*PLAIN, codec=LZ4, first=5))
    match change:
        case "checksum":
            data[-1] ^= 1
            return bytes(data)
        case "codec":
            data[22] = 6
        case "block":
            data[70] ^= 0xFF
        case "plain":
            data[22] = 0
    return resealed(bytes(data))


@pytest.mark.parametrize("change", ["checksum", "codec", "block", "plain"])
def test_what_cannot_be_read_is_told_and_passed_over(change: str) -> None:
    """One record stands for it, at its last offset; reading goes on behind it."""
    found = read(batch(*PLAIN, first=2) + broken(change) + batch(*PLAIN, first=8), begin=2)
    bad = [one for one in found if isinstance(one.value, Unreadable)]
    assert [one.offset for one in bad] == [7]
    assert (bad[0].value, bad[0].value.head) == (b"", broken(change))
    assert "offsets 5 to 7" in bad[0].value.error
    assert [one.offset for one in found if one.offset not in (5, 6, 7)] == [2, 3, 4, 8, 9, 10]


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.long
def test_a_bomb_takes_no_more_than_its_bound(codec: int) -> None:
    """Many times the bound, from some kilobytes; a batch just below it is read."""
    value = bytes(4 * 1024 * 1024)
    small = batch(*[(None, value, [])] * 7, codec=codec)
    large = batch(*[(None, value, [])] * 70, codec=codec)
    assert [one.value == value for one in read(small)] == [True] * 7
    tracemalloc.start()
    found = read(large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(one.offset, type(one.value)) for one in found] == [(69, Unreadable)]
    assert peak < 2 * MAX_INFLATED


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_a_batch_takes_no_more_room_than_it_needs(codec: int) -> None:
    """Three events of 5 kB with a stack trace pack into 300 bytes. What is half read does not keep the room
    that was tried."""
    data = batch(*[(None, b"at line 1 of checkout.js\n" * 200, [])] * 3, codec=codec)
    tracemalloc.start()
    first = next(iter(Records(data).next_batch()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(first.value) == 5_000
    assert peak < 500_000
    large = batch(*[(None, b"at line 1 of checkout.js\n" * 4_000, [])] * 30, codec=codec)
    tracemalloc.start()
    records = iter(Records(large).next_batch())
    next(records)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 5_000_000


def legacy(*values: bytes, codec: int = 0, magic: Literal[0, 1] = 1) -> bytes:
    """Records as Kafka before 0.11 wrote them; with a codec, they are one batch."""
    builder = LegacyRecordBatchBuilder(magic, codec, 1 << 30)
    for offset, value in enumerate(values):
        builder.append(offset, 1_000, b"key", value)
    return bytes(builder.build())


@pytest.mark.parametrize(("codec", "magic"), [(0, 0), (0, 1), (GZIP, 0), (GZIP, 1), (SNAPPY, 1), (LZ4, 1)])
def test_batches_of_the_oldest_kafka_are_read(codec: int, magic: Literal[0, 1]) -> None:
    """As aiokafka reads them."""
    data = legacy(b"one", b"two", codec=codec, magic=magic)
    assert [(one.offset, one.key, one.value) for one in read(data)] == [
        (0, b"key", b"one"),
        (1, b"key", b"two"),
    ]


@pytest.mark.long
@pytest.mark.parametrize("codec", [GZIP, LZ4])
def test_a_bomb_of_the_oldest_kafka_takes_no_more_than_its_bound(codec: int) -> None:
    """Its batch is passed over; reading goes on behind it."""
    bomb = legacy(bytes(10 * MAX_INFLATED), codec=codec)
    tracemalloc.start()
    found = read(bomb + batch((None, b"v", []), first=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(one.offset, one.value) for one in found] == [(0, b""), (1, b"v")]
    assert "inflates to more than" in found[0].value.error
    assert peak < 2 * MAX_INFLATED


@given(st.integers(12, 80), st.integers(0, 255), st.sampled_from([0, GZIP]), st.sampled_from([0, 1]))
def test_no_byte_of_the_oldest_kafka_raises(at: int, value: int, codec: int, magic: Literal[0, 1]) -> None:
    """Whatever stands behind its offset and its length, what follows it is read."""
    data = bytearray(legacy(b"one" * 20, codec=codec, magic=magic))
    assume(at < len(data))
    data[at] = value
    assert read(bytes(data) + batch((None, b"v", []), first=2**62))[-1].value == b"v"


@pytest.mark.parametrize(("headers", "codec"), [(MAX_HEADERS + 1, 0), (1_000, ZSTD), (8_000_000, ZSTD)])
@pytest.mark.long
def test_a_record_of_headers_takes_no_other_with_it(headers: int, codec: int) -> None:
    """16 MB of empty headers in a kilobyte would be half a gigabyte of objects."""
    data = crowded(headers, codec)
    tracemalloc.start()
    found = read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(one.offset, one.value) for one in found] == [(0, b"v"), (1, b""), (2, b"v")]
    assert isinstance(found[1].value, Unreadable)
    assert f"the record at offset 1 cannot be read: it has {headers} headers" in found[1].value.error
    assert peak < MAX_INFLATED + COUNTED_FROM


@pytest.mark.parametrize("codec", [0, ZSTD])
def test_what_is_known_of_an_unreadable_record_is_kept(codec: int) -> None:
    """Its key, and its value up to a bound, for whoever is to mend it; and how large the value is."""
    value = b"v" * (HEAD_BYTES + 1)
    headers: list[tuple[str, bytes | None]] = [("h", b"")] * (MAX_HEADERS + 1)
    short, long = read(batch((b"key", b"value", headers), (b"k" * 70_000, value, headers), codec=codec))
    assert (short.key, short.value.head, short.value.size) == (b"key", b"value", 5)
    assert (long.key, long.value.head, long.value.size) == (b"k" * HEAD_BYTES, value[:-1], len(value))
    assert short.value.error == (
        "the record at offset 0 cannot be read: it has 129 headers, at most 128 are read"
    )


def test_the_monitors_own_headers_count_extra() -> None:
    """A letter of a record with as many headers as may be is read, and so is that record sent back."""
    own = [(f"dlq.{name}", b"x") for name in ("reason", "error", "topic", "partition", "offset", "timestamp")]
    own += [("dlq.attempt", b"1"), ("dlq.size", b"1")]
    headers: list[tuple[str, bytes | None]] = [*[("h", b"")] * MAX_HEADERS, *own]
    whole, crowd = read(batch((None, b"v", headers), (None, b"v", [("h", b""), *headers])))
    assert (len(whole.headers), type(crowd.value)) == (MAX_HEADERS + len(own), Unreadable)


def test_as_many_headers_as_may_be() -> None:
    """They are read."""
    assert [len(one.headers) for one in read(crowded(MAX_HEADERS))] == [0, MAX_HEADERS, 0]


def test_a_spoilt_record_takes_no_other_with_it() -> None:
    """One whose key is longer than itself: its neighbours say where they are."""
    data = bytearray(batch(*[(b"kk", b"v", [])] * 3))
    at = data.index(b"\x04kk", data.index(b"\x04kk") + 1)
    data[at] = 0x7E
    found = read(resealed(bytes(data)))
    assert [(one.offset, one.value) for one in found] == [(0, b"v"), (1, b""), (2, b"v")]
    assert "the record at offset 1 cannot be read" in found[1].value.error


@pytest.mark.parametrize("deltas", [(2**31 - 1,), (5,), (-3,), (0, 0, 0), (2, 1, 0), (0, 1, 3)])
def test_offsets_that_are_not_in_order_are_told_and_passed_over(deltas: tuple[int, ...]) -> None:
    """Apache Kafka 4.3 takes such batches; believed, one would have all that follows taken for read."""
    after = 7 + len(deltas)
    found = read(numbered(0, 1, first=5) + numbered(*deltas, first=7) + numbered(0, first=after), begin=5)
    told = [one for one in found if isinstance(one.value, Unreadable)]
    assert [one.offset for one in told] == [after - 1]
    assert "out of order" in told[0].value.error
    assert found[-1].offset == after


@pytest.mark.parametrize("attributes", [1, 0x7F, 0x80, 0xFF])
def test_attributes_of_a_record_say_nothing(attributes: int) -> None:
    """Kafka has a byte for them; its client reads it as the first of a number."""
    found = read(numbered(0, 1, attributes=attributes) + numbered(0, first=2))
    assert [(one.offset, one.value) for one in found] == [(0, b"0"), (1, b"1"), (2, b"0")]


@pytest.mark.long
def test_many_small_records_are_read_one_by_one() -> None:
    """A hundred thousand of them in one batch are not held at once."""
    data = batch(*[(None, b"", [])] * 100_000, codec=ZSTD)
    records = PartitionRecords(TopicPartition("t", 0), Records(data), [], 0, None, None, True, 1)
    tracemalloc.start()
    n = sum(1 for _ in records)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 100_000
    assert peak < 16 * len(data) + 8 * 1024 * 1024


@given(at=st.integers(12, 400), value=st.integers(0, 255), codec=st.integers(0, 4), seal=st.booleans())
def test_no_byte_raises(at: int, value: int, codec: int, *, seal: bool) -> None:
    """Whatever byte behind the length is changed: records, or one that says why there are none."""
    data = bytearray(batch(*PLAIN, codec=codec))
    if at < len(data):
        data[at] = value
    found = read(resealed(bytes(data)) if seal else bytes(data))
    assert all(isinstance(one.value, bytes | None) for one in found)
    offsets = [one.offset for one in found]
    assert offsets == sorted(set(offsets))
