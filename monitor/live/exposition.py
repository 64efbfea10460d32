"""A snapshot as Prometheus text or OpenMetrics. Nothing is kept between scrapes, so nothing goes stale."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from operator import itemgetter
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from monitor.counting import metrics
from monitor.counting.event import Reason
from monitor.counting.judging import (
    BUCKETS,
    answer_cells,
    asked_channels,
    bucket_names,
    counter_name,
    reason_labels,
    spread_cells,
    touchpoint_labels,
)
from monitor.counting.metrics import Metric
from monitor.counting.windows import WINDOW_LABELS, WINDOWS
from monitor.journey_file.hours import expected, is_open
from monitor.journey_file.model import ALL, QUEUED, Journey, Stage
from monitor.journeys.counters import JOURNEY_FAMILIES
from monitor.live.journeys import JourneysSnapshot, PartitionLag
from monitor.live.snapshot import Snapshot, StageSnapshot
from monitor.rules.plan import SILENT_WINDOWS


def render(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """What `streams.web.server` answers at /metrics: as the `Accept` header asks, with its content type."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder("")
    return encode(_Collected(snapshot)), content_type


class _Collected(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        snapshot, journey = self._snapshot, self._snapshot.journey
        if snapshot.ready:
            yield from _windows(journey, snapshot.stages)
            yield _family(metrics.EXPECTED, _expected(snapshot))
            yield from _encounters(snapshot)
            if snapshot.journeys is not None:
                yield from _journeys(snapshot.journeys)
        yield _family(metrics.TARGET, _targets(journey))
        is_open_now = (((stage.name,), is_open(journey, stage, snapshot.at_ms)) for stage in journey.stages)
        yield _family(metrics.OPEN, is_open_now)
        yield from _flow(snapshot)
        yield _family(metrics.PARTITIONS, [((), snapshot.partitions)])
        yield _family(metrics.OWNED, [((), snapshot.owned)])
        changes = (((one.stage, one.kind, one.title), one.at_ms / 1000) for one in snapshot.changes)
        yield _family(metrics.LAST_CHANGE, changes)
        yield _family(metrics.READY, [((), snapshot.ready)])
        yield _family(metrics.CLOCK, [((), snapshot.at_ms / 1000)])
        yield _family(metrics.BUILD, [((), {"version": snapshot.version, "journey": journey.name})])


FAMILIES: dict[str, Any] = {
    "gauge": GaugeMetricFamily,
    "counter": CounterMetricFamily,
    "gaugehistogram": GaugeHistogramMetricFamily,
    "info": InfoMetricFamily,
}

Samples = Iterable[tuple[tuple[str, ...], Any]]
"""Values of labels, and what is measured there."""


def _family(metric: Metric, samples: Samples = ()) -> Any:
    family = FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


FAST_FAMILIES = ("hit", "closed")
WATCHED_FAMILIES = ("weakest", "failed", "promise", "handoff", "moved", "lost", "gap")
WATCHED_WINDOWS = ("1h", "2h", "6h", "1d", "3d", "7d")
SLOW_WINDOWS = ("1h", "1d", "7d")
"""What becomes of journeys, opinions and evenness show in hours; only what alerts look at is shown in every
window that they look at."""
NEAR_WINDOWS = ("5m", *SLOW_WINDOWS)
"""Waits, and where people leave, are looked at now, too."""


def _windows(journey: Journey, stages: tuple[StageSnapshot, ...]) -> Iterator[Family]:
    def counted(metric: Metric, windows: Iterable[str], cells: Cells, *kinds: str, unit: int = 1) -> Any:
        """The sum of the counters of these kinds of each cell, in each window."""
        return _family(metric, _counted(stages, windows, cells, kinds, unit))

    def judged(stage: Stage) -> Iterable[tuple[str, ...]]:
        names = (experience.name for experience in stage.experiences)
        return itertools.product(names, journey.segment_labels, stage.partner_labels)

    outcomes, spread = _each(lambda stage: stage.outcomes), partial(spread_cells, journey)
    yield counted(metrics.WINDOW_EVENTS, WINDOW_LABELS, judged, "good", "bad")
    yield counted(metrics.WINDOW_GOOD, WINDOW_LABELS, judged, "good")
    yield counted(metrics.WINDOW_OUTCOMES, WINDOW_LABELS, outcomes, "outcome")
    yield counted(metrics.WINDOW_REASONS, WINDOW_LABELS, _each(reason_labels), "reason")
    yield _histogram(metrics.WINDOW_DURATION, "duration", stages)
    yield _histogram(metrics.WINDOW_WAIT, "wait", stages)
    yield counted(metrics.WINDOW_WAITS, NEAR_WINDOWS, outcomes, "waits")
    yield counted(metrics.WINDOW_WAITED, NEAR_WINDOWS, outcomes, "waits_ms", unit=1000)
    yield counted(
        metrics.WINDOW_TOUCHPOINTS,
        NEAR_WINDOWS,
        lambda stage: itertools.product(touchpoint_labels(stage), stage.outcomes),
        "touchpoint",
    )
    yield counted(metrics.WINDOW_ASKED, SLOW_WINDOWS, _each(partial(asked_channels, journey)), "asked")
    yield _family(metrics.WINDOW_ANSWERS, _answers(journey, stages))
    yield counted(metrics.WINDOW_SPREAD_EVENTS, SLOW_WINDOWS, spread, "spread_good", "spread_bad")
    yield counted(metrics.WINDOW_SPREAD_GOOD, SLOW_WINDOWS, spread, "spread_good")
    yield counted(metrics.WINDOW_TOOL, WINDOW_LABELS, lambda _: [()], "tool_ms", unit=1000)
    yield counted(metrics.WINDOW_TOOL_OF, WINDOW_LABELS, lambda _: [()], "tool_of_ms", unit=1000)


Cells = Callable[[Stage], Iterable[tuple[str, ...]]]
"""What a stage is counted by, as values of labels."""


def _each(names: Callable[[Stage], Iterable[str]]) -> Cells:
    return lambda stage: ((name,) for name in names(stage))


def _counted(
    stages: tuple[StageSnapshot, ...],
    windows: Iterable[str],
    cells: Cells,
    kinds: Iterable[str],
    unit: int,
) -> Samples:
    for held in stages:
        for cell in cells(held.stage):
            columns = [held.column[counter_name(kind, *cell)] for kind in kinds]
            for window in windows:
                row = held.sums[window]
                yield (held.stage.name, *cell, window), sum(row[column] for column in columns) / unit


def _answers(journey: Journey, stages: tuple[StageSnapshot, ...]) -> Samples:
    for held in stages:
        for kind, of_kind in itertools.groupby(answer_cells(journey, held.stage), key=itemgetter(0)):
            cells = list(of_kind)
            for window in SLOW_WINDOWS:
                counts = [held.count(counter_name("answer", *cell), window) for cell in cells]
                if held.stage.kind == "staff" and not any(counts):
                    continue
                for (_, *labels), n in zip(cells, counts, strict=True):
                    yield (held.stage.name, kind, *labels, window), n


def _histogram(metric: Metric, kind: str, stages: tuple[StageSnapshot, ...]) -> Any:
    family = _family(metric)
    names = bucket_names(kind)
    for held in stages:
        for window in WINDOW_LABELS:
            row = held.sums[window]
            cumulative = itertools.accumulate(row[held.column[name]] for name in names)
            family.add_metric(
                (held.stage.name, window),
                list(zip(BUCKETS, cumulative, strict=True)),
                gsum_value=row[held.column[f"{kind}_ms"]] / 1000,
            )
    return family


def _expected(snapshot: Snapshot) -> Samples:
    windows = [window for window in WINDOWS if window.label in SILENT_WINDOWS]
    for stage in snapshot.journey.stages:
        for window in windows if stage.per_hour is not None else ():
            from_ms = window.start_ms(snapshot.at_ms)
            events = expected(snapshot.journey, stage, from_ms, snapshot.at_ms)
            yield (stage.name, window.label), events


def _encounters(snapshot: Snapshot) -> Iterator[Family]:
    """Of stages whose services say in these seven days that encounters begin."""
    begun, n, ages, waits, given_up = map(
        _family,
        (
            metrics.WINDOW_BEGUN,
            metrics.OPEN_ENCOUNTERS,
            metrics.OLDEST_ENCOUNTER,
            metrics.EXPECTED_WAIT,
            metrics.GIVEN_UP,
        ),
    )
    for held in snapshot.stages:
        stage, known = held.stage, held.under_way
        for opening in held.openings():
            for window in NEAR_WINDOWS:
                begun.add_metric(
                    (stage.name, opening, window), held.count(counter_name("begun", opening), window)
                )
            for segment in held.segments:
                cell = opening, segment
                since_ms = known.since_ms.get(cell, snapshot.at_ms)
                n.add_metric((stage.name, *cell), known.n.get(cell, 0))
                ages.add_metric((stage.name, *cell), max(0, snapshot.at_ms - since_ms) / 1000)
        if QUEUED in held.openings() and (wait_s := held.expected_wait_s()) is not None:
            waits.add_metric((stage.name,), wait_s)
        if held.openings():
            given_up.add_metric((stage.name,), known.given_up)
    yield from (begun, n, ages, waits, given_up)


def _targets(journey: Journey) -> Samples:
    for stage in journey.stages:
        for experience in stage.experiences:
            for segment in (ALL, *journey.segment_labels):
                yield (stage.name, experience.name, segment), float(experience.target_for(segment))


def _journeys(journeys: JourneysSnapshot) -> Iterator[Family]:
    families = {first: _family(metric) for first, metric in JOURNEY_FAMILIES.items()}
    windows: dict[str, tuple[str, ...]] = dict.fromkeys(families, SLOW_WINDOWS)
    windows |= dict.fromkeys(WATCHED_FAMILIES, WATCHED_WINDOWS)
    windows |= dict.fromkeys(FAST_FAMILIES, WINDOW_LABELS)
    for name, column in journeys.column.items():
        first, *labels = name.split("/")
        for window in windows[first]:
            families[first].add_metric((*labels, window), journeys.sums[window][column])
    yield from families.values()
    yield _family(metrics.JOURNEYS_BYTES, [((), journeys.kept_bytes)])
    yield _family(metrics.JOURNEYS_MAX_BYTES, [((), journeys.max_bytes)])
    yield _family(metrics.OPEN_JOURNEYS, [((), journeys.open_journeys)])
    yield _family(metrics.OVERDUE, journeys.overdue.items())
    clocks = (((str(partition),), clock_ms / 1000) for partition, clock_ms in journeys.clocks_ms.items())
    yield _family(metrics.JOURNEYS_JUDGED, clocks)


def _flow(snapshot: Snapshot) -> Iterator[Family]:
    stages, read = snapshot.stages, list(_topics(snapshot))
    lags = [((topic, str(lag.partition)), lag) for topic, _, lags in read for lag in lags]
    last = (
        ((held.stage.name, partner), at_ms / 1000)
        for held in stages
        for partner, at_ms in held.last_event_ms.items()
    )
    yield _family(metrics.LAST_EVENT, last)
    records = (((topic, result), n) for topic, results, _ in read for result, n in results.items())
    yield _family(metrics.RECORDS, records)
    letters = (
        ((held.stage.topic, reason), held.refusals.get(reason, 0)) for held in stages for reason in Reason
    )
    yield _family(metrics.DEAD_LETTERS, letters)
    yield _family(metrics.EVENT_LAG, ((labels, lag.seconds) for labels, lag in lags))
    yield _family(metrics.CONSUMER_LAG, ((labels, lag.records) for labels, lag in lags))
    positions = ((labels, lag.position) for labels, lag in lags if lag.position is not None)
    yield _family(metrics.POSITION, positions)
    yield _family(metrics.OPEN_TRANSACTION, ((labels, lag.blocked_s) for labels, lag in lags))
    whole = ((labels, lag.whole_since_ms / 1000) for labels, lag in lags if lag.whole_since_ms)
    yield _family(metrics.WHOLE_SINCE, whole)


def _topics(snapshot: Snapshot) -> Iterator[tuple[str, Mapping[str, int], tuple[PartitionLag, ...]]]:
    """Topic, results and lags of all that is read."""
    for held in snapshot.stages:
        yield held.stage.topic, held.results, held.lags
    if snapshot.journeys is not None:
        yield snapshot.journeys.topic, snapshot.journeys.results, snapshot.journeys.lags
