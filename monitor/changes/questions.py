"""What Prometheus is asked about a change, and its counts added up over equal spans before and after.

A span is whole minutes, covered by as few windows as it takes, each read a second before it ends. A window
holds what lies before it was scraped, so none reaches beyond its end. One that was scraped up to a minute
before that still begins after the change (`SETTLE_S`), to the second. What came later than it was read is in
neither span.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from monitor.changes.effect import Compared, Spans
from monitor.counting import metrics
from monitor.counting.event import AHEAD_MS
from monitor.counting.measures import Share
from monitor.counting.metrics import Metric
from monitor.counting.panes import SHORT
from monitor.counting.windows import WINDOWS
from monitor.journey_file.model import ALL, Journey, Stage
from monitor.live.change import KEPT_MS
from monitor.report.digest import DAY_S
from monitor.report.questions import Answers, Question, Sample
from monitor.rules.promql import UNJUDGED
from monitor.rules.series import select

MINUTE_S = 60

DAYS = 7
"""Days before, which say how much segments move apart by themselves: each weekday once."""

MOST_MINUTES = 1440
"""A day: beyond it other changes, and other days of the week, tell more than the change."""

SETTLE_S = 60
"""Between the change and the span after it: as far as scrapes may lie apart, and a deploy takes its time."""

TILES = [(one.label, one.ms // 1000) for one in reversed(WINDOWS) if one.grain is SHORT and one.ms >= 60_000]
"""Windows of panes of 10 s, the widest first: those of 5 min panes begin at whole five minutes only."""

MOST_COUNTED = 10**15
"""No window holds as many; beyond it floats are not exact."""


class Published(NamedTuple):
    """A change that workers showed in the last seven days."""

    stage: str
    kind: str
    title: str
    at_s: float


CHANGES = "changes"


def changes_question(now_s: int) -> Question:
    """Every change of the last seven days; of those with the same words the latest."""
    of_week = f"{metrics.LAST_CHANGE.name}[{KEPT_MS // 1000}s]"
    return Question(CHANGES, f"max by (stage, kind, title) (max_over_time({of_week}))", now_s)


def changes(answers: Answers, now_s: int) -> list[Published]:
    """What is known of them, the latest first; a time that no change can have is passed over."""
    found = [
        Published(labels.get("stage", ""), labels.get("kind", ""), labels.get("title", ""), value)
        for question, samples in answers.items()
        if question.about == CHANGES
        for labels, value in samples
        if now_s - KEPT_MS // 1000 <= value <= now_s + AHEAD_MS // 1000
    ]
    return sorted(found, key=lambda one: one.at_s, reverse=True)


class Span(NamedTuple):
    """A time, in Unix seconds, without its end."""

    from_s: int
    to_s: int

    @property
    def minutes(self) -> int:
        """How long it is."""
        return (self.to_s - self.from_s) // MINUTE_S

    def tiles(self) -> Iterator[tuple[str, int, int]]:
        """The windows that cover it, the earliest first: label, seconds, end."""
        end_s = self.from_s
        for label, seconds in TILES:
            while end_s + seconds <= self.to_s:
                end_s += seconds
                yield label, seconds, end_s


class Around(NamedTuple):
    """Equal spans before and after a change."""

    before: Span
    after: Span

    def ago(self, days: int) -> "Around":
        """The same spans so many days before."""
        return Around(*(Span(*(at_s - days * DAY_S for at_s in span)) for span in self))


def around(at_s: float, now_s: int, most_minutes: int = MOST_MINUTES) -> Around | None:
    """The spans up to now, at most so long; None while less than a minute is over."""
    minute_s = int(at_s) // MINUTE_S * MINUTE_S
    from_s = minute_s + MINUTE_S + SETTLE_S
    seconds = min((now_s - from_s) // MINUTE_S, most_minutes) * MINUTE_S
    if seconds <= 0:
        return None
    return Around(Span(minute_s - seconds, minute_s), Span(from_s, from_s + seconds))


COUNTED = (metrics.WINDOW_EVENTS, metrics.WINDOW_GOOD)
CELL = ("stage", "experience", "segment")


def questions(spans: Around, stages: Iterable[Stage]) -> list[Question]:
    """All that has to be asked of these stages."""
    names = tuple(stage.name for stage in stages)
    return [
        _counts(metric, names, label, end_s)
        for span in spans
        for label, _, end_s in span.tiles()
        for metric in COUNTED
    ]


def _counts(metric: Metric, stages: tuple[str, ...], window: str, end_s: int) -> Question:
    """Counts of a window at its end, unless they were scraped long before, or a part was not counted then."""
    series = select(metric.name, stage=stages, window=window)
    fresh = f"{series} and timestamp({series}) > {end_s - 1 - SETTLE_S}"
    blind = select(metrics.BLIND, cause=UNJUDGED, stage=(ALL, *stages))
    return Question(metric.name, f"sum by ({', '.join(CELL)}) ({fresh}) unless on () {blind}", end_s - 1)


Cell = tuple[str, str, str]
"""Stage, experience and segment."""

Cells = Mapping[Cell, Share]


class Known(NamedTuple):
    """What is known of a span: counts, and of how many minutes."""

    cells: Cells
    minutes: int


def known(span: Span, stages: Sequence[Stage], answers: Answers) -> Known:
    """The counts of a span. ValueError for what can be no count."""
    names = tuple(stage.name for stage in stages)
    cells: dict[Cell, Share] = {}
    seconds_known = 0
    for label, seconds, end_s in span.tiles():
        events, good = (_read(answers[_counts(metric, names, label, end_s)]) for metric in COUNTED)
        for cell, n in events.items():
            at_most = min(good.get(cell, 0), n)
            cells[cell] = _sum([cells.get(cell, Share(0, 0)), Share(at_most, n - at_most)])
        seconds_known += seconds if events else 0
    return Known(cells, seconds_known // MINUTE_S)


def _read(samples: Iterable[Sample]) -> dict[Cell, int]:
    return {
        (labels.get("stage", ""), labels.get("experience", ""), labels.get("segment", "")): _count(value)
        for labels, value in samples
    }


def _count(value: float) -> int:
    if not math.isfinite(value) or not 0 <= value <= MOST_COUNTED:
        raise ValueError(f"{value:g} is no count of events")
    return round(value)


def _sum(shares: Iterable[Share]) -> Share:
    some = list(shares)
    return Share(sum(one.good for one in some), sum(one.bad for one in some))


def compared(
    journey: Journey, stages: Iterable[Stage], touched: Sequence[str], before: Known, after: Known
) -> list[Compared]:
    """Every experience of the stages, the touched segments against all others, if there are others."""
    untouched = [segment for segment in journey.segment_labels if segment not in touched]

    def spans(stage: str, experience: str, segments: Sequence[str]) -> Spans:
        def share(cells: Cells) -> Share:
            return _sum(cells.get((stage, experience, segment), Share(0, 0)) for segment in segments)

        return Spans(share(before.cells), share(after.cells))

    return [
        Compared(
            stage.name, one.name, one.target,
            spans(stage.name, one.name, touched),
            spans(stage.name, one.name, untouched) if untouched else None,
        )
        for stage in stages
        for one in stage.experiences
    ]  # fmt: skip
