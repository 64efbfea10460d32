"""The journey: stages, experiences and exact targets, immutable once parsed.

A `Journey` is what every other part is computed from: which events count (codec), how they are judged
(judging), which series exist (metrics), what is alerted on. It is built by `journey_file.grammar.parse` only.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

OTHER = "other"
"""Label value of any segment, channel, partner, location or reason the journey file does not name."""

ALL = "all"
"""Label value of all segments or all stages together."""

WHOLE = "journeys"
"""Label value of the stage that stands for whole journeys, which are held to targets as stages are."""

NONE = "none"
"""Label value of an event that names no partner."""

UNASSIGNED = "unassigned"
"""Label value of a promise that is not yet with a partner."""

OUTCOMES = ("ok", "wow", "failed", "abandoned")
"""Outcomes every stage knows; a stage may declare more."""

QUEUED, STARTED = "queued", "started"
"""Outcomes of an event that says that an encounter has begun."""

Kind = Literal["customer", "background", "partner", "feedback", "staff"]

FOLLOW_UP = "follow_up"
"""The kind of promise that an unhappy customer's answer makes."""

SCALES = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}
"""Kind of score -> its least and greatest answer."""

UNHAPPY = {"nps": 6.0, "csat": 2.0, "ces": 2.0}
"""Kind of score -> the best answer of somebody who is unhappy, unless the journey file says another.
Detractors; on the other scales the two worst answers, as one and two stars are of five."""

CHANGES_TOPIC = "touchpoint.changes.v1"
"""Where deploys and incidents are published, unless the journey file says another."""

FINDINGS_TOPIC = "touchpoint.findings.v1"
"""Where fired and resolved alerts are published, unless the journey file says another."""

JOURNEYS_TOPIC = "touchpoint.closed-journeys.v1"
"""Where journeys that are over are published, unless the journey file says another."""

CLOSED_KEPT_MS = 7 * 86_400_000
"""For so long after its end a journey can be looked up. Kafka counts from when it was published, a little
later."""

STEPS_TOPIC = "journey-steps"
"""Behind the consumer group and a hyphen: the topic on which steps go to whoever keeps their journey."""

Hours = tuple[tuple[tuple[int, int], ...], ...]
"""Seven days from Monday on, each with its spans (from minute, to minute) of local time; `()` is always."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one event field. A field that is absent makes the condition undecided, not false."""

    field: str
    one_of: frozenset[str] | None = None
    is_true: bool | None = None
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True, slots=True)
class Experience:
    """What is judged, what is good, and the exact share that must be good.

    An event is considered when every `judges` condition holds and not every `ignores` condition does. It is
    good when every `good` condition holds, and bad when any fails. If none fails but a field is missing, it
    is not judged.
    """

    name: str
    title: str
    judges: tuple[Condition, ...]
    ignores: tuple[Condition, ...]
    good: tuple[Condition, ...]
    target: Decimal
    segment_targets: dict[str, Decimal]

    def target_for(self, segment: str) -> Decimal:
        """The target of a segment: its own override, otherwise the experience's."""
        return self.segment_targets.get(segment, self.target)


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of encounter in the journey, such as checkout or call queue. Its events arrive on `topic`, but
    for whole journeys."""

    name: str
    title: str
    kind: Kind
    owner: str
    runbook: str
    depends_on: tuple[str, ...]
    experiences: tuple[Experience, ...]
    topic: str = ""
    partitions: int | None = None
    outcomes: tuple[str, ...] = ()
    partners: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    per_hour: float | None = None
    by_hour: tuple[float, ...] = ()
    hours: Hours = ()
    dedupe_ms: int = 0
    touchpoints: tuple[str, ...] = ()
    """The touchpoints within the stage, in the order customers meet them; none if they are not told apart."""

    @property
    def dead_letter_topic(self) -> str:
        """Where refused records of this stage go."""
        return f"{self.topic}.dlq"

    @property
    def openings(self) -> tuple[str, ...]:
        """Outcomes that say of an encounter that it has begun; one that the stage declares is like any other.

        None of staff: who is at work with whom is nobody's business.
        """
        return tuple(one for one in (QUEUED, STARTED) if one not in self.outcomes and self.kind != "staff")

    @property
    def partner_labels(self) -> tuple[str, ...]:
        """Every value the `partner` label of this stage can take."""
        return (NONE, *self.partners, OTHER)


@dataclass(frozen=True, slots=True)
class Links:
    """Where people who get an alert find the monitor's own pages and its boards, and where alerts are sent.

    No slash at the end; `/page`, `/ticket` or `/heartbeat` follows the webhook. Its token is a file that
    Alertmanager reads; Grafana is given it in its environment.
    """

    monitor: str = "http://localhost:8080"
    grafana: str = "http://localhost:3000"
    webhook: str = "http://localhost:9095"
    webhook_token_file: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Steps whose fields have one of these values, all of them; e.g. (("stage", {"delivery"}),)."""

    fields: tuple[tuple[str, frozenset[str]], ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """A hand-over between two stages: what `sender` hands over, `receiver` has to receive within a time."""

    sender: str
    receiver: str
    within_ms: int
    target: Decimal
    """Share of what is sent that must not be lost."""


@dataclass(frozen=True, slots=True)
class PromiseKind:
    """A kind of promise to a customer, the stage that has to keep it, and the share that must be kept."""

    name: str
    stage: str
    target: Decimal


@dataclass(frozen=True, slots=True)
class FollowUp:
    """The promise that every answer of an unhappy customer makes: `match` follows it within a time."""

    match: Match
    within_ms: int


@dataclass(frozen=True, slots=True)
class Journeys:
    """How the events of one customer make up a journey.

    It begins with its first event and is over with an event that matches `ends`, or when nothing has been
    heard for `quiet_ms`; not before every promise is kept or due, but always `limit_ms` after its beginning.
    A journey with an event that matches `starts` should meet its goal, and a share of them (`target`) must;
    any other is a visit. `moves_target` is the share of changes of channel after which the customer must not
    be lost; `understood_target` that of answered journeys which, at each stage, must not have been well by
    the stage's own word and bad by the customer's. Whoever answers at most what `unhappy` says of the kind of
    score is unhappy.
    """

    starts: Match
    goal: Match
    ends: Match | None
    quiet_ms: int
    limit_ms: int
    owner: str
    runbook: str
    target: Decimal
    segment_targets: dict[str, Decimal]
    promises: tuple[PromiseKind, ...] = ()
    follow_up: FollowUp | None = None
    unhappy: dict[str, float] = field(default_factory=lambda: dict(UNHAPPY))
    contacts: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()
    moves_target: Decimal | None = None
    understood_target: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Journey:
    """The whole journey file."""

    name: str
    title: str
    timezone: str
    horizon_ms: int
    segments: tuple[str, ...]
    channels: tuple[str, ...]
    partners: tuple[str, ...]
    links: Links
    changes_topic: str
    findings_topic: str
    journeys_topic: str
    stages: tuple[Stage, ...]
    journeys: Journeys | None = None

    def stage(self, name: str) -> Stage:
        """The stage of that name; KeyError when there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def upstream(self, stage: Stage) -> tuple[str, ...]:
        """The stages that one depends on, directly or through others, the nearest first."""
        found: dict[str, None] = {}
        todo = list(stage.depends_on)
        while todo:
            name = todo.pop(0)
            if name not in found:
                found[name] = None
                todo += next((one.depends_on for one in self.stages if one.name == name), ())
        return tuple(found)

    @property
    def segment_labels(self) -> tuple[str, ...]:
        """Every value the `segment` label can take."""
        return (*self.segments, OTHER)
