"""What is known of one journey, as plain data: a pure function of what is kept of it and of two moments.

`clock_ms` is how far every source of its partition has been read: what is said of deadlines holds for then.
`now_ms` is when somebody asked.
"""

from typing import Any

import msgspec

from monitor.journeys.closing import matches, score
from monitor.journeys.open import JourneyRules, OpenJourney
from monitor.live.shown import moment, named, shown_hand_over, shown_promise, shown_step, staleness


def journey_answer(
    journey_id: str, held: OpenJourney, rules: JourneyRules, clock_ms: int, now_ms: int
) -> dict[str, Any]:
    """The body of `/api/journeys/<id>`; times are RFC 3339, ages in seconds.

    Of a journey that is over only the end is kept (`monitor.live.closed` has the rest). A `clock_ms` of 0
    means that it is not known yet.
    """
    is_over = held.closed_ms is not None
    weakest = min(held.steps, key=score, default=None)
    last_ms = held.steps[-1].at_ms if held.steps else None
    is_overdue = any(one.is_overdue for one in held.pledges) or any(one.is_lost for one in held.hand_overs)
    return {
        "journey_id": journey_id,
        "state": "over" if is_over else "open",
        "closed": moment(held.closed_ms),
        "result": held.result,
        "goal": None if is_over else _goal(held, rules),
        "score": score(weakest) if weakest is not None else None,
        "weakest": weakest.stage if weakest is not None and weakest.bad_for else None,
        "steps": msgspec.to_builtins([shown_step(step) for step in held.steps]),
        "promises": msgspec.to_builtins([shown_promise(one) for one in held.pledges]),
        "handoffs": msgspec.to_builtins([shown_hand_over(one) for one in held.hand_overs]),
        "next": _next(held, now_ms),
        "ends": None if is_over else moment(held.end_ms),
        "staleness": staleness(last_ms, clock_ms, now_ms, is_overdue=is_overdue),
    }


def _goal(held: OpenJourney, rules: JourneyRules) -> str:
    """`met`, `not yet`, or `none` for what is a visit so far."""
    if any(matches(rules.rules.goal, step) for step in held.steps):
        return "met"
    return "not yet" if any(matches(rules.rules.starts, step) for step in held.steps) else "none"


def _next(held: OpenJourney, now_ms: int) -> dict[str, Any] | None:
    """The nearest deadline of what is still to come; negative when the clock has not got there yet."""
    waiting: list[tuple[int, dict[str, Any]]] = []
    for pledge in held.pledges:
        if pledge.due_ms is not None and pledge.is_pending and pledge.word_ms is None:
            promised = {"id": pledge.id, "kind": pledge.kind, "partner": named(pledge.partner)}
            waiting.append((pledge.due_ms, {"what": "promise", **promised}))
    for one in held.hand_overs:
        if one.due_ms is not None and one.is_pending and one.received_ms is None:
            edge = {"from": one.sender, "to": one.receiver, "partner": one.partner}
            waiting.append((one.due_ms, {"what": "handoff", "id": one.id, **edge}))
    if not waiting:
        return None
    due_ms, nearest = min(waiting, key=lambda one: one[0])
    return {**nearest, "due": moment(due_ms), "in_s": (due_ms - now_ms) / 1000}
