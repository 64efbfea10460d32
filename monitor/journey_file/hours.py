"""When a stage is open, and how many events a span of time should hold: by the journey file, in local time.

Added up over quarters of an hour, each of which lies within one local hour of one local day: every time zone
has been a whole number of quarters away from UTC since 1980, in summer and in winter. The few that moved
their clock in the midst of one (St John's, until 2011) are off by minutes on that day.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from monitor.journey_file.model import Hours, Journey, Stage

HOUR_MS = 3_600_000
QUARTER_MS = HOUR_MS // 4
MINUTE_MS = 60_000

REMEMBERED_HOURS = 200
"""The hours of a week, for each stage."""

REMEMBERED_STAGES = 200
"""Four times the most stages of a journey."""


def is_open(journey: Journey, stage: Stage, at_ms: int) -> bool:
    """Whether a moment lies in the stage's opening hours; a stage that names none is always open."""
    if not stage.hours:
        return True
    day, of_day_ms = _local(journey.timezone, at_ms)
    return any(start * MINUTE_MS <= of_day_ms < end * MINUTE_MS for start, end in stage.hours[day])


def expected(journey: Journey, stage: Stage, from_ms: int, to_ms: int) -> float:
    """How many events the stage should have from one moment up to another; 0 for one that expects none.

    `per_hour` is the mean of 24 hours weighted by `by_hour`; closed hours are taken out of it, not made up.
    """
    if stage.per_hour is None or from_ms >= to_ms:
        return 0.0
    rhythm = _rhythm(journey.timezone, stage.per_hour, stage.by_hour, stage.hours)
    first, last = from_ms // HOUR_MS, to_ms // HOUR_MS
    if first == last:
        return rhythm.between(from_ms, to_ms)
    begun, rest = rhythm.between(from_ms, (first + 1) * HOUR_MS), rhythm.between(last * HOUR_MS, to_ms)
    return begun + sum(map(rhythm.hour, range(first + 1, last))) + rest


def hourly(per_hour: float, by_hour: Sequence[float]) -> list[float]:
    """What `expects` says of each hour of a day, from midnight on, as if always open."""
    return [per_hour * weight * 24 / sum(by_hour) for weight in by_hour] or [per_hour] * 24


class _Rhythm:
    """What one stage expects when; remembers whole hours since 1970."""

    def __init__(self, timezone: str, per_hour: float, by_hour: tuple[float, ...], hours: Hours) -> None:
        self._timezone, self._hours = timezone, hours
        self._per_hour = hourly(per_hour, by_hour)
        self.hour = lru_cache(maxsize=REMEMBERED_HOURS)(self._hour)

    def _hour(self, hour: int) -> float:
        return self.between(hour * HOUR_MS, (hour + 1) * HOUR_MS)

    def between(self, from_ms: int, to_ms: int) -> float:
        """Events of a span, quarter by quarter: meant for spans within an hour."""
        found = 0.0
        while from_ms < to_ms:
            end_ms = min(to_ms, (from_ms // QUARTER_MS + 1) * QUARTER_MS)
            day, of_day_ms = _local(self._timezone, from_ms)
            open_ms = _open_ms(self._hours, day, of_day_ms, of_day_ms + end_ms - from_ms)
            found += self._per_hour[of_day_ms // HOUR_MS] * open_ms / HOUR_MS
            from_ms = end_ms
        return found


@lru_cache(maxsize=REMEMBERED_STAGES)
def _rhythm(timezone: str, per_hour: float, by_hour: tuple[float, ...], hours: Hours) -> _Rhythm:
    return _Rhythm(timezone, per_hour, by_hour, hours)


def _open_ms(hours: Hours, day: int, from_ms: int, to_ms: int) -> int:
    """How much of a span of one local day is open."""
    if not hours:
        return to_ms - from_ms
    spans = ((max(from_ms, start * MINUTE_MS), min(to_ms, end * MINUTE_MS)) for start, end in hours[day])
    return sum(max(0, end - start) for start, end in spans)


def _local(timezone: str, at_ms: int) -> tuple[int, int]:
    """The day of the week, Monday 0, and the time of the day by the clock on the wall."""
    seconds, ms = divmod(at_ms, 1000)
    local = datetime.fromtimestamp(seconds, ZoneInfo(timezone))
    of_day_s = local.hour * 3600 + local.minute * 60 + local.second
    return local.weekday(), of_day_s * 1000 + ms
