"""Whole journeys are judged by terms of what journeys count: each comes to what plain words say of it."""

import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from monitor.backtest.history import StageHistory
from monitor.counting.panes import SHORT
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import WHOLE, Journey
from monitor.journeys.counters import JOURNEY_FAMILIES, counter_names
from monitor.rules.journeys import BETWEEN, GOAL, Term, Watched, watched
from monitor.rules.plan import pages_for, plan, severities
from tests.kit.shipped import SHIPPED as CHAIR

ONE_STAGE = """
version: 1
journey: short
segments: []
stages:
  shop:
    {kind: customer, owner: me, experiences: {bought: {judges: {}, good: {outcome: [ok]}, target: 0.9}}}
"""
SMALLEST = parse(
    ONE_STAGE
    + "journeys: {owner: me, starts: {stage: [shop]}, goal: {outcome: [ok]}, target: 0.9, limit: 1d}\n"
)

Cells = dict[tuple[str, str], tuple[int, int]]
"""Experience and what takes the segment's place, to events and bad."""


def in_plain_words(tally: Counter[str]) -> Cells:
    """What the shipped journey's counters come to, worked out name by name."""
    found: Cells = {}
    for segment in ("business", "returning", "new", "other"):
        met, missed = tally[f"closed/met/{segment}"], tally[f"closed/missed/{segment}"]
        found["goal", segment] = met + missed, missed
    owing = {
        "delivery_window": ("unassigned", "postnord", "matkahuolto", "other"),
        "courier_call_ahead": ("unassigned", "postnord", "matkahuolto", "other"),
        "call_back": ("none", "other"),
        "follow_up": ("none", "other"),
    }
    for kind, partners in owing.items():
        for partner in partners:
            due, kept = (tally[f"promise/{kind}/{partner}/{what}"] for what in ("due", "kept"))
            found[f"promise_{kind}", partner] = due, due - kept
    for partner in ("none", "postnord", "matkahuolto", "other"):
        received, lost, late = (
            tally[f"handoff/warehouse/delivery/{partner}/{what}"] for what in ("received", "lost", "late")
        )
        found["handoff_warehouse_delivery", partner] = received - late + lost, lost
    channels = ("web", "app", "phone", "store", "email", "chat", "other")
    for one in channels:
        for other in channels:
            if one != other:
                found["moves", f"{one}>{other}"] = (
                    tally[f"moved/{one}/{other}"],
                    tally[f"lost/{one}/{other}"],
                )
    for stage in ("web_checkout", "call_queue", "store", "warehouse", "delivery"):
        cells = {cell: n for cell, n in tally.items() if cell.startswith(f"gap/{stage}/")}
        found["understood", stage] = sum(cells.values()), tally[f"gap/{stage}/ok_inside_bad_outside"]
    return found


def by_terms(journey: Journey, tally: Counter[str]) -> Cells:
    """What the terms of all that is watched say of the same counters."""
    found: Cells = {}
    for one in watched(journey):
        for group in one.groups or journey.segment_labels:
            found[one.experience.name, group] = (0, 0)
        for counter, n in tally.items():
            family, *values = counter.split("/")
            metric = JOURNEY_FAMILIES[family]
            labels = dict(zip(metric.labels, values, strict=False))
            if set(one.by) <= labels.keys():
                cell = one.experience.name, BETWEEN.join(labels[label] for label in one.by)
                events, bad = (
                    n * sum(term.counts(metric, labels) for term in terms) for terms in (one.events, one.bad)
                )
                if events or bad:
                    before = found[cell]  # no group that is not known
                    found[cell] = before[0] + events, before[1] + bad
    return found


@pytest.mark.parametrize("seed", range(5))
def test_terms_are_what_plain_words_say(seed: int) -> None:
    """For any counts, events and bad of every experience and group; and no counter is in two groups."""
    rng = random.Random(seed)
    tally = Counter({name: rng.randint(0, 50) for name in counter_names(CHAIR)})
    assert by_terms(CHAIR, tally) == in_plain_words(tally)


@pytest.mark.parametrize("seed", range(3))
def test_a_history_holds_the_same(seed: int) -> None:
    """Counters added one by one to the history of whole journeys come to the same events and bad."""
    rng = random.Random(seed)
    tally = Counter({name: rng.randint(0, 3) for name in counter_names(CHAIR)})
    stage = plan(CHAIR).stages[-1]
    assert stage is not None
    held = StageHistory(plan(CHAIR), stage)
    for name, n in tally.items():
        for _ in range(n):
            held.add((name,), 1_700_000_000_000)
    slot = 1_700_000_000_000 // SHORT.ms
    column = held.table(slot, slot + 1)[:, 0]
    found = {
        cell: (int(column[row]) + int(column[held.bad[cell]]), int(column[held.bad[cell]]))
        for cell, row in held.good.items()
    }
    assert found == in_plain_words(tally)
    assert column[held.events] == sum(n for name, n in tally.items() if name.startswith("closed/"))
    for of, row in held.reasons.items():
        cause = "failed/" + of.replace(" ", "/") + "/"
        assert column[row] == sum(n for name, n in tally.items() if name.startswith(cause))
    assert sum(int(column[row]) for row in held.reasons.values()) > 0
    for of, rows in held.critical.items():
        cells = ("bad_detractor", "bad_other", "ok_detractor", "ok_other")
        assert column[rows].tolist() == [tally[f"critical/{of}/{cell}"] for cell in cells]


def by_name(journey: Journey) -> dict[str, Watched]:
    """All that is watched."""
    return {one.experience.name: one for one in watched(journey)}


def test_the_shipped_journey_is_watched() -> None:
    """Goal first; targets, owners and alerts as the file says them; what is overdue has its name there."""
    told = [
        (one.experience.name, one.alert, one.owner, one.experience.target, one.overdue)
        for one in watched(CHAIR)
    ]
    assert told == [
        ("goal", "JourneyDegraded", "customer-care", Decimal("0.80"), ""),
        (
            "promise_delivery_window", "PromisesOverdue", "logistics", Decimal("0.90"),
            "promise/delivery_window",
        ),
        (
            "promise_courier_call_ahead", "PromisesOverdue", "logistics", Decimal("0.85"),
            "promise/courier_call_ahead",
        ),
        ("promise_call_back", "PromisesOverdue", "contact-centre", Decimal("0.90"), "promise/call_back"),
        ("promise_follow_up", "PromisesOverdue", "customer-insight", Decimal("0.70"), "promise/follow_up"),
        (
            "handoff_warehouse_delivery", "HandoversLost", "logistics", Decimal("0.97"),
            "handoff/warehouse/delivery",
        ),
        ("moves", "CustomersLost", "customer-care", Decimal("0.80"), ""),
        ("understood", "UnderstandingGap", "customer-care", Decimal("0.80"), ""),
    ]  # fmt: skip
    assert by_name(CHAIR)[GOAL].experience.segment_targets == {"business": Decimal("0.85")}
    handed = by_name(CHAIR)["handoff_warehouse_delivery"].experience
    assert handed.title == "What Warehouse hands over reaches Delivery", "by the titles of stages"


def test_only_what_the_file_names_is_watched() -> None:
    """Without promises, hand-overs, moves and answers there is a goal; without journeys, nothing."""
    assert list(by_name(SMALLEST)) == [GOAL]
    without = parse(ONE_STAGE)
    assert watched(without) == ()
    assert without.journeys is None
    assert plan(without).stages == without.stages


def test_whole_journeys_are_a_stage() -> None:
    """The last of all, which no topic has; the trouble of any stage customers live through explains its own;
    only its goal wakes anybody."""
    stage = plan(CHAIR).stages[-1]
    assert (stage.name, stage.topic, stage.owner) == (WHOLE, "", "customer-care")
    before = plan(CHAIR).upstream[stage.name]
    assert before == ("web_checkout", "call_queue", "store", "warehouse", "delivery")
    assert severities(stage) == ("page", "ticket")
    assert [one.name for one in pages_for(stage)] == [GOAL]
    rules = [rule for rule in plan(CHAIR).qualities if rule.stage.name == WHOLE]
    assert {rule.experience.name for rule in rules if rule.severity == "page"} == {GOAL}
    assert {rule.experience.name for rule in rules if rule.severity == "ticket"} == set(by_name(CHAIR))
    assert [rule.segments for rule in rules if rule.experience.name == GOAL] == [
        segments for segments in (("all", "returning", "new"), ("business",)) for _ in range(2)
    ]
    assert {rule.segments for rule in rules if rule.experience.name != GOAL} == {()}


def test_nothing_fast_is_for_whole_journeys() -> None:
    """Many are over at once, days after what went wrong: no limit looks at less than half an hour."""
    windows = {
        w
        for rule in plan(CHAIR).qualities
        if rule.stage.name == WHOLE
        for one in rule.limits
        for w in one.windows
    }
    assert windows == {"30m", "2h", "6h", "1d", "3d", "7d"}


def test_a_term_counts_what_has_its_labels() -> None:
    """One more of a series adds its sign, whatever further labels it has; of any other it adds nothing."""
    metric = JOURNEY_FAMILIES["promise"]
    due = Term(metric, {"kind": "call_back", "result": "due"})
    labels = {"kind": "call_back", "partner": "none", "result": "due"}
    assert due.counts(metric, labels) == 1
    assert replace(due, sign=-1).counts(metric, labels) == -1
    assert due.counts(metric, labels | {"result": "kept"}) == 0
    assert due.counts(JOURNEY_FAMILIES["handoff"], labels) == 0
