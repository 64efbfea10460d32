"""Each event is in one pane of each grain once, whatever crashes, replays or lingers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.counting.event import Event
from monitor.counting.judging import Judge
from monitor.counting.panes import LONG, SHORT, Counts, PaneKey, Tally, is_expired, keep_ms, merge_into
from streams.state.partition import (
    EXPIRE_EVERY_MS,
    GENERATIONS,
    PaneRecord,
    Partition,
    Positioned,
    Run,
    next_epoch,
)
from tests.kit.shipped import SHIPPED as CHAIR

STAGE = CHAIR.stage("warehouse")
JUDGE = Judge(CHAIR, STAGE)
TALLY = partial(Tally, JUDGE)
HORIZON = CHAIR.horizon_ms
NOW = 1_800_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR

Panes = dict[PaneKey, Counts]


def event(outcome: str = "ok") -> Event:
    """An event of the stage; when it happened is said beside it."""
    return Event(stage="warehouse", outcome=outcome)


def at(offset: int, age_ms: int = 0, outcome: str = "ok") -> Positioned:
    """An event at an offset, so long before NOW."""
    return Positioned(offset, NOW - age_ms, event(outcome))


OUTCOMES = st.sampled_from(["ok", "failed", "abandoned"])
NEAR = st.sampled_from([0, 1, 9_999, 10_000, 20_000, 300_000, 310_000, 900_000])
FAR = st.sampled_from([0, 10_000, HOUR, 2 * HOUR, 5 * HOUR, DAY])


def sources(ages: st.SearchStrategy[int], most: int = 24) -> st.SearchStrategy[list[Positioned]]:
    """A partition's events: growing offsets with holes, where refused records were."""
    steps = st.lists(st.tuples(st.integers(1, 3), ages, OUTCOMES), min_size=1, max_size=most)

    def placed(drawn: list[tuple[int, int, str]]) -> list[Positioned]:
        events, offset = [], -1
        for step, age_ms, outcome in drawn:
            offset += step
            events.append(at(offset, age_ms, outcome))
        return events

    return steps.map(placed)


def truth(events: Iterable[Positioned]) -> Panes:
    """Every event in its pane of each grain, one by one."""
    panes: Panes = {}
    for _, at_ms, one in events:
        tally = Tally(JUDGE)
        tally.add([one], [at_ms])
        for key, counts in tally.panes():
            merge_into(panes.setdefault(key, {}), counts)
    return panes


def live(panes: Panes, events: Iterable[Positioned], now_ms: int = NOW) -> Panes:
    """The panes that some window may still reach."""
    clock_ms = max(now_ms, *(at_ms for _, at_ms, _ in events))
    return {key: counts for key, counts in panes.items() if not is_expired(key, clock_ms, HORIZON)}


def owner(log: Iterable[PaneRecord], generation: int) -> Partition:
    """A new owner that has read a changelog."""
    partition = Partition(HORIZON)
    for record in log:
        partition.restore(record)
    partition.own(generation)
    return partition


def compacted(log: Iterable[PaneRecord]) -> list[PaneRecord]:
    """A changelog of which compaction has left the last record of each key."""
    log = list(log)
    last = {record.key: i for i, record in enumerate(log)}
    return [record for i, record in enumerate(log) if last[record.key] == i]


def cut(events: list[Positioned], cuts: Iterable[int]) -> list[list[Positioned]]:
    """Events in runs that end at these places."""
    places = [0, *sorted({place % (len(events) + 1) for place in cuts}), len(events)]
    return [events[a:b] for a, b in pairwise(places)]


CUTS = st.lists(st.integers(0, 99), max_size=6)

# -- folding -----------------------------------------------------------------------------------------


@given(sources(FAR), CUTS, CUTS)
def test_cuts_change_nothing(events: list[Positioned], flushes: list[int], cuts: list[int]) -> None:
    """However events are cut into runs and runs into writes, the panes are those of the events."""
    partition = owner([], 1)
    counted = []
    log: list[PaneRecord] = []
    for batch in cut(events, flushes):
        for run in cut(batch, cuts):
            folded = partition.fold(Run.of(run), TALLY, NOW)
            assert (folded.counted, folded.duplicate) == (len(run), 0)
            assert len(folded.bad) == sum(bool(JUDGE.judge(one).bad_for) for _, _, one in run)
            counted += folded.added
        log += partition.take_changes()
    expected = live(truth(events), events)
    assert live(dict(partition.panes()), events) == expected
    assert live(dict(owner(log, 2).panes()), events) == expected
    added: Panes = {}
    for key, counts in counted:
        merge_into(added.setdefault(key, {}), counts)
    assert live(added, events) == expected


@given(sources(NEAR), CUTS, st.integers(0, 99))
def test_cuts_change_no_watermark(events: list[Positioned], cuts: list[int], place: int) -> None:
    """However runs were cut, a replay from any place recognises every event."""
    partition = owner([], 1)
    for run in cut(events, cuts):
        partition.fold(Run.of(run), TALLY, NOW)
    before = dict(partition.panes())
    replay = events[place % len(events) :]
    folded = owner(partition.take_changes(), 2).fold(Run.of(replay), TALLY, NOW)
    assert (folded.counted, folded.duplicate, folded.added, folded.bad) == (0, len(replay), [], [])
    assert partition.fold(Run.of(replay), TALLY, NOW).added == []
    assert dict(partition.panes()) == before
    assert all(partition.holds(offset, at_ms) for offset, at_ms, _ in events)


def test_late_event_counts_in_the_long_grain() -> None:
    """An event that no short window can reach is counted, in the long grain only."""
    partition = owner([], 1)
    folded = partition.fold(Run.of([at(0, 2 * HOUR)]), TALLY, NOW)
    assert (folded.counted, [key for key, _ in folded.added]) == (
        1,
        [PaneKey(LONG.ms, LONG.start_of(NOW - 2 * HOUR))],
    )
    assert partition.holds(0, NOW - 2 * HOUR)


def test_late_by_the_event_clock() -> None:
    """With a history older than the clock on the wall, what is late is said by the newest event."""
    partition = owner([], 1)
    folded = partition.fold(Run.of([at(0, 0), at(1, 2 * HOUR)]), TALLY, 0)
    assert sorted(key.grain_ms for key, _ in folded.added) == [SHORT.ms, LONG.ms, LONG.ms]


def test_holds() -> None:
    """An event is held when its long pane counts up to its offset; other panes say nothing of it."""
    partition = owner([], 1)
    partition.fold(Run.of([at(5, 0)]), TALLY, NOW)
    partition.fold(Run.of([at(9, HOUR)]), TALLY, NOW)
    assert partition.holds(5, NOW)
    assert not partition.holds(6, NOW)
    assert partition.holds(9, NOW - HOUR)
    assert not partition.holds(10, NOW - HOUR)
    assert not partition.holds(5, NOW - DAY)
    restored = owner(partition.take_changes(), 2)
    assert restored.holds(5, NOW)
    assert not restored.holds(6, NOW)
    assert not Partition(HORIZON).holds(0, NOW)


# -- recovery ----------------------------------------------------------------------------------------


@given(
    sources(NEAR),
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 99)), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_crash_and_replay_count_once(
    events: list[Positioned], lives: list[tuple[int, int]], shuffled: Random
) -> None:
    """Owner after owner crashes with any part of its records written; replay counts each event once."""
    log: list[PaneRecord] = []
    committed = 0
    for generation, (folds, written) in enumerate(lives, start=1):
        partition = owner(log, generation)
        position = committed
        partition.fold(Run.of(events[position : position + folds]), TALLY, NOW)
        log += partition.take_changes()
        log += partition.take_stale()
        committed = min(position + folds, len(events))  # all written, so this is committed
        partition.fold(Run.of(events[committed : committed + folds]), TALLY, NOW)
        records = partition.take_changes()
        shuffled.shuffle(records)
        log += records[: written % (len(records) + 1)]  # a crash amid these: not committed
    last = owner(log, len(lives) + 1)
    last.fold(Run.of(events[committed:]), TALLY, NOW)
    assert dict(last.panes()) == truth(events)


@given(sources(NEAR), CUTS, st.integers(0, 99))
def test_replay_from_any_earlier_offset(events: list[Positioned], cuts: list[int], place: int) -> None:
    """Going back further than was committed counts nothing twice, in memory or restored."""
    partition = owner([], 1)
    log = []
    for run in cut(events, cuts):
        partition.fold(Run.of(run), TALLY, NOW)
        log += partition.take_changes()
    for replaying in (partition, owner(log, 2), owner(compacted(log), 3)):
        replaying.fold(Run.of(events[place % len(events) :]), TALLY, NOW)
        assert dict(replaying.panes()) == truth(events)


@given(sources(FAR), CUTS, st.integers(0, 99))
def test_restoring_again_changes_nothing(events: list[Positioned], cuts: list[int], place: int) -> None:
    """A changelog read twice, or again from any record on, leaves panes and watermarks as they are."""
    log: list[PaneRecord] = []
    for generation, run in enumerate(cut(events, cuts), start=1):
        partition = owner(log, generation)
        partition.fold(Run.of(run), TALLY, NOW)
        log += partition.take_changes()
        log += partition.take_stale()
    once = owner(log, 99)
    held = {key: (counts, once._version(key)) for key, counts in once.panes()}
    for again in (log, log[place % (len(log) + 1) :]):
        for record in again:
            once.restore(record)
        assert {key: (counts, once._version(key)) for key, counts in once.panes()} == held
    once.own(99)
    assert once.take_changes() == []
    assert all(record.value is None for record in once.take_stale())
    assert dict(once.panes()) == {key: counts for key, (counts, _) in held.items()}


def test_restoring_keeps_what_is_not_written_yet() -> None:
    """Reading the changelog again, in a rebalance, does not undo counts in memory."""
    partition = owner([], 1)
    partition.fold(Run.of([at(0)]), TALLY, NOW)
    log = partition.take_changes()
    partition.fold(Run.of([at(1)]), TALLY, NOW)
    for record in log:
        partition.restore(record)
    partition.own(2)
    assert dict(partition.panes()) == truth([at(0), at(1)])
    assert dict(owner(log + partition.take_changes(), 3).panes()) == truth([at(0), at(1)])


def test_restoring_replaces_what_a_successor_counted() -> None:
    """An owner that returns drops its own unwritten counts for those its successor has written."""
    returning = owner([], 1)
    returning.fold(Run.of([at(0)]), TALLY, NOW)
    log = returning.take_changes()
    returning.fold(Run.of([at(1), at(2)]), TALLY, NOW)
    successors = owner_after([at(1)], log, 2)
    for record in successors:
        returning.restore(record)
    returning.own(3)
    assert dict(returning.panes()) == truth([at(0), at(1)])
    assert returning.take_changes() == []
    assert returning.fold(Run.of([at(2)]), TALLY, NOW).counted == 1
    assert dict(owner(log + successors + returning.take_changes(), 4).panes()) == truth([at(0), at(1), at(2)])


# -- former owners -----------------------------------------------------------------------------------


def long_count(partition: Partition, at_ms: int = NOW) -> int:
    """Events of the long pane of a moment."""
    counts = dict(partition.panes()).get(PaneKey(LONG.ms, LONG.start_of(at_ms)), {})
    return sum(n for name, n in counts.items() if name.startswith("outcome/"))


@given(st.lists(st.booleans(), max_size=12), st.booleans(), st.booleans())
def test_late_records_of_a_former_owner_never_win(
    order: list[bool], compact: bool, stale_deleted: bool
) -> None:
    """Wherever among its successor's a zombie's records land, the successor's are the truth."""
    zombie, successor = owner([], 1), owner([], 2)
    late: list[PaneRecord] = []
    for offset in range(9):  # it counts more than the successor, whose word holds all the same
        zombie.fold(Run.of([at(offset)]), TALLY, NOW)
        late += zombie.take_changes()
    mine: list[PaneRecord] = []
    for offset in range(4):
        successor.fold(Run.of([at(offset)]), TALLY, NOW)
        mine += successor.take_changes()
    log = []
    for is_late in order:
        queue = late if is_late else mine
        if queue:
            log.append(queue.pop(0))
    log += mine + late  # whatever is left, the zombie's last of all
    if compact:
        log = compacted(log)
    third = owner(log, 3)
    assert long_count(third) == 4
    third.fold(Run.of([at(4)]), TALLY, NOW)
    log += third.take_changes()
    if stale_deleted:
        log += third.take_stale()
    for after in (log, compacted(log), log + late):
        assert long_count(owner(after, 4)) == 5


def test_stale_records_are_deleted() -> None:
    """What a record replaces under an older epoch is deleted, after the record and not before."""
    log = owner_after([at(0)], [], 1)
    second = owner(log, 2)
    assert second.take_stale() == []
    second.fold(Run.of([at(1)]), TALLY, NOW)
    assert second.take_stale() == []  # not written yet
    changes = second.take_changes()
    assert {record.key.rpartition(b":")[2] for record in changes} == {b"2"}
    deletions = second.take_stale()
    assert {record.key for record in deletions} == {record.key for record in log}
    assert all(record.value is None for record in deletions)
    assert second.take_stale() == []
    left = [r for r in compacted(log + changes + deletions) if r.value is not None]
    assert sorted(left) == sorted(changes)
    assert long_count(owner(left, 3)) == 2


def owner_after(events: list[Positioned], log: list[PaneRecord], generation: int) -> list[PaneRecord]:
    """The changes of an owner that folded these events."""
    partition = owner(log, generation)
    partition.fold(Run.of(events), TALLY, NOW)
    return partition.take_changes()


def test_late_records_are_deleted_in_the_end() -> None:
    """An owner that finds a zombie's records beside newer ones deletes them, whichever came last."""
    zombies, mine = owner_after([at(0), at(1)], [], 1), owner_after([at(0)], [], 2)
    for log in (zombies + mine, mine + zombies):
        assert {r.key for r in owner(log, 3).take_stale()} == {r.key for r in zombies}


def test_deleted_key_that_returns_is_not_stale() -> None:
    """A record that counts again after what outranked it has gone is not deleted as stale."""
    zombies, mine = owner_after([at(0), at(1)], [], 1), owner_after([at(0)], [], 2)
    gone = [PaneRecord(key, None) for key, _ in mine]
    third = owner(mine + zombies + gone + zombies, 3)
    assert long_count(third) == 2
    assert third.take_stale() == []


def test_replayed_events_are_written_as_ones_own() -> None:
    """Events recognised by another owner's record are acknowledged only with a record of one's own.

    Otherwise the owner between the two, waking late, outranks that record by its epoch, or deletes it,
    and events that were committed are lost.
    """
    log = owner_after([at(0)], [], 1)  # committed: 1
    first = owner(log, 2)
    between = owner(log, 3)
    first.fold(Run.of([at(1), at(2)]), TALLY, NOW)  # no longer the owner: written, not committed
    log += first.take_changes()
    between.fold(Run.of([at(1)]), TALLY, NOW)  # then it is stopped before it writes
    third = owner(log, 4)
    assert third.fold(Run.of([at(1), at(2)]), TALLY, NOW).duplicate == 2
    log += third.take_changes()
    log += third.take_stale()  # committed: 3
    log += between.take_changes()
    log += between.take_stale()
    for after in (log, compacted(log)):
        assert long_count(owner(after, 5)) == 3


# -- reading on after a rebalance ---------------------------------------------------------------------


def test_late_record_does_not_undo_what_is_not_written() -> None:
    """What an owner has counted but not written outranks a former owner's late record."""
    log = owner_after([at(0)], [], 4)
    former, mine = owner(log, 5), owner(log, 6)
    former.fold(Run.of([at(1), at(2)]), TALLY, NOW)
    mine.fold(Run.of([at(n) for n in range(1, 5)]), TALLY, NOW)
    late = former.take_changes()
    for record in late:
        mine.restore(record)
    mine.own(7)
    assert dict(mine.panes()) == truth(at(n) for n in range(5))
    log += late + mine.take_changes()
    assert long_count(owner(log, 8)) == 5


def test_late_deletion_is_written_again() -> None:
    """A former owner deletes the record that the owner holds: the owner writes it as its own."""
    log = owner_after([at(0)], [], 4)
    mine = owner(log, 6)
    late = [PaneRecord(record.key, None) for record in log]
    for record in late:
        mine.restore(record)
    mine.own(7)
    assert long_count(mine) == 1
    assert long_count(owner(log + late + mine.take_changes(), 8)) == 1


def test_late_record_is_not_deleted_before_its_pane_is_written() -> None:
    """A former owner's late record stays: next it may delete the record that the owner still holds."""
    log = owner_after([at(0)], [], 4)
    former, mine = owner(log, 5), owner(log, 6)
    former.fold(Run.of([at(1)]), TALLY, NOW)
    late = former.take_changes()
    for record in late:
        mine.restore(record)
    mine.own(7)
    log += late + mine.take_changes() + mine.take_stale() + former.take_stale()
    heir = owner(log, 8)
    heir.fold(Run.of([at(1)]), TALLY, NOW)
    assert long_count(heir) == 2


def test_former_owner_counts_no_more() -> None:
    """An owner that reads a later owner's record stops: that pane may lack what it has read before."""
    mine = owner([], 1)
    mine.fold(Run.of([at(0), at(1)]), TALLY, NOW)
    for record in owner_after([at(0)], [], 2):
        mine.restore(record)
    with pytest.raises(RuntimeError, match="epoch 2 has taken over from 1"):
        mine.fold(Run.of([at(2)]), TALLY, NOW)
    mine.own(3)
    assert mine.fold(Run.of([at(1), at(2)]), TALLY, NOW).counted == 2
    assert long_count(mine) == 3


def test_expired_panes_do_not_return() -> None:
    """An owner that reads its own deletions of expired panes does not write these panes again."""
    partition = owner([], 1)
    partition.fold(Run.of([at(0, 9 * DAY), at(1, 2 * HOUR)]), TALLY, 0)
    log = partition.take_changes()
    log += partition.take_stale()
    partition.fold(Run.of([at(2)]), TALLY, 0)
    log += partition.take_changes()
    log += partition.take_stale()
    before = dict(partition.panes())
    for record in log:
        partition.restore(record)
    partition.own(2)
    assert dict(partition.panes()) == before
    assert partition.take_changes() == []


# -- whatever happens --------------------------------------------------------------------------------


@dataclass
class Flush:
    """Records on their way to the changelog, and what is acknowledged once they are there."""

    generation: int
    upto: int
    sending: list[PaneRecord]
    deleting: bool = False


@dataclass
class Member:
    """A worker as the changelog sees it: it may be slow, stopped, or no longer the owner.

    `assigned` is the generation of its last assignment, `generation` that in which it last owned.
    """

    partition: Partition = field(default_factory=lambda: Partition(HORIZON))
    assigned: int = 0
    generation: int = 0
    position: int = 0
    read: int = 0
    flush: Flush | None = None
    acknowledged: int = 0

    @property
    def is_recovering(self) -> bool:
        return self.assigned != self.generation


@dataclass
class Cluster:
    """One partition's source, changelog, group generation and committed offset, and its workers."""

    events: list[Positioned]
    log: list[tuple[int, PaneRecord]] = field(default_factory=list)
    written: int = 0
    committed: int = 0
    generation: int = 0
    members: dict[int, Member] = field(default_factory=dict)
    gone: list[Member] = field(default_factory=list)

    def assign(self, name: int, how: int) -> None:
        """A new generation: the worker reads all into a new Partition (0), all again (1) or on."""
        self.generation += 1
        if how == 0 and name in self.members:
            self.gone.append(self.members.pop(name))
        member = self.members.setdefault(name, Member())
        if how == 1:
            member.read = 0
        member.assigned = self.generation

    def recover(self, member: Member, n: int) -> None:
        """The worker reads the next `n` records of the changelog; what Faust fetched ahead, even after it."""
        for place, record in [found for found in self.log if found[0] >= member.read][:n]:
            member.partition.restore(record)
            member.read = place + 1

    def own(self, member: Member) -> None:
        """The worker reads to the end, ends the write under way and owns, if only by its own belief."""
        if not member.is_recovering:
            return
        if member.assigned < self.generation and self.has_later(member):
            return  # it has heard of its successor
        self.recover(member, len(self.log))
        self.write(member, ALL)
        member.generation = member.assigned
        member.partition.own(member.generation)
        member.position = member.acknowledged = self.committed

    def has_later(self, member: Member) -> bool:
        """Whether a changelog holds records of an owner after this one."""
        return any(int(record.key.rpartition(b":")[2]) >= member.assigned for _, record in self.log)

    def fold(self, member: Member, n: int) -> None:
        """The worker reads events, whether or not it is still the owner, but not while it recovers."""
        if not member.is_recovering:
            member.partition.fold(Run.of(self.events[member.position : member.position + n]), TALLY, 0)
            member.position = min(member.position + n, len(self.events))

    def write(self, member: Member, n: int) -> None:
        """The next `n` of the worker's records arrive; after the last, what they hold is acknowledged."""
        flush = member.flush
        while flush is not None:
            arriving, flush.sending = flush.sending[:n], flush.sending[n:]
            self.log += enumerate(arriving, start=self.written)
            self.written += len(arriving)
            n -= len(arriving)
            if flush.sending:
                return
            if not flush.deleting:
                flush.deleting = True
                flush.sending = member.partition.take_stale()
                continue
            if flush.generation == member.assigned:
                member.acknowledged = flush.upto
            flush = member.flush = None

    def start_flush(self, member: Member) -> None:
        """The worker takes what has changed and begins to write it; even while it recovers."""
        if member.flush is None:
            member.flush = Flush(member.generation, member.position, member.partition.take_changes())

    def commit(self, member: Member) -> None:
        """The worker commits what it has acknowledged; the broker refuses any but the owner."""
        if member.generation == self.generation:
            self.committed = max(self.committed, member.acknowledged)

    def compact(self, before: int, drop: bool) -> None:
        """Of the records before a place, only the last of each key remains; deletions may go too."""
        last = {record.key: place for place, record in self.log if place < before}
        self.log = [
            (place, record)
            for place, record in self.log
            if place >= before or (last[record.key] == place and not (drop and record.value is None))
        ]

    def step(self, step: str, name: int, n: int) -> None:
        """Something happens to a worker, or to one of those that are gone."""
        if step == "assign":
            self.assign(name, n)
            if n % 2:
                self.own(self.members[name])
            return
        if step == "compact":
            self.compact(self.written * n // 5, drop=n % 2 == 0)
            return
        member = self.members.get(name)
        if step == "gone":
            member = self.gone[name % len(self.gone)] if self.gone else None
        if member is None:
            return
        if step == "read":
            self.recover(member, n)
        elif step == "own":
            self.own(member)
        elif step == "fold":
            try:
                self.fold(member, n)
            except RuntimeError:  # it has read what its successor wrote, so it stops
                self.gone.append(self.members.pop(name))
        elif step == "crash":
            self.gone.append(self.members.pop(name))
        elif step == "commit":
            self.commit(member)
        else:  # flush, gone
            self.start_flush(member)
            self.write(member, n if n < 4 else ALL)
            if n == 5:
                self.commit(member)

    def check(self) -> None:
        """Whoever reads the changelog now and replays what is not committed counts everything once."""
        expected = live(truth(self.events), self.events, 0)
        log = [record for _, record in self.log]
        compact = compacted(log)
        for after in (log, compact, [record for record in compact if record.value is not None]):
            heir = owner(after, self.generation + 1)
            heir.fold(Run.of(self.events[self.committed :]), TALLY, 0)
            assert live(dict(heir.panes()), self.events, 0) == expected

    def finish(self) -> None:
        """The owner reads all events and writes; then what others have begun arrives too."""
        self.check()
        for member in self.members.values():
            if member.assigned == self.generation:
                self.own(member)
                self.fold(member, len(self.events))
                held = live(dict(member.partition.panes()), self.events, 0)
                assert held == live(truth(self.events), self.events, 0)
                self.write(member, ALL)
                self.start_flush(member)
                self.write(member, ALL)
                self.commit(member)
                assert self.committed == len(self.events)
                self.check()
        for member in (*self.members.values(), *self.gone):
            self.start_flush(member)
            self.write(member, ALL)
            self.check()


ALL = 10**6

STEPS = (
    "assign",
    "assign",
    "read",
    "own",
    "fold",
    "fold",
    "flush",
    "flush",
    "commit",
    "gone",
    "compact",
    "crash",
)

AGES = (0, 0, 0, 10_000, 10_000, 300_000, 300_000, 2 * HOUR, 9 * DAY)

Happening = tuple[str, int, int]


def happen(events: list[Positioned], happenings: Iterable[Happening]) -> None:
    """Run a cluster through this."""
    cluster = Cluster(events)
    for step, name, n in happenings:
        cluster.step(step, name, n)
    cluster.finish()


@settings(max_examples=150)
@given(
    sources(st.sampled_from(AGES), most=12),
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2), st.integers(0, 5)), max_size=60),
)
def test_counts_once_whatever_happens(events: list[Positioned], happenings: list[Happening]) -> None:
    """Workers that take over, stay, return, crash and write late leave each event counted once."""
    happen(events, happenings)


@pytest.mark.parametrize("seed", range(300))
def test_counts_once_at_random(seed: int) -> None:
    """The same by plain chance, which makes longer histories than Hypothesis."""
    happen(*history(Random(seed)))


def history(random: Random) -> tuple[list[Positioned], list[Happening]]:
    """Random events and happenings; a worker often does several things in a row."""
    events = []
    ages = random.choices(AGES, k=3)
    offset = -1
    for _ in range(random.randint(4, 16)):
        offset += random.randint(1, 2)
        events.append(at(offset, random.choice(ages)))
    happenings, name = [], 0
    workers = random.randint(2, 3)
    steps = [*random.choices(STEPS, k=8), "assign", "fold", "flush", "flush"]
    for _ in range(random.randint(10, 60)):
        if random.random() < 0.3:
            name = random.randrange(workers)
        step = random.choice(steps)
        happenings.append((step, name, random.randrange(3 if step == "fold" else 6)))
    return events, happenings


# -- epochs ------------------------------------------------------------------------------------------

EPOCHS = st.integers(-1, 2**62)
GENERATION = st.integers(0, GENERATIONS - 1)


@given(EPOCHS, GENERATION)
def test_epoch_is_above_all_read(highest: int, generation: int) -> None:
    """A new owner's epoch is above every epoch it has read, and fits the counting of the group."""
    epoch = next_epoch(highest, generation)
    assert epoch > highest
    assert epoch % GENERATIONS == generation


@given(EPOCHS, GENERATION, GENERATION)
def test_epoch_is_unique_in_its_group(highest: int, one: int, other: int) -> None:
    """Owners of different generations that have read the same have different epochs."""
    assert (next_epoch(highest, one) == next_epoch(highest, other)) == (one == other)


@pytest.mark.parametrize(
    ("highest", "generation", "epoch"),
    [
        (-1, 0, 0),
        (-1, 7, 7),
        (7, 8, 8),
        (7, 7, GENERATIONS + 7),  # the group was deleted and counts anew
        (7, 1, GENERATIONS + 1),
        (GENERATIONS + 1, 2, GENERATIONS + 2),
        (GENERATIONS + 2, 1, 2 * GENERATIONS + 1),
    ],
)
def test_epochs(highest: int, generation: int, epoch: int) -> None:
    """The generation grows within an incarnation; when it starts over, the next incarnation begins."""
    assert next_epoch(highest, generation) == epoch


def test_owning_again_is_no_change() -> None:
    """Owning again in the same generation keeps the epoch, in another raises it."""
    partition = owner([], 3)
    partition.own(3)
    assert partition.epoch == 3
    partition.own(4)
    assert partition.epoch == 4
    partition.own(1)
    assert partition.epoch == GENERATIONS + 1


# -- expiry ------------------------------------------------------------------------------------------


def test_expiry_deletes() -> None:
    """Panes no window can reach are deleted, and whoever restores the changelog agrees."""
    partition = owner([], 1)
    partition.fold(Run.of([at(0, 9 * DAY), at(1, 2 * DAY)]), TALLY, 0)
    log = partition.take_changes()
    log += partition.take_stale()
    partition.fold(Run.of([at(2, 0)]), TALLY, NOW)
    log += partition.take_changes()
    deletions = partition.take_stale()
    log += deletions
    old = truth([at(0, 9 * DAY)]).keys() | {PaneKey(SHORT.ms, SHORT.start_of(NOW - 2 * DAY))}
    keys = {b"%d:%d:1" % key for key in old}
    assert {r.key for r in deletions} == keys & {r.key for r in log if r.value is not None}
    expected = {PaneKey(LONG.ms, LONG.start_of(NOW - 2 * DAY)), *truth([at(2)])}
    assert {key for key, _ in partition.panes()} == expected
    for after in (log, compacted(log), [r for r in compacted(log) if r.value is not None]):
        assert dict(owner(after, 2).panes()) == dict(partition.panes())


def test_expiry_is_by_event_time_and_seldom() -> None:
    """Panes are looked through once in a minute of event time, not at every write."""
    partition = owner([], 1)
    oldest = at(0, keep_ms(SHORT, HORIZON) - 30_000)  # of use until 40 s after NOW

    def sweep(*events: Positioned) -> list[PaneRecord]:
        partition.fold(Run.of(events), TALLY, 0)
        partition.take_changes()
        return partition.take_stale()

    assert sweep(oldest, at(1)) == []
    assert sweep(at(2, -50_000)) == []
    assert sweep(at(3, -EXPIRE_EVERY_MS)) == [
        PaneRecord(b"%d:%d:1" % (SHORT.ms, SHORT.start_of(oldest.at_ms)), None)
    ]


def test_expiry_leaves_what_is_not_written() -> None:
    """A pane changed but not yet written is written first and deleted at a later sweep."""
    partition = owner([], 1)
    partition.fold(Run.of([at(0, 2 * HOUR)]), TALLY, 0)
    first = partition.take_changes()
    partition.fold(Run.of([at(1, 2 * HOUR)]), TALLY, 0)
    partition.fold(Run.of([at(2, 0)]), TALLY, 0)
    assert partition.take_stale() == []
    second = partition.take_changes()
    assert {r.key for r in first} <= {r.key for r in second}
    partition.fold(Run.of([Positioned(3, NOW + EXPIRE_EVERY_MS, event())]), TALLY, 0)
    log = first + second + partition.take_changes()
    deletions = partition.take_stale()
    short = PaneKey(SHORT.ms, SHORT.start_of(NOW - 2 * HOUR))
    assert [r.key for r in deletions] == [b"%d:%d:1" % short]
    assert dict(owner(log + deletions, 2).panes()) == dict(partition.panes())


@settings(max_examples=60)
@given(sources(st.sampled_from([0, HOUR, 2 * HOUR, DAY, 7 * DAY, 8 * DAY]), most=12), CUTS)
def test_expiry_takes_nothing_of_use(events: list[Positioned], cuts: list[int]) -> None:
    """With expiry at work over owners, every pane a window may reach holds exactly its events."""
    log: list[PaneRecord] = []
    for generation, run in enumerate(cut(events, cuts), start=1):
        partition = owner(log, generation)
        partition.fold(Run.of(run), TALLY, NOW)
        log += partition.take_changes()
        log += partition.take_stale()
    for after in (log, compacted(log)):
        heir = owner(after, 99)
        heir.take_stale()
        assert live(dict(heir.panes()), events) == live(truth(events), events)
