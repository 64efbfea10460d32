"""What one event of a stage looks like: the same draws give the same event.

What healthy looks like is read from the experiences themselves: a field turns bad half as often as the
target allows, so no healthy stage comes near its target. Chance comes in as a function.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.counting.judging import ASKED, FOLLOWED_UP
from monitor.counting.times import rfc3339
from monitor.journey_file.grammar import BOOLEAN_FIELDS, NUMBER_FIELDS
from monitor.journey_file.model import QUEUED, Condition, Journey, Stage
from streams.demo.story import PARTS, Effect, Part

SECONDS_FIELDS = tuple(name for name in NUMBER_FIELDS if name != "score.value")
MAX_SECONDS = 1e9
"""The most the codec reads."""

NATURAL_BAD = 0.05  # share of events that take longer than is natural

ANSWERED = 0.35
"""The share of those asked who answer: a short survey soon after a delivery finds a third."""

SCALES = {"csat": range(1, 6), "ces": range(1, 8), "nps": range(11)}

Draw = Callable[[], float]
"""The next random number from 0 to below 1."""
Limits = tuple[float | None, float | None]
"""The lowest and the highest good value."""


@dataclass(slots=True)
class Customer:
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


class Shape:
    """What the events of one stage look like, read from its experiences."""

    def __init__(self, journey: Journey, stage: Stage) -> None:
        self.stage = stage
        self.part = PARTS.get(stage.name, Part())
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
        self.limits: dict[str, Limits] = {}
        for name in SECONDS_FIELDS:
            if found := [c for c in good if c.field == name] or [c for c in asked if c.field == name]:
                self.limits[name] = _tightest(found)
            elif name in self.part.natural:
                self.limits[name] = (None, self.part.natural[name])
        self.flags = {c.field: c.is_true is True for c in asked + good if c.field in BOOLEAN_FIELDS}
        self.scores = _scores(stage)
        self.good, self.bad = _outcomes(stage, good, asked)
        self.texts = _texts(journey, stage, good, asked)
        self.reasons = {
            outcome: [r for r in self.part.reasons.get(outcome, ()) if r in stage.reasons]
            or list(stage.reasons)
            for outcome in {*self.bad, "failed", "abandoned"}
        }
        self.has_queue = self.part.patience > 0 and QUEUED in stage.openings
        channels = self.part.channels if self.part.touchpoints else journey.channels
        self.asks = stage.kind == "feedback" and ASKED in stage.outcomes
        self.follows_up = self.asks and FOLLOWED_UP in stage.outcomes
        self.events_each = 1 + ANSWERED if self.asks else 1.0
        self.channels = [c for c in channels if c in journey.channels and stage.kind != "staff"]

    def share(self, name: str, segment: str | None, effect: Effect | None) -> float:
        """The share of events in which a field turns bad."""
        share = self.share_bad[name][segment] if name in self.share_bad else NATURAL_BAD
        return max(share, effect.worse.get(name, 0.0)) if effect else share

    def start(self, event_id: str, at_ms: float, who: Customer) -> dict[str, Any]:
        """An event that says what, when and whose it is; employees stay anonymous."""
        event: dict[str, Any] = {"id": event_id, "time": rfc3339(int(at_ms)), "stage": self.stage.name}
        if self.stage.kind != "staff":
            event["journey_id"], event["customer_ref"] = who.journey_id, who.ref
            if who.segment is not None:
                event["segment"] = who.segment
        if self.part.is_contact:
            event["case_id"] = f"case-{who.journey_id}"
        return event

    def begin(self, event: dict[str, Any], at_ms: float) -> dict[str, Any]:
        """An event that says when the encounter of another began."""
        encounter_id = event["encounter_id"]
        about = {"id": f"b-{encounter_id}", "time": rfc3339(int(at_ms)), "stage": self.stage.name}
        segment = {"segment": event["segment"]} if "segment" in event else {}
        return about | {"outcome": QUEUED, "encounter_id": encounter_id} | segment

    def fill(self, event: dict[str, Any], draw: Draw, effect: Effect | None, mood: float) -> bool:
        """Give the event its outcome and every judged field; True when the customer met trouble.

        The effect is that of a fault under way; the higher the mood, the worse the scores.
        """
        segment = event.get("segment")
        trouble = False
        if effect and draw() < effect.worse.get("outcome", 0.0):
            event["outcome"], trouble = effect.outcome, True
            self.blame(event, effect.reason)
        elif self._wrong("outcome", draw, segment, None):
            event["outcome"], trouble = pick(draw, self.bad), True
        else:
            event["outcome"] = pick(draw, self.good)
        reasons = self.reasons.get(event["outcome"])
        if reasons and "reason" not in event:
            event["reason"] = pick(draw, reasons)
        for name, (good, bad) in self.texts.items():
            wrong = self._wrong(name, draw, segment, effect)
            _put(event, name, pick(draw, bad if wrong else good))
        for name, limits in self.limits.items():
            event[name], wrong = _number(draw, limits, self.share(name, segment, effect))
            trouble |= wrong and name in self.share_bad
        for name, value in self.flags.items():
            wrong = self._wrong(name, draw, segment, effect)
            _put(event, name, value is not wrong)
            trouble |= wrong
        if self.scores:
            event["score"] = self._score(draw, segment, mood)
        if "promise" in event:
            promise = {"id": f"p-{event['id']}", "kind": "promise", "due": event["time"]}
            event["promise"] = promise | event["promise"]
        return trouble

    def hang_up(self, event: dict[str, Any], draw: Draw) -> None:
        """End a wait in the queue that is longer than a customer's patience."""
        longest_s = self.part.patience * (self.limits["wait_s"][1] or math.inf)
        if event["wait_s"] > longest_s:
            event |= {"outcome": "abandoned", "wait_s": longest_s}
            if reasons := self.reasons["abandoned"]:
                event["reason"] = pick(draw, reasons)

    def tell(self, event: dict[str, Any], draw: Draw, courier: str | None) -> None:
        """Add what is natural and not yet said: where, by whom, through which partner."""
        stage = self.stage
        for name, values in (("channel", self.channels), ("location", stage.locations)):
            if values and name not in event:
                event[name] = pick(draw, values)
        if stage.partners and "partner" not in event:
            event["partner"] = courier if courier in stage.partners else self.partner(draw)
        if self.part.touchpoints:
            self._tell_of_the_story(event, draw)

    def _tell_of_the_story(self, event: dict[str, Any], draw: Draw) -> None:
        """Where, who began, how long tools took and what the stage itself thinks."""
        stage, touchpoints = self.stage, self.part.touchpoints
        if "touchpoint" not in event:
            last = event["outcome"] in ("ok", "wow") or event.get("reason") in self.part.last
            event["touchpoint"] = touchpoints[-1] if last else pick(draw, touchpoints)
        if "initiator" not in event and stage.kind in ("customer", "feedback"):
            event["initiator"] = "company" if stage.kind == "feedback" else "customer"
        if self.part.has_tools:
            if event["outcome"] == "abandoned" and "duration_s" not in self.share_bad:
                event.pop("duration_s", None)
            elif "system_wait_s" not in event:
                tools = 0.4 * draw() ** 2
                event["system_wait_s"] = round(event["duration_s"] * tools, 1)
        if "internal_ok" not in event and stage.kind not in ("feedback", "staff"):
            event["internal_ok"] = event["outcome"] != "failed" or draw() < 0.2

    def partner(self, draw: Draw) -> str | None:
        """The first partner of the stage has most of the work."""
        partners = self.stage.partners
        return partners[int(len(partners) * draw() ** 1.5)] if partners else None

    def blame(self, event: dict[str, Any], reason: str) -> None:
        """Give the event that reason, if the stage knows it and the event has none."""
        if reason in self.stage.reasons:
            event.setdefault("reason", reason)

    def _wrong(self, name: str, draw: Draw, segment: str | None, effect: Effect | None) -> bool:
        return name in self.share_bad and draw() < self.share(name, segment, effect)

    def _score(self, draw: Draw, segment: str | None, mood: float) -> dict[str, Any]:
        kind, good, bad = pick(draw, self.scores)
        share = min(0.9, self.share("score.value", segment, None) * mood)
        values = bad if draw() < share else good
        skew = min(max(mood, 0.1), 2.0)
        return {"kind": kind, "value": values[int(len(values) * draw() ** skew)]}


def _tightest(conditions: list[Condition]) -> Limits:
    """The lowest and highest value that meet them all."""
    return (
        max((c.at_least for c in conditions if c.at_least is not None), default=None),
        min((c.at_most for c in conditions if c.at_most is not None), default=None),
    )


def _outcomes(
    stage: Stage, good: list[Condition], asked: list[Condition]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Good outcomes, as often as they come, and bad ones."""
    judged = {o for c in asked if c.field == "outcome" for o in c.one_of or ()}
    fine = [c.one_of or frozenset() for c in good if c.field == "outcome"]
    both = frozenset.intersection(*fine) or fine[0] if fine else frozenset(judged or ("ok",))
    met = [o for o in stage.outcomes if stage.kind != "feedback" or o not in (ASKED, FOLLOWED_UP)]
    chosen = [o for o in met if o in both]
    usual = {"ok": 90, "wow": 2}  # the rest: failed where it counts as good, and own outcomes
    bad = tuple(o for o in met if o not in both and (not judged or o in judged))
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
    at_least, at_most = _tightest(conditions)
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


def _number(draw: Draw, limits: Limits, share: float) -> tuple[float, bool]:
    """Seconds that break the limits with that probability, and whether they do."""
    low, high = (max(limit or 0.0, 0.0) for limit in limits)
    share = min(max(share, 1e-6), 0.95)
    if limits[0] is None:  # waiting times: exponential
        value = round(math.log(1.0 - draw()) * high / math.log(share), 3)
        return min(value, MAX_SECONDS), value > high
    wrong = draw() < share
    if limits[1] is None:
        value = low * (draw() if wrong else 1 + draw())
    else:
        value = high * (1 + draw()) if wrong else low + (high - low) * draw()
    return min(round(value, 3), MAX_SECONDS), wrong


def pick(draw: Draw, values: Sequence[Any]) -> Any:
    """One of the values; `Random.choice` in a third of its time."""
    return values[int(draw() * len(values))]


def _put(event: dict[str, Any], name: str, value: object) -> None:
    head, dot, tail = name.partition(".")
    if dot:
        event.setdefault(head, {})[tail] = value
    else:
        event[head] = value
