"""The rules on stages over history: which alerts would have fired, when, and what each would have said.

Rules are asked at the end of every 10 s slice, of windows as `windows` sums them, with the suppressions that
`promql` and `alerts` write out: what Prometheus would show that scrapes and evaluates at these moments, with
a worker that started at the first event. MonitorBlind and its like are about the machinery, of which history
tells nothing; CriticalTouchpoint asks nothing of anybody.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from monitor.backtest.history import History, StageHistory
from monitor.backtest.masks import Mask, held_on, latched
from monitor.backtest.timeline import (
    AGAIN,
    BEFORE,
    HOLD,
    MINUTE,
    Slices,
    StageSpan,
    end_ms,
    reach,
)
from monitor.counting.panes import SHORT
from monitor.counting.times import rfc3339
from monitor.journey_file.model import ALL, WHOLE
from monitor.journeys.counters import lived_stages
from monitor.rules.alerts import UNHEARD, alerts
from monitor.rules.facts import Chosen, Name
from monitor.rules.journeys import BETWEEN, GOAL, OWN_LABELS
from monitor.rules.plan import SETTLED, Plan, Severity, severities, silence_severity

NOT_JUDGED: tuple[Name, ...] = (
    "MonitorBlind",
    "JourneysFull",
    "StepsSkipped",
    "DeadLettersRising",
    "CriticalTouchpoint",
)

SEGMENT = ("segment",)

ALERT_LABELS = ("severity", "stage", "experience", "partner")
"""What tells alerts of one name apart: with the name, a `Key` whose group is the silent partner."""

CHUNK = 31 * 86_400_000 // SHORT.ms
"""Moments judged at once: a month, in which a stage with 24 counters takes 60 MB."""


class Key(NamedTuple):
    """What an alert is about. The silence of a stage has no experience and no group; the page of a degraded
    one has them once it has begun, and a ticket its group: those that were worst then. The group is the
    segment, or the partner; of some alerts on whole journeys the change of channel, the stage."""

    name: Name
    severity: Severity
    stage: str
    experience: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert from when it was noticed until it was resolved, with the facts of the first moment."""

    key: Key
    noticed_ms: int
    resolved_ms: int | None
    window: str
    n: int
    bad: int
    expected: float | None
    reason: str | None
    hits: str | None
    summary: str
    whose: Mapping[str, str] = field(default_factory=dict)
    """The group by its labels, as the alert has them."""

    def as_json(self) -> dict[str, Any]:
        """Plain data; None where there is nothing to say, or an alert that was not over at the end."""
        facts = ("window", "n", "bad", "expected", "reason", "hits", "summary")
        return {
            "noticed": rfc3339(self.noticed_ms),
            "resolved": None if self.resolved_ms is None else rfc3339(self.resolved_ms),
            "alert": self.key.name,
            "severity": self.key.severity,
            "stage": self.key.stage,
            "experience": self.key.experience or None,
            **{label: self.whose.get(label) for label in ("segment", *OWN_LABELS)},
            **{name: getattr(self, name) for name in facts},
        }


@dataclass(slots=True)
class Totals:
    """What one stage would have asked of people."""

    events: int = 0
    pages: int = 0
    tickets: int = 0
    page_minutes: float = 0.0
    ticket_minutes: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        minutes = {"page_minutes": self.page_minutes, "ticket_minutes": self.ticket_minutes}
        return asdict(self) | {name: round(n, 1) for name, n in minutes.items()}


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the rules say of a history from `from_ms` to `to_ms`."""

    from_ms: int
    to_ms: int
    fired: tuple[Fired, ...]
    totals: Mapping[str, Totals]
    unheard: tuple[str, ...]
    """Stages without any event in the history: they are not called silent, but left out."""
    unsettled: tuple[Name, ...] = ()
    """Rules that nothing was held to, because the history is too short for them."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "from": rfc3339(self.from_ms),
            "to": rfc3339(self.to_ms),
            "alerts": [one.as_json() for one in self.fired],
            "stages": {name: total.as_json() for name, total in self.totals.items()},
            "stages_without_events": list(self.unheard),
            "rules_not_judged": [*NOT_JUDGED, *self.unsettled],
        }


def backtest(plan: Plan, history: History) -> Backtest:
    """Judge the whole history."""
    heard = history.heard()
    first, last = history.span()
    end = last + 1
    tell = Teller(plan)
    fired: list[Fired] = []
    latest: dict[Key, int] = {}
    totals = {name: Totals() for name in heard}
    going: Going = {}
    for start in range(first, end, CHUNK):
        stop = min(start + CHUNK, end)
        spans = spans_of(plan, heard, start, stop, since=first)
        alerting = dict(alerts_of(plan, spans, going))
        for key, mask in alerting.items():
            was = key in latest and fired[latest[key]].resolved_ms is None
            for at in np.flatnonzero(np.diff(np.concatenate(([was], mask)).astype(np.int8))).tolist():
                if key in latest and fired[latest[key]].resolved_ms is None:
                    fired[latest[key]] = replace(fired[latest[key]], resolved_ms=end_ms(start + at))
                else:
                    latest[key] = len(fired)
                    fired.append(tell(key, spans[key.stage], start + at))
        for name, total in totals.items():
            total.events += heard[name].events_between(start, stop)
            total.page_minutes += _minutes(alerting, name, "page")
            total.ticket_minutes += _minutes(alerting, name, "ticket")
    for one in fired:
        totals[one.key.stage].pages += one.key.severity == "page"
        totals[one.key.stage].tickets += one.key.severity == "ticket"
    fired.sort(key=lambda one: (one.noticed_ms, one.key))
    unheard = tuple(stage.name for stage in plan.stages if stage.name not in heard)
    unsettled = _unsettled(heard.get(WHOLE), first, last)
    return Backtest(end_ms(first - 1), end_ms(last), tuple(fired), totals, unheard, unsettled)


def _unsettled(whole: StageHistory | None, first: int, last: int) -> tuple[Name, ...]:
    """What judges whole journeys only once some were over before the shorter window of `SETTLED`."""
    since, _ = reach(SETTLED[1], last)
    if whole is None or (since > first and whole.events_between(first, since)):
        return ()
    return ("JourneyDegraded",)


def spans_of(
    plan: Plan, heard: Mapping[str, StageHistory], start: int, end: int, *, since: int
) -> dict[str, StageSpan]:
    """Stages that have events, from slice `start` up to `end`, seen by a monitor that began at `since`."""
    slices = Slices(start, end, since)
    stages = {stage.name: stage for stage in plan.stages}
    spans: dict[str, StageSpan] = {}
    whole = heard.get(WHOLE)
    if whole is not None:
        spans[WHOLE] = StageSpan(plan, stages[WHOLE], whole, slices)
    weighing = {stage.name for stage in lived_stages(plan.journey)} if whole is not None else ()
    for name, held in heard.items():
        if name != WHOLE:
            weighs = spans[WHOLE].critical(name) if name in weighing else None
            spans[name] = StageSpan(plan, stages[name], held, slices, weighs)
    return spans


Going = dict[tuple[str, str, Severity, str], Mask]
"""By stage, experience or the name of a silence, severity and group whether what was a reason to alert was
not over yet, in the last `BEFORE` slices that were judged."""


def alerts_of(plan: Plan, spans: Mapping[str, StageSpan], going: Going) -> Iterator[tuple[Key, Mask]]:
    """Every alert, and whether it fires at the end of each slice of the spans; brings `going` up to it."""
    troubles = {
        name: span.trouble() for name, span in spans.items() if silence_severity(span.stage) == "page"
    }
    of_whole: dict[str, Name] = {one.experience.name: one.alert for one in plan.watched}
    for name, span in spans.items():
        names = of_whole if name == WHOLE else {}
        if name != WHOLE:
            loud = silence_severity(span.stage)
            explained = _any_of(troubles, plan.upstream[name], span)
            key = Key("StageSilent", loud, name)
            yield key, _silence(key, span, span.silent & ~explained, explained, going)[BEFORE:]
            for partner, begins in span.partners_silent().items():
                key = Key("PartnerSilent", "ticket", name, group=partner)
                yield key, _silence(key, span, begins, np.zeros_like(begins), going)[BEFORE:]
        paging = np.zeros_like(span.silent)
        for severity in severities(span.stage):
            explained = span.silent | _any_of(troubles, plan.explaining(span.stage, severity), span)
            if severity == "page":
                paging = _paging(span, ~explained, going)
                yield Key(names.get(GOAL, "StageDegraded"), "page", name), paging[BEFORE:]
                continue
            for one in span.stage.experiences:
                waits = name != WHOLE or one.name == GOAL  # a ticket waits for the page
                told = ~explained & ~paging if waits else ~explained
                alert = names.get(one.name, "StageDegraded")
                ticket = _going(span, "ticket", told, going, one.name)
                yield Key(alert, "ticket", name, one.name), ticket[BEFORE:]


def _silence(key: Key, span: StageSpan, begins: Mask, explained: Mask, going: Going) -> Mask:
    """Whether a silence has begun and is not over: while next to nothing comes for no reason of another, and
    for as long as it is held, but never while the stage is closed."""
    about = key.stage, key.name, key.severity, key.group
    mask, before = begins, going.get(about, np.zeros(0, dtype=bool))
    if begins.any() or before.any():
        still = held_on(span.still_silent(key.group) & ~explained, HOLD[key.severity])
        mask = latched(begins, ~still | ~span.is_open, before)
    going[about] = mask[-BEFORE:]
    return mask


def _paging(span: StageSpan, unexplained: Mask, going: Going) -> Mask:
    """Whether the stage pages. After each end, as long as nothing new pages, only an outage begins one."""
    known, crossed, start = dict(going), span.pages(), 0
    while True:
        found = _going(span, "page", unexplained, brought := dict(known))
        ends = start + 1 + np.flatnonzero(found[start:-1] & ~found[start + 1 :])
        end = next((end for end in ends.tolist() if crossed[end : end + AGAIN].any()), None)
        if end is None:
            going.update(brought)
            return found
        span.begins[end : end + AGAIN] = False
        anew = np.flatnonzero(_going(span, "page", unexplained, dict(known))[end : end + AGAIN])
        start = end + (int(anew[0]) if len(anew) else AGAIN)
        span.begins[start + 1 : end + AGAIN] = True


def _going(
    span: StageSpan, severity: Severity, unexplained: Mask, going: Going, experience: str | None = None
) -> Mask:
    """Whether anything of this severity, of one or any experience, was a reason to alert and is not over.

    When everybody's page is over, so is that of a segment that is not bad itself.
    """
    found, none = np.zeros_like(span.silent), np.zeros_like(span.silent)
    ended: dict[str, Mask] = {}
    for one, loud, group in span.crossed:
        if loud != severity or experience not in (None, one):
            continue
        about = span.stage.name, one, severity, group
        reason = held_on(span.reason((one, loud, group)) & unexplained, HOLD[severity])
        stopped = span.stopped(one, group)
        over = span.over[one, loud, group] | stopped
        if group != ALL:
            over = over | (ended.get(one, none) & ~span.bad.get((one, loud, group), none))
        mask = latched(reason & ~stopped, over, going.get(about, none[:0]))
        if (severity, group) == ("page", ALL):
            ended[one] = held_on(mask, HOLD[severity]) & ~mask
        going[about] = mask[-BEFORE:]
        found = found | mask
    return found


def _any_of(troubles: Mapping[str, Mask], stages: Iterable[str], span: StageSpan) -> Mask:
    """Whether any of these stages is in trouble."""
    found = np.zeros_like(span.silent)
    for stage in stages:
        found |= troubles.get(stage, False)
    return found


def worst(key: Key, span: StageSpan, at: int) -> tuple[Key, str]:
    """What an alert on a degraded stage that begins at the end of slice `at` names, and in which window it is
    worst: everybody before the segments, of equals the experience that the journey file names first."""
    ratios: dict[tuple[str, str], tuple[float, str]] = {}
    for experience, severity, segment in span.crossed:
        if severity != key.severity or key.experience not in ("", experience):
            continue
        for window in span.reasons_at((experience, severity, segment), at):
            share = span.share(experience, segment, window, at)
            found = share.bad / share.n, window
            ratios[experience, segment] = max(
                ratios.get((experience, segment), found), found, key=lambda one: one[0]
            )
    named = [one for one in ratios if one[1] == ALL]
    named += [one for one in ratios if (one[0], ALL) not in ratios]
    experience, segment = max(named, key=lambda one: ratios[one][0])
    return key._replace(experience=experience, group=segment), ratios[experience, segment][1]


def _minutes(alerting: Mapping[Key, Mask], stage: str, severity: Severity) -> float:
    masks = [mask for key, mask in alerting.items() if (key.stage, key.severity) == (stage, severity)]
    return float(np.logical_or.reduce(masks).sum()) / MINUTE if masks else 0.0


class Teller:
    """Fills the texts of `alerts` with the facts of a moment."""

    def __init__(self, plan: Plan) -> None:
        self._labels = {one.experience.name: one.labels for one in plan.watched}
        self._alerts = {
            (alert.name, *(alert.labels.get(name, "") for name in ALERT_LABELS)): alert
            for alert in alerts(plan)
        }

    def __call__(self, key: Key, span: StageSpan, at: int) -> Fired:
        """The alert that begins at the end of slice `at`."""
        alert, noticed_ms = self._alerts[key], end_ms(at)
        summary = alert.annotations["summary"]
        if key.name in ("StageSilent", "PartnerSilent"):
            missed, window = span.quiet(at, key.group)
            last_s = span.since_last_s(at)
            last = UNHEARD if last_s is None else _duration(last_s)
            text = summary.format(window=window, expected=f"{missed:.0f}", last=last)
            whose = {"partner": key.group} if key.group else {}
            return Fired(key, noticed_ms, None, window, 0, 0, round(missed, 1), None, None, text, whose)
        key, window = worst(key, span, at)
        share = span.share(key.experience, key.group, window, at)
        n, bad = share.n, share.bad
        names = self._labels.get(key.experience, SEGMENT) if key.stage == WHOLE else SEGMENT
        whose = dict(zip(names, key.group.split(BETWEEN), strict=True))
        labels = {"experience": key.experience, **whose}
        chosen = {
            name: fact.of(labels) for name, fact in alert.facts(key.stage).items() if isinstance(fact, Chosen)
        }
        text = summary.format(window=window, n=n, bad=bad, share=_percent(bad / n), **whose, **chosen)
        names_a_reason = any("{reason}" in text for text in alert.annotations.values())
        reason = span.top_reason(window, at) if names_a_reason else None
        hits = span.hit_most(key.experience, window, at) if key.group == ALL else whose.get("segment")
        return Fired(key, noticed_ms, None, window, n, bad, None, reason, hits, text, whose)


def _duration(seconds: int) -> str:
    """As Prometheus' humanizeDuration writes it."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    parts = (
        f"{days}d" if days else "",
        f"{hours % 24}h" if hours else "",
        f"{minutes % 60}m" if minutes else "",
    )
    return " ".join([*filter(None, parts), f"{seconds % 60}s"])


def _percent(share: float) -> str:
    """As Prometheus' humanizePercentage writes it."""
    return f"{share * 100:.4g}%"
