"""Windows: sums of the panes a worker holds for one stage, for every window at once.

A window of length W at `now` is the pane that `now` falls into and the W/grain - 1 panes before it, so it
spans at most W and at least W less one grain. Events ahead of `now` wait until their pane is reached.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.counting.event import AHEAD_MS
from monitor.counting.panes import LONG, SHORT, Grain, Numbers, PaneKey


@dataclass(frozen=True, slots=True)
class Window:
    """A window as its label says it."""

    label: str
    ms: int
    grain: Grain

    def start_ms(self, now_ms: int) -> int:
        """Where it begins: at the start of the oldest pane that it includes."""
        return self.grain.start_of(now_ms) - self.ms + self.grain.ms


WINDOWS = (
    Window("20s", 20_000, SHORT),
    Window("1m", 60_000, SHORT),
    Window("5m", 300_000, SHORT),
    Window("30m", 1_800_000, SHORT),
    Window("1h", 3_600_000, SHORT),
    Window("2h", 7_200_000, LONG),
    Window("6h", 21_600_000, LONG),
    Window("1d", 86_400_000, LONG),
    Window("3d", 259_200_000, LONG),
    Window("7d", 604_800_000, LONG),
)
WINDOW_LABELS = tuple(window.label for window in WINDOWS)

TREND_STEPS = 60
"""Minutes that a stage's line on the page shows."""


class Ring:
    """The panes of one grain that any window can reach, a row each, added over partitions."""

    def __init__(self, grain: Grain, columns: int) -> None:
        self.grain = grain
        self._size = (grain.window_ms + AHEAD_MS) // grain.ms + 2
        self._start_ms = np.full(self._size, -1, dtype=np.int64)
        self._rows: Numbers = np.zeros((self._size, columns))

    def row(self, start_ms: int) -> Numbers | None:
        """The row of a pane, to be added to; None when newer panes have taken its place."""
        i = start_ms // self.grain.ms % self._size
        if self._start_ms[i] < start_ms:
            self._start_ms[i] = start_ms
            self._rows[i] = 0
        return self._rows[i] if self._start_ms[i] == start_ms else None

    def sums(self, lengths_ms: Sequence[int], now_ms: int) -> Numbers:
        """One row of sums for each window length."""
        newest = self.grain.start_of(now_ms)
        oldest = newest - np.array(lengths_ms, dtype=np.int64)
        inside = (self._start_ms > oldest[:, None]) & (self._start_ms <= newest)
        held: Numbers = inside.astype(np.float64) @ self._rows
        return held

    def newest_ms(self, columns: Sequence[int], up_to_ms: int) -> int:
        """Start of the newest pane that begins up to a moment and has a count in a column; -1 without one."""
        has_counted = self._rows[:, columns].any(axis=1) & (self._start_ms <= up_to_ms)
        return int(self._start_ms[has_counted].max(initial=-1))

    def trend(self, step_ms: int, steps: int, now_ms: int) -> Numbers:
        """Sums over consecutive slices of `step_ms`, oldest first, the last one holding `now`."""
        last = now_ms - now_ms % step_ms
        starts = last - step_ms * np.arange(steps - 1, -1, -1, dtype=np.int64)
        inside = (self._start_ms >= starts[:, None]) & (self._start_ms < starts[:, None] + step_ms)
        held: Numbers = inside.astype(np.float64) @ self._rows
        return held


class StageWindows:
    """What one worker knows of one stage: its panes added over the partitions it owns."""

    def __init__(self, counter_names: Sequence[str]) -> None:
        self.names = tuple(counter_names)
        self.column = {name: i for i, name in enumerate(self.names)}
        self._rings = {grain.ms: Ring(grain, len(self.names)) for grain in (SHORT, LONG)}

    def add(self, key: PaneKey, counts: Mapping[str, int]) -> None:
        """Add counts to a pane. Counters of an older journey file that no longer exist are passed over."""
        ring = self._rings.get(key.grain_ms)
        row = ring.row(key.start_ms) if ring is not None else None
        if row is None:  # what is withheld is in no window
            return
        for name, n in counts.items():
            column = self.column.get(name)
            if column is not None:
                row[column] += n

    def sums(self, now_ms: int) -> dict[str, Numbers]:
        """Window label to sums by column."""
        found: dict[str, Numbers] = {}
        for grain_ms, ring in self._rings.items():
            windows = [window for window in WINDOWS if window.grain.ms == grain_ms]
            rows = ring.sums([window.ms for window in windows], now_ms)
            found.update({window.label: row for window, row in zip(windows, rows, strict=True)})
        return found

    def newest(self, names: Iterable[str], now_ms: int) -> tuple[int, int] | None:
        """Start and end (ms) of the narrowest pane that holds the last event up to now of these counters.

        A long pane that now falls into may hold events ahead of now: what came before stands in a short one.
        """
        columns = [self.column[name] for name in names]
        short_ms = self._rings[SHORT.ms].newest_ms(columns, now_ms)
        long_ms = self._rings[LONG.ms].newest_ms(columns, now_ms - LONG.ms)
        start_ms, grain = (short_ms, SHORT) if short_ms >= long_ms else (long_ms, LONG)
        return (start_ms, start_ms + grain.ms) if start_ms >= 0 else None

    def trend(self, now_ms: int) -> Numbers:
        """Sums of the last `TREND_STEPS` minutes, oldest first."""
        return self._rings[SHORT.ms].trend(60_000, TREND_STEPS, now_ms)
