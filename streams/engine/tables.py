"""Faust's tables, recovery and changelog queue, made safe for groups that move on while changelogs are read.

Faust 0.15.3 takes an interrupted recovery for a finished one (`_restart_recovery` swallows `RebalanceAgain`
while it waits for the end), and events that were on their way into a full queue arrive in the next
generation. Either makes a worker own partitions it has read in part, and write over the rest. So a stage owns
what it is assigned only if the recovery of that very generation has read each changelog to its end.
"""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import faust.tables
from faust.tables import recovery
from faust.tables.table import Table
from faust.types import TP
from mode.utils.queues import ThrowableQueue

from streams.engine.recovery import compacted, writers
from streams.engine.thread import FAUST_LOG
from streams.engine.transport import BatchSchema
from streams.kafka import internals
from streams.state.processor import Processor

if TYPE_CHECKING:
    from streams.engine.app import App


class PaneTable(Table):
    """A table whose store is its stage: Faust brings the changelog, recovery and who owns what."""

    logger = FAUST_LOG

    def __init__(self, app: "App", processor: Processor[Any], partitions: int) -> None:
        super().__init__(
            app,
            name=processor.name,
            partitions=partitions,
            schema=BatchSchema(key_serializer="raw", value_serializer="raw", allow_empty=True),
            recovery_buffer_size=2,  # at 1, Faust reads a changelog on for ever, our own writes included
        )
        self._processor = processor

    async def on_rebalance(self, *assignment: Any, **more: Any) -> None:
        """Time the recovery from here: joining the group, which came before, is not its doing."""
        self.app.recovery_progress.start(asyncio.get_running_loop().time())
        await super().on_rebalance(*assignment, **more)

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Hand changelog records to the stage. Faust would only log an error here, so it is reported."""
        try:
            for event in batch:
                message = event.message
                if message.topic != self.changelog_topic_name:
                    continue  # Faust hands records of unassigned partitions to the table it served last
                records = message.value
                term = self.app.term(message.generation_id)
                self._processor.restore(message.partition, compacted(records), writers(records), term)
                self.app.tell_recovering(len(records))
        except Exception as error:
            self.app.health.fail(f"changelog of stage {self._processor.name} cannot be read", error)
            raise

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Own what has been assigned. Faust calls this once the changelogs have been read to their ends, or
        when it thinks so: see above."""
        tables = self.app.tables
        generation, active_tps = tables.recovery.completed_generation, set(active_tps)
        await super().on_recovery_completed(active_tps, standby_tps)
        try:
            partitions = frozenset(tp.partition for tp in active_tps)
            is_current = partial(self.app.is_generation, generation)
            sightings = await self.app.recall(self._processor, partitions, is_current)
            if not await self.app.consumer.confirm_membership(generation):
                return  # the group has moved on: the recovery of the new assignment comes
            tables.recovery.require_read(active_tps)
            await self._processor.own(partitions, self.app.term(generation), is_current, sightings)
            self.app.tell_recovered()
        except Exception as error:
            self.app.health.fail(f"stage {self._processor.name} cannot take over its partitions", error)
            raise


class Recovery(recovery.Recovery):
    """Faust's recovery, which says of which generation it is, and reads on only where nobody else has been.

    Faust reads a changelog on wherever it has read from it last. A worker that the group had dropped, or one
    whose rebalance was interrupted by the next, may be given what another has owned in between: of that
    all is read anew, for state of two owners cannot be told apart.
    """

    logger = FAUST_LOG

    completed_generation = -1
    _last_member = ""
    _last_generation = -1
    _last_assigned: frozenset[TP] = frozenset()

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Forget what was not ours in the generation before."""
        member, _ = self.app.consumer.kafka.membership()
        went_on = 0 <= self._last_generation <= generation_id <= self._last_generation + 1
        kept = self._last_assigned & assigned if went_on and member == self._last_member else frozenset()
        self._last_member, self._last_generation = member, generation_id
        self._last_assigned = frozenset(assigned)
        for tp in self.active_offsets.keys() - kept:
            self.revoke(tp)
        for processor in self.app.processors:
            await processor.keep({tp.partition for tp in kept if tp.topic == processor.topic})
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Remember whose changelogs have been read before the tables are told so."""
        self.completed_generation = generation_id
        await super().on_recovery_completed(generation_id)

    def require_read(self, tps: Iterable[TP]) -> None:
        """Raise unless each changelog has been read up to the end it had when the recovery began."""
        for tp in tps:
            read, end = self.active_offsets.get(tp), self.active_highwaters.get(tp)
            if read is None or end is None or read < end:
                raise RuntimeError(f"{tp.topic} partition {tp.partition} is read to {read} of {end}")


class ChangelogQueue(ThrowableQueue):
    """Changelog batches on their way to the recovery, but none from before the last change of owners."""

    def __init__(self, app: "App", **options: Any) -> None:
        super().__init__(flow_control=app.flow_control, **options)
        self._app = app

    async def get(self) -> Any:
        """The next batch of the present generation."""
        while True:
            event = await super().get()
            if self._app.is_generation(event.message.generation_id):
                return event


class TableManager(faust.tables.TableManager):
    """Faust's table manager with the recovery and the queue above."""

    logger = FAUST_LOG

    def __init__(self, app: "App", **options: Any) -> None:
        super().__init__(app, **options)
        queue = ChangelogQueue(app, maxsize=app.conf.stream_buffer_maxsize, clear_on_resume=True)
        internals.set_recovery(self, queue, Recovery(app, self, beacon=self.beacon, loop=self.loop))

    async def on_start(self) -> None:
        """Begin at once: Faust waits a second for tables to be declared, and an `App` has done that."""
        await internals.register_tables(self)
        await self.recovery.start()
