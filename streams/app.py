"""The Faust app: one agent and one pane table per stage topic, on the batched transport."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any

import faust
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from faust.types import TP

from monitor.event import AHEAD_MS, Codec
from monitor.journey import Journey
from monitor.snapshot import PartitionLag
from streams.clock import SteadyClock
from streams.outgoing import Outgoing
from streams.processor import FLUSH_S, StageProcessor
from streams.read_back import ReadBack
from streams.recovery import Progress
from streams.security import broker_credentials, kafka_options
from streams.settings import Settings
from streams.sightings import Sightings
from streams.tables import PaneTable, TableManager
from streams.topics import MAX_RECORD_BYTES, changelog_topic
from streams.transport import BatchSchema, Transport
from streams.watchdog import Watchdog

log = logging.getLogger(__name__)

POLL_RECORDS = 4000
"""Records of one fetch. Larger batches fold cheaper, but each holds the event loop for some 20 ms already."""

PULSE_S = 4.0
"""How often Kafka is asked whether it is there; three answers may be missed before a worker is not ready."""

STALLED_S = 15.0
"""A worker that has committed nothing of its work for so long is not ready; a commit comes every second."""

BUFFERED_BATCHES = 8
"""Batches waiting for an agent; together with POLL_RECORDS this bounds the memory of a backlog."""


class App(faust.App):
    """The worker's Faust app. `failure` is set once, by whatever makes the worker unable to go on."""

    def __init__(
        self,
        journey: Journey,
        settings: Settings,
        counts: Mapping[str, int],
        transport: type[Transport] = Transport,
    ) -> None:
        super().__init__(
            settings.group,
            broker=";".join(f"kafka://{address}" for address in settings.kafka.split(",")),
            broker_credentials=broker_credentials(settings),
            store="memory://",
            TableManager=TableManager,
            datadir=settings.state_dir,
            web_enabled=False,
            topic_disable_leader=True,
            topic_replication_factor=settings.replication_factor,
            worker_redirect_stdouts=False,
            stream_wait_empty=False,
            table_standby_replicas=0,  # a takeover reads the whole changelog all the same
            stream_buffer_maxsize=BUFFERED_BATCHES,
            broker_session_timeout=settings.session_timeout_s,
            broker_heartbeat_interval=settings.session_timeout_s / 10,
            broker_rebalance_timeout=60,
            broker_max_poll_records=POLL_RECORDS,
            broker_commit_interval=1.0,
            consumer_auto_offset_reset="earliest",
            producer_acks=-1,
            producer_linger=0.02,
            producer_max_batch_size=131_072,
            producer_request_timeout=60,
            producer_max_request_size=MAX_RECORD_BYTES,
        )
        self._transport_class = transport
        self._settings = settings
        self._clock = SteadyClock()
        self._pulse_s = asyncio.get_running_loop().time()
        self._watchdog = Watchdog(self._work_state, settings.watchdog_s)
        self.recovery_progress = Progress()
        self.partition_total = sum(counts.values())
        self.failure: str | None = None
        self._failed = asyncio.Event()
        self.processors = [
            StageProcessor(
                journey,
                stage,
                changelog_topic(settings.group, stage.name),
                self._produce,
                Codec(journey, stage, refuse_personal_data=settings.refuse_personal_data),
            )
            for stage in journey.stages
        ]
        for processor in self.processors:
            self._declare(processor, counts[processor.stage.topic])

    def _declare(self, processor: StageProcessor, partitions: int) -> None:
        self.tables.add(PaneTable(self, processor, partitions))
        topic = self.topic(processor.stage.topic, schema=BatchSchema(), partitions=partitions)

        async def fold(stream: Any) -> None:
            try:
                async for event in stream.noack().events():
                    await processor.wait_for_room()
                    is_owned = event.message.partition in (processor.owned or ())
                    if is_owned and self.is_current(event.message):
                        processor.fold(event.message, self._clock.now_ms())
            except Exception as error:
                self.fail(f"stage {processor.stage.name} cannot be folded", error)
                raise

        self.agent(topic, name=f"fold-{processor.stage.name}")(fold)

    async def recall(
        self, processor: StageProcessor, partitions: frozenset[int], is_current: Callable[[], bool]
    ) -> dict[int, Sightings]:
        """The ids of a stage with `dedupe_s`, read back where they are not known up to what is committed."""
        dedupe_ms = processor.stage.dedupe_ms
        if not dedupe_ms:
            return {}
        committed = await self.consumer.committed_offsets(processor.stage.topic, partitions)
        ends = {tp: at for tp, at in committed.items() if not processor.knows_ids_before(tp.partition, at)}
        found = {tp.partition: Sightings(dedupe_ms) for tp in ends}
        if not any(ends.values()):
            return found
        now_ms = self._clock.now_ms()
        started_s = asyncio.get_running_loop().time()
        async with ReadBack.opened(self._settings) as read_back:
            async for records in read_back.before(ends, dedupe_ms, now_ms + AHEAD_MS):
                if not is_current():
                    break
                processor.recall(found[records[0].partition], records, now_ms)
        for tp, at in ends.items():
            found[tp.partition].continue_at(at)
        took_s = asyncio.get_running_loop().time() - started_s
        ids = sum(map(len, found.values()))
        log.info("stage %s: %s ids read back in %.1f s", processor.stage.name, f"{ids:,}", took_s)
        return found

    def fail(self, what: str, error: Exception) -> None:
        """Report that the worker cannot go on; the first report is the one that counts."""
        log.error("%s: %r", what, error, exc_info=error)
        self.failure = self.failure or f"{what}: {type(error).__name__}: {error}"
        self._failed.set()

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

    def is_current(self, message: Any) -> bool:
        """Whether a message was read under the present assignment."""
        if message.generation_id != self.consumer_generation_id or self.rebalancing:
            return False
        return message.tp in self.consumer.assignment()

    def acknowledge(self, message: Any) -> None:
        """Acknowledge a batch, unless its partition has moved on to another owner."""
        if self.is_current(message):
            message.ack(self.consumer)

    async def _produce(self, record: Outgoing) -> Awaitable[Any]:
        topic, partition, key, value, headers = record
        sent: Awaitable[Any] = await self.producer.send(topic, key, value, partition, None, headers)
        return sent

    async def flush_until(self, processor: StageProcessor, stop: asyncio.Event) -> None:
        """Write the stage's counts every `FLUSH_S`, and once more at the end; an error ends the worker."""
        try:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), FLUSH_S)
                await processor.flush(self.acknowledge)
        except Exception as error:
            self.fail(f"stage {processor.stage.name} cannot write", error)

    def lags(self, processor: StageProcessor, now_s: float) -> tuple[PartitionLag, ...]:
        """How far this worker is behind in each partition it owns."""
        found = []
        for partition, waiting in self._waiting(processor).items():
            behind_s = now_s - processor.last_read_s.get(partition, now_s)
            found.append(PartitionLag(partition, waiting, max(behind_s, 0) if waiting else 0))
        return tuple(found)

    def _waiting(self, processor: StageProcessor) -> dict[int, int]:
        """Records not yet read, by partition."""
        topic = processor.stage.topic
        return {p: self.consumer.unread(TP(topic, p)) for p in sorted(processor.owned or ())}

    @property
    def is_ready(self) -> bool:
        """Whether every stage's partitions are assigned and recovered, and what is read gets committed."""
        if self.failure is not None or any(processor.owned is None for processor in self.processors):
            return False
        if not self.hears_kafka:
            return False
        return self._watchdog.stalled_s(asyncio.get_running_loop().time()) < STALLED_S

    def _work_state(self) -> Hashable | None:
        """What changes as long as the worker gets anywhere; None while nothing is to be done."""
        if not self.hears_kafka:
            return ("no answer since", self._pulse_s)
        if any(processor.owned is None for processor in self.processors):
            recovery = self.tables.recovery
            if not recovery.in_recovery:
                return None  # joining the group takes as long as its slowest member
            return (self.consumer_generation_id, frozenset(recovery.active_offsets.items()))
        if not any(
            processor.unwritten or sum(self._waiting(processor).values()) for processor in self.processors
        ):
            return None
        return (self.consumer_generation_id, self.consumer.committed())

    async def feel_pulse(self) -> None:
        """Ask Kafka for its metadata every `PULSE_S`: without traffic, nothing else tells that it is gone."""
        loop = asyncio.get_running_loop()
        while True:
            if await self._asked() or await self._knocked():
                self._pulse_s = loop.time()
            else:
                log.info("Kafka does not answer")
            await asyncio.sleep(PULSE_S)

    async def _asked(self) -> bool:
        """Whether Kafka answers on the connection that there is."""
        try:
            async with asyncio.timeout(PULSE_S):
                await self.producer._producer.client.fetch_all_metadata()
        except (KafkaError, OSError, AttributeError):  # the last while the producer starts or stops
            return False
        return True

    async def _knocked(self) -> bool:
        """Whether Kafka answers on a new one: the old one may wait for an answer lost with a broker."""
        client = AIOKafkaClient(
            bootstrap_servers=self._settings.kafka.split(","), **kafka_options(self._settings)
        )
        try:
            async with asyncio.timeout(PULSE_S):
                await client.bootstrap()
        except (KafkaError, OSError):
            return False
        finally:
            await client.close()
        return True

    @property
    def hears_kafka(self) -> bool:
        """Whether Kafka has answered lately."""
        return asyncio.get_running_loop().time() - self._pulse_s < STALLED_S

    async def wait_for_failure(self) -> str:
        """Wait until the worker cannot go on, by its own report or because Faust gave up; says why."""
        barking = asyncio.ensure_future(self._watchdog.bark())
        waiting = {asyncio.ensure_future(event.wait()) for event in (self._failed, self._crashed)}
        try:
            await asyncio.wait({barking, *waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            barking.cancel()
        if barking.done() and not self.hears_kafka:
            silent_s = asyncio.get_running_loop().time() - self._pulse_s
            return f"Kafka has not answered for {silent_s:.0f} s"
        if barking.done():
            return f"no progress for {barking.result():.0f} s: nothing more is recovered, read or committed"
        return self.failure or f"Faust stopped: {self.crash_reason!r}"

    def on_rebalance_start(self) -> None:
        """Answer for no partition any more, at the first word of a rebalance."""
        super().on_rebalance_start()
        for processor in self.processors:
            processor.suspend()

    def _new_transport(self) -> Transport:
        return self._transport_class(self.conf.broker_consumer, self)
