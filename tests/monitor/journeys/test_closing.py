"""What a journey that is over adds up to, by the definitions of `monitor/journeys/README.md`."""

from collections.abc import Iterable
from typing import Any, Literal

import pytest

from monitor.counting.event import Score
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import SCALES
from monitor.journeys.closing import Closing, Failure, is_unhappy
from monitor.journeys.counters import counter_names
from monitor.journeys.step import Step
from streams.settings import SHIPPED_JOURNEY
from tests.kit.shipped import SHIPPED as CHAIR

BEGIN = 1_800_000_000_000
HOUR = 3_600_000


def step(hours: float, stage: str, outcome: str = "ok", **fields: Any) -> Step:
    """An encounter so long after the beginning."""
    bad_for = fields.pop("bad_for", ())
    at_ms = BEGIN + round(hours * HOUR)
    return Step("j", stage, 0, at_ms, at_ms, outcome, 2, bad_for, **fields)


def call(hours: float, channel: str | None, outcome: str = "failed", **fields: Any) -> Step:
    """A contact that does not help, though it was answered in two seconds."""
    return step(hours, "call_queue", outcome, channel=channel, reason="not_solved", **fields)


def closed(*steps: Step, failures: tuple[Failure, ...] = ()) -> list[str]:
    """All counters, every one of them of the closed key space."""
    found = Closing(CHAIR).counters(steps, "new", failures)
    assert set(found) <= set(counter_names(CHAIR))
    return found


BACK = (call(0, "chat"), call(1, "phone"), call(2, "chat"))


@pytest.mark.parametrize(
    "more",
    [
        (),
        (step(3, "feedback", "asked"),),
        (step(3, "feedback", "ok", score=Score("nps", 9)),),
        (step(3, "store", "followed_up", channel="store"),),
    ],
)
def test_a_labyrinth_is_one_whatever_is_asked_after_it(more: tuple[Step, ...]) -> None:
    """Back to a channel left, and the last contact did not help: neither a question nor speed solves it."""
    found = closed(*BACK, *more)
    assert found.count("labyrinth/new") == 1
    assert "lost/phone/chat" in found


@pytest.mark.parametrize(
    "steps",
    [
        (*BACK, call(3, "chat", "ok")),
        (call(0, "chat"), call(1, "phone")),
        (step(-1, "web_checkout"), *BACK, step(3, "delivery", "ok", touchpoint="doorstep")),
        (call(0, None), call(1, "phone"), call(2, "chat"), call(3, "email")),
    ],
)
def test_what_was_solved_or_did_not_stray_is_no_labyrinth(steps: tuple[Step, ...]) -> None:
    """The last contact helped; one change; the goal was met; no change from a channel that nobody named."""
    assert not any(one.startswith(("labyrinth", "lost")) for one in closed(*steps))


def test_a_goal_that_was_missed_is_unresolved_whatever_came_last() -> None:
    """Who wanted a chair and got none was not helped by a call that went well."""
    found = closed(step(0, "web_checkout", channel="web"), *BACK, call(3, "chat", "ok"))
    assert "closed/missed/new" in found
    assert "labyrinth/new" in found


def test_three_changes_of_channel_or_unit_are_astray() -> None:
    """On one channel from unit to unit, too; then no change of channel is to blame."""
    sent_on = [
        step(n, stage, "failed", channel="phone")
        for n, stage in enumerate(("call_queue", "store", "call_queue", "store"))
    ]
    found = closed(*sent_on)
    assert "labyrinth/new" in found
    assert not any(one.startswith("lost/") for one in found)
    assert not any(one.startswith("labyrinth") for one in closed(*sent_on[:3]))


@pytest.mark.parametrize(
    ("failures", "cause"),
    [
        ((), "stage/store"),
        ((Failure(BEGIN + 9, "promise", "delivery_window"),), "promise/delivery_window"),
        (
            (Failure(BEGIN + 5, "promise", "call_back"), Failure(BEGIN + 9, "handoff", "warehouse>delivery")),
            "handoff/warehouse>delivery",
        ),
    ],
)
def test_a_missed_goal_names_what_failed_it(failures: tuple[Failure, ...], cause: str) -> None:
    """A hand-over lost, else a promise not kept, else the weakest stage; of no other journey."""
    steps = (step(0, "web_checkout"), step(1, "store", bad_for=("store_wait",)))
    assert [one for one in closed(*steps, failures=failures) if one.startswith("failed/")] == [
        f"failed/{cause}/new"
    ]
    met = (*steps, step(2, "delivery", touchpoint="doorstep"))
    assert not any(one.startswith("failed/") for one in closed(*met, failures=failures))


def test_a_missed_goal_without_a_fault_names_none() -> None:
    """No encounter was bad, nothing was lost or broken."""
    assert "failed/none/none/new" in closed(step(0, "web_checkout"))


@pytest.mark.parametrize(
    ("after", "who"),
    [
        ((), "nobody"),
        ((step(3, "feedback", "asked", initiator="company"),), "nobody"),
        ((call(3, "phone", "ok", initiator="company"), call(4, "phone")), "company"),
        ((call(3, "phone"), call(4, "phone", "ok", initiator="company")), "customer"),
        ((step(3, "feedback", "followed_up", initiator="company"),), "company"),
    ],
)
def test_who_spoke_first_when_something_went_wrong(after: tuple[Step, ...], who: str) -> None:
    """Of a bad encounter, a promise not kept, a hand-over lost; asking for an answer is not speaking."""
    bad = step(0, "store", bad_for=("store_wait",))
    assert f"noticed/{who}" in closed(bad, *after)
    for cause, about in (("handoff", "warehouse>delivery"), ("promise", "delivery_window")):
        failed = (Failure(BEGIN + 2 * HOUR, cause, about),)
        found = closed(step(0, "web_checkout"), *after, failures=failed)
        assert [one for one in found if one.startswith("noticed/")] == [f"noticed/{who}"]
    assert not any(one.startswith("noticed/") for one in closed(step(0, "web_checkout"), *after))


QUEUE, STORE = (step(at, stage, bad_for=("bad",)) for at, stage in ((1, "call_queue"), (2, "store")))
LATE = Failure(BEGIN + 9, "promise", "delivery_window")
LOST = Failure(BEGIN + 8, "handoff", "warehouse>delivery")


@pytest.mark.parametrize(
    ("steps", "failures", "fix"),
    [
        ((), (), None),
        ((QUEUE,), (), "stage:call_queue/none"),
        ((QUEUE, step(5, "call_queue", bad_for=("bad",))), (), "stage:call_queue/none"),
        ((), (LATE, LATE), "promise:delivery_window/none"),
        ((), (LOST,), "handoff:warehouse>delivery/none"),
        ((STORE, QUEUE), (), "stage:call_queue/stage:store"),
        ((QUEUE,), (LATE,), "promise:delivery_window/stage:call_queue"),
        ((), (LATE, LOST), "handoff:warehouse>delivery/promise:delivery_window"),
        ((QUEUE, STORE), (LATE,), None),
        ((QUEUE, step(9, "feedback", bad_for=("nps",), score=Score("nps", 2))), (), "stage:call_queue/none"),
        ((step(9, "feedback", bad_for=("nps",), score=Score("nps", 2)),), (), None),
        ((QUEUE, step(9, "staff_pulse", bad_for=("staff_well",))), (), "stage:call_queue/none"),
    ],
)
def test_a_journey_counts_for_what_alone_would_have_made_it_good(
    steps: tuple[Step, ...], failures: tuple[Failure, ...], fix: str | None
) -> None:
    """One thing, or the pair that it takes; however often, wherever it went wrong. Of three none helps."""
    for begun in (step(0, "web_checkout"), step(0, "call_queue")):
        found = closed(begun, *steps, failures=failures)
        assert [one for one in found if one.startswith("fix/")] == ([f"fix/{fix}"] if fix else [])


@pytest.mark.parametrize(("kind", "unhappy"), [("nps", range(7)), ("csat", (1, 2)), ("ces", (1, 2))])
def test_who_is_unhappy_unless_the_file_says_another(
    kind: Literal["nps", "csat", "ces"], unhappy: Iterable[float]
) -> None:
    """Detractors, and who gives one of the two worst answers there are; three of five is neither."""
    assert CHAIR.journeys is not None
    least, greatest = SCALES[kind]
    values = range(least, greatest + 1)
    assert [value for value in values if is_unhappy(CHAIR.journeys.unhappy, Score(kind, value))] == list(
        unhappy
    )


def test_the_file_may_say_who_is_unhappy() -> None:
    """Three of five, where it says so; the other kinds are as they were, and a mean of 6.9 is not yet a 7."""
    strict = parse(
        SHIPPED_JOURNEY.read_text().replace("\njourneys:\n", "\njourneys:\n  unhappy: {csat: 3}\n")
    )
    steps = step(0, "call_queue", channel="phone"), step(1, "feedback", score=Score("csat", 3))
    assert "critical/call_queue/ok_detractor" in Closing(strict).counters(steps, "new", ())
    assert "critical/call_queue/ok_other" in Closing(CHAIR).counters(steps, "new", ())
    assert strict.journeys is not None
    assert [is_unhappy(strict.journeys.unhappy, Score("nps", value)) for value in (6.9, 7)] == [True, False]


def test_a_goal_met_without_a_start_is_a_visit() -> None:
    """It had no goal to meet."""
    found = closed(step(0, "delivery", "ok", touchpoint="doorstep"))
    assert found[0] == "closed/visit/new"


def test_a_follow_up_is_the_company_speaking() -> None:
    """Whether its service says who began it or not."""
    found = closed(step(0, "store", bad_for=("served",)), step(1, "feedback", "followed_up"))
    assert "noticed/company" in found
