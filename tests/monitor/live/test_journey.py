"""What is told of a journey is what its steps and the passing of time make of it, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from monitor.counting.event import Handoff, Promise, Score
from monitor.journeys.open import JourneyRules, OpenJourney
from monitor.journeys.pledge import Pledge
from monitor.journeys.step import Step
from monitor.live.journey import journey_answer
from monitor.live.shown import ShownStep
from tests.kit.shipped import SHIPPED

START = 1_700_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def two_days() -> JourneyRules:
    """The shipped rules, but for their times: two days of silence end a journey, a hand-over may take two."""
    journey = SHIPPED
    assert journey.journeys is not None
    edges = tuple(replace(edge, within_ms=2 * DAY) for edge in journey.journeys.edges)
    rules = replace(journey.journeys, quiet_ms=2 * DAY, limit_ms=14 * DAY, edges=edges)
    return JourneyRules(replace(journey, journeys=rules))


RULES = two_days()


def at(ms: int) -> datetime:
    """A moment after the start."""
    return datetime.fromtimestamp((START + ms) / 1000, UTC)


def told(ms: int) -> str:
    """The same as it is told."""
    return at(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def step(ms: int, stage: str = "web_checkout", outcome: str = "ok", **fields: Any) -> Step:
    """A step so long after the start."""
    bad_for = fields.pop("bad_for", ())
    return Step("j-1", stage, 0, ms, START + ms, outcome, 2, bad_for, **fields)


def journey(*steps: Step, clock: int = 0) -> OpenJourney:
    """What is kept when the steps have come and the clock has passed so long after the start."""
    held = OpenJourney()
    for one in steps:
        RULES.take(held, one)
    RULES.pass_time(held, START + clock)
    return held


def answer(held: OpenJourney, clock: int = 0, now: int = 0) -> dict[str, Any]:
    """What is told, after a journey through JSON."""
    said = journey_answer("j-1", held, RULES, START + clock, START + now)
    back: dict[str, Any] = orjson.loads(orjson.dumps(said))
    return back


def test_a_step_is_told_whole() -> None:
    """Every field that a step holds is told, its time in words; the journey's id stands above."""
    promise = Promise("p-1", "delivery_window", at(DAY), at(2 * DAY), None)
    full = step(
        5,
        bad_for=("checkout_fast",),
        segment="new",
        channel="web",
        touchpoint="pay",
        partner="klarna",
        reason="slow_page",
        initiator="customer",
        internal_ok=True,
        score=Score("nps", 9),
        promise=promise,
        handoff=Handoff("h-1", "warehouse", "delivery"),
    )
    (said,) = answer(journey(full))["steps"]
    fields = {"journey_id", "at_ms", *ShownStep.__struct_fields__} - {"time"}
    assert set(Step.__struct_fields__) == fields
    assert said == {
        "time": told(5),
        "stage": "web_checkout",
        "outcome": "ok",
        "touchpoint": "pay",
        "channel": "web",
        "partner": "klarna",
        "reason": "slow_page",
        "segment": "new",
        "initiator": "customer",
        "internal_ok": True,
        "judged": 2,
        "bad_for": ["checkout_fast"],
        "score": {"kind": "nps", "value": 9},
        "promise": {
            "id": "p-1",
            "kind": "delivery_window",
            "due_from": at(DAY).isoformat().replace("+00:00", "Z"),
            "due": at(2 * DAY).isoformat().replace("+00:00", "Z"),
            "kept": None,
        },
        "handoff": {"id": "h-1", "from": "warehouse", "to": "delivery"},
        "partition": 0,
        "offset": 5,
    }


def test_the_goal_and_the_weakest_encounter() -> None:
    """A visit has no goal, an order has one to meet; the weakest encounter is named unless all was good."""
    visit = answer(journey(step(0, "store")))
    assert (visit["state"], visit["goal"], visit["score"], visit["weakest"]) == ("open", "none", 1.0, None)
    order = journey(step(0, bad_for=("checkout_fast",)))
    said = answer(order)
    assert (said["goal"], said["score"], said["weakest"]) == ("not yet", 0.5, "web_checkout")
    RULES.take(order, step(HOUR, "delivery", touchpoint="doorstep"))
    assert answer(order)["goal"] == "met"


def test_each_promise_has_its_state() -> None:
    """Pending until word comes or the clock has passed its deadline; then kept, late, broken or overdue."""

    def promised(number: int, ms: int, kept: bool | None = None) -> Step:
        promise = Promise(f"p-{number}", "delivery_window", None, at(HOUR), kept)
        return step(ms, "delivery", promise=promise, partner="dhl")

    steps = [promised(number, number) for number in range(4)]
    steps += [promised(1, 30 * MINUTE, kept=True), promised(2, 2 * HOUR, kept=True)]
    held = journey(*steps, clock=3 * HOUR)
    RULES.take(held, step(3 * HOUR, promise=Promise("p-4", "call_back", None, at(9 * HOUR), None)))
    RULES.take(held, promised(5, 3 * HOUR + 1))
    RULES.take(held, promised(5, 3 * HOUR + 2, kept=False))
    called_off = Promise("p-6", "call_back", None, at(9 * HOUR), kept=False)
    RULES.take(held, step(3 * HOUR + 3, promise=called_off))
    promises = answer(held)["promises"]
    assert [one["state"] for one in promises] == [
        "overdue",
        "kept",
        "late",
        "overdue",
        "pending",
        "broken",
        "broken",
    ]
    assert promises[1] == {
        "id": "p-1",
        "kind": "delivery_window",
        "partner": held.pledges[1].partner,
        "made": told(1),
        "due_from": None,
        "due": told(HOUR),
        "rescheduled": None,
        "fulfilled": told(30 * MINUTE),
        "kept": True,
        "state": "kept",
    }
    assert promises[4]["kept"] is None


def test_each_hand_over_has_its_state() -> None:
    """Pending, received, late or overdue; one received before it was sent has no deadline."""

    def handed(number: int, ms: int, stage: str) -> Step:
        return step(ms, stage, handoff=Handoff(f"h-{number}", "warehouse", "delivery"))

    sent = [handed(number, number, "warehouse") for number in range(3)]
    steps = [*sent, handed(0, HOUR, "delivery"), handed(1, 3 * DAY - 1, "delivery")]
    held = journey(*steps, clock=3 * DAY)
    RULES.take(held, handed(3, 3 * DAY, "warehouse"))
    RULES.take(held, handed(4, 3 * DAY, "delivery"))
    said = answer(held)["handoffs"]
    assert [one["state"] for one in said] == ["received", "late", "overdue", "pending", "received"]
    assert (said[0]["from"], said[0]["to"], said[0]["sent"]) == ("warehouse", "delivery", told(0))
    assert (said[0]["due"], said[0]["received"]) == (told(2 * DAY), told(HOUR))
    assert (said[4]["sent"], said[4]["due"]) == (None, None)


def test_what_is_next_is_the_nearest_deadline_of_what_has_not_come() -> None:
    """Promises and hand-overs alike; what is fulfilled or overdue is not still to come."""
    assert answer(journey(step(0)))["next"] is None
    held = journey(
        step(0, promise=Promise("p-1", "call_back", None, at(HOUR), None)),
        step(1, promise=Promise("p-2", "call_back", None, at(3 * DAY), None)),
        step(2, "warehouse", handoff=Handoff("h-0", "warehouse", "delivery")),
        step(3, "warehouse", handoff=Handoff("h-1", "warehouse", "delivery")),
        step(4, "delivery", handoff=Handoff("h-0", "warehouse", "delivery")),
        step(5, "call_queue", promise=Promise("p-3", "call_back", None, at(HOUR - 1), True)),
    )
    said = answer(held, now=HOUR - MINUTE)
    assert said["next"] == {
        "what": "promise",
        "id": "p-1",
        "kind": "call_back",
        "partner": None,
        "due": told(HOUR),
        "in_s": 60.0,
    }
    assert not said["staleness"]["overdue"]
    RULES.pass_time(held, START + 2 * HOUR)
    later = answer(held, now=2 * HOUR)
    assert (later["next"]["what"], later["next"]["id"]) == ("handoff", "h-1")
    assert later["next"]["due"] == told(2 * DAY + 3)
    assert later["staleness"]["overdue"]


def test_when_it_ends_by_itself() -> None:
    """Silence ends a journey after two days, unless a promise is waited for."""
    assert answer(journey(step(0)))["ends"] == told(2 * DAY)
    waiting = journey(step(0, promise=Promise("p-1", "call_back", None, at(5 * DAY), None)))
    assert answer(waiting)["ends"] == told(7 * DAY)


def test_how_fresh_it_is() -> None:
    """The age of the last step, and how far the partition's clock is behind; unknown as long as it is."""
    held = journey(step(0), step(HOUR))
    fresh = answer(held, clock=2 * HOUR, now=2 * HOUR + MINUTE)["staleness"]
    assert fresh == {
        "at": told(2 * HOUR + MINUTE),
        "last_step_age_s": 3660.0,
        "clock": told(2 * HOUR),
        "clock_behind_s": 60.0,
        "overdue": False,
    }
    unknown = journey_answer("j-1", held, RULES, 0, START)["staleness"]
    assert (unknown["clock"], unknown["clock_behind_s"]) == (None, None)


def test_of_what_is_over_the_end_is_left() -> None:
    """A journey that is over says since when; its steps are no longer kept."""
    over = journey(step(0), step(HOUR, "feedback"), clock=DAY)
    over.strip()
    said = answer(over, clock=DAY, now=DAY)
    assert (said["state"], said["closed"], said["result"]) == ("over", told(HOUR), "missed")
    assert (said["steps"], said["promises"], said["handoffs"], said["next"], said["ends"]) == (
        [], [], [], None, None,
    )  # fmt: skip
    assert (said["goal"], said["score"], said["staleness"]["last_step_age_s"]) == (None, None, None)


def test_a_deadline_beyond_the_calendar_is_shown_as_its_end() -> None:
    """A service may promise for the year 9999, in a zone in which UTC is a year later."""
    held, one = OpenJourney(), Pledge("p", "delivery_window", 0)
    one.due_ms = 253_402_350_000_000
    held.pledges.append(one)
    said = journey_answer("j", held, RULES, HOUR, HOUR)
    assert said["promises"][0]["due"] == "9999-12-31T23:59:59.000Z"
