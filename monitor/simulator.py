"""Seeded customers walk through the stages of any journey file: same arguments, same bytes, for ever.

What healthy looks like is read from the experiences themselves: a field turns bad half as often as the
target allows, so no healthy stage comes near its target. Stages the chair journey knows get its story,
others arrive on their own. Times are ms since 1970; those within the core are floats, lest high rates
round away.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from heapq import heappop, heappush
from random import Random
from typing import Any

import orjson

from monitor.faults import BAD_EVENTS, EFFECTS, MALFORMED, STAGE_SILENT, Effect, Fault
from monitor.journey import Condition, Journey, Stage
from monitor.journey_file import BOOLEAN_FIELDS, NUMBER_FIELDS, zone

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

SECONDS_FIELDS = tuple(name for name in NUMBER_FIELDS if name != "score.value")
MAX_SECONDS = 1e9
"""The most the codec reads."""

DEFAULT_PER_HOUR = 600.0
"""Arrivals of a stage whose file expects nothing: one every six seconds fills a one-minute window."""

CHAIN = ("web_checkout", "warehouse", "delivery", "feedback")
"""The stages one order passes through; without all of them every stage arrives on its own."""
ORDERS_AFTER_VISIT = 0.05  # share of store visits that end in a web order
CALLS_OF_ORDERS = 1 / 3  # share of calls that belong to an order; the others come on their own
SCRATCHES = 0.015  # share of packed orders the seller rings about
CALLS_AHEAD = 0.2  # share of deliveries with a call half an hour ahead promised

NATURAL = {
    "web_checkout": {"duration_s": 90.0},
    "call_queue": {"wait_s": 20.0, "duration_s": 600.0},
    "store": {"wait_s": 180.0, "duration_s": 900.0},
    "warehouse": {"duration_s": 1800.0},
    "delivery": {"duration_s": 900.0},
}
"""Seconds that one event in twenty exceeds, where no experience sets a limit."""
NATURAL_BAD = 0.05

REASONS = {
    ("web_checkout", "failed"): ("payment_declined", "payment_error", "stock_gone"),
    ("web_checkout", "abandoned"): ("slow_page", "form_error"),
    ("call_queue", "failed"): ("line_dropped", "not_solved"),
    ("call_queue", "abandoned"): ("queue_too_long",),
    ("store", "failed"): ("item_missing", "till_down"),
    ("store", "abandoned"): ("long_wait",),
    ("delivery", "failed"): ("damaged", "lost"),
}
PLACES = {
    "web_checkout": (("cart", "address", "payment"), ("web", "app")),
    "call_queue": (("order_line", "service_line"), ("phone",)),
    "store": (("service_desk", "till"), ("store",)),
    "warehouse": (("packing",), ()),
    "delivery": (("doorstep",), ()),
    "feedback": (("survey",), ("email", "app", "web")),
    "staff_pulse": (("end_of_shift",), ()),
}
"""Stage -> touchpoints and channels."""
SCALES = {"csat": range(1, 6), "ces": range(1, 8), "nps": range(11)}

Act = Callable[[float], "SimulatedEvent | None"]
"""What happens at a time; nothing may be seen of it."""
Worse = tuple[Effect, float]
"""A fault under way and its strength."""


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


Enter = Callable[["Shape", _Customer, float], SimulatedEvent | None]
"""How a new customer enters a stage at a time."""


class Shape:
    """What the events of one stage look like, read from its experiences."""

    def __init__(self, journey: Journey, stage: Stage) -> None:
        self.stage = stage
        self.share_bad: dict[str, dict[str | None, float]] = {}
        for experience in stage.experiences:
            for condition in experience.good:
                shares = self.share_bad.setdefault(condition.field, {})
                for segment in (None, *journey.segment_labels):
                    target = float(experience.target_for(segment or ""))
                    share = (1 - target) / 2 / len(experience.good)
                    shares[segment] = min(share, shares.get(segment, 1.0))
        good = [c for e in stage.experiences for c in e.good]
        asked = [c for e in stage.experiences for c in e.judges]
        self.limits: dict[str, tuple[float | None, float | None]] = {}
        for name in SECONDS_FIELDS:
            if found := [c for c in good if c.field == name] or [c for c in asked if c.field == name]:
                self.limits[name] = _tightest(found)
            elif name in NATURAL.get(stage.name, {}):
                self.limits[name] = (NATURAL[stage.name][name], None)
        self.flags = {c.field: c.is_true is True for c in asked + good if c.field in BOOLEAN_FIELDS}
        self.scores = _scores(stage)
        self.good, self.bad = _outcomes(stage, good, asked)
        self.texts = _texts(journey, stage, good, asked)
        self.reasons = {
            outcome: [r for r in REASONS.get((stage.name, outcome), ()) if r in stage.reasons]
            or list(stage.reasons)
            for outcome in {*self.bad, "failed", "abandoned"}
        }
        touchpoints, channels = PLACES.get(stage.name, ((), journey.channels))
        self.touchpoints = touchpoints
        self.channels = [c for c in channels if c in journey.channels and stage.kind != "staff"]
        curve = stage.by_hour or DAY_CURVE
        self.weights = [weight * 24 / sum(curve) for weight in curve]

    def share(self, name: str, segment: str | None, worse: Worse | None) -> float:
        """The share of events in which a field turns bad."""
        share = self.share_bad[name].get(segment, 0.0) if name in self.share_bad else NATURAL_BAD
        return max(share, worse[0].worse.get(name, 0.0) * worse[1]) if worse else share

    def fill(
        self,
        event: dict[str, Any],
        rng: Random,
        segment: str | None,
        worse: Worse | None = None,
        mood: float = 1.0,
    ) -> bool:
        """Give the event its outcome and every judged field; True when the customer met trouble."""
        trouble = False
        if worse and rng.random() < worse[0].worse.get("outcome", 0.0) * worse[1]:
            event["outcome"], trouble = worse[0].outcome, True
            if worse[0].reason in self.stage.reasons:
                event["reason"] = worse[0].reason
        elif "outcome" in self.share_bad and rng.random() < self.share_bad["outcome"][segment]:
            event["outcome"], trouble = _pick(rng, self.bad), True
        else:
            event["outcome"] = _pick(rng, self.good)
        reasons = self.reasons.get(event["outcome"])
        if reasons and "reason" not in event:
            event["reason"] = _pick(rng, reasons)
        for name, (good, bad) in self.texts.items():
            wrong = name in self.share_bad and rng.random() < self.share(name, segment, worse)
            _put(event, name, _pick(rng, bad if wrong else good))
        for name, limits in self.limits.items():
            value, wrong = _number(rng, limits, self.share(name, segment, worse))
            event[name] = value
            trouble |= wrong and name in self.share_bad
        for name, value in self.flags.items():
            wrong = name in self.share_bad and rng.random() < self.share(name, segment, worse)
            _put(event, name, value is not wrong)
            trouble |= wrong
        if self.scores:
            event["score"] = self._score(rng, segment, mood)
        if "promise" in event:
            promise = {"id": f"p-{event['id']}", "kind": "promise", "due": event["time"]}
            event["promise"] = promise | event["promise"]
        return trouble

    def _score(self, rng: Random, segment: str | None, mood: float) -> dict[str, Any]:
        kind, good, bad = _pick(rng, self.scores)
        share = min(0.9, self.share("score.value", segment, None) * mood)
        values = bad if rng.random() < share else good
        skew = min(max(mood, 0.1), 2.0)
        return {"kind": kind, "value": values[int(len(values) * rng.random() ** skew)]}


def _tightest(conditions: list[Condition]) -> tuple[float | None, float | None]:
    """The highest and lowest value that meet them all."""
    return (
        min((c.at_most for c in conditions if c.at_most is not None), default=None),
        max((c.at_least for c in conditions if c.at_least is not None), default=None),
    )


def _outcomes(
    stage: Stage, good: list[Condition], asked: list[Condition]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Good outcomes, as often as they come, and bad ones."""
    judged = {o for c in asked if c.field == "outcome" for o in c.one_of or ()}
    fine = [c.one_of or frozenset() for c in good if c.field == "outcome"]
    both = frozenset.intersection(*fine) or fine[0] if fine else frozenset(judged or ("ok",))
    chosen = [o for o in stage.outcomes if o in both]
    usual = {"ok": 90, "wow": 2}  # the rest: failed where it counts as good, and own outcomes
    bad = tuple(o for o in stage.outcomes if o not in both and (not judged or o in judged))
    return tuple(o for o in chosen for _ in range(usual.get(o, 3))), bad or tuple(chosen)


def _scores(stage: Stage) -> list[tuple[str, list[int], list[int]]]:
    """Kind of score, its good and its bad values; every kind the stage's experiences judge."""
    found: dict[str, list[Condition]] = {}
    for experience in stage.experiences:
        kinds = [c.one_of or frozenset() for c in experience.judges if c.field == "score.kind"]
        values = [c for c in experience.good if c.field == "score.value"]
        if values and not kinds:  # any kind is judged: take one whose scale has such values
            fits = (kind for kind in SCALES if all(_split(kind, values)))
            kinds = [frozenset({next(fits, "csat")})]
        for kind in sorted(kinds[0]) if kinds else ():
            found.setdefault(kind, []).extend(values)
    scores = []
    for kind, conditions in found.items():
        good, bad = _split(kind, conditions)
        scores.append((kind, good or bad[-1:], bad or good[:1]))
    return scores


def _split(kind: str, conditions: list[Condition]) -> tuple[list[int], list[int]]:
    """The values of a scale that meet the conditions, and those that do not."""
    at_most, at_least = _tightest(conditions)
    low = -math.inf if at_least is None else at_least
    high = math.inf if at_most is None else at_most
    good = [value for value in SCALES[kind] if low <= value <= high]
    return good, [value for value in SCALES[kind] if value not in good]


def _texts(
    journey: Journey, stage: Stage, good: list[Condition], asked: list[Condition]
) -> dict[str, tuple[list[str], list[str]]]:
    """Field -> good and bad values, of the text fields that are set only because they are judged."""
    domains = {
        "channel": journey.channels,
        "partner": stage.partners,
        "location": stage.locations,
        "reason": stage.reasons,
    }
    texts: dict[str, tuple[list[str], list[str]]] = {}
    for condition in asked + good:  # good last: it decides
        name = condition.field
        natural = name in domains and condition in asked  # these vary by themselves
        if condition.one_of and not natural and name not in ("outcome", "segment", "score.kind"):
            others = ("company", "customer") if name == "initiator" else domains.get(name, ())
            bad = [value for value in others if value not in condition.one_of]
            known = [] if condition in good or name not in texts else texts[name][0]
            fine = sorted({*known, *condition.one_of})
            texts[name] = (fine, bad or (fine if name == "initiator" else ["other"]))
    return texts


def _number(rng: Random, limits: tuple[float | None, float | None], share: float) -> tuple[float, bool]:
    """Seconds that break the limits with that probability, and whether they do."""
    low, high = (max(limit or 0.0, 0.0) for limit in reversed(limits))
    share = min(max(share, 1e-6), 0.95)
    if limits[1] is None:  # waiting times: exponential
        value = round(rng.expovariate(1.0) * high / -math.log(share), 3)
        return min(value, MAX_SECONDS), value > high
    wrong = rng.random() < share
    if limits[0] is None:
        value = low * (rng.random() if wrong else 1 + rng.random())
    else:
        value = high * (1 + rng.random()) if wrong else rng.uniform(low, high)
    return min(round(value, 3), MAX_SECONDS), wrong


def _pick(rng: Random, values: Sequence[Any]) -> Any:
    """`rng.choice` in a third of its time."""
    return values[int(rng.random() * len(values))]


def _put(event: dict[str, Any], name: str, value: object) -> None:
    head, dot, tail = name.partition(".")
    if dot:
        event.setdefault(head, {})[tail] = value
    else:
        event[head] = value


def _blame(shape: Shape, event: dict[str, Any], reason: str) -> None:
    if reason in shape.stage.reasons:
        event.setdefault("reason", reason)


def _time(at_ms: float) -> str:
    """RFC 3339 with milliseconds."""
    second, ms = divmod(int(at_ms), 1000)
    return f"{_second(second)}.{ms:03d}Z"


@lru_cache(maxsize=4096)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


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
        self._rate, self._hour_ms = rate, HOUR_MS / compress
        self._due: list[tuple[float, int, Act]] = []
        self._pushed = self._events = self._journeys = 0
        self._worse: dict[str, Worse] = {}
        self._silent: dict[str, float] = {}
        self._malformed = 0.0
        self._end_ms = float(start_ms + END_MS)
        self._slice: tuple[float, int, bool] = (-1.0, 0, False)
        live_ms = start_ms if live_ms is None else live_ms
        for fault in sorted(faults, key=lambda fault: fault.from_s):
            self._push(max(start_ms, live_ms + fault.from_s * 1000), partial(self._begin, fault))
        per_hour = {s.name: s.per_hour or DEFAULT_PER_HOUR for s in journey.stages}
        self._share: dict[str, float] = {}
        if all(name in per_hour for name in CHAIN):
            self._plan(per_hour)
        for name, arrivals in per_hour.items():
            if name not in CHAIN or not self._share:
                self._expect(self._shapes[name], arrivals, self._single, float(start_ms))
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
        for upstream, name, events in zip(CHAIN, CHAIN[1:], (1, 1 + CALLS_AHEAD, 1), strict=False):
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

    def _begin(self, fault: Fault, at: float) -> None:
        if fault.name == BAD_EVENTS:
            self._malformed = fault.strength
        elif fault.name == STAGE_SILENT and fault.stage is not None:
            self._silent[fault.stage] = fault.strength
            if all(self._silent.get(name) == 1.0 for name in self._shapes):
                self._end_ms = at  # nothing would ever be seen again
        else:
            effect = EFFECTS[fault.name]
            self._worse[effect.stage] = (effect, fault.strength)

    def _expect(self, shape: Shape, per_hour: float, act: Enter, at: float) -> None:
        """Wait for the next arrival of a Poisson process whose rate follows the day."""
        worse = self._worse.get(shape.stage.name)
        extra = worse[0].extra_arrivals * worse[1] if worse else 0.0
        per_ms = per_hour * self._rate * (1 + extra) / HOUR_MS
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
        if shape.stage.by_hour:
            return shape.weights[hour]
        return max(FLOOR_WEIGHT, shape.weights[hour] * (WEEKEND_WEIGHT if weekend else 1.0))

    def _arrive(self, shape: Shape, per_hour: float, act: Enter, at: float) -> SimulatedEvent | None:
        self._expect(shape, per_hour, act, at)
        self._journeys += 1
        return act(
            shape,
            _Customer(
                f"j-{self._run}-{self._journeys:x}",
                f"c-{self._rng.getrandbits(48):012x}",
                _pick(self._rng, self._segments) if self._segments else None,
            ),
            at,
        )

    def _single(self, shape: Shape, who: _Customer, at: float) -> SimulatedEvent | None:
        """An encounter nothing has to come before."""
        event = self._encounter(shape, who, at)
        if shape.stage.name == "store" and self._chance("order"):
            checkout = partial(self._checkout, self._shapes["web_checkout"], who)
            self._push(self._later(at, 1, 48), checkout)
        return self._send(shape, event, at, event.get("location") or event.get("case_id"))

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
            who.partner = self._partner(self._shapes["delivery"])
            planned = self._later(at, 24, 72)
            who.due_ms = planned + 2 * self._hour_ms
            who.promise = {
                "id": f"p-{who.journey_id}",
                "kind": "delivery_window",
                "due_from": _time(planned - 2 * self._hour_ms),
                "due": _time(who.due_ms),
            }
            event["promise"] = who.promise
            event["handoff"] = self._handoff(who)
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
        return self._send(shape, self._story(shape, who, event), at, event["case_id"])

    def _set_out(self, who: _Customer, at: float) -> SimulatedEvent | None:
        """Half an hour before the delivery, when it shows whether it will be in time."""
        shape, rng = self._shapes["delivery"], self._rng
        if not who.late:
            late = shape.share("promise.kept", who.segment, self._worse.get("delivery"))
            who.late = rng.random() < late
            if who.late:
                at = self._later(who.due_ms + 1, 1, 24)
                self._push(at, partial(self._set_out, who))
                return None
        arrives = at + self._hour_ms / 2
        self._push(arrives, partial(self._deliver, who))
        if rng.random() >= CALLS_AHEAD:
            return None
        kept = rng.random() >= shape.share("promise.kept", who.segment, None)
        event = self._base(shape, who, at) | {
            "outcome": _pick(rng, shape.good), "touchpoint": "call_ahead", "initiator": "company",
        }  # fmt: skip
        if not kept:
            who.trouble = True
            _blame(shape, event, "no_call_ahead")
        event["promise"] = {
            "id": f"a-{who.journey_id}",
            "kind": "courier_call_ahead",
            "due_from": event["time"],
            "due": _time(arrives),
            "kept": kept,
        }
        return self._send(shape, self._story(shape, who, event), at)

    def _deliver(self, who: _Customer, at: float) -> SimulatedEvent | None:
        shape = self._shapes["delivery"]
        event = self._encounter(shape, who, at)
        event["promise"] = who.promise | {"kept": not who.late}
        event["handoff"] = self._handoff(who)
        if who.late:
            who.trouble = True
            _blame(shape, event, "late")
        if self._chance("feedback"):
            self._push(self._later(at, 20, 30), partial(self._feedback, who))
        return self._send(shape, event, at, f"h-{who.journey_id}")

    def _feedback(self, who: _Customer, at: float) -> SimulatedEvent | None:
        """About one journey in nine meets trouble, so detractors stay as frequent as is healthy."""
        mood = 0.1 if who.wow else 5.0 if who.trouble else 0.5
        event = self._encounter(self._shapes["feedback"], who, at, mood)
        return self._send(self._shapes["feedback"], event, at, who.ref)

    def _handoff(self, who: _Customer) -> dict[str, str]:
        return {"id": f"h-{who.journey_id}", "from": "warehouse", "to": who.partner or "delivery"}

    def _partner(self, shape: Shape) -> str | None:
        """The first partner of the stage has most of the work."""
        partners = shape.stage.partners
        return partners[int(len(partners) * self._rng.random() ** 1.5)] if partners else None

    def _base(self, shape: Shape, who: _Customer, at: float) -> dict[str, Any]:
        self._events += 1
        event: dict[str, Any] = {
            "id": f"e-{self._run}-{self._events:x}",
            "time": _time(at),
            "stage": shape.stage.name,
        }
        if shape.stage.kind != "staff":
            event["journey_id"], event["customer_ref"] = who.journey_id, who.ref
            if who.segment is not None:
                event["segment"] = who.segment
        if shape.stage.name == "call_queue":
            event["case_id"] = f"case-{who.journey_id}"
        return event

    def _encounter(self, shape: Shape, who: _Customer, at: float, mood: float = 1.0) -> dict[str, Any]:
        event = self._base(shape, who, at)
        worse = self._worse.get(shape.stage.name)
        trouble = shape.fill(event, self._rng, event.get("segment"), worse, mood)
        who.trouble |= trouble and shape.stage.kind != "background"
        return self._story(shape, who, event)

    def _story(self, shape: Shape, who: _Customer, event: dict[str, Any]) -> dict[str, Any]:
        """Add what is natural and not yet said: where, by whom, through which partner."""
        rng, stage = self._rng, shape.stage
        well = event["outcome"] in ("ok", "wow")
        if shape.channels and "channel" not in event:
            event["channel"] = _pick(rng, shape.channels)
        if stage.locations and "location" not in event:
            event["location"] = _pick(rng, stage.locations)
        if stage.partners and "partner" not in event:
            event["partner"] = who.partner if stage.name == "delivery" else None
            event["partner"] = event["partner"] or self._partner(shape)
        if shape.touchpoints and "touchpoint" not in event:
            last = well or event.get("reason", "").startswith("payment")
            event["touchpoint"] = shape.touchpoints[-1] if last else _pick(rng, shape.touchpoints)
        if stage.name not in PLACES:
            return event
        if "initiator" not in event and stage.kind in ("customer", "feedback"):
            event["initiator"] = "company" if stage.kind == "feedback" else "customer"
        if stage.name in ("call_queue", "store"):
            if event["outcome"] == "abandoned" and "duration_s" not in shape.share_bad:
                event.pop("duration_s", None)
            elif "system_wait_s" not in event:
                tools = 0.4 * rng.random() ** 2
                event["system_wait_s"] = round(event["duration_s"] * tools, 1)
        if "internal_ok" not in event and stage.kind not in ("feedback", "staff"):
            event["internal_ok"] = event["outcome"] != "failed" or rng.random() < 0.2
        return event

    def _send(
        self, shape: Shape, event: dict[str, Any], at: float, key: str | None = None
    ) -> SimulatedEvent | None:
        name, rng = shape.stage.name, self._rng
        if name in self._silent and rng.random() < self._silent[name]:
            return None
        broken = self._malformed and rng.random() < self._malformed
        value = _pick(rng, MALFORMED)(event) if broken else orjson.dumps(event)
        key = key or event.get("journey_id") or event["id"]
        return SimulatedEvent(int(at), shape.stage.topic, key.encode(), value)
