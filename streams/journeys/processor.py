"""What a worker does for journeys: keep those of its partitions, count what they come to."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import msgspec

from monitor.counting.times import rfc3339
from monitor.counting.windows import StageWindows
from monitor.journey_file.model import Journey
from monitor.journeys.alerted import KEPT
from monitor.journeys.counters import CounterTally, counter_names, lived_stages
from monitor.journeys.open import JourneyRules, OpenJourney
from monitor.journeys.step import decode
from monitor.live.closed import closed_journey, encode
from monitor.live.journeys import JourneysSnapshot, PartitionLag, Source, ages
from monitor.live.rescue import SOON_MS, in_order, rescue
from streams.journeys.closed import Unpublished
from streams.journeys.partition import JourneyPartition
from streams.journeys.records import Made, Room
from streams.kafka.outgoing import Outgoing, Produce
from streams.kafka.topics import JOURNEYS
from streams.state.latest import Entry, Shown, newest
from streams.state.partition import Partition, Run
from streams.state.processor import Processor
from streams.state.steps import partition_of

log = logging.getLogger(__name__)

UNDER_WAY = 0.9
"""Up to this share of the bound new journeys are begun; the rest is for those under way, to end."""


MAX_CHANGED = 10_000
"""Journeys changed but not yet written before reading pauses: some 40 MB of them. A record holds up to 500
steps, so that a bound on records alone (`MAX_UNWRITTEN`) let a backlog of steps take hundreds."""

CLOSED_SLICE = 500
"""Closed journeys put into words at a time: some 100 ms of work and 2 MB."""


RESCUE_SLICE = 50
"""Journeys looked at before the event loop gets a turn: some 6 ms."""


class Places(NamedTuple):
    """Offsets of the topic of closed journeys at which one may lie, the newest first."""

    topic: str
    partition: int
    offsets: list[int]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is to keep: every partition of every stage, how many there are of journeys on all
    workers, and the bytes that journeys may take on this one."""

    sources: frozenset[Source]
    partitions: int
    max_bytes: int


class JourneyProcessor(Processor[JourneyPartition]):
    """State and work of all journeys on one worker.

    At most `max_bytes` are kept here: from `UNDER_WAY` of them on, steps that would begin a journey are
    refused, and at the bound all are. What is refused changes no other count. What was kept before is
    recovered, be it more.
    """

    def __init__(
        self, journey: Journey, topic: str, changelog: str, produce: Produce, extent: Extent
    ) -> None:
        super().__init__(JOURNEYS, topic, changelog, partial(StageWindows, counter_names(journey)), produce)
        self.results["skipped"] = 0
        self.rules = JourneyRules(journey)
        self._journey = journey
        self._lived = frozenset(stage.name for stage in lived_stages(journey))
        self._sources = extent.sources
        self._partition_total = extent.partitions
        self._max_bytes = extent.max_bytes

    def _new_partition(self) -> JourneyPartition:
        return JourneyPartition(self.rules, self._sources, self._journey.horizon_ms)

    def _panes(self, held: JourneyPartition) -> Partition:
        return held.panes

    async def _take_over(
        self, held: JourneyPartition, generation: int, is_current: Callable[[], bool]
    ) -> None:
        await held.own(generation, is_current)

    def _take(self, partition: int, records: Sequence[Any], now_ms: int) -> None:  # noqa: ARG002 - has a clock of its own
        """Take in the records of one batch, each as a whole."""
        held, base = self._partitions[partition], self._incarnations[partition].base
        held.room = self._room()
        made: list[Made] = []
        try:
            for record in records:
                try:
                    steps = decode(record.value)
                except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
                    place = f"{self.topic}:{partition}:{record.offset}"
                    self._warn(self.topic, f"{place} is skipped: it holds no steps")
                    self.results["skipped"] += 1
                    continue
                taken = held.take(base + record.offset, steps)
                made += taken.made
                self.results["counted"] += taken.steps - taken.duplicate - taken.refused - taken.skipped
                self.results["duplicate"] += taken.duplicate
                self.results["late"] += taken.late
                self.results["refused"] += taken.refused
                self.results["skipped"] += taken.skipped
        finally:  # what has been taken is known when it comes again, so it has to be counted now
            if made:
                for key, counts in held.panes.fold(Run.of(made), CounterTally, held.clock_ms).added:
                    self.windows.add(key, counts)

    def _is_full(self) -> bool:
        changed = sum(held.changed for held in self._partitions.values())
        return super()._is_full() or changed >= MAX_CHANGED

    def _room(self) -> Room:
        kept = self._kept_bytes()
        if kept >= self._max_bytes:
            return "none"
        return "known" if kept >= UNDER_WAY * self._max_bytes else "all"

    def _kept_bytes(self) -> int:
        return sum(held.kept_bytes for held in self._partitions.values())

    def _set_aside(self, partition: int, record: Any, error: str) -> None:  # noqa: ARG002
        """Nobody but workers writes here, and nobody would mend it."""
        self.results["skipped"] += 1

    def _writes(self) -> Iterator[list[Outgoing]]:
        """What closed comes first: once a record says that a journey is over, nobody publishes it again."""
        ours = self._ours()
        taken = {p: held.take_changes() for p, held in ours.items()}
        closed = {p: held.closed.take() for p, held in ours.items()}
        for partition, waiting in closed.items():
            for start in range(0, len(waiting), CLOSED_SLICE):
                some = dict(self._closed(partition, waiting[start : start + CLOSED_SLICE]))
                yield list(some.values())
                for one, offset in zip(some, self.offsets, strict=True):
                    ours[partition].closed.note(offset, one)
        yield self._to_changelog(
            {p: one.closed.take_changes(one.panes.epoch, one.clock_ms) for p, one in ours.items()}
        )
        for number in range(3):
            yield self._to_changelog({p: lists[number] for p, lists in taken.items()})
        yield self._to_changelog({p: one.closed.take_stale() for p, one in ours.items()})

    def _closed(
        self, partition: int, waiting: Iterable[Unpublished]
    ) -> Iterator[tuple[Unpublished, Outgoing]]:
        """Records of journeys that have closed; one that our code fails on would stop every worker."""
        for one in waiting:
            try:
                said = encode(closed_journey(one.journey_id, one.journey(), self.rules.rules.unhappy))
            except Exception:
                log.exception("a closed journey of partition %s cannot be published", partition)
                continue
            yield one, Outgoing(self._journey.journeys_topic, partition, one.journey_id.encode(), said)

    def places_of(self, journey_id: str) -> Places:
        """Where the journey may lie, should it be over."""
        partition = self.partition_of(journey_id)
        offsets = self._partitions[partition].closed.offsets(journey_id)
        return Places(self._journey.journeys_topic, partition, offsets)

    def meant(self, experience: str, names: Sequence[str], labels: Mapping[str, str]) -> list[Shown]:
        """Journeys that an alert on this experience of whole journeys means, the newest first, of any value
        of labels that are not given; `names` are those that the experience has."""
        found: list[Shown] = []
        for latest in (held.panes.latest for held in self._partitions.values()):
            for name in latest.names:
                listed, *values = name.split("/")
                told = dict(zip(names, values, strict=False))
                if listed == experience and labels.items() <= told.items():
                    found += [_meant(one, told) for one in latest.newest(name) if one.said != KEPT]
        return newest(found)

    async def rescue(self, now_ms: int) -> list[Shown]:
        """Customers who can still be helped, by what can be done; the loop is given up now and then."""
        found: list[Shown] = []
        for held in [self._partitions[partition] for partition in self.owned or ()]:
            for number, one in enumerate(held.troubled(now_ms + SOON_MS), 1):
                if (said := rescue(*one, self._lived, now_ms)) is not None:
                    found.append(said)
                if number % RESCUE_SLICE == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
        return in_order(found)

    def partition_of(self, journey_id: str) -> int:
        """The partition that a journey is kept on."""
        return partition_of(journey_id, self._partition_total)

    def keeps(self, journey_id: str) -> bool:
        """Whether the journey, if there is such, is kept here and recovered."""
        return self.partition_of(journey_id) in (self.owned or ())

    def look_up(self, journey_id: str) -> OpenJourney | None:
        """A journey that would be kept here; None when there is none, or it was forgotten after its end."""
        return self._partitions[self.partition_of(journey_id)].look_up(journey_id)

    def clock_ms(self, journey_id: str) -> int:
        """How far the sources of the journey's partition have been read (event time)."""
        return self._partitions[self.partition_of(journey_id)].clock_ms

    def snapshot(self, now_ms: int, lags: tuple[PartitionLag, ...]) -> JourneysSnapshot:
        """All journeys as they are now; without windows while their partitions are not recovered."""
        held = self._partitions.values()
        windows = self.windows if self.owned is not None else None
        overdue = (entry for one in held for entries in one.overdue.values() for entry in entries)
        return JourneysSnapshot(
            topic=self.topic,
            column=windows.column if windows else {},
            sums=windows.sums(now_ms) if windows else {},
            results=dict(self.results),
            open_journeys=sum(one.open for one in held),
            overdue=ages(overdue, now_ms),
            clocks_ms={partition: one.clock_ms for partition, one in self._partitions.items()},
            slowest={partition: one.slowest for partition, one in self._partitions.items()},
            lags=lags,
            kept_bytes=self._kept_bytes(),
            max_bytes=self._max_bytes,
        )


def _meant(one: Entry, labels: Mapping[str, str]) -> Shown:
    return {"journey_id": one.id, "time": rfc3339(one.at_ms), "what": one.said, **labels}
