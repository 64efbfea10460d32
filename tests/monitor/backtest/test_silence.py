"""A stage is silent while it is open, by the clock on the wall."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from monitor.backtest.history import History
from monitor.backtest.run import Fired, backtest
from monitor.counting.panes import SHORT
from monitor.journey_file.grammar import parse
from monitor.rules.plan import plan
from tests.kit.slices import add_slices

ZONE = ZoneInfo("Europe/Helsinki")


def silences(hours: str, rhythm: str, silent: datetime, days: int = 2) -> list[Fired]:
    """The silences of a stage that has an event every ten seconds while it is open, but none from `silent` on
    for these days. The history begins nine days before and goes on for a day."""
    held_to = plan(
        parse(f"""
version: 1
journey: open
timezone: {ZONE.key}
segments: []
stages:
  store:
    kind: customer
    owner: me
    hours: {{mon-sun: "{hours}"}}
    {rhythm}
    experiences: {{served: {{judges: {{}}, good: {{outcome: [ok]}}, target: 0.9}}}}
""")
    )
    history = History(held_to)
    held = history.stages["store"]
    begins, ends = (int(part[:2]) for part in hours.split("-"))
    first = _slice(silent - timedelta(days=9))
    quiet = range(_slice(silent), _slice(silent + timedelta(days=days)))
    table = held.table(first, quiet.stop + 8640)
    for column in range(table.shape[1]):
        at = first + column
        hour = datetime.fromtimestamp(at * SHORT.ms / 1000, ZONE).hour
        if begins <= hour < ends and at not in quiet:
            table[held.events, column] = table[held.good["served", "other"], column] = 1
    add_slices(held, first, table)
    return [one for one in backtest(held_to, history).fired if one.key.name == "StageSilent"]


def _slice(at: datetime) -> int:
    return int(at.timestamp() * 1000) // SHORT.ms


def _clock(at_ms: int | None) -> datetime:
    assert at_ms is not None
    return datetime.fromtimestamp(at_ms / 1000, ZONE)


@pytest.mark.parametrize("every_s", [310, 330, 400])
@pytest.mark.parametrize("rhythm", ["", "expects: {per_hour: 600}"])
def test_an_event_now_and_then_ends_no_silence(rhythm: str, every_s: int) -> None:
    """Of six hundred an hour one comes every five minutes and some seconds, for an hour: that is one page,
    and it ends some minutes after all come again."""
    held_to = plan(
        parse(f"""
version: 1
journey: open
segments: []
stages:
  store:
    kind: customer
    owner: me
    {rhythm}
    experiences: {{served: {{judges: {{}}, good: {{outcome: [ok]}}, target: 0.9}}}}
""")
    )
    history = History(held_to)
    held = history.stages["store"]
    first = _slice(datetime(2027, 6, 6, tzinfo=ZONE))
    thin = range(8 * 8640, 8 * 8640 + 360)
    table = held.table(first, first + thin.stop + 360)
    came = [n not in thin or (n - thin.start) * 10 % every_s < 10 for n in range(table.shape[1])]
    table[held.events] = table[held.good["served", "other"]] = np.where(came, 2, 0)
    add_slices(held, first, table)
    (page,) = [one for one in backtest(held_to, history).fired if one.key.name == "StageSilent"]
    begin, end = (_slice(_clock(at_ms)) - first for at_ms in (page.noticed_ms, page.resolved_ms))
    assert thin.start + 6 * 5 <= begin <= thin.start + 6 * 6
    assert thin.stop < end < thin.stop + 6 * 7


@pytest.mark.parametrize("rhythm", ["", "expects: {per_hour: 120}"])
@pytest.mark.parametrize(
    ("sunday", "hours"),
    [
        (datetime(2027, 3, 28, tzinfo=ZONE), "09:00-17:00"),
        (datetime(2027, 10, 31, tzinfo=ZONE), "09:00-17:00"),
        (datetime(2027, 3, 28, tzinfo=ZONE), "02:00-06:00"),  # of which the hour from 3 is missing
        (datetime(2027, 10, 31, tzinfo=ZONE), "02:00-06:00"),  # of which the hour from 3 comes twice
        (datetime(2027, 6, 6, tzinfo=ZONE), "09:00-17:00"),
    ],
)
def test_silence_is_of_opening_hours(sunday: datetime, hours: str, rhythm: str) -> None:
    """Two days without a word are a silence each, which begins within the hours and ends with them; the days
    that the clock is changed are as any other."""
    begins, ends = (int(part[:2]) for part in hours.split("-"))
    found = silences(hours, rhythm, sunday)
    assert [_clock(one.noticed_ms).date() for one in found] == [
        sunday.date(), sunday.date() + timedelta(days=1)
    ]  # fmt: skip
    for one in found:
        assert begins <= _clock(one.noticed_ms).hour < ends
        closed = _clock(one.resolved_ms).replace(hour=ends, minute=0, second=0)
        assert timedelta(0) <= _clock(one.resolved_ms) - closed <= timedelta(seconds=10)


BROUGHT = f"""
version: 1
journey: brought
timezone: {ZONE.key}
segments: []
partners: [postnord, matkahuolto]
stages:
  delivery:
    kind: partner
    owner: me
    partners: [postnord, matkahuolto]
    hours: {{mon-sun: "HOURS"}}
    experiences: {{came: {{judges: {{}}, good: {{outcome: [ok]}}, target: 0.9}}}}
"""


def of_partner(others: int, its: int, hours: str = "00:00-24:00", *, comes_back: bool = False) -> list[Fired]:
    """A stage of which in 30 minutes a week ago 120 of 300 events were postnord's: so many came now, and
    postnord may come back after that, every 20 s."""
    held_to = plan(parse(BROUGHT.replace("HOURS", hours)))
    history = History(held_to)
    held = history.stages["delivery"]
    noon = _slice(datetime(2026, 6, 10, 12, tzinfo=ZONE))
    week = 7 * 86_400_000 // SHORT.ms
    table = held.table(noon - week - 8640, noon + 720)
    for start, its_n, all_n in ((8640, 120, 300), (8640 + week, its, its + others)):
        for number in range(all_n):
            at = start + number * 180 // all_n
            partner = (
                "postnord" if number * its_n // all_n != (number + 1) * its_n // all_n else "matkahuolto"
            )
            table[[held.events, held.good["came", "other"], held.partners["came", partner]], at] += 1
    back = slice(8640 + week + 182, None, 2) if comes_back else slice(0)
    for row in (held.events, held.good["came", "other"], held.partners["came", "postnord"]):
        table[row, back] += 1
    table[held.events, -1] += 1  # so that it goes on until then
    add_slices(held, noon - week - 8640, table)
    return [one for one in backtest(held_to, history).fired if one.key.name == "PartnerSilent"]


@pytest.mark.parametrize(("others", "its", "is_told"), [(100, 0, True), (100, 3, False), (5, 0, False)])
def test_a_partner_is_silent_beside_others(others: int, its: int, is_told: bool) -> None:
    """Of 100 that came 40 were to be postnord's; of five, two. One ticket names it, and how many."""
    found = of_partner(others, its)
    assert [(one.key.group, one.key.severity) for one in found] == [("postnord", "ticket")] * is_told
    assert [one.whose for one in found] == [{"partner": "postnord"}] * is_told


def test_the_silence_of_a_partner_ends_when_its_stage_closes() -> None:
    """By the clock on the wall, though a ticket is held for an hour."""
    (one,) = of_partner(100, 0, "09:00-12:30")
    assert _clock(one.resolved_ms).strftime("%H:%M:%S") == "12:30:10"
    assert one.summary.startswith("Delivery: no event of partner postnord in ")


def test_closing_ends_what_a_ticket_of_a_partner_is_held_for() -> None:
    """It is held for an hour. A break of the stage lies within, after which the partner is back."""
    (one,) = of_partner(100, 0, "09:00-12:30, 12:50-20:00", comes_back=True)
    assert _clock(one.resolved_ms).strftime("%H:%M:%S") == "12:30:10"


def test_an_event_now_and_then_ends_no_silence_of_a_partner() -> None:
    """Of fifteen an hour one comes every 140 minutes, for two days. That is one ticket, and it ends an hour
    after a tenth has come within two hours."""
    held_to = plan(parse(BROUGHT.replace("HOURS", "00:00-24:00")))
    history = History(held_to)
    held = history.stages["delivery"]
    first, hour = _slice(datetime(2027, 6, 6, tzinfo=ZONE)), 360
    thin = range(8 * 24 * hour, 10 * 24 * hour)
    at = np.arange(thin.stop + 6 * hour)
    its = np.where((at >= thin.start) & (at < thin.stop), (at + 1) % 840 == 0, at % 24 == 0)
    table = held.table(first, first + len(at))
    table[held.partners["came", "postnord"]], table[held.partners["came", "matkahuolto"]] = its, at % 3 == 0
    table[held.events] = table[held.good["came", "other"]] = its + (at % 3 == 0)
    add_slices(held, first, table)
    (one,) = [one for one in backtest(held_to, history).fired if one.key.name == "PartnerSilent"]
    begin, end = (_slice(_clock(at_ms)) - first for at_ms in (one.noticed_ms, one.resolved_ms))
    assert thin.start + 2 * hour <= begin < thin.start + 5 * hour
    assert thin.stop + 1 * hour < end < thin.stop + 1.5 * hour
