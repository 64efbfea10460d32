"""What people and programs are shown of a journey's parts: step, promise, hand-over; times are RFC 3339.

`closed_ms` is when the journey was over: what came later is not part of it.
"""

from typing import Any

from msgspec import Struct

from monitor.counting.event import Handoff, Promise, Score
from monitor.counting.times import rfc3339
from monitor.journey_file.model import NONE
from monitor.journeys.handovers import HandOver
from monitor.journeys.pledge import Pledge
from monitor.journeys.step import Step

FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_000
"""The first and the last second that can be written; a service may have promised something for later."""


class ShownStep(Struct, frozen=True):
    """One encounter. Partition and offset are where its event lies in the stage's topic."""

    time: str
    stage: str
    outcome: str
    touchpoint: str | None
    channel: str | None
    partner: str | None
    reason: str | None
    segment: str | None
    initiator: str | None
    internal_ok: bool | None
    judged: int
    bad_for: tuple[str, ...]
    score: Score | None
    promise: Promise | None
    handoff: Handoff | None
    partition: int
    offset: int


class ShownPromise(Struct, frozen=True):
    """`state` is `kept`, `early`, `broken`, `late`, `unpromised`, `pending`; `overdue` while the journey is
    under way, `missed` when it is over."""

    id: str
    kind: str
    partner: str | None
    made: str
    due_from: str | None
    due: str | None
    rescheduled: str | None
    fulfilled: str | None
    kept: bool | None
    state: str


class ShownHandOver(Struct, frozen=True, rename={"sender": "from", "receiver": "to"}):
    """`state` is `received`, `late`, `pending`; `overdue` while the journey is under way, `lost` when it is
    over."""

    id: str
    sender: str
    receiver: str
    partner: str
    sent: str | None
    due: str | None
    received: str | None
    state: str


def moment(at_ms: int | None) -> str | None:
    """A moment as it is written, None for none."""
    return None if at_ms is None else written(at_ms)


def written(at_ms: int) -> str:
    """A moment as it is written, be it beyond what can be."""
    return rfc3339(min(max(at_ms, FIRST_MS), LAST_MS))


def staleness(last_ms: int | None, clock_ms: int, now_ms: int, *, is_overdue: bool) -> dict[str, Any]:
    """How old what is known of a journey is, whose last step was then; ages in seconds."""
    return {
        "at": moment(now_ms),
        "last_step_age_s": (now_ms - last_ms) / 1000 if last_ms is not None else None,
        "clock": moment(clock_ms or None),
        "clock_behind_s": (now_ms - clock_ms) / 1000 if clock_ms else None,
        "overdue": is_overdue,
    }


def shown_step(step: Step) -> ShownStep:
    """A step, but for its journey's id."""
    same = (getattr(step, name) for name in ShownStep.__struct_fields__ if name != "time")
    return ShownStep(rfc3339(step.at_ms), *same)


def shown_promise(one: Pledge, closed_ms: int | None = None) -> ShownPromise:
    """A promise, as of now or of the end of its journey."""
    is_told = one.word_ms is not None and (closed_ms is None or one.word_ms <= closed_ms)
    return ShownPromise(
        one.id,
        one.kind,
        named(one.partner),
        written(one.made_ms),
        moment(one.due_from_ms),
        moment(one.due_ms),
        moment(one.moved_to_ms),
        moment(one.word_ms) if is_told and one.kept else None,
        one.kept if is_told else None,
        _promise_state(one, is_told=is_told, is_over=closed_ms is not None),
    )


def named(partner: str | None) -> str | None:
    """A partner, None for `none`."""
    return None if partner == NONE else partner


def _promise_state(one: Pledge, *, is_told: bool, is_over: bool) -> str:
    if is_told and one.word_ms is not None:
        return one.result(one.word_ms) or "unpromised"
    if is_over and one.due_ms is not None:
        return "missed"
    return "overdue" if one.is_overdue else "pending"


def shown_hand_over(one: HandOver, closed_ms: int | None = None) -> ShownHandOver:
    """A hand-over, as of now or of the end of its journey."""
    received_ms = one.received_ms
    if received_ms is not None and closed_ms is not None and received_ms > closed_ms:
        received_ms = None
    if received_ms is not None:
        state = "received" if one.due_ms is None or received_ms <= one.due_ms else "late"
    elif not one.is_counted:
        state = "pending"
    else:
        state = "overdue" if closed_ms is None else "lost"
    return ShownHandOver(
        one.id,
        one.sender,
        one.receiver,
        one.partner,
        moment(one.sent_ms),
        moment(one.due_ms),
        moment(received_ms),
        state,
    )
