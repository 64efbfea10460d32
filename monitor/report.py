"""The digest of the last days: what Prometheus is asked, and what its answers add up to.

Counts are added and ratios divided at the end; what nobody knows is None, never 0 or 100 %. Formulas are
those of `measures` and `critical`.

The period ends now and is whole times 24 hours long, for that is what windows hold: of calendar days, one
in spring has an hour less. Its counts are read from as few windows as it takes: a window of 7 days now, one
of 7 days a week ago and so on, and of single days what is left. A wide window also holds what came late or
was replayed into days that are over, and what Prometheus missed while it was down; seven narrow ones, each
read at the end of its day, hold neither. Pictures have no choice: they are of single days.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from monitor import metrics
from monitor.board_parts import ALERTS
from monitor.critical import Touchpoint
from monitor.journey import NONE, OTHER, Journey
from monitor.journey_counters import CRITICAL, GAP, HANDED, PROMISED
from monitor.judging import ANSWER_CLASSES, BY_CHANNEL, BY_LOCATION, counts_answers
from monitor.measures import Share, nps, wilson_lower
from monitor.metrics import Metric
from monitor.promql import select
from monitor.report_found import (
    Answered,
    Astray,
    Digest,
    Fired,
    Gap,
    HandedOver,
    Judged,
    Outcome,
    Period,
    Promised,
    Seen,
    Spread,
    StageFound,
    Weight,
)
from monitor.snapshot import MIN_GROUP, MIN_SEGMENT_EVENTS

BACK = "1h"
"""While a worker starts, its counts are withheld, and while partitions move some are missing. Then the last
moment within this time counts at which all was seen: at worst an hour of a day is not told."""

STEP_S = 60
"""How finely alerts are looked at. A page goes on for five minutes at least (`rules.HOLD_S`)."""

COUNTED: dict[Metric, tuple[str, ...]] = {
    metrics.WINDOW_EVENTS: ("stage", "experience", "segment"),
    metrics.WINDOW_GOOD: ("stage", "experience", "segment"),
    metrics.WINDOW_ANSWERS: ("stage", "kind", "class"),
    metrics.WINDOW_SPREAD_EVENTS: ("stage", "experience", "by", "name"),
    metrics.WINDOW_SPREAD_GOOD: ("stage", "experience", "by", "name"),
    metrics.WINDOW_JOURNEYS: ("result",),
    metrics.WINDOW_SCORES: ("score",),
    metrics.WINDOW_WEAKEST: ("stage",),
    metrics.WINDOW_PROMISES: ("kind", "partner", "result"),
    metrics.WINDOW_HANDOFFS: ("sender", "receiver", "result"),
    metrics.WINDOW_LABYRINTHS: (),
    metrics.WINDOW_LOST: ("from_channel", "to_channel"),
    metrics.WINDOW_CONTACTS: ("contact",),
    metrics.WINDOW_NOTICED: ("by",),
    metrics.WINDOW_CRITICAL: ("stage", "cell"),
    metrics.WINDOW_GAP: ("stage", "cell"),
}
"""What is added over the period, and by which labels."""

DAILY = ("stage", "experience")

ALERT = ("alertname", "severity", "stage", "experience")
FIRINGS = select(ALERTS, alertstate="firing", severity=("page", "ticket"))
HEARTBEAT = select(ALERTS, alertstate="firing", severity="heartbeat")


class Question(NamedTuple):
    """One instant query."""

    about: str
    expr: str
    at_s: int


class Sample(NamedTuple):
    """One series of an answer."""

    labels: Mapping[str, str]
    value: float


Answers = Mapping[Question, Sequence[Sample]]


# -- what is asked ---------------------------------------------------------------------------------------


def questions(period: Period) -> Iterator[Question]:
    """Everything that the digest asks."""
    for metric, by in COUNTED.items():
        for window, _, end_s in period.spans():
            yield _counts(metric, by, window, end_s)
    for end_s in period.day_ends():
        for metric in (metrics.WINDOW_EVENTS, metrics.WINDOW_GOOD):
            yield _counts(metric, DAILY, "1d", end_s)
    yield _build(period)
    yield from (_minutes(period, *one) for one in MINUTES)
    yield _starts(period)
    yield _since(period)


def _summed(by: Iterable[str], series: str) -> str:
    return f"sum by ({', '.join(by)}) ({series})"


def _counts(metric: Metric, by: tuple[str, ...], window: str, end_s: int) -> Question:
    """Counts as of the last moment at which every partition was counted.

    Added up within the subquery: series of a worker that has handed on its partitions end there, and would
    be counted twice if each were taken for as long ago as that.
    """
    partial = select(metrics.BLIND, cause="not_counted")
    seen = f"{_summed(by, select(metric.name, window=window))} unless on () {partial}"
    return Question(metric.name, f"last_over_time(({seen})[{BACK}:{STEP_S}s])", end_s)


def _build(period: Period) -> Question:
    known = f"count by (journey) ({metrics.BUILD.name}_info)"
    return Question(metrics.BUILD.name, f"last_over_time(({known})[{BACK}:{STEP_S}s])", period.end_s)


MINUTES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("alerts", ALERT, FIRINGS),
    ("stages", ("stage", "severity"), FIRINGS),
    ("blind", ("cause",), metrics.BLIND),
    ("judged", (), HEARTBEAT),
)
"""For how long there was any such series: name of the question, by which labels, what."""


def _minutes(period: Period, about: str, by: tuple[str, ...], series: str) -> Question:
    expr = f"max by ({', '.join(by)}) ({series})"
    return Question(about, f"count_over_time(({expr})[{period.days}d:{STEP_S}s])", period.end_s)


def _starts(period: Period) -> Question:
    """How often each alert began: it fires, and did not a step before."""
    by = ", ".join(ALERT)
    before = f"{FIRINGS} offset {STEP_S}s"
    began = f"max by ({by}) ({FIRINGS}) unless on ({by}) max by ({by}) ({before})"
    return Question("starts", f"count_over_time(({began})[{period.days}d:{STEP_S}s])", period.end_s)


def _since(period: Period) -> Question:
    first = f"min_over_time((min(timestamp({HEARTBEAT})))[{period.days}d:{STEP_S}s])"
    return Question("since", first, period.end_s)


# -- what its answers add up to --------------------------------------------------------------------------


class _Counts:
    """Sums over the period; None where there is no series at all."""

    def __init__(self, period: Period, answers: Answers) -> None:
        self._sums: dict[str, dict[tuple[str, ...], int]] = {}
        self.days = 0
        for metric, by in COUNTED.items():
            for window, days, end_s in period.spans():
                found = _read(answers, _counts(metric, by, window, end_s), by)
                if found and metric is metrics.WINDOW_EVENTS:
                    self.days += days
                for key, n in found.items():
                    of = self._sums.setdefault(metric.name, {})
                    of[key] = of.get(key, 0) + n

    def of(self, metric: Metric) -> dict[tuple[str, ...], int] | None:
        """Counts by the labels that `COUNTED` says, in its order."""
        return self._sums.get(metric.name)

    def shares(self, events: Metric, good: Metric) -> dict[tuple[str, ...], Share]:
        """Shares by those labels, of what had any events."""
        return _shares(self.of(events) or {}, self.of(good) or {})


def _shares(
    events: Mapping[tuple[str, ...], int], good: Mapping[tuple[str, ...], int]
) -> dict[tuple[str, ...], Share]:
    return {key: Share(good[key], n - good[key]) for key, n in events.items() if n and key in good}


def _read(answers: Answers, question: Question, by: tuple[str, ...]) -> dict[tuple[str, ...], int]:
    return {
        tuple(sample.labels.get(label, "") for label in by): round(sample.value)
        for sample in answers[question]
        if math.isfinite(sample.value)
    }


def digest(journey: Journey, period: Period, answers: Answers) -> Digest:
    """What the answers to `questions` say; KeyError for one that is missing."""
    counts = _Counts(period, answers)
    promises = _promises(counts)
    seen = _seen(journey, period, answers, counts.days)
    known = seen.judged_s is not None
    return Digest(
        journey=journey,
        period=period,
        outcome=_outcome(counts),
        answered=tuple(_answered(journey, counts)),
        stages=tuple(_stages(journey, period, answers, counts, is_alerting=known)),
        promises=promises,
        worst_partner=_worst_partner(promises or ()),
        handed_over=_handed_over(counts),
        astray=_astray(counts),
        weights=_weights(counts),
        gaps=_gaps(counts),
        worst_segment=_worst_segment(journey, counts),
        spreads=tuple(_spreads(journey, counts)),
        alerts=_alerts(period, answers) if known else None,
        seen=seen,
    )


def _judged(journey: Journey, counts: _Counts) -> list[Judged]:
    """Every experience that had events, over all segments."""
    found: dict[tuple[str, str], Share] = {}
    for (stage, experience, _), share in counts.shares(metrics.WINDOW_EVENTS, metrics.WINDOW_GOOD).items():
        before = found.get((stage, experience), Share(0, 0))
        found[stage, experience] = Share(before.good + share.good, before.bad + share.bad)
    return [
        Judged(stage, one, found[stage.name, one.name], one.target)
        for stage in journey.stages
        for one in stage.experiences
        if (stage.name, one.name) in found
    ]


def _stages(
    journey: Journey, period: Period, answers: Answers, counts: _Counts, *, is_alerting: bool
) -> Iterator[StageFound]:
    judged = _judged(journey, counts)
    days = [
        _shares(
            _read(answers, _counts(metrics.WINDOW_EVENTS, DAILY, "1d", end_s), DAILY),
            _read(answers, _counts(metrics.WINDOW_GOOD, DAILY, "1d", end_s), DAILY),
        )
        for end_s in period.day_ends()
    ]
    minutes = _read(answers, _minutes(period, *MINUTES[1]), MINUTES[1][1])
    heard = {stage for stage, *_ in counts.of(metrics.WINDOW_EVENTS) or ()}
    for stage in journey.stages:
        own = [one for one in judged if one.stage is stage]
        enough = [one for one in own if one.share.n >= MIN_SEGMENT_EVENTS]  # a few say little of any other
        weakest = min(enough or own, key=lambda one: one.attainment, default=None)
        key = (stage.name, weakest.experience.name if weakest else "")
        alerting = {severity: minutes.get((stage.name, severity), 0) for severity in ("page", "ticket")}
        yield StageFound(
            stage,
            stage.name in heard,
            weakest,
            tuple(day.get(key) for day in days),
            alerting if is_alerting else None,
        )


def _outcome(counts: _Counts) -> Outcome | None:
    results = counts.of(metrics.WINDOW_JOURNEYS)
    if results is None:
        return None
    scores = counts.of(metrics.WINDOW_SCORES) or {}
    weakest = {stage: n for (stage,), n in (counts.of(metrics.WINDOW_WEAKEST) or {}).items() if n}
    return Outcome(
        Share(results.get(("met",), 0), results.get(("missed",), 0)),
        results.get(("visit",), 0),
        sum(scores.values()),
        scores.get(("1",), 0),
        tuple(sorted(weakest.items(), key=lambda one: -one[1])),
    )


def _answered(journey: Journey, counts: _Counts) -> Iterator[Answered]:
    found = counts.of(metrics.WINDOW_ANSWERS) or {}
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
                yield Answered(stage, kind, n, None, 0.0, 0.0)
            elif kind == "nps" and (score := nps(best, *others)) is not None:
                yield Answered(stage, kind, n, score[0], score[0] - score[1], score[0] + score[1])
            else:
                lower, upper = float(wilson_lower(best, n)), 1 - float(wilson_lower(n - best, n))
                yield Answered(stage, kind, n, best / n, lower, upper)


def _promises(counts: _Counts) -> tuple[Promised, ...] | None:
    """By kind and partner, most first."""
    found = counts.of(metrics.WINDOW_PROMISES)
    if found is None:
        return None
    each = (
        Promised(kind, partner, *(found.get((kind, partner, result), 0) for result in PROMISED))
        for kind, partner in dict.fromkeys((kind, partner) for kind, partner, _ in found)
    )
    return tuple(sorted((one for one in each if one.due), key=lambda one: (-one.due, one.kind)))


def by_kind(promises: Sequence[Promised]) -> Iterator[Promised]:
    """The same over all partners."""
    for kind in dict.fromkeys(one.kind for one in promises):
        own = [one for one in promises if one.kind == kind]
        yield Promised(kind, None, *(sum(getattr(one, name) for one in own) for name in PROMISED))


def _worst_partner(promises: Sequence[Promised]) -> Promised | None:
    """Who kept the smallest share of one kind of promise, of those who broke any."""
    named = (one for one in promises if one.partner not in (None, NONE, OTHER))
    broke = [one for one in named if one.due >= MIN_SEGMENT_EVENTS and one.kept < one.due]
    return min(broke, key=lambda one: one.kept / one.due, default=None)


def _handed_over(counts: _Counts) -> tuple[HandedOver, ...] | None:
    found = counts.of(metrics.WINDOW_HANDOFFS)
    if found is None:
        return None
    edges = dict.fromkeys((sender, receiver) for sender, receiver, _ in found)
    each = (HandedOver(*edge, *(found.get((*edge, result), 0) for result in HANDED)) for edge in edges)
    return tuple(sorted((one for one in each if one.sent or one.lost), key=lambda one: -one.lost))


def _astray(counts: _Counts) -> Astray:
    journeys = counts.of(metrics.WINDOW_LABYRINTHS)
    lost = [(n, came, went) for (came, went), n in (counts.of(metrics.WINDOW_LOST) or {}).items() if n]
    most, came, went = max(lost, default=(0, "", ""))
    contacts, noticed = (counts.of(one) for one in (metrics.WINDOW_CONTACTS, metrics.WINDOW_NOTICED))
    return Astray(
        sum(journeys.values()) if journeys is not None else None,
        sum((counts.of(metrics.WINDOW_JOURNEYS) or {}).values()),
        (came, went, most) if lost else None,
        Share(contacts.get(("first",), 0), contacts.get(("repeat",), 0)) if contacts else None,
        Share(ours := noticed.get(("company",), 0), sum(noticed.values()) - ours) if noticed else None,
    )


def _weights(counts: _Counts) -> tuple[Weight, ...] | None:
    """Those that can be told, the greatest share first."""
    found = counts.of(metrics.WINDOW_CRITICAL)
    if found is None:
        return None
    weights = []
    for stage in dict.fromkeys(stage for stage, _ in found):
        one = Touchpoint(*(found.get((stage, cell), 0) for cell in CRITICAL))
        if one.is_enough and one.share is not None and one.phi is not None:
            weights.append(Weight(stage, one, one.lift, one.phi, one.share))
    return tuple(sorted(weights, key=lambda one: -one.share))


def _gaps(counts: _Counts) -> tuple[Gap, ...] | None:
    """Those that can be told, the widest first."""
    found = counts.of(metrics.WINDOW_GAP)
    if found is None:
        return None
    gaps = []
    for stage in dict.fromkeys(stage for stage, _ in found):
        fine, believed, feared, bad = (found.get((stage, cell), 0) for cell in GAP)
        n = fine + believed + feared + bad
        if n >= MIN_SEGMENT_EVENTS:
            gaps.append(Gap(stage, n, fine + believed, fine + feared, believed))
    return tuple(sorted(gaps, key=lambda one: -one.points))


def _worst_segment(journey: Journey, counts: _Counts) -> tuple[Judged, Judged] | None:
    """The segment furthest behind the best served one of the same experience, each against its own target."""
    found = counts.shares(metrics.WINDOW_EVENTS, metrics.WINDOW_GOOD)
    pairs = []
    for stage in journey.stages:
        for one in stage.experiences if stage.kind != "staff" else ():
            served = [
                Judged(stage, one, share, one.target_for(segment), segment)
                for segment in journey.segments
                if (share := found.get((stage.name, one.name, segment), Share(0, 0))).n >= MIN_SEGMENT_EVENTS
            ]
            if len(served) > 1:
                served.sort(key=lambda judged: judged.attainment)
                pairs.append((served[0], served[-1]))
    return max(pairs, key=lambda pair: pair[1].attainment - pair[0].attainment, default=None)


def _spreads(journey: Journey, counts: _Counts) -> Iterator[Spread]:
    """The widest spread between channels, and between locations."""
    found = counts.shares(metrics.WINDOW_SPREAD_EVENTS, metrics.WINDOW_SPREAD_GOOD)
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
                    named.sort(key=lambda pair: pair[1].good / pair[1].n)
                    spreads.append(Spread(stage, one, by, named[-1], named[0]))
        if spreads:
            yield max(spreads, key=lambda one: one.points)


def _alerts(period: Period, answers: Answers) -> tuple[Fired, ...]:
    """Pages before tickets, the longest first."""
    times = _read(answers, _starts(period), ALERT)
    minutes = _read(answers, _minutes(period, *MINUTES[0]), ALERT)
    each = (
        Fired(name, severity, stage, experience, times.get((name, severity, stage, experience), 0), n)
        for (name, severity, stage, experience), n in minutes.items()
    )
    return tuple(sorted(each, key=lambda one: (one.severity, -one.minutes, one.name, one.stage)))


def _seen(journey: Journey, period: Period, answers: Answers, days: int) -> Seen:
    ends = period.day_ends()
    pictured = sum(bool(answers[_counts(metrics.WINDOW_EVENTS, DAILY, "1d", end_s)]) for end_s in ends)
    first = next((round(sample.value) for sample in answers[_since(period)]), None)
    judged = _read(answers, _minutes(period, *MINUTES[3]), ()).get((), 0)
    unjudged = 0 if first is None else max((period.end_s - first) // STEP_S + 1 - judged, 0)
    blind = {cause: n for (cause,), n in _read(answers, _minutes(period, *MINUTES[2]), ("cause",)).items()}
    names = [name for (name,) in _read(answers, _build(period), ("journey",))]
    others = () if journey.name in names else tuple(sorted(names))
    return Seen(days, pictured, first, unjudged, blind, others)
