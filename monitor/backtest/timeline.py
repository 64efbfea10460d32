"""One stage at the end of every 10 s slice of a span of time: what windows hold, which limits are crossed."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.backtest.history import StageHistory
from monitor.backtest.masks import Mask, held_on
from monitor.counting.measures import Share, wilson_lower
from monitor.counting.panes import SHORT
from monitor.counting.windows import WINDOWS
from monitor.journey_file.hours import MINUTE_MS, expected, is_open
from monitor.journey_file.model import ALL, WHOLE, Stage
from monitor.rules import critical
from monitor.rules.journeys import GOAL
from monitor.rules.limits import FAST_WINDOWS, STOPPED_IN, STOPPED_OF, outage_ratio, stopped
from monitor.rules.plan import (
    EXPLAINS_S,
    HOLD_S,
    NEW_S,
    SETTLE_S,
    SETTLED,
    SILENT_EXPECTED,
    SILENT_OVER,
    SILENT_WINDOWS,
    SURE_S,
    Plan,
    Quality,
    Severity,
    severities,
)

HOLD: dict[Severity, int] = {severity: seconds * 1000 // SHORT.ms + 1 for severity, seconds in HOLD_S.items()}
"""Slices, the present one among them, in which a reason keeps an alert going."""

EXPLAINS = EXPLAINS_S * 1000 // SHORT.ms + 1
"""Slices, the present one among them, in which a stage in trouble explains others."""

AGAIN = NEW_S * 1000 // SHORT.ms + 1
"""Slices after the end of a page in which only an outage begins another."""

SURE = SURE_S * 1000 // SHORT.ms + 1
"""Slices, the present one among them, for which the narrowest window says that an alert is over."""

WITHIN = 1_800_000 // SHORT.ms + 1
"""Slices of the widest short window of a page, in which what was over still is (`Recovery.within`)."""

BEFORE = WITHIN + 2 * HOLD["ticket"] + HOLD["page"] + EXPLAINS
"""Slices before a moment that decide about it: a ticket's reason is none under a page, which is held, and has
no reason itself while another stage explains it. Of whole journeys it is none where what was bad has stopped,
which is held as long."""

WEEK = 7 * 86_400_000 // SHORT.ms
LOOKBACK = WEEK + 86_400_000 // SHORT.ms + BEFORE
"""Slices before a moment that a rule may look at: a day's window, a week ago, while an alert goes on."""

MINUTE = MINUTE_MS // SHORT.ms
"""Slices of a minute, within which a rhythm is even and a stage open or closed."""

WINDOW = {window.label: window for window in WINDOWS}

Judged = tuple[str, Severity, str]
"""An experience, a severity, a segment or what takes its place."""
Moments = NDArray[np.int64]


def end_ms(number: int) -> int:
    """The moment at which a slice ends and rules are asked."""
    return (number + 1) * SHORT.ms


def reach(label: str, at: Any) -> tuple[Any, Any]:
    """The slices that a window adds up at the end of slice `at`: from the one up to the other."""
    window = WINDOW[label]
    grain = window.grain.ms // SHORT.ms
    return at - at % grain + grain - window.ms // SHORT.ms, at + 1


class Slices(NamedTuple):
    """From slice `start` up to `end`. What was before `since` nobody saw: that is no silence."""

    start: int
    end: int
    since: int


class StageSpan:
    """Whether limits are crossed, and the stage silent, at the end of each slice from `BEFORE` slices before
    the first up to the last."""

    def __init__(
        self, plan: Plan, stage: Stage, held: StageHistory, slices: Slices, weighs: Mask | None = None
    ) -> None:
        start, end, self._since = slices
        self.stage = stage
        self._journey = plan.journey
        self._held = held
        self._from = start - LOOKBACK
        self._at = np.arange(start - BEFORE, end)
        self._sums = held.running_sums(self._from, end)
        self._expected: NDArray[np.float64] | None = None
        self.crossed: dict[Judged, dict[str, Mask]] = {}
        self.over: dict[Judged, Mask] = {}
        self.bad: dict[Judged, Mask] = {}
        """Whether the narrowest window of its recovery still is."""
        self._stops = {one.experience.name for one in plan.watched if one.stops and stage.name == WHOLE}
        self._outage: dict[Judged, dict[str, Mask]] = {}
        """Where a limit is crossed by so much that it begins a page at any time."""
        self.begins = np.ones(len(self._at), dtype=bool)
        """Whether less may begin a page: where none has ended lately."""
        self._judge([rule for rule in plan.qualities if rule.stage.name == stage.name])
        self._critical = np.zeros(len(self._at), dtype=bool) if weighs is None else weighs & self._settled()
        # What pages only because the stage is critical goes on for days, and explains nothing.
        self._drags = self._any(
            mask
            for (_, severity, segment), crossed in self.crossed.items()
            if (severity, segment) == ("page", ALL)
            for mask in crossed.values()
        )
        self._raise()
        self.is_open = self._open()
        self.silent = np.zeros(len(self._at), dtype=bool) if stage.name == WHOLE else self._silent()

    def critical(self, stage: str) -> Mask:
        """Of whole journeys: whether a stage is critical at the end of each slice."""
        cells = (self._window(self._sums[row], critical.WINDOW) for row in self._held.critical[stage])
        return np.asarray(critical.is_critical(*cells))

    def trouble(self) -> Mask:
        """Whether the stage explains the trouble of those that depend on it."""
        return held_on(self.silent | self._drags, EXPLAINS)

    def reason(self, about: Judged) -> Mask:
        """Whether the limit of any window is crossed, and may begin an alert."""
        return self._any(self._reason(about, window) for window in self.crossed[about])

    def reasons_at(self, about: Judged, at: int) -> list[str]:
        """The windows of which that is so at the end of slice `at`."""
        now = at - int(self._at[0])
        return [window for window in self.crossed[about] if self._reason(about, window)[now]]

    def _reason(self, about: Judged, window: str) -> Mask:
        crossed = self.crossed[about][window]
        if about[1] != "page":
            return crossed
        return (crossed & self.begins) | self._outage.get(about, {}).get(window, False)

    def pages(self) -> Mask:
        """Whether the limit of a page is crossed."""
        return self._any(
            crossed
            for (_, severity, _), by_window in self.crossed.items()
            for crossed in by_window.values()
            if severity == "page"
        )

    def share(self, experience: str, segment: str, label: str, at: int) -> Share:
        """Good and bad in the window at the end of slice `at`."""
        good, bad = (
            sum(self.count(row, label, at) for row in _rows(rows, experience, segment))
            for rows in (self._held.good, self._held.bad)
        )
        return Share(good, bad)

    def top_reason(self, label: str, at: int) -> str | None:
        """The most frequent reason of bad events of the stage."""
        return _most({reason: self.count(row, label, at) for reason, row in self._held.reasons.items()})

    def hit_most(self, experience: str, label: str, at: int) -> str | None:
        """The segment with most bad events."""
        rows = self._held.bad.items()
        return _most({segment: self.count(row, label, at) for (of, segment), row in rows if of == experience})

    def quiet(self, at: int, partner: str) -> tuple[float, str]:
        """Of the windows at the end of slice `at` in which the stage is silent, or a partner if one is named,
        the narrowest, and how much it expected."""
        moment = np.array([at])
        found = ((label, *self._due_and_came(label, moment, partner)) for label in SILENT_WINDOWS)
        return next(
            (float(due[0]), label)
            for label, due, came in found
            if self._is_silent(label, moment, due, came)[0]
        )

    def since_last_s(self, at: int) -> int | None:
        """Seconds from the last slice with an event to the end of slice `at`; None if it is too long ago."""
        came = self._sums[self._held.events, : at + 2 - self._from]
        first = int(np.searchsorted(came, came[-1]))  # slices before the first that has all that came
        return (at + 1 - self._from - first) * SHORT.ms // 1000 if first else None

    def count(self, row: int, label: str, at: int) -> int:
        """A counter's sum over a window at the end of slice `at`."""
        first, end = reach(label, at)
        return int(self._sums[row, end - self._from] - self._sums[row, first - self._from])

    def stopped(self, experience: str, segment: str) -> Mask:
        """Whether next to nothing of an experience is bad any more, or was lately."""
        if experience not in self._stops:
            return np.zeros(len(self._at), dtype=bool)
        bad, came = _rows(self._held.bad, experience, segment), [self._held.events]
        sums = (self._sums[rows].sum(axis=0) for rows in (bad, came))
        by_window = ({w: self._window(one, w) for w in (*STOPPED_IN, STOPPED_OF)} for one in sums)
        return held_on(np.asarray(stopped(*by_window)), HOLD["ticket"])

    def _raise(self) -> None:
        """What would open a ticket on a critical stage is a page."""
        if "page" in severities(self.stage):
            for (experience, severity, segment), crossed in list(self.crossed.items()):
                if severity == "ticket":
                    page = experience, severities(self.stage)[0], segment
                    raised = {window: mask & self._critical for window, mask in crossed.items()}
                    self.crossed[page] = self.crossed.get(page, {}) | raised
                    over = self.over[experience, severity, segment]
                    self.over[page] = np.where(self._critical, over, self.over.get(page, True))

    def _judge(self, rules: Iterable[Quality]) -> None:
        by_segment: dict[tuple[str, str], list[Quality]] = {}
        for rule in rules:
            groups = (group for of, group in self._held.bad if of == rule.experience.name)
            for segment in rule.segments or groups:
                by_segment.setdefault((rule.experience.name, segment), []).append(rule)
        for (experience, segment), held_to in by_segment.items():
            windows = {w for rule in held_to for limit in rule.limits for w in limit.windows}
            windows |= {w for rule in held_to if rule.recovery for w in rule.recovery.windows}
            shares, is_over = self._shares(experience, segment, windows), self.stopped(experience, segment)
            for rule in held_to:
                outage = float(outage_ratio(rule.target))
                about = experience, rule.severity, segment
                crossed = {w: on & ~is_over for w, on in self._crossed(rule, shares).items()}
                self.crossed[about] = crossed
                self._outage[about] = {
                    window: crossed[window] & (wilson_lower(shares[window].bad, shares[window].n) >= outage)
                    for window in FAST_WINDOWS
                    if window in crossed
                }
                self.over[about] = self._over(rule, shares)
                if shares and rule.recovery is not None:
                    self.bad[about] = rule.recovery.bad(shares[rule.recovery.windows[0]])

    def _any(self, masks: Iterable[Mask]) -> Mask:
        found = np.zeros(len(self._at), dtype=bool)
        for mask in masks:
            found |= mask
        return found

    def _over(self, rule: Quality, shares: Mapping[str, Share]) -> Mask:
        """Whether what a rule tells is: the narrowest window says so for a minute, or others for a while."""
        if not shares or rule.recovery is None:
            return np.ones(len(self._at), dtype=bool)
        is_sure = ~held_on(~rule.recovery.below(shares, rule.recovery.windows[0]), SURE)
        return np.asarray(is_sure | ~held_on(~rule.recovery.over(shares), HOLD["page"]))

    def _crossed(self, rule: Quality, shares: Mapping[str, Share]) -> dict[str, Mask]:
        """Whether the limits of a rule are, by window."""
        found: dict[str, Mask] = {}
        for limit in rule.limits if shares else ():
            crossed = np.zeros(len(self._at), dtype=bool)
            at = np.flatnonzero(shares[limit.window].bad >= limit.min_bad)
            crossed[at] = limit.crossed({w: _at(shares[w], at) for w in limit.windows})
            if rule.recovery is not None and crossed.any():
                for window in rule.recovery.within(limit):
                    edge = WINDOW[limit.windows[-1]].ms // SHORT.ms + 1
                    crossed &= ~held_on(rule.recovery.below(shares, window), edge)
            if self.stage.name == WHOLE and rule.experience.name == GOAL:
                crossed &= self._settled()
            found[limit.window] = found.get(limit.window, False) | crossed
        return found

    def _settled(self) -> Mask:
        came = self._sums[self._held.events]
        return np.asarray(self._window(came, SETTLED[0]) > self._window(came, SETTLED[1]))

    def _shares(self, experience: str, segment: str, windows: set[str]) -> dict[str, Share]:
        """Good and bad by window; nothing when nothing was bad."""
        good, bad = (
            self._sums[_rows(rows, experience, segment)].sum(axis=0, dtype=np.int64)
            for rows in (self._held.good, self._held.bad)
        )
        if not bad[-1]:
            return {}
        return {label: Share(self._window(good, label), self._window(bad, label)) for label in windows}

    def _window(self, sums: NDArray[Any], label: str, at: Moments | None = None) -> Any:
        first, end = reach(label, self._at if at is None else at)
        return sums[end - self._from] - sums[first - self._from]

    def _silent(self) -> Mask:
        silent = np.zeros(len(self._at), dtype=bool)
        for label in SILENT_WINDOWS:
            nothing = np.flatnonzero(self._window(self._sums[self._held.events], label) == 0)
            if not len(nothing):
                break
            at = self._at[nothing]
            silent[nothing] |= self._is_silent(label, at, *self._due_and_came(label, at))
        return silent & self.is_open

    def still_silent(self, partner: str = "") -> Mask:
        """Whether next to nothing has come in the window that expects least of those that expect enough; of
        a partner, if one is named."""
        found, least = np.zeros(len(self._at), dtype=bool), np.full(len(self._at), np.inf)
        for label in SILENT_WINDOWS:
            due, came = self._due_and_came(label, self._at, partner)
            tells = (due >= float(SILENT_EXPECTED)) & (due < least)
            found = np.where(tells, came < float(SILENT_OVER) * due, found)
            least = np.where(tells, due, least)
        return found

    def partners_silent(self) -> dict[str, Mask]:
        """By partner whether nothing came of it, though others' events did."""
        found = dict.fromkeys(self.stage.partners, np.zeros(len(self._at), dtype=bool))
        for label in SILENT_WINDOWS if found else ():
            for partner, (due, came) in self._of_partners_due(label, self._at).items():
                found[partner] = found[partner] | self._is_silent(label, self._at, due, came)
        return {partner: mask & self.is_open for partner, mask in found.items()}

    def _is_silent(self, label: str, at: Moments, due: Any, came: Any) -> Mask:
        return np.asarray((came == 0) & (due >= float(SILENT_EXPECTED)) & self._is_seen(label, at))

    def _due_and_came(self, label: str, at: Moments, partner: str = "") -> tuple[Any, Any]:
        """How many events the windows at the end of these slices should have, and how many they have."""
        if partner:
            return self._of_partners_due(label, at)[partner]
        return self._due(label, at), self._window(self._sums[self._held.events], label, at)

    def _of_partners_due(self, label: str, at: Moments) -> dict[str, tuple[Any, Any]]:
        """The same by partner; written as `series.partner_silent` is, operation by operation."""
        now, then = (self._of_partners(label, moments) for moments in (at, at - WEEK))
        all_now, all_then, least = sum(now.values()), sum(then.values()), float(SILENT_EXPECTED)
        return {
            one: (np.where(then[one] >= least, then[one] / np.maximum(all_then, 1) * all_now, 0), now[one])
            for one in self.stage.partners
        }

    def _of_partners(self, label: str, at: Moments) -> dict[str, NDArray[np.int64]]:
        """Events by partner, of the experience that judges most."""
        found: dict[str, NDArray[np.int64]] = {}
        for (_, partner), row in self._held.partners.items():
            came = self._window(self._sums[row], label, at)
            found[partner] = np.maximum(found.get(partner, came), came)
        return found

    def _is_seen(self, label: str, at: Moments) -> Mask:
        return np.asarray((at - self._since + 1) * SHORT.ms >= WINDOW[label].ms + SETTLE_S * 1000)

    def _open(self) -> Mask:
        """Whether the stage is, at the end of each slice."""
        if not self.stage.hours:
            return np.ones(len(self._at), dtype=bool)
        first, last = int(self._at[0]) // MINUTE, int(self._at[-1]) // MINUTE
        minutes = range(first, last + 1)
        by_minute = [is_open(self._journey, self.stage, minute * MINUTE_MS) for minute in minutes]
        return np.array(by_minute)[self._at // MINUTE - first]

    def _due(self, label: str, at: Moments) -> NDArray[np.float64]:
        """How many events the windows at the end of these slices should have."""
        due: NDArray[np.float64]
        if self.stage.per_hour is None:
            due = self._window(self._sums[self._held.events], label, at - WEEK).astype(np.float64)
        else:
            if self._expected is None:
                self._expected = self._rhythm()
            due = self._window(self._expected, label, at)
        return due

    def _rhythm(self) -> NDArray[np.float64]:
        """Events expected in all slices before each."""
        first, end = self._from // MINUTE, int(self._at[-1]) // MINUTE + 1
        by_minute = [
            expected(self._journey, self.stage, minute * MINUTE_MS, (minute + 1) * MINUTE_MS)
            for minute in range(first, end)
        ]
        by_slice = np.repeat(np.array(by_minute) / MINUTE, MINUTE)[self._from - first * MINUTE :]
        return np.concatenate(([0.0], np.cumsum(by_slice)))


def _at(share: Any, at: Moments) -> Share:
    """Of the arrays of a share those moments."""
    return Share(share.good[at], share.bad[at])


def _rows(rows: Mapping[tuple[str, str], int], experience: str, segment: str) -> list[int]:
    """The counters of an experience, of one segment or of all."""
    return [row for (of, one), row in rows.items() if of == experience and segment in (ALL, one)]


def _most(counts: Mapping[str, int]) -> str | None:
    most = max(counts, key=lambda name: counts[name])
    return most if counts[most] else None
