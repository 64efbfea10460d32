"""Whether a worker is whole and gets anywhere; one that does not is ended, so that a fresh one is started.

Faust only logs such states: an error inside recovery, for one, leaves a worker that consumes nothing.
Progress is any change of what has been committed, recovered or is waiting; a broker that is away for a while
shows as no progress too, and is given the same time to come back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka.errors import KafkaError
from faust.types import TP

from monitor.counting.display import duration
from streams.engine.cluster import STALLED_S
from streams.kafka import internals
from streams.kafka.errors import in_words
from streams.kafka.groups import NewProtocolError, is_of_new_protocol
from streams.settings import Settings
from streams.state.processor import Processor

if TYPE_CHECKING:
    from streams.engine.app import App

T = TypeVar("T")

log = logging.getLogger(__name__)

CHECK_S = 1.0

REBALANCE_S = 60.0
"""How long the group waits for its slowest member, which first writes what it has folded."""

JOIN_S = 2 * REBALANCE_S
"""How long joining the group may take: until its slowest member is there, and again until its leader has
assigned the partitions. Only after that does the watchdog's patience begin."""

RESTARTS = 3
"""What ends once more is not mended by beginning again."""

RESTART_S = 1.0

SETTLED_S = 10.0
"""What has run for so long after it was begun again is well: that is some turns of everything supervised."""


class Watchdog:
    """Watches one worker. `state` is what must change while there is work; None means there is none."""

    def __init__(self, state: Callable[[], Hashable | None], patience_s: float) -> None:
        self._state = state
        self._patience_s = patience_s
        self._last: Hashable | None = None
        self._since_s: float | None = None

    def stalled_s(self, now_s: float) -> float:
        """For how long there has been work without any progress; asking is what notes the progress."""
        state = self._state()
        if state is None or self._since_s is None or state != self._last:
            self._last, self._since_s = state, now_s
        return now_s - self._since_s

    async def bark(self) -> float:
        """Wait until the worker has stalled for longer than the patience; returns for how long."""
        loop = asyncio.get_running_loop()
        while True:
            stalled_s = self.stalled_s(loop.time())
            if stalled_s >= self._patience_s:
                return stalled_s
            await asyncio.sleep(CHECK_S)


class Supervisor:
    """Keeps tasks running without which a worker is not whole. While `problems` names any, it is not ready.

    What ends is begun again, `RESTARTS` times in a row; then `fail` is told, which ends the worker.
    """

    def __init__(self, fail: Callable[[str, BaseException], None]) -> None:
        self._fail = fail
        self.problems: dict[str, str] = {}

    async def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run what should never end, until cancelled or failed."""
        loop = asyncio.get_running_loop()
        ends = 0
        while ends <= RESTARTS:
            began_s = loop.time()
            settled = loop.call_later(SETTLED_S, self.problems.pop, name, None)
            try:
                await work()
                error: BaseException = RuntimeError("it should go on for ever")
            except Exception as raised:
                error = raised
            except asyncio.CancelledError as raised:
                if _is_cancelled():
                    raise
                error = raised  # of what it waited for
            finally:
                settled.cancel()
            ends = 1 if loop.time() - began_s >= SETTLED_S else ends + 1
            log.error("%s has ended", name, exc_info=error)
            self.problems[name] = f"{name} has ended ({type(error).__name__})"
            await asyncio.sleep(RESTART_S)
        self._fail(f"{name} has ended {ends} times", error)


def _is_cancelled() -> bool:
    """Whether the task that asks was itself cancelled, and not what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Health:
    """One worker's. `failure` is set once, by whatever makes the worker unable to go on."""

    def __init__(self, app: "App", settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self.supervisor = Supervisor(self.fail)
        self._working = Watchdog(self._work_state, settings.watchdog_s)
        self._joining = Watchdog(self._join_state, JOIN_S + settings.watchdog_s)
        # No patience ends: a partition without a leader is as unread by a fresh worker.
        self._reading = Watchdog(self._untold, inf)
        self.failure: str | None = None
        self._failed = asyncio.Event()
        self.is_ending = False
        """Its tasks are ended then by whoever ends the worker."""

    def fail(self, what: str, error: BaseException) -> None:
        """Report that the worker cannot go on; the first report is the one that counts."""
        level = logging.INFO if isinstance(error, KafkaError) else logging.ERROR
        log.log(level, "%s: %r", what, error, exc_info=error)
        self.failure = self.failure or f"{what}: {in_words(error, self._settings)}"
        self._failed.set()

    def begin(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a task that the worker cannot do without: it fails if that is cancelled or raises."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._look_at)
        return task

    def _look_at(self, ended: asyncio.Task[Any]) -> None:
        if self.is_ending:
            return
        error = asyncio.CancelledError("nobody ends it") if ended.cancelled() else ended.exception()
        if error is not None:
            self.fail(f"{ended.get_name()} has ended", error)

    @property
    def is_ready(self) -> bool:
        """Whether every stage's partitions are assigned and recovered, and what is read gets committed."""
        if self.failure is not None or self._waits_for_partitions:
            return False
        if self.supervisor.problems or not self._app.cluster.is_heard:
            return False
        now_s = asyncio.get_running_loop().time()
        return max(dog.stalled_s(now_s) for dog in (self._working, self._reading)) < STALLED_S

    @property
    def problem(self) -> str:
        """Why it is not ready, in words."""
        if not self._app.cluster.is_heard:
            return f"Kafka at {self._settings.kafka} does not answer"
        ended = next(iter(self.supervisor.problems.values()), None)
        if self.failure or ended:
            return str(self.failure or ended)
        if self._waits_for_partitions:
            return "waiting for partitions, or recovering their counts"
        if tp := self._untold():
            return f"Kafka gives nothing of {tp.topic} partition {tp.partition}: its leader is away, or hangs"
        return "nothing more is read or committed"

    async def wait_for_failure(self) -> str:
        """Wait until the worker cannot go on, by its own report or because Faust gave up; says why."""
        app = self._app
        working = asyncio.ensure_future(self._working.bark())
        joining = asyncio.ensure_future(self._joining.bark())
        events = (self._failed, internals.crashed(app), app.cluster.changed)
        waiting: set[asyncio.Future[Any]] = {asyncio.ensure_future(event.wait()) for event in events}
        waiting |= {working, joining}
        waiting |= {asyncio.ensure_future(one) for one in (self._reading.bark(), self._hear_refusal())}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        for error in filter(None, (task.exception() for task in done)):
            self.fail("the watch over the worker has ended", error)
            return str(self.failure)
        if working.done() and not app.cluster.is_heard:
            return f"Kafka has not answered for {duration(int(app.cluster.silent_s))}"
        if working.done():
            stuck = duration(int(working.result()))
            return f"no progress for {stuck}: nothing more is recovered, read or committed"
        if joining.done():
            waited = duration(int(joining.result()))
            return f"the group {self._settings.group} has assigned no partitions for {waited}"
        crash = in_words(app.crash_reason, self._settings)
        return self.failure or app.cluster.change or f"Faust stopped: {crash}"

    async def _hear_refusal(self) -> None:
        """Fail when the group refuses this worker, or reading has ended; Kafka's client then only waits for
        somebody to ask."""
        app = self._app
        while True:
            if error := app.consumer.kafka.refusal():
                if await is_of_new_protocol(internals.producer_client(app.producer), self._settings.group):
                    error = NewProtocolError()
                self.fail("the worker cannot join its group", error)
            if error := app.consumer.kafka.fetching_error():
                self.fail("reading has ended", error)
            await asyncio.sleep(CHECK_S)

    @property
    def _waits_for_partitions(self) -> bool:
        return any(processor.owned is None for processor in self._app.processors)

    def _work_state(self) -> Hashable | None:
        """What changes as long as the worker gets anywhere; None while nothing is to be done."""
        app = self._app
        if not app.cluster.is_heard:
            return ("no answer since", app.cluster.answered_s)
        if self._waits_for_partitions:
            recovery = app.tables.recovery
            if not recovery.in_recovery:
                return None  # joining the group has a patience of its own
            return (app.consumer_generation_id, frozenset(recovery.active_offsets.items()))
        if not any(self._is_at_work(processor) for processor in app.processors):
            return None
        return (app.consumer_generation_id, app.consumer.committed())

    def _untold(self) -> TP | None:
        """A partition of which Kafka says nothing, neither that there is more nor that there is not."""
        app = self._app
        owned = (TP(one.topic, partition) for one in app.processors for partition in one.owned or ())
        return next((tp for tp in owned if not app.consumer.kafka.is_told_of(tp)), None)

    def _is_at_work(self, processor: Processor[Any]) -> bool:
        """Whether anything is to be read or written."""
        tps = (TP(processor.topic, partition) for partition in processor.owned or ())
        return bool(processor.unwritten) or any(self._app.consumer.kafka.readable(tp) for tp in tps)

    def _join_state(self) -> Hashable | None:
        """The generation that this worker was last in; None unless it waits for a new one."""
        app = self._app
        is_waiting = app.cluster.is_heard and app.consumer.kafka.is_joining()
        return app.consumer_generation_id if is_waiting else None
