"""Who arrives when, and how journeys pass through the stages: same arguments, same bytes, for ever.

Seeded customers walk through any journey file: stages the chair journey knows are passed through as its
story tells, others arrive on their own. What an event looks like says `monitor.encounter`. Times are ms
since 1970; those within the core are floats, lest high rates round away.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any

import orjson

from monitor.counting.judging import ASKED, FOLLOWED_UP, is_unhappy
from monitor.journey_file.grammar import zone
from monitor.journey_file.model import Journey, Stage
from streams.demo.encounter import ANSWERED, Shape, pick, time_text
from streams.demo.faults import (
    BAD_EVENTS,
    BETWEEN_STAGES,
    CALL_BACKS_FORGOTTEN,
    CHAIN,
    EFFECTS,
    LABYRINTH,
    MALFORMED,
    PARCEL_LOST,
    STAGE_SILENT,
    Effect,
    Fault,
)

HOUR_MS = 3_600_000
END_MS = 10 * 365 * 24 * HOUR_MS
"""Endless means ten years; it also bounds the search for the next arrival of the rarest stage."""
SLICE_MS = 900_000
"""Rates are constant for so long: every time zone's full hours fall on quarters of an hour."""

DAY_CURVE = (2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 13, 12, 12, 12, 13, 14, 15, 15, 13, 10, 6, 4)
"""Arrivals by local hour where the file gives none: quiet nights, lunch, an evening peak."""
WEEKEND_WEIGHT = 0.8
FLOOR_WEIGHT = 0.4
"""A demo at three in the morning still shows life."""

DEFAULT_PER_HOUR = 600.0
"""Arrivals of a stage whose file expects nothing: one every six seconds fills a one-minute window."""

ORDERS_AFTER_VISIT = 0.05  # share of store visits that end in a web order
CALLS_OF_ORDERS = 1 / 3  # share of calls that belong to an order; the others come on their own
SCRATCHES = 0.015  # share of packed orders the seller rings about
CONTACTED = 0.8  # share of unhappy answers that somebody follows up within two days
CALLS_AHEAD = 0.2  # share of deliveries with a call half an hour ahead promised
LOST = "lost"  # the reason of a delivery that reaches nobody
CALL_BACK_H = 4  # hours within which a caller is promised to be called back

ASTRAY = ("phone", "chat", "email", "phone")
"""Where a caller of `labyrinth` turns, one after the other."""
SENT_ON = Effect("call_queue", {"outcome": 1.0}, "failed", "not_solved")
GIVEN_UP = Effect("call_queue", {"outcome": 1.0, "wait_s": 1.0}, "failed", "not_solved")

Act = Callable[[float], "SimulatedEvent | None"]
"""What happens at a time; nothing may be seen of it."""


@dataclass(frozen=True, slots=True)
class SimulatedEvent:
    """One record as a service would publish it."""

    at_ms: int
    topic: str
    key: bytes
    value: bytes


@dataclass(slots=True)
class _Customer:
    """One journey under way, and what went wrong or right in it so far."""

    journey_id: str
    ref: str
    segment: str | None
    trouble: bool = False
    wow: bool = False
    late: bool = False
    partner: str | None = None
    due_ms: float = 0.0
    promise: dict[str, Any] = field(default_factory=dict)


Enter = Callable[[Shape, _Customer, float], SimulatedEvent | None]
"""How a new customer enters a stage at a time."""


def _weights(stage: Stage) -> tuple[list[float], list[float]]:
    """Arrivals by local hour, on a weekday and at the weekend, as multiples of the mean."""
    curve = stage.by_hour or DAY_CURVE
    week = [weight * 24 / sum(curve) for weight in curve]
    if stage.by_hour:
        return week, week
    weekend = [max(FLOOR_WEIGHT, weight * WEEKEND_WEIGHT) for weight in week]
    return [max(FLOOR_WEIGHT, weight) for weight in week], weekend


class Simulator:
    """An endless stream of events of a journey; `events` goes on where it was left."""

    def __init__(
        self,
        journey: Journey,
        *,
        seed: int,
        start_ms: int,
        live_ms: int | None = None,
        rate: float = 1.0,
        compress: float = 1.0,
        faults: Sequence[Fault] = (),
    ) -> None:
        """Arrivals are multiplied by `rate`; the time between the stages of a journey, but not the
        seconds within an event, is divided by `compress`; faults count from `live_ms`.
        """
        if not (rate > 0 and compress > 0):
            raise ValueError(f"rate {rate} and compress {compress} must be above 0")
        self._rng = Random(seed)  # noqa: S311 - a simulation has to be repeatable
        self._run = f"{seed:x}-{start_ms:x}"  # so that two runs never share an event id
        self._zone = zone(journey)
        self._segments = [s for i, s in enumerate(journey.segments) for _ in range(i + 2)]
        self._shapes = {stage.name: Shape(journey, stage) for stage in journey.stages}
        self._weights = {stage.name: _weights(stage) for stage in journey.stages}
        self._rate, self._hour_ms = rate, HOUR_MS / compress
        self._due: list[tuple[float, int, Act]] = []
        self._pushed = self._events = self._journeys = 0
        self._effects: dict[str, Effect] = {}
        self._silent: dict[str, Fault] = {}
        self._between: dict[str, float] = {}
        self._malformed = 0.0
        self._end_ms = float(start_ms + END_MS)
        self._slice: tuple[float, int, bool] = (-1.0, 0, False)
        live_ms = start_ms if live_ms is None else live_ms
        for fault in sorted(faults, key=lambda fault: fault.from_s):
            begins = max(start_ms, live_ms + fault.from_s * 1000)
            self._push(begins, partial(self._begin, fault))
            if fault.for_s < math.inf:
                self._push(begins + fault.for_s * 1000, partial(self._end, fault))
        per_hour = {s.name: s.per_hour or DEFAULT_PER_HOUR for s in journey.stages}
        self._share: dict[str, float] = {}
        if all(name in per_hour for name in CHAIN):
            self._plan(per_hour)
        for name, arrivals in per_hour.items():
            if name not in CHAIN or not self._share:
                shape = self._shapes[name]
                self._expect(shape, arrivals / shape.events_each, self._single, float(start_ms))
            elif name == CHAIN[0]:
                self._expect(self._shapes[name], arrivals, self._checkout, float(start_ms))

    def events(self) -> Iterator[SimulatedEvent]:
        """Every event in order of its time."""
        while self._due and self._due[0][0] < self._end_ms:
            at, _, act = heappop(self._due)
            if (event := act(at)) is not None:
                yield event

    def _plan(self, per_hour: dict[str, float]) -> None:
        """Choose the shares that move on such that every stage gets about what it expects."""
        flow = per_hour["web_checkout"]
        each = (1, 1 + CALLS_AHEAD, self._shapes["feedback"].events_each)
        for upstream, name, events in zip(CHAIN, CHAIN[1:], each, strict=False):
            bad = self._shapes[upstream].share_bad.get("outcome", {}).get(None, 0.0)
            flow *= 1.0 if upstream == "delivery" else 1 - bad
            self._share[name] = min(1.0, per_hour[name] / events / flow)
            flow *= self._share[name]
            if name == "delivery" and "call_queue" in per_hour:
                self._share["call"] = min(0.25, CALLS_OF_ORDERS * per_hour["call_queue"] / flow)
                per_hour["call_queue"] *= 1 - CALLS_OF_ORDERS
        if "store" in per_hour:
            orders, visits = per_hour["web_checkout"], per_hour["store"]
            self._share["order"] = min(ORDERS_AFTER_VISIT, orders / visits / 2)
            per_hour["web_checkout"] -= visits * self._share["order"]

    def _push(self, at: float, act: Act) -> None:
        self._pushed += 1
        heappush(self._due, (at, self._pushed, act))

    def _later(self, at: float, low_h: float, high_h: float) -> float:
        return at + self._rng.uniform(low_h, high_h) * self._hour_ms

    def _chance(self, name: str) -> bool:
        return self._rng.random() < self._share.get(name, 0.0)

    def _strikes(self, fault: str) -> bool:
        """Whether a fault between stages hits this time; nothing is drawn, and so changed, without it."""
        return fault in self._between and self._rng.random() < self._between[fault]

    def _begin(self, fault: Fault, at: float) -> None:
        if fault.name == BAD_EVENTS:
            self._malformed = fault.strength
        elif fault.name == STAGE_SILENT and fault.stage is not None:
            self._silent[fault.stage] = fault
            if all(name in self._silent and self._silent[name].is_total for name in self._shapes):
                self._end_ms = at  # nothing would ever be seen again
        elif fault.name in BETWEEN_STAGES:
            self._between[fault.name] = fault.strength
        else:
            effect = EFFECTS[fault.name]
            worse = {name: share * fault.strength for name, share in effect.worse.items()}
            extra = effect.extra_arrivals * fault.strength
            self._effects[effect.stage] = replace(effect, worse=worse, extra_arrivals=extra)

    def _end(self, fault: Fault, at: float) -> None:  # noqa: ARG002 - an act has a time
        if fault.name == BAD_EVENTS:
            self._malformed = 0.0
        elif fault.name == STAGE_SILENT and fault.stage is not None:
            self._silent.pop(fault.stage, None)
        elif fault.name in BETWEEN_STAGES:
            self._between.pop(fault.name, None)
        else:
            self._effects.pop(EFFECTS[fault.name].stage, None)

    def _expect(self, shape: Shape, per_hour: float, act: Enter, at: float) -> None:
        """Wait for the next arrival of a Poisson process whose rate follows the day."""
        effect = self._effects.get(shape.stage.name)
        per_ms = per_hour * self._rate * (1 + effect.extra_arrivals if effect else 1) / HOUR_MS
        left = self._rng.expovariate(1.0)
        while at < self._end_ms:
            speed = per_ms * self._weight(shape, at)
            end = (at // SLICE_MS + 1) * SLICE_MS
            if left < speed * (end - at):
                at += left / speed
                break
            left -= speed * (end - at)
            at = end
        self._push(at, partial(self._arrive, shape, per_hour, act))

    def _weight(self, shape: Shape, at: float) -> float:
        if at // SLICE_MS != self._slice[0]:
            local = datetime.fromtimestamp(at / 1000, self._zone)
            self._slice = (at // SLICE_MS, local.hour, local.weekday() >= 5)
        _, hour, weekend = self._slice
        return self._weights[shape.stage.name][weekend][hour]

    def _arrive(self, shape: Shape, per_hour: float, act: Enter, at: float) -> SimulatedEvent | None:
        self._expect(shape, per_hour, act, at)
        self._journeys += 1
        return act(
            shape,
            _Customer(
                f"j-{self._run}-{self._journeys:x}",
                f"c-{self._rng.getrandbits(48):012x}",
                pick(self._rng.random, self._segments) if self._segments else None,
            ),
            at,
        )

    def _single(self, shape: Shape, who: _Customer, at: float) -> SimulatedEvent | None:
        """An encounter nothing has to come before."""
        if shape.asks:
            return self._ask(shape, who, at)
        is_call = shape.stage.name == "call_queue"
        if is_call and not who.promise and self._strikes(LABYRINTH):
            return self._stray(shape, who, 0, at)
        event = self._encounter(shape, who, at)
        if is_call and event["outcome"] in shape.good and self._strikes(CALL_BACKS_FORGOTTEN):
            due = time_text(at + CALL_BACK_H * self._hour_ms)
            event["promise"] = {"id": f"b-{event['id']}", "kind": "call_back", "due": due}
        if shape.stage.name == "store" and self._chance("order"):
            checkout = partial(self._checkout, self._shapes["web_checkout"], who)
            self._push(self._later(at, 1, 48), checkout)
        return self._send(shape, event, at, event.get("location") or event.get("case_id"))

    def _stray(self, shape: Shape, who: _Customer, moved: int, at: float) -> SimulatedEvent | None:
        """A contact that solves nothing. All but the last are answered soon: the stage hardly notices."""
        event = self._base(shape, who, at) | {"channel": ASTRAY[moved]}
        if moved + 1 < len(ASTRAY):
            self._push(self._later(at, 1, 8), partial(self._stray, shape, who, moved + 1))
        shape.fill(event, self._rng.random, SENT_ON if moved + 1 < len(ASTRAY) else GIVEN_UP, 1.0)
        shape.tell(event, self._rng.random, None)
        return self._send(shape, event, at, event["case_id"])

    def _checkout(self, shape: Shape, who: _Customer, at: float) -> SimulatedEvent | None:
        event = self._encounter(shape, who, at)
        if event["outcome"] in shape.good and self._chance("warehouse"):
            self._push(self._later(at, 1, 6), partial(self._pack, who))
        return self._send(shape, event, at)

    def _pack(self, who: _Customer, at: float) -> SimulatedEvent | None:
        """Packed orders are promised and handed to a partner; some buyers call, some are called."""
        shape = self._shapes["warehouse"]
        event = self._encounter(shape, who, at)
        if event["outcome"] in shape.good and self._chance("delivery"):
            who.partner = self._shapes["delivery"].partner(self._rng.random)
            planned = self._later(at, 24, 72)
            who.due_ms = planned + 2 * self._hour_ms
            who.promise = {
                "id": f"p-{who.journey_id}",
                "kind": "delivery_window",
                "due_from": time_text(planned - 2 * self._hour_ms),
                "due": time_text(who.due_ms),
            }
            event["promise"] = who.promise
            event["handoff"] = self._handoff(who)
            if not self._strikes(PARCEL_LOST):
                self._push(planned - self._hour_ms / 2, partial(self._set_out, who))
            if self._chance("call"):
                call = partial(self._single, self._shapes["call_queue"], who)
                self._push(self._later(at, 1, 20), call)
            if "call" in self._share and self._rng.random() < SCRATCHES:
                self._push(self._later(at, 1, 20), partial(self._call_back, who))
        return self._send(shape, event, at)

    def _call_back(self, who: _Customer, at: float) -> SimulatedEvent | None:
        """The seller has seen a scratch the buyer knows nothing of, and offers a discount."""
        shape = self._shapes["call_queue"]
        who.wow = True
        event = self._base(shape, who, at) | {
            "outcome": "wow", "touchpoint": "call_back", "initiator": "company", "wait_s": 0.0,
            "duration_s": round(60 + self._rng.expovariate(1 / 120), 1),
        }  # fmt: skip
        shape.tell(event, self._rng.random, who.partner)
        return self._send(shape, event, at, event["case_id"])

    def _set_out(self, who: _Customer, at: float) -> SimulatedEvent | None:
        """Half an hour before the delivery, when it shows whether it will be in time."""
        shape, rng = self._shapes["delivery"], self._rng
        late = shape.share("promise.kept", who.segment, self._effects.get("delivery"))
        if not who.late and rng.random() < late:
            who.late = True
            self._push(self._later(who.due_ms + 1, 1, 24), partial(self._set_out, who))
            return None
        arrives = at + self._hour_ms / 2
        self._push(arrives, partial(self._deliver, who))
        if rng.random() >= CALLS_AHEAD:
            return None
        forgotten = self._between.get(CALL_BACKS_FORGOTTEN, 0.0)
        kept = rng.random() >= max(forgotten, shape.share("promise.kept", who.segment, None))
        event = self._base(shape, who, at) | {
            "outcome": pick(rng.random, shape.good), "touchpoint": "call_ahead", "initiator": "company",
        }  # fmt: skip
        if not kept:
            who.trouble = True
            shape.blame(event, "no_call_ahead")
        event["promise"] = {
            "id": f"a-{who.journey_id}",
            "kind": "courier_call_ahead",
            "due_from": event["time"],
            "due": time_text(arrives),
            "kept": kept,
        }
        shape.tell(event, rng.random, who.partner)
        return self._send(shape, event, at)

    def _deliver(self, who: _Customer, at: float) -> SimulatedEvent | None:
        shape = self._shapes["delivery"]
        event = self._encounter(shape, who, at)
        if event.get("reason") == LOST:
            event.pop("promise", None)  # the one that any event of a stage which judges promises has
        else:
            event["promise"] = who.promise | {"kept": not who.late}
            event["handoff"] = self._handoff(who)
        if who.late:
            who.trouble = True
            shape.blame(event, "late")
        if self._chance("feedback"):
            survey = self._shapes["feedback"]
            comes = self._ask if survey.asks else self._feedback
            self._push(self._later(at, 20, 30), partial(comes, survey, who))
        return self._send(shape, event, at, f"h-{who.journey_id}")

    def _ask(self, shape: Shape, who: _Customer, at: float) -> SimulatedEvent | None:
        """Most of those asked say nothing."""
        event = self._base(shape, who, at) | {"outcome": ASKED}
        shape.tell(event, self._rng.random, who.partner)
        if self._rng.random() < ANSWERED:
            self._push(self._later(at, 0.1, 24), partial(self._feedback, shape, who))
        return self._send(shape, event, at, who.ref)

    def _feedback(self, shape: Shape, who: _Customer, at: float) -> SimulatedEvent | None:
        """About one journey in nine meets trouble, so detractors stay as frequent as is healthy."""
        mood = 0.1 if who.wow else 5.0 if who.trouble else 0.5
        event = self._encounter(shape, who, at, mood)
        score = event.get("score")
        if shape.follows_up and score and is_unhappy(**score) and self._rng.random() < CONTACTED:
            self._push(self._later(at, 2, 44), partial(self._follow_up, shape, who))
        return self._send(shape, event, at, who.ref)

    def _follow_up(self, shape: Shape, who: _Customer, at: float) -> SimulatedEvent | None:
        """Somebody who was unhappy hears from the company, by whatever way it has."""
        event = self._base(shape, who, at) | {"outcome": FOLLOWED_UP, "initiator": "company"}
        shape.tell(event, self._rng.random, who.partner)
        return self._send(shape, event, at, who.ref)

    def _handoff(self, who: _Customer) -> dict[str, str]:
        return {"id": f"h-{who.journey_id}", "from": "warehouse", "to": who.partner or "delivery"}

    def _base(self, shape: Shape, who: _Customer, at: float) -> dict[str, Any]:
        self._events += 1
        event_id = f"e-{self._run}-{self._events:x}"
        return shape.start(event_id, at, who.journey_id, who.ref, who.segment)

    def _encounter(self, shape: Shape, who: _Customer, at: float, mood: float = 1.0) -> dict[str, Any]:
        event = self._base(shape, who, at)
        trouble = shape.fill(event, self._rng.random, self._effects.get(shape.stage.name), mood)
        who.trouble |= trouble and shape.stage.kind != "background"
        shape.tell(event, self._rng.random, who.partner)
        return event

    def _send(
        self, shape: Shape, event: dict[str, Any], at: float, key: str | None = None
    ) -> SimulatedEvent | None:
        name, rng = shape.stage.name, self._rng
        if name in self._silent and rng.random() < self._silent[name].strength:
            return None
        broken = self._malformed and rng.random() < self._malformed
        value = pick(rng.random, MALFORMED)(event) if broken else orjson.dumps(event)
        key = key or event.get("journey_id") or event["id"]
        return SimulatedEvent(int(at), shape.stage.topic, key.encode(), value)
