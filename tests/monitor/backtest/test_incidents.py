"""One incident is one page: at its limit for days, beside it, and on real calls; and it ends soon after."""

from collections import Counter
from datetime import UTC, datetime
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from monitor.backtest.history import History
from monitor.backtest.run import Fired, backtest
from monitor.counting.panes import SHORT
from monitor.generate.grafana import rule_groups
from monitor.generate.prometheus import rule_file
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import WHOLE
from monitor.rules.limits import budget_limits, page_limits
from monitor.rules.plan import plan
from tests.kit import history as real
from tests.kit.slices import add_slices

HELD_TO = plan(
    parse("""
version: 1
journey: held
segments: []
stages:
  shop:
    kind: customer
    owner: web
    experiences: {bought: {judges: {}, good: {outcome: [ok]}, target: 0.98}}
journeys: {owner: care, starts: {stage: [shop]}, goal: {stage: [shop]}, target: 0.9, limit: 1d}
""")
)
ALLOWED = {"shop": 0.02, WHOLE: 0.10}
EXPERIENCE = {"shop": "bought", WHOLE: "goal"}

HOUR = 3_600_000 // SHORT.ms
T0 = 1_800_000_000_000 // SHORT.ms
WARM_H = 8 * 24


def pages(stage: str, per_slice: float, bad_by_hour: list[float], seed: int = 1) -> list[Fired]:
    """The pages of a stage whose share of bad changes each hour, after eight days at half of the allowed."""
    rng = np.random.default_rng(seed)
    share = np.repeat([ALLOWED[stage] / 2] * WARM_H + bad_by_hour, HOUR)
    events = rng.poisson(per_slice, len(share))
    bad = rng.binomial(events, share)
    history = History(HELD_TO)
    held = history.stages[stage]
    table = held.table(T0, T0 + len(share))
    cell = EXPERIENCE[stage], "other"
    table[held.good[cell]], table[held.bad[cell]], table[held.events] = events - bad, bad, events
    add_slices(held, T0, table)
    fired = backtest(HELD_TO, history).fired
    return [one for one in fired if (one.key.severity, one.key.stage) == ("page", stage)]


AT_LIMIT = [("shop", float(limit.bad_ratio)) for limit in page_limits(HELD_TO.qualities[0].target)]
AT_LIMIT += [(WHOLE, float(limit.bad_ratio)) for limit in budget_limits(HELD_TO.qualities[-1].target)]


@pytest.mark.long
@pytest.mark.parametrize(("stage", "share"), AT_LIMIT)
@pytest.mark.parametrize("per_slice", [0.5, 5.0])
def test_two_days_at_exactly_a_limit_are_at_most_two_pages(
    stage: str, share: float, per_slice: float
) -> None:
    """Whichever limit it is, for many events and for few."""
    assert 1 <= len(pages(stage, per_slice, [share] * 48)) <= 2


def test_a_page_ends_within_ten_minutes() -> None:
    """Of a stage with an event every two seconds that was at three times its limit for an hour."""
    (page,) = pages("shop", 5.0, [0.36, 0.01, 0.01])
    assert page.resolved_ms is not None
    assert 0 < page.resolved_ms / 1000 - (T0 + (WARM_H + 1) * HOUR) * SHORT.ms / 1000 <= 600


def test_a_new_incident_is_a_new_page() -> None:
    """An hour apart, with an hour in which all was well."""
    first, second = pages("shop", 5.0, [0.36, 0.01, 0.36, 0.01])
    assert second.noticed_ms - (first.resolved_ms or 0) > 30 * 60_000


def test_a_page_ends_when_hardly_anything_comes_any_more() -> None:
    """Nothing is sure of a stage that has closed, and nothing is wrong with it."""
    night = 9 * HOUR
    history = History(HELD_TO)
    held = history.stages["shop"]
    cell = EXPERIENCE["shop"], "other"
    table = held.table(T0, T0 + HOUR + night)
    table[held.bad[cell], :HOUR] = table[held.events, :HOUR] = 1
    add_slices(held, T0, table)
    add_slices(held, T0 + HOUR + night, np.ones_like(table[:, :1]))  # the next morning
    (page,) = (one for one in backtest(HELD_TO, history).fired if one.key.severity == "page")
    assert page.resolved_ms is not None
    assert page.resolved_ms / 1000 - (T0 + HOUR) * SHORT.ms / 1000 == pytest.approx(6 * 3600, abs=600)


LOOSE = """
version: 1
journey: loose
segments: []
stages:
  shop:
    kind: customer
    owner: web
    experiences:
      a: {judges: {}, good: {outcome: [ok]}, target: TARGET}
      b: {judges: {}, good: {outcome: [ok]}, target: TARGET}
"""


def told(target: str, events: int, bad: dict[str, list[float]], every: int = 1) -> list[Fired]:
    """The pages of a stage with so many events in every `every`th slice, of which exactly this share is bad
    by experience, five minutes each, after a good week."""
    held_to = plan(parse(LOOSE.replace("TARGET", target)))
    assert rule_file(held_to)
    assert rule_groups(held_to)
    history = History(held_to)
    held = history.stages["shop"]
    week, five = WARM_H * HOUR, HOUR // 12
    comes = np.arange(week + five * max(map(len, bad.values()))) % every == 0
    table = held.table(T0, T0 + len(comes))
    table[held.events] = events * comes
    for name in ("a", "b"):
        share = np.repeat([0.0] * (WARM_H * 12) + bad.get(name, []), five)
        share = np.concatenate((share, np.zeros(len(comes) - len(share))))
        n_bad = np.diff(np.floor(np.cumsum(share * events * comes) + 1e-6), prepend=0)
        table[held.bad[name, "other"]] = n_bad
        table[held.good[name, "other"]] = events * comes - n_bad
    add_slices(held, T0, table)
    return [one for one in backtest(held_to, history).fired if one.key.severity == "page"]


@pytest.mark.parametrize("target", ["0.99999", "0.999"])
def test_the_strictest_targets_page_once(target: str) -> None:
    """Hardly anything may be bad: half an hour of failures is one page, which ends."""
    (page,) = told(target, 5, {"a": [0.5] * 6 + [0.0] * 100})
    assert page.resolved_ms is not None


def test_nothing_begins_while_the_page_of_the_stage_has_just_ended() -> None:
    """One experience is over long before the other. It worsens again, just below the fast limit, as the page
    of the other ends: its own windows wait for half an hour."""
    a = [0.9] * 48 + [0.2] * 6 + [0.52] * 60
    b = [0.2] * 47 + [0.9] * 14 + [0.2] * 53
    first, second, *_ = told("0.55", 5, {"a": a, "b": b})
    assert second.noticed_ms - (first.resolved_ms or 0) > 30 * 60_000
    assert second.window == "6h"


@pytest.mark.parametrize(("again", "from_min", "to_min"), [(1.0, 0, 15), (0.3, 30, 45)])
def test_only_an_outage_begins_a_page_soon_after_another(again: float, from_min: int, to_min: int) -> None:
    """A quarter of an hour after an outage it comes again: that is told at once, also where five minutes hold
    hundred events. Three of ten, twice the limit, wait until half an hour has passed since the end."""
    first, second = told("0.95", 3, {"a": [1.0] * 6 + [0.0] * 3 + [again] * 12 + [0.0] * 24})
    assert first.resolved_ms is not None
    assert from_min * 60_000 < second.noticed_ms - first.resolved_ms <= to_min * 60_000


def test_a_wide_window_must_say_for_a_while_that_it_is_over() -> None:
    """Too few come for five minutes to tell. Half an hour says that it is over, just before all is bad."""
    bad = [1.0] * 24 + [0.0] * 6 + [1.0] * 12 + [0.0] * 24
    assert len(told("0.95", 1, {"a": bad}, every=3)) == 1


HELD = [("0.55", 0.52, 2), ("0.55", 0.725, 2), ("0.80", 0.30, 2), ("0.95", 0.15, 2), ("0.98", 0.12, 2)]
"""Target, the share that is bad, and events in each slice: in five minutes too few to tell."""


def held(target: str, share: float, events: float, seed: int) -> list[Fired]:
    """The pages of a stage of which for two days this share is bad, after a good day."""
    shares = np.repeat([(1 - float(target)) / 2] * 24 + [share] * 48, HOUR)
    return drawn(target, shares, events, seed)


def drawn(target: str, shares: NDArray[np.float64], events: float, seed: int) -> list[Fired]:
    """The pages of a stage of which that share of so many events is bad, slice by slice, but for chance."""
    held_to = plan(parse(LOOSE.replace("TARGET", target)))
    rng = np.random.default_rng(seed)
    history = History(held_to)
    shop = history.stages["shop"]
    table = shop.table(T0, T0 + len(shares))
    came = rng.poisson(events, len(shares))
    bad = rng.binomial(came, shares)
    table[shop.bad["a", "other"]], table[shop.good["a", "other"]], table[shop.events] = bad, came - bad, came
    add_slices(shop, T0, table)
    found = [one for one in backtest(held_to, history).fired if one.key.severity == "page"]
    return [one for one in found if one.noticed_ms > (T0 + 24 * HOUR) * SHORT.ms]


@pytest.mark.parametrize("seed", [1, 2])
def test_chance_is_no_outage(seed: int) -> None:
    """Three of ten are bad every other ten minutes: one minute in twenty looks like an outage. Of 28 pages 24
    began within half an hour of the end of another."""
    shares = np.concatenate((np.full(24 * HOUR, 0.01), np.tile(np.repeat([0.3, 0.01], HOUR // 6), 36)))
    pages = drawn("0.95", shares, 5.5, seed)
    between = [after.noticed_ms - (before.resolved_ms or 0) for before, after in pairwise(pages)]
    assert len(between) > 12
    assert sum(ms < 30 * 60_000 for ms in between) <= len(between) / 3


@pytest.mark.parametrize("per_hour", [360, 1_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_end_of_a_bad_incident_is_told_by_few_events(per_hour: int, seed: int) -> None:
    """Most are bad for an hour, then one in a hundred. Of 30 events in 5m none is bad: less than the limit
    could be so by chance, but three of four could not. Half an hour had to be waited for."""
    shares = np.repeat([0.01, 0.75, 0.01], [24 * HOUR, HOUR, 3 * HOUR])
    (page,) = drawn("0.95", shares, per_hour / HOUR, seed)
    assert page.resolved_ms is not None
    assert 5 * 60_000 < page.resolved_ms - (T0 + 25 * HOUR) * SHORT.ms < 10 * 60_000


@pytest.mark.long
@pytest.mark.parametrize(("target", "share", "events"), HELD)
@pytest.mark.parametrize("seed", range(3))
def test_no_chance_ends_a_page(target: str, share: float, events: int, seed: int) -> None:
    """Five minutes or half an hour that are better by chance, or the good hours before, end no page of a
    stage that stays as it is for two days."""
    assert len(held(target, share, events, seed)) == 1


BESIDE = [(0.08, 1_000, 9), (0.10, 1_000, 6), (0.11, 5_000, 5), (0.12, 1_000, 1), (0.12, 5_000, 1)]
"""The share that is bad at a target of 95 %, of which 10 % are the middle between target and limit; events an
hour; pages at most."""


@pytest.mark.long
@pytest.mark.parametrize(("share", "per_hour", "most"), BESIDE)
def test_a_stage_beside_its_limit_pages_seldom(share: float, per_hour: int, most: int) -> None:
    """For two days it is as bad as that: chance begins pages and ends them, but no page begins within half an
    hour of another's end."""
    for seed in range(3):
        found = held("0.95", share, per_hour / HOUR, seed)
        assert len(found) <= most
        for one, after in pairwise(found):
            assert one.resolved_ms is not None
            assert after.noticed_ms - one.resolved_ms > 30 * 60_000


MOVES = plan(
    parse("""
version: 1
journey: moves
segments: []
channels: [phone, chat]
stages:
  shop:
    kind: customer
    owner: web
    experiences: {bought: {judges: {}, good: {outcome: [ok]}, target: 0.98}}
journeys:
  owner: care
  starts: {stage: [shop]}
  goal: {stage: [shop]}
  target: 0.9
  limit: 1d
  moves: {target: 0.8}
""")
)


def lost(journeys: list[int], customers: list[int], every: int = 1) -> list[Fired]:
    """The tickets for customers who are lost from chat to telephone, all who change so: in each hour so many
    in each `every`th minute, and so many journeys over in each minute. A day before, nobody was."""
    minute = HOUR // 60
    history = History(MOVES)
    held = history.stages[WHOLE]
    hours = 24 + len(journeys)
    table = held.table(T0, T0 + hours * HOUR)
    per_minute = np.repeat([*journeys[:1] * 24, *journeys], 60)
    table[held.good["goal", "other"], ::minute] = table[held.events, ::minute] = per_minute
    hit = np.repeat([*[0] * 24, *customers], 60) * (np.arange(hours * 60) % every == 0)
    table[held.bad["moves", "chat>phone"], ::minute] = hit
    add_slices(held, T0, table)
    return [one for one in backtest(MOVES, history).fired if one.key.name == "CustomersLost"]


def hours(fired: Fired) -> float:
    """When it was over, in hours after the first day."""
    assert fired.resolved_ms is not None
    return fired.resolved_ms / 3_600_000 - T0 / HOUR - 24


def test_a_ticket_ends_an_hour_after_the_last_customer_was_lost() -> None:
    """Nobody changes channel so any more, and nothing good can be counted instead."""
    (ticket,) = lost([30] * 12, [1] * 6 + [0] * 6)
    assert 6.9 < hours(ticket) < 7.1


def test_one_who_is_lost_after_the_mend_is_no_new_ticket() -> None:
    """What was begun before it ends after it."""
    (ticket,) = lost([30] * 12, [60] * 6 + [0, 0, 1, 0, 1, 0], every=60)
    assert 5.9 < hours(ticket) < 6.1


def test_few_who_are_lost_are_one_ticket() -> None:
    """One in 100 minutes: no hour without one ends it."""
    (ticket,) = lost([30] * 24 * 14, [1] * 24 * 14, every=100)
    assert ticket.resolved_ms is None


def test_no_night_ends_a_ticket() -> None:
    """When hardly any journey is over, none is lost either."""
    day = [30] * 14 + [1] * 10
    (ticket,) = lost(day * 3, ([1] * 14 + [0] * 10) * 3, every=10)
    assert ticket.resolved_ms is None


HALF = range(1, 16)
"""Days of January to which the journey file is fitted."""


def fitted(calls: list[dict[str, Any]]) -> str:
    """A journey file whose targets are what the calls of these days attained, by segment."""
    n: Counter[tuple[str, str]] = Counter()
    for call in calls:
        if datetime.fromisoformat(call["time"]).day in HALF:
            for segment in ("all", call.get("segment", "other")):
                n["calls", segment] += 1
                if call["outcome"] == "ok":
                    n["served", segment] += 1
                    n["fast", segment] += call["wait_s"] <= 20

    def targets(good: str, of: str) -> str:
        at = {one: f"{n[good, one] / n[of, one]:.2f}" for one in ("all", "high", "regular")}
        return f"target: {at['all']}, targets: {{high: {at['high']}, regular: {at['regular']}}}"

    return f"""
version: 1
journey: fitted
timezone: Asia/Jerusalem
segments: [high, regular]
stages:
  call_queue:
    kind: customer
    owner: contact-centre
    experiences:
      fast: {{judges: {{outcome: [ok]}}, good: {{wait_s: {{at_most: 20}}}}, {targets("fast", "served")}}}
      served: {{judges: {{outcome: [ok, abandoned]}}, good: {{outcome: [ok]}}, {targets("served", "calls")}}}
"""


@pytest.mark.full
def test_real_calls_page_once_for_each_incident() -> None:
    """A month of a bank's calls, with targets fitted to its first half: in neither half a page begins within
    30 minutes of the end of another."""
    calls = list(real.calls())
    held_to = plan(parse(fitted(calls)))
    history = History(held_to)
    for call in calls:
        assert history.add_line(orjson.dumps(call)) is None
    found = [one for one in backtest(held_to, history).fired if one.key.severity == "page"]
    days = [datetime.fromtimestamp(one.noticed_ms / 1000, UTC).day for one in found]
    assert {day in HALF for day in days} == {True, False}
    for one, after in combinations(found, 2):
        assert not 0 <= after.noticed_ms - (one.resolved_ms or 0) <= 30 * 60_000, (one, after)
