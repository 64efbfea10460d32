"""A record that our own code fails on is set aside alone: all others count, once, whatever comes after."""

import asyncio
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from cramjam import lz4

from monitor.counting.event import Codec, Event, Reason, Refused
from monitor.counting.formats import Unreadable
from monitor.counting.judging import Judge, Verdict
from monitor.counting.panes import LONG, PaneKey
from monitor.counting.staff import stage_tally
from monitor.journeys.counters import CounterTally
from monitor.journeys.open import JourneyRules
from monitor.journeys.step import Step, Steps, encode
from streams.journeys.partition import JourneyPartition
from streams.state.partition import PaneRecord, Partition, Run
from tests.kit.kept import kept
from tests.kit.shipped import SHIPPED
from tests.streams.journeys.test_bound import Keeper
from tests.streams.state.test_processor import DEDUPED, MODEL, NOW, Record, Rig, event, settle

POISON: dict[str, Any] = {"location": "poison"}


class FailingCodec(Codec):
    """Fails on what says it is poison, as a fault of ours would."""

    def decode(self, value: bytes | None, headers: Any = ()) -> Event | Refused:
        """Raise for it."""
        if value and b"poison" in value:
            raise OverflowError("personal words of a customer")
        return super().decode(value, headers)


class FailingJudge(Judge):
    """The same, of an event that has been read."""

    def judge_all(self, events: Sequence[Event]) -> list[Verdict]:
        """Raise for it."""
        if any(event.location == "poison" for event in events):
            raise ZeroDivisionError
        return super().judge_all(events)


def failing(rig: Rig, where: str) -> Rig:
    """A stage with a fault: in reading an event, or in judging it."""
    if where == "reading":
        rig.stage._codec = FailingCodec(rig.stage._journey, rig.stage.stage)
        return rig
    rig.stage._judge = judge = FailingJudge(rig.stage._journey, rig.stage.stage)
    rig.stage._tally = stage_tally(rig.stage.stage, judge)
    return rig


@pytest.mark.parametrize("model", [MODEL, DEDUPED], ids=["plain", "deduped"])
@pytest.mark.parametrize("where", ["reading", "judging"])
async def test_only_the_record_itself_is_set_aside(where: str, model: Any) -> None:
    """Three of a hundred, with refused ones between them: counted, refused and set aside add up."""
    rig = failing(await Rig(model).own(), where)
    bad, refused = (0, 41, 99), (40, 42)
    records = [
        Record(n, value=b"no" if n in refused else event(f"e{n}", **(POISON if n in bad else {})))
        for n in range(100)
    ]
    rig.fold(*records)
    assert rig.results() == (95, 0, 5)
    assert rig.stage.refusals == {Reason.UNPROCESSABLE: 3, Reason.NOT_JSON: 2}
    flushing = rig.flush()
    await settle()
    letters = [dict(one.headers or []) for one in rig.broker.acknowledge()]
    said = sorted((int(one["dlq.offset"]), one["dlq.reason"].decode()) for one in letters)
    assert said == sorted([(n, "unprocessable") for n in bad] + [(n, "not_json") for n in refused])
    assert not any(b"personal" in one["dlq.error"] for one in letters)
    while not flushing.done():
        rig.broker.acknowledge()
        await settle()
    assert rig.acknowledged == [99]
    rig.fold(*records)  # read again, as after a crash before the commit
    assert rig.results()[0] == 95


async def test_a_flood_of_what_is_set_aside_is_no_flood_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    """The first ten each in a line, the rest by their number; after a write the next ten."""
    rig = failing(await Rig().own(), "reading")
    for _ in range(2):
        caplog.clear()
        first = rig.results()[2]
        rig.fold(*(Record(first + n, value=event(f"e{n}", **POISON)) for n in range(25)))
        flushing = rig.flush()
        await settle()
        said = [entry.getMessage() for entry in caplog.records]
        topic = rig.stage.topic
        each = [f"{topic}:0:{first + n} cannot be processed and is skipped" for n in range(10)]
        assert said == [*each, f"15 more records of {topic} are skipped"]
        while not flushing.done():
            rig.broker.acknowledge()
            await settle()


async def test_a_former_owner_is_no_record_s_fault() -> None:
    """Where another owner has taken over nothing is set aside: the worker gives way."""
    rig = await Rig().own()
    held = rig.stage._partitions[0]
    no_counts = bytes(8) + bytes(lz4.compress_block(msgspec.msgpack.encode({})))
    held.restore(PaneRecord(b"300000:1799999700000:9", no_counts))
    with pytest.raises(RuntimeError, match="taken over"):
        rig.fold(Record(0), Record(1))
    assert rig.results() == (0, 0, 0)


def test_a_step_that_rules_fail_on_is_passed_over() -> None:
    """The journey goes on without it, and so does every other."""
    journey = SHIPPED

    class Failing(JourneyRules):
        def take(self, held: Any, step: Step) -> Any:
            found = super().take(held, step)
            if step.touchpoint == "poison":
                raise OverflowError
            return found

    held = JourneyPartition(Failing(journey), frozenset({("store", 0)}), journey.horizon_ms)
    asyncio.run(held.own(1, lambda: True))
    steps = [
        Step("j", "store", 0, n, NOW + n, "ok", 1, (), touchpoint="poison" if n == 1 else None)
        for n in range(3)
    ]
    taken = held.take(0, Steps("store", 0, NOW, tuple(steps)))
    assert (taken.steps, taken.refused, taken.skipped) == (3, 0, 1)
    (one,) = [journey for _, journey in kept(held)]
    assert [step.offset for step in one.steps] == [0, 2]
    assert len(held.take_changes()[0]) == 1


async def test_a_record_of_steps_that_fails_costs_no_other_its_count() -> None:
    """What the records before it in the batch have added is counted, and so are those after it."""
    keeper = await Keeper(1_000_000_000).own(1, [])
    held = keeper.processor._partitions[0]

    def take(offset: int, record: Steps) -> Any:
        if offset == 1:
            raise ZeroDivisionError
        return JourneyPartition.take(held, offset, record)

    held.take = take  # type: ignore[method-assign]
    steps = [Step(f"j{n}", "store", 0, n, NOW, "ok", 1, ("x",)) for n in range(4)]
    records = [
        SimpleNamespace(
            offset=n, value=encode(Steps("store", 0, NOW, (one,))), timestamp=NOW, partition=0, topic="steps"
        )
        for n, one in enumerate(steps)
    ]
    keeper.processor.fold(SimpleNamespace(value=records, partition=0), NOW)
    assert keeper.totals() == {"hit/store/other": 3}
    results = keeper.processor.results
    assert (results["counted"], results["refused"], results["skipped"]) == (3, 0, 1)


@pytest.mark.parametrize(
    "value", [None, b"", b"who wrote this?", b'{"stage": "store"}', Unreadable("torn", 9)]
)
async def test_what_is_no_record_of_steps_is_told_apart_from_what_finds_no_room(value: Any) -> None:
    """Refused steps say that the memory is full, skipped records that somebody else writes to the topic."""
    keeper = await Keeper(0).own(1, [])
    keeper.fold(0, ("j", 0))
    strange = SimpleNamespace(offset=1, value=value, timestamp=NOW, partition=0, topic="steps")
    keeper.processor.fold(SimpleNamespace(value=[strange], partition=0), NOW)
    assert keeper.processor.results == {"counted": 0, "duplicate": 0, "late": 0, "refused": 1, "skipped": 1}


def test_a_sum_beyond_64_bits_stays_at_the_most() -> None:
    """18.6 million events of 31 years each: what is written can be read, and is as large as it gets."""
    held = Partition(8 * 86_400_000)
    held.own(1)
    counts = {"duration_ms": 2**64 + 5, "outcome/ok": 3}

    class Told(CounterTally):
        def panes(self) -> Iterator[tuple[PaneKey, dict[str, int]]]:
            yield PaneKey(LONG.ms, LONG.start_of(NOW)), counts

    held.fold(Run([0], [NOW], [()]), Told, NOW)
    (record,) = held.take_changes()
    other = Partition(8 * 86_400_000)
    other.restore(record)
    assert [counts for _, counts in other.panes()] == [{"duration_ms": 2**64 - 1, "outcome/ok": 3}]
