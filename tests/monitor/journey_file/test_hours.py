"""Opening hours and expected events are those of the clock on the wall, on days of 23, 24 and 25 hours."""

import random
import timeit
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from monitor.journey_file.grammar import parse
from monitor.journey_file.hours import HOUR_MS, MINUTE_MS, expected, is_open
from monitor.journey_file.model import Journey, Stage

DAY_MS = 24 * HOUR_MS

TEXT = """\
version: 1
journey: shop
timezone: {zone}
segments: []
stages:
  store:
    kind: customer
    owner: store
    {more}
    experiences:
      served: {{judges: {{}}, good: {{outcome: [ok]}}, target: 0.9}}
"""
HOURS = 'hours: {mon-fri: "09:00-12:00, 13:00-21:00", sat: "00:00-24:00"}'
EVERY_HOUR_ITS_WEIGHT = f"expects: {{per_hour: 10, by_hour: {list(range(24))}}}"


def shop(*more: str, zone: str = "Europe/Helsinki") -> tuple[Journey, Stage]:
    """A journey of one stage with these keys."""
    journey = parse(TEXT.format(zone=zone, more="\n    ".join(more)))
    return journey, journey.stages[0]


def ms(text: str, zone: str = "Europe/Helsinki") -> int:
    """A local time as ms since 1970."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("at", "is_it"),
    [
        ("2026-07-06 08:59:59.999", False),  # a Monday
        ("2026-07-06 09:00", True),
        ("2026-07-06 11:59:59.999", True),
        ("2026-07-06 12:00", False),
        ("2026-07-06 13:00", True),
        ("2026-07-06 21:00", False),
        ("2026-07-10 23:59:59.999", False),
        ("2026-07-11 00:00", True),  # Saturday, all day
        ("2026-07-11 23:59:59.999", True),
        ("2026-07-12 00:00", False),  # Sunday, not named
        ("2026-01-05 09:00", True),  # winter time
    ],
)
def test_open_by_the_clock_on_the_wall(at: str, is_it: bool) -> None:
    """Hours are meant in the journey's time zone, summer and winter; the end is no longer in them."""
    assert is_open(*shop(HOURS), ms(at)) is is_it


def test_without_hours_always_open() -> None:
    """A stage that names no hours is open at any time; the same moment is another hour elsewhere."""
    assert all(is_open(*shop(), ms("2026-07-12 03:00") + i * HOUR_MS) for i in range(200))
    nine = ms("2026-07-06 09:00")
    assert not is_open(*shop(HOURS, zone="America/New_York"), nine)


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-06", 24), ("2026-01-05", 24)]
)
def test_a_day_holds_as_many_hours_as_it_has(day: str, hours: int) -> None:
    """On the days the clock is moved an hour is missing, or there twice, with the weight of its number."""
    start, end = ms(f"{day} 00:00"), ms(f"{day} 00:00") + hours * HOUR_MS
    assert datetime.fromtimestamp(end / 1000, ZoneInfo("Europe/Helsinki")).hour == 0
    assert expected(*shop("expects: {per_hour: 10}"), start, end) == pytest.approx(10 * hours)
    weights = sum(range(24)) + (-3 if hours == 23 else 3 if hours == 25 else 0)
    weighted = expected(*shop(EVERY_HOUR_ITS_WEIGHT), start, end)
    assert weighted == pytest.approx(10 * 24 * weights / sum(range(24)))


def test_closed_hours_expect_nothing() -> None:
    """Only the open part of a span counts, to the minute."""
    journey, stage = shop(HOURS, "expects: {per_hour: 60}")
    monday = ms("2026-07-06 00:00")
    assert expected(journey, stage, monday, monday + DAY_MS) == pytest.approx(60 * 11)
    assert expected(journey, stage, monday - DAY_MS, monday) == 0
    assert expected(journey, stage, monday, monday + 7 * DAY_MS) == pytest.approx(60 * (5 * 11 + 24))
    nine = monday + 9 * HOUR_MS
    assert expected(journey, stage, nine - 5 * MINUTE_MS, nine + 500) == pytest.approx(0.5 / 60)
    odd, stage = shop('hours: {mon: "09:07-09:08"}', "expects: {per_hour: 60}")
    assert expected(odd, stage, monday, monday + DAY_MS) == pytest.approx(1)


def test_nothing_is_expected_of_a_stage_that_expects_nothing() -> None:
    """Without `expects`, or of no time at all, nothing."""
    assert expected(*shop(HOURS), 0, 10 * DAY_MS) == 0
    assert expected(*shop("expects: {per_hour: 10}"), 5, 5) == 0
    assert expected(*shop("expects: {per_hour: 10}"), 6, 5) == 0


@pytest.mark.parametrize("zone", ["Europe/Helsinki", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"])
def test_the_same_as_minute_by_minute(zone: str) -> None:
    """Adding up minutes gives the same, from any moment on, also where the clock is moved by 30 min."""
    journey, stage = shop(HOURS, EVERY_HOUR_ITS_WEIGHT, zone=zone)
    rng, total = random.Random(7), sum(range(24))
    for _ in range(12):
        start = ms("2026-03-27 00:00") + rng.randrange(12 * 24 * 60) * MINUTE_MS
        start += rng.choice([0, 188 * DAY_MS])
        minutes = rng.choice([1, 17, 59, 60, 61, 600, 3000])
        oracle = 0.0
        for minute in range(minutes):
            at = start + minute * MINUTE_MS
            if is_open(journey, stage, at):
                hour = datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).hour
                oracle += 10 * hour * 24 / total / 60
        assert expected(journey, stage, start, start + minutes * MINUTE_MS) == pytest.approx(oracle)
        some_ms = rng.randrange(MINUTE_MS)
        parts = expected(journey, stage, start, start + some_ms)
        parts += expected(journey, stage, start + some_ms, start + minutes * MINUTE_MS)
        assert parts == pytest.approx(oracle)


def test_every_zone_is_whole_quarters_away() -> None:
    """What the adding up by quarters rests on."""
    months = [datetime(year, month, 15, tzinfo=UTC) for year in range(1980, 2038, 4) for month in (1, 7)]
    for name in available_timezones():
        zone = ZoneInfo(name)
        for at in months:
            assert at.astimezone(zone).utcoffset() % timedelta(minutes=15) == timedelta(0)  # type: ignore[operator]


def test_fast_enough_for_a_scrape() -> None:
    """50 stages and a week, asked again and again: a scrape has seconds, this takes a fraction of one."""
    journey, stage = shop(HOURS, EVERY_HOUR_ITS_WEIGHT)
    stages = [replace(stage, per_hour=float(i + 1)) for i in range(50)]
    now = ms("2026-07-06 12:34:56")

    def ask() -> None:
        for one in stages:
            expected(journey, one, now - 7 * DAY_MS, now)

    ask()
    assert timeit.timeit(ask, number=1) < 0.5
