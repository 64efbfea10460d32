"""What is known of one journey, as plain data: a pure function of what is kept of it and of two moments.

`clock_ms` is how far every source of its partition has been read: what is said of deadlines holds for then.
`now_ms` is when somebody asked.
"""

from typing import Any

import msgspec

from monitor.counting.times import rfc3339
from monitor.journey_file.model import NONE
from monitor.journeys.closing import matches, score
from monitor.journeys.open import HandOver, JourneyRules, OpenJourney
from monitor.journeys.promises import Pledge
from monitor.journeys.step import Step

LAST_MS = 253_402_300_799_000
"""The last second that can be written; a service may have promised something for later."""

STEP_FIELDS = (
    *("stage", "outcome", "touchpoint", "channel", "partner", "reason", "segment", "initiator"),
    *("internal_ok", "judged", "bad_for", "score", "promise", "handoff", "partition", "offset"),
)
"""Of a step, beside its time. Partition and offset are where its event lies in the stage's topic."""


def journey_answer(
    journey_id: str, held: OpenJourney, rules: JourneyRules, clock_ms: int, now_ms: int
) -> dict[str, Any]:
    """The body of `/api/journeys/<id>`; times are RFC 3339, ages in seconds.

    Of a journey that is over only the end is kept. A `clock_ms` of 0 means that it is not known yet.
    """
    is_over = held.closed_ms is not None
    weakest = min(held.steps, key=score, default=None)
    overdue = any(one.is_overdue for one in held.pledges) or any(one.is_lost for one in held.hand_overs)
    return {
        "journey_id": journey_id,
        "state": "over" if is_over else "open",
        "closed": _time(held.closed_ms),
        "result": held.result,
        "goal": None if is_over else _goal(held, rules),
        "score": score(weakest) if weakest is not None else None,
        "weakest": weakest.stage if weakest is not None and weakest.bad_for else None,
        "steps": [_step(step) for step in held.steps],
        "promises": [_promise(one) for one in held.pledges],
        "handoffs": [_hand_over(one) for one in held.hand_overs],
        "next": _next(held, now_ms),
        "ends": None if is_over else _time(held.end_ms),
        "staleness": {
            "at": _time(now_ms),
            "last_step_age_s": _seconds(now_ms - held.steps[-1].at_ms) if held.steps else None,
            "clock": _time(clock_ms or None),
            "clock_behind_s": _seconds(now_ms - clock_ms) if clock_ms else None,
            "overdue": overdue,
        },
    }


def _goal(held: OpenJourney, rules: JourneyRules) -> str:
    """`met`, `not yet`, or `none` for what is a visit so far."""
    if any(matches(rules.rules.goal, step) for step in held.steps):
        return "met"
    return "not yet" if any(matches(rules.rules.starts, step) for step in held.steps) else "none"


def _step(step: Step) -> dict[str, Any]:
    fields = {name: msgspec.to_builtins(getattr(step, name)) for name in STEP_FIELDS}
    return {"time": _time(step.at_ms), **fields}


def _promise(one: Pledge) -> dict[str, Any]:
    return {
        "id": one.id,
        "kind": one.kind,
        "partner": _named(one.partner),
        "made": _time(one.made_ms),
        "due_from": _time(one.due_from_ms),
        "due": _time(one.due_ms),
        "rescheduled": _time(one.moved_to_ms),
        "fulfilled": _time(one.word_ms) if one.kept else None,
        "kept": one.kept if one.word_ms is not None else None,
        "state": _state(one),
    }


def _named(partner: str | None) -> str | None:
    return None if partner == NONE else partner


def _state(one: Pledge) -> str:
    if one.word_ms is None:
        return "overdue" if one.is_overdue else "pending"
    return one.result(one.word_ms) or "unpromised"


def _hand_over(one: HandOver) -> dict[str, Any]:
    if one.received_ms is not None:
        state = "received" if one.due_ms is None or one.received_ms <= one.due_ms else "late"
    else:
        state = "overdue" if one.is_lost else "pending"
    return {
        "id": one.id,
        "from": one.sender,
        "to": one.receiver,
        "partner": one.partner,
        "sent": _time(one.sent_ms),
        "due": _time(one.due_ms),
        "received": _time(one.received_ms),
        "state": state,
    }


def _next(held: OpenJourney, now_ms: int) -> dict[str, Any] | None:
    """The nearest deadline of what is still to come; negative when the clock has not got there yet."""
    waiting: list[tuple[int, dict[str, Any]]] = []
    for pledge in held.pledges:
        if pledge.due_ms is not None and pledge.is_pending and pledge.word_ms is None:
            named: dict[str, Any] = {"what": "promise", "id": pledge.id, "kind": pledge.kind}
            named["partner"] = _named(pledge.partner)
            waiting.append((pledge.due_ms, named))
    for one in held.hand_overs:
        if one.due_ms is not None and one.is_pending and one.received_ms is None:
            edge = {"from": one.sender, "to": one.receiver, "partner": one.partner}
            waiting.append((one.due_ms, {"what": "handoff", "id": one.id, **edge}))
    if not waiting:
        return None
    due_ms, named = min(waiting, key=lambda one: one[0])
    return {**named, "due": _time(due_ms), "in_s": _seconds(due_ms - now_ms)}


def _seconds(ms: int) -> float:
    return ms / 1000


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(min(at_ms, LAST_MS))
