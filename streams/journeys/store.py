"""The journeys of one partition: of each the record that is furthest, and what has changed since then.

Journeys are held in memory as they are written; only those changed since then are held unpacked. To keep
those written last unpacked, too, costs more than it saves: on the dense load 4 µs an event.
"""

from collections import defaultdict
from collections.abc import Container, Iterator
from heapq import heappop, heappush, nsmallest
from itertools import islice

from monitor.counting.panes import SHORT
from streams.journeys.records import Kept, epoch_of, header, is_full, journey_key, pack, unpack
from streams.state.partition import PaneRecord

EACH_BYTES = 250
"""What Python keeps beside the record of each journey: its id, places in dicts, a timer."""


class JourneyStore:
    """Journeys by their id."""

    def __init__(self) -> None:
        self.record_bytes = 0
        """Of all that is kept, as written last."""
        self.stale: set[bytes] = set()
        """Keys to be deleted."""
        self._records: dict[str, bytes] = {}
        self._others: dict[str, dict[int, bytes]] = defaultdict(dict)
        """While the changelog is read: what other owners wrote of the same journeys, by epoch."""
        self._changed: dict[str, Kept] = {}
        """Journeys changed since they were written."""

    # -- recovery ------------------------------------------------------------------------------------

    def restore(self, journey_id: str, epoch: int, record: PaneRecord) -> None:
        """Keep the record that is furthest, and the others until all is read.

        A record is deleted by whoever has written a later one, or has forgotten the journey: either way what
        is left of earlier owners counts for nothing.
        """
        others = self._others[journey_id]
        known = self._records.pop(journey_id, None)
        if known is not None:
            self.record_bytes -= len(known)
            others[epoch_of(known)] = known
        if record.value is None:
            for earlier in [one for one in others if one <= epoch]:
                del others[earlier]
                self.stale.add(journey_key(earlier, journey_id))
            self.stale.discard(record.key)
        else:
            others[epoch] = record.value
        if others:
            furthest = max(others, key=lambda one: (header(others[one]).position, one))
            self._records[journey_id] = value = others.pop(furthest)
            self.record_bytes += len(value)
        if not others:
            del self._others[journey_id]

    def settle(self) -> None:
        """All is read: what others wrote is to be deleted."""
        for journey_id, others in self._others.items():
            self.stale.update(journey_key(epoch, journey_id) for epoch in others)
        self._others.clear()

    def records(self) -> list[tuple[str, bytes]]:
        """Every journey that is written, as it was last."""
        return list(self._records.items())

    # -- looking and changing ------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._records)

    @property
    def changed(self) -> int:
        """How many differ from their records."""
        return len(self._changed)

    def find(self, journey_id: str) -> Kept | None:
        """The journey as it is now. What is changed of it counts once `change` has heard of it."""
        kept = self._changed.get(journey_id)
        if kept is None and (value := self._records.get(journey_id)) is not None:
            return unpack(value)
        return kept

    def is_full(self, journey_id: str) -> bool:
        """Whether the journey takes no more steps, told without unpacking them all: a service that gives its
        events one id sends as many as it has events."""
        kept = self._changed.get(journey_id)
        if kept is not None:
            return kept.journey.is_full
        value = self._records.get(journey_id)
        return value is not None and is_full(value)

    def next_ms(self, journey_id: str) -> int | None:
        """When time changes the journey, at the earliest; None when there is no such journey."""
        kept = self._changed.get(journey_id)
        if kept is not None:
            return kept.next_ms
        value = self._records.get(journey_id)
        return None if value is None else header(value).next_ms

    def change(self, journey_id: str, kept: Kept) -> None:
        """It differs from its record."""
        self._changed[journey_id] = kept

    def is_changed(self, journey_id: str) -> bool:
        """Whether it differs from its record."""
        return journey_id in self._changed

    def forget(self, journey_id: str) -> None:
        """It is over for good."""
        value = self._records.pop(journey_id)
        self.record_bytes -= len(value)
        self.stale.add(journey_key(epoch_of(value), journey_id))

    # -- writing -------------------------------------------------------------------------------------

    def take_changes(
        self, position: int, epoch: int, settled: int, overdue: Container[str]
    ) -> list[PaneRecord]:
        """Records of all that has changed since the last call. What a journey has added to up to the offset
        `settled` is in the panes for sure, and is not written again."""
        records = []
        for journey_id, kept in self._changed.items():
            if kept.made:
                kept.made = [one for one in kept.made if one.offset > settled]
            value = pack(kept, position, epoch, is_overdue=journey_id in overdue)
            self.record_bytes += len(value)
            if (known := self._records.get(journey_id)) is not None:
                self.record_bytes -= len(known)
                if (before := epoch_of(known)) != epoch:
                    self.stale.add(journey_key(before, journey_id))
            self._records[journey_id] = value
            key = journey_key(epoch, journey_id)
            self.stale.discard(key)  # of one before it with its id, forgotten since the last call
            records.append(PaneRecord(key, value))
        self._changed = {}
        return records


class Timers:
    """When each journey is to be looked at: at the end of the slice of event time that holds the moment."""

    def __init__(self) -> None:
        self._slices: defaultdict[int, list[str]] = defaultdict(list)
        self._ends: list[int] = []
        """The ends of the slices, a heap."""

    def set(self, journey_id: str, at_ms: int) -> None:
        """Look at the journey when the clock has passed that moment."""
        end_ms = SHORT.start_of(at_ms) + SHORT.ms
        if end_ms not in self._slices:
            heappush(self._ends, end_ms)
        self._slices[end_ms].append(journey_id)

    def soonest(self, most: int, until_ms: int) -> Iterator[str]:
        """Journeys to be looked at next, up to a moment; at most so many."""
        ends = (end_ms for end_ms in nsmallest(most, self._ends) if end_ms - SHORT.ms <= until_ms)
        return islice((one for end_ms in ends for one in self._slices[end_ms]), most)

    def due(self, clock_ms: int) -> Iterator[str]:
        """Journeys of the slices that have ended by then; each is to be set again, for a later slice."""
        while self._ends and self._ends[0] <= clock_ms:
            yield from set(self._slices.pop(heappop(self._ends)))
