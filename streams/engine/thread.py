"""The thread in which Faust's consumer runs Kafka's client: what it reads, commits and says of the group."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.clock import now_ms
from streams.engine.commitment import Commitment
from streams.engine.embedded import fetched_ends
from streams.kafka import internals
from streams.kafka.groups import StaticName
from streams.kafka.topics import changelog_topic

log = logging.getLogger(__name__)

FAUST_LOG = logging.getLogger("faust.touchpoint")
"""For all that derives from Faust's services, which would log under our modules' names otherwise."""


FETCH_WAIT_MS = 100
"""Faust waits 1,500 for partitions that have nothing, such as those of steps: others fill them meanwhile."""

TOLD_MS = 5000
"""A fetch that has waited in vain is answered after `FETCH_WAIT_MS`, and told anew."""

LOST = "its changelog was deleted, and counts with it"
BEREFT = "nothing is kept of it from before: its topics were deleted, or are new"


class Polled:
    """Stands for the values of one poll while any batch of it is held."""


class RecordBatch(list[Any]):
    """The records of one fetch of one partition, none where it has but markers; `last` is its last offset."""

    polled: Polled | None = None

    def __init__(self, records: Iterable[Any] = (), last: int = -1) -> None:
        super().__init__(records)
        self.last = last

    def clear(self) -> None:
        """Let go of the records, which Faust's own event would hold until the next comes."""
        super().clear()
        self.polled = None


@dataclass(frozen=True)
class Fetched:
    """The last offset handed over of each partition, which partitions are at their end, and as of when.

    `blocked` are partitions of which the rest waits for the end of an open transaction: the offset where it
    began, and since when this is known (monotonic seconds).
    """

    handed: Mapping[TopicPartition, int] = field(default_factory=dict)
    at_end: frozenset[TopicPartition] = frozenset()
    as_of_ms: int = 0
    blocked: Mapping[TopicPartition, tuple[int, float]] = field(default_factory=dict)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, blind to records of transactions that did not commit."""

    logger = FAUST_LOG

    def on_crash(self, msg: str, *fmt: Any, **_: Any) -> None:
        """Faust writes to standard error here; what ends the worker is told by what starts it."""
        FAUST_LOG.error("%s", msg.format(*fmt))

    _leaving: asyncio.Future[None] | None = None
    _fetch_began_ms = 0
    _fetched = Fetched()
    polled_bytes = 0
    _taken_last: TopicPartition | None = None
    """Of values, in what was fetched last."""
    _name: StaticName | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._commitments: dict[TopicPartition, Commitment] = {}
        self.noticed: set[TopicPartition] = set()
        """Partitions whose changelog was lost, which no commit says yet."""
        super().__init__(*arguments, **options)

    async def on_start(self) -> None:
        """Start Kafka's consumer, which has nothing to ask its group before it is told what to read."""
        await super().on_start()
        conf = self.app.conf
        if conf.consumer_group_instance_id is not None:
            made = partial(StaticName, conf.consumer_group_instance_id, conf.id)
            self._name = internals.send_through(internals.kafka_consumer(self), made)

    async def on_thread_stop(self) -> None:
        """Stop, and close what Kafka's client leaves open where its leave of the group is cut short."""
        try:
            await super().on_thread_stop()
        finally:
            if internals.is_started(self):
                await internals.close_client(internals.kafka_consumer(self))

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        internals.read_committed_only(consumer)
        internals.read_raw(consumer)
        internals.fetch_waits_ms(consumer, FETCH_WAIT_MS)
        commit = consumer.commit

        async def commit_with_topics(offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
            said = {tp: self._commitments.get(tp, Commitment()).write() for tp in offsets}
            await commit({tp: at._replace(metadata=said[tp]) for tp, at in offsets.items()})

        consumer.commit = commit_with_topics
        return consumer

    async def committed(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int | None]:
        """What is committed, where something is; None for an offset of a topic that was deleted since."""
        wanted = list(tps)
        found = await internals.fetch_committed(internals.kafka_consumer(self), wanted)
        bereft = await self._bereft([tp for tp in wanted if tp not in found])
        offsets: dict[TopicPartition, int | None] = {}
        for tp in wanted:
            before = Commitment.read(found[tp].metadata if tp in found else "")
            is_noticed = tp in self.noticed
            noticed_ms = self._commitments[tp].whole_since_ms if is_noticed else now_ms()
            now = self._commitments[tp] = before.of(
                self.app.cluster.ids.get(tp.topic), self.app.changelog_ids.get(tp.topic), noticed_ms
            )
            if tp in bereft:
                now = self._commitments[tp] = now._replace(whole_since_ms=noticed_ms)
            if now.whole_since_ms == before.whole_since_ms:
                self.noticed.discard(tp)
            elif not is_noticed:
                self.noticed.add(tp)
                what = BEREFT if tp in bereft else LOST
                log.warning("%s:%d: %s", tp.topic, tp.partition, what)
            if tp in found:
                is_other = before.topic_id not in ("", now.topic_id)
                offsets[tp] = None if is_other else found[tp].offset
        return offsets

    async def _bereft(self, uncommitted: list[TopicPartition]) -> set[TopicPartition]:
        """Of these the partitions of steps of which nothing is left, in a group that has counted before.

        With a topic Kafka forgets what was committed of it, so what the group has committed of stages tells.
        """
        journeys, consumer = self.app.journeys, internals.kafka_consumer(self)
        steps = [tp for tp in uncommitted if journeys is not None and tp.topic == journeys.topic]
        if not steps:
            return set()
        sizes = {one.topic: self.app.cluster.topics[one.topic] for one in self.app.processors}
        everything = [TopicPartition(topic, number) for topic, n in sizes.items() for number in range(n)]
        committed = await internals.fetch_committed(consumer, everything)
        has_counted = any(
            at.offset and Commitment.read(at.metadata).changelog_id for at in committed.values()
        )
        if not has_counted or any(tp.topic == journeys.topic for tp in committed):
            return set()
        changelog = changelog_topic(self.app.conf.id, journeys.name)
        ends = await consumer.end_offsets([TopicPartition(changelog, tp.partition) for tp in steps])
        return {tp for tp in steps if not ends[TopicPartition(changelog, tp.partition)]}

    def whole_since_ms(self, tp: TP) -> int:
        """Since when (event time) windows hold all of an assigned partition; 0 where nothing was lost."""
        return self._commitments.get(driver.ensure_aiokafka_TP(tp), Commitment()).whole_since_ms

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Seek each source to what is committed, or to the beginning where nothing is, or of another topic.

        It may stand further on: a fetch under way when the group moves on brings records that nobody folds.
        """
        found: Mapping[TP, int | None] = await self.call_thread(self._seek_to_committed)
        return found

    async def _seek_to_committed(self) -> Mapping[TP, int | None]:
        consumer = internals.kafka_consumer(self)
        changelogs = self.app.tables.changelog_topics
        sources = [tp for tp in consumer.assignment() if tp.topic not in changelogs]
        known = await self.committed(sources)
        found = {tp: known.get(tp) for tp in sources}
        # `seek_to_beginning` leaves a partition without a position meanwhile, which Faust takes for a fault.
        starts = await consumer.beginning_offsets([tp for tp, offset in found.items() if not offset])
        for tp, offset in found.items():
            consumer.seek(tp, offset or starts[tp])
        return {TP(*tp): offset for tp, offset in found.items()}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit what is still ours; of nothing Faust would make an error that ends the worker."""
        if not offsets.keys() & self.assignment():
            return False
        return bool(await super()._commit(offsets))

    def join_anew(self) -> None:
        """Leave the group, where a static member stays by its name, and join it again."""
        leaving = internals.leave_group(internals.kafka_consumer(self), LeaveGroupRequest)
        self._leaving = asyncio.ensure_future(leaving)

    async def _highwaters(self, partitions: Any) -> Mapping[TP, int]:
        listed: Mapping[TP, int] = await super()._highwaters(partitions)
        return listed if self.app.can.end_offsets else await fetched_ends(self.transport, listed)

    def is_joining(self) -> bool:
        """Whether the group has not assigned anything yet, or is about to do so anew."""
        return not internals.is_started(self) or internals.is_unassigned(internals.kafka_consumer(self))

    def refusal(self) -> BaseException | None:
        """What the client would raise at the next fetch, and waits for until then."""
        if not internals.is_started(self):
            return None
        if self._name is not None and self._name.error is not None:
            return self._name.error
        consumer = internals.kafka_consumer(self)
        error = internals.pending_error(consumer)
        if isinstance(error, KafkaConnectionError) and self.is_joining():  # Kafka is away, and may come back
            self.thread_loop.call_soon_threadsafe(_go_on, consumer)
            return None
        return error or internals.coordination_error(consumer)

    def fetching_error(self) -> BaseException | None:
        """What ended the reading of all partitions; None while it goes on."""
        if not internals.is_started(self):
            return None
        return internals.fetching_error(internals.kafka_consumer(self))

    def membership(self) -> tuple[str, int]:
        """The name that the group knows this member by, and its generation: below 0 while it is no member."""
        return internals.membership(internals.kafka_consumer(self))

    def _state(self, tp: TP) -> Any:
        """What Kafka's client knows of an assigned partition; None until it has fetched from it."""
        return internals.fetch_state(internals.kafka_consumer(self), driver.ensure_aiokafka_TP(tp))

    def unread(self, tp: TP) -> int:
        """Records up to the high watermark that have not been read, those behind an open transaction too."""
        state = self._state(tp)
        return 0 if state is None else max(int(state.highwater - state.position), 0)

    def readable(self, tp: TP) -> int:
        """Of these, what can be read now; markers of transactions are none."""
        state = self._state(tp)
        return 0 if state is None else max(int(state.lso - state.position), 0)

    def is_told_of(self, tp: TP) -> bool:
        """Whether Kafka says how far the partition goes; without, what is unread is not known."""
        state = self._state(tp)
        return state is not None and (state.lso > state.position or now_ms() - state.timestamp < TOLD_MS)

    def blocked_s(self, tp: TP) -> float:
        """For how long nothing but the end of an open transaction has been waited for, in seconds."""
        _, since_s = self._fetched.blocked.get(driver.ensure_aiokafka_TP(tp), (0, None))
        return 0.0 if since_s is None else max(time.monotonic() - since_s, 0.0)

    async def getmany(self, active_partitions: set[TP], timeout: float) -> Any:
        """Fetch for the group as it is now. The set is Faust's own: a rebalance empties it, and to Kafka's
        client no partition means any."""
        return await self.call_thread(
            self._fetch_records,
            internals.kafka_consumer(self),
            set(active_partitions),
            self.app.rebalancing_count,
            timeout=timeout,
            max_records=self.app.conf.broker_max_poll_records,
        )

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, rebalances: int, **options: Any
    ) -> Any:
        """Fetch, and note in the same breath what is handed over and whether that was all.

        What Kafka's client holds may have come while the fetch before was under way: it is true as of then.
        Nobody takes what is fetched across a rebalance; a recovery that has sought meanwhile would wait for
        it for ever, so it is put back.
        """
        as_of_ms, self._fetch_began_ms = self._fetch_began_ms, now_ms()
        internals.begin_poll()
        fetched = await super()._fetch_records(consumer, active_partitions, **options)
        assigned = consumer.assignment()
        passed = {
            tp: span for tp, span in internals.passed().items() if tp in assigned and self._stands(tp, span)
        }
        if self.app.rebalancing_count != rebalances:
            for tp, (first, _) in passed.items():
                consumer.seek(tp, first)
            return {}
        self.polled_bytes = internals.polled_bytes()
        if self.polled_bytes < internals.POLL_BYTES:  # what was too large to be taken at once is soon done
            self._taken_last = internals.take_last(consumer, self._taken_last, fetched)
        handed = {tp: records[-1].offset for tp, records in fetched.items() if records}
        before, at_end, blocked = self._fetched, set(), {}
        for tp in consumer.assignment():
            state = self._state(tp)
            if state is None or state.position < state.lso:
                continue
            if state.position >= state.highwater:
                at_end.add(tp)
            else:
                offset, since_s = before.blocked.get(tp, (-1, 0.0))
                blocked[tp] = (state.lso, since_s if offset == state.lso else time.monotonic())
        self._fetched = Fetched({**before.handed, **handed}, frozenset(at_end), as_of_ms, blocked)
        return {tp: RecordBatch(fetched.get(tp, ()), last) for tp, (_, last) in passed.items()}

    def _stands(self, tp: TopicPartition, passed: tuple[int, int]) -> bool:
        """Whether Kafka's client is just behind what a poll has passed: nobody has sought meanwhile."""
        state = self._state(TP(*tp))
        return state is not None and bool(state.position == passed[1] + 1)

    def read_up_ms_ago(self, tp: TP, folded: int | None) -> int | None:
        """How long ago nothing of the partition lay beyond that offset; None if something did.

        What a fetch has returned is on its way to us, so where Kafka's client stands does not tell.
        """
        kafka_tp = driver.ensure_aiokafka_TP(tp)
        seen = self._fetched
        handed = seen.handed.get(kafka_tp)
        is_folded = handed is None or (folded is not None and handed <= folded)
        return max(now_ms() - seen.as_of_ms, 0) if kafka_tp in seen.at_end and is_folded else None

    def forget_handed(self) -> None:
        """At a rebalance: what has been handed over by then is folded, or dropped and read again."""
        self._fetched = Fetched()


def _go_on(consumer: Any) -> None:
    """Take the client's error from it, so that it tries again."""
    with contextlib.suppress(KafkaConnectionError):
        internals.take_error(consumer)
