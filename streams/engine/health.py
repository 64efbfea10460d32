"""Ends a worker that no longer gets anywhere, so that its supervisor starts a fresh one.

Faust only logs such states: an error inside recovery, for one, leaves a worker that consumes nothing.
Progress is any change of what has been committed, recovered or is waiting; a broker that is away for a while
shows as no progress too, and is given the same time to come back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable

log = logging.getLogger(__name__)

CHECK_S = 1.0

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
                error: Exception = RuntimeError("it should go on for ever")
            except Exception as raised:
                error = raised
            finally:
                settled.cancel()
            ends = 1 if loop.time() - began_s >= SETTLED_S else ends + 1
            log.error("%s has ended", name, exc_info=error)
            self.problems[name] = f"{name} has ended ({type(error).__name__})"
            await asyncio.sleep(RESTART_S)
        self._fail(f"{name} has ended {ends} times", error)
