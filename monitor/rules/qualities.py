"""The one list of rules: who is judged by which limits, and which alert explains which others.

Everything that alerts is computed from it: `promql` and `alerts` write it out for Prometheus and Grafana,
`backtest` evaluates it on history. What a limit is stands in `limits`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from monitor.journey_file.model import ALL, WHOLE, Experience, Journey, Stage
from monitor.rules.journeys import GOAL, watched, whole
from monitor.rules.limits import Limit, budget_limits, page_limits, ticket_limits

Severity = Literal["page", "ticket"]

SILENT_EXPECTED = Decimal("20")
"""No event where so many were expected. By chance alone 6.9 would do once in a thousand times (e^-6.9,
Poisson), but it is asked thousands of times a day, and a rhythm is only roughly known: at 6.9 a healthy month
had hundreds of false silences, at 14 still some, at 20 none (`tests/bench/alert_quality.py`)."""

SILENT_WINDOWS = ("1m", "5m", "30m", "1h", "2h", "6h", "1d")

HOLD_S: dict[Severity, int] = {"page": 299, "ticket": 3599}
"""An alert goes on for this long after its last reason, or it would end and begin anew all the time. Five
minutes; a ticket an hour, for its windows are hours and days long and linger around the limit: held like a
page, one fault was 23 tickets. A second less: a sample just on the edge counts for Prometheus 2 only."""

EXPLAINS_S = 59
"""A stage in trouble explains what it drags along for a minute more, for that recovers a little later; any
longer, and the page for what stays bad would come late."""

SETTLE_S = 59
"""After the monitor was blind older events still arrive for a while: a window is not called silent before all
of it, and so much before it, was seen."""

SETTLED = ("7d", "3d")
"""Journeys are held to their goal once more were over in the first of these windows than in the second. Those
that fail are over before those that succeed: of the first that a new monitor sees all have missed it."""

LAG_S = 60
"""Windows lag when the consumer does: beyond this a stage is not judged, and the monitor says so instead."""

JOURNEYS_LAG_S = 900
"""Whole journeys are judged up to a minute ago; up to ten minutes longer when one event came late
(`streams.step_sender.HOLD_MS`), and that alone is no reason to be told."""

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


def judged(journey: Journey) -> tuple[Stage, ...]:
    """The stages that are held to targets: those of the file, after them whole journeys."""
    all_of_it = whole(journey)
    return journey.stages if all_of_it is None else (*journey.stages, all_of_it)


def qualities(journey: Journey) -> Iterator[Quality]:
    """Every quality rule, pages before tickets."""
    yield from _of_stages(journey)
    yield from _of_whole_journeys(journey)


def _of_stages(journey: Journey) -> Iterator[Quality]:
    for stage in journey.stages:
        for experience in stage.experiences:
            for target, segments in _by_target(journey, experience).items():
                pages, tickets = page_limits(target), ticket_limits(target)
                if stage.kind in TICKETS_ONLY:
                    pages, tickets = (), (*pages, *tickets)
                if pages:
                    yield Quality(stage, experience, "page", target, segments, pages)
                yield Quality(stage, experience, "ticket", target, segments, tickets)


def _of_whole_journeys(journey: Journey) -> Iterator[Quality]:
    """Journeys are over days after what went wrong, and many at once: no fast limit is for them."""
    stage = whole(journey)
    if stage is None:
        return
    for one in watched(journey):
        by_target = {one.experience.target: ()} if one.groups else _by_target(journey, one.experience)
        for target, groups in by_target.items():
            if one.experience.name == GOAL:
                yield Quality(stage, one.experience, "page", target, groups, budget_limits(target))
            yield Quality(stage, one.experience, "ticket", target, groups, ticket_limits(target))


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


def upstream(journey: Journey, stage: Stage) -> tuple[str, ...]:
    """The stages this one depends on, directly or through others: their trouble explains its own."""
    found: dict[str, None] = {}
    todo = list(stage.depends_on)
    while todo:
        name = todo.pop(0)
        if name not in found:
            found[name] = None
            todo.extend(journey.stage(name).depends_on)
    return tuple(found)


def explaining(journey: Journey, stage: Stage, severity: Severity) -> tuple[str, ...]:
    """The stages whose trouble explains such an alert on a degraded stage.

    None explains a ticket on whole journeys: a broken promise is to be made good whatever broke it, and a
    day's journeys outlast the trouble, whose every beginning and end would end the ticket and begin it again.
    """
    return () if (stage.name, severity) == (WHOLE, "ticket") else upstream(journey, stage)


def pages_for(stage: Stage) -> tuple[Experience, ...]:
    """The experiences whose degradation wakes somebody up."""
    if stage.kind in TICKETS_ONLY:
        return ()
    return tuple(one for one in stage.experiences if stage.name != WHOLE or one.name == GOAL)
