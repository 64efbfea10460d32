"""A journey under way: what it comes to does not depend on the order in which its steps are read."""

import sys
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from monitor.counting.event import Handoff, Promise, Score
from monitor.journeys.open import JourneyRules, OpenJourney
from monitor.journeys.step import Step
from tests.kit.shipped import SHIPPED

RULES = JourneyRules(SHIPPED)
DAY = 86_400_000
KIND = "delivery_window"
BEGIN = 1_800_000_000_000


def comes_to(steps: tuple[Step, ...]) -> list[str]:
    """All counters, once the journey is over."""
    held = OpenJourney()
    effects = [effect for step in steps for effect in RULES.take(held, step) or ()]
    effects += RULES.pass_time(held, BEGIN + 30 * DAY)
    return sorted(name for effect in effects for name in effect.counters)


def test_a_deadline_that_is_read_after_the_word_of_its_keeping_counts() -> None:
    """A promise told to be kept a day late is late, whether or not its making was read before."""
    promised = Step(
        "j", "warehouse", 0, 1, BEGIN, "ok", 1, (),
        promise=Promise("p", "delivery_window", due=datetime.fromtimestamp((BEGIN + DAY) / 1000, UTC)),
    )  # fmt: skip
    done = Step(
        "j",
        "delivery",
        0,
        2,
        BEGIN + 2 * DAY,
        "ok",
        1,
        (),
        promise=Promise("p", "delivery_window", kept=True),
    )
    found = [comes_to(order) for order in permutations((promised, done))]
    assert found[0] == found[1]
    assert "promise/delivery_window/unassigned/late" in found[0]


def test_word_that_a_promise_will_not_be_kept_ends_no_wait() -> None:
    """Its deadline has not come, and it may be kept yet: silence is counted from there, in any order."""
    quiet_ms = RULES.rules.quiet_ms
    due_ms = BEGIN + quiet_ms // 2
    promised = Promise("p", KIND, due=datetime.fromtimestamp(due_ms / 1000, UTC))
    words = [
        Step("j", "warehouse", 0, 1, BEGIN, "ok", 1, (), promise=promised),
        Step("j", "warehouse", 0, 2, BEGIN + 1, "ok", 1, (), promise=Promise("p", KIND, kept=False)),
    ]
    for order in permutations(words):
        held = OpenJourney()
        for step in order:
            RULES.take(held, step)
        assert held.end_ms == due_ms + quiet_ms


@pytest.mark.parametrize(
    ("told", "partner"),
    [
        ([("delivery", "postnord")], "postnord"),
        ([("delivery", None)], "unassigned"),
        ([("delivery", "dhl")], "other"),
        ([("web_checkout", "klarna")], "unassigned"),
        ([("web_checkout", "klarna"), ("delivery", "dhl")], "other"),
        ([("delivery", "dhl"), ("delivery", "matkahuolto")], "matkahuolto"),
    ],
)
def test_a_promise_is_of_the_partner_who_has_to_keep_it(
    told: list[tuple[str, str | None]], partner: str
) -> None:
    """Of the stage that owes it: a known one, else `other` if it names any, else `unassigned`."""
    due = datetime.fromtimestamp((BEGIN + DAY) / 1000, UTC)
    steps = [
        Step("j", stage, 0, n, BEGIN + n, "ok", 1, (), partner=named, promise=Promise("p", KIND, due=due))
        for n, (stage, named) in enumerate(told)
    ]
    for order in permutations(steps):
        promised = [name for name in comes_to(order) if name.startswith("promise/")]
        assert promised == [f"promise/{KIND}/{partner}/due", f"promise/{KIND}/{partner}/missed"]


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


class Work:
    """Counts the bytecodes that are run: what a step costs, whatever else the machine does."""

    def __init__(self) -> None:
        self.done = 0

    def _trace(self, frame: Any, event: str, _: Any) -> Any:
        frame.f_trace_opcodes = True
        self.done += event == "opcode"
        return self._trace

    def __enter__(self) -> "Work":
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)


def crowded(number: int) -> Step:
    """A step that says all a step can: a promise and a hand-over of its own, and an unhappy answer."""
    at_ms = BEGIN + 1000 * number
    return Step(
        "j", ("delivery", "warehouse", "call_queue")[number % 3], 0, number, at_ms, "ok", 1, ("x",),
        partner="postnord", score=Score("nps", 0), handoff=Handoff(f"h{number}", "warehouse", "delivery"),
        promise=Promise(f"p{number}", KIND, due=datetime.fromtimestamp((at_ms + DAY) / 1000, UTC)),
    )  # fmt: skip


def test_a_step_of_a_long_journey_costs_in_proportion_to_its_length() -> None:
    """Not to its square: fifty full journeys took a minute of CPU. To count what falls due costs less."""
    held, spent = OpenJourney(), []
    for number in range(60):
        with Work() as work:
            assert RULES.take(held, crowded(number)) is not None
        spent.append(work.done)
    half, whole = sum(spent[27:30]), sum(spent[57:60])
    assert whole < 2.5 * half
    with Work() as work:
        RULES.pass_time(held, BEGIN + 60 * DAY)
    assert held.closed_ms is not None
    assert work.done < 2 * whole
