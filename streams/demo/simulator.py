"""Who arrives when, and how journeys pass through the stages: same arguments, same bytes, for ever.

Seeded customers walk through any journey file: stages of the `story` are passed through as it goes, others
arrive on their own. What an event looks like says `encounter`. Times are ms since 1970; those within the
core are floats, lest high rates round away.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from monitor.counting.event import Score
from monitor.counting.judging import ASKED, FOLLOWED_UP
from monitor.counting.times import rfc3339
from monitor.journey_file.model import UNHAPPY, Journey, Stage
from monitor.journeys.closing import is_unhappy
from streams.demo import story
from streams.demo.encounter import ANSWERED, Customer, Shape, pick
from streams.demo.faults import BAD_EVENTS, MALFORMED, STAGE_SILENT, Fault
from streams.demo.story import BOUGHT, CALLED, CHAIN, EFFECTS, PACKED, SHIPPED, SURVEYED, Effect, Turn

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

CONTACTED = 0.8  # share of unhappy answers that somebody follows up within two days


@dataclass(frozen=True, slots=True)
class SimulatedEvent:
    """One record as a service would publish it."""

    at_ms: int
    topic: str
    key: bytes
    value: bytes


Act = Callable[[float], SimulatedEvent | None]
"""What happens at a time; nothing may be seen of it."""
Enter = Callable[[Shape, Customer, float], SimulatedEvent | None]
"""What a customer does in a stage at a time."""


def _weights(stage: Stage) -> tuple[list[float], list[float]]:
    """Arrivals by local hour, on a weekday and at the weekend, as multiples of the mean."""
    curve = stage.by_hour or DAY_CURVE
    week = [weight * 24 / sum(curve) for weight in curve]
    if stage.by_hour:
        return week, week
    weekend = [max(FLOOR_WEIGHT, weight * WEEKEND_WEIGHT) for weight in week]
    return [max(FLOOR_WEIGHT, weight) for weight in week], weekend


def _promise(name: str, kind: str, due_from_ms: float, due_ms: float) -> dict[str, Any]:
    return {"id": name, "kind": kind, "due_from": rfc3339(int(due_from_ms)), "due": rfc3339(int(due_ms))}


@dataclass(eq=False)
class Simulator:
    """An endless stream of events of a journey; `events` goes on where it was left."""

    journey: Journey
    _: KW_ONLY
    seed: int
    start_ms: int
    live_ms: int | None = None
    """Faults count from then; from the start unless given."""
    rate: float = 1.0
    """What arrivals are multiplied by."""
    compress: float = 1.0
    """What the time between the stages of a journey, but not the seconds within an event, is divided by."""
    faults: Sequence[Fault] = ()

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.compress > 0):
            raise ValueError(f"rate {self.rate} and compress {self.compress} must be above 0")
        journey, start_ms = self.journey, self.start_ms
        self._rng = Random(self.seed)  # noqa: S311 - a simulation has to be repeatable
        self._run = f"{self.seed:x}-{start_ms:x}"  # so that two runs never share an event id
        self._zone = ZoneInfo(journey.timezone)
        self._segments = [s for i, s in enumerate(journey.segments) for _ in range(i + 2)]
        self._shapes = {stage.name: Shape(journey, stage) for stage in journey.stages}
        self._weights = {stage.name: _weights(stage) for stage in journey.stages}
        self._hour_ms = HOUR_MS / self.compress
        self._due: list[tuple[float, int, Act]] = []
        self._pushed = self._events = self._journeys = 0
        self._effects: dict[str, Effect] = {}
        self._silent: dict[str, Fault] = {}
        self._everywhere: dict[str, float] = {}
        self._end_ms = float(start_ms + END_MS)
        self._slice: tuple[float, int, bool] = (-1.0, 0, False)
        live_ms = start_ms if self.live_ms is None else self.live_ms
        for fault in sorted(self.faults, key=lambda fault: fault.from_s):
            begins = max(start_ms, live_ms + fault.from_s * 1000)
            self._push(begins, partial(self._begin, fault))
            if fault.for_s < math.inf:
                self._push(begins + fault.for_s * 1000, partial(self._end, fault))
        per_hour = {s.name: s.per_hour or DEFAULT_PER_HOUR for s in journey.stages}
        self._share: dict[Turn, float] = {}
        if all(name in per_hour for name in CHAIN):
            self._plan(per_hour)
        for name, arrivals in per_hour.items():
            if name not in CHAIN[1:] or not self._share:
                shape = self._shapes[name]
                self._expect(shape, arrivals / shape.events_each, float(start_ms))

    def events(self) -> Iterator[SimulatedEvent]:
        """Every event in order of its time."""
        while self._due and self._due[0][0] < self._end_ms:
            at, _, act = heappop(self._due)
            if (event := act(at)) is not None:
                yield event

    def _plan(self, per_hour: dict[str, float]) -> None:
        """Choose the shares that move on such that every stage gets about what it expects."""
        flow = per_hour[CHAIN[0]]
        for turn in story.ORDER:
            bad = self._shapes[turn.start].share_bad.get("outcome", {}).get(None, 0.0)
            flow *= 1.0 if turn == SURVEYED else 1 - bad
            events = self._shapes[turn.to].events_each + (story.CALLS_AHEAD if turn == SHIPPED else 0)
            self._share[turn] = min(1.0, per_hour[turn.to] / events / flow)
            flow *= self._share[turn]
            if turn == SHIPPED and CALLED.to in per_hour:
                self._share[CALLED] = min(0.25, story.CALLS_OF_ORDERS * per_hour[CALLED.to] / flow)
                per_hour[CALLED.to] *= 1 - story.CALLS_OF_ORDERS
        if BOUGHT.start in per_hour:
            orders, visits = per_hour[BOUGHT.to], per_hour[BOUGHT.start]
            self._share[BOUGHT] = min(story.ORDERS_AFTER_VISIT, orders / visits / 2)
            per_hour[BOUGHT.to] -= visits * self._share[BOUGHT]

    def _push(self, at: float, act: Act) -> None:
        self._pushed += 1
        heappush(self._due, (at, self._pushed, act))

    def _later(self, at: float, low_h: float, high_h: float) -> float:
        return at + self._rng.uniform(low_h, high_h) * self._hour_ms

    def _chance(self, turn: Turn) -> bool:
        return self._rng.random() < (self._share.get(turn, 0.0) if turn.share is None else turn.share)

    def _may_go(self, turn: Turn, act: Enter, who: Customer, at: float) -> None:
        if self._chance(turn):
            self._push(self._later(at, *turn.hours), partial(act, self._shapes[turn.to], who))

    def _strikes(self, fault: str) -> bool:
        """Whether a fault of no one stage hits this time; nothing is drawn, and so changed, without it."""
        strength = self._everywhere.get(fault, 0.0)
        return strength > 0 and self._rng.random() < strength

    def _begin(self, fault: Fault, at: float) -> None:
        if fault.name == STAGE_SILENT and fault.stage is not None:
            self._silent[fault.stage] = fault
            if all(name in self._silent and self._silent[name].is_total for name in self._shapes):
                self._end_ms = at  # nothing would ever be seen again
        elif effect := EFFECTS.get(fault.name):
            worse = {name: share * fault.strength for name, share in effect.worse.items()}
            extra = effect.extra_arrivals * fault.strength
            self._effects[effect.stage] = replace(effect, worse=worse, extra_arrivals=extra)
        else:
            self._everywhere[fault.name] = fault.strength

    def _end(self, fault: Fault, at: float) -> None:  # noqa: ARG002 - an act has a time
        self._silent.pop(fault.stage or "", None)
        self._everywhere.pop(fault.name, None)
        if fault.name in EFFECTS:
            self._effects.pop(EFFECTS[fault.name].stage, None)

    def _expect(self, shape: Shape, per_hour: float, at: float) -> None:
        """Wait for the next arrival of a Poisson process whose rate follows the day."""
        effect = self._effects.get(shape.stage.name)
        per_ms = per_hour * self.rate * (1 + effect.extra_arrivals if effect else 1) / HOUR_MS
        left = self._rng.expovariate(1.0)
        while at < self._end_ms:
            speed = per_ms * self._weight(shape, at)
            end = (at // SLICE_MS + 1) * SLICE_MS
            if left < speed * (end - at):
                at += left / speed
                break
            left -= speed * (end - at)
            at = end
        self._push(at, partial(self._arrive, shape, per_hour))

    def _weight(self, shape: Shape, at: float) -> float:
        if at // SLICE_MS != self._slice[0]:
            local = datetime.fromtimestamp(at / 1000, self._zone)
            self._slice = (at // SLICE_MS, local.hour, local.weekday() >= 5)
        _, hour, weekend = self._slice
        return self._weights[shape.stage.name][weekend][hour]

    def _arrive(self, shape: Shape, per_hour: float, at: float) -> SimulatedEvent | None:
        self._expect(shape, per_hour, at)
        self._journeys += 1
        journey_id, ref = f"j-{self._run}-{self._journeys:x}", f"c-{self._rng.getrandbits(48):012x}"
        segment = pick(self._rng.random, self._segments) if self._segments else None
        return self._meet(shape, Customer(journey_id, ref, segment), at)

    def _meet(self, shape: Shape, who: Customer, at: float) -> SimulatedEvent | None:
        """An encounter nothing has to come before."""
        if shape.asks:
            return self._ask(shape, who, at)
        if shape.part.is_contact and not who.promise and self._strikes(story.LABYRINTH):
            return self._stray(shape, who, 0, at)
        event = self._encounter(shape, who, at)
        return (self._queue if shape.has_queue else self._end_of)(shape, who, event, at)

    def _queue(self, shape: Shape, who: Customer, event: dict[str, Any], at: float) -> SimulatedEvent | None:
        """Its wait begins now; the event that ends it comes when the wait is over."""
        event["encounter_id"] = f"q-{event['id']}"
        begun = shape.begin(event, at)
        over = at + event["wait_s"] * 1000
        event["time"] = rfc3339(int(over))
        self._push(over, partial(self._end_of, shape, who, event))
        return self._send(shape, begun, at, event.get("location"))

    def _end_of(self, shape: Shape, who: Customer, event: dict[str, Any], at: float) -> SimulatedEvent | None:
        """An encounter is over, and where the customer goes from there."""
        name, is_contact = shape.stage.name, shape.part.is_contact
        good = event["outcome"] in shape.good
        if is_contact and good and self._strikes(story.CALL_BACKS_FORGOTTEN):
            due = rfc3339(int(at + story.CALL_BACK_H * self._hour_ms))
            event["promise"] = {"id": f"b-{event['id']}", "kind": story.CALL_BACK, "due": due}
        if name == BOUGHT.start:
            self._may_go(BOUGHT, self._meet, who, at)
        if name == PACKED.start and good and self._share:
            self._may_go(PACKED, self._pack, who, at)
        return self._send(shape, event, at, event.get("location"))

    def _stray(self, shape: Shape, who: Customer, moved: int, at: float) -> SimulatedEvent | None:
        """A contact that solves nothing. All but the last are answered soon: the stage hardly notices."""
        event = self._base(shape, who, at) | {"channel": story.ASTRAY[moved]}
        is_last = moved + 1 == len(story.ASTRAY)
        if not is_last:
            self._push(self._later(at, 1, 8), partial(self._stray, shape, who, moved + 1))
        shape.fill(event, self._rng.random, story.GIVEN_UP if is_last else story.SENT_ON, 1.0)
        shape.tell(event, self._rng.random, None)
        return self._send(shape, event, at)

    def _pack(self, shape: Shape, who: Customer, at: float) -> SimulatedEvent | None:
        """Packed orders are promised and handed to a partner; some buyers call, some are called."""
        event = self._encounter(shape, who, at)
        if event["outcome"] in shape.good and self._chance(SHIPPED):
            parcel = self._shapes[SHIPPED.to]
            who.partner = parcel.partner(self._rng.random)
            planned = self._later(at, *SHIPPED.hours)
            who.due_ms = planned + story.WINDOW_H * self._hour_ms
            due_from_ms = planned - story.WINDOW_H * self._hour_ms
            who.promise = _promise(f"p-{who.journey_id}", story.WINDOW, due_from_ms, who.due_ms)
            event |= {"promise": who.promise, "handoff": self._handoff(who)}
            if not self._strikes(story.PARCEL_LOST):
                self._push(planned - story.AHEAD_H * self._hour_ms, partial(self._set_out, parcel, who))
            self._may_go(CALLED, self._meet, who, at)
            if CALLED in self._share:
                self._may_go(story.SCRATCHED, self._call_back, who, at)
        return self._send(shape, event, at)

    def _call_back(self, shape: Shape, who: Customer, at: float) -> SimulatedEvent | None:
        who.wow = True
        event = self._base(shape, who, at) | story.SCRATCH
        event["duration_s"] = round(60 + self._rng.expovariate(1 / 120), 1)
        shape.tell(event, self._rng.random, who.partner)
        return self._send(shape, event, at)

    def _set_out(self, shape: Shape, who: Customer, at: float) -> SimulatedEvent | None:
        """A little before the delivery, when it shows whether it will be in time."""
        rng = self._rng
        late = shape.share("promise.kept", who.segment, self._effects.get(shape.stage.name))
        if not who.late and rng.random() < late:
            who.late = True
            self._push(self._later(who.due_ms + 1, *story.LATE_H), partial(self._set_out, shape, who))
            return None
        arrives = at + story.AHEAD_H * self._hour_ms
        self._push(arrives, partial(self._deliver, shape, who))
        if rng.random() >= story.CALLS_AHEAD:
            return None
        forgotten = self._everywhere.get(story.CALL_BACKS_FORGOTTEN, 0.0)
        kept = rng.random() >= max(forgotten, shape.share("promise.kept", who.segment, None))
        event = self._base(shape, who, at) | {"outcome": pick(rng.random, shape.good)} | story.AHEAD
        if not kept:
            who.trouble = True
            shape.blame(event, story.NOT_AHEAD)
        event["promise"] = _promise(f"a-{who.journey_id}", story.CALL_AHEAD, at, arrives) | {"kept": kept}
        shape.tell(event, rng.random, who.partner)
        return self._send(shape, event, at)

    def _deliver(self, shape: Shape, who: Customer, at: float) -> SimulatedEvent | None:
        event = self._encounter(shape, who, at)
        if event.get("reason") == story.LOST:
            event.pop("promise", None)  # the one that any event of a stage which judges promises has
        else:
            event |= {"promise": who.promise | {"kept": not who.late}, "handoff": self._handoff(who)}
        if who.late:
            who.trouble = True
            shape.blame(event, story.LATE)
        asks = self._shapes[SURVEYED.to].asks
        self._may_go(SURVEYED, self._ask if asks else self._feedback, who, at)
        return self._send(shape, event, at, f"h-{who.journey_id}")

    def _ask(self, shape: Shape, who: Customer, at: float) -> SimulatedEvent | None:
        """Most of those asked say nothing."""
        event = self._base(shape, who, at) | {"outcome": ASKED}
        shape.tell(event, self._rng.random, who.partner)
        if self._rng.random() < ANSWERED:
            self._push(self._later(at, 0.1, 24), partial(self._feedback, shape, who))
        return self._send(shape, event, at, who.ref)

    def _feedback(self, shape: Shape, who: Customer, at: float) -> SimulatedEvent | None:
        """About one journey in nine meets trouble, so detractors stay as frequent as is healthy."""
        mood = 0.1 if who.wow else 5.0 if who.trouble else 0.5
        event = self._encounter(shape, who, at, mood)
        score, journeys = event.get("score"), self.journey.journeys
        limits = journeys.unhappy if journeys else UNHAPPY
        unhappy = score is not None and is_unhappy(limits, Score(**score))
        if shape.follows_up and unhappy and self._rng.random() < CONTACTED:
            self._push(self._later(at, 2, 44), partial(self._follow_up, shape, who))
        return self._send(shape, event, at, who.ref)

    def _follow_up(self, shape: Shape, who: Customer, at: float) -> SimulatedEvent | None:
        """Somebody who was unhappy hears from the company, by whatever way it has."""
        event = self._base(shape, who, at) | {"outcome": FOLLOWED_UP, "initiator": "company"}
        shape.tell(event, self._rng.random, who.partner)
        return self._send(shape, event, at, who.ref)

    def _handoff(self, who: Customer) -> dict[str, str]:
        return {
            "id": f"h-{who.journey_id}",
            "from": SHIPPED.start,
            "to": who.partner or SHIPPED.to,
        }

    def _base(self, shape: Shape, who: Customer, at: float) -> dict[str, Any]:
        self._events += 1
        event_id = f"e-{self._run}-{self._events:x}"
        return shape.start(event_id, at, who)

    def _encounter(self, shape: Shape, who: Customer, at: float, mood: float = 1.0) -> dict[str, Any]:
        event = self._base(shape, who, at)
        trouble = shape.fill(event, self._rng.random, self._effects.get(shape.stage.name), mood)
        if shape.has_queue:
            shape.hang_up(event, self._rng.random)
        who.trouble |= trouble and shape.stage.kind != "background"
        shape.tell(event, self._rng.random, who.partner)
        return event

    def _send(
        self, shape: Shape, event: dict[str, Any], at: float, key: str | None = None
    ) -> SimulatedEvent | None:
        name, rng = shape.stage.name, self._rng
        if name in self._silent and rng.random() < self._silent[name].strength:
            return None
        malform = pick(rng.random, MALFORMED) if self._strikes(BAD_EVENTS) else orjson.dumps
        value = malform(event)
        named = event.get("encounter_id") or event.get("case_id") or event.get("journey_id")
        key = key or named or event["id"]
        return SimulatedEvent(int(at), shape.stage.topic, key.encode(), value)
