"""Encounters that have begun and not ended: what is known of each, as a pure function of the events read.

An event with outcome `queued` or `started` begins an encounter. Any other that names the same one ends it.
What is read again changes nothing. So what a crash loses of this comes back with the events that a successor
reads again. An encounter that has ended is remembered for a while: its beginning may be read after its end,
or be published twice, and must not open it once more.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from monitor.counting.event import YEARS_MS
from monitor.counting.windows import Late
from monitor.journey_file.model import QUEUED, STARTED

REMEMBERED_MS = 600_000
"""How long the end of an encounter is remembered: longer than a service tries to publish its beginning, and
than events stay uncommitted, which is seconds."""

MAX_AGE_MS = 86_400_000
"""An encounter that has not ended so long after its beginning is given up: its service has lost it. A day is
longer than any queue; what takes longer is a promise."""

MAX_KNOWN = 50_000
"""Encounters known of one partition, some 25 MB. Then those that ended first are forgotten, then those that
began first are given up."""

Moment = Annotated[int, Meta(ge=YEARS_MS[0], le=YEARS_MS[-1])]
Label = Annotated[str, Meta(max_length=200)]
Labels = tuple[str, str]
"""Segment and partner, as they are counted."""


class Encounter(Struct, frozen=True, array_like=True):
    """One encounter; `ended_at` is the offset of the event that ended it."""

    segment: Label
    partner: Label
    queued_ms: Moment | None = None
    started_ms: Moment | None = None
    ended_at: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None

    @property
    def is_open(self) -> bool:
        """Whether no event has ended it."""
        return self.ended_at is None

    @property
    def opening(self) -> str:
        """What it is in: a queue, or under way."""
        return QUEUED if self.started_ms is None else STARTED

    @property
    def since_ms(self) -> int:
        """Since when it is in the queue, or under way; 0 if neither was read."""
        return self.started_ms or self.queued_ms or 0


class Encounters:
    """Those of one partition, by id. `touched` are those that events read since it was emptied speak of, and
    `forgotten` those that have left."""

    def __init__(self) -> None:
        self.known: dict[str, Encounter] = {}
        self.touched: set[str] = set()
        self.forgotten: set[str] = set()
        self.given_up = 0
        self._open: dict[str, None] = {}
        self._ended_ms: dict[str, int] = {}
        self._clock_ms = 0

    def begin(self, id_: str, opening: str, at_ms: int, labels: Labels) -> None:
        """It was queued, or has started: the first word of either counts."""
        self._clock_ms = max(self._clock_ms, at_ms)
        held = self.known.get(id_, Encounter(*labels))
        if held.is_open:
            if opening == QUEUED and held.queued_ms is None:
                held = replace(held, queued_ms=at_ms)
            elif opening == STARTED and held.started_ms is None:
                held = replace(held, started_ms=at_ms)
            self._open[id_] = None
        self._hold(id_, held)

    def end(self, id_: str, offset: int, labels: Labels, now_ms: int) -> Encounter | None:
        """It has ended: the first event that says so ends it. Returned is what this event has ended."""
        held = self.known.get(id_, Encounter(*labels))
        if held.is_open:
            held = replace(held, ended_at=offset)
            self._open.pop(id_, None)
            self._ended_ms[id_] = now_ms
        self._hold(id_, held)
        return held if held.ended_at == offset else None

    def _hold(self, id_: str, held: Encounter) -> None:
        self.known[id_] = held
        self.touched.add(id_)
        self.forgotten.discard(id_)

    def put(self, id_: str, held: Encounter) -> None:
        """Take over what an owner has written of one; how long ago it ended is not known."""
        self.known[id_] = held
        if held.is_open:
            self._open[id_] = None
            self._ended_ms.pop(id_, None)
        else:
            self._open.pop(id_, None)
            self._ended_ms.setdefault(id_, 0)

    def drop(self, id_: str) -> None:
        """Take it that this one is not there."""
        self.known.pop(id_, None)
        self._open.pop(id_, None)
        self._ended_ms.pop(id_, None)
        self.touched.discard(id_)

    def recall(self) -> None:
        """Begin with what was put: all of it is to be written, and its ends are remembered from now on."""
        self.touched = set(self.known)
        begun = sorted((self.known[id_].since_ms, id_) for id_ in self._open)
        self._open = dict.fromkeys(id_ for _, id_ in begun)
        self._clock_ms = max(self._clock_ms, *(since_ms for since_ms, _ in begun), 0)
        self._ended_ms = dict(sorted(self._ended_ms.items(), key=itemgetter(1)))

    def sweep(self, now_ms: int) -> None:
        """Forget what ended long ago, and give up what never ends."""
        for id_, ended_ms in self._ended_ms.items():
            if ended_ms:
                break
            self._ended_ms[id_] = now_ms  # was put: these stand first
        while self._ended_ms and self._is_over(next(iter(self._ended_ms.values())), now_ms):
            self._forget(next(iter(self._ended_ms)))
        while self._open and self._is_lost(self.known[next(iter(self._open))]):
            self._forget(next(iter(self._open)))
            self.given_up += 1

    def _is_over(self, ended_ms: int, now_ms: int) -> bool:
        return now_ms - ended_ms >= REMEMBERED_MS or len(self.known) > MAX_KNOWN

    def _is_lost(self, one: Encounter) -> bool:
        """By event time: replayed history is as old as it says."""
        return self._clock_ms - one.since_ms > MAX_AGE_MS or len(self.known) > MAX_KNOWN

    def _forget(self, id_: str) -> None:
        self.drop(id_)
        self.forgotten.add(id_)

    def begun(self) -> Iterable[Encounter]:
        """Those that have begun and not ended."""
        return (self.known[id_] for id_ in self._open)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """How many encounters of a stage are open, and since when the oldest of them: by `queued` or `started`,
    and segment. `given_up` is how many were given up, `late` what those open are bad for already."""

    n: dict[tuple[str, str], int] = field(default_factory=dict)
    since_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    given_up: int = 0
    late: Late = field(default_factory=dict)


def under_way(partitions: Iterable[Encounters], late: Late) -> UnderWay:
    """What is open in all these partitions, and late."""
    found, given_up = UnderWay(), 0
    for encounters in partitions:
        given_up += encounters.given_up
        for one in encounters.begun():
            cell = one.opening, one.segment
            found.n[cell] = found.n.get(cell, 0) + 1
            found.since_ms[cell] = min(one.since_ms, found.since_ms.get(cell, one.since_ms))
    return UnderWay(found.n, found.since_ms, given_up, late)
