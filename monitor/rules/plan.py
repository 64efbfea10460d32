"""What a journey is held to, compiled once from its file and handed to whoever asks: who is judged by which
limits, whose trouble explains which alerts, how loud an alert may be and how long it goes on. What a limit is
stands in `limits`.

`promql` and `alerts` write it out for Prometheus and Grafana, `backtest` evaluates it on history, boards and
digest name what it holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from monitor.journey_file.model import ALL, WHOLE, Experience, Journey, Stage
from monitor.rules.journeys import GOAL, Watched, watched, whole
from monitor.rules.limits import (
    Limit,
    Recovery,
    budget_limits,
    page_limits,
    page_recovery,
    ticket_limits,
    ticket_recovery,
)

Severity = Literal["page", "ticket"]

SILENT_EXPECTED = Decimal("20")
"""No event where so many were expected. By chance alone 6.9 would do once in a thousand times (e^-6.9,
Poisson), but it is asked thousands of times a day, and a rhythm is only roughly known: at 6.9 a healthy month
had hundreds of false silences, at 14 still some, at 20 none (`tests/bench/alert_quality.py`)."""

SILENT_WINDOWS = ("1m", "5m", "30m", "1h", "2h", "6h", "1d")

SILENT_OVER = Decimal("0.1")
"""A silence is over once so much of what the narrowest window expects has come: where an event came each time
that the window was about to be called silent again, each was a page of its own."""

HOLD_S: dict[Severity, int] = {"page": 299, "ticket": 3599}
"""An alert goes on for this long after its last reason, or it would end and begin anew all the time. Five
minutes; a ticket an hour, for its windows are hours and days long and linger around the limit: held like a
page, one fault was 23 tickets. A second less: a sample just on the edge counts for Prometheus 2 only."""

SURE_S = 59
"""The narrowest window must say for a minute that a page is over: asked every few seconds it says so by
chance. At a target of 95 %, 5,000 events an hour and a constant 11 % bad, two days had up to 10 pages, with
this at most 5. Two minutes would make it 3, and tell half of all ends a minute later. A second less, as
above."""

NEW_S = 1859
"""After a stage's page has ended only an outage begins another for half an hour, the widest short window of a
page, and a minute, by which windows may lag: until then it may be the same incident. A second less, as
above."""

EXPLAINS_S = 59
"""A stage in trouble explains what it drags along for a minute more, for that recovers a little later; any
longer, and the page for what stays bad would come late."""

SETTLE_S = 59
"""After the monitor was blind older events still arrive for a while: a window is not called silent before all
of it, and so much before it, was seen."""

SETTLED = ("7d", "3d")
"""Journeys are held to their goal once more were over in the first of these windows than in the second. Those
that fail are over before those that succeed: of the first that a new monitor sees all have missed it. A stage
has to have been seen for so long, too, before being critical makes pages of its tickets: in a new monitor's
windows of days a minute of failure weighs for hours."""

LAG_S = 60
"""Windows lag when the consumer does: beyond this a stage is not judged, and the monitor says so instead."""

JOURNEYS_LAG_S = 900
"""Whole journeys are judged up to a minute ago; up to ten minutes longer when one event came late
(`streams.state.steps.HOLD_MS`), and that alone is no reason to be told."""

TICKETS_ONLY = ("feedback", "staff")
"""Kinds of stages that never wake anybody: opinions and moods change in days, not in minutes."""


@dataclass(frozen=True, slots=True)
class Quality:
    """One experience, held to one target in one severity, for all segments that share this target.

    The segment `all` is everybody together; its target is the experience's own. Of some experiences of whole
    journeys a partner or a change of channel takes the segment's place (`whole`).
    """

    stage: Stage
    experience: Experience
    severity: Severity
    target: Decimal
    segments: tuple[str, ...]
    """None of them named: whatever takes their place."""
    limits: tuple[Limit, ...]

    recovery: Recovery | None = None
    """What ends its alert, at the earliest `HOLD_S` after a limit was last crossed; None: that alone."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled journey file."""

    journey: Journey
    stages: tuple[Stage, ...]
    """Those that are held to targets: the stages of the file, after them whole journeys."""
    watched: tuple[Watched, ...]
    """What whole journeys are held to, the goal first; nothing without journeys."""
    qualities: tuple[Quality, ...]
    """Every quality rule, experience by experience; for each target its page before its ticket."""
    upstream: Mapping[str, tuple[str, ...]]
    """By stage, those it depends on, directly or through others: their trouble explains its own."""

    def explaining(self, stage: Stage, severity: Severity) -> tuple[str, ...]:
        """The stages whose trouble explains such an alert on a degraded stage.

        None explains a ticket on whole journeys: a broken promise is to be made good whatever broke it, and a
        day's journeys outlast the trouble, whose every beginning and end would end the ticket and begin it
        again.
        """
        return () if (stage.name, severity) == (WHOLE, "ticket") else self.upstream[stage.name]


def plan(journey: Journey) -> Plan:
    """The plan of a journey file."""
    held_to = watched(journey)
    all_of_it = whole(journey, held_to)
    stages = journey.stages if all_of_it is None else (*journey.stages, all_of_it)
    qualities = list(_of_stages(journey))
    if all_of_it is not None:
        qualities += _of_whole_journeys(journey, all_of_it, held_to)
    upstream = {stage.name: journey.upstream(stage) for stage in stages}
    return Plan(journey, stages, held_to, tuple(qualities), upstream)


def _of_stages(journey: Journey) -> Iterator[Quality]:
    for stage in journey.stages:
        for experience in stage.experiences:
            for target, segments in _by_target(journey, experience).items():
                pages, tickets = page_limits(target), ticket_limits(target)
                if stage.kind in TICKETS_ONLY:
                    pages, tickets = (), (*pages, *tickets)
                yield from _held_to(Quality(stage, experience, "page", target, segments, pages), tickets)


def _of_whole_journeys(journey: Journey, stage: Stage, held_to: tuple[Watched, ...]) -> Iterator[Quality]:
    """Journeys are over days after what went wrong, and many at once: no fast limit is for them."""
    for one in held_to:
        by_target = {one.experience.target: ()} if one.groups else _by_target(journey, one.experience)
        for target, groups in by_target.items():
            pages = budget_limits(target) if one.experience.name == GOAL else ()
            page = Quality(stage, one.experience, "page", target, groups, pages)
            yield from _held_to(page, ticket_limits(target))


def _held_to(page: Quality, tickets: tuple[Limit, ...]) -> Iterator[Quality]:
    """The page, if it has limits, and the ticket; each with what ends it."""
    if page.limits:
        yield replace(page, recovery=page_recovery(page.target, page.limits))
    yield replace(page, severity="ticket", limits=tickets, recovery=ticket_recovery(page.target))


def _by_target(journey: Journey, experience: Experience) -> dict[Decimal, tuple[str, ...]]:
    found: dict[Decimal, tuple[str, ...]] = {experience.target: (ALL,)}
    for segment in journey.segments:
        target = experience.target_for(segment)
        found[target] = (*found.get(target, ()), segment)
    return found


def severities(stage: Stage) -> tuple[Severity, ...]:
    """How loud its degradation may be."""
    return ("ticket",) if stage.kind in TICKETS_ONLY else ("page", "ticket")


def silence_severity(stage: Stage) -> Severity:
    """How loud the silence of a stage is."""
    return "ticket" if stage.kind in TICKETS_ONLY else "page"


def pages_for(stage: Stage) -> tuple[Experience, ...]:
    """The experiences whose degradation wakes somebody up."""
    if stage.kind in TICKETS_ONLY:
        return ()
    return tuple(one for one in stage.experiences if stage.name != WHOLE or one.name == GOAL)
