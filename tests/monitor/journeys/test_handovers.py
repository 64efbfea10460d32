"""What is handed over between stages, as `monitor/journeys/README.md` defines it."""

from itertools import permutations

import pytest

from monitor.counting.event import Handoff
from monitor.journeys.counters import Effect
from monitor.journeys.open import OpenJourney
from monitor.journeys.step import Step
from tests.monitor.journeys.test_open import BEGIN, DAY, RULES, comes_to
from tests.monitor.journeys.test_promises import counted, said


@pytest.mark.parametrize(
    ("sender", "to", "receiver", "partner"),
    [
        (None, "delivery", "postnord", "none"),
        ("klarna", "delivery", "postnord", "other"),
        ("matkahuolto", "delivery", "postnord", "matkahuolto"),
        (None, "postnord", None, "postnord"),
    ],
)
def test_a_hand_over_is_of_the_partner_whom_the_sender_names(
    sender: str | None, to: str, receiver: str | None, partner: str
) -> None:
    """Whichever of the two events is read first, all that is counted of it is of one partner."""
    handed = Handoff("h", "warehouse", to)
    sent = Step("j", "warehouse", 0, 1, BEGIN, "ok", 1, (), partner=sender, handoff=handed)
    received = Step("j", "delivery", 0, 2, BEGIN + DAY, "ok", 1, (), partner=receiver, handoff=handed)
    for order in permutations((sent, received)):
        counted = [name for name in comes_to(order) if name.startswith("handoff/")]
        assert counted == [f"handoff/warehouse/delivery/{partner}/{what}" for what in ("received", "sent")]


def test_what_nobody_says_to_have_sent_is_received_all_the_same() -> None:
    """Once, as the receiver names the partner, when the journey is over."""
    handed = Handoff("h", "warehouse", "delivery")
    received = Step("j", "delivery", 0, 2, BEGIN, "ok", 1, (), partner="postnord", handoff=handed)
    counted = [name for name in comes_to((received,)) if name.startswith("handoff/")]
    assert counted == ["handoff/warehouse/delivery/postnord/received"]


def handed(number: int, stage: str, days: float, to: str = "postnord") -> Step:
    """A step that hands `h` over to `to`, or receives it."""
    at_ms = BEGIN + round(days * DAY)
    return Step("j", stage, 0, number, at_ms, "ok", 1, (), handoff=Handoff("h", "warehouse", to))


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ([handed(1, "warehouse", 0), handed(2, "warehouse", 0), handed(3, "delivery", 1)], "received sent"),
        (
            [handed(1, "warehouse", 0), handed(2, "warehouse", 1, "matkahuolto"), handed(3, "delivery", 2)],
            "received sent",
        ),
        (
            [handed(1, "warehouse", 0), handed(2, "warehouse", 3), handed(3, "delivery", 6)],
            "late lost received sent",
        ),
        ([handed(1, "warehouse", 0), handed(2, "delivery", 1), handed(3, "delivery", 6)], "received sent"),
        ([handed(1, "warehouse", 0), handed(2, "delivery", 5)], "received sent"),
        ([handed(1, "delivery", 0), handed(2, "warehouse", 1)], "received sent"),
        ([handed(1, "warehouse", 0)], "lost sent"),
    ],
    ids=["twice", "sent again", "late for the first", "received twice", "at its time", "before", "lost"],
)  # fmt: skip
def test_the_first_to_send_and_the_first_to_receive_count(steps: list[Step], what: str) -> None:
    """In whatever order they are read, and while time passes."""
    wanted = [f"handoff/warehouse/delivery/postnord/{one}" for one in what.split()]
    for order in permutations(steps):
        assert [name for name in comes_to(order) if name.startswith("handoff/")] == wanted
    held, effects = OpenJourney(), []
    for step in steps:
        effects += RULES.pass_time(held, step.at_ms - 1) if held.steps else []
        effects += RULES.take(held, step) or []
    effects += RULES.pass_time(held, BEGIN + 30 * DAY)
    found = sorted(name for effect in effects for name in effect.counters if name.startswith("handoff/"))
    assert found == wanted


def test_what_is_received_in_time_and_read_after_that_is_not_lost() -> None:
    """Due after five days: what was counted is taken back, whatever had been heard by then."""
    sent, received = handed(1, "warehouse", 0), handed(2, "delivery", 1)
    for known in ([sent], [sent, handed(3, "delivery", 5.5)]):
        held, effects = OpenJourney(), list[Effect]()
        for step in known:
            effects += RULES.take(held, step) or []
        effects += RULES.pass_time(held, BEGIN + 6 * DAY)
        assert "lost" in {name.split("/")[-1] for _, name in counted(effects)}
        effects += RULES.take(held, received) or []
        effects += RULES.pass_time(held, BEGIN + 30 * DAY)
        left = sorted(one for one in counted(effects) if one[1].startswith("handoff/"))
        about = "handoff/warehouse/delivery/postnord"
        assert left == [(BEGIN, f"{about}/sent"), (BEGIN + DAY, f"{about}/received")]


def test_what_is_sent_after_the_end_says_nothing_of_the_journey_before() -> None:
    """Received and never sent, as far as that journey knew: of the partner whom the receiver names."""
    held, effects = OpenJourney(), list[Effect]()
    for step in (handed(1, "delivery", 0), handed(2, "warehouse", 3, "matkahuolto")):
        effects += RULES.take(held, step) or []
    effects += RULES.pass_time(held, BEGIN + 30 * DAY)
    told = [name for _, name in counted(effects) if name.startswith("handoff/")]
    assert (held.closed_ms, told) == (BEGIN + 2 * DAY, ["handoff/warehouse/delivery/postnord/received"])
    assert [(one.sent_ms, one.received_ms, one.is_lost) for one in held.hand_overs] == [(None, BEGIN, False)]


def test_what_has_not_arrived_when_the_limit_ends_the_journey_is_lost() -> None:
    """As a promise is missed: two weeks after it began, and before its own five days have passed."""
    held, effects = OpenJourney(), list[Effect]()
    for step in (*(said(day * DAY, (day + 1) * DAY) for day in range(0, 12, 2)), handed(9, "warehouse", 11)):
        effects += RULES.take(held, step) or []
    effects += RULES.pass_time(held, BEGIN + 30 * DAY)
    told = sorted(one for one in counted(effects) if one[1].startswith("handoff/"))
    about = "handoff/warehouse/delivery/postnord"
    assert told == [(BEGIN + 11 * DAY, f"{about}/sent"), (BEGIN + 14 * DAY, f"{about}/lost")]
