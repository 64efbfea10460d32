"""The commit order of a stage, stepped by hand: the test decides when the broker acknowledges."""

import asyncio
import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import orjson
import pytest

from monitor.counting.event import AHEAD_MS, Codec
from monitor.counting.times import rfc3339
from monitor.journey_file.model import Stage
from streams.kafka.outgoing import Outgoing
from streams.state import processor as processor_module
from streams.state import stage as stage_module
from streams.state.dedupe import Sightings
from streams.state.partition import PaneRecord
from streams.state.stage import StageProcessor
from tests.kit.shipped import SHIPPED as JOURNEY

MODEL = JOURNEY.stage("web_checkout")
NOW = 1_800_000_000_000
DEDUPE_MS = 60_000
DEDUPED = dataclasses.replace(MODEL, dedupe_ms=DEDUPE_MS)


def event(id_: str = "e", at_ms: int = NOW, **fields: Any) -> bytes:
    """A checkout."""
    time = rfc3339(at_ms)
    return orjson.dumps({"id": id_, "time": time, "stage": "web_checkout", "outcome": "ok"} | fields)


GOOD = event()


class Record(NamedTuple):
    """As much of a record as a stage reads."""

    offset: int
    value: bytes | None = GOOD
    key: bytes | None = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = NOW


class Broker:
    """Takes records and acknowledges them when told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Sequence[Outgoing], asyncio.Future[Sequence[int]]]] = []

    async def produce(self, records: Sequence[Outgoing]) -> Sequence[int]:
        """Hand over records."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((records, future))
        offsets: Sequence[int] = await future
        return offsets

    def acknowledge(self) -> list[Outgoing]:
        """Acknowledge everything handed over so far."""
        taken, self.waiting = self.waiting, []
        for records, future in taken:
            future.set_result(range(len(records)))
        return [record for records, _ in taken for record in records]


class Rig:
    """A stage that owns partition 0, its broker, and the offsets it acknowledged."""

    def __init__(self, model: Stage = MODEL) -> None:
        self.broker = Broker()
        self.stage = StageProcessor(Codec(JOURNEY, model), "changelog", self.broker.produce)
        self.acknowledged: list[int] = []

    async def own(self, generation: int = 1) -> "Rig":
        """Take over partition 0."""
        await self.stage.own(frozenset({0}), generation, lambda: True)
        return self

    def fold(self, *records: Record, now_ms: int = NOW) -> None:
        """Fold one batch."""
        message = SimpleNamespace(value=list(records), partition=0, offset=records[-1].offset)
        self.stage.fold(message, now_ms)

    def results(self) -> tuple[int, int, int]:
        """(counted, duplicate, refused) so far."""
        results = self.stage.results
        return results["counted"], results["duplicate"], results["refused"]

    def flush(self) -> "asyncio.Task[None]":
        """Begin a flush."""
        return asyncio.create_task(self.stage.flush(self._acknowledge))

    def _acknowledge(self, message: Any) -> None:
        self.acknowledged.append(message.offset)


async def settle() -> None:
    """Let every task run until it waits for the broker."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_each_step_waits_for_the_one_before() -> None:
    """Dead letters, then panes, then deletions, then acknowledgements: each after the broker has the last."""
    rig = await Rig().own()
    rig.fold(Record(0))
    first = rig.flush()
    await settle()
    rig.broker.acknowledge()
    await first
    await rig.own(generation=2)  # the pane is now replaced under a new epoch
    rig.acknowledged.clear()
    rig.fold(Record(1), Record(2, value=b"bad"))
    rig.fold(Record(3))
    flushing = rig.flush()
    await settle()
    assert {record.topic for record in rig.broker.acknowledge()} == {MODEL.dead_letter_topic}
    await settle()
    panes = rig.broker.acknowledge()
    assert {record.topic for record in panes} == {"changelog"}
    assert all(record.value is not None for record in panes)
    assert rig.acknowledged == []
    await settle()
    deletions = rig.broker.acknowledge()
    assert len(deletions) == len(panes) == 2
    assert all(record.value is None for record in deletions)
    assert rig.acknowledged == []
    await flushing
    assert rig.acknowledged == [2, 3]


async def test_a_failed_write_acknowledges_nothing_then_or_later() -> None:
    """After one record was not taken, no batch is acknowledged any more: the worker has to start again."""
    rig = await Rig().own()
    rig.fold(Record(0))
    flushing = rig.flush()
    await settle()
    rig.broker.waiting[0][1].set_exception(OSError("broker gone"))
    with pytest.raises(OSError, match="broker gone"):
        await flushing
    rig.fold(Record(1))
    with pytest.raises(RuntimeError, match="did not finish"):
        await rig.flush()
    assert rig.acknowledged == []


async def test_a_cancelled_write_acknowledges_nothing_then_or_later() -> None:
    """A flush cut off on the way leaves panes unwritten, so later batches must not be acknowledged."""
    rig = await Rig().own()
    rig.fold(Record(0))
    flushing = rig.flush()
    await settle()
    flushing.cancel()
    await settle()
    rig.fold(Record(1))
    with pytest.raises(RuntimeError, match="did not finish"):
        await rig.flush()
    assert rig.acknowledged == []


async def test_reading_pauses_while_too_much_is_unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-pressure: `wait_for_room` waits once enough is folded but unwritten, and ends with the flush."""
    monkeypatch.setattr(processor_module, "MAX_UNWRITTEN", 2)
    rig = await Rig().own()
    rig.fold(Record(0), Record(1))
    waiting = asyncio.create_task(rig.stage.wait_for_room())
    await settle()
    assert not waiting.done()
    flushing = rig.flush()
    await settle()
    rig.broker.acknowledge()
    await flushing
    await waiting


async def test_refused_headers_count_towards_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tombstones have no value, and may have headers all the same."""
    monkeypatch.setattr(stage_module, "MAX_REFUSED_BYTES", 10_000)
    rig = await Rig().own()
    rig.fold(Record(0, None, headers=(("", b""),) * 128))
    waiting = asyncio.create_task(rig.stage.wait_for_room())
    await settle()
    assert not waiting.done()
    flushing = rig.flush()
    while not flushing.done():
        rig.broker.acknowledge()
        await settle()
    await waiting


async def test_a_batch_read_again_counts_nothing_and_is_acknowledged() -> None:
    """Read again after a rebalance, events are recognised in memory; the batch is acknowledged this time."""
    rig = await Rig().own()
    rig.fold(Record(0), Record(1))
    await rig.own(generation=2)
    rig.fold(Record(0), Record(1), Record(2))
    assert rig.stage.results["counted"] == 3
    assert rig.stage.results["duplicate"] == 2
    flushing = rig.flush()
    while not flushing.done():
        rig.broker.acknowledge()
        await settle()
    assert rig.acknowledged == [2]


async def test_a_partition_that_is_lost_is_no_longer_answered_for() -> None:
    """Windows hold only what is owned now; a suspended stage shows none at all."""
    rig = await Rig().own()
    rig.fold(Record(0))
    assert rig.stage.snapshot(NOW, ()).events("1m") == 1
    rig.stage.suspend()
    assert rig.stage.snapshot(NOW, ()).sums == {}
    await rig.stage.own(frozenset({1}), 2, lambda: True)
    assert rig.stage.snapshot(NOW, ()).events("1m") == 0


async def test_nothing_is_deleted_of_a_partition_that_is_still_being_read() -> None:
    """What a later record replaces may be all that is left, were that record's writer to be passed over."""
    written = []
    for generation in (1, 2):
        rig = await Rig().own(generation)
        rig.fold(Record(generation))
        rig.flush()
        await settle()
        written += [PaneRecord(one.key or b"", one.value) for one in rig.broker.acknowledge()]
        await settle()
    rig = Rig()
    rig.stage.restore(0, written)
    await rig.flush()
    assert rig.broker.waiting == []
    await rig.own(3)
    rig.flush()
    await settle()
    assert {one.key for one in rig.broker.acknowledge()} == {one.key for one in written[:2]}


async def test_a_takeover_that_the_group_has_overtaken_takes_nothing() -> None:
    """A takeover that waited behind a write, while partitions moved on, leaves the new recovery alone."""
    rig = await Rig().own()
    rig.fold(Record(0))
    flushing = rig.flush()
    await settle()
    late = asyncio.create_task(rig.stage.own(frozenset(), 2, lambda: False))
    await settle()
    rig.stage.restore(1, [])  # the recovery of the newer assignment has begun
    rig.stage.suspend()
    while not flushing.done():
        rig.broker.acknowledge()
        await settle()
    await late
    assert rig.stage.owned is None
    await rig.stage.own(frozenset({0, 1}), 3, lambda: True)
    assert rig.stage.snapshot(NOW, ()).events("1m") == 1


# -- events published more than once -----------------------------------------------------------------


async def test_an_id_published_again_is_counted_once() -> None:
    """Within `dedupe_s` the second record of an id is a duplicate, in the same batch or a later one; later
    than that it is an event of its own. All of them are acknowledged."""
    rig = await Rig(DEDUPED).own()
    rig.fold(Record(0), Record(1), Record(2, value=event("other")))
    rig.fold(Record(3, timestamp=NOW + DEDUPE_MS - 1))
    assert rig.results() == (2, 2, 0)
    assert rig.stage.snapshot(NOW, ()).events("1m") == 2
    rig.fold(Record(4, timestamp=NOW + 2 * DEDUPE_MS))
    assert rig.results() == (3, 2, 0)
    flushing = rig.flush()
    while not flushing.done():
        rig.broker.acknowledge()
        await settle()
    assert rig.acknowledged == [2, 3, 4]


async def test_without_dedupe_each_record_counts() -> None:
    """Unless the journey file asks for it, an id means nothing."""
    rig = await Rig().own()
    rig.fold(Record(0), Record(1))
    assert rig.results() == (2, 0, 0)


async def test_a_refused_id_has_not_been_seen() -> None:
    """The mended record of a refused one has its id, and counts."""
    rig = await Rig(DEDUPED).own()
    rig.fold(Record(0, value=event("schema", outcome="meh")))
    rig.fold(Record(1, value=event("clock", NOW + AHEAD_MS + 1)))
    assert rig.results() == (0, 0, 2)
    rig.fold(Record(2, value=event("schema")), Record(3, value=event("clock")))
    assert rig.results() == (2, 0, 2)


async def test_a_timestamp_far_ahead_does_not_stop_the_log_clock() -> None:
    """A record's own timestamp is taken for 5 minutes ahead at most, so ids are forgotten all the same."""
    rig = await Rig(DEDUPED).own()
    rig.fold(Record(0, value=event("a"), timestamp=10 * NOW))
    later = NOW + AHEAD_MS + DEDUPE_MS
    rig.fold(Record(1, value=event("b", later), timestamp=later), now_ms=later)
    rig.fold(Record(2, value=event("a", later), timestamp=later), now_ms=later)
    assert rig.results() == (3, 0, 0)


SEQUENCE = [
    Record(0, value=event("a")),
    Record(2, value=event("b"), timestamp=NOW + 10),
    Record(3, value=b"bad", timestamp=NOW + 20),
    Record(4, value=event("a"), timestamp=NOW + 30),
    Record(5, value=event("ahead", NOW + AHEAD_MS + 100), timestamp=NOW + 40),
    Record(7, value=event("c"), timestamp=NOW + 50),
    Record(8, value=event("ahead"), timestamp=NOW + 60),
    Record(9, value=event("b"), timestamp=NOW + 70),
    Record(10, value=event("ahead"), timestamp=NOW + 80),
    Record(11, value=event("a"), timestamp=NOW + 30 + DEDUPE_MS),
    Record(12, value=event("c"), timestamp=NOW + 49 + DEDUPE_MS),
]


@pytest.mark.parametrize("cut", range(1, len(SEQUENCE)))
async def test_a_successor_that_read_back_goes_on_as_if_nothing_had_been(cut: int) -> None:
    """Whoever has recalled the records before counts those after as their reader would have."""
    whole = await Rig(DEDUPED).own()
    for record in SEQUENCE:
        whole.fold(record)
    assert whole.results() == (5, 4, 2)
    first = await Rig(DEDUPED).own()
    first.fold(*SEQUENCE[:cut])
    second, sightings = Rig(DEDUPED), Sightings(DEDUPE_MS)
    assert not second.stage.knows_ids_before(0, SEQUENCE[cut].offset)
    second.stage.recall(sightings, SEQUENCE[:cut], NOW)
    sightings.continue_at(SEQUENCE[cut].offset)
    await second.stage.own(frozenset({0}), 2, lambda: True, {0: sightings})
    assert second.stage.knows_ids_before(0, SEQUENCE[cut].offset)
    second.fold(*SEQUENCE[cut:])
    sums = tuple(a + b for a, b in zip(first.results(), second.results(), strict=True))
    assert sums == whole.results()


async def test_times_are_recalled_as_of_when_they_were_written() -> None:
    """An event refused as ahead stays unseen though its time has come and its pane holds other events; what
    was in time then stays seen though it is old now."""
    rig = await Rig(DEDUPED).own()
    ahead_ms = NOW + AHEAD_MS + 1000
    oldest_ms = NOW - JOURNEY.horizon_ms
    before = [Record(0, value=event("ahead", ahead_ms)), Record(1, value=event("old", oldest_ms))]
    lies = [Record(2, value=event("lies", 2 * NOW), timestamp=2 * NOW)]
    rig.fold(*before, *lies)
    assert rig.results() == (1, 0, 2)
    rig.fold(Record(3, value=event("neighbour", ahead_ms)), now_ms=ahead_ms)
    sightings = Sightings(2 * AHEAD_MS)
    rig.stage.recall(sightings, [*before, *lies], ahead_ms)
    sightings.continue_at(4)
    await rig.stage.own(frozenset({0}), 2, lambda: True, {0: sightings})
    expected = {"ahead": (3, 0, 2), "lies": (4, 0, 2), "old": (4, 1, 2)}
    for offset, id_ in enumerate(expected, 4):
        rig.fold(Record(offset, value=event(id_, ahead_ms), timestamp=ahead_ms), now_ms=ahead_ms)
        assert rig.results() == expected[id_], id_


async def test_ids_stay_known_through_a_rebalance_that_leaves_the_partition() -> None:
    """Read again from what is committed, verdicts are the same; refused records do not hinder it."""
    rig = await Rig(DEDUPED).own()
    rig.fold(Record(0), Record(1))
    rig.fold(Record(2, value=b"bad"))
    assert rig.stage.knows_ids_before(0, 0)
    assert rig.stage.knows_ids_before(0, 3)
    assert not rig.stage.knows_ids_before(0, 4)
    assert not rig.stage.knows_ids_before(1, 0)
    await rig.own(generation=2)
    rig.fold(Record(1), Record(2, value=b"bad"), Record(3))
    assert rig.results() == (1, 3, 2)
    await rig.stage.own(frozenset({1}), 3, lambda: True)
    assert not rig.stage.knows_ids_before(0, 4)


async def changelog_of(rig: Rig) -> list[PaneRecord]:
    """What one flush writes to the changelog."""
    flushing = rig.flush()
    written: list[Outgoing] = []
    while not flushing.done():
        written += rig.broker.acknowledge()
        await settle()
    return [PaneRecord(one.key or b"", one.value) for one in written if one.topic == "changelog"]


async def test_who_takes_over_knows_when_the_group_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if no event has come since; of what an earlier version has written, by its first pane."""
    first, clock_ms = Rig(), iter((NOW, NOW + 1_000, NOW + 2_000, NOW + 3_000))
    monkeypatch.setattr(stage_module, "clock_ms", lambda: next(clock_ms))
    await first.own()
    records = await changelog_of(first)
    heir = Rig()
    heir.stage.restore(0, records)
    await heir.own(2)
    assert [heir.stage.snapshot(NOW + ms, ()).began_ms for ms in (5_000, -5_000)] == [NOW, NOW - 5_000]
    assert await changelog_of(heir) == []
    heir.fold(Record(0, event("e", NOW - 1_000_000)), Record(1))
    old = Rig()
    old.stage.restore(0, [one for one in await changelog_of(heir) if not one.key.startswith(b"l:")])
    await old.own(3)
    assert old.stage.snapshot(NOW, ()).began_ms == NOW - 1_200_000
    assert Rig().stage.snapshot(NOW, ()).began_ms == NOW


async def test_failing_encounters_survive_a_restart() -> None:
    """Who takes over lists the same ones, the newest first, and goes on from there."""
    rig = await Rig().own()
    failed = [event(f"e-{n}", NOW + n, outcome="failed", journey_id=f"j-{n}") for n in range(60)]
    rig.fold(*(Record(offset, value) for offset, value in enumerate(failed)))
    records = await changelog_of(rig)
    known = rig.stage.failures()
    assert [one["journey_id"] for one in known] == [f"j-{n}" for n in range(59, 9, -1)]
    successor = Rig()
    successor.stage.restore(0, records)
    await successor.own(2)
    assert successor.stage.failures() == known
    successor.fold(Record(60, event("e-60", NOW + 60, outcome="failed")))
    assert [one["id"] for one in successor.stage.failures()][:2] == ["e-60", "e-59"]


async def test_a_successor_knows_when_the_last_event_was() -> None:
    """By partner, to the pane of 10 s; of what no experience judged too. Before, alerts said how long the new
    worker had heard nothing, or the age of an old event that came late."""
    first = await Rig().own()
    first.fold(
        Record(0, event("1", NOW - 600_000, partner="klarna")),
        Record(1, event("2", NOW - 300_000, outcome="abandoned", initiator="customer")),
    )
    writing = first.flush()
    records = []
    while not writing.done():
        await settle()
        records += first.broker.acknowledge()
    heir = Rig()
    heir.stage.restore(0, [PaneRecord(one.key or b"", one.value) for one in records])
    await heir.own(2)
    heir.fold(Record(2, event("3", NOW - 900_000, partner="klarna")))
    assert heir.stage.last_event_ms == {"klarna": NOW - 590_000, "none": NOW - 290_000}
