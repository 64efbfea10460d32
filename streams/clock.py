"""The clock of everything that passes the time on to the core."""

import time


def now_ms() -> int:
    """Milliseconds since 1970, as the machine has it."""
    return time.time_ns() // 1_000_000


class SteadyClock:
    """Wall time in ms since 1970 that never goes back: when the machine's clock does, it runs on.

    Events of the present are so never taken for events of the future. Not covered: a worker that starts
    while its machine's clock is behind.
    """

    def __init__(self) -> None:
        self._at_ms = float(now_ms())
        self._read_s = time.monotonic()

    def now_ms(self) -> int:
        """The present."""
        read_s = time.monotonic()
        self._at_ms = max(float(now_ms()), self._at_ms + (read_s - self._read_s) * 1000)
        self._read_s = read_s
        return int(self._at_ms)
