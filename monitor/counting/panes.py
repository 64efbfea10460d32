"""Panes: sums of named counters over short slices of event time. Merging them is adding, so it commutes.

An event is counted in one pane of each grain: 10 s panes make up the short windows, 5 min panes the long
ones. A late event lands in the pane it belongs to. Windows are sums of panes (`windows`).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from monitor.counting.event import Event
from monitor.counting.judging import BOUNDS_S, Judge, bucket_names

Numbers = NDArray[np.float64]
"""Counts are whole numbers below 2^53, which float64 holds exactly; its matrix product is the fast one."""
Indices = NDArray[Any]
"""Whole numbers that say which."""

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


WITHHELD = PaneKey(0, 0)
"""No slice of time: answers that are counted, and withheld until there are five (`staff`)."""


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
    return key != WITHHELD and key.start_ms + grain.ms <= event_clock_ms - keep_ms(grain, horizon_ms)


def by_pane(slices: Mapping[int, Counts]) -> Iterator[tuple[PaneKey, Counts]]:
    """Counts by the start of their short slice, as panes of either grain."""
    long: dict[int, Counts] = {}
    for start, held in slices.items():
        counts = dict(held)
        yield PaneKey(SHORT.ms, start), counts
        merge_into(long.setdefault(LONG.start_of(start), {}), counts)
    for start, counts in long.items():
        yield PaneKey(LONG.ms, start), counts


class PaneTally(Protocol):
    """Counts a run; `add` returns the experiences that each was bad for."""

    def add(self, events: Sequence[Any], times_ms: Sequence[int], /) -> list[tuple[str, ...]]: ...

    def panes(self) -> Iterator[tuple[PaneKey, Counts]]: ...


NewTally = Callable[[], PaneTally]


_DURATION = bucket_names("duration")
_WAIT = bucket_names("wait")
_BOUNDS_S = np.array(BOUNDS_S)
_SHORT_MS = SHORT.ms
_MEASURED = attrgetter("outcome", "duration_s", "wait_s", "system_wait_s", "score")


class Tally:
    """Counts of events by 10 s slice, a run of events at a time: far cheaper than event by event.

    A column of the run holds one field of all its events. Amounts are whole ms that float64 adds exactly: a
    run of 4,000 events, each of the 30 years that an event may take at most, stays below 2^53.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._slices: defaultdict[int, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, events: Sequence[Event], times_ms: Sequence[int]) -> list[tuple[str, ...]]:
        """Count a run of events, each with its time; returns the experiences that each was bad for."""
        at_ms = np.array(times_ms, dtype=np.int64)
        starts, places = np.unique(at_ms - at_ms % _SHORT_MS, return_inverse=True)
        run = _Run([self._slices[start] for start in starts.tolist()], places)
        verdicts = self._judge.judge_all(events)
        for (place, verdict), n in Counter(zip(places.tolist(), verdicts, strict=True)).items():
            counts = run.slices[place]
            for name in verdict.counters:
                counts[name] += n
            for name in verdict.spread:
                counts[name] += n
        outcomes, *seconds, scores = zip(*map(_MEASURED, events), strict=True)
        self._measure(run, outcomes, *(np.array(column, dtype=np.float64) for column in seconds))
        if any(scores):
            for place, event in zip(places.tolist(), events, strict=True):
                if (answer := self._judge.answer(event)) is not None:
                    run.slices[place][answer] += 1
        return [verdict.bad_for for verdict in verdicts]

    def _measure(
        self, run: "_Run", outcomes: Sequence[str], duration_s: Numbers, wait_s: Numbers, tool_s: Numbers
    ) -> None:
        """Histograms and sums of what took how long; an event that does not tell has no number there."""
        lasted = np.flatnonzero(~np.isnan(duration_s))
        if lasted.size:
            run.count(_DURATION, lasted, np.searchsorted(_BOUNDS_S, duration_s[lasted]))
            run.sum("duration_ms", lasted, _ms(duration_s[lasted]))
            with_tool = lasted[~np.isnan(tool_s[lasted])]
            run.sum("tool_of_ms", with_tool, _ms(duration_s[with_tool]))
            run.sum("tool_ms", with_tool, _ms(tool_s[with_tool]))
        waited = np.flatnonzero(~np.isnan(wait_s))
        if waited.size:
            run.count(_WAIT, waited, np.searchsorted(_BOUNDS_S, wait_s[waited]))
            run.sum("wait_ms", waited, _ms(wait_s[waited]))
            by_outcome: defaultdict[str, list[int]] = defaultdict(list)
            for number in waited.tolist():
                by_outcome[outcomes[number]].append(number)
            for outcome, numbers in by_outcome.items():
                waits, waits_ms = self._judge.waits[outcome]
                ended = np.array(numbers)
                run.count((waits,), ended, np.zeros_like(ended))
                run.sum(waits_ms, ended, _ms(wait_s[ended]))

    def panes(self) -> Iterator[tuple[PaneKey, Counts]]:
        """The counts by pane of either grain."""
        return by_pane(self._slices)


@dataclass(frozen=True, slots=True)
class _Run:
    """The slices that a run of events falls into, and which of them each event is in."""

    slices: list[defaultdict[str, int]]
    places: Indices

    def count(self, names: Sequence[str], events: Indices, which: Indices) -> None:
        """Add 1 to the counter that `which` says, for each of these events."""
        counted = np.bincount(self.places[events] * len(names) + which)
        for cell in np.flatnonzero(counted).tolist():
            place, name = divmod(cell, len(names))
            self.slices[place][names[name]] += int(counted[cell])

    def sum(self, name: str, events: Indices, amounts: Numbers) -> None:
        """Add an amount for each of these events."""
        for place, amount in enumerate(np.bincount(self.places[events], weights=amounts).tolist()):
            if amount:
                self.slices[place][name] += int(amount)


def _ms(seconds: Numbers) -> Numbers:
    """Whole ms; a half goes to the even one, as `round` does."""
    return np.rint(seconds * 1000)
