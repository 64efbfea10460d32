"""Windows: sums of the panes a worker holds for one stage, for every window at once.

A window of length W at `now` is the pane that `now` falls into and the W/grain - 1 panes before it, so it
spans at most W and at least W less one grain. Events ahead of `now` wait until their pane is reached.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from monitor.counting.event import AHEAD_MS
from monitor.counting.panes import LONG, SHORT, SLACK_MS, Grain, Numbers, PaneKey


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

Late = Mapping[tuple[int, str], int]
"""Start of a short pane and counter to the bad ones among encounters that are open past their limit
(`journeys.deadlines`)."""

NOTHING_LATE: Late = MappingProxyType({})

TREND_STEPS = 60
"""Minutes that a stage's line on the page shows."""


CAME_MS = {SHORT: SHORT.window_ms + SLACK_MS, LONG: LONG.window_ms + 26 * 3_600_000}
"""How far back the number of events is known by pane: of short ones, as long as they are kept; of long ones,
what came a week ago in a day, an hour and more before now."""


@dataclass(frozen=True)
class Arrivals:
    """How many events came, pane by pane, from `start_ms` on."""

    grain: Grain
    start_ms: int
    counts: Numbers

    @cached_property
    def _up_to(self) -> Numbers:
        """How many came before the start of each pane; last, how many in all."""
        found: Numbers = np.append(0, np.cumsum(self.counts))
        return found

    @cached_property
    def first_ms(self) -> int | None:
        """Start of the first pane in which any came."""
        some = np.flatnonzero(self.counts)
        return self.start_ms + int(some[0]) * self.grain.ms if len(some) else None

    def since(self, from_ms: int) -> float:
        """In the pane that holds that moment, and all later ones."""
        return float(self._up_to[-1] - self._up_to[self._place(self.grain.start_of(from_ms))])

    def within(self, from_ms: int, to_ms: int) -> float:
        """In panes that lie between two moments whole."""
        first, end = self._place(from_ms + self.grain.ms - 1), self._place(to_ms)
        return float(self._up_to[end] - self._up_to[first]) if first < end else 0.0

    def evenly(self, from_ms: int, to_ms: int) -> float:
        """Between two moments, as if those of each pane had come evenly."""
        return self._evenly_up_to(to_ms) - self._evenly_up_to(from_ms)

    def _evenly_up_to(self, at_ms: int) -> float:
        place, pane_ms = self._place(at_ms), self.grain.ms
        if place == len(self.counts):
            return float(self._up_to[-1])
        part = min(max(at_ms - self.start_ms - place * pane_ms, 0), pane_ms) / pane_ms
        return float(self._up_to[place] + self.counts[place] * part)

    def plus(self, other: "Arrivals") -> "Arrivals":
        """With those of another worker, as far as these reach."""
        counts, shift = np.array(self.counts), (other.start_ms - self.start_ms) // self.grain.ms
        first, end = max(shift, 0), min(shift + len(other.counts), len(counts))
        if first < end:
            counts[first:end] += other.counts[first - shift : end - shift]
        return replace(self, counts=counts)

    def _place(self, start_ms: int) -> int:
        return min(max((start_ms - self.start_ms) // self.grain.ms, 0), len(self.counts))


Came = Mapping[int, Arrivals]
"""How many events came, by grain (ms)."""


class Ring:
    """The panes of one grain that any window can reach, a row each, added over partitions."""

    def __init__(self, grain: Grain, columns: int, reach_ms: int) -> None:
        self.grain = grain
        self._size = (reach_ms + AHEAD_MS) // grain.ms + 2
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

    def arrivals(self, reach_ms: int, now_ms: int) -> Arrivals:
        """The first column pane by pane, up to that of now."""
        starts = np.arange(self.grain.start_of(now_ms - reach_ms), now_ms + 1, self.grain.ms)
        places = starts // self.grain.ms % self._size
        counts = np.where(self._start_ms[places] == starts, self._rows[places, 0], 0)
        return Arrivals(self.grain, int(starts[0]), counts)

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
        self._outcomes = tuple(name for name in self.names if name.startswith("outcome/"))
        self._rings = {grain.ms: Ring(grain, len(self.names), grain.window_ms) for grain in (SHORT, LONG)}
        self._came = {grain.ms: Ring(grain, 1, reach_ms) for grain, reach_ms in CAME_MS.items()}

    def add(self, key: PaneKey, counts: Mapping[str, int]) -> None:
        """Add counts to a pane. Counters of an older journey file that no longer exist are passed over."""
        ring = self._rings.get(key.grain_ms)
        if ring is None:  # what is withheld is in no window
            return
        came = self._came[key.grain_ms].row(key.start_ms)
        if came is not None:
            came += sum(counts.get(name, 0) for name in self._outcomes)
        row = ring.row(key.start_ms)
        if row is None:
            return
        for name, n in counts.items():
            column = self.column.get(name)
            if column is not None:
                row[column] += n

    def sums(self, now_ms: int, late: Late = NOTHING_LATE) -> dict[str, Numbers]:
        """Window label to sums by column; `late` is added."""
        found: dict[str, Numbers] = {}
        for grain_ms, ring in self._rings.items():
            windows = [window for window in WINDOWS if window.grain.ms == grain_ms]
            rows = ring.sums([window.ms for window in windows], now_ms)
            found.update({window.label: row for window, row in zip(windows, rows, strict=True)})
        for (start_ms, name), n in late.items():
            for window in WINDOWS:
                if name in self.column and window.start_ms(now_ms) <= start_ms <= now_ms:
                    found[window.label][self.column[name]] += n
        return found

    def arrivals(self, now_ms: int) -> Came:
        """How many events came, whatever they were."""
        return {grain.ms: self._came[grain.ms].arrivals(reach, now_ms) for grain, reach in CAME_MS.items()}

    def newest(self, names: Iterable[str], now_ms: int) -> tuple[int, int] | None:
        """Start and end (ms) of the narrowest pane that holds the last event up to now of these counters.

        A long pane that now falls into may hold events ahead of now: what came before stands in a short one.
        """
        columns = [self.column[name] for name in names]
        short_ms = self._rings[SHORT.ms].newest_ms(columns, now_ms)
        long_ms = self._rings[LONG.ms].newest_ms(columns, now_ms - LONG.ms)
        start_ms, grain = (short_ms, SHORT) if short_ms >= long_ms else (long_ms, LONG)
        return (start_ms, start_ms + grain.ms) if start_ms >= 0 else None

    def trend(self, now_ms: int, late: Late = NOTHING_LATE) -> Numbers:
        """Sums of the last `TREND_STEPS` minutes, oldest first; `late` is added."""
        found = self._rings[SHORT.ms].trend(60_000, TREND_STEPS, now_ms)
        for (start_ms, name), n in late.items():
            minutes_ago = now_ms // 60_000 - start_ms // 60_000
            if name in self.column and 0 <= minutes_ago < TREND_STEPS:
                found[TREND_STEPS - 1 - minutes_ago, self.column[name]] += n
        return found
