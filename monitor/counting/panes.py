"""Panes: sums of named counters over short slices of event time. Merging them is adding, so it commutes.

An event is counted in one pane of each grain: 10 s panes make up the short windows, 5 min panes the long
ones. A late event lands in the pane it belongs to. Windows are sums of panes (`windows`).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from monitor.counting.event import Event
from monitor.counting.judging import BOUNDS_S, Judge, Verdict, bucket_names

Counts = dict[str, int]
"""Counter name to count; an absent name is 0. Sums of times are whole ms, so that adding is exact."""


@dataclass(frozen=True, slots=True)
class Grain:
    """A width of panes, and how long its panes are of use to any window."""

    ms: int
    window_ms: int

    def start_of(self, at_ms: int) -> int:
        """Start of the pane that holds a moment; a moment on a boundary belongs to the later pane."""
        return at_ms - at_ms % self.ms


SHORT = Grain(ms=10_000, window_ms=3_600_000)
LONG = Grain(ms=300_000, window_ms=7 * 86_400_000)

SLACK_MS = 600_000
"""Panes are kept this much longer than needed. A worker that recovers knows the event clock only to the
pane, and clocks may run 5 min ahead: with less slack, a pane could expire while events for it still come."""


class PaneKey(NamedTuple):
    """Which slice of event time."""

    grain_ms: int
    start_ms: int


@dataclass(slots=True)
class Pane:
    """Counts of one slice. `watermark` is the highest position of the source that it includes."""

    counts: Counts = field(default_factory=dict)
    watermark: int = -1

    def add(self, counts: Mapping[str, int], watermark: int) -> None:
        """Add counts that include the source up to `watermark`."""
        merge_into(self.counts, counts)
        self.watermark = max(self.watermark, watermark)


def merge_into(counts: Counts, more: Mapping[str, int]) -> None:
    """Add `more` to `counts`: associative, commutative, and an empty mapping changes nothing."""
    for name, n in more.items():
        counts[name] = counts.get(name, 0) + n


def keep_ms(grain: Grain, horizon_ms: int) -> int:
    """How far behind the event clock a pane of the grain is kept; long panes serve the whole horizon."""
    return (grain.window_ms if grain is SHORT else max(horizon_ms, grain.window_ms)) + SLACK_MS


def is_expired(key: PaneKey, event_clock_ms: int, horizon_ms: int) -> bool:
    """Whether a pane is out of every window and beyond the reach of any event still accepted.

    `event_clock_ms` is the newest event time seen: replayed history expires by its own time, not today's.
    """
    grain = SHORT if key.grain_ms == SHORT.ms else LONG
    return key.start_ms + grain.ms <= event_clock_ms - keep_ms(grain, horizon_ms)


_DURATION = bucket_names("duration")
_WAIT = bucket_names("wait")
_SHORT_MS = SHORT.ms


@dataclass(slots=True)
class _Slice:
    """Events of one slice by verdict, and what is counted of each event by itself."""

    verdicts: defaultdict[Verdict, int] = field(default_factory=lambda: defaultdict(int))
    counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))


class Tally:
    """Counts of a run of events by 10 s slice; far cheaper than touching panes event by event."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._slices: dict[int, _Slice] = {}

    def add(self, event: Event, at_ms: int) -> tuple[str, ...]:
        """Count one event; returns the experiences it was bad for."""
        start = at_ms - at_ms % _SHORT_MS  # as `SHORT.start_of` says, without the call
        held = self._slices.get(start)
        if held is None:
            held = self._slices[start] = _Slice()
        verdict = self._judge.judge(event)
        held.verdicts[verdict] += 1
        counts = held.counts
        duration_s, wait_s = event.duration_s, event.wait_s
        if duration_s is not None:
            counts[_DURATION[bisect_left(BOUNDS_S, duration_s)]] += 1
            counts["duration_ms"] += (ms := round(duration_s * 1000))
            if event.system_wait_s is not None:
                counts["tool_of_ms"] += ms
                counts["tool_ms"] += round(event.system_wait_s * 1000)
        if wait_s is not None:
            counts[_WAIT[bisect_left(BOUNDS_S, wait_s)]] += 1
            counts["wait_ms"] += (ms := round(wait_s * 1000))
            waits, waits_ms = self._judge.waits[event.outcome]
            counts[waits] += 1
            counts[waits_ms] += ms
        if event.score is not None and (answer := self._judge.answer(event)) is not None:
            counts[answer] += 1
        return verdict.bad_for

    def panes(self) -> Iterator[tuple[PaneKey, Counts]]:
        """The counts by pane of either grain."""
        long: dict[int, Counts] = {}
        for start, held in self._slices.items():
            counts: Counts = dict(held.counts)
            for verdict, n in held.verdicts.items():
                for name in verdict.counters:
                    counts[name] = counts.get(name, 0) + n
                for name in verdict.spread:
                    counts[name] = counts.get(name, 0) + n
            yield PaneKey(SHORT.ms, start), counts
            merge_into(long.setdefault(LONG.start_of(start), {}), counts)
        for start, counts in long.items():
            yield PaneKey(LONG.ms, start), counts
