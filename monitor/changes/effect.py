"""Counts before and after a change to what it did: better, worse, no effect, or nobody can tell.

The effect on an experience is a difference in differences of bad shares:
(bad share of touched segments after - before) - (bad share of untouched segments after - before). What befell
everybody, a busy hour or an outage elsewhere, is in both and falls out. Without an untouched segment it is
after - before alone, and whatever else happened then is in it.

Its confidence interval adds up the Wilson intervals of the shares (MOVER: Newcombe 1998, method 10; Zou and
Donner 2008). With l and u the bounds of a share p, it reaches below the effect by the root of the sum of
(p - l)^2 of shares that are added and (u - p)^2 of those that are subtracted; above it the reverse. Of k
experiences each is told at a confidence of 1 - 5 % / k (Bonferroni).

That is chance alone. Segments also move apart by themselves, by hour and by day. So the same effect is taken
at the same time of each of the days before: the interval reaches at least t times their root mean square to
either side, t being Student's of as many degrees of freedom as there are days. Then at most one in twenty
changes that do nothing is called better or worse, if days are alike. Of fewer than `LEAST_DAYS` days the
interval knows chance alone.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum
from statistics import NormalDist
from typing import NamedTuple

from monitor.counting.measures import Share, wilson_lower
from monitor.rules.limits import MIN_N

WRONG = 0.05
"""How often at most a change that does nothing may be called better or worse."""

MATTERS = 0.5
"""Of the share that the target allows to be bad: what may have cost half of it is not without effect."""

LEAST_MARGIN = 0.0005
"""At a target of 100 % nothing may be bad; no number of events shows that nothing is."""


LEAST_DAYS = 3
"""Student's t of two is 4.3 and of one 12.7: an interval as wide says nothing."""


class Effect(StrEnum):
    """What a change did, the mildest first: the weakest experience decides."""

    NO_EFFECT = "no effect"
    BETTER = "better"
    CANNOT_TELL = "cannot tell"
    WORSE = "worse"


class Spans(NamedTuple):
    """The same segments before and after."""

    before: Share
    after: Share


class Compared(NamedTuple):
    """One experience; `untouched` is None where no segment was left out of the change."""

    stage: str
    experience: str
    target: Decimal
    touched: Spans
    untouched: Spans | None

    @property
    def shares(self) -> tuple[tuple[int, Share], ...]:
        """What adds up to the effect, each with its sign."""
        after, before = (1, self.touched.after), (-1, self.touched.before)
        if self.untouched is None:
            return after, before
        return after, before, (-1, self.untouched.after), (1, self.untouched.before)

    @property
    def is_enough(self) -> bool:
        """Whether every share has enough events."""
        return all(share.n >= MIN_N for _, share in self.shares)

    @property
    def at(self) -> float:
        """The effect itself; each share has an event."""
        return sum(sign * share.bad / share.n for sign, share in self.shares)


class Difference(NamedTuple):
    """By how much the bad share rose, and between what; 0.01 is a percentage point."""

    at: float
    low: float
    high: float


class Judged(NamedTuple):
    """What became of one experience, and how many days say how it moves by itself.

    No difference and no effect where the touched have no event at all, no difference where any share has
    fewer than `MIN_N`.
    """

    compared: Compared
    difference: Difference | None
    effect: Effect | None
    days: int


def difference(compared: Compared, experiences: int, usual: Sequence[float] = ()) -> Difference:
    """The effect on one of so many experiences, each share of which has an event; `usual` are those of other
    days."""
    z = Decimal(str(NormalDist().inv_cdf(1 - WRONG / (2 * experiences))))
    below = above = 0.0
    for sign, share in compared.shares:
        p = share.bad / share.n
        down = p - float(wilson_lower(share.bad, share.n, z))
        up = 1 - float(wilson_lower(share.good, share.n, z)) - p
        below += (down if sign > 0 else up) ** 2
        above += (up if sign > 0 else down) ** 2
    swing = 0.0
    if len(usual) >= LEAST_DAYS:
        swing = _student(float(z), len(usual)) * math.hypot(*usual) / math.sqrt(len(usual))
    at = compared.at
    return Difference(at, at - max(math.sqrt(below), swing), at + max(math.sqrt(above), swing))


def _student(z: float, freedom: int) -> float:
    """Student's t where the normal distribution has z (Abramowitz and Stegun 26.7.5): at three degrees of
    freedom and 95 % 2 % too small, at more far less."""
    terms: tuple[float, ...] = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / float(freedom) ** power for power, term in enumerate(terms))


def judged(compared: Sequence[Compared], days: Sequence[Sequence[Compared]] = ()) -> list[Judged]:
    """Each experience, told so surely that all together are wrong once in twenty.

    `days` are the same experiences in the same order, at the same time of days before.
    """
    experiences = sum(one.is_enough for one in compared)
    found = []
    for i, one in enumerate(compared):
        usual = [day[i].at for day in days if day[i].is_enough]
        found.append(_judged(one, experiences, usual))
    return found


def _judged(one: Compared, experiences: int, usual: Sequence[float]) -> Judged:
    if not any(share.n for share in one.touched):
        return Judged(one, None, None, len(usual))
    if not one.is_enough:
        return Judged(one, None, Effect.CANNOT_TELL, len(usual))
    found = difference(one, experiences, usual)
    return Judged(one, found, _effect(found, one.target), len(usual))


def _effect(found: Difference, target: Decimal) -> Effect:
    """No effect is told only where none in the interval matters."""
    if found.low > 0:
        return Effect.WORSE
    if found.high < 0:
        return Effect.BETTER
    margin = max(MATTERS * float(1 - target), LEAST_MARGIN)
    return Effect.NO_EFFECT if -margin < found.low and found.high < margin else Effect.CANNOT_TELL


def overall(found: Iterable[Judged]) -> Effect:
    """The effect of the change: that of its weakest experience; nobody can tell without any event."""
    order = list(Effect)
    known = [one.effect for one in found if one.effect is not None]
    return max(known, key=order.index, default=Effect.CANNOT_TELL)
