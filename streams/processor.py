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
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError

from monitor.event import AHEAD_MS, Codec, Event, Refused
from monitor.journey import Journey, Stage
from monitor.judging import Judge, counter_names
from monitor.panes import LONG
from monitor.snapshot import PartitionLag, StageSnapshot, stage_snapshot
from monitor.windows import StageWindows
from streams.dead_letters import dead_letter
from streams.outgoing import Outgoing, Produce
from streams.partition import PaneRecord, Partition, Positioned
from streams.sightings import Sightings

FLUSH_S = 0.2
"""How long counts wait to be written. Longer saves changelog records, shorter saves replay after a crash."""

MAX_UNWRITTEN = 50_000
"""Events folded but not yet acknowledged before reading pauses; a replay after a crash is at most this."""

MAX_REFUSED_BYTES = 32 * 1024 * 1024
"""Refused records not yet written before reading pauses: each is kept whole, and may have a megabyte."""

SEND_SLICE = 200
"""Records handed to the producer before the event loop gets a turn; a flood of refusals has thousands."""

FAILURES_KEPT = 50

REBUILD_SLICE = 200
"""Panes added to the windows before the event loop gets a turn: some 5 ms."""


class WriteError(RuntimeError):
    """Kafka does not take a record; names the topic."""


class Failure(NamedTuple):
    """A failing encounter, for whoever is on call."""

    event: Event
    experiences: tuple[str, ...]


class Read(NamedTuple):
    """Records decoded: events with when their records were written, and the records refused."""

    accepted: list[Positioned]
    written_ms: list[int]
    refused: list[tuple[Any, Refused]]


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
        self._sightings: dict[int, Sightings] = {}
        self._unacknowledged: list[Batch] = []
        self._dead_letters: list[Outgoing] = []
        self._refused_bytes = 0
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

    def knows_ids_before(self, partition: int, offset: int) -> bool:
        """Whether retried events can be told from that offset on."""
        return partition in self._sightings and self._sightings[partition].can_resume(offset)

    def recall(self, sightings: Sightings, records: Sequence[Any], now_ms: int) -> None:
        """Note the ids of records that an earlier owner has dealt with, or this one before it started anew.

        Whether their time was accepted is judged as of when they were written: that owner's clock is past.
        """
        decode, refuse_time = self._codec.decode, self._codec.refuse_time
        read = Read([], [], [])
        for record in records:
            event = decode(record.value, record.headers)
            if isinstance(event, Refused):
                continue
            at_ms = event.at_ms
            if refuse_time(at_ms, min(record.timestamp, now_ms)) is None:
                read.accepted.append(Positioned(record.offset, at_ms, event))
                read.written_ms.append(record.timestamp)
        _see(sightings, read, now_ms)

    async def own(
        self,
        partitions: frozenset[int],
        generation: int,
        is_current: Callable[[], bool],
        sightings: Mapping[int, Sightings] | None = None,
    ) -> None:
        """Take over these partitions and no others, after their changelog has been read.

        `sightings` are the ids read back, for partitions whose ids are not known up to where reading begins.
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
            known = {**self._sightings, **(sightings or {})}
            self._sightings = {p: known.get(p) or Sightings(self.stage.dedupe_ms) for p in partitions}
            self._unacknowledged.clear()  # all of it is read again
            self.unwritten = 0
            self._has_room.set()
            self.last_read_s = {p: at_s for p, at_s in self.last_read_s.items() if p in partitions}
            windows = StageWindows(self._counter_names)
            for panes in list(self._partitions.values()):
                panes.own(generation)
                for number, (key, counts) in enumerate(panes.panes()):
                    windows.add(key, counts)
                    if number % REBUILD_SLICE == 0:
                        await asyncio.sleep(0)
                        if not is_current():
                            return  # the next recovery is already changing what is added up here
            if is_current():
                self.windows = windows
                self.owned = partitions

    # -- step 1 --------------------------------------------------------------------------------------

    def fold(self, message: Any, now_ms: int) -> None:
        """Fold one batch. Nothing is awaited here, so panes and watermarks always agree."""
        records = message.value
        panes = self._partitions[message.partition]
        read = self._read(records, panes, now_ms)
        for record, refusal in read.refused:
            self._refuse(record, refusal)
        accepted = read.accepted
        if self.stage.dedupe_ms:
            sightings = self._sightings[message.partition]
            repeated = _see(sightings, read, now_ms)
            sightings.continue_at(records[-1].offset + 1)
            self.results["duplicate"] += sum(repeated)
            accepted = [one for one, is_repeated in zip(accepted, repeated, strict=True) if not is_repeated]
        folded = panes.fold(accepted, self._judge, now_ms)
        for key, counts in folded.added:
            self.windows.add(key, counts)
        self.failures.extend(Failure(event, experiences) for event, experiences in folded.bad)
        self.results["counted"] += folded.counted
        self.results["duplicate"] += folded.duplicate
        self.results["late"] += folded.late
        for partner, at_ms in _newest_ms(accepted).items():
            label = self._judge.partner_label(partner)
            self.last_event_ms[label] = max(at_ms, self.last_event_ms.get(label, 0))
        self.last_read_s[message.partition] = records[-1].timestamp / 1000
        self._unacknowledged.append(Batch(message, len(records)))
        self.unwritten += len(records)
        self._make_room()
        message.value = None  # the records are dealt with; free them before the acknowledgement comes

    def _read(self, records: Sequence[Any], panes: Partition, now_ms: int) -> Read:
        decode = self._codec.decode
        earliest_ms, latest_ms = self._codec.accepted_ms(now_ms)
        read = Read([], [], [])
        for record in records:
            event = decode(record.value, record.headers)
            if isinstance(event, Refused):
                read.refused.append((record, event))
                continue
            at_ms = event.at_ms
            if not earliest_ms <= at_ms <= latest_ms:
                refusal = self._codec.refuse_time(at_ms, now_ms)
                if refusal is not None and not panes.holds(record.offset, at_ms):
                    read.refused.append((record, refusal))
                    continue
            read.accepted.append(Positioned(record.offset, at_ms, event))
            read.written_ms.append(record.timestamp)
        return read

    def _refuse(self, record: Any, refused: Refused) -> None:
        self.results["refused"] += 1
        self.refusals[refused.reason] += 1
        self._dead_letters.append(dead_letter(self.stage.dead_letter_topic, record, refused))
        self._refused_bytes += len(record.value or b"")

    def _make_room(self) -> None:
        """Let reading go on, or pause it."""
        if self.unwritten < MAX_UNWRITTEN and self._refused_bytes < MAX_REFUSED_BYTES:
            self._has_room.set()
        else:
            self._has_room.clear()

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
            self._refused_bytes -= sum(len(letter.value or b"") for letter in dead_letters)
            await self._send(self._to_changelog(changes))
            stale = {p: panes.take_stale() for p, panes in self._partitions.items()}
            await self._send(self._to_changelog(stale))
            for message, size in batches:
                acknowledge(message)
                self.unwritten -= size
            self._make_room()
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
        """All to one topic."""
        try:
            sent = []
            for number, record in enumerate(records):
                if number % SEND_SLICE == 0:
                    await asyncio.sleep(0)
                sent.append(await self._produce(record))
            await asyncio.gather(*sent)
        except KafkaError as error:
            raise WriteError(f"{records[0].topic}: {type(error).__name__}") from error


def _see(sightings: Sightings, read: Read, now_ms: int) -> list[bool]:
    """Which of the events repeat an id.

    When a record was written is its writer's word. One far ahead of the clock would keep every id from then
    on, so it is taken for as far ahead as an event may be.
    """
    offsets = [one.offset for one in read.accepted]
    ids = [one.event.id or "" for one in read.accepted]
    return sightings.see(offsets, ids, [min(ms, now_ms + AHEAD_MS) for ms in read.written_ms])


def _newest_ms(events: Iterable[Positioned]) -> dict[str | None, int]:
    """When the latest event of each partner happened."""
    newest: dict[str | None, int] = {}
    for one in events:
        partner = one.event.partner
        if one.at_ms > newest.get(partner, 0):
            newest[partner] = one.at_ms
    return newest
