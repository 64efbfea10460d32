"""Names of what is counted about whole journeys, in panes of their own beside those of the stages.

hit/<stage>/<segment>                    journeys, at their first bad encounter with the stage
closed/<result>/<segment>                journeys that are over: met, missed their goal; visit has none
score/<bucket>/<segment>                 the same by score, that of their weakest encounter
weakest/<stage>/<segment>                the same by the stage of that encounter, unless all was good
failed/<cause>/<about>/<segment>         journeys that missed their goal, by what failed them
promise/<kind>/<partner>/<what>          due, and what became of each: kept, early, broken, late, missed;
                                         rescheduled beside that; unpromised, what nobody had promised
handoff/<from>/<to>/<partner>/<what>     sent; received; lost when not received in time; late after that
contact/<stage>/<what>                   contacts of customers: the first of a case, or a repeat within 7 days
moved/<channel>/<channel>                changes of channel in closed journeys
labyrinth/<segment>                      closed journeys that went astray
lost/<channel>/<channel>                 the last change of channel of those, if there was one
noticed/<who>                            who spoke first after something went wrong
fix/<thing>/<other>                      closed journeys that one thing alone made bad (other: none), or two
critical/<stage>/<cell>                  journeys with an answer: bad or ok there, detractor or not
gap/<stage>/<cell>                       the same by what the process said of itself
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import NamedTuple

from monitor.counting import metrics
from monitor.counting.panes import SHORT, Counts, PaneKey, by_pane
from monitor.journey_file.model import FOLLOW_UP, NONE, OTHER, UNASSIGNED, Edge, Journey, Stage

RESULTS = ("met", "missed", "visit")
SCORES = ("0", "0.25", "0.5", "0.75", "0.99", "1")
"""Upper bounds of the buckets: a journey of score 1 had nothing but good encounters."""

PROMISED = ("due", "kept", "early", "broken", "late", "missed", "rescheduled", "unpromised")
HANDED = ("sent", "received", "lost", "late")
CONTACTS = ("first", "repeat")
HANDOFF, PROMISE, STAGE = "handoff", "promise", "stage"
"""Causes of a missed goal, the first that applies: a hand-over lost, a promise not kept, else the stage of
the weakest encounter."""

NOTICED = ("company", "customer", "nobody")
CRITICAL_CELLS = ("bad_detractor", "bad_other", "ok_detractor", "ok_other")
GAP = ("ok_inside_ok_outside", "ok_inside_bad_outside", "bad_inside_ok_outside", "bad_inside_bad_outside")


FIXES_TOLD = 3
"""Whoever mends what is worth most has enough to do."""

JOURNEY_FAMILIES = {
    "hit": metrics.WINDOW_HIT,
    "closed": metrics.WINDOW_JOURNEYS,
    "score": metrics.WINDOW_SCORES,
    "weakest": metrics.WINDOW_WEAKEST,
    "failed": metrics.WINDOW_FAILED,
    "promise": metrics.WINDOW_PROMISES,
    "handoff": metrics.WINDOW_HANDOFFS,
    "contact": metrics.WINDOW_CONTACTS,
    "moved": metrics.WINDOW_MOVES,
    "labyrinth": metrics.WINDOW_LABYRINTHS,
    "lost": metrics.WINDOW_LOST,
    "noticed": metrics.WINDOW_NOTICED,
    "fix": metrics.WINDOW_FIXABLE,
    "critical": metrics.WINDOW_CRITICAL,
    "gap": metrics.WINDOW_GAP,
}
"""By the first part of a counter's name the metric that shows it; the other parts are its labels."""


TAKEN_BACK = "-"
"""How the name of a counter begins from which 1 is taken, where it had been added too early."""


class Effect(NamedTuple):
    """Counters to add 1 to, at an event time; or to take 1 back from, at the time it was added to."""

    at_ms: int
    counters: tuple[str, ...]


def taken_back(effects: Iterable[Effect]) -> list[Effect]:
    """What takes back what these have added."""
    return [Effect(at_ms, tuple(TAKEN_BACK + one for one in counters)) for at_ms, counters in effects]


def name(*parts: str) -> str:
    """Name of a counter."""
    return "/".join(parts)


def nobody_yet(owing: Stage | None) -> str:
    """The `partner` label of a promise of that stage while no partner is known who has to keep it."""
    return UNASSIGNED if owing is not None and owing.partners else NONE


def promise_partners(journey: Journey) -> dict[str, tuple[str, ...]]:
    """Every kind of promise, and every `partner` label of it: whom the stage that owes it works with."""
    rules = journey.journeys
    owing = {kind.name: journey.stage(kind.stage) for kind in rules.promises} if rules is not None else {}
    labels = {kind: (nobody_yet(stage), *stage.partners, OTHER) for kind, stage in owing.items()}
    return {**labels, OTHER: (NONE,)}


def failure_causes(journey: Journey) -> tuple[tuple[str, str], ...]:
    """All that can be named as what made a journey miss its goal: the cause, and what that is about."""
    rules = journey.journeys
    if rules is None:
        return ()
    return (
        *((HANDOFF, edge_name(edge.sender, edge.receiver)) for edge in rules.edges),
        *((PROMISE, kind) for kind in promise_partners(journey) if kind != FOLLOW_UP),
        *((STAGE, stage.name) for stage in journey.stages),
        (NONE, NONE),
    )


def edge_name(sender: str, receiver: str) -> str:
    """A hand-over between two stages, as one label value."""
    return f"{sender}>{receiver}"


def edge_partners(journey: Journey, edge: Edge) -> tuple[str, ...]:
    """Every `partner` label of a hand-over: whom it is handed to."""
    return journey.stage(edge.receiver).partner_labels


def lived_stages(journey: Journey) -> tuple[Stage, ...]:
    """Stages a customer can have a bad time at; where feedback is asked is none."""
    return tuple(stage for stage in journey.stages if stage.kind not in ("feedback", "staff"))


def fixable(journey: Journey) -> dict[str, str]:
    """Every thing that can make a journey bad, by name, in words: what a customer says of one is none."""
    words = {thing(STAGE, stage.name): stage.title for stage in lived_stages(journey)}
    for cause, about in failure_causes(journey):
        if cause == PROMISE:
            words[thing(cause, about)] = f"Promise: {about.replace('_', ' ')}"
        elif cause == HANDOFF:
            ends = (journey.stage(name).title for name in about.split(">"))
            words[thing(cause, about)] = f"Hand-over: {' to '.join(ends)}"
    return words


def thing(cause: str, about: str) -> str:
    """A hand-over, a promise or a stage, as one label value."""
    return f"{cause}:{about}"


def fixes(journey: Journey) -> tuple[tuple[str, str], ...]:
    """All that a fix can be of: a thing alone, or two together."""
    things = sorted(fixable(journey))
    return (*((one, NONE) for one in things), *combinations(things, 2))


def worth_most(journeys: Mapping[tuple[str, ...], int]) -> list[tuple[tuple[str, ...], int]]:
    """The fixes of the most journeys, most first: the things of each, and of how many it is."""
    most = sorted((one for one in journeys.items() if one[1]), key=lambda one: (-one[1], one[0]))
    return [(tuple(one for one in fix if one != NONE), n) for fix, n in most[:FIXES_TOLD]]


def channel_labels(journey: Journey) -> tuple[str, ...]:
    """Every channel a customer can move between."""
    return (*journey.channels, OTHER)


def channel_moves(journey: Journey) -> tuple[tuple[str, str], ...]:
    """Every change of channel: from one, to another."""
    return tuple(permutations(channel_labels(journey), 2))


def label(value: str | None, known: Iterable[str]) -> str:
    """The label value of a field: itself, `none` or `other`."""
    if value is None:
        return NONE
    return value if value in known else OTHER


def counter_names(journey: Journey) -> tuple[str, ...]:
    """Every counter a journey can add to: the closed key space."""
    rules = journey.journeys
    if rules is None:
        return ()
    stages, segments, moves = journey.stages, journey.segment_labels, channel_moves(journey)
    return (
        *(name("hit", stage.name, segment) for stage in stages for segment in segments),
        *(name("closed", result, segment) for result in RESULTS for segment in segments),
        *(name("score", bucket, segment) for bucket in SCORES for segment in segments),
        *(name("weakest", stage.name, segment) for stage in stages for segment in segments),
        *(name("failed", *cause, segment) for cause in failure_causes(journey) for segment in segments),
        *(
            name("promise", kind, partner, what)
            for kind, partners in promise_partners(journey).items()
            for partner in partners
            for what in PROMISED
        ),
        *(
            name("handoff", edge.sender, edge.receiver, partner, what)
            for edge in rules.edges
            for partner in edge_partners(journey, edge)
            for what in HANDED
        ),
        *(name("contact", stage, what) for stage in rules.contacts for what in CONTACTS),
        *(name("moved", *move) for move in moves),
        *(name("labyrinth", segment) for segment in segments),
        *(name("lost", *move) for move in moves),
        *(name("noticed", who) for who in NOTICED),
        *(name("fix", *fix) for fix in fixes(journey)),
        *(name("critical", stage.name, cell) for stage in lived_stages(journey) for cell in CRITICAL_CELLS),
        *(name("gap", stage.name, cell) for stage in lived_stages(journey) for cell in GAP),
    )


class CounterTally:
    """Counts of a run of counters by pane, as `panes.Tally` does for events."""

    def __init__(self) -> None:
        self._slices: dict[int, Counts] = {}

    def add(self, made: Sequence[Sequence[str]], times_ms: Sequence[int]) -> list[tuple[str, ...]]:
        """Add 1 to each counter of all that was made, each with its time, or take it back; none is bad for an
        experience."""
        for counters, at_ms in zip(made, times_ms, strict=True):
            counts = self._slices.setdefault(SHORT.start_of(at_ms), {})
            for said in counters:
                counter = said.removeprefix(TAKEN_BACK)
                counts[counter] = counts.get(counter, 0) + (1 if counter == said else -1)
        return [()] * len(made)

    def panes(self) -> Iterator[tuple[PaneKey, Counts]]:
        """The counts by pane of either grain."""
        return by_pane(self._slices)
