"""Whether the alert `StageSilent` may be going on, by what workers count.

Of a stage without a rhythm, Prometheus expects what it recorded a week ago. Workers know that in panes of
five minutes, so a bit more may have been expected than they know (`UNSURE`).
"""

from dataclasses import dataclass
from functools import cached_property

from monitor.counting.panes import LONG, SHORT
from monitor.counting.windows import WINDOWS, Came, Window
from monitor.journey_file.hours import expected, is_open
from monitor.journey_file.model import Journey, Stage
from monitor.rules.plan import (
    HOLD_S,
    LAG_S,
    SETTLE_S,
    SILENT_EXPECTED,
    SILENT_OVER,
    SILENT_WINDOWS,
    silence_severity,
)

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS

UNSURE = 1.5
"""What came a week ago may have been so many times as much, or as little: a window of 5m cuts two panes, in
which the pace may have changed."""

WIDTHS = tuple(window for window in WINDOWS if window.label in SILENT_WINDOWS)
NARROW = tuple(window for window in WIDTHS if window.ms <= LONG.ms)
"""The others are asked of long panes, at the end of each: that takes a tenth of the time."""

SEEN_MS = (SETTLE_S - 10) * 1000
"""A window is judged once so much before it was seen, too: `SETTLE_S`, but Prometheus, which looks every few
seconds, may have noted that workers count before they did."""


def is_seen(window: Window, moment_ms: int, began_ms: int) -> bool:
    """Whether the alert judges a window, which ends then, of a group that began to count then."""
    return moment_ms - window.ms >= began_ms + SEEN_MS


@dataclass(frozen=True)
class Heard:
    """What workers know of one stage, up to `now_ms`."""

    journey: Journey
    stage: Stage
    came: Came
    now_ms: int
    began_ms: int
    """When the group first counted: what was before nobody saw."""

    def may_be_silent(self) -> bool:
        """Whether next to nothing came at a moment that the alert is held for, and it was open since."""
        held_ms = (HOLD_S[silence_severity(self.stage)] + LAG_S) * 1000
        ends_ms = range(SHORT.start_of(self.now_ms), self.now_ms - held_ms, -SHORT.ms)
        for moment_ms in (self.now_ms, *ends_ms):  # where panes end, so that looking again finds the same
            if not is_open(self.journey, self.stage, moment_ms):
                return False
            if moment_ms <= self._first[0]:
                return self._was_silent
            is_end = moment_ms == self.now_ms or moment_ms % LONG.ms < SHORT.ms
            if self._is_few(moment_ms, WIDTHS if is_end else NARROW):
                return True
        return False

    def _is_few(self, moment_ms: int, widths: tuple[Window, ...]) -> bool:
        """Whether less came than ends a silence, in the narrowest window that expects enough."""
        unsure = 1 if self.stage.per_hour is not None else UNSURE
        for window in widths:
            start_ms = window.start_ms(moment_ms)
            due = unsure * self._expected(start_ms, moment_ms)
            is_few = self._came(window, start_ms, moment_ms) < float(SILENT_OVER) * due
            if due >= SILENT_EXPECTED and is_few and self._may_have_begun(window, moment_ms):
                return True
            if due >= unsure**2 * float(SILENT_EXPECTED):
                return False
        return False

    def _may_have_begun(self, window: Window, moment_ms: int) -> bool:
        """Whether the alert may have: since the first event of the stage that is known, or before it."""
        is_later = window.start_ms(moment_ms) >= self._first[0]
        return (is_later and is_seen(window, moment_ms, self.began_ms)) or self._was_silent

    @cached_property
    def _first(self) -> tuple[int, int]:
        """Start and end of the pane of the first event."""
        short_ms, long_ms = (self.came[grain.ms].first_ms for grain in (SHORT, LONG))
        if long_ms is None or (short_ms is not None and short_ms < long_ms + LONG.ms):
            return (self.now_ms, self.now_ms) if short_ms is None else (short_ms, short_ms + SHORT.ms)
        return long_ms, long_ms + LONG.ms

    @cached_property
    def _was_silent(self) -> bool:
        """Whether the alert was going on when the first event came. What was expected a day before has left
        all windows, and closing ends it."""
        up_to_ms = self._first[1]
        first_ms = max(self.began_ms, up_to_ms - DAY_MS)
        for moment_ms in (up_to_ms, *range(LONG.start_of(up_to_ms), first_ms, -LONG.ms)):
            if not is_open(self.journey, self.stage, moment_ms):
                return False
            for window in WIDTHS:
                due = self._expected(moment_ms - window.ms, moment_ms)
                if due >= SILENT_EXPECTED and is_seen(window, moment_ms, self.began_ms):
                    return True
        return False

    def _expected(self, from_ms: int, to_ms: int) -> float:
        if self.stage.per_hour is not None:
            return expected(self.journey, self.stage, from_ms, to_ms)
        return self.came[LONG.ms].evenly(from_ms - WEEK_MS, to_ms - WEEK_MS)

    def _came(self, window: Window, from_ms: int, to_ms: int) -> float:
        """At least so many: of moments before now, what came in each of the five minutes after them, too."""
        if to_ms < self.now_ms:
            short, long = self.came[SHORT.ms], self.came[LONG.ms]
            is_narrow = window in NARROW
            return short.within(from_ms, to_ms) if is_narrow else long.within(from_ms + LONG.ms, to_ms)
        return self.came[window.grain.ms].since(from_ms)
