"""How bad is too bad, for one experience: limits computed from its target, exact, valid for loose ones too.

A limit is crossed when the bad ratio reaches it in every one of its windows, and in the first of them n, bad
and the Wilson lower bound say that this is no chance. Each works on numbers and, element by element, on
arrays of numbers.

Burn rates: Google SRE workbook, "Alerting on SLOs"; its 14.4 can never be reached below a target of 93.1 %,
so the pairs depend on the target. They guard the budget and are slow for people: fast limits stand before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from monitor.counting.measures import Share, Z, wilson_lower
from monitor.counting.windows import WINDOW_LABELS

MIN_N = 30
"""With fewer events even all of them bad may be chance or a handful of customers."""

SLOW_MIN_BAD = 5
"""The bound alone is sure of 1 bad in 30 at a target of 99.9 %, of 2 at 99 %: that wakes nobody."""

FAST_MIN_BAD = 10
"""A number that people believe. Since `FAST_Z` it decides nothing: the bound asks for 11 of any 30."""

FAST_LONG_MIN_BAD = 15
"""In five minutes of a small segment ten bad ones are chance about once a month: the bound is too sure of
itself where few are bad."""

FAST_Z = Decimal("4.5")
"""Fast limits are asked every few seconds, of every segment of every experience: at 1.96, wrong once in 40
tries, a healthy month had hundreds of false pages (`tests/bench/alert_quality.py`)."""

OUTAGE_POINTS, OUTAGE_SURE = Decimal("0.30"), Decimal("0.10")
"""Points over what is allowed, of the ratio and of its bound. The bound decides: at 0 points over, three
healthy months had 7 false pages instead of none (`tests/bench/alert_quality.py`); 10 or 50 points of the
ratio change nothing there, 30 are what people call an outage."""

FAST_POINTS = Decimal("0.10")
"""At 5 points, three healthy months had 3 false pages, at 10 none (`tests/bench/alert_quality.py`); 20 % bad
at a target of 98 % is told in three minutes on a busy stage."""


def _beyond(allowed: Decimal, points: Decimal) -> Decimal:
    """So many points over what is allowed, but at most half way from there to all: a loose target can be
    missed too."""
    return min(allowed + points, (1 + allowed) / 2)


Burn = tuple[str, str, str]
"""A burn rate, its long window, its short window."""

PAGES: tuple[tuple[Decimal, tuple[Burn, ...]], ...] = (
    (Decimal("0.97"), (("14.4", "1h", "5m"), ("6", "6h", "30m"))),
    (Decimal("0"), (("6", "6h", "30m"),)),
)
TICKETS: tuple[tuple[Decimal, tuple[Burn, ...]], ...] = (
    (Decimal("0.93"), (("3", "1d", "2h"), ("1", "3d", "6h"))),
    (Decimal("0"), (("1.5", "1d", "2h"),)),
)
"""By the least target they are for."""

HALF = Decimal("0.5")
"""Half of all customers served badly for hours is a page, however loose the target."""

TRICKLE = (("1d", 4 * MIN_N), ("7d", 7 * MIN_N))
"""A window, and the n below which its fourth (6h) or seventh (1d) part holds fewer than MIN_N on average: a
stage this quiet is judged by the wider window. Asking how much the narrow one holds now would call every
stage quiet at night."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Too much bad in all of `windows`; the first, longest one holds enough to be sure, to the degree of `z`.

    In each the bad ratio is at least `bad_ratio`; in the first, Wilson's lower bound is more than `sure`.
    With as many as `max_n` events in it, narrower limits apply instead.
    """

    windows: tuple[str, ...]
    bad_ratio: Decimal
    sure: Decimal
    min_bad: int
    z: Decimal = Z
    min_n: int = MIN_N
    max_n: int | None = None

    @property
    def window(self) -> str:
        """The window whose n, bad and bound are looked at."""
        return self.windows[0]

    def crossed(self, shares: Mapping[str, Share]) -> Any:
        """Whether the shares, by window label, cross the limit: a truth value, or an array of them."""
        gate = shares[self.window]
        crossed = (
            (gate.n >= self.min_n)
            & (gate.bad >= self.min_bad)
            & (wilson_lower(gate.bad, gate.n, self.z) > float(self.sure))
        )
        for window in self.windows:
            crossed = crossed & (
                shares[window].bad / np.maximum(shares[window].n, 1) >= float(self.bad_ratio)
            )
        if self.max_n is not None:
            crossed = crossed & (gate.n < self.max_n)
        return crossed


@cache
def fast_limits(target: Decimal) -> tuple[Limit, ...]:
    """Fast enough for a customer: an outage shows in 20 s on a busy stage, else in a minute, 10 points over
    what is allowed in five."""
    allowed = 1 - target
    outage, sure = _beyond(allowed, OUTAGE_POINTS), _beyond(allowed, OUTAGE_SURE)
    return (
        Limit(("20s",), outage, sure, FAST_MIN_BAD, FAST_Z),
        Limit(("1m",), outage, sure, FAST_MIN_BAD, FAST_Z),
        Limit(("5m", "1m"), _beyond(allowed, FAST_POINTS), allowed, FAST_LONG_MIN_BAD, FAST_Z),
    )


def _burn_limits(target: Decimal, table: tuple[tuple[Decimal, tuple[Burn, ...]], ...]) -> tuple[Limit, ...]:
    allowed = 1 - target
    burns = next(burns for least, burns in table if target >= least)
    return tuple(
        Limit((long, short), min(Decimal(burn) * allowed, HALF), allowed, SLOW_MIN_BAD)
        for burn, long, short in burns
    )


@cache
def budget_limits(target: Decimal) -> tuple[Limit, ...]:
    """What burns the budget fast enough to wake somebody up."""
    return _burn_limits(target, PAGES)


@cache
def page_limits(target: Decimal) -> tuple[Limit, ...]:
    """What wakes somebody up: the fast limits and those that burn the budget fast."""
    return (*fast_limits(target), *budget_limits(target))


PAGE_WINDOWS = tuple(limit.window for limit in page_limits(PAGES[0][0]))
"""The windows in which a stage can be so bad that it pages; the strictest targets use them all."""


FAST_WINDOWS = tuple(limit.window for limit in fast_limits(PAGES[0][0]))
"""Windows that hold hardly anything of an incident that has ended: they alone begin a page soon after."""


def outage_ratio(target: Decimal) -> Decimal:
    """The bad ratio of an outage, by Wilson's bound: it begins a page at any time, however short ago another
    ended. Of the ratio itself, where 30 % are bad one minute in twenty would be one by chance."""
    return fast_limits(target)[0].bad_ratio


@cache
def ticket_limits(target: Decimal) -> tuple[Limit, ...]:
    """What must be mended in working hours; the last are for what is too quiet for any other limit."""
    allowed = 1 - target
    trickle = (Limit((window,), allowed, allowed, SLOW_MIN_BAD, max_n=max_n) for window, max_n in TRICKLE)
    return (*_burn_limits(target, TICKETS), *trickle)


PAGE_RECOVERY, TICKET_RECOVERY = ("5m", "30m", "2h", "6h"), ("1d", "3d", "7d")
"""Windows by which an alert is over, the narrowest first. A ticket is over after a day on target."""


SURELY_BETTER = 3 * float(Z)
"""Deviations of chance. At four a month of real calls had 17 pages instead of 15: a queue that jams has good
minutes too."""


class Bound(NamedTuple):
    """The bad ratio p of n events is below `ratio` by so much: `(ratio - p) * sqrt(n) > spread`.

    With a spread of `z * sqrt(ratio * (1 - ratio))` Wilson's upper bound is below it (the score test, 1927).
    """

    ratio: Decimal
    spread: Decimal


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is surely over: the bad ratio is within all `bounds`, in the narrowest window that can tell. The
    narrowest need only be surely `better` than the next."""

    windows: tuple[str, ...]
    """From the narrowest on, each is asked while none before holds `tells` events or is bad."""
    allowed: Decimal
    bounds: tuple[Bound, ...]
    tells: int
    """With so many events a stage exactly on its target is within the bounds, one at its limit far off."""

    min_n = MIN_N
    gone_n = MIN_N // 2
    """With fewer events in the widest window nothing is said any more, and the alert is over. Half of what a
    limit needs: an n around `MIN_N` would end it and begin it anew."""

    @property
    def ratio(self) -> Decimal:
        """The least of the bounds' ratios."""
        return self.bounds[0].ratio

    @property
    def widest(self) -> str:
        """The window that is asked last: there it is enough that no more are bad than allowed."""
        return self.windows[-1]

    def within(self, limit: Limit) -> tuple[str, ...]:
        """Those narrower than the long window of a pair. If one of them was surely below within the short
        window, the incident is over although the long one still holds it: the pair is not crossed. None for
        tickets, and for a limit of one window."""
        if not self.bounds[0].spread or len(limit.windows) == 1:
            return ()
        inside = WINDOW_LABELS[: WINDOW_LABELS.index(limit.window)]
        return tuple(one for one in self.windows if one in inside)

    @property
    def contrast(self) -> tuple[str, str] | None:
        """The two narrowest windows, if the first is over when it is surely `better` too; not for tickets."""
        return (self.windows[0], self.windows[1]) if self.bounds[0].spread else None

    def below(self, shares: Mapping[str, Share], window: str) -> Any:
        """Whether a window is surely below, or `better`: a truth value, or an array of them."""
        share = shares[window]
        p, root = share.bad / np.maximum(share.n, 1), np.sqrt(share.n)
        found = share.n >= self.min_n
        for bound in self.bounds:
            found = found & ((float(bound.ratio) - p) * root > float(bound.spread))
        if self.contrast and window == self.contrast[0]:
            found = found | self.better(share, shares[self.contrast[1]])
        return found

    def better(self, last: Share, wider: Share) -> Any:
        """Whether in the last minutes no more was bad than allowed, and so few of the wider by no chance.

        In n events drawn from N, a part p of them bad, the bad ratio has variance p * (1 - p) * (1/n - 1/N).
        """
        n, wide_n = np.maximum(last.n, 1), np.maximum(wider.n, 1)
        p, wide_p = last.bad / n, wider.bad / wide_n
        spread = np.sqrt(wide_p * (1 - wide_p) * (1 / n - 1 / wide_n))
        return (last.n >= self.gone_n) & (p <= float(self.allowed)) & (wide_p - p > SURELY_BETTER * spread)

    def bad(self, share: Share) -> Any:
        """Whether one window is still bad: then no wider one says that all is over."""
        return (share.n >= self.min_n) & (share.bad / np.maximum(share.n, 1) > float(self.ratio))

    def over(self, shares: Mapping[str, Share]) -> Any:
        """Whether the shares, by window label, say that it is over."""
        widest = shares[self.widest]
        found = widest.n < self.gone_n
        is_asked: Any = np.ones_like(found)
        for window in self.windows:
            share = shares[window]
            found = found | (is_asked & self.below(shares, window))
            if window == self.widest:
                is_allowed = share.bad / np.maximum(share.n, 1) <= float(self.allowed)
                found = found | (is_asked & is_allowed)
            is_asked = is_asked & (share.n < self.tells) & ~self.bad(share)
        return found


STOPPED_IN, STOPPED_OF = ("1h", "2h", "6h"), "1d"
"""Windows in which next to nothing bad may come any more, and the window that says how much came before."""

STOPPED_EXPECTED, STOPPED_OVER = Decimal(10), Decimal("0.2")
"""Where ten are expected, one or none comes once in 2,000 times by chance (Poisson). One may come: what was
begun before the mend ends after it."""


def stopped(bad: Mapping[str, Any], came: Mapping[str, Any]) -> Any:
    """Whether next to nothing bad comes any more, of the bad and of all journeys that were over by window
    label: a truth value, or an array of them.

    Expected is what a day says of as many journeys: at night, when few are over, little is.
    """
    found: Any = False
    for window in STOPPED_IN:
        expected = bad[STOPPED_OF] / np.maximum(came[STOPPED_OF], 1) * came[window]
        is_few = bad[window] < float(STOPPED_OVER) * expected
        found = found | (is_few & (expected >= float(STOPPED_EXPECTED)))
    return found


def page_recovery(target: Decimal, limits: tuple[Limit, ...]) -> Recovery:
    """A page is over half way from the least of its limits to what is allowed.

    Any nearer to the limit a stage that lingers just below it ends and begins anew: at two thirds of the way
    the benchmark's incidents had 1.11 pages, at half 1.03 (`tests/bench/alert_quality.py`). With `tells`
    events the limit itself is twice as far away. Fewer must lie as far from it, for it is asked all the time:
    without that, two days at exactly a limit were up to 9 pages.
    """
    allowed = 1 - target
    beyond = [limit.bad_ratio for limit in limits if limit.bad_ratio > allowed]  # burn rates of 100 % are 0
    least = min(beyond, default=_beyond(allowed, Decimal(1)))  # journeys, of which most may miss their goal
    half = (least - allowed) / 2
    ratio = allowed + half
    spread = round(Z * (ratio * (1 - ratio)).sqrt(), 6)
    bounds = Bound(ratio, spread), Bound(least, 2 * spread)
    return Recovery(PAGE_RECOVERY, allowed, bounds, round((spread / half) ** 2))


def ticket_recovery(target: Decimal) -> Recovery:
    """A ticket's limit is the target itself, and a stage that just meets it is never surely below. So a
    longer good spell ends it: a day no worse than allowed, or three or seven where a day holds too few."""
    return Recovery(TICKET_RECOVERY, 1 - target, (Bound(1 - target, Decimal(0)),), MIN_N)
