"""What is promised, whose it is and what becomes of it, as `monitor/journeys/README.md` defines it."""

from collections import Counter
from datetime import UTC, datetime
from itertools import permutations, product
from typing import Any

import pytest

from monitor.counting.event import Handoff, Promise
from monitor.journey_file.model import FOLLOW_UP
from monitor.journeys.counters import TAKEN_BACK, Effect
from monitor.journeys.open import JourneyRules, OpenJourney
from monitor.journeys.step import Step
from tests.kit.shipped import SHIPPED

RULES = JourneyRules(SHIPPED)
HOUR, DAY = 3_600_000, 86_400_000
BEGIN = 1_800_000_000_000
KIND = "delivery_window"


def when(ms: int) -> datetime:
    """A moment so long after the beginning."""
    return datetime.fromtimestamp((BEGIN + ms) / 1000, UTC)


def said(
    ms: int, due: int | None = None, kept: bool | None = None, since: int | None = None, **fields: Any
) -> Step:
    """Something said of the promise at that time."""
    stage = fields.pop("stage", "delivery")
    promise = Promise(
        "p",
        fields.pop("kind", KIND),
        None if since is None else when(since),
        None if due is None else when(due),
        kept,
    )
    return Step("j", stage, 0, ms, BEGIN + ms, "ok", 1, (), promise=promise, **fields)


def counted(effects: list[Effect]) -> Counter[tuple[int, str]]:
    """What is left of all that was added and taken back: by moment and counter."""
    found: Counter[tuple[int, str]] = Counter()
    for one in effects:
        for said_ in one.counters:
            counter = said_.removeprefix(TAKEN_BACK)
            found[one.at_ms, counter] += 1 if counter == said_ else -1
    assert min(found.values(), default=0) >= 0
    return +found


def promised(*steps: Step) -> list[str]:
    """What of promises is counted in the end: the same in every order of arrival, and while time passes up to
    any step, as long as the journey is under way."""
    found = set()
    for order in permutations(steps):
        for passes in product((0, 1), repeat=len(steps)):
            held, effects, clock_ms = OpenJourney(), list[Effect](), 0
            for step, late in zip(order, passes, strict=True):
                effects += RULES.take(held, step) or []
                clock_ms = max(clock_ms, step.at_ms + late * DAY)
                effects += RULES.pass_time(held, min(clock_ms, held.end_ms) - 1) if late else []
            effects += RULES.pass_time(held, BEGIN + 60 * DAY)
            left = counted(effects)
            found.add(tuple(sorted((at, n) for at, n in left.elements() if n.startswith("promise/"))))
    (only,) = found
    names = sorted(name for _, name in only)
    return [one.removeprefix("promise/").removeprefix(f"{KIND}/") for one in names]


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ([said(0, kept=True)], ["unpromised"]),
        ([said(0), said(HOUR, kept=False)], ["unpromised"]),
        ([said(0)], []),
        ([said(0, DAY)], ["due", "missed"]),
        ([said(0, DAY), said(DAY, kept=True)], ["due", "kept"]),
        ([said(0, DAY), said(DAY + 1, kept=True)], ["due", "late"]),
        ([said(0, DAY), said(HOUR, kept=False)], ["broken", "due"]),
        ([said(0, DAY), said(HOUR, kept=False), said(2 * HOUR, kept=True)], ["due", "kept"]),
        ([said(0, DAY), said(HOUR, kept=False), said(2 * DAY, kept=True)], ["broken", "due"]),
        ([said(0, DAY), said(2 * DAY, kept=False)], ["broken", "due"]),
        ([said(0, DAY), said(2 * DAY, kept=False), said(3 * DAY, kept=True)], ["broken", "due"]),
        ([said(0, DAY), said(2 * DAY, kept=True), said(3 * DAY, kept=False)], ["due", "late"]),
        ([said(0, DAY, since=10 * HOUR), said(9 * HOUR, kept=True)], ["due", "early"]),
        ([said(0, DAY, since=10 * HOUR), said(10 * HOUR, kept=True)], ["due", "kept"]),
    ],
)
def test_what_becomes_of_a_promise(steps: list[Step], what: list[str]) -> None:
    """One result of each that falls due; word of what was never promised is in no share."""
    assert promised(*steps) == [f"unassigned/{one}" for one in what]


@pytest.mark.parametrize(
    ("before", "published_late", "what"),
    [
        ([said(0, DAY)], said(23 * HOUR, kept=True), ["due", "kept"]),
        ([said(0, DAY), said(2 * DAY, kept=True)], said(23 * HOUR, kept=True), ["due", "kept"]),
        ([said(0, DAY), said(HOUR, kept=False)], said(23 * HOUR, kept=True), ["due", "kept"]),
        ([said(0, DAY), said(2 * DAY, kept=True)], said(30 * HOUR, kept=False), ["broken", "due"]),
        ([said(0, DAY), said(2 * DAY, kept=True)], said(3 * DAY, kept=False), ["due", "late"]),
        ([said(0, DAY)], said(23 * HOUR, 2 * DAY, initiator="customer"), ["due", "missed"]),
        ([said(0, DAY), said(HOUR, kept=True)], said(2 * HOUR, 2 * DAY), ["due", "kept", "rescheduled"]),
    ],
)
def test_what_is_published_when_the_deadline_has_been_counted(
    before: list[Step], published_late: Step, what: list[str]
) -> None:
    """Its time decides: what has been counted at the deadline, and since, is taken back and counted anew."""
    held, effects = OpenJourney(), list[Effect]()
    for step in before:
        effects += RULES.take(held, step) or []
    assert not RULES.pass_time(held, BEGIN + DAY - 1)
    effects += RULES.pass_time(held, BEGIN + DAY)
    effects += RULES.pass_time(held, max(step.at_ms for step in before))
    effects += RULES.take(held, published_late) or []
    effects += RULES.pass_time(held, BEGIN + 60 * DAY)
    left = sorted(name for _, name in counted(effects).elements() if name.startswith("promise/"))
    assert left == [f"promise/{KIND}/unassigned/{one}" for one in what]
    assert [f"unassigned/{one}" for one in what] == promised(*before, published_late)


def test_a_late_word_ends_the_journey_before_the_deadline() -> None:
    """Due after 72 h, kept after one, then quiet for 48 h: it was over, and kept, after 49, however late that
    is read."""
    due, word = said(0, 72 * HOUR), said(HOUR, kept=True)
    in_order = [(BEGIN + 49 * HOUR, f"promise/{KIND}/unassigned/{one}") for one in ("due", "kept")]
    for passed in (0, 48, 71, 72, 100, 119):
        held, effects = OpenJourney(), list[Effect]()
        effects += RULES.take(held, due) or []
        effects += RULES.pass_time(held, BEGIN + passed * HOUR)
        effects += RULES.take(held, word) or []
        effects += RULES.pass_time(held, BEGIN + 60 * DAY)
        assert sorted(one for one in counted(effects) if one[1].startswith("promise/")) == in_order
    assert promised(due, word) == ["unassigned/due", "unassigned/kept"]


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ([said(11 * HOUR, 72 * HOUR), said(20 * HOUR, 10 * HOUR)], ["due", "missed", "rescheduled"]),
        ([said(20 * HOUR, 10 * HOUR), said(21 * HOUR, kept=True)], ["due", "late"]),
        (
            [said(10 * HOUR, kept=True), said(11 * HOUR, 72 * HOUR), said(47 * HOUR, 10 * HOUR)],
            ["due", "kept", "rescheduled"],
        ),
    ],
)
def test_a_deadline_that_has_passed_when_it_is_told(steps: list[Step], what: list[str]) -> None:
    """It is counted when it is told, so that an earlier one that is read later still judges."""
    assert promised(*steps) == [f"unassigned/{one}" for one in what]


@pytest.mark.parametrize("kept", [None, False])
def test_what_is_told_before_a_deadline_waits_for_nothing(kept: bool | None) -> None:
    """A journey that was over when the deadline was told does not go on for it, also where both are read at
    once."""
    held, effects = OpenJourney(), list[Effect]()
    for step in (said(0, kept=kept), said(60 * HOUR, 70 * HOUR)):
        effects += RULES.take(held, step) or []
    effects += RULES.pass_time(held, BEGIN + 60 * DAY)
    assert held.closed_ms == BEGIN + 48 * HOUR
    told = [name for _, name in counted(effects) if name.startswith("promise/")]
    assert told == ([] if kept is None else [f"promise/{KIND}/unassigned/unpromised"])


def test_kinds_that_the_journey_file_does_not_know_are_different_ones() -> None:
    """They are counted as `other`, and word of one says nothing of the other."""
    steps = said(HOUR, 13 * HOUR, kind="assembly"), said(3 * HOUR, kept=True, kind="pick_up")
    assert promised(*steps) == [f"other/none/{one}" for one in ("due", "missed", "unpromised")]


def test_a_stage_without_partners_owes_with_nobody() -> None:
    """Whomever its events name: klarna is at another stage."""
    call = said(0, DAY, kind="call_back", stage="call_queue", partner="klarna")
    assert promised(call) == ["call_back/none/due", "call_back/none/missed"]


def test_an_answer_alone_makes_a_follow_up() -> None:
    """A promise of a service's own that has its kind is one of another kind."""
    assert promised(said(0, DAY, kind=FOLLOW_UP)) == ["other/none/due", "other/none/missed"]


def test_what_is_published_after_the_end_changes_nothing() -> None:
    """The journey has been published, and says what was known."""
    held, effects = OpenJourney(), list[Effect]()
    for step in (said(0, DAY), said(HOUR, kept=False)):
        effects += RULES.take(held, step) or []
    effects += RULES.pass_time(held, BEGIN + 60 * DAY)
    assert held.closed_ms is not None
    assert RULES.take(held, said(23 * HOUR, kept=True)) == []
    assert held.pledges[0].result(BEGIN + DAY) == "broken"


def test_the_first_deadline_judges() -> None:
    """A later one is `rescheduled`, and the journey waits for it; the customer's own wish takes its place."""
    moved = [said(0, DAY), said(HOUR, 5 * DAY), said(4 * DAY, kept=True)]
    assert promised(*moved) == [f"unassigned/{one}" for one in ("due", "late", "rescheduled")]
    wished = [said(0, DAY), said(HOUR, 5 * DAY, initiator="customer"), said(4 * DAY, kept=True)]
    assert promised(*wished) == ["unassigned/due", "unassigned/kept"]
    again = [said(0, DAY), said(HOUR, DAY), said(2 * HOUR, kept=True)]
    assert promised(*again) == ["unassigned/due", "unassigned/kept"]
    too_late = [said(0, DAY), said(2 * DAY, 5 * DAY, initiator="customer"), said(3 * DAY, kept=True)]
    assert promised(*too_late) == ["unassigned/due", "unassigned/late"]


def test_a_promise_is_one_of_its_kind_and_id() -> None:
    """Two of one id, as when each is named after its order: word of one says nothing of the other."""
    call = said(HOUR, 2 * HOUR, kind="call_back", stage="call_queue")
    assert promised(said(0, DAY), call, said(3 * HOUR, kept=True)) == [
        "call_back/none/due",
        "call_back/none/missed",
        "unassigned/due",
        "unassigned/kept",
    ]


def test_a_promise_is_of_whom_it_was_handed_to() -> None:
    """Promised at checkout with klarna, handed to postnord, never delivered: postnord's."""
    checkout = said(0, 3 * DAY, stage="web_checkout", partner="klarna")
    sent = Step(
        "j", "warehouse", 0, 1, BEGIN + HOUR, "ok", 1, (), handoff=Handoff("h", "warehouse", "postnord")
    )
    assert promised(checkout, sent) == ["postnord/due", "postnord/missed"]
    named = Step(
        "j", "warehouse", 0, 1, BEGIN + HOUR, "ok", 1, (), partner="postnord",
        handoff=Handoff("h", "warehouse", "delivery"),
    )  # fmt: skip
    assert promised(checkout, named) == ["postnord/due", "postnord/missed"]
    too_late = Step(
        "j", "warehouse", 0, 1, BEGIN + 4 * DAY, "ok", 1, (), handoff=Handoff("h", "warehouse", "postnord")
    )
    assert promised(checkout, too_late) == ["unassigned/due", "unassigned/missed"]
    delivered = Step("j", "delivery", 0, 1, BEGIN + HOUR, "ok", 1, (), partner="matkahuolto")
    assert promised(checkout, delivered) == ["matkahuolto/due", "matkahuolto/missed"]
