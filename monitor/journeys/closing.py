"""What a journey that is over adds up to: a pure function of its steps in the order of their time."""

from collections.abc import Sequence
from itertools import pairwise

from monitor.counting.judging import is_unhappy
from monitor.journey_file.model import Journey, Match
from monitor.journeys.counters import SCORES, channel_labels, label, lived_stages, name
from monitor.journeys.step import Step

REPEAT_MS = 7 * 86_400_000
"""A further contact within so long is a repeat: the first did not solve the matter (MEASURES: FCR)."""

ASTRAY_MOVES = 3
"""So many changes of channel make a labyrinth even without going back (seed 004)."""


def matches(match: Match, step: Step) -> bool:
    """Whether the step is such a one."""
    for field, values in match.fields:  # noqa: SIM110 - a generator takes thrice as long
        if getattr(step, field) not in values:
            return False
    return True


def score(step: Step) -> float:
    """Share of the experiences that judge an encounter which were good; 1 when none does."""
    return 1 - len(step.bad_for) / step.judged if step.judged else 1.0


def is_unhappy_answer(step: Step) -> bool:
    """Whether the step is an answer of a customer who speaks ill of us."""
    return step.score is not None and is_unhappy(step.score.kind, step.score.value)


def closing_counters(journey: Journey, steps: Sequence[Step], segment: str) -> list[str]:
    """Names of the counters a closed journey adds 1 to, the one of its result first; one may come twice."""
    rules = journey.journeys
    assert rules is not None  # noqa: S101 - without rules no journey is kept
    met = any(matches(rules.goal, step) for step in steps)
    started = met or any(matches(rules.starts, step) for step in steps)
    result = "met" if met else "missed" if started else "visit"
    weakest = min(steps, key=score)
    bucket = next(bound for bound in SCORES if score(weakest) <= float(bound))
    counters = [name("closed", result, segment), name("score", bucket, segment)]
    if weakest.bad_for:
        counters.append(name("weakest", weakest.stage, segment))
    counters += _contacts(rules.contacts, steps)
    counters += _moves(journey, steps, segment, is_solved=result == "met" or not steps[-1].bad_for)
    counters += _noticed(rules.contacts, steps)
    answers = [step for step in steps if step.score is not None]
    if answers:
        counters += _touchpoints(journey, steps, is_detractor=is_unhappy_answer(answers[-1]))
    return counters


def result_of(counters: Sequence[str]) -> str:
    """How a journey ended whose `closing_counters` these are."""
    return counters[0].split("/")[1]


def _contacts(contacts: Sequence[str], steps: Sequence[Step]) -> list[str]:
    counters = []
    last_ms: int | None = None
    for step in steps:
        if step.stage in contacts and step.initiator != "company":
            is_repeat = last_ms is not None and step.at_ms - last_ms <= REPEAT_MS
            counters.append(name("contact", step.stage, "repeat" if is_repeat else "first"))
            last_ms = step.at_ms
    return counters


def _moves(journey: Journey, steps: Sequence[Step], segment: str, *, is_solved: bool) -> list[str]:
    """Changes of channel where customers act; the labyrinth they make up."""
    acting = {stage.name for stage in journey.stages if stage.kind == "customer"}
    known = channel_labels(journey)
    channels = [label(one.channel, known) for one in steps if one.stage in acting and one.channel is not None]
    moves = [(one, other) for one, other in pairwise(channels) if one != other]
    counters = [name("moved", *move) for move in moves]
    went_back = any(to in {left for left, _ in moves[:number]} for number, (_, to) in enumerate(moves))
    if (went_back or len(moves) >= ASTRAY_MOVES) and not is_solved:
        counters += [name("labyrinth", segment), name("lost", *moves[-1])]
    return counters


def _noticed(contacts: Sequence[str], steps: Sequence[Step]) -> list[str]:
    """Who spoke first after something went wrong."""
    wrong_ms = next((step.at_ms for step in steps if step.bad_for), None)
    if wrong_ms is None:
        return []
    spoken = (step for step in steps if step.at_ms > wrong_ms and step.stage in contacts)
    first = next(spoken, None)
    return [name("noticed", "nobody" if first is None else first.initiator or "customer")]


def _touchpoints(journey: Journey, steps: Sequence[Step], *, is_detractor: bool) -> list[str]:
    """What happened at each stage of a journey whose customer has answered, beside the answer."""
    counters = []
    for stage in lived_stages(journey):
        here = [step for step in steps if step.stage == stage.name]
        if any(step.judged for step in here):
            is_bad = any(step.bad_for for step in here)
            cell = f"{'bad' if is_bad else 'ok'}_{'detractor' if is_detractor else 'other'}"
            counters.append(name("critical", stage.name, cell))
        said = [step.internal_ok for step in here if step.internal_ok is not None]
        if said:
            inside, outside = "ok" if all(said) else "bad", "bad" if is_detractor else "ok"
            counters.append(name("gap", stage.name, f"{inside}_inside_{outside}_outside"))
    return counters
