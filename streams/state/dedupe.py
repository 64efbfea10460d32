"""Which event ids were seen lately in one partition, as a pure function of the records read.

A service that retries may publish an event twice. An event is *repeated* when a record of the same id stands
before it in the partition, less than `dedupe_s` earlier. Time is the log's own: the highest record timestamp
up to there. So every owner comes to the same verdict about every offset, once it has read back `dedupe_s` of
the topic, and nothing needs to be stored beside the topic.

The latest sightings are kept one by one, so that the partition can be read again from an offset not long ago,
as happens at a rebalance. Older ones are arrays of (hash, clock), 16 bytes an id: 10,000 ids a second for ten
minutes take about 120 MB. Ids are compared by Python's 64 bit hash: among 6 million ids a new one is mistaken
for another once in 3,000 billion.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TAIL = 8192
"""Sightings kept one by one. What is read but not committed is some 1.2 s of events; if it is ever more, the
ids are read back from the topic."""

CHUNKS = 4
"""Each chunk of older sightings spans at most this part of the time: fewer chunks are searched faster, more
are dropped sooner."""

CHUNK_IDS = 2**18
"""More ids are not merged into one chunk: sorting twice as many holds the event loop for 20 ms."""

NEVER_MS = -(2**62)

Array = NDArray[np.int64]


class Sighting(NamedTuple):
    """One id in one record; `clock_ms` is the highest record timestamp up to it."""

    offset: int
    hash: int
    clock_ms: int


class Chunk(NamedTuple):
    """Older sightings: each hash once, ascending, with the clock of its last sighting."""

    hashes: Array
    clocks_ms: Array
    first_ms: int
    last_ms: int


class Sightings:
    """The ids of one partition, up to `next_offset`."""

    def __init__(self, dedupe_ms: int) -> None:
        self._dedupe_ms = dedupe_ms
        self._chunks: list[Chunk] = []
        self._tail: list[Sighting] = []
        self._latest: dict[int, int] = {}
        self._floor = 0
        self._floor_ms = NEVER_MS
        self.clock_ms = NEVER_MS
        self.next_offset = 0

    def __len__(self) -> int:
        return len(self._latest) + sum(chunk.hashes.size for chunk in self._chunks)

    def can_resume(self, offset: int) -> bool:
        """Whether all records before this offset, and what is still known after it, have been seen here."""
        return self._floor <= offset <= self.next_offset

    def continue_at(self, offset: int) -> None:
        """Say that what lies between the last record seen and this offset holds no event to be counted."""
        self.next_offset = max(offset, self.next_offset)

    def see(self, offsets: Sequence[int], ids: Sequence[str], timestamps_ms: Sequence[int]) -> list[bool]:
        """Which of these records, in the order of their offsets, repeat an id seen within the time.

        Records seen before are seen anew, with the same verdict. Raises when they lie too far back.
        """
        if not offsets:
            return []
        if offsets[0] < self.next_offset:
            self._rewind(offsets[0])
        hashes = [hash(id_) for id_ in ids]
        older_ms = self._search(np.array(hashes, dtype=np.int64)).tolist()
        clock_ms, latest, tail = self.clock_ms, self._latest, self._tail
        repeated = []
        for offset, key, timestamp_ms, older in zip(offsets, hashes, timestamps_ms, older_ms, strict=True):
            clock_ms = max(clock_ms, timestamp_ms)
            repeated.append(max(older, latest.get(key, NEVER_MS)) > clock_ms - self._dedupe_ms)
            latest[key] = clock_ms
            tail.append(Sighting(offset, key, clock_ms))
        self.clock_ms, self.next_offset = clock_ms, offsets[-1] + 1
        if len(tail) >= 2 * TAIL:
            self._seal(len(tail) - TAIL)
        return repeated

    def _rewind(self, offset: int) -> None:
        if offset < self._floor:
            raise RuntimeError(f"offset {offset} is read again, ids are known from {self._floor} on")
        while self._tail and self._tail[-1].offset >= offset:
            self._tail.pop()
        self._latest = {key: clock_ms for _, key, clock_ms in self._tail}
        self.clock_ms = self._tail[-1].clock_ms if self._tail else self._floor_ms

    def _search(self, hashes: Array) -> Array:
        """The clock at which each hash was last seen in a chunk."""
        order = np.argsort(hashes)  # neighbours are found near each other
        ascending = hashes[order]
        last_ms = np.full(hashes.size, NEVER_MS, dtype=np.int64)
        for chunk in self._chunks:  # oldest first, so the last sighting stays
            at = np.searchsorted(chunk.hashes, ascending)
            hits = np.flatnonzero(chunk.hashes.take(at, mode="clip") == ascending)
            if hits.size:
                last_ms[hits] = chunk.clocks_ms[at[hits]]
        found = np.empty_like(last_ms)
        found[order] = last_ms
        return found

    def _seal(self, count: int) -> None:
        """Move the oldest sightings into a chunk; drop chunks that no record to come can repeat."""
        sealed, self._tail = self._tail[:count], self._tail[count:]
        self._floor, self._floor_ms = sealed[-1].offset + 1, sealed[-1].clock_ms
        self._latest = {key: clock_ms for _, key, clock_ms in self._tail}
        hashes = np.fromiter((one.hash for one in sealed), np.int64, count)
        clocks_ms = np.fromiter((one.clock_ms for one in sealed), np.int64, count)
        self._chunks.append(_chunk(hashes, clocks_ms, sealed[0].clock_ms, self._floor_ms))
        while len(self._chunks) > 1 and self._may_merge(*self._chunks[-2:]):
            newer, older = self._chunks.pop(), self._chunks.pop()
            hashes = np.concatenate((older.hashes, newer.hashes))
            clocks_ms = np.concatenate((older.clocks_ms, newer.clocks_ms))
            self._chunks.append(_chunk(hashes, clocks_ms, older.first_ms, newer.last_ms))
        self._chunks = [one for one in self._chunks if one.last_ms > self._floor_ms - self._dedupe_ms]

    def _may_merge(self, older: Chunk, newer: Chunk) -> bool:
        is_brief = newer.last_ms - older.first_ms <= self._dedupe_ms / CHUNKS
        is_small = older.hashes.size + newer.hashes.size <= CHUNK_IDS
        return is_brief and is_small and older.hashes.size < 2 * newer.hashes.size


def _chunk(hashes: Array, clocks_ms: Array, first_ms: int, last_ms: int) -> Chunk:
    """Sort by hash. Of equal hashes the later one is given last, and is the one that stays."""
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    is_last = np.append(hashes[1:] != hashes[:-1], True)
    return Chunk(hashes[is_last], clocks_ms[order][is_last], first_ms, last_ms)
