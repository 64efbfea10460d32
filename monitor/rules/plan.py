"""What a journey is held to, compiled once from its file and handed to whoever asks: who is judged by which
limits, and whose trouble explains which alerts.

`promql` and `alerts` write it out for Prometheus and Grafana, `backtest` evaluates it on history, boards and
digest name what it holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from monitor.journey_file.model import ALL, WHOLE, Experience, Journey, Stage
from monitor.rules.journeys import GOAL, Watched, watched, whole
from monitor.rules.limits import (
    Limit,
    budget_limits,
    page_limits,
    page_recovery,
    ticket_limits,
    ticket_recovery,
)
from monitor.rules.qualities import TICKETS_ONLY, Quality, Severity


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
