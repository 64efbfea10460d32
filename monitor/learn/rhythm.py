"""When a stage is open and how much comes then, by hour of the day and day of the week, in local time."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from statistics import mean, median, median_low
from zoneinfo import ZoneInfo

from monitor.journey_file.grammar import DAYS
from monitor.journey_file.hours import QUARTER_MS

CLOSED = 0.05
"""Of the events of a mean hour of the week: an hour with fewer is closed. The nights of a web shop have a
tenth of its mean hour; callers who try a closed line are a few in a thousand."""

CLOSED_THAT_DAY = 0.1
"""Of the events of the same hour on a median day: with fewer it is closed on this one."""

TOLD_WEEKS = 2
"""An hour of the week that was seen once may have been empty for a day's reason."""

TOLD_EVENTS = 20
"""Where a mean hour of the week has fewer, an empty one may be chance."""


WEEK_HOURS = 7 * 24

Hour = tuple[int, int]
"""Of a week: the day, Monday 0, and the hour."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How much comes in each hour of a week, in times of what makes it open, None where too little came to
    tell; and the events of each hour of a day, midnight first, on the weekday that has fewest of those open
    then."""

    busy: Mapping[Hour, float] | None
    by_hour: tuple[float, ...]

    @property
    def hours(self) -> dict[str, str]:
        """Opening hours as a journey file has them; none where always open."""
        if self.busy is None or len(open_hours := _open(self.busy)) == WEEK_HOURS:
            return {}
        return as_hours(open_hours)

    @property
    def per_hour(self) -> float:
        """The mean of the 24 hours."""
        return sum(self.by_hour) / 24


def rhythm(quarters: Mapping[int, int], first_ms: int, last_ms: int, timezone: str) -> Rhythm:
    """That of a stage, from its events by quarter of an hour, seen from one moment to another.

    A mean over all days would call each Saturday silent, for a file has one rhythm for all days. Of the same
    hour of several weeks it is the median: a day on which nothing was recorded says nothing.
    """
    zone = ZoneInfo(timezone)
    by_date: dict[Hour, dict[date, list[int]]] = {(day, hour): {} for day in range(7) for hour in range(24)}
    for quarter in range(first_ms // QUARTER_MS + 1, last_ms // QUARTER_MS):  # those seen as a whole
        at = datetime.fromtimestamp(quarter * QUARTER_MS / 1000, UTC).astimezone(zone)
        by_date[at.weekday(), at.hour].setdefault(at.date(), []).append(quarters.get(quarter, 0))
    counts = {hour: sum(map(sum, dates.values())) for hour, dates in by_date.items()}
    weeks = min(map(len, by_date.values()))
    busy = _busy(counts) if weeks >= TOLD_WEEKS else None
    rates: list[list[float]] = [[] for _ in range(24)]
    for hour in counts if busy is None else _open(busy):
        of_dates = [4 * mean(counted) for counted in by_date[hour].values() if len(counted) > 1]
        rates[hour[1]] += [median_low(of_dates)] if of_dates else []
    by_hour = tuple(min(of_days, default=0.0) for of_days in rates)
    return Rhythm(busy, by_hour)


def _open(busy: Mapping[Hour, float]) -> set[Hour]:
    return {hour for hour, times in busy.items() if times >= 1}


def _busy(counts: Mapping[Hour, int]) -> dict[Hour, float] | None:
    """Of each hour of a week; None when there are too few events to tell."""
    usual = sum(counts.values()) / len(counts)
    if usual < TOLD_EVENTS:
        return None
    of_day = [median(counts[day, hour] for day in range(7)) for hour in range(24)]
    return {
        (day, hour): n / max(CLOSED * usual, CLOSED_THAT_DAY * of_day[hour])
        for (day, hour), n in counts.items()
    }


def as_hours(open_hours: Collection[Hour]) -> dict[str, str]:
    """By day, or days that follow each other and are alike: `{"mon-fri": "09:00-21:00"}`."""
    by_day = [_spans([(day, hour) in open_hours for hour in range(24)]) for day in range(7)]
    found: dict[str, str] = {}
    day = 0
    while day < 7:
        last = day
        while last < 6 and by_day[last + 1] == by_day[day]:
            last += 1
        if by_day[day]:
            found[DAYS[day] if day == last else f"{DAYS[day]}-{DAYS[last]}"] = by_day[day]
        day = last + 1
    return found


def _spans(is_open: list[bool]) -> str:
    edges = [hour for hour in range(25) if (hour < 24 and is_open[hour]) != (hour > 0 and is_open[hour - 1])]
    return ", ".join(f"{start:02}:00-{end:02}:00" for start, end in zip(edges[::2], edges[1::2], strict=True))
