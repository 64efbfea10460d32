"""Answers about whole journeys, aggregated: None where nothing is known, nobody named worst for nothing."""

from collections.abc import Sequence

from monitor.counting import metrics
from monitor.counting.measures import Share
from monitor.journey_file.model import NONE, OTHER, UNASSIGNED, Journey
from monitor.journeys.counters import CRITICAL_CELLS, GAP, HANDED, PROMISED, worth_most
from monitor.report.digest import Astray, Fix, Gap, HandedOver, Outcome, Promised, Weight, is_met
from monitor.report.questions import Told
from monitor.rules.critical import Touchpoint
from monitor.rules.verdict import MIN_SEGMENT_EVENTS


def outcome(told: Told) -> Outcome | None:
    """How journeys that were over went."""
    results = told.of(metrics.WINDOW_JOURNEYS)
    if results is None:
        return None
    scores = told.of(metrics.WINDOW_SCORES) or {}
    weakest = {stage: n for (stage,), n in (told.of(metrics.WINDOW_WEAKEST) or {}).items() if n}
    return Outcome(
        Share(results.get(("met",), 0), results.get(("missed",), 0)),
        results.get(("visit",), 0),
        sum(scores.values()),
        scores.get(("1",), 0),
        tuple(sorted(weakest.items(), key=lambda one: -one[1])),
    )


def fixes(told: Told) -> tuple[Fix, ...] | None:
    """What is worth mending most."""
    found = told.of(metrics.WINDOW_FIXABLE)
    if found is None:
        return None
    days = told.days or told.period.days
    return tuple(Fix(things, n * 7 / days) for things, n in worth_most(found))


def promises(journey: Journey, told: Told) -> tuple[Promised, ...] | None:
    """Promises that fell due by kind and partner, most first."""
    found = told.of(metrics.WINDOW_PROMISES)
    if found is None:
        return None
    rules = journey.journeys
    targets = {one.name: one.target for one in rules.promises} if rules is not None else {}
    each = (
        Promised(
            kind, partner, targets.get(kind), *(found.get((kind, partner, result), 0) for result in PROMISED)
        )
        for kind, partner in dict.fromkeys((kind, partner) for kind, partner, _ in found)
    )
    return tuple(sorted((one for one in each if one.due), key=lambda one: (-one.due, one.kind)))


def worst_partner(promises: Sequence[Promised]) -> Promised | None:
    """Of the partners that missed the target of a kind of promise, the one furthest below it."""
    missed = [
        (one.kept / one.due / float(one.target), one)
        for one in promises
        if one.partner not in (None, NONE, UNASSIGNED, OTHER) and one.due >= MIN_SEGMENT_EVENTS
        if one.target is not None and not is_met(one.share, one.target)
    ]
    return min(missed, key=lambda pair: pair[0])[1] if missed else None


def handed_over(journey: Journey, told: Told) -> tuple[HandedOver, ...] | None:
    """What each stage handed over to each other, most lost first."""
    found = told.of(metrics.WINDOW_HANDOFFS)
    if found is None:
        return None
    edges = journey.journeys.edges if journey.journeys is not None else ()
    targets = {(edge.sender, edge.receiver): edge.target for edge in edges}
    each = (
        HandedOver(*edge, targets.get(edge), *(found.get((*edge, result), 0) for result in HANDED))
        for edge in dict.fromkeys((sender, receiver) for sender, receiver, _ in found)
    )
    return tuple(sorted((one for one in each if one.sent or one.lost), key=lambda one: -one.lost))


def astray(told: Told) -> Astray:
    """Journeys that went astray, contacts, and who spoke first."""
    journeys = told.of(metrics.WINDOW_LABYRINTHS)
    lost = [(n, came, went) for (came, went), n in (told.of(metrics.WINDOW_LOST) or {}).items() if n]
    most, came, went = max(lost, default=(0, "", ""))
    contacts, noticed = (told.of(one) for one in (metrics.WINDOW_CONTACTS, metrics.WINDOW_NOTICED))
    return Astray(
        sum(journeys.values()) if journeys is not None else None,
        sum((told.of(metrics.WINDOW_JOURNEYS) or {}).values()),
        (came, went, most) if lost else None,
        Share(contacts.get(("first",), 0), contacts.get(("repeat",), 0)) if contacts else None,
        Share(ours := noticed.get(("company",), 0), sum(noticed.values()) - ours) if noticed else None,
    )


def weights(told: Told) -> tuple[Weight, ...] | None:
    """How stages weigh on satisfaction, where it can be told, the greatest share first."""
    found = told.of(metrics.WINDOW_CRITICAL)
    if found is None:
        return None
    weighed = []
    for stage in dict.fromkeys(stage for stage, _ in found):
        one = Touchpoint(*(found.get((stage, cell), 0) for cell in CRITICAL_CELLS))
        if one.is_enough and one.share is not None:
            weighed.append(Weight(stage, one, one.share))
    return tuple(sorted(weighed, key=lambda one: -one.share))


def gaps(told: Told) -> tuple[Gap, ...] | None:
    """Understanding gaps, where they can be told, the widest first."""
    found = told.of(metrics.WINDOW_GAP)
    if found is None:
        return None
    measured = []
    for stage in dict.fromkeys(stage for stage, _ in found):
        fine, believed, feared, bad = (found.get((stage, cell), 0) for cell in GAP)
        n = fine + believed + feared + bad
        if n >= MIN_SEGMENT_EVENTS:
            measured.append(Gap(stage, n, fine + believed, fine + feared, believed))
    return tuple(sorted(measured, key=lambda one: -one.points))
