"""An encounter is open from its first event to the one that ends it, whatever crashes, replays or lingers."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

import msgspec
import pytest

from monitor.counting.event import Event
from monitor.counting.judging import Judge
from monitor.counting.panes import LONG, Counts, PaneKey, Tally, merge_into
from monitor.journey_file.model import Stage
from monitor.journeys.deadlines import Deadlines
from monitor.journeys.encounters import MAX_AGE_MS, REMEMBERED_MS, Encounter, Encounters
from monitor.live.journeys import PartitionLag
from streams.kafka.outgoing import Outgoing
from streams.state.encounters import StagePartition
from streams.state.partition import PaneRecord, Positioned, Run
from tests.kit.shipped import SHIPPED as JOURNEY
from tests.streams.state.test_partition import (
    ALL,
    HORIZON,
    NOW,
    STEPS,
    Cluster,
    Happening,
    Member,
    compacted,
)
from tests.streams.state.test_processor import Record, Rig, event, settle

QUEUE = JOURNEY.stage("call_queue")
JUDGE = Judge(JOURNEY, QUEUE)
DEADLINES = Deadlines(JOURNEY, QUEUE, JUDGE)
TALLY = partial(Tally, JUDGE)
CHECKOUT = JOURNEY.stage("web_checkout")
LABELS = ("new", "none")
FAR = 2**62
OPENINGS = ("queued", "started")

Open = dict[str, tuple[int | None, int | None]]


def said(offset: int, id_: str, outcome: str, at_ms: int = NOW) -> Positioned:
    """An event of an encounter; whoever is no longer in the queue has waited too long."""
    wait_s = None if outcome in OPENINGS else 63
    return Positioned(
        offset, at_ms, Event(stage="call_queue", outcome=outcome, encounter_id=id_, wait_s=wait_s)
    )


def follow(encounters: Encounters, events: Iterable[Positioned], now_ms: int = NOW) -> dict[int, Encounter]:
    """What a stage does with a run of events; returns what each has ended."""
    ended = {}
    encounters.sweep(now_ms)
    for offset, at_ms, one in events:
        if one.outcome in OPENINGS:
            encounters.begin(one.encounter_id, one.outcome, at_ms, LABELS)
        elif (found := encounters.end(one.encounter_id, offset, LABELS, now_ms)) is not None:
            ended[offset] = found
    return ended


def fold(partition: StagePartition, events: Sequence[Positioned]) -> None:
    """The same with panes."""
    ended = follow(partition.encounters, events)
    backdated = {
        offset: some
        for offset, at_ms, one in events
        if offset in ended and (some := DEADLINES.backdated(ended[offset], one, at_ms))
    }
    partition.fold_backdating(backdated, Run.of(events), TALLY, 0)


def long_panes(partition: StagePartition) -> dict[PaneKey, Counts]:
    """What it has judged, in the long grain."""
    return {
        key: judged
        for key, counts in partition.panes()
        if key.grain_ms == LONG.ms
        and (judged := {name: n for name, n in counts.items() if not name.startswith("wait")})
    }


def counted(events: Iterable[Positioned]) -> dict[PaneKey, Counts]:
    """Each event by itself. A wait of more than 20 s is bad when these have passed, if it is known by then
    that somebody waits, and that nobody has served them."""
    panes: dict[PaneKey, Counts] = {}
    begun: dict[str, dict[str, int]] = {}
    ended = set()
    for _, at_ms, one in events:
        id_, begins = str(one.encounter_id), begun.setdefault(str(one.encounter_id), {})
        counters = Counter(JUDGE.judge(one).counters)
        late_ms = begins.get("queued", FAR) + 20_000
        if one.outcome in OPENINGS:
            if id_ not in ended:
                begins.setdefault(one.outcome, at_ms)
        elif id_ not in ended:
            ended.add(id_)
            if late_ms < min(at_ms, begins.get("started", FAR)):
                for counter in [name for name in counters if name.startswith("bad/service_level")]:
                    n = counters.pop(counter)
                    merge_into(panes.setdefault(PaneKey(LONG.ms, LONG.start_of(late_ms)), {}), {counter: n})
        merge_into(panes.setdefault(PaneKey(LONG.ms, LONG.start_of(at_ms)), {}), counters)
    return panes


def is_open(encounters: Encounters) -> Open:
    """When each open one was queued, and when it started."""
    known = encounters.known.items()
    return {id_: (one.queued_ms, one.started_ms) for id_, one in known if one.is_open}


def truth(events: Iterable[Positioned]) -> Open:
    """What is open once all events are read, one by one."""
    begun: Open = {}
    ended = set()
    for _, at_ms, one in events:
        id_ = str(one.encounter_id)
        queued_ms, started_ms = begun.get(id_, (None, None))
        if one.outcome == "queued":
            begun[id_] = (at_ms if queued_ms is None else queued_ms, started_ms)
        elif one.outcome == "started":
            begun[id_] = (queued_ms, at_ms if started_ms is None else started_ms)
        else:
            ended.add(id_)
    return {id_: when for id_, when in begun.items() if id_ not in ended}


def owner(log: Iterable[PaneRecord], generation: int) -> StagePartition:
    """A new owner that has read a changelog."""
    partition = StagePartition(HORIZON)
    for record in log:
        partition.restore(record)
    partition.own(generation)
    return partition


# -- whatever happens --------------------------------------------------------------------------------


@dataclass
class Queue(Cluster):
    """The cluster of `test_partition`, with encounters beside the panes."""

    def assign(self, name: int, how: int) -> None:
        """As there."""
        if how == 0 and name in self.members:
            self.gone.append(self.members.pop(name))
        self.members.setdefault(name, Member(StagePartition(HORIZON)))
        super().assign(name, how or 1)

    def has_later(self, member: Member) -> bool:
        """Whether a changelog holds records of an owner after this one."""
        keys = (record.key.split(b":") for _, record in self.log)
        return any(int(key[1] if key[0] == b"o" else key[2]) >= member.assigned for key in keys)

    def fold(self, member: Member, n: int) -> None:
        """The worker reads events."""
        if not member.is_recovering:
            assert isinstance(member.partition, StagePartition)
            fold(member.partition, self.events[member.position : member.position + n])
            member.position = min(member.position + n, len(self.events))

    def check(self) -> None:
        """Whoever reads the changelog now and replays what is not committed knows what is open, and counts
        each event once, when its limit passed."""
        log = [record for _, record in self.log]
        compact = compacted(log)
        for after in (log, compact, [record for record in compact if record.value is not None]):
            heir = owner(after, self.generation + 1)
            fold(heir, self.events[self.committed :])
            assert is_open(heir.encounters) == truth(self.events)
            assert long_panes(heir) == counted(self.events)

    def finish(self) -> None:
        """The owner reads all events and writes; then what others have begun arrives too."""
        for member in self.members.values():
            if member.assigned == self.generation:
                self.own(member)
                self.fold(member, len(self.events))
                self.start_flush(member)
                self.write(member, ALL)
                self.commit(member)
        for member in (*self.members.values(), *self.gone):
            self.start_flush(member)
            self.write(member, ALL)
            self.check()


def history(random: Random) -> tuple[list[Positioned], list[Happening]]:
    """Random events of few encounters, some twice or in another order, and happenings."""
    events, offset, at_ms = [], -1, NOW
    for _ in range(random.randint(4, 16)):
        offset += random.randint(1, 2)
        outcome = random.choice(["queued", "queued", "started", "ok", "failed"])
        at_ms += random.choice([1_000, 60_000])
        events.append(said(offset, f"c-{random.randrange(5)}", outcome, at_ms))
    happenings, name = [], 0
    workers = random.randint(2, 3)
    steps = [*random.choices(STEPS, k=8), "assign", "fold", "flush", "flush"]
    for _ in range(random.randint(10, 60)):
        if random.random() < 0.3:
            name = random.randrange(workers)
        step = random.choice(steps)
        happenings.append((step, name, random.randrange(3 if step == "fold" else 6)))
    return events, happenings


@pytest.mark.parametrize("seed", range(300))
def test_what_is_open_is_known_whatever_happens(seed: int) -> None:
    """Workers that take over, stay, return, crash and write late leave open what has not ended."""
    events, happenings = history(Random(seed))
    queue = Queue(events)
    for step, name, n in happenings:
        queue.step(step, name, n)
    queue.finish()


def test_a_former_owner_opens_nothing_again() -> None:
    """An encounter that has ended and is forgotten stays so, though a former owner writes it late."""
    former = owner([], 1)
    follow(former.encounters, [said(0, "a", "queued"), said(1, "b", "queued")])
    log = former.take_changes()
    follow(former.encounters, [said(2, "late", "queued")])
    heir = owner(log, 2)
    follow(heir.encounters, [said(2, "late", "queued"), said(3, "late", "ok"), said(4, "a", "ok")])
    log += heir.take_changes() + heir.take_stale()
    follow(heir.encounters, [], NOW + REMEMBERED_MS)
    log += heir.take_changes() + heir.take_stale()
    log += former.take_changes()
    assert is_open(owner(log, 3).encounters) == {"b": (NOW, None)}
    assert set(owner(log, 3).encounters.known) == {"b"}


def test_ends_in_one_pane_are_each_counted_when_their_limit_passed() -> None:
    """Though the crash came between the panes of the second: one has it, the other has the first alone."""
    queued = [said(0, "a", "queued"), said(1, "b", "queued")]
    first = [said(2, "c", "ok", NOW + 300_000), said(3, "a", "ok", NOW + 301_000)]
    last = said(4, "b", "ok", NOW + 302_000)
    partition = owner([], 1)
    fold(partition, [*queued, *first])
    log = partition.take_changes()
    fold(partition, [last])
    log += [one for one in partition.take_changes() if one.key != b"300000:%d:1" % LONG.start_of(NOW)]
    heir = owner(log, 2)
    fold(heir, [*queued, *first, last])
    assert long_panes(heir) == counted([*queued, *first, last])


def test_what_has_ended_leaves_the_changelog() -> None:
    """An encounter costs a record when it begins, one when it ends, and one that deletes it."""
    partition = owner([], 1)
    log = []
    for now_ms, events in (
        (NOW, [said(0, "a", "queued")]),
        (NOW, [said(1, "a", "ok")]),
        (NOW + REMEMBERED_MS, []),
    ):
        follow(partition.encounters, events, now_ms)
        log += partition.take_changes() + partition.take_stale()
    assert [(one.key, one.value is None) for one in log] == [
        (b"o:1:a", False),
        (b"o:1:a", False),
        (b"o:1:a", True),
    ]
    assert [one for one in compacted(log) if one.value is not None] == []


@pytest.mark.parametrize(
    "record",
    [
        PaneRecord(b"o:1", b"\x80"),
        PaneRecord(b"o:x:a", b"\x80"),
        PaneRecord(b"o:1:a", b"\x80"),
        PaneRecord(b"o:1:a", b"\x92\xa1a\xa1b"),
        PaneRecord(b"o:1:\xff", b"\x92\xa1a\xa1b"),
        PaneRecord(b"o:1:" + b"a" * 201, b"\x92\xa1a\xa1b"),
    ],
)
def test_records_of_others_are_told(record: PaneRecord) -> None:
    """A record that no worker writes raises, and changes nothing."""
    partition = StagePartition(HORIZON)
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        partition.restore(record)
    assert not partition.encounters.known


# -- by themselves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["queued"], (NOW, None)),
        (["queued", "queued"], (NOW, None)),
        (["queued", "started"], (NOW, NOW + 1000)),
        (["started", "queued"], (NOW + 1000, NOW)),
        (["queued", "ok"], None),
        (["ok", "queued"], None),
        (["queued", "ok", "queued"], None),
        (["ok"], None),
    ],
)
def test_order_and_repetition(outcomes: list[str], expected: tuple[int | None, int | None] | None) -> None:
    """The first word of each beginning counts, and what has ended stays so, in whatever order it is read."""
    encounters = Encounters()
    follow(encounters, [said(n, "a", outcome, NOW + 1000 * n) for n, outcome in enumerate(outcomes)])
    assert is_open(encounters).get("a") == expected


def test_what_never_ends_is_given_up() -> None:
    """A day after its beginning an encounter is open no more, and counted as given up."""
    encounters = Encounters()
    follow(encounters, [said(0, "lost", "queued"), said(1, "b", "queued", NOW + MAX_AGE_MS)])
    follow(encounters, [])
    assert set(is_open(encounters)) == {"lost", "b"}
    follow(encounters, [said(2, "c", "queued", NOW + MAX_AGE_MS + 1)])
    follow(encounters, [])
    assert set(is_open(encounters)) == {"b", "c"}
    assert encounters.given_up == 1


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the ends are forgotten first, then the oldest given up."""
    monkeypatch.setattr("monitor.journeys.encounters.MAX_KNOWN", 3)
    encounters = Encounters()
    follow(encounters, [said(n, f"e-{n}", "queued", NOW + n) for n in range(4)])
    follow(encounters, [said(4, "e-1", "ok")])
    assert set(encounters.known) == {"e-1", "e-2", "e-3"}
    assert encounters.given_up == 1
    follow(encounters, [said(5, "e-5", "queued")])
    follow(encounters, [])
    assert set(encounters.known) == {"e-2", "e-3", "e-5"}
    assert encounters.given_up == 1


# -- in a stage --------------------------------------------------------------------------------------


def call(offset: int, id_: str, outcome: str, **fields: object) -> Record:
    """A record of an encounter of the stage that `Rig` has."""
    return Record(
        offset, event(f"e-{offset}", NOW + 1000 * offset, outcome=outcome, encounter_id=id_, **fields)
    )


async def taken_over(rig: Rig, model: Stage) -> Rig:
    """A successor that has read all that this worker has written."""
    flushing = rig.flush()
    written: list[Outgoing] = []
    while not flushing.done():
        written += rig.broker.acknowledge()
        await settle()
    successor = Rig(model)
    records = [PaneRecord(one.key or b"", one.value) for one in written if one.topic == "changelog"]
    successor.stage.restore(0, records)
    return await successor.own(2)


async def test_open_ones_survive_a_restart() -> None:
    """Who takes over shows the same ones, and the ends that it reads close them."""
    rig = await Rig().own()
    rig.fold(call(0, "a", "queued", segment="new"), call(1, "b", "queued"), call(2, "a", "started"))
    known = rig.stage.snapshot(NOW + 5000, ()).under_way
    assert known.n == {("started", "new"): 1, ("queued", "other"): 1}
    assert known.since_ms == {("started", "new"): NOW + 2000, ("queued", "other"): NOW + 1000}
    successor = await taken_over(rig, CHECKOUT)
    assert successor.stage.snapshot(NOW, ()).under_way == known
    successor.fold(call(3, "a", "ok"), call(4, "b", "abandoned"))
    assert successor.stage.snapshot(NOW, ()).under_way.n == {}


LATE = "bad/service_level/new/none"


def late(rig: Rig, age_ms: int, window: str, behind: int = 0) -> int:
    """Waits that were too long, so long after the call came."""
    return rig.stage.snapshot(NOW + age_ms, (PartitionLag(0, behind, 0),)).count(LATE, window)


def waiting(offset: int, id_: str, at_ms: int, outcome: str = "queued", **fields: object) -> Record:
    """A record of a call."""
    fields |= {"stage": "call_queue", "segment": "new", "outcome": outcome, "encounter_id": id_}
    return Record(offset, event(f"q-{offset}", at_ms, **fields), timestamp=at_ms)


@pytest.mark.parametrize("killed", [True, False])
async def test_a_wait_is_bad_when_its_limit_passes_and_once(killed: bool) -> None:
    """After 20 s, and not again when the call is answered after 63 s, also by a worker killed in between."""
    rig = await Rig(QUEUE).own()
    rig.fold(waiting(0, "a", NOW))
    assert [late(rig, age_ms, "20s") for age_ms in (0, 20_000, 20_001, 39_999, 40_000)] == [0, 0, 1, 1, 0]
    assert late(rig, 50_000, "1m") == 1
    if killed:
        rig = await taken_over(rig, QUEUE)
        assert late(rig, 50_000, "1m") == 1
    rig.fold(waiting(1, "a", NOW + 63_000, "ok", wait_s=63), now_ms=NOW + 63_000)
    rig = await taken_over(rig, QUEUE) if killed else rig
    rig.fold(waiting(1, "a", NOW + 63_000, "ok", wait_s=63), now_ms=NOW + 63_000)
    assert [late(rig, 63_000, window) for window in ("20s", "1m", "5m", "7d")] == [0, 1, 1, 1]
    assert rig.stage.snapshot(NOW + 63_000, ()).count("outcome/ok", "20s") == 1


async def test_what_has_not_been_read_may_have_ended_in_time() -> None:
    """While records wait to be read, limits pass as far as the last one that was."""
    rig = await Rig(QUEUE).own()
    rig.fold(waiting(0, "a", NOW))
    assert late(rig, 30_000, "1m", behind=1) == 0
    rig.fold(waiting(1, "b", NOW + 20_001))
    assert late(rig, 30_000, "1m", behind=1) == 1


async def test_counts_are_those_without_openings() -> None:
    """An opening adds to its own counter, whatever it says beside it, and to nothing else."""
    ends = [call(n, f"c-{n}", outcome) for n, outcome in enumerate(["ok", "failed", "abandoned"])]
    more = {"wait_s": 3, "duration_s": 5, "journey_id": "j", "score": {"kind": "nps", "value": 3}}
    begun = [call(n, f"c-{n}", opening, **more) for n, opening in enumerate(OPENINGS, start=3)]
    with_openings, without = await Rig().own(), await Rig().own()
    with_openings.fold(*ends, *begun)
    without.fold(*ends)
    counts = {}
    for name, rig in (("with", with_openings), ("without", without)):
        held = rig.stage.snapshot(NOW + 9000, ())
        counts[name] = {one: held.count(one, "1m") for one in held.column if held.count(one, "1m")}
    extra = {name: n for name, n in counts["with"].items() if name not in counts["without"]}
    assert extra == {"begun/queued": 1, "begun/started": 1}
    assert {name: n for name, n in counts["with"].items() if name not in extra} == counts["without"]
    assert with_openings.results() == (5, 0, 0)
    assert with_openings.stage.counted_ever() == 5


async def test_an_opening_names_its_encounter() -> None:
    """Without `encounter_id` nothing could end it: it is refused."""
    rig = await Rig().own()
    rig.fold(Record(0, event(outcome="queued")), Record(1, event(outcome="lost", encounter_id="a")))
    assert rig.stage.refusals == {"missing_field": 1, "unknown_outcome": 1}


def test_a_declared_outcome_opens_nothing() -> None:
    """A stage that has declared `started` as one of its outcomes goes on to count it as that."""
    assert CHECKOUT.openings == OPENINGS
    declared = dataclasses.replace(CHECKOUT, outcomes=(*CHECKOUT.outcomes, "started"))
    assert declared.openings == ("queued",)
    assert dataclasses.replace(CHECKOUT, kind="staff").openings == ()
