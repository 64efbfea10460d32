"""The steps of one stage on their way to the partitions of their journeys, each with its source's mark."""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from msgspec import structs

from monitor.journeys.step import GRACE_MS, Contact, Step, Steps, encode
from streams.kafka.outgoing import Outgoing

MARK_MS = 5_000
"""How long a journey's partition waits at most for word that a source has got further."""

HOLD_MS = 600_000
"""How long one delayed event has more like it expected. Without a bound one event hours late on a quiet
partition would hold up what falls due in all journeys until that partition's next event."""

STEPS_PER_RECORD = 500
"""Some 70 KB; what keeps journeys takes one record at a time."""

One = TypeVar("One")


Waiting = defaultdict[int, defaultdict[int, list[One]]]
"""By the partition that it was read from, then by the one that it goes to."""


def _none_waiting() -> Waiting[One]:
    return defaultdict(lambda: defaultdict(list))


class Delay(NamedTuple):
    """How late the last event was, and until when more like it are expected."""

    ms: int = 0
    until_ms: int = 0


def partition_of(id_: str, partitions: int) -> int:
    """The partition of the steps topic that a journey, or the contacts of a case, are kept on."""
    return zlib.crc32(id_.encode()) % partitions


class StepSender:
    """Collects steps while batches are folded.

    `read_up_ms_ago` says how long ago nothing of a partition lay beyond an offset, None if something may: a
    worker that was suspended may not vouch for the time it slept. `now_ms` is the clock events are read by.
    """

    def __init__(
        self,
        stage: str,
        topic: str,
        partitions: int,
        read_up_ms_ago: Callable[[int, int | None], int | None],
        now_ms: Callable[[], int],
    ) -> None:
        self._stage = stage
        self._topic = topic
        self._partitions = partitions
        self._read_up_ms_ago = read_up_ms_ago
        self._now_ms = now_ms
        self._waiting: Waiting[Step] = _none_waiting()
        self._contacts: Waiting[Contact] = _none_waiting()
        self._folded: dict[int, int] = {}
        self._newest_ms: dict[int, int] = {}
        self._delays: dict[int, Delay] = {}
        self._marked_ms: dict[tuple[int, int], int] = {}

    def add(self, source: int, steps: Iterable[Step], contacts: Iterable[Contact]) -> None:
        """Take steps and contacts to be sent, read from that partition."""
        for step in steps:
            self._waiting[source][partition_of(step.journey_id, self._partitions)].append(step)
        for contact in contacts:
            self._contacts[source][partition_of(contact.case, self._partitions)].append(contact)

    def note(self, partition: int, offset: int) -> None:
        """Records have been read up to an offset."""
        self._folded[partition] = offset

    def note_events(self, partition: int, newest_ms: int, delay_ms: int) -> Delay:
        """Events have been read up to an event time; the last was written so long after it happened."""
        self._newest_ms[partition] = max(newest_ms, self._newest_ms.get(partition, 0))
        self._delays[partition] = Delay(delay_ms, self._now_ms() + HOLD_MS)
        return self._delays[partition]

    def expect(self, partition: int, delay: Delay) -> None:
        """What the owner before expected, whose clock may have been ahead of ours."""
        self._delays[partition] = Delay(delay.ms, min(delay.until_ms, self._now_ms() + HOLD_MS))

    def drain(self, owned: Iterable[int]) -> list[Outgoing]:
        """Records of all that waits, and marks that are due."""
        now_ms = self._now_ms()
        records = []
        waiting, self._waiting = self._waiting, _none_waiting()
        contacts, self._contacts = self._contacts, _none_waiting()
        for source in {*owned, *waiting, *contacts}:
            mark_ms = self._mark_ms(source, now_ms)
            to_journeys, to_cases = waiting[source], contacts[source]
            for target in range(self._partitions):
                steps, turns = to_journeys[target], to_cases[target]
                is_due = now_ms - self._marked_ms.get((source, target), 0) >= MARK_MS
                if not steps and not turns and (not is_due or not mark_ms):
                    continue
                self._marked_ms[source, target] = now_ms
                *some, last = [
                    *(Steps(self._stage, source, 0, run) for run in _runs(steps)),
                    *(Steps(self._stage, source, 0, (), run) for run in _runs(turns)),
                ] or [Steps(self._stage, source, 0, ())]
                for one in (*some, structs.replace(last, mark_ms=mark_ms)):
                    records.append(Outgoing(self._topic, target, None, encode(one)))
        return records

    def _mark_ms(self, source: int, now_ms: int) -> int:
        """No event of the partition from before this is still to come; 0 while nothing is known.

        What comes for a while from now on is as late as what came last: history that is played back ages no
        faster than it was lived.
        """
        ago_ms = self._read_up_ms_ago(source, self._folded.get(source))
        if ago_ms is not None:
            delay_ms, until_ms = self._delays.get(source, Delay())
            return max(now_ms - ago_ms - max(GRACE_MS, delay_ms if now_ms < until_ms else 0), 0)
        return max(min(self._newest_ms.get(source, 0), now_ms) - GRACE_MS, 0)


def _runs(held: Sequence[One]) -> Iterator[tuple[One, ...]]:
    """As many at a time as one record takes."""
    for start in range(0, len(held), STEPS_PER_RECORD):
        yield tuple(held[start : start + STEPS_PER_RECORD])
