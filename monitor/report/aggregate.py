"""Prometheus' answers to `questions`, aggregated into the digest of the last days.

Counts are added and ratios divided at the end; what nobody knows is None, never 0 or 100 %. Formulas are
those of `measures` and `critical`.
"""

from collections.abc import Iterator

from monitor.counting import metrics
from monitor.counting.judging import ANSWER_CLASSES, BY_CHANNEL, BY_LOCATION, counts_answers
from monitor.counting.measures import Share, nps, wilson_lower
from monitor.counting.staff import MIN_GROUP
from monitor.journey_file.model import OTHER, Experience, Journey, Stage
from monitor.report.aggregate_journeys import (
    astray,
    fixes,
    gaps,
    handed_over,
    outcome,
    promises,
    weights,
    worst_partner,
)
from monitor.report.digest import (
    BY_SEGMENT,
    Answered,
    Digest,
    Firings,
    Judged,
    Period,
    Seen,
    Spread,
    StageFound,
    weakest_of,
)
from monitor.report.questions import STEP_S, Answers, Told
from monitor.rules.plan import Plan
from monitor.rules.verdict import MIN_SEGMENT_EVENTS


def digest(plan: Plan, period: Period, answers: Answers) -> Digest:
    """What the answers to `questions` say; KeyError for one that is missing."""
    journey, told = plan.journey, Told(period, answers)
    promised = promises(journey, told)
    seen = _seen(journey, told)
    is_alerting = seen.judged_s is not None
    return Digest(
        plan=plan,
        period=period,
        outcome=outcome(told),
        answered=tuple(_answered(journey, told)),
        stages=tuple(_stages(journey, told, is_alerting=is_alerting)),
        fixes=fixes(told),
        promises=promised,
        worst_partner=worst_partner(promised or ()),
        handed_over=handed_over(journey, told),
        astray=astray(told),
        weights=weights(told),
        gaps=gaps(told),
        worst_segment=_worst_segment(journey, told),
        spreads=tuple(_spreads(journey, told)),
        alerts=_alerts(told) if is_alerting else None,
        seen=seen,
    )


# -- stages ----------------------------------------------------------------------------------------------


def _judged(journey: Journey, told: Told) -> list[Judged]:
    """Every experience that had events, over all segments."""
    found: dict[tuple[str, str], Share] = {}
    for (stage, experience, _), share in told.shares(metrics.WINDOW_EVENTS, metrics.WINDOW_GOOD).items():
        before = found.get((stage, experience), Share(0, 0))
        found[stage, experience] = Share(before.good + share.good, before.bad + share.bad)
    return [
        Judged(stage, one, found[stage.name, one.name], one.target)
        for stage in journey.stages
        for one in stage.experiences
        if (stage.name, one.name) in found
    ]


def _stages(journey: Journey, told: Told, *, is_alerting: bool) -> Iterator[StageFound]:
    judged, days, minutes = _judged(journey, told), told.daily(), told.minutes("stages")
    heard = {stage for stage, *_ in told.of(metrics.WINDOW_EVENTS) or ()}
    for stage in journey.stages:
        weakest = weakest_of([one for one in judged if one.stage is stage])
        key = (stage.name, weakest.experience.name if weakest else "")
        alerting = {severity: minutes.get((stage.name, severity), 0) for severity in ("page", "ticket")}
        yield StageFound(
            stage,
            stage.name in heard,
            weakest,
            tuple((day or {}).get(key) for day in days),
            alerting if is_alerting else None,
        )


def _answered(journey: Journey, told: Told) -> Iterator[Answered]:
    found = told.of(metrics.WINDOW_ANSWERS) or {}
    for stage in journey.stages:
        if not counts_answers(stage):
            continue
        least = MIN_GROUP if stage.kind == "staff" else MIN_SEGMENT_EVENTS
        for kind, classes in ANSWER_CLASSES.items():
            best, *others = (found.get((stage.name, kind, name), 0) for name, _, _ in classes)
            n = best + sum(others)
            if not n:
                continue
            if n < least:
                yield Answered(stage, kind, n, best, None, 0.0, 0.0)
            elif kind == "nps" and (score := nps(best, *others)) is not None:
                yield Answered(stage, kind, n, best, score[0], score[0] - score[1], score[0] + score[1])
            else:
                lower, upper = float(wilson_lower(best, n)), 1 - float(wilson_lower(n - best, n))
                yield Answered(stage, kind, n, best, best / n, lower, upper)


# -- who is served worse ---------------------------------------------------------------------------------


def _segments(journey: Journey, told: Told) -> Iterator[list[Judged]]:
    """Of each experience, the segments with enough events to compare: two or more."""
    found = told.shares(metrics.WINDOW_EVENTS, metrics.WINDOW_GOOD)
    for stage in journey.stages:
        for one in stage.experiences if stage.kind != "staff" else ():
            served = [
                Judged(stage, one, share, one.target_for(segment), segment)
                for segment in journey.segments
                if (share := found.get((stage.name, one.name, segment), Share(0, 0))).n >= MIN_SEGMENT_EVENTS
            ]
            if len(served) > 1:
                yield served


def _worst_segment(journey: Journey, told: Told) -> tuple[Judged, Judged] | None:
    """Of those that missed their target, the segment furthest behind the best served of the same experience,
    each against its own target."""
    pairs = []
    for served in _segments(journey, told):
        served.sort(key=lambda judged: judged.attainment)
        if not served[0].is_met:
            pairs.append((served[0], served[-1]))
    return max(pairs, key=lambda pair: pair[1].attainment - pair[0].attainment, default=None)


def _spreads(journey: Journey, told: Told) -> Iterator[Spread]:
    """The widest spread between segments, between channels, and between locations."""
    segments = [
        _spread(
            served[0].stage,
            served[0].experience,
            BY_SEGMENT,
            [(one.segment or "", one.share) for one in served],
        )
        for served in _segments(journey, told)
    ]
    if segments:
        yield max(segments, key=lambda one: one.points)
    found = told.shares(metrics.WINDOW_SPREAD_EVENTS, metrics.WINDOW_SPREAD_GOOD)
    for by in (BY_CHANNEL, BY_LOCATION):
        spreads = []
        for stage in journey.stages:
            for one in stage.experiences:
                named = [
                    (name, share)
                    for (*of, name), share in found.items()
                    if of == [stage.name, one.name, by] and name != OTHER and share.n >= MIN_SEGMENT_EVENTS
                ]
                if len(named) > 1:
                    spreads.append(_spread(stage, one, by, named))
        if spreads:
            yield max(spreads, key=lambda one: one.points)


def _spread(stage: Stage, experience: Experience, by: str, named: list[tuple[str, Share]]) -> Spread:
    named.sort(key=lambda pair: pair[1].good / pair[1].n)
    return Spread(stage, experience, by, named[-1], named[0])


# -- the monitor -----------------------------------------------------------------------------------------


def _alerts(told: Told) -> tuple[Firings, ...]:
    """Pages before tickets, the longest first."""
    times = told.starts()
    each = (
        Firings(name, severity, stage, experience, times.get((name, severity, stage, experience), 0), n)
        for (name, severity, stage, experience), n in told.minutes("alerts").items()
    )
    return tuple(sorted(each, key=lambda one: (one.severity, -one.minutes, one.name, one.stage)))


def _seen(journey: Journey, told: Told) -> Seen:
    pictured = sum(day is not None for day in told.daily())
    first = told.judged_s()
    judged = told.minutes("judged").get((), 0)
    unjudged = 0 if first is None else max((told.period.end_s - first) // STEP_S + 1 - judged, 0)
    blind = {cause: n for (cause,), n in told.minutes("blind").items()}
    names = told.journeys()
    others = () if journey.name in names else tuple(sorted(names))
    return Seen(told.days, pictured, first, unjudged, blind, others)
