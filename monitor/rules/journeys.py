"""Whole journeys are held to targets as stages are: they are a stage, what journeys count its experiences.

So the limits, texts and suppressions of stages hold for journeys too. What tells one journey's trouble from
another's is its segment, the partner, the change of channel or the stage, each in a label of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from monitor.counting import metrics
from monitor.counting.metrics import Metric
from monitor.errors import UserError
from monitor.journey_file.model import (
    FOLLOW_UP,
    NONE,
    WHOLE,
    Edge,
    Experience,
    Journey,
    Journeys,
    PromiseKind,
    Stage,
)
from monitor.journeys.alerted import CRITICAL, meant
from monitor.journeys.counters import (
    GAP,
    channel_moves,
    counter_names,
    edge_partners,
    failure_causes,
    lived_stages,
    promise_partners,
)

WholeName = Literal[
    "JourneyDegraded", "PromisesOverdue", "HandoversLost", "CustomersLost", "UnderstandingGap"
]
"""Alerts on whole journeys."""

GOAL = "goal"
"""The experience that every journey file with journeys has, and the only one that pages."""

HANDED_KNOWN: Mapping[str, Literal[1, -1]] = {"received": 1, "lost": 1, "late": -1}
"""Results whose counts add up to the hand-overs of which it is known what has become, each once: what comes
late is received, too, and was lost before."""

BETWEEN = ">"
"""Between two values that together take the place of the segment."""


AT_STAGE = "at_stage"
"""Label of what journeys count at a stage, for their `stage` says that they are whole journeys."""

OWN_LABELS = ("partner", "from_channel", "to_channel", AT_STAGE)
"""Labels that tell series of whole journeys apart where it is not the segment that does."""

ABOUT_LABELS = ("promise", "sender", "receiver")
"""Labels that say of which promise or hand-over an alert is."""


@dataclass(frozen=True, slots=True)
class Term:
    """What is added, or taken away, of a metric: the series whose labels have these values."""

    metric: Metric
    labels: Mapping[str, str]
    sign: Literal[1, -1] = 1

    def counts(self, metric: Metric, labels: Mapping[str, str]) -> int:
        """What one more of a series adds to it: 1, -1 or, if it is none of these series, 0."""
        return self.sign if metric == self.metric and self.labels.items() <= labels.items() else 0


@dataclass(frozen=True, slots=True)
class Watched:
    """An experience of whole journeys: of `events`, `bad` were bad, by the labels `by` of metrics."""

    alert: WholeName
    experience: Experience
    owner: str
    events: tuple[Term, ...]
    bad: tuple[Term, ...]
    by: tuple[str, ...]
    groups: tuple[str, ...]
    """Every value of these labels, joined; none where it is the segment."""
    about: dict[str, str] = field(default_factory=dict)
    """Labels of its alert, the same for all of them."""
    overdue: str = ""
    """What the metric of what is overdue calls it, if it can be."""
    noun: str = ""
    """What its alert calls the events, where that depends on the journey file."""
    stops: bool = False
    """Whether it is over, too, once next to nothing is bad any more (`limits.stopped`)."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that its recorded series and its alerts have for those of `by`."""
        return tuple(AT_STAGE if label == "stage" else label for label in self.by)


def watched(journey: Journey) -> tuple[Watched, ...]:
    """All that whole journeys are held to, the goal first; nothing without journeys."""
    rules = journey.journeys
    return tuple(_watched(journey, rules)) if rules is not None else ()


def meant_labels(journey: Journey) -> dict[str, tuple[str, ...]]:
    """Experiences of which journeys are listed one by one, and the labels that tell their lists apart."""
    found = {one.experience.name: one.labels for one in watched(journey)}
    return {**found, CRITICAL: ("stage",)} if journey.journeys is not None else {}


def require_meant(journey: Journey, experience: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """The labels that tell the lists of an experience apart; UserError with what there is instead when it has
    no list that has these."""
    experiences = meant_labels(journey)
    if experience not in experiences:
        told = ", ".join(experiences) or "none"
        raise UserError(f"no such experience of journeys: known are {told}")
    names = experiences[experience]
    if not labels.keys() <= set(names):
        raise UserError(f"it has no such label: known are {', '.join(names)}")
    lists = (listed for counter in counter_names(journey) for listed, _ in meant([counter]))
    values = dict.fromkeys(
        tuple(named) for of, *named in (one.split("/") for one in lists) if of == experience
    )
    for label, known in zip(names, zip(*values, strict=True), strict=True):
        if labels.get(label, known[0]) not in known:
            raise UserError(f"no such {label}: known are {', '.join(dict.fromkeys(known))}")
    return names


def whole(journey: Journey, held_to: tuple[Watched, ...]) -> Stage | None:
    """The stage that whole journeys are, after all the others, whose trouble explains its own."""
    rules = journey.journeys
    if rules is None:
        return None
    lived = tuple(stage.name for stage in lived_stages(journey))
    return Stage(
        name=WHOLE,
        title="Whole journeys",
        kind="customer",
        owner=rules.owner,
        runbook=rules.runbook,
        depends_on=lived,
        reasons=tuple(" ".join(cause) for cause in failure_causes(journey) if cause != (NONE, NONE)),
        experiences=tuple(one.experience for one in held_to),
    )


def _watched(journey: Journey, rules: Journeys) -> Iterator[Watched]:
    results = [Term(metrics.WINDOW_JOURNEYS, {"result": result}) for result in ("met", "missed")]
    yield Watched(
        "JourneyDegraded",
        _experience(GOAL, "Journeys meet their goal", rules.target, rules.segment_targets),
        rules.owner,
        events=tuple(results),
        bad=(results[1],),
        by=("segment",),
        groups=(),
    )
    for kind in rules.promises:
        yield _promises(journey, kind)
    for edge in rules.edges:
        yield _hand_overs(journey, edge)
    if rules.moves_target is not None:
        yield Watched(
            "CustomersLost",
            _experience("moves", "Customers who change channel find a solution", rules.moves_target),
            rules.owner,
            events=(Term(metrics.WINDOW_MOVES, {}),),
            bad=(Term(metrics.WINDOW_LOST, {}),),
            by=("from_channel", "to_channel"),
            groups=tuple(BETWEEN.join(move) for move in channel_moves(journey)),
            stops=True,  # who is helped at once changes no channel: nothing good need come instead
        )
    if rules.understood_target is not None:
        yield Watched(
            "UnderstandingGap",
            _experience(
                "understood", "What is well by our own word is well for customers", rules.understood_target
            ),
            rules.owner,
            events=tuple(Term(metrics.WINDOW_GAP, {"cell": cell}) for cell in GAP),
            bad=(Term(metrics.WINDOW_GAP, {"cell": "ok_inside_bad_outside"}),),
            by=("stage",),
            groups=tuple(stage.name for stage in lived_stages(journey)),
        )


def _promises(journey: Journey, kind: PromiseKind) -> Watched:
    due, kept = (
        Term(metrics.WINDOW_PROMISES, {"kind": kind.name, "result": result}) for result in ("due", "kept")
    )
    noun = f"{kind.name.replace('_', ' ').capitalize()} promises"
    title = "Unhappy customers are contacted in time" if kind.name == FOLLOW_UP else f"{noun} are kept"
    return Watched(
        "PromisesOverdue",
        _experience(f"promise_{kind.name}", title, kind.target),
        journey.stage(kind.stage).owner,
        events=(due,),
        bad=(due, replace(kept, sign=-1)),
        by=("partner",),
        groups=promise_partners(journey)[kind.name],
        about={"promise": kind.name},
        overdue=f"promise/{kind.name}",
        noun=noun,
    )


def _hand_overs(journey: Journey, edge: Edge) -> Watched:
    """Counted once it is known what has become of them."""
    about = {"sender": edge.sender, "receiver": edge.receiver}
    known = {
        result: Term(metrics.WINDOW_HANDOFFS, {**about, "result": result}, sign)
        for result, sign in HANDED_KNOWN.items()
    }
    sender, receiver = journey.stage(edge.sender).title, journey.stage(edge.receiver).title
    return Watched(
        "HandoversLost",
        _experience(
            f"handoff_{edge.sender}_{edge.receiver}",
            f"What {sender} hands over reaches {receiver}",
            edge.target,
        ),
        journey.stage(edge.receiver).owner,
        events=tuple(known.values()),
        bad=(known["lost"],),
        by=("partner",),
        groups=edge_partners(journey, edge),
        about=about,
        overdue=f"handoff/{edge.sender}/{edge.receiver}",
        noun=f"Hand-overs from {sender} to {receiver}",
    )


def _experience(
    name: str, title: str, target: Decimal, segment_targets: dict[str, Decimal] | None = None
) -> Experience:
    """One that journeys count, and no event is judged for."""
    return Experience(name, title, (), (), (), target, segment_targets or {})
