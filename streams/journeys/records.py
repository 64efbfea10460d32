"""Journeys and their clock as they stand in the changelog.

Keys: `j:<epoch>:<journey id>`, `c:<epoch>`, that of a contact (`streams.journeys.contacts`) or of a pane. A
journey's value is a header (position, epoch, when time changes it next: 8 bytes each, big endian; flags: a
byte), then the journey as MessagePack in an LZ4 block. What a worker must know of every journey stands in the
header, so that a million of them need not be unpacked. Earlier versions wrote when they would look at it: a
moment that may come before, and once more behind the journey.
"""

import struct
from typing import Annotated, Literal, NamedTuple

import msgspec
from cramjam import lz4
from msgspec import Meta, Struct

from monitor.journeys.open import KEEP_MS, OpenJourney
from monitor.journeys.step import Ms
from monitor.live.journeys import Source
from streams.state.partition import STARTS_MS

_HEADER = struct.Struct(">qqqB")
_FLAGS_AT = _HEADER.size - 1
_EPOCH, _EPOCH_AT = struct.Struct(">q"), 8

OVERDUE, CLOSED, FULL = 1, 2, 4
"""Flags: something of it is overdue; it is over; it takes no more steps."""


Long = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What a header of 8 bytes holds."""


class Made(NamedTuple):
    """What a journey added to, and at which offset of the steps topic."""

    offset: Long
    at_ms: Annotated[int, Meta(ge=STARTS_MS[0], le=STARTS_MS[-1])]
    counters: tuple[str, ...]


class Kept(Struct, array_like=True, gc=False):
    """A journey as it is written; `made` is what a successor may have to offer to the panes again."""

    journey: OpenJourney
    made: list[Made] = []

    @property
    def next_ms(self) -> int:
        """When time changes it next. What is over is forgotten when a step that is late for it would be too
        far behind the clock to begin another."""
        closed_ms = self.journey.closed_ms
        return self.journey.next_ms if closed_ms is None else closed_ms + 2 * KEEP_MS


class Header(NamedTuple):
    """What is told without unpacking a journey: written up to which offset, by whom, when to look at it."""

    position: int
    epoch: int
    next_ms: int
    flags: int


class Clock(Struct, array_like=True, frozen=True):
    """Up to which offset everything is written, what time it was then, and the marks that say so."""

    position: Long
    clock_ms: Ms
    marks: dict[str, Ms]


_encode = msgspec.msgpack.Encoder().encode
_decode_kept = msgspec.msgpack.Decoder(Kept).decode
_decode_clock = msgspec.msgpack.Decoder(Clock).decode


def journey_key(epoch: int, journey_id: str) -> bytes:
    """Of a journey's record by that owner."""
    return b"j:%d:%b" % (epoch, journey_id.encode())


def clock_key(epoch: int) -> bytes:
    """Of the clock's record by that owner."""
    return b"c:%d" % epoch


def pack(kept: Kept, position: int, epoch: int, *, is_overdue: bool) -> bytes:
    """A journey's value."""
    is_closed, is_full = kept.journey.closed_ms is not None, kept.journey.is_full
    flags = OVERDUE * is_overdue | CLOSED * is_closed | FULL * is_full
    head = _HEADER.pack(position, epoch, kept.next_ms, flags)
    return b"".join((head, lz4.compress_block(_encode(kept))))


def header(value: bytes) -> Header:
    """The beginning of a journey's value."""
    return Header(*_HEADER.unpack_from(value))


def epoch_of(value: bytes) -> int:
    """Who wrote it: all that writing it anew asks of a header."""
    epoch: int = _EPOCH.unpack_from(value, _EPOCH_AT)[0]
    return epoch


def is_full(value: bytes) -> bool:
    """Whether the journey takes no more steps: all that most steps ask of a header."""
    return bool(value[_FLAGS_AT] & FULL)


def unpack(value: bytes) -> Kept:
    """All of a journey's value; raises for what cannot be written again."""
    return _decode_kept(lz4.decompress_block(memoryview(value)[_HEADER.size :]))


def pack_clock(position: int, clock_ms: int, marks: dict[Source, int]) -> bytes:
    """The clock's value."""
    return _encode(
        Clock(position, clock_ms, {f"{stage}:{partition}": ms for (stage, partition), ms in marks.items()})
    )


def unpack_clock(value: bytes) -> tuple[int, int, dict[Source, int]]:
    """Position, time in ms, and marks."""
    clock = _decode_clock(value)
    return clock.position, clock.clock_ms, {_source(text): ms for text, ms in clock.marks.items()}


def _source(text: str) -> Source:
    stage, _, partition = text.rpartition(":")
    return stage, int(partition)


Room = Literal["all", "known", "none"]
"""Whose steps are taken in: everybody's, those of journeys under way, nobody's."""

StepResult = Literal["counted", "duplicate", "late", "refused", "skipped"]
"""What became of a step: late came after its journey was over, for refused there was no room, skipped is what
our code failed on."""


class Taken(NamedTuple):
    """What taking in one record did; contacts are steps of their cases.

    Steps after the end of their journey are `late`. Those read before the end was known were counted as steps
    of it, and are late with the record that brings the end.
    """

    made: list[Made]
    steps: int
    duplicate: int
    late: int
    refused: int
    skipped: int
