"""Steps on their way: records that Kafka takes, marks that vouch for no time that is still to come."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest

from monitor.counting.event import Codec, Event, Handoff, Promise
from monitor.counting.formats import MAX_WORD, shortened
from monitor.counting.judging import Verdict
from monitor.journeys.open import JourneyRules
from monitor.journeys.step import GRACE_MS, Contact, Step, Steps, decode, step_of
from monitor.rules.plan import JOURNEYS_LAG_S
from streams.journeys.partition import JourneyPartition
from streams.kafka.outgoing import Outgoing
from streams.state.latest import Entry
from streams.state.partition import PaneRecord
from streams.state.stage import StageProcessor
from streams.state.steps import HOLD_MS, MARK_MS, StepSender, partition_of
from tests.kit.shipped import SHIPPED
from tests.kit.shipped import SHIPPED as JOURNEY
from tests.streams.state.test_processor import MODEL, Broker, Record, event

NOW = 1_800_000_000_000
KAFKA_BYTES = 1_048_576
"""What Kafka's brokers take unless told otherwise."""


class Clock:
    """One that is set."""

    def __init__(self) -> None:
        self.ms = NOW

    def now_ms(self) -> int:
        """The present."""
        return self.ms


class Changelog:
    """A stage's, of one partition, beside the topic of steps: takes what owners write at once."""

    def __init__(self) -> None:
        self.written: list[Outgoing] = []
        self.steps: list[Outgoing] = []

    async def write(self, records: Sequence[Outgoing]) -> Sequence[int]:
        """Take records."""
        (topic,) = {record.topic for record in records}
        if topic in ("changelog", "steps"):
            (self.written if topic == "changelog" else self.steps).extend(records)
        return range(len(records))

    async def owner(self, generation: int, clock: Clock) -> StageProcessor:
        """Whoever takes the partition over, and has read it up."""
        steps = StepSender(MODEL.name, "steps", 1, lambda _partition, _folded: 0, clock.now_ms)
        stage = StageProcessor(Codec(JOURNEY, MODEL), "changelog", self.write, steps)
        stage.restore(0, [PaneRecord(one.key or b"", one.value) for one in self.written])
        await stage.own(frozenset({0}), generation, lambda: True)
        return stage


def sender(*, ago_ms: int | None = None, partitions: int = 2, clock: Clock | None = None) -> StepSender:
    """Of the store, whose partitions were read up so long ago, or are not."""
    now_ms = (clock or Clock()).now_ms
    return StepSender("store", "steps", partitions, lambda _partition, _folded: ago_ms, now_ms)


def marks(records: list[Outgoing]) -> set[int]:
    """What records vouch for."""
    return {decode(record.value or b"").mark_ms for record in records}


def step(journey_id: str, offset: int, word: str = "x") -> Step:
    """As a careless service makes it: names as long as its events may be."""
    at = datetime.fromtimestamp(NOW / 1000, UTC)
    one = Event(
        stage="store", outcome="ok", id="e", time=at, journey_id=journey_id,
        segment=word, channel=word, touchpoint=word, partner=word, reason=word,
        promise=Promise("p" * 200, word), handoff=Handoff("h" * 200, word, word),
    )  # fmt: skip
    return step_of(shortened(one), one.at_ms, 0, offset, Verdict((), (), 0, ()))


def test_no_record_outgrows_kafka() -> None:
    """However long the names of a service are, five hundred steps fit."""
    one = sender(partitions=1)
    for offset in range(1200):
        one.add(0, [step("j" * 200, offset, "word " * 1000)], ())
    records = one.drain([0])
    assert len(records) == 3
    assert max(len(record.value or b"") for record in records) < KAFKA_BYTES
    found = [held for record in records for held in decode(record.value or b"").steps]
    assert [held.offset for held in found] == list(range(1200))
    assert {len(held.reason or "") for held in found} == {MAX_WORD}


async def test_no_word_of_an_event_is_kept_at_length() -> None:
    """Whatever field it stands in, neither memory, nor the changelog, nor the topic of steps has it whole."""
    long = {one.name: "\u20ac" * 20_000 for one in msgspec.structs.fields(Event) if one.type == str | None}
    word = "w" * 50_000
    about = {"promise": {"id": "p", "kind": word}, "handoff": {"id": "h", "from": word, "to": word}}
    log = Changelog()
    stage = await log.owner(1, Clock())
    fat = event("e", NOW, outcome="failed", journey_id="j" * 200, **long, **about)
    stage.fold(SimpleNamespace(value=[Record(0, fat)], partition=0, offset=0), NOW)
    await stage.flush(lambda _message: None)
    (failure,) = stage.failures()
    assert failure["journey_id"] == "j" * 200
    assert {len(failure[name]) for name in long.keys() & failure.keys()} == {MAX_WORD}
    assert max(len(one.value or b"") for one in (*log.written, *log.steps)) < 10_000


def test_each_step_goes_to_the_partition_of_its_journey() -> None:
    """And the mark to every partition, once a while."""
    clock = Clock()
    one = sender(clock=clock)
    one.note(0, 7)
    one.note_events(0, NOW, 0)
    for offset, journey_id in enumerate(("a", "b", "c", "d")):
        one.add(0, [step(journey_id, offset)], ())
    records = one.drain([0])
    assert {record.partition for record in records} == {0, 1}
    for record in records:
        held = decode(record.value or b"")
        assert {partition_of(each.journey_id, 2) for each in held.steps} <= {record.partition}
        assert held.mark_ms == NOW - GRACE_MS
    clock.ms = NOW + MARK_MS - 1
    assert one.drain([0]) == []
    clock.ms = NOW + MARK_MS
    assert len(one.drain([0])) == 2


def test_a_contact_goes_to_the_partition_of_its_case() -> None:
    """Whatever journey it belongs to and wherever it was read; so a case is judged in one place."""
    one = sender()
    for source in (0, 1):
        one.note(source, 7)
        one.note_events(source, NOW, 0)
        for number in range(4):
            one.add(source, (), [Contact(NOW + number, "store", f"e{source}", f"case:{number}")])
    records = one.drain([0, 1])
    assert {record.partition for record in records} == {0, 1}
    found = [(record.partition, held) for record in records for held in decode(record.value or b"").contacts]
    assert len(found) == 8
    assert all(partition == partition_of(held.case, 2) for partition, held in found)
    assert marks(records) == {NOW - GRACE_MS}


def test_no_record_of_contacts_outgrows_kafka() -> None:
    """Ids are as long as an event's may be. Only the last record vouches for time."""
    one = sender(partitions=1)
    one.note(0, 7)
    one.note_events(0, NOW, 0)
    for offset in range(1200):
        one.add(0, [step("j" * 200, offset)], ())
        one.add(0, (), [Contact(NOW, "store", "e" * 200, f"case:{'c' * 200}")])
    records = one.drain([0])
    assert max(len(record.value or b"") for record in records) < KAFKA_BYTES
    held = [decode(record.value or b"") for record in records]
    assert sum(len(one.steps) for one in held) == sum(len(one.contacts) for one in held) == 1200
    assert [one.mark_ms for one in held] == [0] * (len(held) - 1) + [NOW - GRACE_MS]


@pytest.mark.parametrize(
    ("ago_ms", "newest_ms", "delay_ms", "mark_ms"),
    [
        (None, NOW - 5000, 0, NOW - 5000 - GRACE_MS),
        (None, NOW + 240_000, 0, NOW - GRACE_MS),
        (0, NOW - 5000, 0, NOW - GRACE_MS),
        (0, NOW - 5000, 3_600_000, NOW - 3_600_000),
        (0, NOW - 5000, -3_600_000, NOW - GRACE_MS),
        (600_000, NOW - 5000, 0, NOW - 600_000 - GRACE_MS),
    ],
)
def test_a_mark_vouches_for_the_past_only(
    ago_ms: int | None, newest_ms: int, delay_ms: int, mark_ms: int
) -> None:
    """As far as events have been read, or up to when all were: never ahead, whatever an event says, nor for
    the time that a worker was suspended."""
    one = sender(ago_ms=ago_ms)
    one.note(0, 7)
    one.note_events(0, newest_ms, delay_ms)
    assert marks(one.drain([0])) == {mark_ms}


def test_one_late_event_holds_time_up_for_a_while_only() -> None:
    """A quiet partition may not hear of its next event for a day, and all journeys would wait for it."""
    clock = Clock()
    one = sender(ago_ms=0, partitions=1, clock=clock)
    one.note(0, 7)
    one.note_events(0, NOW - 5000, 6 * 3_600_000)
    clock.ms = NOW + HOLD_MS - 1
    assert marks(one.drain([0])) == {NOW + HOLD_MS - 1 - 6 * 3_600_000}
    clock.ms += MARK_MS
    assert marks(one.drain([0])) == {clock.ms - GRACE_MS}


def test_one_late_event_is_no_reason_to_be_told() -> None:
    """It holds journeys up for less than `MonitorBlind` puts up with."""
    assert JOURNEYS_LAG_S * 1000 > HOLD_MS + GRACE_MS


def test_whose_mark_is_waited_for_is_known() -> None:
    """The source never heard of, or else the one whose mark is oldest; nobody's before anything is heard."""
    sources = frozenset({("store", 0), ("store", 1), ("delivery", 0)})
    held = JourneyPartition(JourneyRules(SHIPPED), sources, 0)
    found = [held.slowest]
    for offset, (source, mark_ms) in enumerate(
        [(("store", 0), NOW), (("delivery", 0), NOW - 2), (("store", 1), NOW - 1), (("delivery", 0), NOW + 1)]
    ):
        held.take(offset, Steps(*source, mark_ms, ()))
        found.append(held.slowest)
    assert found == [None, ("delivery", 0), ("store", 1), ("delivery", 0), ("store", 1)]


@pytest.mark.parametrize(("stage", "steps"), [("staff_pulse", 0), ("feedback", 1)])
async def test_what_staff_answer_is_a_step_of_no_journey(stage: str, steps: int) -> None:
    """Where it would stand by itself; it is counted at its stage all the same."""
    journey = SHIPPED
    broker, sent = Broker(), StepSender(stage, "steps", 1, lambda _partition, _folded: 0, lambda: NOW)
    processor = StageProcessor(Codec(journey, journey.stage(stage)), "changelog", broker.produce, sent)
    await processor.own(frozenset({0}), 1, lambda: True)
    said: dict[str, object] = {"time": "2027-01-15T08:00:00Z", "stage": stage}
    said |= {"outcome": journey.stage(stage).outcomes[0], "id": "e", "journey_id": "j"}
    said |= {"score": {"kind": "csat", "value": 5}}
    record = Record(0, json.dumps(said).encode())
    processor.fold(SimpleNamespace(value=[record], partition=0, offset=0), NOW)
    assert processor.results["counted"] == 1
    assert len([step for record in sent.drain([0]) for step in decode(record.value or b"").steps]) == steps


HOUR_MS = 3_600_000
LATE, IN_TIME, BAD = event("a", NOW - HOUR_MS), event("b", NOW), b"bad"


@pytest.mark.parametrize(
    ("values", "waited_ms", "behind_ms"),
    [
        ([LATE], 0, HOUR_MS),
        ([LATE, BAD], 0, HOUR_MS),
        ([LATE], HOLD_MS - 1, HOUR_MS),
        ([LATE], HOLD_MS, GRACE_MS),
        ([LATE, IN_TIME], 0, GRACE_MS),
        ([IN_TIME, LATE], 0, HOUR_MS),
        ([BAD], 0, GRACE_MS),
    ],
)
async def test_a_new_owner_expects_what_the_last_one_did(
    values: list[bytes], waited_ms: int, behind_ms: int
) -> None:
    """More events as late as the last, as long as that one did: it has read none itself. And so does whoever
    comes after it."""
    clock, changelog = Clock(), Changelog()
    first = await changelog.owner(1, clock)
    for offset, value in enumerate(values):
        first.fold(SimpleNamespace(value=[Record(offset, value)], partition=0, offset=offset), clock.ms)
        await first.flush(lambda _message: None)
    for generation in (2, 3):
        changelog.steps.clear()
        clock.ms = NOW + waited_ms
        await (await changelog.owner(generation, clock)).flush(lambda _message: None)
        assert marks(changelog.steps) == {clock.ms - behind_ms}


async def test_what_a_former_owner_says_late_is_not_expected() -> None:
    """Its successor has read further, and its word stands."""
    clock, changelog = Clock(), Changelog()
    former = await changelog.owner(1, clock)
    former.fold(SimpleNamespace(value=[Record(0, LATE)], partition=0, offset=0), clock.ms)
    await former.flush(lambda _message: None)
    former.fold(SimpleNamespace(value=[Record(1, LATE)], partition=0, offset=1), clock.ms)
    clock.ms += 1
    owner = await changelog.owner(2, clock)
    owner.fold(SimpleNamespace(value=[Record(2, IN_TIME)], partition=0, offset=2), clock.ms)
    await owner.flush(lambda _message: None)
    await former.flush(lambda _message: None)
    changelog.steps.clear()
    await (await changelog.owner(3, clock)).flush(lambda _message: None)
    assert marks(changelog.steps) == {clock.ms - GRACE_MS}


@pytest.mark.parametrize("said", ["", "x", "9" * 5000])
async def test_what_others_write_for_a_delay_is_passed_over(said: str) -> None:
    """It is not ours, so nothing is expected of it."""
    clock, changelog = Clock(), Changelog()
    entry = msgspec.msgpack.encode(Entry(253_402_300_799_999, "e", said))
    await changelog.write([Outgoing("changelog", 0, b"l:0:delay", entry)])
    await (await changelog.owner(1, clock)).flush(lambda _message: None)
    assert marks(changelog.steps) == {NOW - GRACE_MS}


async def test_nobody_expects_late_events_for_longer_than_from_now_on() -> None:
    """Whatever a clock said that was ahead."""
    clock, changelog = Clock(), Changelog()
    clock.ms = NOW + HOUR_MS
    first = await changelog.owner(1, clock)
    first.fold(SimpleNamespace(value=[Record(0, LATE, timestamp=NOW)], partition=0, offset=0), clock.ms)
    await first.flush(lambda _message: None)
    changelog.steps.clear()
    clock.ms = NOW
    second = await changelog.owner(2, clock)
    clock.ms = NOW + HOLD_MS
    await second.flush(lambda _message: None)
    assert marks(changelog.steps) == {clock.ms - GRACE_MS}


async def test_events_in_time_write_no_delay() -> None:
    """Nor do they go on writing one that is over."""
    clock, changelog = Clock(), Changelog()
    owner = await changelog.owner(1, clock)
    for offset, value in enumerate([IN_TIME, LATE, IN_TIME, IN_TIME]):
        owner.fold(SimpleNamespace(value=[Record(offset, value)], partition=0, offset=offset), clock.ms)
        await owner.flush(lambda _message: None)
    assert [record.key for record in changelog.written].count(b"l:0:delay") == 2
