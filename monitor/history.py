"""History as counts by 10 s slice of event time: the same counts in whatever order its events come.

Kept is what rules look at, added over partners, in blocks of an hour: years with few events take little. A
repeated event counts again, for what a worker remembers of ids depends on when it was read.
"""

from collections import Counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitor.errors import UserError
from monitor.event import Codec, Event, Reason, Refused
from monitor.journey import Journey, Stage
from monitor.judging import Judge, bad_name, good_name, outcome_name, reason_labels, reason_name
from monitor.panes import SHORT

Table = NDArray[np.int32]
"""Counts by counter and slice. A slice of 10 s would need 200 million events a second to overflow."""

BLOCK = 3_600_000 // SHORT.ms
"""Slices of a block: an hour of a stage with 24 counters takes 35 kB."""

WAITING = 100_000
"""Events that wait to be added at once; one by one takes twenty times as long."""

MAX_SLICES = 3650 * 86_400_000 // SHORT.ms
"""Ten years. More is a wrong time in the file, and every moment of it would be judged."""


class HistoryError(UserError):
    """A history that cannot be judged."""


class StageHistory:
    """Counts of one stage. A slice is named by its number since 1970."""

    def __init__(self, journey: Journey, stage: Stage) -> None:
        cells = [(one.name, segment) for one in stage.experiences for segment in journey.segment_labels]
        reasons = reason_labels(stage)
        self.good = {cell: i for i, cell in enumerate(cells)}
        self.bad = {cell: len(cells) + i for i, cell in enumerate(cells)}
        self.events = 2 * len(cells)
        self.reasons = {reason: self.events + 1 + i for i, reason in enumerate(reasons)}
        self._counters = self.events + 1 + len(reasons)
        self._row = dict.fromkeys(map(outcome_name, stage.outcomes), self.events)
        self._row.update({reason_name(reason): row for reason, row in self.reasons.items()})
        for names, rows in ((good_name, self.good), (bad_name, self.bad)):
            for cell, row in rows.items():
                self._row.update({names(*cell, partner): row for partner in stage.partner_labels})
        self._judge = Judge(journey, stage)
        self._kinds: dict[tuple[str, ...], int] = {}
        self._rows_of: list[list[int]] = []
        self._waiting: tuple[list[int], list[int]] = [], []
        self._blocks: dict[int, Table] = {}

    def add(self, event: Event) -> None:
        """Count one event."""
        counters = self._judge.judge(event).counters
        kind = self._kinds.get(counters)
        if kind is None:
            kind = self._kinds[counters] = len(self._rows_of)
            self._rows_of.append([self._row[name] for name in counters])
        kinds, slices = self._waiting
        kinds.append(kind)
        slices.append(event.at_ms // SHORT.ms)
        if len(slices) >= WAITING:
            self._settle()

    def add_table(self, first: int, table: Table) -> None:
        """Count whole slices from `first` on; rows as `good`, `bad`, `events` and `reasons` say."""
        self._settle()
        for hour in range(first // BLOCK, (first + table.shape[1] - 1) // BLOCK + 1):
            start = max(first, hour * BLOCK)
            part = table[:, start - first : (hour + 1) * BLOCK - first]
            if part.any():
                at = start - hour * BLOCK
                self._block(hour)[:, at : at + part.shape[1]] += part

    def span(self) -> tuple[int, int] | None:
        """The first slice that holds an event, and the last; None without events."""
        self._settle()
        if not self._blocks:
            return None
        ends = min(self._blocks), max(self._blocks)
        first, last = (
            hour * BLOCK + np.flatnonzero(self._blocks[hour][self.events])[end]
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
                block[self._rows_of[kind]] += counted.astype(np.int32)


class _Named(msgspec.Struct):
    """Just enough of a line to know whose it is."""

    stage: str | None = None
    data: msgspec.Raw = msgspec.Raw()


_decode_named = msgspec.json.Decoder(_Named).decode


class History:
    """The history of a journey, read line by line; what cannot be counted is counted by reason."""

    def __init__(self, journey: Journey, *, refuse_personal_data: bool = True) -> None:
        self.stages = {stage.name: StageHistory(journey, stage) for stage in journey.stages}
        self.counted = 0
        self.refused: Counter[Reason] = Counter()
        self._codecs = {
            stage.name: Codec(journey, stage, refuse_personal_data=refuse_personal_data)
            for stage in journey.stages
        }
        self._any = next(iter(self._codecs.values()))

    def add_line(self, line: bytes) -> Refused | None:
        """Count the event of a line, or say why not. History is old, so its times are not judged."""
        stage = _stage_of(line)
        codec = self._codecs.get(stage or "", self._any)
        event = codec.decode(line)
        if isinstance(event, Refused):
            self.refused[event.reason] += 1
            return event
        self.stages[event.stage].add(event)
        self.counted += 1
        return None

    def heard(self) -> dict[str, StageHistory]:
        """The stages that have events."""
        return {name: stage for name, stage in self.stages.items() if stage.span() is not None}

    def span(self) -> tuple[int, int]:
        """The first and the last slice with an event; HistoryError without any, or with too much between."""
        spans = [span for stage in self.stages.values() if (span := stage.span()) is not None]
        if not spans:
            raise HistoryError("there is no event to judge")
        first, last = min(span[0] for span in spans), max(span[1] for span in spans)
        if last - first > MAX_SLICES:
            days = (last - first) * SHORT.ms // 86_400_000
            raise HistoryError(f"the events span {days} days, at most 3650 can be judged: is a time wrong?")
        return first, last


def _stage_of(line: bytes) -> str | None:
    """The stage a line names, itself or in the data of its envelope."""
    try:
        named = _decode_named(line)
        return named.stage or (_decode_named(named.data).stage if bytes(named.data)[:1] == b"{" else None)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
