"""A dead letter is the refused record, byte for byte, and beside it why."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from aiokafka import TopicPartition

from monitor.counting.event import MAX_BYTES, Reason, Refused
from monitor.counting.formats import Unreadable
from streams.kafka.dead_letter import dead_letter
from streams.kafka.records import HEAD_BYTES

ORIGIN = TopicPartition("touchpoint.store.v1", 3)
REFUSED = Refused(Reason.BAD_VALUE, "Expected `float` >= 0 - at `$.wait_s`, not «-1»")


@dataclass(frozen=True)
class Record:
    """A record, as aiokafka reads it."""

    key: bytes | None = b"k"
    value: bytes | None = b"\x00\xff{"
    headers: tuple[tuple[str, bytes | None], ...] = ()
    offset: int = 42
    timestamp: int = 1_800_000_000_123


def headers_of(record: Record) -> Sequence[tuple[str, bytes | None]]:
    """Headers of the record's dead letter."""
    headers = dead_letter("t.dlq", ORIGIN, record, REFUSED).headers
    assert headers is not None
    return headers


def test_says_why_and_whence() -> None:
    """Reason, error, topic, partition, offset, timestamp and attempt stand as text in headers."""
    assert headers_of(Record()) == [
        ("dlq.reason", b"bad_value"),
        ("dlq.error", "Expected `float` >= 0 - at `$.wait_s`, not «-1»".encode()),
        ("dlq.topic", b"touchpoint.store.v1"),
        ("dlq.partition", b"3"),
        ("dlq.offset", b"42"),
        ("dlq.timestamp", b"1800000000123"),
        ("dlq.attempt", b"1"),
    ]


@pytest.mark.parametrize(("key", "value"), [(b"k", b"\x00\xff{"), (None, b""), (b"", None)])
def test_keeps_the_record(key: bytes | None, value: bytes | None) -> None:
    """Key and value go on unchanged, also where there is none; the broker chooses the partition."""
    letter = dead_letter("t.dlq", ORIGIN, Record(key=key, value=value), REFUSED)
    assert (letter.topic, letter.partition, letter.key, letter.value) == ("t.dlq", None, key, value)


def test_has_a_key_where_there_is_nothing() -> None:
    """A record without key and value gets an empty key, since no producer sends one with neither."""
    letter = dead_letter("t.dlq", ORIGIN, Record(key=None, value=None), REFUSED)
    assert (letter.key, letter.value) == (b"", None)


def test_keeps_headers() -> None:
    """The record's own headers go first, in order, repeated and empty ones included."""
    own = (("ce_id", b"1"), ("x", None), ("x", b"2"), ("dlqx", b""))
    assert list(headers_of(Record(headers=own)))[:4] == list(own)


def test_replaces_earlier_dead_letter_headers() -> None:
    """Of a record refused again, only the latest refusal is told."""
    own: tuple[tuple[str, bytes | None], ...] = (("dlq.reason", b"empty"), ("a", b""), ("dlq.x", b""))
    names = [name for name, _ in headers_of(Record(headers=own))]
    assert len(set(names)) == len(names)
    assert dict(headers_of(Record(headers=own)))["dlq.reason"] == b"bad_value"
    assert "dlq.x" not in names


@pytest.mark.parametrize(
    ("earlier", "attempt"),
    [
        ([], b"1"),
        ([b"1"], b"2"),
        ([b"9"], b"10"),
        ([b"1", b"4"], b"5"),
        ([b""], b"1"),
        ([b"two"], b"1"),
        ([b"-1"], b"1"),
        (["²".encode()], b"1"),
        ([None], b"1"),
        ([b"9" * 5000], b"1"),
    ],
)
def test_counts_attempts(earlier: list[bytes | None], attempt: bytes) -> None:
    """Each refusal adds one to the attempts; a header that is no number starts over."""
    own = tuple(("dlq.attempt", value) for value in earlier)
    assert dict(headers_of(Record(headers=own)))["dlq.attempt"] == attempt


def test_keeps_what_is_known_of_an_unreadable_record() -> None:
    """Its key and the head of its value; the true size says that something is missing."""
    letter = dead_letter("t.dlq", ORIGIN, Record(value=Unreadable("it has 129 headers", 7, b"head")), REFUSED)
    assert (letter.key, letter.value, (letter.headers or [])[-1]) == (b"k", b"head", ("dlq.size", b"7"))
    assert type(letter.value) is bytes


@pytest.mark.parametrize(
    "record",
    [
        Record(value=b"v" * (MAX_BYTES + 100_000)),
        Record(key=b"k" * (MAX_BYTES + 100_000)),
        Record(headers=tuple((f"h{n}", bytes(60_000)) for n in range(18))),
    ],
    ids=["value", "key", "headers"],
)
def test_keeps_the_head_of_what_no_event_is(record: Record) -> None:
    """Its true size is told, and where it lies."""
    letter = dead_letter("t.dlq", ORIGIN, record, REFUSED)
    assert (letter.key, letter.value) == (
        (record.key or b"")[:HEAD_BYTES],
        (record.value or b"")[:HEAD_BYTES],
    )
    told = dict(letter.headers or [])
    assert told["dlq.size"] == str(len(record.value or b"")).encode()
    assert all(name.startswith("dlq.") for name in told)
    whole = Record(value=b"v" * MAX_BYTES)
    assert dead_letter("t.dlq", ORIGIN, whole, REFUSED).value == whole.value
