"""The commit order of a stage, stepped by hand: the test decides when the broker acknowledges."""

import asyncio
from types import SimpleNamespace
from typing import Any, NamedTuple

import orjson
import pytest

from monitor.event import EPOCH, Codec
from monitor.journey_file import parse
from streams import processor as processor_module
from streams.outgoing import Outgoing
from streams.processor import StageProcessor
from streams.settings import SHIPPED_JOURNEY

JOURNEY = parse(SHIPPED_JOURNEY.read_text())
MODEL = JOURNEY.stage("web_checkout")
NOW = 1_800_000_000_000
TIME = EPOCH.fromtimestamp(NOW / 1000, EPOCH.tzinfo).isoformat()
GOOD = orjson.dumps({"id": "e", "time": TIME, "stage": "web_checkout", "outcome": "ok"})


class Record(NamedTuple):
    """As much of a consumer record as a stage reads."""

    offset: int
    value: bytes | None = GOOD
    key: bytes | None = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = NOW
    topic: str = MODEL.topic
    partition: int = 0


class Broker:
    """Takes records and acknowledges them when told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Outgoing, asyncio.Future[None]]] = []

    async def produce(self, record: Outgoing) -> asyncio.Future[None]:
        """Hand over a record."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((record, future))
        return future

    def acknowledge(self) -> list[Outgoing]:
        """Acknowledge everything handed over so far."""
        taken, self.waiting = self.waiting, []
        for _, future in taken:
            future.set_result(None)
        return [record for record, _ in taken]


class Rig:
    """A stage that owns partition 0, its broker, and the offsets it acknowledged."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.stage = StageProcessor(JOURNEY, MODEL, "changelog", self.broker.produce, Codec(JOURNEY, MODEL))
        self.acknowledged: list[int] = []

    async def own(self, generation: int = 1) -> "Rig":
        """Take over partition 0."""
        await self.stage.own(frozenset({0}), generation, lambda: True)
        return self

    def fold(self, *records: Record) -> None:
        """Fold one batch."""
        message = SimpleNamespace(value=list(records), partition=0, offset=records[-1].offset)
        self.stage.fold(message, NOW)

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
