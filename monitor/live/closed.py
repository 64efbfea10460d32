"""A journey that is over, whole, as it is published: a pure function of what was kept of it at its end.

So whoever publishes it again, after a crash, publishes the same bytes.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from monitor.counting.times import epoch_ms, rfc3339
from monitor.journeys.closing import is_unhappy, score
from monitor.journeys.open import OpenJourney
from monitor.live.shown import (
    ShownHandOver,
    ShownPromise,
    ShownStep,
    shown_hand_over,
    shown_promise,
    shown_step,
    staleness,
    written,
)


class MissedBy(Struct, frozen=True):
    """What made a journey miss its goal: `handoff`, `promise` or `stage`, and which."""

    cause: str
    about: str


class Move(Struct, frozen=True):
    """A change of channel."""

    from_channel: str
    to_channel: str


class ClosedJourney(Struct, frozen=True):
    """A journey that is over. Times are RFC 3339.

    `result` is `met`, `missed` or `visit`. `score` is that of the weakest encounter, `weakest` its stage,
    null if nothing was bad. `failed` says what made it miss its goal. `labyrinth` is whether the customer
    went astray, `lost` the last change of channel then. `noticed` is who spoke first after something went
    wrong: `company`, `customer`, `nobody`. `unhappy` is the customer's own word, null without an answer;
    `understood` compares it by stage with what the stage says of itself.
    """

    journey_id: str
    began: str
    closed: str
    result: str
    segment: str
    score: float
    weakest: str | None
    failed: MissedBy | None
    labyrinth: bool
    lost: Move | None
    noticed: str | None
    unhappy: bool | None
    understood: dict[str, str]
    steps: list[ShownStep]
    promises: list[ShownPromise]
    handoffs: list[ShownHandOver]


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(ClosedJourney).decode


def closed_journey(journey_id: str, held: OpenJourney, unhappy: Mapping[str, float]) -> ClosedJourney:
    """What is published of a journey that has just closed; `unhappy` as in the journey file."""
    pledges = sorted(held.pledges, key=lambda one: (one.made_ms, *one.about))
    hand_overs = sorted(held.hand_overs, key=lambda one: (one.begun_ms, one.about))
    ending = [counter.split("/") for counter in held.ending]
    told: dict[str, list[str]] = {kind: parts for kind, *parts in reversed(ending)}
    result, segment = told["closed"]
    weakest = min(held.steps, key=score)
    moves = [Move(*parts) for kind, *parts in ending if kind == "lost"]
    answers = [step.score for step in held.steps if step.score is not None]
    return ClosedJourney(
        journey_id,
        rfc3339(held.steps[0].at_ms),
        written(held.closed_ms or 0),
        result,
        segment,
        score(weakest),
        weakest.stage if weakest.bad_for else None,
        MissedBy(*told["failed"][:2]) if "failed" in told else None,
        "labyrinth" in told,
        moves[0] if moves else None,
        told["noticed"][0] if "noticed" in told else None,
        is_unhappy(unhappy, answers[-1]) if answers else None,
        {stage: cell for kind, stage, cell in (one for one in ending if one[0] == "gap")},
        [shown_step(step) for step in held.steps],
        [shown_promise(one, held.closed_ms) for one in pledges],
        [shown_hand_over(one, held.closed_ms) for one in hand_overs],
    )


def closed_answer(said: ClosedJourney, clock_ms: int, now_ms: int) -> dict[str, Any]:
    """The body of `/api/journeys/<id>` for it, with all that one under way has."""
    last_ms = epoch_ms(datetime.fromisoformat(said.steps[-1].time))
    return {
        **msgspec.to_builtins(said),
        "state": "over",
        "goal": None,
        "next": None,
        "ends": None,
        "staleness": staleness(last_ms, clock_ms, now_ms, is_overdue=False),
    }
