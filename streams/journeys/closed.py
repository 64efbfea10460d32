"""The closed journeys of one partition: those to be published, and where those published lie in their topic.

Each is kept packed until Kafka has it, then as a hash of its id, four bytes, by the offset it got. Whoever
looks one up reads the records at the offsets with its hash, and goes by the id that stands in them: two ids
may have one hash, and a journey that was published again after a crash lies at two offsets.

In the changelog are chunks of `CHUNK` offsets: `x:<epoch>:<chunk>`, with the moment (ms, 8 bytes, big endian)
until which the journeys in it were over, then their hashes. An offset holds the same journey for ever, so
what several owners wrote of one chunk is laid over each other.
"""

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from cramjam import lz4

from monitor.journey_file.model import CLOSED_KEPT_MS
from monitor.journeys.open import OpenJourney
from streams.state.partition import PaneRecord, read_epoch

CHUNK = 1024
"""Some 2 KB are written again with each flush in which a journey closes."""

CHUNKS = range(2**63 // CHUNK)
"""Kafka counts offsets in 64 bits, the first of which is a sign."""

MAX_CHUNKS = 16_384
"""Of a partition: 16 million journeys in a week, 67 MB; of more the oldest are not found."""

MOST_OFFSETS = 8
"""Looked at for one id, the newest first; ids of one hash and publishing again are rare."""

_UNTIL = struct.Struct(">q")
_HASH = np.dtype("<u4")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(OpenJourney).decode


class Unpublished(NamedTuple):
    """A journey to be published; packed, for a clock that jumps closes as many as there are at once."""

    journey_id: str
    closed_ms: int
    packed: bytes

    def journey(self) -> OpenJourney:
        """What was kept of it at its end."""
        return _decode(lz4.decompress_block(self.packed))


class _Chunk:
    """Hashes by offset, 0 where no journey is known."""

    def __init__(self) -> None:
        self.hashes = np.zeros(CHUNK, _HASH)
        self.until_ms = 0
        self.epochs: set[int] = set()
        """Whose records of it are in the changelog."""


class Closed:
    """Closed journeys of a partition."""

    def __init__(self) -> None:
        self._waiting: list[Unpublished] = []
        self._waiting_bytes = 0
        self._chunks: dict[int, _Chunk] = {}
        self._changed: set[int] = set()
        self._stale: set[bytes] = set()

    def add(self, journey_id: str, journey: OpenJourney) -> None:
        """Take a journey that is over, to be published; it is left with its end alone.

        One that our rules failed on has none that could be told.
        """
        if journey.ending:
            packed = bytes(lz4.compress_block(_encode(journey)))
            self._waiting.append(Unpublished(journey_id, journey.closed_ms or 0, packed))
            self._waiting_bytes += len(packed)
        journey.strip()

    def take(self) -> list[Unpublished]:
        """Those to be published now."""
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return waiting

    def note(self, offset: int, one: Unpublished) -> None:
        """It has been published, at that offset."""
        number, place = divmod(offset, CHUNK)
        chunk = self._chunks.setdefault(number, _Chunk())
        chunk.hashes[place] = _hash(one.journey_id)
        chunk.until_ms = max(chunk.until_ms, one.closed_ms)
        self._changed.add(number)

    def offsets(self, journey_id: str) -> list[int]:
        """Where it may lie, the newest first."""
        return list(self._offsets(_hash(journey_id)))[:MOST_OFFSETS]

    def _offsets(self, wanted: int) -> Iterator[int]:
        for number in sorted(self._chunks, reverse=True):
            for place in np.flatnonzero(self._chunks[number].hashes == wanted)[::-1]:
                yield number * CHUNK + int(place)

    def restore(self, record: PaneRecord) -> None:
        """Apply one changelog record; raises if it is none of ours."""
        _, epoch_text, number_text = record.key.split(b":")
        epoch, number = read_epoch(epoch_text), int(number_text)
        if number not in CHUNKS or record.key != _key(epoch, number):
            raise ValueError("no chunk of offsets")
        if record.value is None:
            known = self._chunks.get(number)
            if known is not None:
                known.epochs.discard(epoch)
                if not known.epochs:
                    del self._chunks[number]
            return
        (until_ms,) = _UNTIL.unpack_from(record.value)
        hashes = np.frombuffer(record.value, _HASH, offset=_UNTIL.size)
        if len(hashes) > CHUNK:
            raise ValueError("more than a chunk")
        chunk = self._chunks.setdefault(number, _Chunk())
        np.maximum(chunk.hashes[: len(hashes)], hashes, out=chunk.hashes[: len(hashes)])
        chunk.until_ms = max(chunk.until_ms, until_ms)
        chunk.epochs.add(epoch)

    def take_changes(self, epoch: int, clock_ms: int) -> list[PaneRecord]:
        """Records of what has been published since the last call, to be written before any record that says
        that these journeys are over."""
        if not self._changed:
            return []
        over = [n for n, chunk in self._chunks.items() if chunk.until_ms < clock_ms - CLOSED_KEPT_MS]
        for number in [*over, *sorted(self._chunks)[: max(0, len(self._chunks) - MAX_CHUNKS)]]:
            chunk = self._chunks.pop(number, None)
            self._stale |= {_key(one, number) for one in chunk.epochs} if chunk is not None else set()
        records = []
        for number in sorted(self._changed & self._chunks.keys()):
            chunk = self._chunks[number]
            self._stale |= {_key(one, number) for one in chunk.epochs - {epoch}}
            chunk.epochs = {epoch}
            used = chunk.hashes[: int(chunk.hashes.nonzero()[0][-1]) + 1]
            records.append(PaneRecord(_key(epoch, number), _UNTIL.pack(chunk.until_ms) + used.tobytes()))
        self._changed.clear()
        return records

    def take_stale(self) -> list[PaneRecord]:
        """Deletions, to be written when what was taken last is, and before more is taken: a chunk that is
        filled further has the key of the one that was forgotten."""
        stale, self._stale = self._stale, set()
        return [PaneRecord(key, None) for key in stale]

    @property
    def kept_bytes(self) -> int:
        """The memory that they take."""
        return self._waiting_bytes + len(self._chunks) * CHUNK * _HASH.itemsize


def _key(epoch: int, number: int) -> bytes:
    return b"x:%d:%d" % (epoch, number)


def _hash(journey_id: str) -> int:
    """Not the hash that partitions go by, whose values here have most bits in common; never 0."""
    digest = hashlib.blake2b(journey_id.encode(), digest_size=4).digest()
    return int.from_bytes(digest) or 1
