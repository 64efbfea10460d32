"""What one worker counts, as another adds it to its own: page and API then speak of the whole group.

Everything is additive but moments, of which the latest counts. By names of counters, since two workers may
have read different journey files for a while.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from monitor.counting.judging import counter_name, reason_labels
from monitor.counting.panes import Numbers
from monitor.counting.windows import TREND_STEPS, WINDOW_LABELS, Arrivals
from monitor.journeys.encounters import UnderWay
from monitor.live.journeys import JourneysSnapshot, PartitionLag
from monitor.live.shown import FIRST_MS, LAST_MS
from monitor.live.snapshot import Snapshot, StageSnapshot

Count = Annotated[int, Meta(ge=0, le=2**60)]
"""Of several workers the sum still fits into 64 bits."""

Moment = Annotated[int, Meta(ge=FIRST_MS, le=LAST_MS)]

Row = tuple[Count, ...]


class StageShare(Struct, array_like=True, frozen=True):
    """Of a stage: by counter its sums by window, and by minute; by grain since when, and how many events came
    pane by pane; of each partition, how many records wait, and since when windows are whole."""

    sums: dict[str, Row]
    trend: dict[str, Row]
    last_ms: Moment | None
    came: dict[int, tuple[Moment, Row]]
    partitions: dict[int, tuple[Count, Moment]]
    under_way: list[tuple[str, str, Count, Moment]] = []
    """By `queued` or `started` and segment, how many encounters are open, and since when the oldest."""
    began_ms: Moment | None = None


class JourneysShare(Struct, array_like=True, frozen=True):
    """Of journeys, likewise."""

    sums: dict[str, Row]
    open_journeys: Count
    overdue: list[tuple[str, str, str, Count]]
    clocks_ms: dict[int, Moment]
    slowest: dict[int, tuple[str, Count] | None]
    partitions: dict[int, tuple[Count, Moment]]


class WorkerShare(Struct, array_like=True, frozen=True):
    """Of a worker, by its own clock; without stages while it is not ready. `windows` name the numbers of a
    row."""

    windows: tuple[str, ...]
    worker: str
    at_ms: Moment
    ready: bool
    owned: Count
    problems: tuple[str, ...]
    stages: dict[str, StageShare]
    journeys: JourneysShare | None


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(WorkerShare).decode


def decode(body: bytes) -> WorkerShare:
    """What `encode` wrote; ValidationError for what a worker of another version writes, or no worker."""
    told = _decode(body)
    stages = told.stages.values()
    sums = [*(one.sums for one in stages), *([told.journeys.sums] if told.journeys else [])]
    rows = [(row, len(WINDOW_LABELS)) for one in sums for row in one.values()]
    rows += [(row, TREND_STEPS) for one in stages for row in one.trend.values()]
    if told.windows != WINDOW_LABELS or any(len(row) != length for row, length in rows):
        raise msgspec.ValidationError("not the windows of this version")
    return told


def share(snapshot: Snapshot) -> WorkerShare:
    """What a worker tells of itself."""
    ready, journeys = snapshot.ready, snapshot.journeys
    return WorkerShare(
        WINDOW_LABELS,
        snapshot.worker,
        snapshot.at_ms,
        ready,
        snapshot.owned,
        snapshot.problems,
        {held.stage.name: _stage(held) for held in snapshot.stages} if ready else {},
        _journeys(journeys) if ready and journeys is not None else None,
    )


def _stage(held: StageSnapshot) -> StageShare:
    stage = held.stage
    judged = [
        counter_name(verdict, experience.name, segment, partner)
        for experience in stage.experiences
        for segment in held.segments
        for partner in stage.partner_labels
        for verdict in ("good", "bad")
    ]
    beside = [counter_name("outcome", outcome) for outcome in stage.outcomes]
    beside += [counter_name("begun", opening) for opening in stage.openings]
    beside += [counter_name("reason", reason) for reason in reason_labels(stage)]
    sums = _sparse(held.column, [*judged, *beside], [held.sums[window] for window in WINDOW_LABELS])
    trend = _sparse(held.column, judged, [] if held.trend_sums is None else list(held.trend_sums))
    came = {ms: (one.start_ms, _row(one.counts)) for ms, one in held.came.items()}
    lags, under_way = _partitions(held.lags), _open(held.under_way)
    return StageShare(sums, trend, held.last_ms, came, lags, under_way, held.began_ms)


def _open(known: UnderWay) -> list[tuple[str, str, int, int]]:
    return [(*cell, n, known.since_ms[cell]) for cell, n in known.n.items()]


def _journeys(held: JourneysSnapshot) -> JourneysShare:
    return JourneysShare(
        _sparse(held.column, held.column, [held.sums[window] for window in WINDOW_LABELS]),
        held.open_journeys,
        [(*key, n) for key, n in held.overdue.items()],
        dict(held.clocks_ms),
        dict(held.slowest),
        _partitions(held.lags),
    )


def _sparse(column: Mapping[str, int], names: Iterable[str], rows: list[Numbers]) -> dict[str, Row]:
    """By counter its numbers, row by row; without those that are 0 everywhere."""
    if not rows:
        return {}
    matrix = np.stack(rows).astype(np.int64)
    some = set(np.flatnonzero(matrix.any(axis=0)).tolist())
    return {name: tuple(matrix[:, column[name]].tolist()) for name in names if column[name] in some}


def _row(numbers: Numbers) -> Row:
    return tuple(numbers.astype(np.int64).tolist())


def _partitions(lags: Iterable[PartitionLag]) -> dict[int, tuple[int, int]]:
    return {lag.partition: (lag.records, lag.whole_since_ms) for lag in lags}


def overlaps(snapshot: Snapshot, told: WorkerShare) -> bool:
    """Whether both count a partition, as while the group moves it: one of them is about to stop."""
    stages = ((held.lags, told.stages[held.stage.name].partitions) for held in _shared(snapshot, told))
    journeys = (
        [(snapshot.journeys.lags, told.journeys.partitions)]
        if snapshot.journeys is not None and told.journeys is not None
        else []
    )
    return any(lag.partition in theirs for lags, theirs in (*stages, *journeys) for lag in lags)


def _shared(snapshot: Snapshot, told: WorkerShare) -> list[StageSnapshot]:
    return [held for held in snapshot.stages if held.stage.name in told.stages]


def added(snapshot: Snapshot, told: WorkerShare) -> Snapshot:
    """Both workers as one."""
    journeys = snapshot.journeys
    if journeys is not None and told.journeys is not None:
        journeys = _with_journeys(journeys, told.journeys)
    stages = (
        _with_stage(held, told.stages[held.stage.name]) if held.stage.name in told.stages else held
        for held in snapshot.stages
    )
    return replace(snapshot, stages=tuple(stages), journeys=journeys, owned=snapshot.owned + told.owned)


def _with_stage(held: StageSnapshot, told: StageShare) -> StageSnapshot:
    trend = held.trend_sums
    if trend is not None and told.trend:
        trend = np.array(trend)
        for name, row in told.trend.items():
            if name in held.column:
                trend[:, held.column[name]] += row
    return replace(
        held,
        under_way=_with_open(held.under_way, told),
        sums=_sums(held.column, held.sums, told.sums),
        trend_sums=trend,
        came={ms: _came(one, told.came.get(ms)) for ms, one in held.came.items()},
        last_ms=max((ms for ms in (held.last_ms, told.last_ms) if ms is not None), default=None),
        began_ms=min((ms for ms in (held.began_ms, told.began_ms) if ms is not None), default=None),
        lags=(*held.lags, *_lags(told.partitions)),
    )


def _with_open(known: UnderWay, told: StageShare) -> UnderWay:
    n, since_ms = dict(known.n), dict(known.since_ms)
    for opening, segment, more, oldest_ms in told.under_way:
        cell = opening, segment
        n[cell] = n.get(cell, 0) + more
        since_ms[cell] = min(oldest_ms, since_ms.get(cell, oldest_ms))
    return replace(known, n=n, since_ms=since_ms)


def _with_journeys(held: JourneysSnapshot, told: JourneysShare) -> JourneysSnapshot:
    overdue = dict(held.overdue)
    for what, partner, age, n in told.overdue:
        overdue[what, partner, age] = overdue.get((what, partner, age), 0) + n
    return replace(
        held,
        sums=_sums(held.column, held.sums, told.sums),
        open_journeys=held.open_journeys + told.open_journeys,
        overdue=overdue,
        clocks_ms={**held.clocks_ms, **told.clocks_ms},
        slowest={**held.slowest, **told.slowest},
        lags=(*held.lags, *_lags(told.partitions)),
    )


def _came(mine: Arrivals, told: tuple[int, Row] | None) -> Arrivals:
    return mine if told is None else mine.plus(replace(mine, start_ms=told[0], counts=np.array(told[1])))


def _sums(
    column: Mapping[str, int], sums: Mapping[str, Numbers], told: Mapping[str, Row]
) -> dict[str, Numbers]:
    found = {window: np.array(sums[window]) for window in WINDOW_LABELS}
    for name, row in told.items():
        if name in column:
            for window, n in zip(WINDOW_LABELS, row, strict=True):
                found[window][column[name]] += n
    return found


def _lags(partitions: Mapping[int, tuple[int, int]]) -> tuple[PartitionLag, ...]:
    return tuple(
        PartitionLag(partition, records, 0, whole_since_ms=whole_since_ms)
        for partition, (records, whole_since_ms) in partitions.items()
    )
