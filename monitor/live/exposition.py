"""A snapshot as Prometheus text or OpenMetrics. No value is kept between scrapes, so none goes stale."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any

import numpy as np
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

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
from monitor.counting.panes import Numbers
from monitor.counting.windows import WINDOW_LABELS, WINDOWS
from monitor.journey_file.hours import expected, is_open
from monitor.journey_file.model import ALL, QUEUED, Journey, Stage
from monitor.journeys.counters import JOURNEY_FAMILIES
from monitor.live.journeys import JourneysSnapshot, PartitionLag
from monitor.live.snapshot import Snapshot, StageSnapshot
from monitor.rules.plan import SILENT_WINDOWS


def render(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """What `streams.web.server` answers at /metrics: as the `Accept` header asks, with its content type."""
    encode, content_type = _encoder(accept)
    text = "".join(part for family in _families(snapshot) for part in _text(family, content_type))
    return text.encode() + encode(_Client()), content_type


Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float]]
"""Values of labels, and what is measured there."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric's values: for each cell, in each window if there are any, one, or a histogram's many.

    A cell has the values of the metric's labels, but that of `window` where windows are given.
    """

    metric: Metric
    cells: tuple[Labels, ...]
    values: Numbers
    windows: tuple[str, ...] = ()


def _family(metric: Metric, samples: Samples = ()) -> Family:
    cells, values = tuple(zip(*samples, strict=True)) or ((), ())
    return Family(metric, cells, np.array(values, dtype=np.float64))


# -- how it is written: as prometheus_client writes one series, so are all -------------------------------


class _Client(Collector):
    """Families of prometheus_client."""

    def __init__(self, *families: Any) -> None:
        self._families = families

    def collect(self) -> Iterator[Any]:
        yield from self._families


FAMILIES: dict[str, Any] = {
    "gauge": GaugeMetricFamily,
    "counter": CounterMetricFamily,
    "gaugehistogram": GaugeHistogramMetricFamily,
    "info": InfoMetricFamily,
}

PLACES: dict[str, tuple[Any, ...]] = {
    "gauge": (1,),
    "counter": (1,),
    "gaugehistogram": ([(bucket, i) for i, bucket in enumerate(BUCKETS, 1)], len(BUCKETS) + 1),
    "info": ({},),
}
"""A series whose values say which one of them stands where, from 1 on; that of an info is always 1."""

KEPT = 256
"""Families of which all but the values is kept, some 100 bytes a series: some 60 in each of a few formats."""


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        return choose_encoder("")


def _text(family: Family, content_type: str) -> Iterator[str]:
    """Cell by cell, so that the event loop need not wait for a thread that does this."""
    go: Callable[[float], str] = floatToGoString
    for head, cells, places in _template(content_type, family.metric, family.cells, family.windows):
        yield head
        for cell, values in zip(cells, family.values[places].tolist(), strict=True):
            # Go writes numbers as Python does, but from a million on.
            yield cell % tuple(n if n < 1e6 else go(n) for n in values)


@lru_cache(maxsize=KEPT)
def _template(
    content_type: str, metric: Metric, cells: tuple[Labels, ...], windows: tuple[str, ...]
) -> list[tuple[str, list[str], Numbers]]:
    """Comments; the text of each cell below them, with `%s` for each value; by cell, the places that these
    have in `Family.values`."""
    family = FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
    family.add_metric([f"%({label})s" for label in metric.labels], *PLACES[metric.kind])
    encode, _ = _encoder(content_type)
    blocks = list(_blocks(encode(_Client(family)).decode().removesuffix(encode(_Client()).decode())))
    width = max(place for _, _, places in blocks for place in places)
    per_cell = max(1, len(windows))
    series = np.arange(len(cells) * per_cell).reshape(len(cells), per_cell, 1) * width
    labels = [name for name in metric.labels if not (windows and name == "window")]
    parts = []
    for comments, lines, places in blocks if cells else blocks[:1]:
        text = "".join(lines.replace("%(window)s", window) for window in windows) if windows else lines
        texts = [text % dict(zip(labels, map(_escaped, cell), strict=True)) for cell in cells]
        parts.append(
            (comments, texts, (series + np.array(places) - 1).reshape(len(cells), per_cell * len(places)))
        )
    return parts


def _blocks(text: str) -> Iterator[tuple[str, str, list[int]]]:
    """Comments, the lines of the one series below them, with `%%s` for values, and these values."""
    comments = ""
    for is_comment, group in itertools.groupby(text.splitlines(), key=lambda line: line.startswith("#")):
        if is_comment:
            comments = "".join(f"{line}\n" for line in group)
            continue
        lines = [line.rpartition(" ") for line in group]
        pattern = "".join(f"{series} %%s\n" for series, _, _ in lines)
        yield comments, pattern, [int(float(value)) for _, _, value in lines]


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"").replace("%", "%%")


# -- what is written -------------------------------------------------------------------------------------


def _families(snapshot: Snapshot) -> Iterator[Family]:
    journey = snapshot.journey
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
    yield _family(metrics.BUILD, [((snapshot.version, journey.name), 1)])


FAST_FAMILIES = ("hit", "closed")
WATCHED_FAMILIES = ("weakest", "failed", "promise", "handoff", "moved", "lost", "gap")
WATCHED_WINDOWS = ("1h", "2h", "6h", "1d", "3d", "7d")
SLOW_WINDOWS = ("1h", "1d", "7d")
"""What becomes of journeys, opinions and evenness show in hours; only what alerts look at is shown in every
window that they look at."""
NEAR_WINDOWS = ("5m", *SLOW_WINDOWS)
"""Waits, and where people leave, are looked at now, too."""


def _windows(journey: Journey, stages: tuple[StageSnapshot, ...]) -> Iterator[Family]:
    def counted(metric: Metric, windows: tuple[str, ...], cells: Cells, *kinds: str, unit: int = 1) -> Family:
        """The sum of the counters of these kinds of each cell, in each window."""
        labels: list[Labels] = []
        values = [np.zeros(0)]
        for held in stages:
            of_stage = list(cells(held.stage))
            labels += [(held.stage.name, *cell) for cell in of_stage]
            columns = [[held.column[counter_name(kind, *cell)] for kind in kinds] for cell in of_stage]
            if columns:
                values.append(_table(held.sums, windows)[columns].sum(axis=1).ravel() / unit)
        return Family(metric, tuple(labels), np.concatenate(values), windows)

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


def _table(sums: Mapping[str, Numbers], windows: Sequence[str]) -> Numbers:
    """A row for each counter, a column for each window."""
    return np.array([sums[window] for window in windows]).T


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


def _histogram(metric: Metric, kind: str, stages: tuple[StageSnapshot, ...]) -> Family:
    """The values of a series: its buckets, each with those before it, and the sum."""
    values = []
    for held in stages:
        table = _table(held.sums, WINDOW_LABELS)
        buckets = table[[held.column[name] for name in bucket_names(kind)]].cumsum(axis=0)
        values.append(np.vstack([buckets, table[held.column[f"{kind}_ms"]] / 1000]).T.ravel())
    cells = tuple((held.stage.name,) for held in stages)
    return Family(metric, cells, np.concatenate(values), WINDOW_LABELS)


def _expected(snapshot: Snapshot) -> Samples:
    windows = [window for window in WINDOWS if window.label in SILENT_WINDOWS]
    for stage in snapshot.journey.stages:
        for window in windows if stage.per_hour is not None else ():
            from_ms = window.start_ms(snapshot.at_ms)
            events = expected(snapshot.journey, stage, from_ms, snapshot.at_ms)
            yield (stage.name, window.label), events


def _encounters(snapshot: Snapshot) -> Iterator[Family]:
    """Of stages whose services say in these seven days that encounters begin."""
    samples: dict[Metric, list[tuple[Labels, float]]] = {
        metrics.WINDOW_BEGUN: [],
        metrics.OPEN_ENCOUNTERS: [],
        metrics.OLDEST_ENCOUNTER: [],
        metrics.EXPECTED_WAIT: [],
        metrics.GIVEN_UP: [],
    }
    begun, n, ages, waits, given_up = samples.values()
    for held in snapshot.stages:
        stage, known = held.stage, held.under_way
        for opening in held.openings():
            for window in NEAR_WINDOWS:
                count = held.count(counter_name("begun", opening), window)
                begun.append(((stage.name, opening, window), count))
            for segment in held.segments:
                cell = opening, segment
                since_ms = known.since_ms.get(cell, snapshot.at_ms)
                n.append(((stage.name, *cell), known.n.get(cell, 0)))
                ages.append(((stage.name, *cell), max(0, snapshot.at_ms - since_ms) / 1000))
        if QUEUED in held.openings() and (wait_s := held.expected_wait_s()) is not None:
            waits.append(((stage.name,), wait_s))
        if held.openings():
            given_up.append(((stage.name,), known.given_up))
    yield from map(_family, samples, samples.values())


def _targets(journey: Journey) -> Samples:
    for stage in journey.stages:
        for experience in stage.experiences:
            for segment in (ALL, *journey.segment_labels):
                yield (stage.name, experience.name, segment), float(experience.target_for(segment))


def _journeys(journeys: JourneysSnapshot) -> Iterator[Family]:
    windows: dict[str, tuple[str, ...]] = dict.fromkeys(JOURNEY_FAMILIES, SLOW_WINDOWS)
    windows |= dict.fromkeys(WATCHED_FAMILIES, WATCHED_WINDOWS)
    windows |= dict.fromkeys(FAST_FAMILIES, WINDOW_LABELS)
    counted: dict[str, dict[Labels, int]] = {first: {} for first in JOURNEY_FAMILIES}
    for name, column in journeys.column.items():
        first, *labels = name.split("/")
        counted[first][tuple(labels)] = column
    for first, columns in counted.items():
        values = _table(journeys.sums, windows[first])[list(columns.values())].ravel()
        yield Family(JOURNEY_FAMILIES[first], tuple(columns), values, windows[first])
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
