"""What a worker does for one topic: fold batches into panes, write these to the changelog, acknowledge.

Commit order, the reason why nothing is lost or counted twice. A crash between any two steps leaves events
that are read again and then either counted for the first time or recognised by a watermark:

1. A batch is folded into panes in memory; refused records are set aside, and so are steps of journeys.
   Before anything is written Kafka confirms that the topic is still the one whose offsets are counted by.
2. Refused records are sent to the dead-letter topic and acknowledged by the broker, then steps to theirs.
   They come first because a watermark that covers a record says that it is dealt with. So do journeys that
   have closed, and then where they lie: a record that says that one is over has nobody publish it again.
3. Changed panes are sent to the changelog and acknowledged by the broker.
4. Pane records that these replace, and expired ones, are deleted from the changelog.
5. The batches are acknowledged to Faust, in order, if the partition is still this worker's.
6. Faust commits the highest acknowledged offset.

A failure in any step stops the worker (`Health.fail`); its successor starts again from 1.
"""

import asyncio
import logging
import traceback
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from aiokafka.errors import KafkaError

from monitor.counting.panes import LONG
from monitor.counting.windows import StageWindows
from streams.kafka.outgoing import Outgoing, Produce
from streams.state.dedupe import Sightings
from streams.state.partition import PaneRecord, Partition, TakenOverError, require_successor
from streams.state.topic_incarnation import Incarnation

log = logging.getLogger(__name__)

FLUSH_S = 0.2
"""How long counts wait to be written. Longer saves changelog records, shorter saves replay after a crash."""

TOLD = 10
"""Of the records of a topic that are skipped between two writes, each in a line; then only how many more."""

MAX_UNWRITTEN = 200_000
"""Records folded but not yet acknowledged before reading pauses. A replay after a crash is at most this:
about a second of work. With `FLUSH_S` it bounds a worker: 50,000 held it to 250,000 records a second."""

REBUILD_SLICE = 200
"""Panes added to the windows before the event loop gets a turn: some 5 ms."""


class Owned(Protocol):
    """What is held of a partition."""

    @property
    def is_owned(self) -> bool:
        """Whether it has been taken over; before that its changelog is still being read."""

    def restore(self, record: PaneRecord) -> None:
        """Apply a changelog record. Raises before anything is changed if it is none of ours."""


Held = TypeVar("Held", bound=Owned)


class WriteError(RuntimeError):
    """Kafka does not take a record; names the topic."""


class Batch(NamedTuple):
    """Records of one partition, and the Faust message that acknowledges them."""

    message: Any
    size: int


class Processor(ABC, Generic[Held]):
    """State and work of one topic on one worker. `name` is that of its table.

    `topic_id` is Kafka's id of the topic that is read, empty while it is not known.
    """

    topic_id = ""

    def __init__(
        self,
        name: str,
        topic: str,
        changelog: str,
        new_windows: Callable[[], StageWindows],
        produce: Produce,
    ) -> None:
        self.name = name
        self.topic = topic
        self._changelog = changelog
        self._produce = produce
        self._new_windows = new_windows
        self._partitions: dict[int, Held] = {}
        self._incarnations: defaultdict[int, Incarnation] = defaultdict(Incarnation)
        self._unacknowledged: list[Batch] = []
        self.unwritten = 0
        self._skipped: Counter[str] = Counter()
        self._writing = asyncio.Lock()
        self._write_unfinished = False
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.owned: frozenset[int] | None = None
        self.windows = self._new_windows()
        self.results: Counter[str] = Counter(counted=0, late=0, duplicate=0, refused=0)
        self.last_read_s: dict[int, float] = {}
        self.positions: dict[int, int] = {}
        self.offsets: Sequence[int] = ()
        """Of the records of the list that was written last."""

    @abstractmethod
    def _new_partition(self) -> Held:
        """A partition of which nothing is known."""

    @abstractmethod
    def _panes(self, held: Held) -> Partition:
        """Its panes."""

    @abstractmethod
    def _take(self, partition: int, records: Sequence[Any], now_ms: int) -> None:
        """Fold some records. Nothing is awaited, so panes and watermarks always agree.

        Decode and judge first, for both may raise. Change state only after that.
        """

    @abstractmethod
    def _set_aside(self, partition: int, record: Any, error: str) -> None:
        """Deal with a record that cannot be folded."""

    @abstractmethod
    def _writes(self) -> Iterator[list[Outgoing]]:
        """What to write, each list to one topic and acknowledged before the next is asked for.

        What was folded is taken before the first is yielded.
        """

    # -- ownership -----------------------------------------------------------------------------------

    def restore(
        self,
        partition: int,
        records: Sequence[PaneRecord],
        writers: Iterable[bytes] = (),
        generation: int = 0,
    ) -> None:
        """Apply changelog records of a partition; `writers` is what their headers say, `generation` that of
        whoever is to own it, if it is known."""
        if partition not in self._partitions:
            self._partitions[partition] = self._new_partition()
        held, incarnation = self._partitions[partition], self._incarnations[partition]
        restores = [partial(self._restore_ours, held, record, generation) for record in records]
        for apply in (*restores, *(partial(incarnation.hear, writer) for writer in writers)):
            try:
                apply()
            except (TakenOverError, MemoryError):
                raise
            except Exception as error:  # somebody else wrote to our topic; it would stop every start
                where = f"{self._changelog}:{partition}"
                line = f"a record of {where} is not one of ours and is skipped: {described(error)}"
                self._warn(self._changelog, line)

    def _restore_ours(self, held: Held, record: PaneRecord, generation: int) -> None:
        require_successor(record.key, generation)
        held.restore(record)

    def suspend(self) -> None:
        """Stop answering for any partition until `own` says which are ours."""
        self.owned = None

    async def keep(self, partitions: Set[int]) -> None:
        """Forget all but these: of others somebody else may have been the owner, so they are read anew.

        Waits for a write under way.
        """
        async with self._writing:
            self._keep(partitions)

    def _keep(self, partitions: Set[int]) -> None:
        for lost in self._partitions.keys() - partitions:
            del self._partitions[lost]
            self._incarnations.pop(lost, None)

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
            self._keep(partitions)
            for fresh in partitions - self._partitions.keys():
                self._partitions[fresh] = self._new_partition()
            for partition in partitions:
                self._incarnations[partition].own(self.topic_id)
            self._owning(partitions, sightings or {})
            self._unacknowledged.clear()  # all of it is read again
            self.positions.clear()
            self.unwritten = 0
            self._has_room.set()
            self.last_read_s = {p: at_s for p, at_s in self.last_read_s.items() if p in partitions}
            windows = self._new_windows()
            for held in list(self._partitions.values()):
                await self._take_over(held, generation, is_current)
                for number, (key, counts) in enumerate(self._panes(held).panes()):
                    windows.add(key, counts)
                    if number % REBUILD_SLICE == 0:
                        await asyncio.sleep(0)
                        if not is_current():
                            return  # the next recovery is already changing what is added up here
            if is_current():
                self.windows = windows
                self.owned = partitions
                self._owned()

    def _owning(self, partitions: frozenset[int], sightings: Mapping[int, Sightings]) -> None:
        """These are going to be ours."""

    def _owned(self) -> None:
        """They are ours, and the windows are theirs."""

    async def _take_over(self, held: Held, generation: int, is_current: Callable[[], bool]) -> None:  # noqa: ARG002
        """Become the owner of a partition."""
        self._panes(held).own(generation)

    # -- reading and writing -------------------------------------------------------------------------

    def fold(self, message: Any, now_ms: int) -> None:
        """Fold one batch, by `_take`: of a stage in `streams.state.stage`."""
        records = message.value
        self._fold(message.partition, records, now_ms)
        self.last_read_s[message.partition] = records[-1].timestamp / 1000
        self.positions[message.partition] = records[-1].offset + 1
        self._unacknowledged.append(Batch(message, len(records)))
        self.unwritten += len(records)
        self._make_room()

    def _fold(self, partition: int, records: Sequence[Any], now_ms: int) -> None:
        """Fold records; one that our code fails on is found by halving and set aside: it would stop every
        worker that reads it, at every start."""
        try:
            self._take(partition, records, now_ms)
        except (TakenOverError, MemoryError):
            raise
        except Exception as error:
            if len(records) > 1:
                half = len(records) // 2
                self._fold(partition, records[:half], now_ms)
                self._fold(partition, records[half:], now_ms)
                return
            record = records[0]
            place = f"{self.topic}:{partition}:{record.offset}"
            self._warn(self.topic, f"{place} cannot be processed and is skipped", error)
            self._set_aside(partition, record, described(error))

    def _warn(self, topic: str, line: str, error: Exception | None = None) -> None:
        """Say in the log that a record is skipped: a flood of them must not become a flood of lines."""
        self._skipped[topic] += 1
        if self._skipped[topic] <= TOLD:
            log.warning("%s", line, exc_info=error)

    def _make_room(self) -> None:
        """Let reading go on, or pause it."""
        if self._is_full():
            self._has_room.clear()
        else:
            self._has_room.set()

    def _is_full(self) -> bool:
        return self.unwritten >= MAX_UNWRITTEN

    async def wait_for_room(self) -> None:
        """Wait while too much is folded but not yet written."""
        await self._has_room.wait()

    async def flush(
        self, acknowledge: Callable[[Any], None], confirm: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Write what has been folded so far, then acknowledge it.

        `confirm` raises if what has been read until now may be another topic's than `topic_id` says.
        """
        async with self._writing:
            if self._write_unfinished:
                raise RuntimeError("an earlier write did not finish, so nothing after it may be acknowledged")
            self._write_unfinished = True
            for topic, n in self._skipped.items():
                if n > TOLD:
                    log.warning("%d more records of %s are skipped", n - TOLD, topic)
            self._skipped.clear()
            batches, self._unacknowledged = self._unacknowledged, []
            for number, records in enumerate(self._writes()):
                if number == 0 and batches and confirm is not None:
                    await confirm()
                self.offsets = await self._send(records)
            for message, size in batches:
                acknowledge(message)
                self.unwritten -= size
            self._make_room()
            self._write_unfinished = False

    def counted_ever(self) -> int:
        """Events in the panes of the partitions owned now, whichever worker counted them."""
        return sum(
            n
            for held in self._partitions.values()
            for key, counts in self._panes(held).panes()
            if key.grain_ms == LONG.ms
            for name, n in counts.items()
            if name.startswith(("outcome/", "begun/"))
        )

    def _ours(self) -> dict[int, Held]:
        """Partitions that have been taken over. Of one that is still being read nothing may be written or
        deleted: whose it is, and what stands for what, is not known before its end."""
        return {partition: held for partition, held in self._partitions.items() if held.is_owned}

    def _to_changelog(self, records: Mapping[int, Sequence[PaneRecord]]) -> list[Outgoing]:
        found: list[Outgoing] = []
        for partition, some in records.items():
            headers = self._incarnations[partition].headers
            found += [Outgoing(self._changelog, partition, key, value, headers) for key, value in some]
        return found

    async def _send(self, records: Sequence[Outgoing]) -> Sequence[int]:
        """All to one topic; the offset of each."""
        if not records:
            return ()
        try:
            return await self._produce(records)
        except KafkaError as error:
            raise WriteError(f"{records[0].topic}: {type(error).__name__}") from error


def described(error: Exception) -> str:
    """What kind of error, and where: its own text may quote the data."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}, line {last.lineno}"
