"""A situation as a seeded history, and as what workers would show of it.

Its counts go to `backtest` as they are, and to Prometheus as the windows that a worker would show, summed by
its own code.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monitor.backtest.history import StageHistory
from monitor.counting import metrics
from monitor.counting.judging import NO_REASON, counter_name
from monitor.counting.panes import LONG, SHORT, PaneKey
from monitor.counting.windows import WINDOWS, StageWindows
from monitor.journey_file.hours import expected, is_open
from monitor.journey_file.model import NONE, WHOLE, Journey, Stage
from monitor.journeys.counters import CRITICAL_CELLS, counter_names
from monitor.live.exposition import _journeys
from monitor.live.journeys import JourneysSnapshot
from monitor.rules.journeys import BETWEEN
from monitor.rules.plan import SILENT_WINDOWS, plan
from tests.kit.slices import add_slices
from tests.monitor.generate.situations import Situation


def counts(name: str, situation: Situation) -> Iterator[tuple[Stage, int, str, int, int]]:
    """Stage, slice, segment, good and bad of a seeded history, stage by stage."""
    rng = np.random.default_rng(sum(map(ord, name)))
    for stage in situation.journey.stages:
        for segment, weight in zip(situation.journey.segment_labels, (0.2, 0.5, 0.3), strict=True):
            n, share = np.array(
                [
                    situation.rates(stage.name, at, segment)
                    for at in range(-situation.before, situation.watched)
                ]
            ).T
            events = rng.poisson(n * weight)
            bad = rng.binomial(events, share)
            for at in np.flatnonzero(events).tolist():
                yield (
                    stage,
                    situation.t0 + at - situation.before,
                    segment,
                    int(events[at] - bad[at]),
                    int(bad[at]),
                )


@dataclass
class Told:
    """A history as either side reads it."""

    histories: dict[str, StageHistory]
    windows: dict[str, list[tuple[int, PaneKey, dict[str, int]]]]


def told(name: str, situation: Situation) -> Told:
    """The same counts, for `backtest` and as panes of a worker."""
    found, journey = Told({}, {}), situation.journey
    start, length = situation.t0 - situation.before, situation.before + situation.watched
    tables: dict[str, Any] = {}
    held_to = plan(journey)
    for stage in held_to.stages:
        found.histories[stage.name] = held = StageHistory(held_to, stage)
        tables[stage.name] = held.table(start, start + length)
        found.windows[stage.name] = []
    for stage, at, segment, good, bad in counts(name, situation):
        held, experience = found.histories[stage.name], stage.experiences[0].name
        column = tables[stage.name][:, at - start]
        column[held.good[experience, segment]] += good
        column[held.bad[experience, segment]] += bad
        column[held.events] += good + bad
        column[held.reasons[_reason(stage)]] += bad
        partner = situation.partner(stage.name, at - situation.t0)
        if held.partners:
            column[held.partners[experience, partner]] += good + bad
        cell = (experience, segment, partner)
        pane = {counter_name("good", *cell): good, counter_name("bad", *cell): bad}
        pane |= {"outcome/ok": good, "outcome/failed": bad, counter_name("reason", _reason(stage)): bad}
        _seen(found.windows[stage.name], at, pane)
    for at in range(start, start + length) if journey.journeys is not None else ():
        if lives := situation.lives(at - situation.t0):
            _seen(found.windows[WHOLE], at, dict(lives))
            for row, n in _rows(found.histories[WHOLE], lives):
                tables[WHOLE][row, at - start] += n
    for stage_name, table in tables.items():
        add_slices(found.histories[stage_name], start, table)
    return found


def _reason(stage: Stage) -> str:
    """Why all bad events of the stage are bad."""
    return (*stage.reasons, NO_REASON)[0]


def _seen(panes: list[tuple[int, PaneKey, dict[str, int]]], at: int, counted: dict[str, int]) -> None:
    for grain in (SHORT, LONG):
        panes.append((at, PaneKey(grain.ms, grain.start_of(at * SHORT.ms)), counted))


def _rows(held: StageHistory, lives: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    """Row and how much to add to it, worked out name by name."""
    for name, n in lives.items():
        family, *about = name.split("/")
        if family == "closed":
            result, segment = about
            yield held.events, n
            yield (held.good if result == "met" else held.bad)["goal", segment], n
        elif family == "promise" and about[2] == "kept":
            yield held.good["promise_window", about[1]], n
            yield held.bad["promise_window", about[1]], -n
        elif family == "promise":
            yield held.bad["promise_window", about[1]], n
        elif family == "handoff" and about[3] == "received":
            yield held.good["handoff_shop_parcel", about[2]], n
        elif family == "moved":
            yield held.good["moves", BETWEEN.join(about)], n
        elif family == "lost":
            yield held.good["moves", BETWEEN.join(about)], -n
            yield held.bad["moves", BETWEEN.join(about)], n
        elif family == "gap":
            is_bad = about[1] == "ok_inside_bad_outside"
            yield (held.bad if is_bad else held.good)["understood", about[0]], n
        elif family == "failed":
            yield held.reasons[" ".join(about[:2])], n
        elif family == "critical":
            yield held.critical[about[0]][CRITICAL_CELLS.index(about[1])], n


@dataclass
class _Series:
    """Series by name and labels, each with a value at some steps; None ends it."""

    values: dict[str, dict[int, float | None]] = field(default_factory=dict)
    step: int = 0

    def show(self, name: str, value: float | None, labels: Mapping[str, str]) -> None:
        """The value of a series at this step."""
        pairs = ", ".join(f"{label}={json.dumps(of)}" for label, of in labels.items())
        self.values.setdefault(f"{name}{{{pairs}}}", {})[self.step] = value

    def metric(self, metric: metrics.Metric, value: float, *labels: str) -> None:
        """The value of a metric at this step, all of whose labels are given."""
        self.show(metric.name, value, dict(zip(metric.labels, labels, strict=True)))

    def as_input(self) -> list[dict[str, str]]:
        """As promtool reads them."""
        return [
            {"series": name, "values": " ".join(_written(values, step) for step in range(self.step + 1))}
            for name, values in self.values.items()
        ]


def _written(values: Mapping[int, float | None], step: int) -> str:
    if step not in values:
        return "_"
    value = values[step]
    return "stale" if value is None else f"{value:.17g}"


def series(situation: Situation, found: Told) -> list[dict[str, str]]:
    """What a worker's /metrics would have shown at the end of each slice."""
    shown, journey, t0 = _Series(), situation.journey, situation.t0
    stages = plan(journey).stages
    held = {stage.name: StageWindows(_names(journey, stage)) for stage in stages}
    queues = {name: sorted(panes, key=lambda pane: pane[0]) for name, panes in found.windows.items()}
    done = dict.fromkeys(queues, 0)
    for shown.step, at in enumerate(range(t0, t0 + situation.watched, situation.step)):
        for name, value, labels in situation.besides(at - t0):
            shown.show(name if isinstance(name, str) else name.name, value, labels)
        if at < t0 - situation.before + situation.blind:
            continue
        for metric, value in ((metrics.READY, 1), (metrics.PARTITIONS, 4), (metrics.OWNED, 4)):
            shown.metric(metric, value)
        for stage in stages:
            queue, windows = queues[stage.name], held[stage.name]
            while done[stage.name] < len(queue) and queue[done[stage.name]][0] <= at:
                _, key, pane = queue[done[stage.name]]
                windows.add(key, pane)
                done[stage.name] += 1
            if stage.name == WHOLE:
                _show_journeys(shown, windows, at)
                continue
            if done[stage.name]:
                last_s = (queue[done[stage.name] - 1][0] - t0) * SHORT.ms / 1000
                shown.metric(metrics.LAST_EVENT, last_s, stage.name, NONE)
            _show_stage(shown, journey, stage, windows, at)
    return shown.as_input()


def _show_journeys(shown: _Series, windows: StageWindows, at: int) -> None:
    sums = windows.sums((at + 1) * SHORT.ms - 1)
    for family in _journeys(JourneysSnapshot("", windows.column, sums, {}, 0, {}, {}, ())):
        ends = [(window,) for window in family.windows] if family.windows else [()]
        series = ((*cell, *end) for cell in family.cells for end in ends)
        for labels, value in zip(series, family.values, strict=True):
            shown.metric(family.metric, float(value), *labels)


def _show_stage(shown: _Series, journey: Journey, stage: Stage, windows: StageWindows, at: int) -> None:
    end_ms, (experience, *_), why = (at + 1) * SHORT.ms, stage.experiences, _reason(stage)
    sums = windows.sums(end_ms - 1)
    shown.metric(metrics.OPEN, is_open(journey, stage, end_ms - 1), stage.name)
    for segment in journey.segment_labels:
        target = float(experience.target_for(segment))
        shown.metric(metrics.TARGET, target, stage.name, experience.name, segment)
    for window in WINDOWS:
        row = dict(zip(windows.names, sums[window.label], strict=True))
        for cell in _cells(journey, stage):
            good, bad = row[counter_name("good", *cell)], row[counter_name("bad", *cell)]
            shown.metric(metrics.WINDOW_EVENTS, good + bad, stage.name, *cell, window.label)
            shown.metric(metrics.WINDOW_GOOD, good, stage.name, *cell, window.label)
        for outcome in ("ok", "failed"):
            n = row[counter_name("outcome", outcome)]
            shown.metric(metrics.WINDOW_OUTCOMES, n, stage.name, outcome, window.label)
        shown.metric(metrics.WINDOW_REASONS, row[counter_name("reason", why)], stage.name, why, window.label)
        if stage.per_hour is not None and window.label in SILENT_WINDOWS:
            from_ms = window.grain.start_of(end_ms - 1) + window.grain.ms - window.ms
            shown.metric(
                metrics.EXPECTED, expected(journey, stage, from_ms, end_ms), stage.name, window.label
            )


def _names(journey: Journey, stage: Stage) -> tuple[str, ...] | list[str]:
    if stage.name == WHOLE:
        return counter_names(journey)
    return [
        *(counter_name(kind, *cell) for cell in _cells(journey, stage) for kind in ("good", "bad")),
        "outcome/ok", "outcome/failed", counter_name("reason", _reason(stage)),
    ]  # fmt: skip


def _cells(journey: Journey, stage: Stage) -> list[tuple[str, str, str]]:
    partners = (NONE, *stage.partners)
    experience = stage.experiences[0].name
    return [(experience, segment, partner) for segment in journey.segment_labels for partner in partners]
