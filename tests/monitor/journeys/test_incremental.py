"""What the newest step changes is added to what is known. That comes to what reading all steps comes to."""

from collections import Counter
from datetime import UTC, datetime
from random import Random

import pytest

from monitor.counting.event import Handoff, Promise, Score
from monitor.journey_file.model import FOLLOW_UP
from monitor.journeys.counters import TAKEN_BACK, Effect
from monitor.journeys.open import JourneyRules, OpenJourney
from monitor.journeys.promises import Promises
from monitor.journeys.step import Step
from tests.kit.shipped import SHIPPED as CHAIR

RULES = JourneyRules(CHAIR)
HOUR, DAY = 3_600_000, 86_400_000
BEGIN = 1_800_000_000_000

AGREED = datetime.fromtimestamp((BEGIN + 2 * DAY) / 1000, UTC)
"""What several steps tell."""

JOURNEYS = 3_000


class PlainPromises(Promises):
    """Every step has all steps read anew."""

    def _hear(self, *_: object, **__: object) -> bool:  # nothing is added
        return False


class PlainRules(JourneyRules):
    """Every step has the end of the journey worked out from all steps."""

    def __init__(self) -> None:
        super().__init__(CHAIR)
        self._promises = PlainPromises(CHAIR)

    def _later_end_ms(self, held: OpenJourney, newest: Step) -> int:  # noqa: ARG002 - nothing is added
        return self._end_ms(held)


PLAIN = PlainRules()


def moment(random: Random, at_ms: int) -> datetime:
    """Some hours or days from then, or before."""
    return datetime.fromtimestamp((at_ms + random.choice((-1, 0, 1, 3, 30)) * 8 * HOUR) / 1000, UTC)


def promised(random: Random, at_ms: int) -> Promise | None:
    """Mostly something: made, moved or told once more, kept or broken, of few promises, so that they meet."""
    if random.random() < 0.4:
        return None
    due = random.choice((moment(random, at_ms), AGREED)) if random.random() < 0.5 else None
    since = moment(random, at_ms) if due is not None and random.random() < 0.5 else None
    kind = random.choice(("delivery_window", "delivery_window", FOLLOW_UP, "unheard_of"))
    return Promise(
        random.choice(("p", "p", "q", "follow_up/0")), kind, since, due, random.choice((None, True, False))
    )


def any_step(random: Random, number: int) -> Step:
    """A step as some service may send it; several happen in one ms, or days apart."""
    at_ms = BEGIN + random.choice((0, 1, 5, 9, 20, 40, 80)) * random.choice((1, 4 * HOUR))
    stage = random.choice(("web_checkout", "warehouse", "delivery", "delivery", "call_queue", "feedback"))
    handed = Handoff(random.choice("hg"), "warehouse", random.choice(("delivery", "postnord", "dhl")))
    outcome = random.choice(("ok", "failed", "followed_up", "asked"))
    return Step(
        "j", stage, 0, number, at_ms, outcome, 1, random.choice(((), ("x",))),
        random.choice((None, "new", "business")),
        partner=random.choice((None, "postnord", "matkahuolto", "dhl")),
        initiator=random.choice((None, "customer", "company")),
        score=Score("nps", random.choice((2, 9))) if stage == "feedback" and outcome == "ok" else None,
        promise=promised(random, at_ms),
        handoff=handed if random.random() < 0.5 else None,
    )  # fmt: skip


@pytest.mark.parametrize("order", ["by time", "as it comes"])
def test_what_is_added_comes_to_what_is_read_anew(order: str) -> None:
    """After every step and every passing of time: the same effects, and the same journey is kept."""
    seen = {"added": 0, "over": 0, "late": 0}
    for seed in range(JOURNEYS):
        random = Random(f"{order} {seed}")
        steps = [any_step(random, number) for number in range(random.randint(2, 8))]
        if order == "by time":
            steps.sort(key=lambda step: step.order)
        fast, plain = OpenJourney(), OpenJourney()
        for step in steps:
            assert RULES.take(fast, step) == PLAIN.take(plain, step)
            assert fast == plain, (seed, step)
            if random.random() < 0.3:
                clock_ms = step.at_ms + random.choice((-1, 0, 8 * HOUR))
                assert RULES.pass_time(fast, clock_ms) == PLAIN.pass_time(plain, clock_ms)
                assert fast == plain, (seed, step)
        seen["late"] += fast.closed_ms is not None
        assert RULES.pass_time(fast, BEGIN + 60 * DAY) == PLAIN.pass_time(plain, BEGIN + 60 * DAY)
        assert fast == plain
        seen["over"] += fast.closed_ms is not None
        seen["added"] += len(steps)
    assert seen["over"] == JOURNEYS
    assert 0 < seen["late"] < JOURNEYS / 2


def counted_in(steps: list[Step], random: Random | None) -> tuple[Counter[tuple[int, str]], list[str]]:
    """What is left of all that one journey counts, but for whom it hit first, and how it ended: read in this
    order, while time passes at random, but not past its end."""
    held, effects, clock_ms = OpenJourney(), list[Effect](), 0
    for step in steps:
        effects += RULES.take(held, step) or []
        if random is not None and random.random() < 0.5:
            clock_ms = max(clock_ms, step.at_ms + random.choice((-1, 0, 8 * HOUR, 30 * DAY)))
            effects += RULES.pass_time(held, min(clock_ms, held.end_ms - 1))
            assert min(net(effects).values(), default=0) >= 0
    effects += RULES.pass_time(held, BEGIN + 60 * DAY)
    return Counter(
        {one: n for one, n in net(effects).items() if n and not one[1].startswith("hit/")}
    ), held.ending


def net(effects: list[Effect]) -> Counter[tuple[int, str]]:
    """What was added, less what was taken back."""
    found: Counter[tuple[int, str]] = Counter()
    for at_ms, counters in effects:
        for counter in counters:
            name = counter.removeprefix(TAKEN_BACK)
            found[at_ms, name] += 1 if name == counter else -1
    return found


def test_no_order_of_arrival_changes_what_a_journey_counts() -> None:
    """Whatever was counted when a step is read, as long as the journey is under way: the same in the end."""
    for seed in range(JOURNEYS):
        random = Random(f"arrival {seed}")
        steps = [any_step(random, number) for number in range(random.randint(2, 8))]
        steps.sort(key=lambda step: step.order)
        in_order = counted_in(steps, None)
        for _ in range(4):
            random.shuffle(steps)
            assert counted_in(steps, random) == in_order, seed
