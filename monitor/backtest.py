"""The rules on stages over history: which alerts would have fired, when, and what each would have said.

Rules are asked at the end of every 10 s slice, of windows as `windows` sums them, with the suppressions that
`promql` and `alerts` write out: what Prometheus would show that scrapes and evaluates at these moments, with
a worker that started at the first event. MonitorBlind and DeadLettersRising are about the machinery, of which
history tells nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from monitor.alerts import Name, alerts
from monitor.backtest_span import HOLD, MINUTE, Mask, StageSpan, end_ms
from monitor.history import History, StageHistory
from monitor.journey import ALL, Journey
from monitor.panes import SHORT
from monitor.rules import Quality, Severity, qualities, silence_severity, upstream

NOT_JUDGED: tuple[Name, ...] = ("MonitorBlind", "DeadLettersRising")

CHUNK = 31 * 86_400_000 // SHORT.ms
"""Moments judged at once: a month, in which a stage with 24 counters takes 60 MB."""


class Key(NamedTuple):
    """What an alert is about. The silence of a stage has no experience and no segment."""

    name: Name
    severity: Severity
    stage: str
    experience: str = ""
    segment: str = ""


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

    def as_json(self) -> dict[str, Any]:
        """Plain data; None where there is nothing to say, or an alert that was not over at the end."""
        alert, *about = self.key
        facts = ("window", "n", "bad", "expected", "reason", "hits", "summary")
        return {
            "noticed": _time(self.noticed_ms),
            "resolved": None if self.resolved_ms is None else _time(self.resolved_ms),
            "alert": alert,
            **{name: label or None for name, label in zip(Key._fields[1:], about, strict=True)},
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
        return {
            "events": self.events,
            "pages": self.pages,
            "tickets": self.tickets,
            "page_minutes": round(self.page_minutes, 1),
            "ticket_minutes": round(self.ticket_minutes, 1),
        }


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the rules say of a history from `from_ms` to `to_ms`."""

    from_ms: int
    to_ms: int
    fired: tuple[Fired, ...]
    totals: Mapping[str, Totals]
    unheard: tuple[str, ...]
    """Stages without any event in the history: they are not called silent, but left out."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "from": _time(self.from_ms),
            "to": _time(self.to_ms),
            "alerts": [one.as_json() for one in self.fired],
            "stages": {name: total.as_json() for name, total in self.totals.items()},
            "stages_without_events": list(self.unheard),
            "rules_not_judged": list(NOT_JUDGED),
        }


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


def backtest(journey: Journey, history: History) -> Backtest:
    """Judge the whole history."""
    heard, rules = history.heard(), tuple(qualities(journey))
    first, last = history.span()
    end = last + 1
    tell = _Teller(journey)
    fired: list[Fired] = []
    latest: dict[Key, int] = {}
    totals = {name: Totals() for name in heard}
    for start in range(first, end, CHUNK):
        stop = min(start + CHUNK, end)
        spans = spans_of(journey, rules, heard, start, stop)
        alerting = dict(alerts_of(journey, spans))
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
    unheard = tuple(stage.name for stage in journey.stages if stage.name not in heard)
    return Backtest(end_ms(first - 1), end_ms(end - 1), tuple(fired), totals, unheard)


def spans_of(
    journey: Journey, rules: Sequence[Quality], heard: Mapping[str, StageHistory], start: int, end: int
) -> dict[str, StageSpan]:
    """Every stage that has events, from slice `start` up to `end`."""
    return {
        name: StageSpan(journey, journey.stage(name), rules, held, start, end) for name, held in heard.items()
    }


def alerts_of(journey: Journey, spans: Mapping[str, StageSpan]) -> Iterator[tuple[Key, Mask]]:
    """Every alert, and whether it fires at the end of each slice of the spans."""
    troubles = {
        name: span.trouble() for name, span in spans.items() if silence_severity(span.stage) == "page"
    }
    for name, span in spans.items():
        explained = np.zeros_like(span.silent)
        for before in upstream(journey, span.stage):
            explained = explained | troubles.get(before, False)
        yield Key("StageSilent", silence_severity(span.stage), name), span.silent & ~explained
        explained = explained | span.silent
        for (experience, severity, segment), crossed in span.crossed.items():
            excused = explained
            if segment != ALL:
                excused = excused | span.crossed[experience, severity, ALL]
            if severity == "ticket":
                for paging in (ALL, segment):
                    excused = excused | span.crossed.get((experience, "page", paging), False)
            yield Key("StageDegraded", severity, name, experience, segment), crossed & ~excused


def _minutes(alerting: Mapping[Key, Mask], stage: str, severity: Severity) -> float:
    masks = [mask for key, mask in alerting.items() if (key.stage, key.severity) == (stage, severity)]
    return float(np.logical_or.reduce(masks).sum()) / MINUTE if masks else 0.0


class _Teller:
    """Fills the texts of `alerts` with the facts of a moment."""

    def __init__(self, journey: Journey) -> None:
        self._summaries = {
            (alert.name, *(alert.labels.get(name, "") for name in ("severity", "stage", "experience"))): (
                alert.annotations["summary"]
            )
            for alert in alerts(journey)
        }
        self._limits = {
            (quality.severity, quality.stage.name, quality.experience.name, segment): quality
            for quality in qualities(journey)
            for segment in quality.segments
        }

    def __call__(self, key: Key, span: StageSpan, at: int) -> Fired:
        """The alert that begins at the end of slice `at`."""
        summary = self._summaries[key[:4]]
        noticed_ms = end_ms(at)
        if not key.experience:
            missed, window = span.quiet(at)
            text = summary.format(window=window, expected=f"{missed:.0f}")
            return Fired(key, noticed_ms, None, window, 0, 0, round(missed, 1), None, None, text)
        quality = self._limits[key[1:]]
        window = _worst_window(quality, key, span, at)
        share = span.share(key.experience, key.segment, window, at)
        n, bad = share.n, share.bad
        text = summary.format(
            segment=key.segment,
            window=window,
            n=n,
            bad=bad,
            share=_percent(bad / n) if n else "NaN%",
            allowed=_percent(1 - float(quality.target)),
        )
        reason = span.top_reason(window, at)
        hits = span.hit_most(key.experience, window, at)
        return Fired(key, noticed_ms, None, window, n, bad, None, reason, hits, text)


def _worst_window(quality: Quality, key: Key, span: StageSpan, at: int) -> str:
    """Of the windows whose limit is crossed, or else was lately, the one with the highest bad ratio."""
    lately = {window for limit in quality.limits for window in limit.windows}
    ratios: dict[str, float] = {}
    for moment in range(at, at - HOLD, -1):
        shares = {window: span.share(key.experience, key.segment, window, moment) for window in lately}
        for limit in quality.limits:
            if limit.crossed(shares):
                share = shares[limit.window]
                ratios[limit.window] = max(ratios.get(limit.window, 0.0), share.bad / share.n)
        if moment == at and ratios:
            break
    return max(sorted(ratios), key=lambda window: ratios[window])


def _percent(share: float) -> str:
    """As Prometheus' humanizePercentage writes it."""
    return f"{share * 100:.4g}%"
