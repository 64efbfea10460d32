"""The Faust app: one agent and one pane table per stage topic, on the batched transport."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import faust
from faust.types import TP

from monitor.counting.event import AHEAD_MS, Codec
from monitor.counting.windows import WINDOWS
from monitor.journey_file.model import Journey, Stage
from monitor.live.journeys import PartitionLag
from streams.clock import SteadyClock
from streams.engine.assignor import Assignor
from streams.engine.cluster import Cluster, TopicsChangedError
from streams.engine.health import REBALANCE_S, Health
from streams.engine.recovery import Progress
from streams.engine.tables import PaneTable, TableManager
from streams.engine.thread import FAUST_LOG
from streams.engine.transport import BatchSchema, Transport
from streams.journeys.processor import Extent, JourneyProcessor
from streams.kafka import internals
from streams.kafka.outgoing import Writer
from streams.kafka.read_back import ReadBack, reading
from streams.kafka.security import broker_credentials
from streams.kafka.topic_ids import TopicState
from streams.kafka.topics import (
    APACHE_KAFKA,
    JOURNEYS,
    MAX_RECORD_BYTES,
    Abilities,
    changelog_topic,
    steps_topic,
)
from streams.settings import MAX_SESSION_S, Settings
from streams.state.dedupe import Sightings
from streams.state.processor import FLUSH_S, Processor
from streams.state.stage import StageProcessor
from streams.state.steps import StepSender
from streams.stopping import pause

log = logging.getLogger(__name__)

POLL_RECORDS = 4000
"""Records of one fetch. Larger batches fold cheaper, but each holds the event loop for some 20 ms already."""

BUFFERED_BATCHES = 8
"""Batches waiting for an agent; together with POLL_RECORDS this bounds the memory of a backlog."""


class App(faust.App):
    """The worker's Faust app. `url` is where this worker answers others of its group."""

    logger = FAUST_LOG

    def __init__(
        self,
        journey: Journey,
        settings: Settings,
        counts: Mapping[str, int],
        can: Abilities = APACHE_KAFKA,
        url: str | None = None,
    ) -> None:
        session_s = min(settings.session_timeout_s, can.session_s)
        super().__init__(
            settings.group,
            broker=";".join(f"kafka://{address}" for address in settings.kafka.split(",")),
            broker_credentials=broker_credentials(settings),
            store="memory://",
            TableManager=TableManager,
            datadir=settings.state_dir,
            web_enabled=False,
            canonical_url=url,
            topic_disable_leader=True,
            topic_replication_factor=settings.replication_factor,
            worker_redirect_stdouts=False,
            stream_wait_empty=False,
            table_standby_replicas=0,  # a takeover reads the whole changelog all the same
            stream_buffer_maxsize=BUFFERED_BATCHES,
            consumer_group_instance_id=settings.instance_id,
            PartitionAssignor=Assignor,
            broker_session_timeout=session_s,
            broker_heartbeat_interval=session_s / 10,
            broker_request_timeout=MAX_SESSION_S,
            broker_rebalance_timeout=REBALANCE_S,
            broker_max_poll_records=POLL_RECORDS,
            broker_commit_interval=1.0,
            topic_allow_declare=settings.create_topics,
            consumer_auto_offset_reset="earliest",
            producer_acks=-1,
            producer_linger=0.02,
            producer_max_batch_size=131_072,
            producer_request_timeout=60,
            producer_max_request_size=MAX_RECORD_BYTES,
        )
        self.transport = Transport(self.conf.broker_consumer, self)
        self.can = can
        self._settings = settings
        self._clock = SteadyClock()
        self.cluster = Cluster(settings, lambda: internals.producer_client(self.producer))
        self._writer = Writer(lambda: internals.kafka_producer(self.producer))
        self.health = Health(self, settings)
        self.recovery_progress = Progress()
        self.partition_total = sum(counts.values())
        self.changelog_ids: Mapping[str, str] = {}
        self._terms: dict[int, int] = {}
        self.stages = [self._stage(journey, stage, counts) for stage in journey.stages]
        self.journeys = self._journeys(journey, counts) if journey.journeys is not None else None
        self.processors: list[Processor[Any]] = [*self.stages, *([self.journeys] if self.journeys else [])]
        for processor in self.processors:
            self._declare(processor, counts[processor.topic])

    def _stage(self, journey: Journey, stage: Stage, counts: Mapping[str, int]) -> StageProcessor:
        return StageProcessor(
            Codec(journey, stage, refuse_personal_data=self._settings.refuse_personal_data),
            changelog_topic(self._settings.group, stage.name),
            self._writer.write,
            self._step_sender(stage, counts) if journey.journeys else None,
        )

    def _step_sender(self, stage: Stage, counts: Mapping[str, int]) -> StepSender:
        topic = steps_topic(self._settings.group)
        ago_ms = partial(self._read_up_ms_ago, stage.topic)
        return StepSender(stage.name, topic, counts[topic], ago_ms, self._clock.now_ms)

    def _journeys(self, journey: Journey, counts: Mapping[str, int]) -> JourneyProcessor:
        group = self._settings.group
        topic, changelog = steps_topic(group), changelog_topic(group, JOURNEYS)
        sources = ((stage.name, p) for stage in journey.stages for p in range(counts[stage.topic]))
        extent = Extent(frozenset(sources), counts[topic], self._settings.journeys_mb * 1_000_000)
        return JourneyProcessor(journey, topic, changelog, self._writer.write, extent)

    def _read_up_ms_ago(self, topic: str, partition: int, folded: int | None) -> int | None:
        ago_ms: int | None = self.consumer.kafka.read_up_ms_ago(TP(topic, partition), folded)
        return ago_ms

    def _declare(self, processor: Processor[Any], partitions: int) -> None:
        self.tables.add(PaneTable(self, processor, partitions))
        changelog = changelog_topic(self._settings.group, processor.name)
        self.cluster.topics |= {processor.topic: partitions, changelog: partitions}
        self.cluster.own.add(changelog)
        topic = self.topic(processor.topic, schema=BatchSchema(), partitions=partitions)

        async def fold(stream: Any) -> None:
            """The agent; a message is all records of one fetch of one partition, as bytes (`BatchSchema`)."""
            try:
                async for event in stream.noack().events():
                    await processor.wait_for_room()
                    is_owned = event.message.partition in (processor.owned or ())
                    if is_owned and self.is_current(event.message):
                        processor.fold(event.message, self._clock.now_ms())
                    event.value.clear()
            except Exception as error:
                self.health.fail(f"{processor.topic} cannot be folded", error)
                raise

        self.agent(topic, name=f"fold-{processor.name}")(fold)

    async def recall(
        self, processor: Processor[Any], partitions: frozenset[int], is_current: Callable[[], bool]
    ) -> dict[int, Sightings]:
        """The ids of a stage with `dedupe_s`, read back where they are not known up to what is committed."""
        if not isinstance(processor, StageProcessor) or not processor.dedupe_ms:
            return {}
        dedupe_ms = processor.dedupe_ms
        committed = await self.consumer.committed_offsets(processor.topic, partitions)
        ends = {tp: at for tp, at in committed.items() if not processor.knows_ids_before(tp.partition, at)}
        found = {tp.partition: Sightings(dedupe_ms) for tp in ends}
        if not any(ends.values()):
            return found
        now_ms = self._clock.now_ms()
        started_s = asyncio.get_running_loop().time()
        async with reading(self._settings) as consumer:
            read_back = ReadBack(consumer, self._settings)
            async for records in read_back.before(ends, dedupe_ms, now_ms + AHEAD_MS):
                if not is_current():
                    break
                processor.recall(found[records[0].partition], records, now_ms)
        for tp, at in ends.items():
            found[tp.partition].continue_at(at)
        took_s = asyncio.get_running_loop().time() - started_s
        ids = sum(map(len, found.values()))
        log.info("stage %s: %s ids read back in %.1f s", processor.name, f"{ids:,}", took_s)
        return found

    def know_topics(self, states: Mapping[str, TopicState]) -> None:
        """Take these for the topics that there are; before the start."""
        changelogs = {one.topic: changelog_topic(self._settings.group, one.name) for one in self.processors}
        self.cluster.know({topic: states[topic] for topic in changelogs.keys() & states.keys()})
        for processor in self.processors:
            processor.topic_id = self.cluster.ids.get(processor.topic, "")
        self.changelog_ids = {
            topic: states[changelog].topic_id
            for topic, changelog in changelogs.items()
            if changelog in states
        }

    def tell_recovering(self, records: int) -> None:
        """Say in the log how far the recovery is, now that so many more records have been read."""
        left = self.tables.recovery.active_remaining_total()
        line = self.recovery_progress.read(records, left, asyncio.get_running_loop().time())
        if line is not None:
            log.info("%s", line)

    def tell_recovered(self) -> None:
        """Say in the log that the recovery is over, once the last stage has its partitions."""
        if all(processor.owned is not None for processor in self.processors):
            log.info("%s", self.recovery_progress.end(asyncio.get_running_loop().time()))

    # -- what stages need of Faust -------------------------------------------------------------------

    def is_generation(self, generation: int) -> bool:
        """Whether the group has not moved on since that generation."""
        return bool(generation == self.consumer_generation_id)

    def term(self, generation: int) -> int:
        """What makes epochs of this worker's ownership differ from any other's.

        The group's generation; but a static member is restarted into that of its predecessor, which may still
        write: then the second of its taking over, before which the predecessor took over.
        """
        if self._settings.instance_id is None:
            return generation
        return self._terms.setdefault(generation, self._clock.now_ms() // 1000)

    def is_current(self, message: Any) -> bool:
        """Whether a message was read under the present assignment."""
        if message.generation_id != self.consumer_generation_id or self.rebalancing:
            return False
        return message.tp in self.consumer.assignment()

    def acknowledge(self, message: Any) -> None:
        """Acknowledge a batch, unless its partition has moved on to another owner."""
        if self.is_current(message):
            message.ack(self.consumer)

    async def flush_until(self, processor: Processor[Any], stop: asyncio.Event) -> None:
        """Write the counts every `FLUSH_S`, and once more at the end; an error ends the worker."""
        try:
            while not stop.is_set():
                await pause(stop, FLUSH_S)
                await processor.flush(self.acknowledge, self.cluster.confirm)
        except TopicsChangedError as error:
            log.info("%s is not written: %s", processor.name, error)
        except Exception as error:
            self.health.fail(f"{processor.name} cannot write", error)

    def lags(self, processor: Processor[Any], now_s: float) -> tuple[PartitionLag, ...]:
        """How far this worker is behind in each partition it owns."""
        found, kafka = [], self.consumer.kafka
        for partition in sorted(processor.owned or ()):
            tp = TP(processor.topic, partition)
            waiting, blocked_s = kafka.unread(tp), kafka.blocked_s(tp)
            behind_s = blocked_s or max(now_s - processor.last_read_s.get(partition, now_s), 0)
            since_ms = kafka.whole_since_ms(tp)
            is_told = now_s * 1000 - since_ms < WINDOWS[-1].ms
            so_far = blocked_s, since_ms * is_told, processor.positions.get(partition)
            found.append(PartitionLag(partition, waiting, behind_s if waiting else 0, *so_far))
        return tuple(found)

    @property
    def url(self) -> str:
        """Where this worker answers, in the form in which the group knows it."""
        return str(self.conf.canonical_url)

    def keeper_url(self, partition: int) -> str | None:
        """Where the worker answers that the group's last assignment gave a partition of journeys to.

        None before the first assignment, and when two workers give the same URL: one of them is not heard of.
        """
        topic = self.journeys.topic if self.journeys else ""
        assigned = self.router.external_topics_metadata()
        return next((url for url, topics in assigned.items() if partition in topics.get(topic, ())), None)

    @property
    def other_urls(self) -> list[str]:
        """Where the other workers of the group's last assignment answer."""
        return sorted(url for url in self.router.external_topics_metadata() if url != self.url)

    def on_rebalance_start(self) -> None:
        """Answer for no partition any more, at the first word of a rebalance."""
        super().on_rebalance_start()
        self.consumer.kafka.forget_handed()
        for processor in self.processors:
            processor.suspend()
