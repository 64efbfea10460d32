"""The one list of rules on stages: who is judged by which limits, and which alert explains which others.

Everything that alerts is computed from it: `promql` and `alerts` write it out for Prometheus and Grafana,
`backtest` evaluates it on history. What a limit is stands in `limits`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from monitor.journey import ALL, Experience, Journey, Stage
from monitor.limits import Limit, page_limits, ticket_limits

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

LAG_S = 60
"""Windows lag when the consumer does: beyond this a stage is not judged, and the monitor says so instead."""

TICKETS_ONLY = ("feedback", "staff")
"""Kinds of stages that never wake anybody: opinions and moods change in days, not in minutes."""


@dataclass(frozen=True, slots=True)
class Quality:
    """One experience, held to one target in one severity, for all segments that share this target.

    The segment `all` is everybody together; its target is the experience's own.
    """

    stage: Stage
    experience: Experience
    severity: Severity
    target: Decimal
    segments: tuple[str, ...]
    limits: tuple[Limit, ...]


def qualities(journey: Journey) -> Iterator[Quality]:
    """Every quality rule, pages before tickets."""
    for stage in journey.stages:
        for experience in stage.experiences:
            for target, segments in _by_target(journey, experience).items():
                pages, tickets = page_limits(target), ticket_limits(target)
                if stage.kind in TICKETS_ONLY:
                    pages, tickets = (), (*pages, *tickets)
                if pages:
                    yield Quality(stage, experience, "page", target, segments, pages)
                yield Quality(stage, experience, "ticket", target, segments, tickets)


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
