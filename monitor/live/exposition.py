"""A snapshot as Prometheus text or OpenMetrics. Nothing is kept between scrapes, so nothing goes stale."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    answer_name,
    asked_channels,
    asked_name,
    bad_name,
    bucket_names,
    good_name,
    outcome_name,
    reason_labels,
    reason_name,
    spread_bad_name,
    spread_cells,
    spread_good_name,
    touchpoint_labels,
    touchpoint_name,
    waits_names,
)
from monitor.counting.metrics import Metric
from monitor.counting.windows import WINDOW_LABELS, WINDOWS
from monitor.journey_file.hours import expected, is_open
from monitor.journey_file.model import ALL, Journey, Stage
from monitor.journeys.counters import JOURNEY_FAMILIES
from monitor.live.journeys import JourneysSnapshot, PartitionLag
from monitor.live.snapshot import Snapshot, StageSnapshot
from monitor.rules.qualities import SILENT_WINDOWS


def render(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """The exposition that the `Accept` header asks for, and its content type."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder("")
    return encode(_Collected(snapshot)), content_type


class _Collected(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        snapshot = self._snapshot
        if snapshot.ready:
            yield from _windows(snapshot.journey, snapshot.stages)
            yield _expected(snapshot)
            if snapshot.journeys is not None:
                yield from _journeys(snapshot.journeys)
        yield from _targets(snapshot)
        yield _open(snapshot)
        yield from _flow(snapshot)
        yield from _partitions(snapshot)
        yield _changes(snapshot)
        ready = _family(metrics.READY)
        ready.add_metric([], snapshot.ready)
        yield ready
        build = _family(metrics.BUILD)
        build.add_metric([], {"version": snapshot.version, "journey": snapshot.journey.name})
        yield build


FAMILIES: dict[str, Any] = {
    "gauge": GaugeMetricFamily,
    "counter": CounterMetricFamily,
    "gaugehistogram": GaugeHistogramMetricFamily,
    "info": InfoMetricFamily,
}


def _family(metric: Metric) -> Any:
    return FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)


def _windows(journey: Journey, stages: tuple[StageSnapshot, ...]) -> Iterator[Family]:
    events, good = _family(metrics.WINDOW_EVENTS), _family(metrics.WINDOW_GOOD)
    for held in stages:
        stage, column = held.stage, held.column
        for experience, segment, partner in itertools.product(
            stage.experiences, held.segments, stage.partner_labels
        ):
            cell = (experience.name, segment, partner)
            good_column, bad_column = column[good_name(*cell)], column[bad_name(*cell)]
            for window in WINDOW_LABELS:
                row = held.sums[window]
                labels = (stage.name, *cell, window)
                n = row[good_column] + row[bad_column]
                good.add_metric(labels, row[good_column])
                events.add_metric(labels, n)
    yield events
    yield good
    yield _by_name(metrics.WINDOW_OUTCOMES, stages, lambda stage: stage.outcomes, outcome_name)
    yield _by_name(metrics.WINDOW_REASONS, stages, reason_labels, reason_name)
    yield _histogram(metrics.WINDOW_DURATION, "duration", stages)
    yield _histogram(metrics.WINDOW_WAIT, "wait", stages)
    yield from _waits(stages)
    yield _touchpoints(stages)
    yield _asked(journey, stages)
    yield _answers(journey, stages)
    yield from _spread(journey, stages)
    for metric, counter in ((metrics.WINDOW_TOOL, "tool_ms"), (metrics.WINDOW_TOOL_OF, "tool_of_ms")):
        family = _family(metric)
        for held in stages:
            for window in WINDOW_LABELS:
                family.add_metric((held.stage.name, window), held.count(counter, window) / 1000)
        yield family


def _waits(stages: tuple[StageSnapshot, ...]) -> Iterator[Family]:
    waits, waited = _family(metrics.WINDOW_WAITS), _family(metrics.WINDOW_WAITED)
    for held in stages:
        for outcome in held.stage.outcomes:
            n, ms = waits_names(outcome)
            for window in NEAR_WINDOWS:
                labels = (held.stage.name, outcome, window)
                waits.add_metric(labels, held.count(n, window))
                waited.add_metric(labels, held.count(ms, window) / 1000)
    yield from (waits, waited)


def _touchpoints(stages: tuple[StageSnapshot, ...]) -> Any:
    family = _family(metrics.WINDOW_TOUCHPOINTS)
    for held in stages:
        for cell in itertools.product(touchpoint_labels(held.stage), held.stage.outcomes):
            for window in NEAR_WINDOWS:
                family.add_metric(
                    (held.stage.name, *cell, window), held.count(touchpoint_name(*cell), window)
                )
    return family


def _asked(journey: Journey, stages: tuple[StageSnapshot, ...]) -> Any:
    family = _family(metrics.WINDOW_ASKED)
    for held in stages:
        for channel in asked_channels(journey, held.stage):
            for window in SLOW_WINDOWS:
                n = held.count(asked_name(channel), window)
                family.add_metric((held.stage.name, channel, window), n)
    return family


def _answers(journey: Journey, stages: tuple[StageSnapshot, ...]) -> Any:
    family = _family(metrics.WINDOW_ANSWERS)
    for held in stages:
        for kind, of_kind in itertools.groupby(answer_cells(journey, held.stage), key=itemgetter(0)):
            cells = list(of_kind)
            for window in SLOW_WINDOWS:
                counts = [held.count(answer_name(*cell), window) for cell in cells]
                if held.stage.kind == "staff" and not any(counts):
                    continue
                for (_, *labels), n in zip(cells, counts, strict=True):
                    family.add_metric((held.stage.name, kind, *labels, window), n)
    return family


def _spread(journey: Journey, stages: tuple[StageSnapshot, ...]) -> Iterator[Family]:
    events, good = _family(metrics.WINDOW_SPREAD_EVENTS), _family(metrics.WINDOW_SPREAD_GOOD)
    for held in stages:
        for cell in spread_cells(journey, held.stage):
            for window in SLOW_WINDOWS:
                labels = (held.stage.name, *cell, window)
                n = held.count(spread_good_name(*cell), window)
                good.add_metric(labels, n)
                events.add_metric(labels, n + held.count(spread_bad_name(*cell), window))
    yield events
    yield good


def _by_name(
    metric: Metric,
    stages: tuple[StageSnapshot, ...],
    names: Callable[[Stage], Iterable[str]],
    counter: Callable[[str], str],
) -> Any:
    family = _family(metric)
    for held in stages:
        for name in names(held.stage):
            column = held.column[counter(name)]
            for window in WINDOW_LABELS:
                n = held.sums[window][column]
                family.add_metric((held.stage.name, name, window), n)
    return family


def _expected(snapshot: Snapshot) -> Any:
    family = _family(metrics.EXPECTED)
    windows = [window for window in WINDOWS if window.label in SILENT_WINDOWS]
    for stage in snapshot.journey.stages:
        for window in windows if stage.per_hour is not None else ():
            events = expected(snapshot.journey, stage, window.start_ms(snapshot.at_ms), snapshot.at_ms)
            family.add_metric((stage.name, window.label), events)
    return family


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


def _targets(snapshot: Snapshot) -> Iterator[Family]:
    target = _family(metrics.TARGET)
    for stage in snapshot.journey.stages:
        for experience in stage.experiences:
            for segment in (ALL, *snapshot.journey.segment_labels):
                value = float(experience.target_for(segment))
                target.add_metric((stage.name, experience.name, segment), value)
    yield target


def _open(snapshot: Snapshot) -> Any:
    family = _family(metrics.OPEN)
    for stage in snapshot.journey.stages:
        family.add_metric([stage.name], is_open(snapshot.journey, stage, snapshot.at_ms))
    return family


def _partitions(snapshot: Snapshot) -> Iterator[Family]:
    total, owned = _family(metrics.PARTITIONS), _family(metrics.OWNED)
    total.add_metric([], snapshot.partitions)
    owned.add_metric([], snapshot.owned)
    yield from (total, owned)


def _changes(snapshot: Snapshot) -> Any:
    family = _family(metrics.LAST_CHANGE)
    for change in snapshot.changes:
        family.add_metric((change.stage, change.kind, change.title), change.at_ms / 1000)
    return family


FAST_FAMILIES = ("hit", "closed")
WATCHED_FAMILIES = ("weakest", "failed", "promise", "handoff", "moved", "lost", "gap")
WATCHED_WINDOWS = ("1h", "2h", "6h", "1d", "3d", "7d")
SLOW_WINDOWS = ("1h", "1d", "7d")
"""What becomes of journeys, opinions and evenness show in hours; only what alerts look at is shown in every
window that they look at."""
NEAR_WINDOWS = ("5m", *SLOW_WINDOWS)
"""Waits, and where people leave, are looked at now, too."""


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
    open_journeys, overdue = _family(metrics.OPEN_JOURNEYS), _family(metrics.OVERDUE)
    judged = _family(metrics.JOURNEYS_JUDGED)
    open_journeys.add_metric((), journeys.open_journeys)
    for labels_and_age, n in journeys.overdue.items():
        overdue.add_metric(labels_and_age, n)
    for partition, clock_ms in journeys.clocks_ms.items():
        judged.add_metric((str(partition),), clock_ms / 1000)
    for metric, n_bytes in (
        (metrics.JOURNEYS_BYTES, journeys.kept_bytes),
        (metrics.JOURNEYS_MAX_BYTES, journeys.max_bytes),
    ):
        family = _family(metric)
        family.add_metric((), n_bytes)
        yield family
    yield from (open_journeys, overdue, judged)


def _flow(snapshot: Snapshot) -> Iterator[Family]:
    last, records = _family(metrics.LAST_EVENT), _family(metrics.RECORDS)
    dead_letters = _family(metrics.DEAD_LETTERS)
    event_lag, consumer_lag = _family(metrics.EVENT_LAG), _family(metrics.CONSUMER_LAG)
    blocked, whole_since = _family(metrics.OPEN_TRANSACTION), _family(metrics.WHOLE_SINCE)
    for held in snapshot.stages:
        stage = held.stage
        for partner, at_ms in held.last_event_ms.items():
            last.add_metric((stage.name, partner), at_ms / 1000)
        for reason in Reason:
            dead_letters.add_metric((stage.topic, reason), held.refusals.get(reason, 0))
    for topic, results, lags in _topics(snapshot):
        for result, n in results.items():
            records.add_metric((topic, result), n)
        for lag in lags:
            event_lag.add_metric((topic, str(lag.partition)), lag.seconds)
            consumer_lag.add_metric((topic, str(lag.partition)), lag.records)
            blocked.add_metric((topic, str(lag.partition)), lag.blocked_s)
            if lag.whole_since_ms:
                whole_since.add_metric((topic, str(lag.partition)), lag.whole_since_ms / 1000)
    yield from (last, records, dead_letters, event_lag, consumer_lag, blocked, whole_since)


def _topics(snapshot: Snapshot) -> Iterator[tuple[str, Mapping[str, int], tuple[PartitionLag, ...]]]:
    """Topic, results and lags of all that is read."""
    for held in snapshot.stages:
        yield held.stage.topic, held.results, held.lags
    if snapshot.journeys is not None:
        yield snapshot.journeys.topic, snapshot.journeys.results, snapshot.journeys.lags
