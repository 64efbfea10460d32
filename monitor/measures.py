"""Numbers from counts. No events means no opinion (`None`), never 100 %; an experience is never averaged.

Formulas: Google SRE workbook "Implementing SLOs" (good / valid events); Wilson 1927 (score interval).
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from math import sqrt
from typing import NamedTuple

Z = 1.96
"""Two-sided 95 %: a rule that is certain to this degree is wrong once in 40 tries by chance alone."""


class Share(NamedTuple):
    """How many of the judged events were good."""

    good: int
    bad: int

    @property
    def n(self) -> int:
        return self.good + self.bad

    @property
    def quality(self) -> float | None:
        return self.good / self.n if self.n else None

    def attainment(self, target: Decimal) -> float | None:
        """Quality against target: 1 or more meets it."""
        return None if self.quality is None else self.quality / float(target)


def wilson_lower(bad: int, n: int) -> float:
    """Lower bound of the true bad ratio given `bad` of `n`; 0 when none was bad."""
    if bad == 0:
        return 0.0
    p = bad / n
    centre = p + Z * Z / (2 * n)
    spread = Z * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return (centre - spread) / (1 + Z * Z / n)


class State(StrEnum):
    """What a stage or an experience looks like now."""

    QUIET = "quiet"
    GOOD = "good"
    BELOW = "below"
    DEGRADED = "degraded"


@dataclass(frozen=True, slots=True)
class FastRule:
    """A page that is fast enough for a customer: bad in a short window, and beyond chance.

    Fires when in `window` (and, if given, in `confirm`) the bad ratio is at least (1 - target) + `points`,
    and in `window` n and bad reach their minimum and the Wilson lower bound exceeds (1 - target) + `sure`.
    """

    window: str
    confirm: str | None
    points: float
    sure: float
    min_n: int = 30
    min_bad: int = 10

    def fires(self, shares: dict[str, Share], target: Decimal) -> bool:
        """Whether the rule fires on shares by window label."""
        allowed = float(1 - target)
        seen = shares[self.window]
        if seen.n < self.min_n or seen.bad < self.min_bad:
            return False
        if wilson_lower(seen.bad, seen.n) <= allowed + self.sure:
            return False
        at_least = round(allowed + self.points, 9)  # 0.02 + 0.1 is above 0.12 in binary
        return all(
            shares[window].n and shares[window].bad / shares[window].n >= at_least
            for window in (self.window, self.confirm)
            if window is not None
        )


FAST_RULES = (
    FastRule(window="20s", confirm=None, points=0.30, sure=0.10),
    FastRule(window="1m", confirm=None, points=0.30, sure=0.10),
    FastRule(window="5m", confirm="1m", points=0.10, sure=0.0),
)
"""Outage (a busy stage shows it within 20 s, others within a minute) and fast page: 20 % failures at a
target of 98 % cross the third after about 3 minutes."""

HEADLINE_WINDOWS = ("1m", "5m", "1h")
"""The headline figure comes from the shortest of these that holds enough events, otherwise the longest."""

HEADLINE_MIN_N = 30

BELOW_MIN_N = 10
"""Three failures of three exceed any target with certainty, and yet say little."""


def headline_window(shares: dict[str, Share]) -> str:
    """The window whose quality is shown as the present one."""
    return next((w for w in HEADLINE_WINDOWS if shares[w].n >= HEADLINE_MIN_N), HEADLINE_WINDOWS[-1])


def state(shares: dict[str, Share], target: Decimal) -> State:
    """The state of one experience from its shares by window label.

    `below` means below target beyond chance (Wilson), so that a healthy stage does not flicker.
    """
    if any(rule.fires(shares, target) for rule in FAST_RULES):
        return State.DEGRADED
    share = shares[headline_window(shares)]
    if share.n == 0:
        return State.QUIET
    certain = share.n >= BELOW_MIN_N and wilson_lower(share.bad, share.n) > float(1 - target)
    return State.BELOW if certain else State.GOOD
