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
