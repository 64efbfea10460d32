"""A snapshot as Prometheus text or OpenMetrics. Nothing is kept between scrapes, so nothing goes stale."""

import itertools
from collections.abc import Callable, Iterable, Iterator
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

from monitor import metrics
from monitor.event import Reason
from monitor.journey import ALL, Stage
from monitor.judging import (
    BUCKETS,
    bad_name,
    bucket_names,
    good_name,
    outcome_name,
    reason_labels,
    reason_name,
)
from monitor.metrics import Metric
from monitor.rhythm import expected, is_open
from monitor.rules import SILENT_WINDOWS
from monitor.snapshot import Snapshot, StageSnapshot
from monitor.windows import WINDOW_LABELS, WINDOWS


def render(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """The exposition that the `Accept` header asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(_Collected(snapshot)), content_type


class _Collected(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        snapshot = self._snapshot
        if snapshot.ready:
            yield from _windows(snapshot.stages)
            yield _expected(snapshot)
        yield from _targets(snapshot)
        yield _open(snapshot)
        yield from _flow(snapshot.stages)
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


def _windows(stages: tuple[StageSnapshot, ...]) -> Iterator[Family]:
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
                good.add_metric(labels, row[good_column])
                events.add_metric(labels, row[good_column] + row[bad_column])
    yield events
    yield good
    yield _by_name(metrics.WINDOW_OUTCOMES, stages, lambda stage: stage.outcomes, outcome_name)
    yield _by_name(metrics.WINDOW_REASONS, stages, reason_labels, reason_name)
    yield _histogram(metrics.WINDOW_DURATION, "duration", stages)
    yield _histogram(metrics.WINDOW_WAIT, "wait", stages)


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
                family.add_metric((held.stage.name, name, window), held.sums[window][column])
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


def _flow(stages: tuple[StageSnapshot, ...]) -> Iterator[Family]:
    last, records = _family(metrics.LAST_EVENT), _family(metrics.RECORDS)
    dead_letters = _family(metrics.DEAD_LETTERS)
    event_lag, consumer_lag = _family(metrics.EVENT_LAG), _family(metrics.CONSUMER_LAG)
    for held in stages:
        stage = held.stage
        for partner, at_ms in held.last_event_ms.items():
            last.add_metric((stage.name, partner), at_ms / 1000)
        for result, n in held.results.items():
            records.add_metric((stage.topic, result), n)
        for reason in Reason:
            dead_letters.add_metric((stage.topic, reason), held.refusals.get(reason, 0))
        for lag in held.lags:
            labels = (stage.topic, str(lag.partition))
            event_lag.add_metric(labels, lag.seconds)
            consumer_lag.add_metric(labels, lag.records)
    yield from (last, records, dead_letters, event_lag, consumer_lag)
