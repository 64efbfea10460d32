"""Ends a worker that no longer gets anywhere, so that its supervisor starts a fresh one.

Faust only logs such states: an error inside recovery, for one, leaves a worker that consumes nothing.
Progress is any change of what has been committed, recovered or is waiting; a broker that is away for a while
shows as no progress too, and is given the same time to come back.
"""

import asyncio
from collections.abc import Callable, Hashable

CHECK_S = 1.0


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
