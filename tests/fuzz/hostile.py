"""What others may write to the topics that workers keep for themselves: no such record stops a worker.

Records of a worker, wrong in one to three places: numbers beyond every range, other types, other keys and
headers. A worker passes over what it cannot read; what it can read it takes for its own.
"""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import msgspec
from cramjam import lz4

from monitor.live.change import Change, LatestChanges, read, written
from streams.kafka.outgoing import Outgoing
from tests.fuzz.holds import JOURNEY, NOW_MS

FORGED = 300
"""Records of each topic in a round."""

VALUES: list[Any] = [
    *(0, 1, -1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), NOW_MS, NOW_MS + 86_400_000),
    *(None, True, 1.5, float("nan"), float("inf"), "", "x", "x" * 300, b"", b"\xff", [], {}, [[]], {"a": 1}),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "2026-05-04T10:00:00Z"),
    *("store", "moon_base", "closed/met/new", "nps", "delivery_window", "\x00"),
]
WORDS = [
    *(b"", b"0", b"1", b"-1", b"x", b"\xff", b"9" * 12, b"9" * 19, b"9" * 30, b"9" * 5000),
    *(b" 1", b"1_0", b"1.5"),
    *(b"10000", b"300000", b"7", b"253402300800000", b"j", b"c", b"k", b"l"),
]  # fmt: skip


def changed(value: Any, random: Random) -> Any:
    """The same plain data, with something else in one place."""
    if isinstance(value, list) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        return [*value[:at], changed(value[at], random), *value[at + 1 :]]
    if isinstance(value, dict) and value and random.random() < 0.9:
        name = random.choice(list(value))
        return value | {name: changed(value[name], random)}
    return random.choice(VALUES)


def packed(value: bytes, random: Random) -> bytes:
    """MessagePack of something else."""
    plain = msgspec.msgpack.decode(value)
    for _ in range(random.randint(1, 3)):
        plain = changed(plain, random)
    return msgspec.msgpack.encode(plain)


def forged(record: Outgoing, random: Random) -> tuple[bytes, bytes | None, list[bytes]]:
    """Key, value and what stands in its header of a record like this one of a changelog."""
    key, value = record.key or b"", record.value
    headers = [content or b"" for _, content in record.headers or ()]
    if random.random() < 0.5:
        parts = key.split(b":")
        parts[random.randrange(len(parts))] = random.choice(WORDS)
        key = b":".join(parts)
    if value and random.random() < 0.6:
        value = _changed_value(record.key or b"", value, random)
    if random.random() < 0.3:
        headers = [b"%b:%b" % (random.choice(WORDS), random.choice(WORDS))]
    return key, value, headers


def _changed_value(key: bytes, value: bytes, random: Random) -> bytes:
    if key[:2] in (b"c:", b"k:", b"l:", b"o:"):
        return packed(value, random)
    if key[:2] == b"x:":  # numbers side by side
        return random.randbytes(random.randrange(2 * len(value)))
    size = 25 if key[:2] == b"j:" else 8  # what stands before the block
    head = bytearray(value[:size])
    if random.random() < 0.5:
        at = random.randrange(0, size, 8)
        head[at : at + 8] = random.randbytes(len(head[at : at + 8]))
    body = bytes(lz4.decompress_block(value[size:]))
    return bytes(head) + bytes(lz4.compress_block(packed(body, random)))


def some(records: Sequence[Any], random: Random) -> Iterable[Any]:
    """`FORGED` of them."""
    return random.choices(records, k=FORGED) if records else ()


def follow(random: Random) -> None:
    """The topic of changes: each record is one, or words say why not, and what is kept can be shown."""
    latest = LatestChanges()
    for _ in range(FORGED):
        plain = msgspec.json.decode(written("id", NOW_MS, "deploy", "title", "store"))
        try:
            value = msgspec.json.encode(changed(plain, random))
        except (msgspec.MsgspecError, OverflowError):
            continue
        change = read(value, JOURNEY, NOW_MS)
        if isinstance(change, Change):
            latest.add(change)
        else:
            assert change.isprintable()
    latest.since(NOW_MS)
