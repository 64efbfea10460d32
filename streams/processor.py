"""What a worker does for one stage: fold batches into panes, write these to the changelog, acknowledge.

Commit order, the reason why nothing is lost or counted twice. A crash between any two steps leaves events
that are read again and then either counted for the first time or recognised by a watermark:

1. A batch is folded into panes in memory; refused records are set aside.
2. Refused records are sent to the dead-letter topic and acknowledged by the broker. They come first because
   a watermark that covers a record says that it is dealt with.
3. Changed panes are sent to the changelog and acknowledged by the broker.
4. Pane records that these replace, and expired ones, are deleted from the changelog.
5. The batches are acknowledged to Faust, in order, if the partition is still this worker's.
6. Faust commits the highest acknowledged offset.

A failure in any step stops the worker (`App.fail`); its successor starts again from 1.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from monitor.event import Codec, Event, Refused
from monitor.journey import Journey, Stage
from monitor.judging import Judge, counter_names
from monitor.panes import LONG
from monitor.snapshot import PartitionLag, StageSnapshot, stage_snapshot
from monitor.windows import StageWindows
from streams.dead_letters import dead_letter
from streams.outgoing import Outgoing, Produce
from streams.partition import PaneRecord, Partition, Positioned

FLUSH_S = 0.2
"""How long counts wait to be written. Longer saves changelog records, shorter saves replay after a crash."""

MAX_UNWRITTEN = 50_000
"""Events folded but not yet acknowledged before reading pauses; a replay after a crash is at most this."""

FAILURES_KEPT = 50

REBUILD_SLICE = 200
"""Panes added to the windows before the event loop gets a turn: some 5 ms."""


class Failure(NamedTuple):
    """A failing encounter, for whoever is on call."""

    event: Event
    experiences: tuple[str, ...]


class Batch(NamedTuple):
    """Records of one partition, and the Faust message that acknowledges them."""

    message: Any
    size: int


class StageProcessor:
    """State and work of one stage on one worker."""

    def __init__(
        self, journey: Journey, stage: Stage, changelog: str, produce: Produce, codec: Codec
    ) -> None:
        self.stage = stage
        self._journey = journey
        self._changelog = changelog
        self._produce = produce
        self._codec = codec
        self._judge = Judge(journey, stage)
        self._counter_names = counter_names(journey, stage)
        self._partitions: dict[int, Partition] = {}
        self._unacknowledged: list[Batch] = []
        self._dead_letters: list[Outgoing] = []
        self.unwritten = 0
        self._writing = asyncio.Lock()
        self._write_unfinished = False
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.owned: frozenset[int] | None = None
        self.windows = StageWindows(self._counter_names)
        self.failures: deque[Failure] = deque(maxlen=FAILURES_KEPT)
        self.results: Counter[str] = Counter(counted=0, late=0, duplicate=0, refused=0)
        self.refusals: Counter[str] = Counter()
        self.last_event_ms: dict[str, int] = {}
        self.last_read_s: dict[int, float] = {}

    # -- ownership -----------------------------------------------------------------------------------

    def restore(self, partition: int, records: Sequence[PaneRecord]) -> None:
        """Apply changelog records of a partition."""
        panes = self._partitions.get(partition)
        if panes is None:
            panes = self._partitions[partition] = Partition(self._journey.horizon_ms)
        for record in records:
            panes.restore(record)

    def suspend(self) -> None:
        """Stop answering for any partition until `own` says which are ours."""
        self.owned = None

    async def own(self, partitions: frozenset[int], generation: int, is_current: Callable[[], bool]) -> None:
        """Take over these partitions and no others, after their changelog has been read.

        Waits for a write under way. If the group has moved on meanwhile (`is_current` says no), nothing is
        taken over: the recovery of the new assignment is already filling the partitions.
        """
        async with self._writing:
            if not is_current():
                return
            for lost in self._partitions.keys() - partitions:
                del self._partitions[lost]
            for fresh in partitions - self._partitions.keys():
                self._partitions[fresh] = Partition(self._journey.horizon_ms)
            self._unacknowledged.clear()  # all of it is read again
            self.unwritten = 0
            self._has_room.set()
            self.last_read_s = {p: at_s for p, at_s in self.last_read_s.items() if p in partitions}
            windows = StageWindows(self._counter_names)
            for panes in self._partitions.values():
                panes.own(generation)
                for number, (key, counts) in enumerate(panes.panes()):
                    windows.add(key, counts)
                    if number % REBUILD_SLICE == 0:
                        await asyncio.sleep(0)
            if is_current():
                self.windows = windows
                self.owned = partitions

    # -- step 1 --------------------------------------------------------------------------------------

    def fold(self, message: Any, now_ms: int) -> None:
        """Fold one batch. Nothing is awaited here, so panes and watermarks always agree."""
        records = message.value
        panes = self._partitions[message.partition]
        decode = self._codec.decode
        earliest_ms, latest_ms = self._codec.accepted_ms(now_ms)
        newest_ms: dict[str | None, int] = {}
        accepted: list[Positioned] = []
        for record in records:
            event = decode(record.value, record.headers)
            if isinstance(event, Refused):
                self._refuse(record, event)
                continue
            at_ms = event.at_ms
            if not earliest_ms <= at_ms <= latest_ms:
                refused = self._codec.refuse_time(at_ms, now_ms)
                if refused is not None and not panes.holds(record.offset, at_ms):
                    self._refuse(record, refused)
                    continue
            accepted.append(Positioned(record.offset, at_ms, event))
            if at_ms > newest_ms.get(event.partner, 0):
                newest_ms[event.partner] = at_ms
        folded = panes.fold(accepted, self._judge, now_ms)
        for key, counts in folded.added:
            self.windows.add(key, counts)
        self.failures.extend(Failure(event, experiences) for event, experiences in folded.bad)
        self.results["counted"] += folded.counted
        self.results["duplicate"] += folded.duplicate
        self.results["late"] += folded.late
        for partner, at_ms in newest_ms.items():
            label = self._judge.partner_label(partner)
            self.last_event_ms[label] = max(at_ms, self.last_event_ms.get(label, 0))
        self.last_read_s[message.partition] = records[-1].timestamp / 1000
        self._unacknowledged.append(Batch(message, len(records)))
        self.unwritten += len(records)
        if self.unwritten >= MAX_UNWRITTEN:
            self._has_room.clear()
        message.value = None  # the records are dealt with; free them before the acknowledgement comes

    def _refuse(self, record: Any, refused: Refused) -> None:
        self.results["refused"] += 1
        self.refusals[refused.reason] += 1
        self._dead_letters.append(dead_letter(self.stage.dead_letter_topic, record, refused))

    async def wait_for_room(self) -> None:
        """Wait while too much is folded but not yet written."""
        await self._has_room.wait()

    # -- steps 2 to 5 --------------------------------------------------------------------------------

    async def flush(self, acknowledge: Callable[[Any], None]) -> None:
        """Write what has been folded so far, then acknowledge it."""
        async with self._writing:
            if self._write_unfinished:
                raise RuntimeError("an earlier write did not finish, so nothing after it may be acknowledged")
            self._write_unfinished = True
            batches, self._unacknowledged = self._unacknowledged, []
            dead_letters, self._dead_letters = self._dead_letters, []
            changes = {p: panes.take_changes() for p, panes in self._partitions.items()}
            await self._send(dead_letters)
            await self._send(self._to_changelog(changes))
            stale = {p: panes.take_stale() for p, panes in self._partitions.items()}
            await self._send(self._to_changelog(stale))
            for message, size in batches:
                acknowledge(message)
                self.unwritten -= size
            if self.unwritten < MAX_UNWRITTEN:
                self._has_room.set()
            self._write_unfinished = False

    def counted_ever(self) -> int:
        """Events in the panes of the partitions owned now, whichever worker counted them."""
        return sum(
            n
            for panes in self._partitions.values()
            for key, counts in panes.panes()
            if key.grain_ms == LONG.ms
            for name, n in counts.items()
            if name.startswith("outcome/")
        )

    # -- what others may know ------------------------------------------------------------------------

    def snapshot(self, now_ms: int, lags: tuple[PartitionLag, ...]) -> StageSnapshot:
        """The stage as it is now; without windows while its partitions are not recovered."""
        return stage_snapshot(
            self._journey,
            self.stage,
            self.windows if self.owned is not None else None,
            now_ms,
            results=self.results,
            refusals=self.refusals,
            last_event_ms=self.last_event_ms,
            lags=lags,
        )

    def _to_changelog(self, records: dict[int, list[PaneRecord]]) -> list[Outgoing]:
        return [
            Outgoing(self._changelog, partition, key, value)
            for partition, some in records.items()
            for key, value in some
        ]

    async def _send(self, records: list[Outgoing]) -> None:
        sent = [await self._produce(record) for record in records]
        await asyncio.gather(*sent)
