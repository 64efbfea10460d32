"""What a history holds, counted in one pass and in whatever order its events come.

Memory is bounded whatever is read: names and journeys up to a number, and for each stage a counter of every
quarter of an hour.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache

from monitor.counting.event import Event
from monitor.errors import UserError
from monitor.journey_file.grammar import MAX_STAGES
from monitor.journey_file.hours import QUARTER_MS
from monitor.journey_file.model import ALL, NONE, OTHER, QUEUED, STARTED, WHOLE
from monitor.journey_file.nodes import NAME

MAX_NAMES = 1_000
"""Of one field. Known names are some ten; a field with more holds ids or texts."""

MAX_QUARTERS = 3650 * 96
"""Ten years, as many as `backtest` judges."""

MAX_JOURNEYS = 20_000
"""The first ones, and as many hand-overs: so many tell a share, or how long they take, to a hundredth."""

STEPS_S = (1, 2, 3, 5, 10, 20, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600, 7200, 21_600, 86_400)
"""Waits that people name. A limit is one of them."""


@lru_cache(maxsize=MAX_NAMES)
def is_name(text: str) -> bool:
    """Whether a journey file can list it; `null` is nothing in YAML."""
    return bool(NAME.fullmatch(text)) and text not in (ALL, NONE, OTHER, WHOLE, "null")


class Names(Counter[str]):
    """How often each name came; those that come after `MAX_NAMES` others are not told apart."""

    def add(self, name: str | None) -> None:
        """Count a name, if there is one."""
        if name is not None and (name in self or len(self) < MAX_NAMES):
            self[name] += 1


@dataclass(slots=True)
class Waits:
    """How long customers waited: those who stayed, and those who left, by the least of `STEPS_S` that is not
    below; the last are longer than any."""

    stayed: list[int] = field(default_factory=lambda: [0] * (len(STEPS_S) + 1))
    left: list[int] = field(default_factory=lambda: [0] * (len(STEPS_S) + 1))

    def add(self, wait_s: float, *, has_left: bool) -> None:
        """Count one."""
        (self.left if has_left else self.stayed)[bisect_left(STEPS_S, wait_s)] += 1

    @property
    def n(self) -> int:
        """All of them."""
        return sum(self.stayed) + sum(self.left)


@dataclass(slots=True)
class SeenStage:
    """What the events of one stage hold."""

    n: int = 0
    outcomes: Names = field(default_factory=Names)
    partners: Names = field(default_factory=Names)
    locations: Names = field(default_factory=Names)
    reasons: Names = field(default_factory=Names)
    touchpoints: Names = field(default_factory=Names)
    channels: Names = field(default_factory=Names)
    scores: Names = field(default_factory=Names)
    """Kinds of answers."""
    kept: Names = field(default_factory=Names)
    """Kinds of promises of which it is said whether they were kept."""
    cases: int = 0
    """Events that name a case."""
    customers: int = 0
    """Events that name a customer, a segment or a journey."""
    waits: Waits = field(default_factory=Waits)
    quarters: Counter[int] = field(default_factory=Counter)
    """Events by quarter of an hour, numbered since 1970."""

    def add(self, event: Event) -> None:
        """Count an event."""
        self.n += 1
        self.outcomes.add(event.outcome)
        for names, name in (
            (self.partners, event.partner),
            (self.locations, event.location),
            (self.reasons, event.reason),
            (self.touchpoints, event.touchpoint),
            (self.channels, event.channel),
            (self.scores, None if event.score is None else event.score.kind),
        ):
            names.add(name)
        if event.promise is not None and event.promise.kept is not None:
            self.kept.add(event.promise.kind)
        self.cases += event.case_id is not None
        self.customers += bool(event.customer_ref or event.segment or event.journey_id)
        if event.wait_s is not None:
            self.waits.add(event.wait_s, has_left=event.outcome == "abandoned")
        self.quarters[event.at_ms // QUARTER_MS] += 1


@dataclass(slots=True)
class SeenJourney:
    """When (ms) a journey was first seen at each stage, and when last; and how long it was silent at most,
    which only steps in order of time tell."""

    stages: dict[str, int] = field(default_factory=dict)
    last_ms: int = 0
    quiet_ms: int = 0

    def add(self, stage: str, at_ms: int) -> None:
        """Count a step."""
        if self.stages:
            self.quiet_ms = max(self.quiet_ms, at_ms - self.last_ms)
        self.stages[stage] = min(at_ms, self.stages.get(stage, at_ms))
        self.last_ms = max(self.last_ms, at_ms)

    @property
    def first(self) -> str:
        """The stage at which it began."""
        return min(self.stages, key=lambda stage: self.stages[stage])

    @property
    def took_ms(self) -> int:
        """From its first step to its last."""
        return self.last_ms - self.stages[self.first]


@dataclass(slots=True)
class SeenHandoff:
    """When (ms) something was handed over, and when which stage received it."""

    sender: str
    sent_ms: int | None = None
    receiver: str | None = None
    received_ms: int | None = None

    def add(self, event: Event, to: str) -> None:
        """Take word of it; what is sent to another stage or partner is received by neither."""
        if event.stage == self.sender:
            self.sent_ms = event.at_ms if self.sent_ms is None else min(self.sent_ms, event.at_ms)
        elif to in (event.stage, event.partner) and (
            self.received_ms is None or event.at_ms < self.received_ms
        ):
            self.receiver, self.received_ms = event.stage, event.at_ms


@dataclass(slots=True)
class Seen:
    """All of a history."""

    n: int = 0
    first_ms: int = 2**63
    last_ms: int = -(2**63)
    stages: dict[str, SeenStage] = field(default_factory=dict)
    """In the order in which they appear."""
    segments: Names = field(default_factory=Names)
    channels: Names = field(default_factory=Names)
    offsets: Counter[timedelta] = field(default_factory=Counter)
    """How far the clocks of its events are from UTC."""
    journeys: dict[str, SeenJourney] = field(default_factory=dict)
    handoffs: dict[str, SeenHandoff] = field(default_factory=dict)
    due: Names = field(default_factory=Names)
    """Kinds of promises for which a deadline was told."""
    unnamed: Names = field(default_factory=Names)
    """Stages and outcomes that are no names: a worker refuses their events, and they are not counted here."""

    def add(self, event: Event) -> None:
        """Count an event; UserError when there are more stages, or years, than a journey file takes."""
        wrong = [text for text in (event.stage, event.outcome) if not is_name(text)]
        if wrong:
            self.unnamed.add(wrong[0])
            return
        if event.outcome in (QUEUED, STARTED) and event.encounter_id is not None:
            return  # what begins there is counted when it ends
        stage = self.stages.get(event.stage)
        if stage is None:
            if len(self.stages) == MAX_STAGES:
                raise UserError(f"it names more than {MAX_STAGES} stages, the most of a journey file")
            stage = self.stages[event.stage] = SeenStage()
        self.n += 1
        self.first_ms, self.last_ms = min(self.first_ms, event.at_ms), max(self.last_ms, event.at_ms)
        if (self.last_ms - self.first_ms) // QUARTER_MS > MAX_QUARTERS:
            raise UserError("its events span more than ten years: is a time wrong?")
        stage.add(event)
        self.segments.add(event.segment)
        self.channels.add(event.channel)
        assert event.time is not None  # noqa: S101 - the codec holds it
        offset = event.time.utcoffset()
        if offset is not None and (offset in self.offsets or len(self.offsets) < MAX_NAMES):
            self.offsets[offset] += 1
        if event.promise is not None and event.promise.due is not None:
            self.due.add(event.promise.kind)
        if event.journey_id is not None:
            self._add_to_journey(event, event.journey_id)

    def _add_to_journey(self, event: Event, journey_id: str) -> None:
        journey = self.journeys.get(journey_id)
        if journey is None and len(self.journeys) < MAX_JOURNEYS:
            journey = self.journeys[journey_id] = SeenJourney()
        if journey is not None:
            journey.add(event.stage, event.at_ms)
        if (told := event.handoff) is not None:
            handoff = self.handoffs.get(told.id)
            if handoff is None and len(self.handoffs) < MAX_JOURNEYS:
                handoff = self.handoffs[told.id] = SeenHandoff(told.from_)
            if handoff is not None:
                handoff.add(event, told.to)

    @property
    def days(self) -> float:
        """From the first event to the last."""
        return (self.last_ms - self.first_ms) / 86_400_000
