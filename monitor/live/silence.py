"""Whether the alert `StageSilent` may be going on, by what workers count.

Of a stage without a rhythm, Prometheus expects what it recorded a week ago. Workers know that in panes of
five minutes, so a bit more may have been expected than they know (`UNSURE`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from monitor.counting.panes import LONG, SHORT
from monitor.counting.windows import WINDOWS, Came, Window
from monitor.journey_file.hours import expected, is_open
from monitor.journey_file.model import Journey, Stage
from monitor.rules.plan import (
    HOLD_S,
    LAG_S,
    SILENT_EXPECTED,
    SILENT_OVER,
    SILENT_WINDOWS,
    silence_severity,
)

WEEK_MS = 7 * 86_400_000

UNSURE = 1.5
"""What came a week ago may have been so many times as much, or as little: a window of 5m cuts two panes, in
which the pace may have changed."""

WIDTHS = tuple(window for window in WINDOWS if window.label in SILENT_WINDOWS)
NARROW = tuple(window for window in WIDTHS if window.ms <= LONG.ms)
"""The others are asked of long panes, at the end of each: that takes a tenth of the time."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What workers know of one stage, up to `now_ms`."""

    journey: Journey
    stage: Stage
    came: Came
    now_ms: int
    before: Callable[[int], bool]
    """Whether anything at all, of any stage, was counted before a moment."""

    def may_be_silent(self) -> bool:
        """Whether next to nothing came at a moment that the alert is held for, and it was open since."""
        held_ms = (HOLD_S[silence_severity(self.stage)] + LAG_S) * 1000
        ends_ms = range(SHORT.start_of(self.now_ms), self.now_ms - held_ms, -SHORT.ms)
        for moment_ms in (self.now_ms, *ends_ms):  # where panes end, so that looking again finds the same
            if not is_open(self.journey, self.stage, moment_ms):
                return False
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
            is_asked = due >= SILENT_EXPECTED and self._had_begun(start_ms, moment_ms)
            if is_asked and self._came(window, start_ms, moment_ms) < float(SILENT_OVER) * due:
                return True
            if due >= unsure**2 * float(SILENT_EXPECTED):
                return False
        return False

    def _had_begun(self, start_ms: int, moment_ms: int) -> bool:
        """Whether anything was counted before that. Of a moment that has passed this stage is
        asked: what journeys end with comes late to a new monitor."""
        if moment_ms < self.now_ms and not self.came[LONG.ms].within(0, start_ms):
            return False
        return self.before(start_ms)

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
