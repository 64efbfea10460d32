"""The journeys of one partition of the steps topic, each counted once, whoever kept it before.

All of it is a function of the partition's records up to one offset, the *position*: the same records give the
same journeys, and each adds to the same counters at the same offset. So any record of a journey is right,
whoever wrote it, and says up to which offset. What differs is how far each was written:

- A clock record says up to which offset *everything* was written; an owner goes on from there.
- A journey's record may be ahead of that: its steps up to its own offset are passed over, and what they added
  to stands in it, to be offered to the panes again at the same offset. Panes know what they hold.
- Keys carry the owner's epoch, so no former owner overwrites its successor. Of two records of one journey the
  one that is further wins (`streams.journeys.store`).
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from heapq import nlargest

from monitor.counting.panes import SHORT
from monitor.journeys.alerted import HIT
from monitor.journeys.counters import Effect
from monitor.journeys.open import KEEP_MS, JourneyRules, OpenJourney, Overdue
from monitor.journeys.step import Step, Steps
from monitor.live.journeys import Source
from streams.journeys.closed import Closed
from streams.journeys.contacts import Contacts
from streams.journeys.records import (
    CLOSED,
    OVERDUE,
    Kept,
    Made,
    Room,
    StepResult,
    Taken,
    clock_key,
    header,
    pack_clock,
    unpack,
    unpack_clock,
)
from streams.journeys.store import EACH_BYTES, JourneyStore, Timers
from streams.state.latest import add_meant
from streams.state.partition import PaneRecord, Partition, TakenOverError, read_epoch

log = logging.getLogger(__name__)

LOOKED_AT = 200
"""To unpack as many, and say what happened in them, takes some 30 ms."""

REBUILD_SLICE = 500
"""Journeys looked at before the event loop gets a turn."""


class JourneyPartition:
    """Open journeys, their clock and the panes they add to."""

    def __init__(self, rules: JourneyRules, sources: frozenset[Source], horizon_ms: int) -> None:
        self.panes = Partition(horizon_ms)
        self._contacts = Contacts(horizon_ms)
        self.closed = Closed()
        self.clock_ms = 0
        self.position = -1
        self.open = 0
        self.room: Room = "all"
        self.overdue: dict[str, tuple[Overdue, ...]] = {}
        self._rules = rules
        self._sources = sources
        self._marks: dict[Source, int] = {}
        self._least_ms: int | None = None
        """The least mark of all sources, once it has been looked for."""
        self._store = JourneyStore()
        self._timers = Timers()
        self._ahead: dict[str, int] = {}
        self._furthest = -1
        """Journeys recovered from beyond the clock record, up to which offset, and the furthest of these."""
        self._again: dict[int, list[Made]] = defaultdict(list)
        """What these had added to there, by offset, for the panes may not hold it."""
        self._clock_epoch = -1
        self._written = deque([-1, -1], maxlen=2)
        """Positions of the last two clock records: whether the later one has arrived is not known yet."""
        self.is_owned = False

    # -- recovery ------------------------------------------------------------------------------------

    def restore(self, record: PaneRecord) -> None:
        """Apply one changelog record; TakenOverError if another owner has gone on with what is still held."""
        kind, _, rest = record.key.partition(b":")
        if kind in (b"k", b"x"):
            if not self.is_owned:
                (self._contacts if kind == b"k" else self.closed).restore(record)
            return
        if kind not in (b"j", b"c"):
            self.panes.restore(record)
            return
        epoch_text, _, id_bytes = rest.partition(b":")
        epoch, journey_id = read_epoch(epoch_text), id_bytes.decode()
        if record.value is not None:  # raises if it is none of ours
            (unpack_clock if kind == b"c" else unpack)(record.value)
            if kind == b"j" and header(record.value).epoch != epoch:
                raise ValueError("key and value name different owners")
        self.panes.hear_of(epoch)
        if self.is_owned:
            if epoch > self.panes.epoch:
                raise TakenOverError(f"epoch {epoch} has taken over journeys from {self.panes.epoch}")
            return
        if kind == b"c":
            self._restore_clock(epoch, record)
        else:
            self._store.restore(journey_id, epoch, record)

    def _restore_clock(self, epoch: int, record: PaneRecord) -> None:
        if record.value is None:
            self._store.stale.discard(record.key)
        elif epoch >= self._clock_epoch:
            told = unpack_clock(record.value)
            if 0 <= self._clock_epoch < epoch:
                self._store.stale.add(clock_key(self._clock_epoch))
            self._clock_epoch = epoch
            self.position, self.clock_ms, self._marks = told
        else:
            self._store.stale.add(record.key)

    async def own(self, generation: int, is_current: Callable[[], bool]) -> None:
        """Become the owner, once the changelog has been read; gives up when the group has moved on."""
        self.panes.own(generation)
        if self.is_owned:
            return
        self._store.settle()
        self.open = 0
        self.overdue.clear()
        self._timers = Timers()
        self._ahead.clear()
        self._furthest = -1
        self._again.clear()
        for number, (journey_id, value) in enumerate(self._store.records()):
            if number % REBUILD_SLICE == 0:
                await asyncio.sleep(0)
                if not is_current():
                    return
            position, _, next_ms, flags = header(value)
            self._timers.set(journey_id, next_ms)
            if position > self.position or flags & OVERDUE:
                kept = unpack(value)
                self._note_overdue(journey_id, kept.journey)
                if position > self.position:
                    self._ahead[journey_id] = position
                    self._furthest = max(self._furthest, position)
                    effects = [Effect(one.at_ms, one.counters) for one in kept.made]
                    add_meant(self.panes.latest, journey_id, effects)
                    for made in kept.made:
                        if made.offset > self.position:
                            self._again[made.offset].append(made)
            self.open += not flags & CLOSED
        self._contacts.own(self.position, self.clock_ms)
        self._written = deque([self.position, self.position], maxlen=2)
        self.is_owned = True

    # -- steps and time ------------------------------------------------------------------------------

    def take(self, offset: int, record: Steps) -> Taken:
        """Take in one record; what it adds to, all at its offset."""
        total = len(record.steps) + len(record.contacts)
        if offset <= self.position:
            return Taken([], total, total, 0, 0, 0)
        made: list[Made] = self._again.pop(offset, [])
        results = [
            self._take_step(step, offset, made)
            for step in record.steps
            if self._ahead.get(step.journey_id, -1) < offset
        ]
        duplicate, late, refused, skipped = (
            results.count(one) for one in ("duplicate", "late", "refused", "skipped")
        )
        contacts = self._contacts.take(offset, record.contacts, self.room)
        self._advance((record.stage, record.partition), record.mark_ms)
        passed, late_before = self._pass_time(offset)
        made += passed
        late += late_before
        made += [Made(offset, *effect) for effect in self._contacts.pass_time(self.clock_ms)]
        self.position = offset
        if self._ahead and offset >= self._furthest:
            self._ahead.clear()
        return Taken(made, total, duplicate + contacts.duplicate, late, refused + contacts.refused, skipped)

    def _advance(self, source: Source, mark_ms: int) -> None:
        """Move the clock on to where all sources are; only the one that was least far can move it."""
        before_ms = self._marks.get(source, 0)
        if mark_ms <= before_ms:
            return
        self._marks[source] = mark_ms
        is_least = self._least_ms is None or before_ms <= self._least_ms
        if is_least and self._sources <= self._marks.keys():
            self._least_ms = min(self._marks[one] for one in self._sources)
            self.clock_ms = max(self.clock_ms, self._least_ms)

    def _take_step(self, step: Step, offset: int, made: list[Made]) -> StepResult:
        """Take in one step; what it adds to is added to `made`. One that a full journey holds already is
        refused, too."""
        journey_id = step.journey_id
        if self.room == "none" or self._store.is_full(journey_id):
            return "refused"
        kept = self._store.find(journey_id)
        if kept is not None and step.at_ms <= kept.journey.after_ms:
            return "late"
        if kept is None or _is_of_another(step, kept.journey):
            if step.at_ms < self.clock_ms - KEEP_MS:
                return "late"
            if self.room != "all":
                return "refused"
            kept = self._begun(kept)
        return self._add_step(step, kept, offset, made)

    def _begun(self, before: Kept | None) -> Kept:
        """A journey without a step; what the one before with its id added to may have to be offered again."""
        self.open += 1
        if before is None:
            return Kept(OpenJourney())
        return Kept(OpenJourney(after_ms=(before.journey.closed_ms or 0) + KEEP_MS), before.made)

    def _add_step(self, step: Step, kept: Kept, offset: int, made: list[Made]) -> StepResult:
        """Add a step to its journey; what that adds to is added to `made`."""
        journey_id, looked_at_ms = step.journey_id, kept.journey.next_ms
        try:
            effects = self._rules.take(kept.journey, step)
        except Exception:
            log.exception("a step from %s cannot be processed and is skipped", step.source)
            kept.journey.steps = [one for one in kept.journey.steps if one.source != step.source]
            return "skipped"
        if effects is None:
            return "duplicate"
        is_late = kept.journey.closed_ms is not None
        if effects or not is_late:
            self._store.change(journey_id, kept)
        if effects:
            made += self._add(kept, offset, effects)
        if is_late:
            return "late"
        if effects:
            add_meant(self.panes.latest, journey_id, effects)
        if journey_id in self.overdue:  # only the passing of time makes anything overdue
            self._note_overdue(journey_id, kept.journey)
        next_ms = kept.journey.next_ms
        if not self.clock_ms < looked_at_ms <= next_ms:
            self._timers.set(journey_id, next_ms)
        return "counted"

    def _pass_time(self, offset: int) -> tuple[list[Made], int]:
        """What that adds to, and how many steps it shows to have come after the end of their journey.

        Journeys whose slices have ended are looked at as of that end: one that is looked at before its turn
        must not add anything at an earlier offset than it does elsewhere.
        """
        made: list[Made] = []
        late = 0
        passed_ms = SHORT.start_of(self.clock_ms) - 1
        for journey_id in self._timers.due(self.clock_ms):
            if self._ahead.get(journey_id, -1) >= offset:
                self._timers.set(journey_id, self.clock_ms)
                continue
            next_ms = self._store.next_ms(journey_id)
            if next_ms is not None and next_ms <= passed_ms:
                kept = self._store.find(journey_id)
                assert kept is not None  # noqa: S101 - it has a next moment
                if kept.journey.closed_ms is None:
                    kept, late_for_it = self._pass_one(journey_id, kept, offset, made)
                    late += late_for_it
                next_ms = kept.next_ms
            if next_ms is None:
                continue
            if next_ms > passed_ms:
                self._timers.set(journey_id, next_ms)
            elif self._store.is_changed(journey_id):  # that it is over is written before it is forgotten
                self._timers.set(journey_id, self.clock_ms)
            else:
                self._store.forget(journey_id)
        return made, late

    def _pass_one(self, journey_id: str, kept: Kept, offset: int, made: list[Made]) -> tuple[Kept, int]:
        """Pass the time of a journey under way, and of those that follow it with its id; what that adds to is
        added to `made`. Returns the last of them, and how many steps came after the end of theirs."""
        steps = kept.journey.steps
        effects = self._passed(kept.journey, SHORT.start_of(self.clock_ms) - 1)
        closed_ms = kept.journey.closed_ms
        if effects or closed_ms is not None:
            self._store.change(journey_id, kept)
            made += self._add(kept, offset, effects)
            add_meant(self.panes.latest, journey_id, effects)
            self._note_overdue(journey_id, kept.journey)
        if closed_ms is None:
            return kept, 0
        self.open -= 1
        self.closed.add(journey_id, kept.journey)
        ours = [step for step in steps if not _is_of_another(step, kept.journey)]
        late = sum(step.at_ms > closed_ms for step in ours)
        if len(ours) < len(steps):
            following = self._begun(kept)
            following.journey.hit = kept.journey.leave_hit(ours)
            for step in steps[len(ours) :]:  # they are in the order of their time
                self._add_step(step, following, offset, made)
            kept, late_for_it = self._pass_one(journey_id, following, offset, made)
            late += late_for_it
        return kept, late

    def _passed(self, journey: OpenJourney, passed_ms: int) -> list[Effect]:
        """What the passing of time adds to; a journey that our rules fail on is over without a count."""
        try:
            return self._rules.pass_time(journey, passed_ms)
        except Exception:
            log.exception("a journey with a step from %s cannot be processed", journey.steps[0].source)
            journey.closed_ms = passed_ms
            return []

    def _add(self, kept: Kept, offset: int, effects: list[Effect]) -> list[Made]:
        made = [Made(offset, at_ms, counters) for at_ms, counters in effects]
        kept.made += made
        return made

    def _note_overdue(self, journey_id: str, journey: OpenJourney) -> None:
        """Of a journey under way: what is over waits for nothing."""
        if journey.closed_ms is None and (found := tuple(journey.overdue())):
            self.overdue[journey_id] = found
        else:
            self.overdue.pop(journey_id, None)

    @property
    def changed(self) -> int:
        """How many journeys differ from their records."""
        return self._store.changed

    @property
    def kept_bytes(self) -> int:
        """The memory that journeys take, but for what has not been written yet."""
        beside = self._contacts.kept_bytes + self.closed.kept_bytes
        return self._store.record_bytes + EACH_BYTES * len(self._store) + beside

    @property
    def slowest(self) -> Source | None:
        """The source that the clock waits for, one never heard of before all; None while none has been."""
        if not self._marks:
            return None
        return min(sorted(self._sources), key=lambda source: self._marks.get(source, 0), default=None)

    def look_up(self, journey_id: str) -> OpenJourney | None:
        """The journey as it is now."""
        kept = self._store.find(journey_id)
        return None if kept is None else kept.journey

    def troubled(self, until_ms: int) -> Iterator[tuple[str, OpenJourney]]:
        """Journeys that may be hurt or soon be: `LOOKED_AT` of those overdue, changed by time up to a moment
        and hit by a bad encounter. The latest of those that are past, and the soonest."""
        overdue = nlargest(LOOKED_AT, self.overdue, lambda one: self.overdue[one][0][2])
        lists = (name for name in self.panes.latest.names if name.startswith(f"{HIT}/"))
        hit = nlargest(
            LOOKED_AT, ((at_ms, id_) for name in lists for at_ms, id_, _ in self.panes.latest.newest(name))
        )
        soon = self._timers.soonest(LOOKED_AT, until_ms)
        for journey_id in dict.fromkeys([*overdue, *soon, *(id_ for _, id_ in hit)]):
            if (found := self.look_up(journey_id)) is not None:
                yield journey_id, found

    # -- writing -------------------------------------------------------------------------------------

    def take_changes(self) -> tuple[list[PaneRecord], list[PaneRecord], list[PaneRecord]]:
        """Records of all that has changed since the last call; the clock record; deletions of what newer
        records have replaced, and of what is over for good. Each is to be written when the one before is:
        what is forgotten from now on may not be deleted before a later clock record is there.

        A clock record also when only marks have come: a successor that lacked them would have things fall due
        at other offsets than those at which panes may already hold them.
        """
        contacts, stale = self._contacts.take_changes()
        records = self.panes.take_changes() + contacts
        epoch = self.panes.epoch
        records += self._store.take_changes(self.position, epoch, self._written[0], self.overdue)
        if not records and self.position == self._written[-1]:
            return [], [], self._take_stale(stale)
        self._written.append(self.position)
        if self._clock_epoch not in (-1, epoch):
            self._store.stale.add(clock_key(self._clock_epoch))
        self._clock_epoch = epoch
        clock = PaneRecord(clock_key(epoch), pack_clock(self.position, self.clock_ms, self._marks))
        return records, [clock], self._take_stale(stale)

    def _take_stale(self, stale: list[PaneRecord]) -> list[PaneRecord]:
        stale += [PaneRecord(key, None) for key in self._store.stale]
        self._store.stale.clear()
        return [*self.panes.take_stale(), *stale]


def _is_of_another(step: Step, journey: OpenJourney) -> bool:
    """Whether it came so long after the end that it belongs to the next journey with this id."""
    return journey.closed_ms is not None and step.at_ms > journey.closed_ms + KEEP_MS
