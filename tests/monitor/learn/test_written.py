"""Small histories, and what a journey file says of each."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import orjson
import pytest

from monitor.backtest.history import History
from monitor.counting.event import Refused, decoded
from monitor.counting.measures import Share
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.learn.limits import WaitLimit, wait_limit
from monitor.learn.order import in_order
from monitor.learn.propose import frequent, timezone_of
from monitor.learn.rhythm import rhythm
from monitor.learn.seen import MAX_NAMES, Names, Seen, Waits
from monitor.learn.targets import achieved, hair_under
from monitor.learn.written import Learned, written
from monitor.rules.plan import plan

IDS = count()

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def event(stage: str, at: datetime = MONDAY, **fields: Any) -> bytes:
    """A line of a history."""
    named = {"id": str(next(IDS)), "time": at.isoformat(), "stage": stage, "outcome": "ok"}
    return orjson.dumps(named | fields)


def seen_in(lines: Iterable[bytes]) -> Seen:
    """What they hold."""
    seen = Seen()
    for line in lines:
        found = decoded(line)
        assert not isinstance(found, Refused)
        seen.add(found)
    return seen


def learned_from(lines: list[bytes], timezone: str = "UTC") -> tuple[str, Journey]:
    """The file with its targets, and the journey that it is."""
    learned = Learned("shop", timezone, seen_in(lines))
    draft = plan(parse(written(learned)))
    history = History(draft)
    for line in lines:
        assert history.add_line(line) is None
    history.end()
    text = written(replace(learned, achieved=achieved(draft, history)))
    return text, parse(text)


def hourly(days: int, at: datetime = MONDAY) -> Iterator[datetime]:
    """Every hour of so many days."""
    return (at + timedelta(hours=hour) for hour in range(24 * days))


def test_stages_stand_in_the_order_in_which_journeys_pass_them() -> None:
    """Not in that of the file, and not as the odd journey goes; those that no journey passes come last."""
    lines = [event("mood")]
    for n in range(9):
        path = ("checkout", "packing", "delivery") if n else ("delivery", "packing", "checkout")
        lines += [
            event(stage, MONDAY + timedelta(minutes=i), journey_id=f"j-{n}") for i, stage in enumerate(path)
        ]
    lines.reverse()
    assert in_order(seen_in(lines)) == ["checkout", "packing", "delivery", "mood"]
    alone = [event("second"), event("first")]
    assert in_order(seen_in(alone)) == ["second", "first"]


def test_names_are_the_frequent_ones_that_a_file_can_list() -> None:
    """Most frequent first. Ids that a service put into the field leave no room for no more."""
    names = Names()
    for name, n in (("web", 5_000), ("app", 6_000), ("typo", 3), ("Call Centre", 9_000), ("other", 9_000)):
        for _ in range(n):
            names.add(name)
    names.add(None)
    assert frequent(names) == ("app", "web")
    for n in range(2 * MAX_NAMES):
        names.add(f"id_{n}")
    assert len(names) == MAX_NAMES
    assert frequent(names) == ("app", "web")


def waits(stayed: dict[float, int], left: dict[float, int]) -> Waits:
    """So many of each wait."""
    found = Waits()
    for counts, has_left in ((stayed, False), (left, True)):
        for wait_s, n in counts.items():
            for _ in range(n):
                found.add(wait_s, has_left=has_left)
    return found


def test_the_limit_of_a_wait_is_where_customers_leave() -> None:
    """Half of those who left, but not at once. Where nobody leaves it is what nine of ten wait at most."""
    leave = {2.0: 90, 20.0: 10, 50.0: 30, 400.0: 15}
    told = "half of the 55 who waited longer than 5 s and left had left by then"
    assert wait_limit(waits({1.0: 80, 40.0: 10, 300.0: 10}, leave)) == WaitLimit(60, told)
    assert wait_limit(waits({200.0: 100}, leave)) == WaitLimit(300, told)
    assert wait_limit(waits({1.0: 85, 12.0: 10, 400.0: 5}, {9.0: 3})) == WaitLimit(
        20, "nine of ten wait no longer"
    )
    assert wait_limit(waits({90_000.0: 10}, {})) is None


def test_a_week_has_hours_and_a_rhythm() -> None:
    """In local time, for three weeks: weekdays 9 to 17, less on Friday; a caller at night opens nothing."""
    quarters: dict[int, int] = {}
    first_ms = int(MONDAY.timestamp() * 1000)
    for at in hourly(21):
        is_open = at.weekday() < 5 and 7 <= at.hour < 15
        quarters[int(at.timestamp()) // 900] = (40 if at.weekday() == 4 else 80) * is_open
    quarters[int(MONDAY.timestamp()) // 900] = 1
    found = rhythm(quarters, first_ms, first_ms + 21 * 86_400_000 - 1, "Europe/Helsinki")
    assert found.hours == {"mon-fri": "09:00-17:00"}
    assert found.by_hour == tuple(40 if 9 <= hour < 17 else 0 for hour in range(24))
    week = rhythm(quarters, first_ms, first_ms + 7 * 86_400_000 - 1, "Europe/Helsinki")
    assert week.hours == {}, "an hour that was seen once may have been empty by chance"


@pytest.mark.parametrize(
    ("offsets", "zone"),
    [
        ([0], "UTC"),
        ([120], "Etc/GMT-2"),
        ([-300], "Etc/GMT+5"),
        ([120, 180], "UTC"),
        ([330], "UTC"),
        ([1_380], "UTC"),
    ],
)
def test_the_zone_is_that_of_the_clocks(offsets: list[int], zone: str) -> None:
    """Where they agree and a zone has full hours."""
    assert timezone_of({timedelta(minutes=offset): 1 for offset in offsets}) == zone


@pytest.mark.parametrize(
    ("good", "bad", "target"),
    [(9_240, 760, "0.918"), (99_930, 70, "0.9988"), (100, 0, "0.953"), (0, 50, "0.05"), (1, 1, "0.09")],
)
def test_a_target_is_a_hair_under_what_was_achieved(good: int, bad: int, target: str) -> None:
    """The fewer were judged the thicker the hair."""
    assert hair_under(Share(good, bad)) == Decimal(target)


def test_a_segment_far_behind_is_held_to_its_worst_day() -> None:
    """One that is on par has no target of its own; the worst of three days had 30 of 100."""
    lines = []
    for at in hourly(3):
        for n in range(100):
            at_n = at + timedelta(seconds=n)
            good = {"gold": n < 96, "silver": n < (60, 60, 30)[at.day - 2], "new": n < 97}
            lines += [
                event("shop", at_n, segment=name, outcome="ok" if is_good else "failed")
                for name, is_good in good.items()
                if at.hour == 12
            ]
    text, journey = learned_from(lines)
    (experience,) = journey.stages[0].experiences
    assert experience.segment_targets.keys() == {"silver"}
    assert experience.segment_targets["silver"] < Decimal("0.3")
    assert "achieved 30.0 % of 100 on the worst day; set a hair under it" in text


def test_a_day_of_trouble_excuses_no_other() -> None:
    """It is left out of what was achieved, as the comment says: a fault is no reason for a loose target."""
    lines = [
        event("shop", at + timedelta(minutes=n), outcome="failed" if n < (40 if at.day == 4 else 2) else "ok")
        for at in hourly(6)
        for n in range(50)
    ]
    text, journey = learned_from(lines)
    assert journey.stages[0].experiences[0].target == Decimal("0.943")
    assert "achieved 96.0 % of 6,000 over 6 days, 1 day of trouble left out; set a hair under it" in text


def test_beginnings_teach_nothing() -> None:
    """An event that begins an encounter is no event of its stage: the one that ends it is."""
    ends = [event("calls", at, encounter_id=f"c-{at}", wait_s=5) for at in hourly(2)]
    begun = [event("calls", at, encounter_id=f"c-{at}", outcome="queued") for at in hourly(2)]
    assert learned_from([*ends, *begun]) == learned_from(ends)


def test_what_a_stage_is_follows_from_its_events() -> None:
    """Staff tell scores and no customer; a customer is met in a channel, and a partner has no channel."""
    lines = []
    for at in hourly(2):
        lines += [
            event(
                "checkout", at, channel="web", outcome="abandoned" if at.hour == 3 else "ok", partner="klarna"
            ),
            event("packing", at, customer_ref="c-x"),
            event(
                "delivery", at, partner="postnord", promise={"id": "p", "kind": "window", "kept": at.hour > 0}
            ),
            event("survey", at, segment="new", score={"kind": "nps", "value": at.hour % 10}),
            event("mood", at, score={"kind": "csat", "value": 4}),
            event("repair", at, outcome="mended", channel="web"),
        ]
    text, journey = learned_from(lines)
    kinds = {stage.name: stage.kind for stage in journey.stages}
    assert kinds == {
        "checkout": "customer", "packing": "background", "delivery": "partner",
        "survey": "feedback", "mood": "staff", "repair": "customer",
    }  # fmt: skip
    held_to = {stage.name: [one.name for one in stage.experiences] for stage in journey.stages}
    assert held_to["delivery"] == ["succeeds", "window_kept"]
    assert held_to["survey"] == ["nps_not_unhappy"]
    assert journey.stage("repair").outcomes[-1] == "mended"
    assert journey.partners == ("klarna", "postnord")
    assert "# a guess: its usual outcome is good" in text


def test_journeys_show_what_is_owed_and_where_they_lead() -> None:
    """Promises and hand-overs with how long they take; one to an unknown partner, or of a few, is none."""
    lines = []
    for n in range(60):
        at, name = MONDAY + timedelta(hours=n), {"journey_id": f"j-{n}"}
        due = (at + timedelta(hours=30)).isoformat()
        promise = {"id": f"p-{n}", "kind": "window", "due": due}
        given = {"id": f"h-{n}", "from": "packing", "to": "postnord"}
        lines += [
            event("checkout", at, channel="web", **name),
            event("packing", at + timedelta(hours=1), promise=promise, handoff=given, **name),
            event("calls", at + timedelta(hours=2), channel="phone", case_id=f"c-{n}", **name),
            event(
                "delivery", at + timedelta(hours=20), handoff=given, partner="postnord" if n else "dhl",
                promise=promise | {"kept": n % 6 > 0}, **name,
            ),
        ]  # fmt: skip
    lines += [event("packing", handoff={"id": "x", "from": "packing", "to": "delivery"}, journey_id="j-x")]
    lines += [event("checkout", MONDAY + timedelta(days=9), journey_id="j-y")]
    text, journey = learned_from(lines[::-1])
    found = journey.journeys
    assert found is not None
    assert [dict(match.fields) for match in (found.starts, found.goal)] == [
        {"stage": {"checkout"}},
        {"stage": {"delivery"}, "outcome": {"ok"}},
    ]
    assert [(one.name, one.stage) for one in found.promises] == [("window", "delivery")]
    assert Decimal("0.6") < found.promises[0].target < Decimal("0.83")
    hour_ms = 3_600_000
    (edge,) = found.edges
    assert (edge.sender, edge.receiver, edge.within_ms) == ("packing", "delivery", 24 * hour_ms)
    assert (found.limit_ms, found.contacts) == (24 * hour_ms, ("calls",))
    assert found.moves_target is not None
    assert "achieved 100 % of 60 over 9 days" in text
    assert learned_from([event("checkout", at, journey_id="j") for at in hourly(2)])[1].journeys is None


def test_every_number_has_its_reason() -> None:
    """Beside it or above it; and nothing is expected before every day of the week was seen."""
    lines = [
        event("calls", at + timedelta(minutes=5 * n), wait_s=n, outcome="abandoned" if n > 7 else "ok")
        for at in hourly(8)
        for n in range(12)
    ]
    text, journey = learned_from(lines)
    assert journey.stages[0].per_hour == 12
    before = ""
    for line in text.splitlines():
        if re.search(r"\d", line.partition("#")[0]) and "version" not in line:
            is_limit = "at_most" in line or "title" in line
            assert "#" in line or before.startswith("    #") or is_limit, line
        before = line
    assert "expects" not in learned_from(lines[:1200])[0]


def test_a_stage_that_has_no_name_is_left_out() -> None:
    """With its events, which a worker would refuse; so is an outcome."""
    seen = seen_in(
        [
            event("A Shop"),
            event("web"),
            event("web", outcome="OK!"),
            event("web", outcome="null"),
            event(""),
        ]
    )
    assert list(seen.stages) == ["web"]
    assert seen.n == 1
    assert dict(seen.unnamed) == {"A Shop": 1, "OK!": 1, "null": 1, "": 1}


@pytest.mark.parametrize("outcome", ["abandoned", "mended"])
def test_waits_of_whom_nobody_is_known_to_be_served(outcome: str) -> None:
    """Where all left there is no limit to keep; where no outcome is known the usual one is good."""
    lines = [event("calls", at, wait_s=30, outcome=outcome) for at in hourly(2)]
    names = [one.name for one in learned_from(lines)[1].stages[0].experiences]
    assert names == (["succeeds"] if outcome == "abandoned" else ["succeeds", "fast"])
