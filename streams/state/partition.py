"""The panes of one partition: each event in exactly one pane of each grain, exactly once, whoever owned it.

A pane record says two things beside its counts: the *watermark*, the highest source offset it includes, and
the *epoch* of the owner that wrote it. On replay an event whose offset a pane's watermark covers is already
in that pane. After a change of owner the record with the highest (epoch, watermark) is the truth; the epoch
stands in the record's key, so a former owner that wakes up late can never overwrite its successor. It may
still outrank or delete records older than its own, so whoever recognises a replayed event by another owner's
record writes that pane again as its own before it acknowledges the event.

Beside the panes stand lists of what people look at one by one (`streams.state.latest`), and what is withheld
(`monitor.counting.staff`). That is kept as a pane, and written after the panes that it went to: an event is
in its pane before it is withheld no more. A new owner writes it first as it was read: one that a former
owner writes late may be ahead of the panes.

Record key: `<grain ms>:<start ms>:<epoch>`. Record value: watermark (8 bytes, big endian), then the named
counts as MessagePack in an LZ4 block, which the many like names shrink to less than half. A record without
value deletes that key.
"""

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress, groupby
from typing import Any, NamedTuple

import msgspec
from cramjam import lz4

from monitor.counting.panes import (
    LONG,
    SHORT,
    WITHHELD,
    Counts,
    NewTally,
    Pane,
    PaneKey,
    PaneTally,
    is_expired,
)
from streams.state.latest import Latest

EXPIRE_EVERY_MS = 60_000
"""Event time between two sweeps for expired panes; a sweep looks at every pane, some 3,000."""

GENERATIONS = 2**32
"""An epoch is incarnation * 2^32 + generation of the consumer group; the group counts in 32 bits."""

EPOCHS = range(2**62)
"""Written in 64 bits, the first of which is a sign."""

OWNED, UNOWNED = (b"j", b"c", b"x", b"o"), (b"k", b"l")
"""Kinds of records beside panes, told by how keys begin: an epoch comes second, or none at all."""

STARTS_MS = range(-86_400_000, 253_402_300_800_000)
"""From 1970 on, in all time zones, as far as calendars go."""

LATE_MS = 60_000
"""An event this far behind the clock is reported as late; it is counted all the same."""

MAX_COUNT = 2**64 - 1
"""A counter stays at this: the sums of durations would get there with 18 million events of 30 years each."""

_encode_counts = msgspec.msgpack.Encoder().encode
_decode_counts = msgspec.msgpack.Decoder(Counts).decode


class TakenOverError(RuntimeError):
    """Another owner has gone on with what this one still holds: whatever it does counts for nothing."""


class Positioned(NamedTuple):
    """What is to be counted, an accepted event for one, and the offset it was read at."""

    offset: int
    at_ms: int
    event: Any


class Run(NamedTuple):
    """What is to be counted, in the order of the offsets it was read at: three columns of equal length."""

    offsets: Sequence[int]
    times_ms: Sequence[int]
    events: Sequence[Any]

    @classmethod
    def of(cls, positioned: Iterable[tuple[int, int, Any]]) -> "Run":
        """The columns of what is positioned."""
        columns = [*zip(*positioned, strict=True)]
        return cls(*columns) if columns else cls((), (), ())

    def part(self, start: int, end: int) -> "Run":
        """From one place to before another."""
        return Run(self.offsets[start:end], self.times_ms[start:end], self.events[start:end])

    def which(self, are: Iterable[bool]) -> "Run":
        """Only those that are."""
        are = list(are)
        return Run(*(list(compress(column, are)) for column in self))


class PaneRecord(NamedTuple):
    """A record for the changelog; without a value it deletes its key."""

    key: bytes
    value: bytes | None


@dataclass(slots=True)
class Folded:
    """What folding a run of events did."""

    counted: int = 0
    late: int = 0
    duplicate: int = 0
    added: list[tuple[PaneKey, Counts]] = field(default_factory=list)
    bad: list[tuple[Any, tuple[str, ...]]] = field(default_factory=list)


def next_epoch(highest: int, generation: int) -> int:
    """The epoch of a new owner: above every epoch it has read, and unique among owners of its group.

    The group's generation grows with every change of owner, but starts over when the group is deleted;
    the incarnation then steps in.
    """
    if highest < 0:
        return generation
    incarnation, last_generation = divmod(highest, GENERATIONS)
    return (incarnation + (generation <= last_generation)) * GENERATIONS + generation


class Partition:
    """State of one partition of a stage's topic."""

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self._records: dict[PaneKey, tuple[int, bytes]] = {}
        self._hot: dict[PaneKey, Pane] = {}
        self._dirty: set[PaneKey] = set()
        self._stale: set[bytes] = set()
        self._generation = -1
        self._highest_epoch = -1
        self._highest_watermark = -1
        self._event_clock_ms = 0
        self._swept_ms = 0
        self._inherited: bytes | None = None
        self.epoch = -1
        self.latest = Latest()

    # -- recovery ------------------------------------------------------------------------------------

    def restore(self, record: PaneRecord) -> None:
        """Apply one changelog record, in the order of the changelog; again does no harm.

        An owner that reads on, after a rebalance that left the partition in place, gives way only to a later
        owner. An earlier owner's record is a late write, and never wins. It is deleted later only if the
        record we know has a later epoch: one of the same epoch may be the one that its writer keeps.
        """
        if record.key.startswith(b"l:"):
            if not self.is_owned:
                self.latest.restore(*record)
            return
        key, epoch = _read_key(record.key)
        if record.value is not None:
            _read_counts(record.value)
        self._highest_epoch = max(self._highest_epoch, epoch)
        known = self._records.get(key)
        known_epoch = -1 if known is None else known[0]
        if record.value is None:
            self._stale.discard(record.key)
            if epoch != known_epoch or key in self._dirty:
                return
            if self.is_owned and not is_expired(key, self._event_clock_ms, self._horizon_ms):
                self._pane(key)
                self._dirty.add(key)  # somebody deleted what we hold: write it again as ours
            else:
                del self._records[key]
                self._hot.pop(key, None)
            return
        watermark = _read_watermark(record.value)
        if epoch < self.epoch or (epoch, watermark) <= self._version(key):
            if epoch < known_epoch:
                self._stale.add(record.key)
            return
        if 0 <= known_epoch < epoch:
            self._stale.add(_write_key(key, known_epoch))
        self._stale.discard(record.key)
        self._records[key] = (epoch, record.value)
        self._hot.pop(key, None)
        self._dirty.discard(key)
        self._highest_watermark = max(self._highest_watermark, watermark)
        self._event_clock_ms = max(self._event_clock_ms, key.start_ms)

    @property
    def is_owned(self) -> bool:
        """Whether it has been taken over."""
        return self._generation >= 0

    def hear_of(self, epoch: int) -> None:
        """Note the epoch of a record that is no pane's: ours will be above it."""
        self._highest_epoch = max(self._highest_epoch, epoch)

    def own(self, generation: int) -> None:
        """Become the owner, once the changelog has been read; again in the same generation is no change."""
        if generation != self._generation:
            self._generation = generation
            self._highest_epoch = self.epoch = next_epoch(self._highest_epoch, generation)
            if WITHHELD in self._records:
                self._inherited = self._records[WITHHELD][1]

    def _version(self, key: PaneKey) -> tuple[int, int]:
        """Epoch and watermark of a pane as it stands; what is not yet written will be written as ours."""
        hot, record = self._hot.get(key), self._records.get(key)
        if key in self._dirty and hot is not None:
            return self.epoch, hot.watermark
        return (-1, -1) if record is None else (record[0], _read_watermark(record[1]))

    def holds(self, offset: int, at_ms: int) -> bool:
        """Whether an event of that moment, read at that offset, is counted already."""
        if offset > self._highest_watermark:
            return False
        return offset <= self._version(PaneKey(LONG.ms, LONG.start_of(at_ms)))[1]

    # -- folding -------------------------------------------------------------------------------------

    def fold(self, run: Run, new_tally: NewTally, now_ms: int) -> Folded:
        """Count what a run holds (`panes.Tally.add`); how events are cut into runs changes nothing.

        Raises once a later owner's record has been read: its panes may lack events read before.
        """
        if self._highest_epoch > self.epoch:
            raise TakenOverError(f"epoch {self._highest_epoch} has taken over from {self.epoch}")
        folded = Folded()
        fresh, end = bisect_right(run.offsets, self._highest_watermark), len(run.offsets)
        parts = [[*places] for _, places in groupby(range(fresh), partial(self._replay_key, run))]
        for part in [*parts, range(fresh, end)]:
            if part:
                self._fold_run(run.part(part[0], part[-1] + 1), new_tally(), now_ms, folded)
        return folded

    def _replay_key(self, run: Run, place: int) -> Hashable:
        """Replayed neighbours with the same key are folded as one run: they lie in the same panes, and the
        same of these have counted them already. What was read at one offset stays together: a pane that
        counts a part of it is taken to hold it all.
        """
        offset, at_ms = run.offsets[place], run.times_ms[place]
        if offset in run.offsets[max(place - 1, 0) : place] or offset in run.offsets[place + 1 : place + 2]:
            return offset
        keys = [*(PaneKey(grain.ms, grain.start_of(at_ms)) for grain in (SHORT, LONG)), WITHHELD]
        return keys[0], *(offset <= self._version(key)[1] for key in keys)

    def _fold_run(self, run: Run, tally: PaneTally, now_ms: int, folded: Folded) -> None:
        bad_for = tally.add(run.events, run.times_ms)
        first_offset, last_offset = run.offsets[0], run.offsets[-1]
        self._event_clock_ms = max(self._event_clock_ms, *run.times_ms)
        counted = False
        for key, counts in tally.panes():
            is_short = key.grain_ms == SHORT.ms
            # No window reaches a short pane this far behind the clock, so late events skip it.
            if is_short and is_expired(key, max(now_ms, self._event_clock_ms), self._horizon_ms):
                continue
            pane = self._pane(key)
            if first_offset <= pane.watermark:
                known = self._records.get(key)
                if known is not None and known[0] != self.epoch:
                    self._dirty.add(key)  # to be written as ours
                continue
            pane.add(counts, last_offset)
            self._dirty.add(key)
            folded.added.append((key, counts))
            counted = counted or key.grain_ms == LONG.ms
        if counted:
            folded.counted += len(run.events)
            folded.late += sum(at_ms < now_ms - LATE_MS for at_ms in run.times_ms)
            folded.bad += [one for one in zip(run.events, bad_for, strict=True) if one[1]]
        else:
            folded.duplicate += len(run.events)
        self._highest_watermark = max(self._highest_watermark, last_offset)

    def _pane(self, key: PaneKey) -> Pane:
        pane = self._hot.get(key)
        if pane is None:
            pane = self._hot[key] = self._read(key)
        return pane

    def _read(self, key: PaneKey) -> Pane:
        record = self._records.get(key)
        if record is None:
            return Pane()
        return Pane(_read_counts(record[1]), _read_watermark(record[1]))

    def panes(self) -> Iterator[tuple[PaneKey, Counts]]:
        """Every pane's counts, the oldest of a grain first."""
        for key in sorted((self._records.keys() | self._hot.keys()) - {WITHHELD}):
            yield key, self._counts(key)

    def withheld(self) -> Counts:
        """Answers that are counted, and not shown before there are five."""
        return self._counts(WITHHELD)

    def _counts(self, key: PaneKey) -> Counts:
        hot = self._hot.get(key)
        return (hot if hot is not None else self._read(key)).counts

    # -- writing -------------------------------------------------------------------------------------

    def take_changes(self) -> list[PaneRecord]:
        """Records of every pane changed since the last call, under this owner's epoch.

        Only what they replace is remembered as stale: `take_stale` yields it once these are acknowledged.
        """
        records = []
        if self._inherited is not None:
            records.append(PaneRecord(_write_key(WITHHELD, self.epoch), self._inherited))
            self._dirty.add(WITHHELD)
            self._pane(WITHHELD)
            self._inherited = None
        for key in sorted(self._dirty, reverse=True):  # what is withheld comes last
            pane = self._hot[key]
            value = _write_value(pane)
            known = self._records.get(key)
            if known is not None and known[0] < self.epoch:  # a later owner's is not ours to delete
                self._stale.add(_write_key(key, known[0]))
            self._records[key] = (self.epoch, value)
            records.append(PaneRecord(_write_key(key, self.epoch), value))
        self._hot = {key: self._hot[key] for key in self._dirty}
        self._dirty.clear()
        return records + [PaneRecord(*one) for one in self.latest.take_changes()]

    def take_stale(self) -> list[PaneRecord]:
        """Deletions of what newer records have replaced, and of expired panes."""
        if self._event_clock_ms - self._swept_ms >= EXPIRE_EVERY_MS:
            self._swept_ms = self._event_clock_ms
            self._expire()
        deletions = [PaneRecord(key, None) for key in self._stale]
        self._stale.clear()
        return deletions

    def _expire(self) -> None:
        for key in list(self._records):
            if key not in self._dirty and is_expired(key, self._event_clock_ms, self._horizon_ms):
                epoch, _ = self._records.pop(key)
                self._hot.pop(key, None)
                self._stale.add(_write_key(key, epoch))


def _write_key(key: PaneKey, epoch: int) -> bytes:
    return b"%d:%d:%d" % (key.grain_ms, key.start_ms, epoch)


def _read_key(key: bytes) -> tuple[PaneKey, int]:
    """ValueError for what no worker writes."""
    grain_text, start_text, epoch_text = key.split(b":")
    grain_ms, start_ms = int(grain_text), int(start_text)
    pane = PaneKey(grain_ms, start_ms)
    is_time = grain_ms in (SHORT.ms, LONG.ms) and start_ms in STARTS_MS and not start_ms % grain_ms
    if not is_time and pane != WITHHELD:
        raise ValueError("no pane begins there")
    return pane, read_epoch(epoch_text)


def read_epoch(text: bytes) -> int:
    """Of a record's key; ValueError for what no worker writes."""
    epoch = int(text)
    if epoch not in EPOCHS:
        raise ValueError("no group has moved on so often")
    return epoch


def require_successor(key: bytes, generation: int) -> None:
    """ValueError for a record whose epoch no owner of that generation could be above: it is none of ours, and
    whoever was above it would write what nobody reads."""
    kind, *rest = key.split(b":")
    if kind in UNOWNED:
        return
    epoch = read_epoch(rest[0 if kind in OWNED else -1])
    if next_epoch(epoch, generation) not in EPOCHS:
        raise ValueError("nobody could go on from there")


def _write_value(pane: Pane) -> bytes:
    try:
        counts = _encode_counts(pane.counts)
    except OverflowError:  # a sum of what nobody can have lived through; the record takes 64 bits of each
        counts = _encode_counts({name: min(n, MAX_COUNT) for name, n in pane.counts.items()})
    return pane.watermark.to_bytes(8, "big") + bytes(lz4.compress_block(counts))


def _read_counts(value: bytes) -> Counts:
    return _decode_counts(lz4.decompress_block(memoryview(value)[8:]))


def _read_watermark(value: bytes) -> int:
    return int.from_bytes(value[:8], "big")
