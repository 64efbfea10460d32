"""What Prometheus is asked for the digest, and its counts added up over the period.

The period ends now and is whole times 24 hours long, for that is what windows hold: of calendar days, one
in spring has an hour less. Its counts are read from as few windows as it takes: a window of 7 days now, one
of 7 days a week ago and so on, and of single days what is left. A wide window also holds what came late or
was replayed into days that are over, and what Prometheus missed while it was down; seven narrow ones, each
read at the end of its day, hold neither. Pictures have no choice: they are of single days.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from monitor.counting import metrics
from monitor.counting.measures import Share
from monitor.counting.metrics import ALERTS, Metric
from monitor.report.digest import Period
from monitor.rules.series import select

BACK = "1h"
"""While a worker starts, its counts are withheld, and while partitions move some are missing. Then the last
moment within this time counts at which all was seen: at worst an hour of a day is not told."""

STEP_S = 60
"""How finely alerts are looked at. A page goes on for five minutes at least (`plan.HOLD_S`)."""

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
    metrics.WINDOW_FIXABLE: ("fix", "also"),
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

Labels = tuple[str, ...]
"""Values of labels, or their names."""


def questions(period: Period) -> Iterator[Question]:
    """Everything that the digest asks."""
    for metric, by in COUNTED.items():
        for window, _, end_s in period.spans():
            yield _counts(metric, by, window, end_s)
    for end_s in period.day_ends():
        for metric in (metrics.WINDOW_EVENTS, metrics.WINDOW_GOOD):
            yield _counts(metric, DAILY, "1d", end_s)
    yield _build(period)
    yield from (_minutes(period, about) for about in MINUTES)
    yield _starts(period)
    yield _since(period)


def _summed(by: Iterable[str], series: str) -> str:
    return f"sum by ({', '.join(by)}) ({series})"


def _counts(metric: Metric, by: Labels, window: str, end_s: int) -> Question:
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


MINUTES: dict[str, tuple[Labels, str]] = {
    "alerts": (ALERT, FIRINGS),
    "stages": (("stage", "severity"), FIRINGS),
    "blind": (("cause",), metrics.BLIND),
    "judged": ((), HEARTBEAT),
}
"""For how long there was any such series: by which labels, what."""


def _minutes(period: Period, about: str) -> Question:
    by, series = MINUTES[about]
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


class Told:
    """The answers as whole numbers by label; KeyError for one that is missing."""

    def __init__(self, period: Period, answers: Answers) -> None:
        self.period = period
        self._answers = answers
        self._sums: dict[str, dict[Labels, int]] = {}
        self.days = 0
        """Days whose counts are known."""
        for metric, by in COUNTED.items():
            for window, days, end_s in period.spans():
                found = self._read(_counts(metric, by, window, end_s), by)
                if found and metric is metrics.WINDOW_EVENTS:
                    self.days += days
                for key, n in found.items():
                    of = self._sums.setdefault(metric.name, {})
                    of[key] = of.get(key, 0) + n

    def of(self, metric: Metric) -> dict[Labels, int] | None:
        """Sums over the period by the labels that `COUNTED` says; None where there is no series at all."""
        return self._sums.get(metric.name)

    def shares(self, events: Metric, good: Metric) -> dict[Labels, Share]:
        """Shares over the period by those labels, of what had any events."""
        return _shares(self.of(events) or {}, self.of(good) or {})

    def daily(self) -> list[dict[Labels, Share] | None]:
        """Shares of each day by `DAILY`, the oldest first; None for a day without any series."""
        found = []
        for end_s in self.period.day_ends():
            events = self._read(_counts(metrics.WINDOW_EVENTS, DAILY, "1d", end_s), DAILY)
            good = self._read(_counts(metrics.WINDOW_GOOD, DAILY, "1d", end_s), DAILY)
            found.append(_shares(events, good) if events else None)
        return found

    def minutes(self, about: str) -> dict[Labels, int]:
        """How long, by the labels that `MINUTES` says."""
        return self._read(_minutes(self.period, about), MINUTES[about][0])

    def starts(self) -> dict[Labels, int]:
        """How often each alert began, by `ALERT`."""
        return self._read(_starts(self.period), ALERT)

    def judged_s(self) -> int | None:
        """When rules were first evaluated, in Unix time; None when they never were."""
        return self._read(_since(self.period), ()).get(())

    def journeys(self) -> list[str]:
        """Names of the journeys that are measured there."""
        return [name for (name,) in self._read(_build(self.period), ("journey",))]

    def _read(self, question: Question, by: Labels) -> dict[Labels, int]:
        return {
            tuple(sample.labels.get(label, "") for label in by): round(sample.value)
            for sample in self._answers[question]
            if math.isfinite(sample.value)
        }


def _shares(events: Mapping[Labels, int], good: Mapping[Labels, int]) -> dict[Labels, Share]:
    return {key: Share(good[key], n - good[key]) for key, n in events.items() if n and key in good}
