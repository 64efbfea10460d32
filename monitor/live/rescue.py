"""Customers who can still be helped: a pure function of what is kept of their journeys under way."""

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from monitor.journeys.open import OpenJourney
from monitor.journeys.step import Step
from monitor.live.shown import moment, named, written

SOON_MS = 3_600_000
"""What is due so soon and has not come is likely late: long enough to call the partner, and the customer."""

MOST = 50
"""Journeys told of those in time, and of the others: more than anybody can call in an hour."""


class _Owed(NamedTuple):
    """What has not come, when it is due, and whether word came that it will not."""

    due_ms: int
    called_off: bool
    what: dict[str, Any]


def rescue(journey_id: str, held: OpenJourney, lived: Container[str], now_ms: int) -> dict[str, Any] | None:
    """What happened to a customer who was hurt or is about to be, what is owed, and how long is left.

    None for one who is well, or whose journey is over. `lived` are the stages where an encounter can be bad;
    times are RFC 3339, `left_s` is seconds, below 0 what is late.
    """
    if held.closed_ms is not None or not held.steps:  # of steps that our rules failed on none is kept
        return None
    happened = list(_not_made_good(held.steps, lived))
    owed = sorted(_owed(held), key=lambda one: one.due_ms)
    if not happened and not any(one.called_off or one.due_ms <= now_ms + SOON_MS for one in owed):
        return None
    late_ms = [one.due_ms for one in owed if one.due_ms <= now_ms]
    ahead_ms = [one.due_ms for one in owed if one.due_ms > now_ms]
    due_ms = ahead_ms[0] if ahead_ms else late_ms[-1] if late_ms else None
    return {
        "journey_id": journey_id,
        "time": written(max([held.steps[-1].at_ms, *late_ms])),
        "in_time": bool(ahead_ms),
        "due": moment(due_ms),
        "left_s": None if due_ms is None else (due_ms - now_ms) / 1000,
        "happened": [_happened(step) for step in happened],
        "promised": [
            {**one.what, "due": written(one.due_ms), "called_off": one.called_off,
             "left_s": (one.due_ms - now_ms) / 1000}
            for one in owed
        ],
    }  # fmt: skip


def in_order(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """By what can still be done: still in time first, the soonest deadline first; then the latest."""
    told = [one for one in found if _is_told(one)]
    in_time = sorted((one for one in told if one["in_time"]), key=lambda one: one["due"])
    others = sorted((one for one in told if not one["in_time"]), key=lambda one: one["time"], reverse=True)
    return [*in_time[:MOST], *others[:MOST]]


def _is_told(one: dict[str, Any]) -> bool:
    """Whether another worker tells of a journey as this one would."""
    return isinstance(one.get("time"), str) and isinstance(
        one.get("due"), str if one.get("in_time") else object
    )


def _not_made_good(steps: Sequence[Step], lived: Container[str]) -> Iterator[Step]:
    """The last encounter with each stage that judges any, where it was bad."""
    last = {step.stage: step for step in steps if step.judged and step.stage in lived}
    return (step for step in last.values() if step.bad_for)


def _owed(held: OpenJourney) -> Iterator[_Owed]:
    for pledge in held.pledges:
        if pledge.due_ms is not None and pledge.kept_ms is None:
            called_off = pledge.word_ms is not None
            what = {"what": "promise", "kind": pledge.kind, "partner": named(pledge.partner)}
            yield _Owed(pledge.due_ms, called_off, what)
    for one in held.hand_overs:
        if one.due_ms is not None and one.received_ms is None:
            edge = {"from": one.sender, "to": one.receiver, "partner": named(one.partner)}
            yield _Owed(one.due_ms, False, {"what": "handoff", **edge})


def _happened(step: Step) -> dict[str, Any]:
    names = ("stage", "outcome", "channel", "reason", "bad_for")
    return {"time": written(step.at_ms), **{name: getattr(step, name) for name in names}}
