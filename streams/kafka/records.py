"""What a fetch of Kafka's client holds, read so that no record stops whoever reads it.

aiokafka raises for a header name that is not UTF-8, a bad checksum, an unknown codec, a truncated record, and
inflates whatever a batch inflates to; it would meet the same batch again at every start. It believes a record
that says to lie at any offset, though reading goes on behind that. Here names that are
not UTF-8 are written with backslashes, a batch inflates to `MAX_INFLATED` at most, a record has at most
`MAX_HEADERS` headers, and what still cannot be read is one `Unreadable` at the last offset of what it stands
for, which no reader takes for anything else. That is a single record where its batch tells where it ends; its
key and its value are kept up to `HEAD_BYTES` each.
Who asks for raw records (`internals.read_raw`) is given aiokafka's own, without topic and partition.
"""

import contextlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cramjam
from aiokafka.consumer import fetcher
from aiokafka.record.control_record import ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.legacy_records import LegacyRecordBatch

from monitor.counting.formats import Unreadable
from streams.kafka import internals

MAX_INFLATED = 32 * 1024 * 1024
"""Bytes of one batch, inflated, and held twice for a moment. Producers batch some hundred kilobytes, and a
broker takes a megabyte unless told otherwise."""

MAX_HEADERS = 128
"""Of one record: an empty one takes two bytes in a batch, and forty times that as an object. Tracing and
schemas need some ten."""

OWN, OWN_HEADERS = "dlq.", 8
"""What names of our own headers begin with, and how many a letter has, beside those of its record."""

HEAD_BYTES = 64 * 1024
"""Of a key, or of a value, that is kept of a record which cannot be kept whole."""

COUNTED_FROM = 1024 * 1024
"""Bytes of a batch from which headers are counted before any of them is made: below, those of one record
are 40 MB for a moment."""

USUAL_RATIO, LEAST_ROOM = 16, 64 * 1024
"""What JSON shrinks by, and what costs nothing; a batch that inflates to more gets eight times the room."""

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH, _OFFSET = struct.Struct(">i"), struct.Struct(">q")
_PREFIX, _MAGIC_AT, _ATTRIBUTES_AT, _COUNT_AT = 12, 16, 21, 57
_LEGACY_KEY_AT = {0: 18, 1: 26}
_CODECS = {1: cramjam.gzip, 2: cramjam.snappy, 3: cramjam.lz4, 4: cramjam.zstd}
_CODEC_MASK = 7
_XERIAL, _XERIAL_SIZE = b"\x82SNAPPY\x00", 16
_COMMIT = b"\0\0\0\1"


class Record(NamedTuple):
    """A record as aiokafka's batches give them, for what they do not."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: int | None = None


class Batch:
    """A batch of records, with what aiokafka's consumer asks of one."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._raw: Any = DefaultRecordBatch(data)
        self.producer_id: int = self._raw.producer_id
        self.base_offset: int = self._raw.base_offset
        self.next_offset: int = self._raw.next_offset
        self.is_control_batch: bool = self._raw.is_control_batch
        self.is_transactional: bool = self._raw.is_transactional

    def validate_crc(self) -> bool:
        """Whoever iterates is told of a bad one."""
        return True

    def __next__(self) -> Any:
        """The first record of a control batch; of what says nothing, one that ends no transaction."""
        try:
            first = next(self._raw)
            ControlRecord.parse(first.key)
        except Exception:
            return Record(self.base_offset, 0, 0, _COMMIT, None, [])
        return first

    def __iter__(self) -> Iterator[Any]:
        """One after the other: a batch may hold more of them than memory."""
        try:
            if not self._raw.validate_crc():
                raise ValueError("its checksum does not fit")
            data = _inflated(self._data)
            try:
                records = iter(DefaultRecordBatch(data))
                if len(data) > COUNTED_FROM:
                    checked = (one.check_headers() for one in _Framed.all(data))
                    records = (record for _, record in zip(checked, records, strict=True))
                last, most = self.base_offset - 1, self.next_offset - _count(data)
                for record in records:
                    if not last < record.offset <= most:  # there is room for those behind it
                        raise _out_of_order(record.offset)
                    last, most = record.offset, most + 1
                    _check_headers(record.headers)
                    yield record
            except MemoryError:
                raise
            except Exception:  # what has been read is given again, and passed over by aiokafka
                yield from self._singly(data)
        except MemoryError:  # which says nothing of the batch, here and below
            raise
        except Exception as error:  # whatever a batch makes the client raise
            yield self._unreadable(error, self.base_offset, self.next_offset - 1)

    def _singly(self, data: memoryview) -> Iterator[Any]:
        """Each record by itself, so that one that cannot be read takes no other with it."""
        last = self.base_offset - 1
        for one in _Framed.all(data):
            offset = self.base_offset + one.offset_delta
            if not last < offset < self.next_offset:
                raise _out_of_order(offset)
            last = offset
        for one in _Framed.all(data):
            try:
                one.check_headers()
                record = one.read()
                _check_headers(record.headers)
                yield record
            except MemoryError:
                raise
            except Exception as error:  # whatever a record makes the client raise
                offset = self.base_offset + one.offset_delta
                unread = self._unreadable(error, offset, offset, 0)
                with contextlib.suppress(ValueError, IndexError):  # it does not even say where its value is
                    unread = one.kept(unread)
                yield unread

    def _unreadable(self, error: Exception, first: int, last: int, head: int = HEAD_BYTES) -> Record:
        """What stands for the records of these offsets, with so many bytes of the batch."""
        what = f"the batch of offsets {first} to {last}" if first < last else f"the record at offset {last}"
        return _unreadable(
            f"{what} cannot be read: {error}", self._data, last, _HEADER.unpack_from(self._data)[8], head
        )


class Legacy:
    """A batch of Kafka before 0.11, with what aiokafka's consumer asks of one.

    It is a record; with compression its value holds the records, the last of them at its own offset.
    """

    producer_id = None
    is_control_batch = False
    is_transactional = False

    def __init__(self, data: memoryview) -> None:
        self._data = data
        (self.base_offset,) = _OFFSET.unpack_from(data)
        self.next_offset: int = self.base_offset + 1

    def validate_crc(self) -> bool:
        """Whoever iterates is told of a bad one."""
        return True

    def __iter__(self) -> Iterator[Any]:
        """Each record; one `Unreadable` for all that cannot be read."""
        try:
            raw = LegacyRecordBatch(self._data, self._data[_MAGIC_AT])
            if not raw.validate_crc():
                raise ValueError("its checksum does not fit")
            if codec := self._data[_MAGIC_AT + 1] & _CODEC_MASK:
                _unpacked(codec, self._value(), 0)
            yield from raw
        except Exception as error:  # whatever a batch makes the client raise
            what = f"the batch up to offset {self.base_offset} cannot be read: {error}"
            yield _unreadable(what, self._data, self.base_offset, 0)

    def _value(self) -> bytes:
        at = _LEGACY_KEY_AT[self._data[_MAGIC_AT]]
        for _ in ("key", "value"):
            (length,) = _LENGTH.unpack_from(self._data, at)
            begin, at = at + _LENGTH.size, at + _LENGTH.size + max(length, 0)
        return bytes(self._data[begin:at])


def _unreadable(error: str, data: memoryview, offset: int, timestamp: int, head: int = HEAD_BYTES) -> Record:
    return Record(offset, timestamp, 0, None, Unreadable(error, len(data), bytes(data[:head])), [])


class _Framed(NamedTuple):
    """A record where it lies in its inflated batch: what is known of it before it is read."""

    data: memoryview
    """All of the batch."""
    begin: int
    body: int
    """Where its length ends."""
    end: int
    offset_delta: int
    behind_offset: int
    """Where its key begins."""

    @classmethod
    def all(cls, data: memoryview) -> "Iterator[_Framed]":
        """Each record of a batch; ValueError or IndexError unless they fill it."""
        at = _HEADER.size
        for _ in range(_count(data)):
            length, body = _varint(data, at)
            _, behind = _varint(data, body + 1)
            delta, behind = _varint(data, behind)
            end = body + length
            if not behind <= end <= len(data):
                raise ValueError("a record ends elsewhere than it says")
            yield cls(data, at, body, end, delta, behind)
            at = end
        if at != len(data):
            raise ValueError("it does not end with its last record")

    def check_headers(self) -> None:
        """ValueError for more than there can be, before any of them is made."""
        *_, behind = self._content()
        count, _ = _varint(self.data, behind)
        if count > MAX_HEADERS + OWN_HEADERS:
            raise _too_many(count)

    def _content(self) -> tuple[slice | None, slice | None, int]:
        """Where its key and its value lie, None for one that it has not, and where its headers begin."""
        found: list[slice | None] = []
        at = self.behind_offset
        for _ in ("key", "value"):
            length, begin = _varint(self.data, at)
            at = begin + max(length, 0)
            if at >= self.end:
                raise ValueError("it is cut off")
            found.append(slice(begin, at) if length >= 0 else None)
        key, value = found
        return key, value, at

    def kept(self, unread: Record) -> Record:
        """What stands for this record, with the beginning of its key and its value; ValueError or IndexError
        when it does not say where they are."""
        key, value, _ = self._content()
        content = self.data[value] if value else b""
        head = bytes(content[:HEAD_BYTES])
        return unread._replace(
            key=bytes(self.data[key][:HEAD_BYTES]) if key else None,
            value=Unreadable(unread.value.error, len(content), head),  # type: ignore[union-attr] # it is one
        )

    def read(self) -> Any:
        """It alone, as a batch of one. Nothing is said by the byte of its attributes, which aiokafka reads as
        the first of a number."""
        whole = bytearray(self.data[: _HEADER.size]) + self.data[self.begin : self.end]
        whole[_HEADER.size + self.body - self.begin] = 0
        _LENGTH.pack_into(whole, _COUNT_AT, 1)
        try:
            (record,) = DefaultRecordBatch(whole)
        except UnicodeDecodeError:
            (record,) = _leniently(memoryview(whole))
        return record


def _count(data: memoryview) -> int:
    """How many records a batch says to hold."""
    (count,) = _LENGTH.unpack_from(data, _COUNT_AT)
    return int(count)


def _out_of_order(offset: int) -> ValueError:
    return ValueError(f"offset {offset} is out of order")


def _check_headers(headers: Sequence[tuple[str, Any]]) -> None:
    if len(headers) > MAX_HEADERS:
        own = sum(name.startswith(OWN) for name, _ in headers)
        if (count := len(headers) - min(own, OWN_HEADERS)) > MAX_HEADERS:
            raise _too_many(count)


def _too_many(count: int) -> ValueError:
    return ValueError(f"it has {count} headers, at most {MAX_HEADERS} are read")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number as records hold them, and where it ends; ValueError for one of more than 64 bits."""
    number = shift = 0
    while shift < 64:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
    raise ValueError("a number has more than 64 bits")


class Records:
    """The batches of one fetch of one partition, in the place of aiokafka's `MemoryRecords`."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    def size_in_bytes(self) -> int:
        """Of all of it."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether a whole batch is left: the last one of a fetch may be cut off."""
        return self._at + _PREFIX <= len(self._data) and self._end() <= len(self._data)

    def _end(self) -> int:
        (length,) = _LENGTH.unpack_from(self._data, self._at + 8)
        return self._at + _PREFIX + max(int(length), _MAGIC_AT + 1 - _PREFIX)

    def next_batch(self) -> Any:
        """The next of them."""
        data, self._at = self._data[self._at : self._end()], self._end()
        return Batch(data) if data[_MAGIC_AT] >= 2 and len(data) >= _HEADER.size else Legacy(data)


def _leniently(data: memoryview) -> Iterator[Record]:
    """All records, whatever the names of their headers are made of."""
    batch = _DefaultRecordBatchPy(data)
    internals.replace_buffer(batch, _Lenient)
    for one in batch:
        yield Record(one.offset, one.timestamp, one.timestamp_type, one.key, one.value, one.headers)


class _Lenient(bytearray):
    """Bytes of which aiokafka decodes the names of headers."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Lenient(found) if isinstance(at, slice) else found

    def decode(self, *_: Any) -> str:
        """With backslashes for what is not UTF-8."""
        return bytes(self).decode("utf-8", "backslashreplace")


def _inflated(data: memoryview) -> memoryview:
    """The batch without compression; ValueError if it inflates to more than `MAX_INFLATED`, or not at all."""
    number = data[_ATTRIBUTES_AT + 1] & _CODEC_MASK
    if not number:
        return data
    whole = _unpacked(number, bytes(data[_HEADER.size :]), _HEADER.size)
    whole[: _HEADER.size] = data[: _HEADER.size]
    whole[_ATTRIBUTES_AT + 1] &= ~_CODEC_MASK
    return whole


def _unpacked(number: int, packed: bytes, lead: int) -> memoryview:
    """What the codec of that number has packed, behind as many bytes as are to lead; ValueError as above."""
    codec = _CODECS.get(number)
    if codec is None:
        raise ValueError(f"no codec has the number {number}")
    room = min(max(USUAL_RATIO * len(packed), LEAST_ROOM), MAX_INFLATED)
    while True:
        whole = bytearray(lead + room)
        try:
            with memoryview(whole)[lead:] as free:
                size = _inflate(codec, packed, free)
        except cramjam.DecompressionError as error:
            if room == MAX_INFLATED:
                raise ValueError(f"it inflates to more than {MAX_INFLATED} bytes, or not at all") from error
            del whole  # before there is another
            room = min(8 * room, MAX_INFLATED)
        else:
            del whole[lead + size :]  # what is not needed is not held
            return memoryview(whole)


def _inflate(codec: Any, packed: bytes, room: memoryview) -> int:
    """Inflate into the room; how many bytes that made. Java writes Snappy in blocks of its own framing."""
    if codec is not cramjam.snappy:
        return int(codec.decompress_into(packed, room))
    if not packed.startswith(_XERIAL):
        return int(codec.decompress_raw_into(packed, room))
    at, size = _XERIAL_SIZE, 0
    while at < len(packed):
        (length,) = _LENGTH.unpack_from(packed, at)
        block = packed[at + 4 : at + 4 + length]
        size += int(codec.decompress_raw_into(block, room[size:]))
        at += 4 + max(length, 0)
    return size


def guard() -> None:
    """Have every consumer of this process read so."""
    fetcher.MemoryRecords = Records
    fetcher.PartitionRecords = internals.PartitionRecords
    fetcher.FetchResult = internals.FetchResult
