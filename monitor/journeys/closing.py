"""What a journey that is over adds up to: a pure function of its steps in the order of their time."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import floor
from typing import NamedTuple

from monitor.counting.event import Score
from monitor.counting.judging import ASKED, FOLLOWED_UP
from monitor.journey_file.model import NONE, Journey, Match
from monitor.journeys.counters import (
    HANDOFF,
    PROMISE,
    SCORES,
    STAGE,
    channel_labels,
    fixable,
    label,
    lived_stages,
    name,
    thing,
)
from monitor.journeys.step import Step

ASTRAY_MOVES = 3
"""So many changes of channel or unit make a labyrinth even without going back (seed 004)."""


class Failure(NamedTuple):
    """A hand-over that was lost, or a promise that was not kept, and since when (ms)."""

    at_ms: int
    cause: str
    about: str


def matches(match: Match, step: Step) -> bool:
    """Whether the step is such a one."""
    for field, values in match.fields:  # noqa: SIM110 - a generator takes thrice as long
        if getattr(step, field) not in values:
            return False
    return True


def score(step: Step) -> float:
    """Share of the experiences that judge an encounter which were good; 1 when none does."""
    return 1 - len(step.bad_for) / step.judged if step.judged else 1.0


def is_unhappy(limits: Mapping[str, float], score: Score | None) -> bool:
    """Whether it is an answer of a customer who speaks ill of us. Of a mean of answers the whole part
    counts."""
    return score is not None and floor(score.value) <= limits[score.kind]


_SCORE_BOUNDS = tuple(map(float, SCORES))


class Closing:
    """What a journey file says of journeys that are over. Stateless."""

    def __init__(self, journey: Journey) -> None:
        assert journey.journeys is not None  # noqa: S101 - without rules no journey is kept
        self._rules = journey.journeys
        self._acting = frozenset(stage.name for stage in journey.stages if stage.kind == "customer")
        self._lived = tuple(stage.name for stage in lived_stages(journey))
        self._channels = frozenset(channel_labels(journey))
        self._fixable = frozenset(fixable(journey))

    def counters(self, steps: Sequence[Step], segment: str, failures: Sequence[Failure]) -> list[str]:
        """Names of the counters a closed journey adds 1 to, the one of its result first; one may come
        twice."""
        rules = self._rules
        met = any(matches(rules.goal, step) for step in steps)
        started = any(matches(rules.starts, step) for step in steps)
        result = "visit" if not started else "met" if met else "missed"
        weakest = min(steps, key=score)
        bucket = SCORES[bisect_left(_SCORE_BOUNDS, score(weakest))]
        counters = [name("closed", result, segment), name("score", bucket, segment)]
        if weakest.bad_for:
            counters.append(name("weakest", weakest.stage, segment))
        if result == "missed":
            counters.append(name("failed", *_cause(failures, weakest), segment))
        counters += self._moves(steps, segment, result)
        counters += _noticed(rules.contacts, steps, failures)
        counters += self._fix(steps, failures)
        answers = [step.score for step in steps if step.score is not None]
        if answers:
            counters += self._touchpoints(steps, is_detractor=is_unhappy(rules.unhappy, answers[-1]))
        return counters

    def _moves(self, steps: Sequence[Step], segment: str, result: str) -> list[str]:
        """Changes of channel where customers act; the labyrinth they make up.

        A unit is a stage: who is sent from one to the next on the same telephone strays as well.
        """
        contacts = [
            one for one in steps if one.stage in self._acting and one.outcome not in (ASKED, FOLLOWED_UP)
        ]
        moves: list[tuple[str, str]] = []
        left: set[str] = set()
        changes, went_back, channel, unit = 0, False, None, None
        for one in contacts:
            into = channel if one.channel is None else label(one.channel, self._channels)
            if channel is not None and into is not None and into != channel:
                moves.append((channel, into))
                left.add(channel)
                went_back = went_back or into in left
            changes += channel not in (None, into) or unit not in (None, one.stage)
            channel, unit = into, one.stage
        counters = [name("moved", *move) for move in moves]
        is_solved = result == "met" or (result == "visit" and bool(contacts) and _went_well(contacts[-1]))
        if (went_back or changes >= ASTRAY_MOVES) and not is_solved:
            counters.append(name("labyrinth", segment))
            counters += [name("lost", *move) for move in moves[-1:]]
        return counters

    def _fix(self, steps: Sequence[Step], failures: Sequence[Failure]) -> list[str]:
        """What alone would have made it good, or which two together; nothing of what more made bad."""
        bad = {thing(STAGE, step.stage) for step in steps if step.bad_for}
        if not bad and not failures:
            return []
        things = sorted(self._fixable & (bad | {thing(one.cause, one.about) for one in failures}))
        return [name("fix", *things, *[NONE][: 2 - len(things)])] if len(things) in (1, 2) else []

    def _touchpoints(self, steps: Sequence[Step], *, is_detractor: bool) -> list[str]:
        """What happened at each stage of a journey whose customer has answered, beside the answer."""
        by_stage: defaultdict[str, list[Step]] = defaultdict(list)
        for step in steps:
            by_stage[step.stage].append(step)
        counters = []
        for stage in self._lived:
            here = by_stage.get(stage, ())
            if any(step.judged for step in here):
                is_bad = any(step.bad_for for step in here)
                cell = f"{'bad' if is_bad else 'ok'}_{'detractor' if is_detractor else 'other'}"
                counters.append(name("critical", stage, cell))
            said = [step.internal_ok for step in here if step.internal_ok is not None]
            if said:
                inside, outside = "ok" if all(said) else "bad", "bad" if is_detractor else "ok"
                counters.append(name("gap", stage, f"{inside}_inside_{outside}_outside"))
        return counters


def _cause(failures: Sequence[Failure], weakest: Step) -> tuple[str, str]:
    """What made a journey miss its goal."""
    for cause in (HANDOFF, PROMISE):
        first = min((one for one in failures if one.cause == cause), default=None)
        if first is not None:
            return cause, first.about
    return (STAGE, weakest.stage) if weakest.bad_for else (NONE, NONE)


def _went_well(contact: Step) -> bool:
    """Whether it left nothing to solve: a quick answer that does not help is good for its quickness only."""
    return not contact.bad_for and contact.outcome not in ("failed", "abandoned")


def _noticed(contacts: Sequence[str], steps: Sequence[Step], failures: Sequence[Failure]) -> list[str]:
    """Who spoke first after something went wrong: a bad encounter, a promise not kept, a hand-over lost.

    Following up an unhappy answer is speaking, asking for one is not.
    """
    wrong = [step.at_ms for step in steps if step.bad_for] + [one.at_ms for one in failures]
    if not wrong:
        return []
    first_ms = min(wrong)
    for step in steps:
        if step.at_ms > first_ms and (step.stage in contacts or step.outcome == FOLLOWED_UP):
            by_us = step.outcome == FOLLOWED_UP or step.initiator == "company"
            return [name("noticed", "company" if by_us else "customer")]
    return [name("noticed", "nobody")]
