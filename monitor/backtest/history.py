"""History as counts by 10 s slice of event time: the same counts in whatever order its events come.

Kept is what rules look at, added over partners, in blocks of an hour: years with few events take little.
Whole journeys are a stage of their own (`whole`), counted once all events are known. Events that repeat an id
within the `dedupe_s` of their stage count once, as on a worker, which goes by the time they were read.
"""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.backtest.encounters import EncountersHistory
from monitor.backtest.journeys import JourneysHistory
from monitor.counting.event import Codecs, Event, Reason, Refused
from monitor.counting.judging import Judge, Verdict, counter_name, reason_labels
from monitor.counting.panes import SHORT
from monitor.errors import UserError
from monitor.journey_file.model import NONE, WHOLE, Stage
from monitor.journeys.counters import CRITICAL_CELLS, JOURNEY_FAMILIES, counter_names, lived_stages
from monitor.journeys.step import contact_of, step_of
from monitor.rules.journeys import BETWEEN
from monitor.rules.plan import Plan

Table = NDArray[np.int32]
"""Counts by counter and slice. A slice of 10 s would need 200 million events a second to overflow."""

BLOCK = 3_600_000 // SHORT.ms
"""Slices of a block: an hour of a stage with 24 counters takes 35 kB."""

MAX_WAITING = 100_000
"""Events that wait to be added at once; one by one takes twenty times as long."""

MAX_SLICES = 3650 * 86_400_000 // SHORT.ms
"""Ten years. More is a wrong time in the file, and every moment of it would be judged."""


MAX_STEPS = 10_000_000
"""Some 5 GB: the steps of all journeys are kept until the last line."""

KEPT_IDS = 1_000_000
"""Some 200 MB; beyond it the ids of events older than `dedupe_s` before the newest are forgotten."""


class StageHistory:
    """Counts of one stage, or of whole journeys. A slice is named by its number since 1970.

    `events` of whole journeys are those that are over; `critical` are their answers by stage, as a
    `critical.Touchpoint`. `partners` are the events judged by experience and partner.
    """

    def __init__(self, plan: Plan, stage: Stage) -> None:
        journey = plan.journey
        if stage.name == WHOLE:
            groups = {one.experience.name: one.groups or journey.segment_labels for one in plan.watched}
            reasons, answered = stage.reasons, [one.name for one in lived_stages(journey)]
        else:
            groups = dict.fromkeys((one.name for one in stage.experiences), journey.segment_labels)
            reasons, answered = reason_labels(stage), []
        cells = [(experience, segment) for experience, segments in groups.items() for segment in segments]
        self.good = {cell: i for i, cell in enumerate(cells)}
        self.bad = {cell: len(cells) + i for i, cell in enumerate(cells)}
        self.events = 2 * len(cells)
        self.reasons = {reason: self.events + 1 + i for i, reason in enumerate(reasons)}
        first = self.events + 1 + len(reasons)
        self.critical = {name: range(first + 4 * i, first + 4 * i + 4) for i, name in enumerate(answered)}
        first += 4 * len(answered)
        partners = stage.partner_labels if stage.partners else ()
        of = [(experience.name, partner) for experience in stage.experiences for partner in partners]
        self.partners = {cell: first + i for i, cell in enumerate(of)}
        self._counters = first + len(of)
        self._adds = self._of_journeys(plan) if stage.name == WHOLE else self._of_stage(stage)
        self._kinds: dict[tuple[str, ...], int] = {}
        self._adds_of: list[dict[int, int]] = []
        self._waiting: tuple[list[int], list[int]] = [], []
        self._blocks: dict[int, Table] = {}
        self._hours: tuple[int, int] | None = None

    def _of_stage(self, stage: Stage) -> dict[str, dict[int, int]]:
        """What each counter of `judging` adds to which row."""
        adds = {counter_name("outcome", outcome): {self.events: 1} for outcome in stage.outcomes}
        adds |= {counter_name("reason", reason): {row: 1} for reason, row in self.reasons.items()}
        for verdict, rows in (("good", self.good), ("bad", self.bad)):
            for cell, row in rows.items():
                for partner in stage.partner_labels:
                    adds[counter_name(verdict, *cell, partner)] = {row: 1}
                    if (of := self.partners.get((cell[0], partner))) is not None:
                        adds[counter_name(verdict, *cell, partner)][of] = 1
        return adds

    def _of_journeys(self, plan: Plan) -> dict[str, dict[int, int]]:
        """What each counter of `journeys.counters` adds to which row: what is not bad is good."""
        adds: dict[str, dict[int, int]] = {}
        for counter in counter_names(plan.journey):
            family, *values = counter.split("/")
            metric = JOURNEY_FAMILIES[family]
            labels = dict(zip(metric.labels, values, strict=False))  # the last of the metric is the window
            rows = adds[counter] = Counter[int]()
            for one in plan.watched:
                cell = one.experience.name, BETWEEN.join(labels.get(label, "") for label in one.by)
                events, bad = (
                    sum(term.counts(metric, labels) for term in some) for some in (one.events, one.bad)
                )
                if events or bad:
                    rows[self.good[cell]] += events - bad
                    rows[self.bad[cell]] += bad
            if family == "closed":
                rows[self.events] += 1
            elif family == "failed" and labels["cause"] != NONE:
                rows[self.reasons[f"{labels['cause']} {labels['about']}"]] += 1
            elif family == "critical":
                rows[self.critical[labels["stage"]][CRITICAL_CELLS.index(labels["cell"])]] += 1
        return adds

    def add(self, counters: tuple[str, ...], at_ms: int) -> None:
        """Count what happened at a time."""
        kind = self._kinds.get(counters)
        if kind is None:
            kind = self._kinds[counters] = len(self._adds_of)
            adds = Counter[int]()
            for name in counters:
                adds.update(self._adds.get(name, {}))
            self._adds_of.append(adds)
        if not self._adds_of[kind]:
            return
        kinds, slices = self._waiting
        kinds.append(kind)
        slices.append(at_ms // SHORT.ms)
        if len(slices) >= MAX_WAITING:
            self._settle()

    def span(self) -> tuple[int, int] | None:
        """The first slice that anything is counted in, and the last; None without events."""
        self._settle()
        counted = [hour for hour, block in self._blocks.items() if block.any()]  # some add up to nothing
        if not counted:
            return None
        ends = min(counted), max(counted)
        first, last = (
            hour * BLOCK + np.flatnonzero(self._blocks[hour].any(axis=0))[end]
            for hour, end in zip(ends, (0, -1), strict=True)
        )
        return int(first), int(last)

    def table(self, first: int, end: int) -> Table:
        """All counts from slice `first` up to `end`."""
        self._settle()
        found = np.zeros((self._counters, end - first), dtype=np.int32)
        hours = range(first // BLOCK, (end - 1) // BLOCK + 1)
        known = hours if len(hours) < len(self._blocks) else [h for h in self._blocks if h in hours]
        for hour in known:
            block, at = self._blocks.get(hour), hour * BLOCK - first
            if block is not None:
                part = block[:, max(0, -at) : max(0, end - hour * BLOCK)]
                found[:, max(0, at) : max(0, at) + part.shape[1]] = part
        return found

    def by_hour(self) -> dict[int, NDArray[np.int64]]:
        """Each counter's sum over each hour with events, numbered since 1970."""
        self._settle()
        return {hour: block.sum(axis=1, dtype=np.int64) for hour, block in self._blocks.items()}

    def running_sums(self, first: int, end: int) -> Table:
        """For each counter, the sum of all slices from `first` on before each; a column more than slices."""
        table = self.table(first, end)
        sums = np.zeros((len(table), end - first + 1), dtype=np.int32)
        np.cumsum(table, axis=1, out=sums[:, 1:])
        return sums

    def events_between(self, first: int, end: int) -> int:
        """All events from slice `first` up to `end`."""
        return int(self.table(first, end)[self.events].sum(dtype=np.int64))

    def _block(self, hour: int) -> Table:
        block = self._blocks.get(hour)
        if block is None:
            first, last = self._hours or (hour, hour)
            self._hours = first, last = min(first, hour), max(last, hour)
            _check_span(first * BLOCK, last * BLOCK)
            block = self._blocks[hour] = np.zeros((self._counters, BLOCK), dtype=np.int32)
        return block

    def _settle(self) -> None:
        kinds, slices = (np.array(waiting, dtype=np.int64) for waiting in self._waiting)
        if not len(slices):
            return
        self._waiting = [], []
        order = np.argsort(slices, kind="stable")
        kinds, slices = kinds[order], slices[order]
        hours, starts = np.unique(slices // BLOCK, return_index=True)
        for hour, start, end in zip(hours.tolist(), starts, [*starts[1:], len(slices)], strict=True):
            block, at = self._block(hour), slices[start:end] - hour * BLOCK
            for kind in np.unique(kinds[start:end]).tolist():
                counted = np.bincount(at[kinds[start:end] == kind], minlength=BLOCK)
                for row, times in self._adds_of[kind].items():
                    block[row] += times * counted.astype(np.int32)


class Ids:
    """Ids of one stage, and when (ms) each was seen. All are kept as long as `KEPT_IDS` are not more."""

    def __init__(self, dedupe_ms: int) -> None:
        self._dedupe_ms = dedupe_ms
        self._seen: dict[str, int] = {}
        self._newest_ms = 0

    def is_repeated(self, id_: str, at_ms: int) -> bool:
        """Whether the id was seen less than the stage's time before or after."""
        if not self._dedupe_ms:
            return False
        seen_ms = self._seen.get(id_)
        if seen_ms is not None and abs(at_ms - seen_ms) < self._dedupe_ms:
            return True
        self._seen[id_] = at_ms
        self._newest_ms = max(self._newest_ms, at_ms)
        if len(self._seen) > KEPT_IDS:
            since_ms = self._newest_ms - self._dedupe_ms
            self._seen = {one: ms for one, ms in self._seen.items() if ms > since_ms}
        return False


class History:
    """The history of a journey, read line by line; what cannot be counted is counted by reason."""

    def __init__(self, plan: Plan, *, refuse_personal_data: bool = True) -> None:
        self._plan, journey = plan, plan.journey
        self.stages = {stage.name: StageHistory(plan, stage) for stage in plan.stages}
        self.counted = 0
        self.repeated = 0
        self.fixes: Counter[tuple[str, ...]] = Counter()
        """Journeys over by what alone would have made them good, or which two things together."""
        self._steps = 0
        self._ids = {stage.name: Ids(stage.dedupe_ms) for stage in journey.stages}
        self.refused: Counter[Reason] = Counter()
        self._codecs = Codecs(journey, refuse_personal_data=refuse_personal_data)
        self._judges = {stage.name: Judge(journey, stage) for stage in journey.stages}
        self._encounters = EncountersHistory(journey, self._judges)
        self._journeys = JourneysHistory(journey) if journey.journeys is not None else None
        self._contact_stages = journey.journeys.contacts if journey.journeys is not None else ()

    def add_line(self, line: bytes) -> Refused | None:
        """Count the event of a line, or say why not. History is old, so its times are not judged."""
        event = self._codecs.of(line).decode(line)
        if isinstance(event, Refused):
            self.refused[event.reason] += 1
            return event
        assert event.id is not None  # noqa: S101 - the codec holds it
        if self._ids[event.stage].is_repeated(event.id, event.at_ms):
            self.repeated += 1
            return None
        verdict = self._judges[event.stage].judge(event)
        if event.encounter_id is None:
            self.stages[event.stage].add(verdict.counters, event.at_ms)
        else:
            self._encounters.add(event, event.encounter_id, verdict)
        if self._journeys is not None:
            self._add_to_journeys(self._journeys, event, verdict)
        self.counted += 1
        return None

    def _add_to_journeys(self, journeys: JourneysHistory, event: Event, verdict: Verdict) -> None:
        contact = contact_of(event) if event.stage in self._contact_stages else None
        if event.journey_id is None and contact is None:
            return
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise UserError(f"more than {MAX_STEPS:,} events name a journey or case: judge them in parts")
        if event.journey_id is not None:
            journeys.add(step_of(event, event.at_ms, 0, self.counted, verdict))
        if contact is not None:
            journeys.add_contact(contact)

    def end(self) -> None:
        """Count encounters whose beginning is told, and whole journeys, once all lines are read."""
        for stage, counters, at_ms in self._encounters.effects():
            self.stages[stage].add(counters, at_ms)
        self._encounters = EncountersHistory(self._plan.journey, self._judges)
        if self._journeys is not None:
            for effect in self._journeys.effects():
                self.stages[WHOLE].add(effect.counters, effect.at_ms)
                for kind, *fix in (counter.split("/") for counter in effect.counters):
                    if kind == "fix":
                        self.fixes[tuple(fix)] += 1
            self._journeys = None

    def as_json(self) -> dict[str, Any]:
        """How many events were counted, repeated, and refused by reason; journeys by what would have made
        them good."""
        refused = dict(sorted(self.refused.items()))
        fixes = [{"fix": fix, "also": also, "journeys": n} for (fix, also), n in self.fixes.most_common()]
        return {"counted": self.counted, "repeated": self.repeated, "refused": refused, "fixes": fixes}

    def heard(self) -> dict[str, StageHistory]:
        """The stages that have events."""
        return {name: stage for name, stage in self.stages.items() if stage.span() is not None}

    def span(self) -> tuple[int, int]:
        """The first and the last slice with an event; UserError without any, or with too much between."""
        spans = [span for stage in self.stages.values() if (span := stage.span()) is not None]
        if not spans:
            raise UserError("it has no event to judge")
        first, last = min(span[0] for span in spans), max(span[1] for span in spans)
        _check_span(first, last)
        return first, last


def _check_span(first: int, last: int) -> None:
    """UserError when there are too many slices between the first and the last."""
    if last - first > MAX_SLICES:
        days = (last - first) * SHORT.ms // 86_400_000
        raise UserError(f"the events span {days} days, at most 3650 can be judged: is a time wrong?")
