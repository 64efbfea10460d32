"""While `StageSilent` fires no page calls the stage good, whatever its events come like."""

import random
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from monitor.backtest.history import History
from monitor.backtest.run import alerts_of, backtest, spans_of
from monitor.counting.judging import counter_name
from monitor.counting.panes import LONG, SHORT, PaneKey
from monitor.counting.staff import stage_windows
from monitor.counting.windows import Arrivals
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import NONE, OTHER
from monitor.live.journeys import PartitionLag
from monitor.live.snapshot import Seen, Snapshot, stage_snapshot
from monitor.rules.plan import LAG_S, Plan, plan
from monitor.rules.verdict import State
from tests.kit.slices import add_slices

FIRST = 1_800_000_000_000 // SHORT.ms
WEEK, DAY = 7 * 8640, 8640

RHYTHMS = {"of its own": "", "declared": "expects: {per_hour: HOURLY}"}

COUNTED = (counter_name("outcome", "ok"), counter_name("good", "served", OTHER, NONE))


def held_to(kind: str, rhythm: str, hourly: int) -> Plan:
    """Of one stage that expects so many an hour."""
    return plan(
        parse(f"""
version: 1
journey: quiet
segments: []
stages:
  store:
    kind: {kind}
    owner: me
    {RHYTHMS[rhythm].replace("HOURLY", str(hourly))}
    experiences: {{served: {{judges: {{}}, good: {{outcome: [ok]}}, target: 0.9}}}}
""")
    )


def usual_then_not(hourly: int, hours: int) -> list[int]:
    """By slice: a week and a day as usual, then some hours of silence, of a few, and of all, in turn."""
    dice = random.Random(hourly)
    share: list[float] = []
    while len(share) < hours * 360:
        share += [dice.choice((0, 0.02, 0.08, 0.3, 1, 1))] * dice.randrange(6, 60 + 72_000 // hourly)
    means = np.append(np.ones(WEEK + DAY), share) * hourly / 360
    came: list[int] = np.random.default_rng(hourly).poisson(means).tolist()
    return came


def silences(rules: Plan, came: list[int]) -> list[range]:
    """Slices at whose ends `StageSilent` fires."""
    history = History(rules)
    held = history.stages["store"]
    table = held.table(FIRST, FIRST + len(came))
    table[held.events] = table[held.good["served", "other"]] = came
    add_slices(held, FIRST, table)
    fired = [one for one in backtest(rules, history).fired if one.key.name == "StageSilent"]
    last = FIRST + len(came)
    ends = [last if one.resolved_ms is None else one.resolved_ms // SHORT.ms - 1 for one in fired]
    return [range(one.noticed_ms // SHORT.ms - 1, end) for one, end in zip(fired, ends, strict=True)]


@pytest.mark.parametrize(
    ("kind", "rhythm", "hourly", "hours"),
    [
        ("customer", "declared", 3000, 3),
        ("customer", "of its own", 3000, 3),
        ("customer", "of its own", 60, 16),
        ("feedback", "declared", 300, 4),
        ("feedback", "of its own", 300, 4),
    ],
)
def test_nothing_is_good_while_the_alert_goes_on(kind: str, rhythm: str, hourly: int, hours: int) -> None:
    """Of a rhythm that is declared or its own, where a page or a ticket is held."""
    came, rules = usual_then_not(hourly, hours), held_to(kind, rhythm, hourly)
    firing = silences(rules, came)
    stage = rules.journey.stage("store")
    windows = stage_windows(rules.journey, stage)
    told = {True: 0, False: 0}
    for at, n in enumerate(came, FIRST):
        for grain in (SHORT, LONG) if n else ():
            windows.add(PaneKey(grain.ms, grain.start_of(at * SHORT.ms)), dict.fromkeys(COUNTED, n))
        if at < FIRST + WEEK + DAY or at % 3:
            continue
        now_ms = (at + 1) * SHORT.ms - 1
        known = stage_snapshot(rules.journey, stage, windows, now_ms, Seen(began_ms=FIRST * SHORT.ms))
        state = Snapshot(rules.journey, now_ms, True, (known,), "1", partitions=1, owned=1).state(known)
        is_firing = any(at in span for span in firing)
        assert not (is_firing and state in (State.GOOD, State.WITHIN_CHANCE)), at - FIRST
        told[is_firing] += state is State.GOOD or is_firing
    assert min(told.values()) > 20


HOURS = "[1, 1, 1, 1, 1, 1, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1, 1, 1]"
"""From midnight on: at night few come."""


def held_for(kind: str) -> Plan:
    """A shop, and another stage that expects 20 events in five minutes by day, in half an hour by night."""
    return plan(
        parse(f"""
version: 1
journey: new
segments: []
stages:
  shop:
    kind: customer
    owner: me
    experiences: {{served: {{judges: {{}}, good: {{outcome: [ok]}}, target: 0.9}}}}
  store:
    kind: {kind}
    owner: me
    expects: {{per_hour: 240, by_hour: {HOURS}}}
    experiences: {{served: {{judges: {{}}, good: {{outcome: [ok]}}, target: 0.9}}}}
""")
    )


def alerting(rules: Plan, came: dict[str, NDArray[np.int64]], start: int, began: int) -> list[bool]:
    """By slice from `began` on, whether `StageSilent` of the store fires of a group that began then."""
    history = History(rules)
    for name, n in came.items():
        held = history.stages[name]
        table = held.table(start, start + len(n))
        table[held.events] = table[held.good["served", "other"]] = n
        add_slices(held, start, table)
    spans = spans_of(rules, history.heard(), began, start + len(came["store"]), since=began)
    fires = {(key.name, key.stage): mask for key, mask in alerts_of(rules, spans, {})}
    found: list[bool] = fires["StageSilent", "store"].tolist()
    return found


@pytest.mark.parametrize("kind", ["customer", "feedback"])
@pytest.mark.parametrize(("hour", "first", "is_alerting"), [
    (12, 30, False),
    (12, 38, True),  # nothing came for five minutes of which all was seen
    (12, 500, True),
    (3, 30, False),
    (3, 180, False),
    (3, 190, True),
    (20, 500, True),  # the night begins before the first event does
])  # fmt: skip
def test_what_was_silent_from_the_first_start_on(hour: int, first: int, is_alerting: bool, kind: str) -> None:
    """The first event of a stage does not make it good while the alert is held; and where nobody has seen it
    silent it is not taken for that, though others had events before."""
    rules, began = held_for(kind), FIRST - FIRST % DAY + hour * 360
    start, end = began - 360, began + first + 480
    came = {name: np.full(end - start, 3) for name in ("shop", "store")}
    came["store"][: began + first - start] = 0
    fires = alerting(rules, came, start, began)
    seen = Seen(began_ms=began * SHORT.ms)
    stages = [(stage, stage_windows(rules.journey, stage)) for stage in rules.journey.stages]
    for at in range(start, end):
        for stage, windows in stages:
            for grain in (SHORT, LONG) if came[stage.name][at - start] else ():
                windows.add(PaneKey(grain.ms, grain.start_of(at * SHORT.ms)), dict.fromkeys(COUNTED, 3))
        if at < began + first + 10 or at % 4:
            continue
        now_ms = (at + 1) * SHORT.ms - 1
        known = tuple(stage_snapshot(rules.journey, *one, now_ms, seen) for one in stages)
        state = Snapshot(rules.journey, now_ms, True, known, "1", partitions=1, owned=1).state(known[1])
        lately = fires[max(at - began - LAG_S // 10 - 1, 0) : at - began + 1]
        assert state is State.GOOD or any(lately), at - began
        assert state is State.TOO_FEW or not lately[-1], at - began
        lag = PartitionLag(0, 0, 0, whole_since_ms=(began + first) * SHORT.ms)
        lost = replace(
            known[1], lags=(lag,)
        )  # its counts were lost with its changelog, as the first event came
        snapshot = Snapshot(rules.journey, now_ms, True, (known[0], lost), "1", partitions=1, owned=1)
        assert snapshot.state(lost) is State.GOOD
    assert any(fires) == is_alerting


def test_arrivals_of_workers_with_other_clocks() -> None:
    """Those of another are added where they belong, as far as one's own reach."""
    mine = Arrivals(SHORT, 100_000, np.array([1, 2, 3]))
    assert mine.plus(Arrivals(SHORT, 90_000, np.array([9, 10, 20, 30]))).counts.tolist() == [11, 22, 33]
    assert mine.plus(Arrivals(SHORT, 120_000, np.array([10, 9]))).counts.tolist() == [1, 2, 13]
    assert mine.plus(Arrivals(SHORT, 500_000, np.array([9]))).counts.tolist() == [1, 2, 3]
    assert [mine.since(at) for at in (0, 110_000, 119_999, 120_000, 130_000)] == [6, 5, 5, 3, 0]
    assert [mine.within(at, 125_000) for at in (0, 100_001, 110_000, 125_000)] == [3, 2, 2, 0]
    assert [mine.evenly(0, at) for at in (0, 105_000, 120_000, 125_000, 200_000)] == [0, 0.5, 3, 4.5, 6]
