"""Encounters of a history whose beginning is told: what was bad when a limit passed is counted then.

Lines come in any order, so events that name their encounter wait until all lines are read.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from monitor.counting.event import Event
from monitor.counting.judging import Judge, Verdict
from monitor.errors import UserError
from monitor.journey_file.model import Journey
from monitor.journeys.deadlines import Deadlines
from monitor.journeys.encounters import Encounters

MAX_EVENTS = 10_000_000
"""Some 5 GB: each is kept until the last line."""


class Counted(NamedTuple):
    """What a stage counts when."""

    stage: str
    counters: tuple[str, ...]
    at_ms: int


class EncountersHistory:
    """Events of all stages that name their encounter."""

    def __init__(self, journey: Journey, judges: Mapping[str, Judge]) -> None:
        self._judges = judges
        self._openings = {stage.name: stage.openings for stage in journey.stages}
        self._deadlines = {
            stage.name: Deadlines(journey, stage, judges[stage.name]) for stage in journey.stages
        }
        self._begun = {stage.name: Encounters() for stage in journey.stages}
        self._ends: list[tuple[int, Event, Verdict]] = []

    def add(self, event: Event, encounter_id: str, verdict: Verdict) -> None:
        """Keep an event; UserError when there are too many."""
        if event.outcome in self._openings[event.stage]:
            judge = self._judges[event.stage]
            labels = judge.segment_label(event.segment), judge.partner_label(event.partner)
            self._begun[event.stage].begin(encounter_id, event.outcome, event.at_ms, labels)
            return
        if len(self._ends) == MAX_EVENTS:
            raise UserError(f"more than {MAX_EVENTS:,} events name an encounter: judge them in parts")
        self._ends.append((event.at_ms, event, verdict))

    def effects(self) -> Iterator[Counted]:
        """What all of them count, each event at its time but for what was bad before."""
        for offset, (at_ms, event, verdict) in enumerate(sorted(self._ends, key=lambda one: one[0])):
            ended = self._begun[event.stage].end(event.encounter_id or "", offset, ("", ""), at_ms)
            backdated = [] if ended is None else self._deadlines[event.stage].backdated(ended, event, at_ms)
            moved = {one.counter for one in backdated}
            yield Counted(event.stage, tuple(one for one in verdict.counters if one not in moved), at_ms)
            for counter, _, to_ms in backdated:
                yield Counted(event.stage, (counter,), to_ms)
