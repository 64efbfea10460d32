"""The clock of everything that passes the time on to the core."""

import time


def now_ms() -> int:
    """Milliseconds since 1970, as the machine has it."""
    return time.time_ns() // 1_000_000


class SteadyClock:
    """The machine's clock, but never going back.

    Events are accepted by this one: when the machine's clock jumps back an hour, events of the present would
    otherwise be refused as an hour ahead.
    """

    def __init__(self) -> None:
        self._latest_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since 1970; stands still while the machine's clock is behind what it has said."""
        self._latest_ms = max(self._latest_ms, now_ms())
        return self._latest_ms
