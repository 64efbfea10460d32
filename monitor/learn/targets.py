"""Targets from what a history achieved, as the product's own judging counts it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Context, Decimal
from statistics import median
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from monitor.backtest.history import History, StageHistory
from monitor.counting.measures import Share, wilson_lower
from monitor.journey_file.hours import HOUR_MS
from monitor.journey_file.model import WHOLE
from monitor.rules.journeys import GOAL
from monitor.rules.limits import MIN_N
from monitor.rules.plan import Plan

DIGITS = Context(prec=2, rounding=ROUND_CEILING)
"""Of what may be bad, which is rounded up: people read no more of a target, and rounding is the hair."""

STRICT, HAIR = Decimal("0.93"), Decimal("1.25")
"""From this target on three days that surely miss it are a ticket (`rules.limits.TICKETS`), and one of many
segments does so by chance: so a quarter more may be bad than was. A looser one has to be missed by half."""

LOOSEST = Decimal("0.95")
"""More may never be bad: a target of less than 5 % promises nothing."""

ROOM = Decimal("0.65")
"""Half of all served badly for six hours is a page, however loose the target (`rules.limits.HALF`). Who
achieves less than this is there on any busy morning, so the target is what was achieved on the worst day."""


TROUBLE, TROUBLE_LEAST = 2.0, 0.01
"""A day of trouble is one that surely had so many times as many bad as the median day, and so many of all."""


@dataclass(frozen=True, slots=True)
class Target:
    """What was achieved, the target a hair under it, and of what that is, unless of all that was judged."""

    share: Share
    target: Decimal
    of: str = ""
    left_out: int = 0
    """Days of trouble that are not counted."""


@dataclass(frozen=True, slots=True)
class Achieved:
    """The target of an experience, and those of segments that are surely below it."""

    all: Target
    segments: Mapping[str, Target] = field(default_factory=dict)


Key = tuple[str, str]
"""A stage and one of its experiences."""

Days = Mapping[date, Share]


def achieved(plan: Plan, history: History) -> dict[Key, Achieved]:
    """By experience of all stages, unless nothing was judged by it."""
    zone = ZoneInfo(plan.journey.timezone)
    found: dict[Key, Achieved] = {}
    for stage in plan.stages:
        cells = _by_day(history.stages[stage.name], zone)
        for experience in stage.experiences:
            groups = {group: days for (name, group), days in cells.items() if name == experience.name}
            if not any(share.n for days in groups.values() for share in days.values()):
                continue
            if stage.name == WHOLE and experience.name != GOAL:
                found[stage.name, experience.name] = Achieved(_least(groups))
            else:
                known = {group: groups[group] for group in plan.journey.segments if group in groups}
                found[stage.name, experience.name] = _achieved(list(groups.values()), known)
    return found


def _by_day(held: StageHistory, zone: ZoneInfo) -> dict[tuple[str, str], Days]:
    """By experience and group, how many were good and bad on each day."""
    by_day: dict[date, NDArray[np.int64]] = {}
    for hour, sums in held.by_hour().items():
        day = datetime.fromtimestamp(hour * HOUR_MS / 1000, UTC).astimezone(zone).date()
        by_day[day] = by_day[day] + sums if day in by_day else sums
    return {
        cell: {day: Share(int(sums[good]), int(sums[held.bad[cell]])) for day, sums in by_day.items()}
        for cell, good in held.good.items()
    }


def _achieved(groups: list[Days], segments: Mapping[str, Days]) -> Achieved:
    days = {day for group in groups for day in group}
    everybody = _target({day: _sum([group[day] for group in groups if day in group]) for day in days})
    worse = {}
    for name, own in segments.items():
        share = _sum(own.values())
        if wilson_lower(share.bad, share.n) > float(1 - everybody.target):
            worse[name] = _target(own)
    return Achieved(everybody, worse)


def _sum(shares: Iterable[Share]) -> Share:
    return Share(*map(sum, zip((0, 0), *shares, strict=True)))


def _target(days: Days) -> Target:
    usual, n = _usual(days)
    whole = _sum(usual)
    if (target := hair_under(whole)) >= ROOM:
        return Target(whole, target, left_out=n)
    told = [share for share in days.values() if share.n >= MIN_N]
    worst = min(told or [whole], key=lambda share: share.good / share.n)
    return Target(worst, min(target, hair_under(worst)), "on the worst day")


def _usual(days: Days) -> tuple[list[Share], int]:
    """The days without those of trouble, and how many these are: a fault would excuse the next."""
    ratios = [share.bad / share.n for share in days.values() if share.n >= MIN_N]
    most = max(TROUBLE * median(ratios), TROUBLE_LEAST) if ratios else 1.0
    usual = [share for share in days.values() if wilson_lower(share.bad, share.n) <= most]
    return usual, len(days) - len(usual)


def _least(groups: Mapping[str, Days]) -> Target:
    """That of the partner, or whatever takes its place, who achieved least: all of them are held to it."""
    shares = {group: _sum(days.values()) for group, days in groups.items()}
    told = {group: share for group, share in shares.items() if share.n >= MIN_N}
    if not told:
        whole = _sum(shares.values())
        return Target(whole, hair_under(whole))
    least = min(told, key=lambda group: told[group].good / told[group].n)
    return Target(told[least], hair_under(told[least]), f"by {least}" if len(told) > 1 else "")


def hair_under(share: Share) -> Decimal:
    """What was surely achieved (Wilson, 95 %) less a hair, what may be bad rounded up to two digits."""
    bad = Decimal(float(1 - wilson_lower(share.good, share.n)))
    if 1 - bad >= STRICT:
        bad *= HAIR
    return 1 - min(DIGITS.create_decimal(bad), LOOSEST).normalize()
