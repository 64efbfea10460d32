"""A journey is counted once, whatever crashes, replays or lingers: the same log comes to the same counts."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from random import Random

import orjson
import pytest
from msgspec import structs

from monitor.counting.event import Codec, Event, Handoff, Promise
from monitor.counting.judging import Judge
from monitor.counting.panes import LONG
from monitor.counting.times import epoch_ms
from monitor.journeys.counters import TAKEN_BACK, CounterTally, counter_names
from monitor.journeys.open import KEEP_MS, MAX_STEPS, JourneyRules
from monitor.journeys.step import GRACE_MS, Contact, Step, Steps, contact_of, decode, encode, step_of
from monitor.live.closed import closed_journey
from monitor.live.closed import encode as encode_closed
from streams.demo.simulator import Simulator
from streams.journeys import closed as closed_module
from streams.journeys.closed import Closed, Unpublished
from streams.journeys.partition import JourneyPartition
from streams.state.partition import PaneRecord, Run
from tests.kit.journey_truth import Truth, sharing_cases
from tests.kit.kept import kept
from tests.kit.shipped import SHIPPED as CHAIR

RULES = JourneyRules(CHAIR)
SOURCES = frozenset((stage.name, 0) for stage in CHAIR.stages)
START = 1_700_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
MONTH = 30 * DAY
HORIZON = 90 * DAY

Log = list[Steps]


@cache
def log(seed: int, journeys: int = 300, per_record: int = 7) -> tuple[Steps, ...]:
    """Steps records of simulated customers, with their sources' marks, until every journey is over."""
    random = Random(seed)
    simulator = Simulator(CHAIR, seed=seed, start_ms=START, rate=0.002)
    codecs = {s.topic: (Codec(CHAIR, s), Judge(CHAIR, s)) for s in CHAIR.stages}
    seen: set[str] = set()
    waiting = {stage.name: Waiting(stage.name) for stage in CHAIR.stages}
    records: Log = []
    offset = 0
    end_ms = START + 20 * DAY
    for published in simulator.events():
        now_ms = published.at_ms
        if now_ms > START + 6 * DAY:  # the first hours' journeys have no event later than that
            break
        journey_id = orjson.loads(published.value).get("journey_id")
        if journey_id is None or (journey_id not in seen and len(seen) == journeys):
            continue
        seen.add(journey_id)
        for told in sharing_cases(published, random, journeys // 20):
            codec, judge = codecs[told.topic]
            event = codec.decode(told.value)
            assert isinstance(event, Event)
            offset += 1
            waiting[event.stage].add(event, offset, judge)
            if len(waiting[event.stage].steps) >= random.randint(1, per_record):
                records.append(waiting[event.stage].record(now_ms - GRACE_MS))
                for stage in random.sample(list(waiting), 2):
                    if not waiting[stage].steps:
                        records.append(waiting[stage].record(now_ms - GRACE_MS))
    records += [one.record(end_ms) for one in waiting.values()]
    records += [one.record(end_ms + 30 * DAY) for one in waiting.values()]
    return tuple(decode(encode(record)) for record in records)


@cache
def with_returning(seed: int) -> tuple[Steps, ...]:
    """The same once more a month later, under the same journey ids."""
    return (*log(seed)[: -len(SOURCES)], *(later(record) for record in log(seed)))


@cache
def with_late_words(seed: int) -> tuple[Steps, ...]:
    """The same without answers, which would end journeys; of half of all promises that were kept the opposite
    is told first, and that when all before has been read and they have been due for half a day."""
    random = Random(seed)
    ours: Log = []
    words: list[tuple[int, Steps]] = []
    for record in log(seed)[: -len(SOURCES)]:
        steps = [] if record.stage == "feedback" else list(record.steps)
        for place, step in enumerate(steps):
            told = step.promise
            if told is not None and told.kept and random.random() < 0.5:
                called_off = structs.replace(told, kept=False)
                steps[place] = structs.replace(step, promise=called_off, offset=step.offset + 10**6)
                after_ms = max(step.at_ms, epoch_ms(told.due) if told.due else 0) + 12 * HOUR
                words.append((after_ms, Steps(record.stage, 0, 0, (step,))))
        ours.append(structs.replace(record, mark_ms=0, steps=tuple(steps)))
    words.sort(key=lambda one: one[0], reverse=True)
    found: Log = []
    for place in range(len(ours) + 1):
        read_ms = min((step.at_ms for one in ours[place:] for step in one.steps), default=START + MONTH)
        while words and words[-1][0] < read_ms:
            after_ms, word = words.pop()
            found += [*(Steps(name, 0, after_ms, ()) for name, _ in sorted(SOURCES)), word]
        found += ours[place : place + 1]
    return (*found, *log(seed)[-len(SOURCES) :])


def later(record: Steps) -> Steps:
    """A record of a month later."""
    steps = tuple(
        structs.replace(
            one, offset=one.offset + 10**6, at_ms=one.at_ms + MONTH, promise=later_promise(one.promise)
        )
        for one in record.steps
    )
    contacts = tuple(
        structs.replace(one, id=f"{one.id}-again", at_ms=one.at_ms + MONTH) for one in record.contacts
    )
    return structs.replace(record, mark_ms=record.mark_ms + MONTH, steps=steps, contacts=contacts)


def later_promise(told: Promise | None) -> Promise | None:
    """What is promised a month later."""
    if told is None:
        return None
    month = timedelta(milliseconds=MONTH)
    due, due_from = (None if time is None else time + month for time in (told.due, told.due_from))
    return structs.replace(told, due=due, due_from=due_from)


@dataclass
class Waiting:
    """What of one stage is not sent yet."""

    stage: str
    steps: list[Step] = field(default_factory=list)
    contacts: list[Contact] = field(default_factory=list)

    def add(self, event: Event, offset: int, judge: Judge) -> None:
        """As `streams.state.stage` does."""
        assert CHAIR.journeys is not None
        if event.journey_id is not None:
            self.steps.append(step_of(event, event.at_ms, 0, offset, judge.judge(event)))
        if event.stage in CHAIR.journeys.contacts and (contact := contact_of(event)) is not None:
            self.contacts.append(contact)

    def record(self, mark_ms: int) -> Steps:
        """All of it."""
        steps, contacts = tuple(self.steps), tuple(self.contacts)
        self.steps, self.contacts = [], []
        return Steps(self.stage, 0, mark_ms, steps, contacts)


def fold(partition: JourneyPartition, offset: int, record: Steps) -> None:
    """As the processor does."""
    taken = partition.take(offset, record)
    partition.panes.fold(Run.of(taken.made), CounterTally, partition.clock_ms)


def totals(partition: JourneyPartition) -> Counter[str]:
    """Everything ever counted."""
    found: Counter[str] = Counter()
    for key, counts in partition.panes.panes():
        if key.grain_ms == LONG.ms:
            found.update(counts)
    return found


@dataclass
class Changelog:
    """A compacted topic, and the offset of the source that is committed."""

    records: list[PaneRecord] = field(default_factory=list)
    committed: int = 0
    published: list[tuple[str, bytes]] = field(default_factory=list)
    """The topic of closed journeys: ids and values, by offset."""

    def compacted(self) -> list[PaneRecord]:
        last = {record.key: record for record in self.records}
        return [record for record in self.records if last[record.key] is record]

    def write(self, records: Sequence[PaneRecord]) -> None:
        self.records += records

    def publish(self, closed: Closed, waiting: Sequence[Unpublished]) -> None:
        for one in waiting:
            closed.note(len(self.published), one)
            self.published.append(
                (
                    one.journey_id,
                    encode_closed(closed_journey(one.journey_id, one.journey(), RULES.rules.unhappy)),
                )
            )

    def once(self) -> set[tuple[str, bytes]]:
        """Every closed journey; those published again are the same, byte for byte."""
        return set(self.published)


def owner(
    changelog: Changelog, generation: int, sources: frozenset[tuple[str, int]] = SOURCES
) -> JourneyPartition:
    """A worker that takes over, and hears of these sources."""
    partition = JourneyPartition(RULES, sources, HORIZON)
    for record in changelog.compacted():
        partition.restore(record)
    asyncio.run(partition.own(generation, lambda: True))
    return partition


def flush(partition: JourneyPartition) -> Iterator[list[PaneRecord]]:
    """What a flush writes, one list after the other."""
    yield from partition.take_changes()


def uninterrupted(records: Sequence[Steps]) -> Counter[str]:
    """The truth."""
    return totals(_over(records))


@cache
def whole(
    records: Callable[[int], Sequence[Steps]], seed: int
) -> tuple[Counter[str], set[tuple[str, bytes]]]:
    """The truth, and every journey that has closed; nobody changes either."""
    partition, changelog = _over(records(seed)), Changelog()
    changelog.publish(partition.closed, partition.closed.take())
    return totals(partition), changelog.once()


def _over(records: Sequence[Steps]) -> JourneyPartition:
    """A partition that has read all of it in one go; every journey is over."""
    partition = owner(Changelog(), 1)
    for offset, record in enumerate(records):
        fold(partition, offset, record)
    assert partition.open == 0
    return partition


@pytest.mark.long
def test_the_simulated_journeys_come_to_something() -> None:
    """Otherwise the tests below would compare nothing."""
    found = uninterrupted(log(1))
    firsts = {name.partition("/")[0] for name in found}
    assert {"closed", "hit", "weakest", "score", "promise", "handoff", "contact", "noticed"} <= firsts
    journeys = {step.journey_id for record in log(1) for step in record.steps}
    assert sum(n for name, n in found.items() if name.startswith("closed/")) == len(journeys) > 250
    assert min(found[f"contact/call_queue/{what}"] for what in ("first", "repeat")) >= 10
    assert found.keys() <= set(counter_names(CHAIR))


@pytest.mark.long
def test_late_words_take_back_what_was_counted() -> None:
    """Otherwise crashes among them would prove nothing. What is taken back had been added before."""
    partition, taken_back = owner(Changelog(), 1), 0
    for offset, record in enumerate(with_late_words(1)):
        made = partition.take(offset, record).made
        taken_back += sum(one.counters[0].startswith(TAKEN_BACK) for one in made)
        partition.panes.fold(Run.of(made), CounterTally, partition.clock_ms)
    assert taken_back > 20
    assert min(n for _, counts in partition.panes.panes() for n in counts.values()) == 0


@pytest.mark.parametrize("records", [log, with_returning, with_late_words])
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.long
def test_crashes_anywhere_change_no_count(
    seed: int, records: Callable[[int], Sequence[Steps]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers die between any two records, in the midst of a write, before or after the commit.

    Every journey that closes is published, and found by its id.
    """
    monkeypatch.setattr(closed_module, "CLOSED_KEPT_MS", HORIZON)  # the last marks are a month ahead
    random = Random(seed)
    read = records(seed % 3)
    changelog = Changelog()
    generation = 1
    partition = owner(changelog, generation)
    offset = 0
    while offset < len(read):
        for _ in range(random.randint(1, 60)):
            if offset < len(read):
                fold(partition, offset, read[offset])
                offset += 1
        dies_after = random.choice([-2, -1, 0, 1, 2, 3, 9, 9, 9])
        lists_to_write = list(flush(partition))
        waiting = partition.closed.take()
        changelog.publish(partition.closed, waiting[: len(waiting) if dies_after > -2 else len(waiting) // 2])
        if dies_after >= 0:
            changelog.write(partition.closed.take_changes(partition.panes.epoch, partition.clock_ms))
        for number, lists in enumerate(lists_to_write if dies_after >= 0 else ()):
            if number == dies_after:  # some of it has been written, in any order
                changelog.write(random.sample(lists, random.randint(0, len(lists))))
                break
            changelog.write(lists)
        else:
            if dies_after not in (-2, -1, 3):
                changelog.write(partition.closed.take_stale())
                changelog.committed = offset
        if dies_after != 9:
            generation += 1
            partition = owner(changelog, generation)
            offset = changelog.committed
    truth, closed = whole(records, seed % 3)
    assert totals(partition) == truth
    assert partition.open == 0
    assert changelog.once() == closed
    assert len(closed) > 250
    found = owner(changelog, generation + 1).closed
    for journey_id, _ in closed:
        assert journey_id in [changelog.published[offset][0] for offset in found.offsets(journey_id)]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.long
def test_a_former_owner_that_writes_late_changes_no_count(seed: int) -> None:
    """It was suspended in the midst of a write and wakes up when its successor has gone on, or died too."""
    random = Random(seed)
    records = log(seed % 3)
    changelog = Changelog()
    first = owner(changelog, 1)
    stop = random.randint(1, len(records) - 1)
    for offset in range(stop):
        fold(first, offset, records[offset])
        if random.random() < 0.1:
            for lists in flush(first):
                changelog.write(lists)
            changelog.committed = offset + 1
    late = [record for lists in flush(first) for record in lists]
    told = random.randint(0, len(late))
    changelog.write(late[:told])
    second = owner(changelog, 2)
    changelog.write(late[told:])
    position = changelog.committed
    for offset in range(position, min(position + random.randint(0, 80), len(records))):
        fold(second, offset, records[offset])
        position = offset + 1
    for number, lists in enumerate(flush(second)):
        changelog.write(lists)
        if number == random.choice([1, 2, 2]):
            changelog.committed = position
            break
    third = owner(changelog, 3)
    for offset in range(changelog.committed, len(records)):
        fold(third, offset, records[offset])
    assert totals(third) == uninterrupted(records)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.long
def test_the_slow_and_plain_way_comes_to_the_same(seed: int) -> None:
    """All of a journey's events at hand at once, one rule after the other."""
    truth = Truth(CHAIR)
    waiting = {stage.name: Waiting(stage.name) for stage in CHAIR.stages}
    codecs = {s.topic: (Codec(CHAIR, s), Judge(CHAIR, s)) for s in CHAIR.stages}
    simulator = Simulator(CHAIR, seed=seed, start_ms=START, rate=0.002)
    random = Random(seed)
    records: Log = []
    for offset, published in enumerate(simulator.events()):
        if published.at_ms > START + 5 * DAY:
            break
        for number, told in enumerate(sharing_cases(published, random, 300)):
            truth.add(told)
            codec, judge = codecs[told.topic]
            event = codec.decode(told.value)
            assert isinstance(event, Event)
            held = waiting[event.stage]
            held.add(event, 2 * offset + number, judge)
            if len(held.steps) > random.randint(0, 30):
                records.append(held.record(published.at_ms - GRACE_MS))
    end_ms = START + 40 * DAY
    records += [held.record(end_ms) for held in waiting.values()]
    assert truth.journeys > 1000
    assert uninterrupted(records) == truth.counters()


@pytest.mark.long
def test_steps_sent_twice_count_once() -> None:
    """A worker that died after sending and before counting sends them again."""
    records = log(1)
    doubled = [twice for record in records for twice in (record, record)]
    assert uninterrupted(doubled) == uninterrupted(records)


@pytest.mark.long
@pytest.mark.parametrize("read", [log, with_returning])
def test_the_order_of_sources_changes_no_count(read: Callable[[int], Sequence[Steps]]) -> None:
    """One stage's worker lags behind by hours: nothing falls due before its events have been read."""
    records = read(2)
    late = [record for record in records if record.stage == "delivery"]
    others = [record for record in records if record.stage != "delivery"]
    half = len(others) // 2
    assert uninterrupted([*others[:half], *late, *others[half:]]) == uninterrupted(records)


def test_what_is_over_is_forgotten_two_hours_later() -> None:
    """A late step of it is known for late, before and after, and opens no journey."""
    partition = owner(Changelog(), 1)
    step = Step("j", "feedback", 0, 1, START, "ok", 1, ())
    fold(partition, 0, Steps("feedback", 0, START, (step,)))
    for offset, stage in enumerate(sorted(SOURCES), 1):
        fold(partition, offset, Steps(stage[0], 0, START + HOUR, ()))
    assert partition.open == 0
    assert [found for found, _ in kept(partition)] == ["j"]
    again = Step("j", "feedback", 0, 2, START + 1, "ok", 1, ())
    assert partition.take(20, Steps("feedback", 0, START, (again,))).late == 1
    assert len(list(flush(partition))) == 3
    for offset, stage in enumerate(sorted(SOURCES), 21):
        fold(partition, offset, Steps(stage[0], 0, START + 2 * KEEP_MS + 2 * GRACE_MS, ()))
    assert list(kept(partition)) == []
    assert partition.take(40, Steps("feedback", 0, START, (again,))).late == 1
    assert list(kept(partition)) == []


@pytest.mark.parametrize("backlog", [False, True])
@pytest.mark.parametrize(("after_ms", "journeys"), [(GRACE_MS, 1), (KEEP_MS, 1), (KEEP_MS + 1, 2)])
def test_a_step_after_the_end_is_taken_alike_in_any_order(
    backlog: bool, after_ms: int, journeys: int
) -> None:
    """Read when the journey is known to be over, or before that: from a backlog one source is read first.

    More than an hour later it begins another journey.
    """
    partition = owner(Changelog(), 1)
    first, after = (
        Step("j", "feedback", 0, offset, at_ms, "ok", 1, bad_for)  # the first answer ends it
        for offset, (at_ms, bad_for) in enumerate([(START, ()), (START + after_ms, ("satisfied",))])
    )
    over, end = (
        [Steps(stage, 0, at_ms, ()) for stage, _ in sorted(SOURCES)]
        for at_ms in (START + after_ms, START + after_ms + HOUR)
    )
    read = [Steps("feedback", 0, 0, (one,)) for one in (first, after)]
    order = [*read, *over, *end] if backlog else [read[0], *over, read[1], *end]
    late = 0
    for offset, record in enumerate(order):
        taken = partition.take(offset, record)
        late += taken.late
        assert taken.duplicate == taken.refused == 0
        partition.panes.fold(Run.of(taken.made), CounterTally, partition.clock_ms)
    found = totals(partition)
    assert found["closed/visit/other"] == len(partition.closed.take()) == journeys
    assert late == 2 - journeys
    assert found["hit/feedback/other"] == 1


def test_a_step_of_the_journey_before_is_late_for_that() -> None:
    """Two journeys have one id, and a step between them is read last: it is none of the second."""
    partition = owner(Changelog(), 1)
    first, between, second = (
        Step("j", "feedback", 0, offset, START + after_ms, "ok", 1, ())
        for offset, after_ms in enumerate([0, KEEP_MS // 2, KEEP_MS + 1])
    )
    over = [Steps(stage, 0, START + KEEP_MS, ()) for stage, _ in sorted(SOURCES)]
    read = [Steps("feedback", 0, 0, (one,)) for one in (first, second, between)]
    late = [partition.take(offset, one).late for offset, one in enumerate([read[0], *over, *read[1:]])]
    assert late == [0] * (len(late) - 1) + [1]
    held = partition.look_up("j")
    assert held is not None
    assert [step.at_ms for step in held.steps] == [second.at_ms]


def test_another_owner_meanwhile_ends_the_worker() -> None:
    """What is held may lack steps: it must not be written over the other's."""
    changelog = Changelog()
    mine, other = owner(changelog, 1), owner(changelog, 2)
    fold(other, 0, log(1)[0])
    lists = flush(other)
    for record in next(lists) + next(lists):
        if record.key.startswith(b"c:"):
            with pytest.raises(RuntimeError, match="taken over"):
                mine.restore(record)


def overdue_rules() -> tuple[JourneyPartition, Step]:
    """A parcel that was promised and handed over, and never heard of again."""
    partition = owner(Changelog(), 1)
    codec = Codec(CHAIR, CHAIR.stage("warehouse"))
    event = codec.decode(
        b'{"stage":"warehouse","outcome":"ok","id":"1","time":"2023-11-14T22:13:20Z","journey_id":"j",'
        b'"promise":{"id":"p","kind":"delivery_window","due":"2023-11-15T22:13:20Z"},'
        b'"handoff":{"id":"h","from":"warehouse","to":"postnord"}}'
    )
    assert isinstance(event, Event)
    assert isinstance(event.promise, Promise)
    assert isinstance(event.handoff, Handoff)
    return partition, step_of(event, event.at_ms, 0, 1, Judge(CHAIR, CHAIR.stage("warehouse")).judge(event))


def test_what_is_overdue_is_known_to_its_successor() -> None:
    """By what, partner and since when."""
    partition, step = overdue_rules()
    fold(partition, 0, Steps("warehouse", 0, START, (step,)))
    for offset, stage in enumerate(sorted(SOURCES), 1):
        fold(partition, offset, Steps(stage[0], 0, step.at_ms + 5 * DAY + HOUR, ()))
    expected = {
        "j": (
            ("promise/delivery_window", "postnord", step.at_ms + DAY),
            ("handoff/warehouse/delivery", "postnord", step.at_ms + 5 * DAY),
        )
    }
    assert partition.overdue == expected
    changelog = Changelog()
    for lists in flush(partition):
        changelog.write(lists)
    heir = owner(changelog, 2)
    assert heir.overdue == expected
    assert heir.open == 1
    assert heir.clock_ms == partition.clock_ms
    for offset, stage in enumerate(sorted(SOURCES), 1 + len(SOURCES)):
        fold(heir, offset, Steps(stage[0], 0, step.at_ms + 100 * DAY, ()))
    assert (heir.open, heir.overdue) == (0, {})  # what is over waits for nothing


STORE = frozenset([("store", 0)])
STORE_AT = START - START % LONG.ms


def in_store(mark_ms: int, *visits: tuple[str, int, int, tuple[str, ...]]) -> Steps:
    """A record of visits: whose, read at which offset, when, bad for what."""
    steps = (Step(who, "store", 0, offset, at_ms, "ok", 1, bad) for who, offset, at_ms, bad in visits)
    return Steps("store", 0, mark_ms, tuple(steps))


def keeper(changelog: Changelog, generation: int) -> JourneyPartition:
    """An owner who hears of the store only."""
    return owner(changelog, generation, STORE)


def test_an_older_timer_makes_nothing_due_earlier() -> None:
    """A successor looks at a journey at a moment its predecessor did not; panes that both write agree."""
    end_ms = STORE_AT + 3 * DAY
    records = [
        in_store(STORE_AT, ("j", 1, STORE_AT, ())),
        in_store(STORE_AT + DAY, ("j", 2, STORE_AT + DAY, ())),
        in_store(STORE_AT + 2 * DAY + 20_000),
        in_store(end_ms - 1000),
        in_store(end_ms + 3_000, ("k", 3, end_ms + 2_000, ("service",))),
        in_store(end_ms + 30_000),
        in_store(end_ms + 20 * DAY),
    ]
    alone, first, changelog = keeper(Changelog(), 1), keeper(Changelog(), 1), Changelog()
    for offset, record in enumerate(records):
        fold(alone, offset, record)
        if offset < 5:
            fold(first, offset, record)
        if offset in (1, 3):
            for lists in flush(first):
                changelog.write(lists)
    changelog.write([one for one in next(flush(first)) if not one.key.startswith(b"j:")])  # then it dies
    second = keeper(changelog, 2)
    for offset, record in enumerate(records[4:], 4):
        fold(second, offset, record)
    assert totals(second) == totals(alone)


def test_one_id_for_all_events_is_refused_from_a_point_on() -> None:
    """Such a journey takes no more steps, for whoever keeps it, and is over in its time."""
    changelog = Changelog()
    first = keeper(changelog, 1)
    steps = [("all", i, START + i, ()) for i in range(MAX_STEPS)]
    assert first.take(0, in_store(START, *steps)).refused == 0
    one_more = [("all", 500, START + 500, ()), ("other", 501, START + 501, ())]
    assert first.take(1, in_store(START, *one_more))[1:] == (2, 0, 0, 1, 0)
    for records in flush(first):
        changelog.write(records)
    for keeping in (first, keeper(changelog, 2)):
        assert keeping.take(2, in_store(START, ("all", 502, START + 502, ())))[1:] == (1, 0, 0, 1, 0)
        assert keeping.take(3, in_store(START + 40 * DAY)).made
        assert keeping.open == 0


@pytest.mark.long
def test_when_what_is_over_is_written_changes_no_count() -> None:
    """The clock jumps by more than the hour for which an end is known; then the journey opens anew."""
    over_ms = STORE_AT + 2 * DAY
    records = [
        in_store(STORE_AT, ("j", 1, STORE_AT, ())),
        in_store(over_ms + 2 * HOUR),
        in_store(over_ms + 2 * HOUR + 20_000),
        in_store(over_ms + 2 * HOUR + 20_001, ("j", 2, over_ms + 2 * HOUR + 19_000, ())),
        in_store(over_ms + 20 * DAY),
        in_store(over_ms + 20 * DAY + 60_000),
    ]
    rarely, often = keeper(Changelog(), 1), keeper(Changelog(), 1)
    for offset, record in enumerate(records):
        fold(rarely, offset, record)
        fold(often, offset, record)
        list(flush(often))
    assert totals(rarely) == totals(often)
    assert totals(often)["closed/visit/other"] == 2


def test_what_is_forgotten_is_not_deleted_before_the_clock_says_so() -> None:
    """Records are read while others are written; a worker that dies then has deleted nothing too early."""
    over_ms = STORE_AT + 2 * DAY
    records = [
        in_store(STORE_AT, ("j", 1, STORE_AT, ())),
        in_store(over_ms + 20_000),
        in_store(over_ms + HOUR - 60_000),
        in_store(over_ms + HOUR + 120_000, ("j", 2, over_ms + 30_000, ())),
        in_store(over_ms + 20 * DAY),
    ]
    alone, first, changelog = keeper(Changelog(), 1), keeper(Changelog(), 1), Changelog()
    for offset, record in enumerate(records):
        fold(alone, offset, record)
        if offset < 3:
            fold(first, offset, record)
        if offset < 2:
            for lists in flush(first):
                changelog.write(lists)
    changelog.committed = 3
    for number, lists in enumerate(flush(first)):
        changelog.write(lists)
        if number == 0:
            fold(first, 3, records[3])  # and then it dies
    second = keeper(changelog, 2)
    for offset in range(changelog.committed, len(records)):
        fold(second, offset, records[offset])
    assert totals(second) == totals(alone)
    assert totals(alone)["closed/visit/other"] == 1
