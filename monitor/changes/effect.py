"""Counts before and after a change to what it did: better, worse, no effect, or nobody can tell.

The effect on an experience is a difference in differences of bad shares:
(bad share of touched segments after - before) - (bad share of untouched segments after - before). What befell
everybody, a busy hour or an outage elsewhere, is in both and falls out. Without an untouched segment it is
after - before alone, and whatever else happened then is in it.

Its confidence interval adds up the Wilson intervals of the shares (MOVER: Newcombe 1998, method 10; Zou and
Donner 2008). With l and u the bounds of a share p, it reaches below the effect by the root of the sum of
(p - l)^2 of shares that are added and (u - p)^2 of those that are subtracted; above it the reverse. Of k
experiences each is told at a confidence of 1 - 5 % / k (Bonferroni). So at most one in twenty changes that do
nothing is called better or worse, however many experiences are looked at. Events count as independent of each
other.
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


class Difference(NamedTuple):
    """By how much the bad share rose, and between what; 0.01 is a percentage point."""

    at: float
    low: float
    high: float


class Judged(NamedTuple):
    """What became of one experience; no difference and no effect where the touched have no event at all, no
    difference where any share has fewer than `MIN_N`."""

    compared: Compared
    difference: Difference | None
    effect: Effect | None


def difference(compared: Compared, experiences: int) -> Difference:
    """The effect on one of so many experiences, each share of which has an event."""
    z = Decimal(str(NormalDist().inv_cdf(1 - WRONG / (2 * experiences))))
    at = below = above = 0.0
    for sign, share in compared.shares:
        p = share.bad / share.n
        down = p - float(wilson_lower(share.bad, share.n, z))
        up = 1 - float(wilson_lower(share.good, share.n, z)) - p
        at += sign * p
        below += (down if sign > 0 else up) ** 2
        above += (up if sign > 0 else down) ** 2
    return Difference(at, at - math.sqrt(below), at + math.sqrt(above))


def judged(compared: Sequence[Compared]) -> list[Judged]:
    """Each experience, told so surely that all together are wrong once in twenty."""
    experiences = sum(_is_enough(one) for one in compared)
    return [_judged(one, experiences) for one in compared]


def _is_enough(one: Compared) -> bool:
    return all(share.n >= MIN_N for _, share in one.shares)


def _judged(one: Compared, experiences: int) -> Judged:
    if not any(share.n for share in one.touched):
        return Judged(one, None, None)
    if not _is_enough(one):
        return Judged(one, None, Effect.CANNOT_TELL)
    found = difference(one, experiences)
    return Judged(one, found, _effect(found, one.target))


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
