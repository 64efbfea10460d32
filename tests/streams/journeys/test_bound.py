"""The memory of journeys is bounded: what finds no room is refused, and nothing is counted twice for it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from monitor.journeys.step import Step, Steps, encode
from monitor.live.journeys import JourneysSnapshot
from streams.journeys import processor
from streams.journeys.processor import Extent, JourneyProcessor
from streams.journeys.store import EACH_BYTES
from streams.kafka.outgoing import Outgoing
from streams.state.partition import PaneRecord
from tests.kit.shipped import SHIPPED as JOURNEY

NOW = 1_800_000_000_000
DAY = 86_400_000
BOUND = 100_000
BATCH = 10


class Keeper:
    """A worker that keeps all journeys, of which it hears from the store, and what it has written."""

    def __init__(self, max_bytes: int) -> None:
        self.written: list[Outgoing] = []
        self.processor = JourneyProcessor(
            JOURNEY, "steps", "changelog", self._produce, Extent(frozenset([("store", 0)]), 1, max_bytes)
        )

    async def _produce(self, records: Sequence[Outgoing]) -> Sequence[int]:
        self.written += records
        return range(len(records))

    async def own(self, generation: int, inherited: list[Outgoing]) -> "Keeper":
        """Take over what another wrote."""
        records = [PaneRecord(one.key or b"", one.value) for one in inherited]
        self.processor.restore(0, records)
        await self.processor.own(frozenset({0}), generation, lambda: True)
        return self

    def fold(self, offset: int, *visits: tuple[str, int], mark_ms: int = NOW) -> None:
        """Read a record of visits: whose, and the offset of their event."""
        steps = tuple(Step(who, "store", 0, n, NOW + n, "ok", 1, ("x",)) for who, n in visits)
        record = SimpleNamespace(
            offset=offset, value=encode(Steps("store", 0, mark_ms, steps)), timestamp=NOW, partition=0,
            topic="steps",
        )  # fmt: skip
        self.processor.fold(SimpleNamespace(value=[record], partition=0), NOW)

    async def flush(self) -> JourneysSnapshot:
        """Write; what is known then."""
        await self.processor.flush(lambda _: None)
        return self.processor.snapshot(NOW, ())

    def ended(self) -> int:
        """Journeys ever counted as over."""
        return sum(n for name, n in self.totals().items() if name.startswith("closed/"))

    def totals(self) -> Counter[str]:
        """Everything ever counted."""
        found: Counter[str] = Counter()
        for key, counts in self.processor._partitions[0].panes.panes():
            if key.grain_ms > 10_000:
                found.update(counts)
        return found


async def filled(max_bytes: int = BOUND) -> tuple[Keeper, int]:
    """A worker that has heard of a thousand journeys, ten at a time, and the offset it has read up to."""
    keeper = await Keeper(max_bytes).own(1, [])
    for offset in range(100):
        first = offset * BATCH
        keeper.fold(offset, *((f"j{n}", n) for n in range(first, first + BATCH)))
        await keeper.flush()
    return keeper, 99


async def test_from_nine_tenths_on_no_journey_is_begun() -> None:
    """Those under way go on, and end; then there is room again."""
    keeper, offset = await filled()
    known = await keeper.flush()
    assert 0.9 * BOUND <= known.kept_bytes < BOUND == known.max_bytes
    assert known.open_journeys == known.results["counted"] == 1000 - known.results["refused"] > 100
    keeper.fold(offset + 1, ("j0", 5000), ("new", 5001))
    after = await keeper.flush()
    assert after.results["counted"] - known.results["counted"] == 1
    assert keeper.processor.look_up("new") is None
    keeper.fold(offset + 2, mark_ms=NOW + 40 * DAY)
    assert keeper.ended() == known.open_journeys
    keeper.fold(offset + 3, mark_ms=NOW + 40 * DAY)
    await keeper.flush()
    keeper.fold(offset + 4, mark_ms=NOW + 41 * DAY)
    assert (await keeper.flush()).kept_bytes == 0


async def test_at_the_bound_no_step_is_taken() -> None:
    """Journeys under way that grow cannot take more either."""
    keeper, offset = await filled()
    for turn in range(400):
        keeper.fold(offset + 1 + turn, *((f"j{n}", 5000 + 100 * turn + n) for n in range(100)))
        known = await keeper.flush()
    assert BOUND <= known.kept_bytes < 1.1 * BOUND
    counted = known.results["counted"]
    keeper.fold(offset + 1000, ("j0", 99_000))
    assert (await keeper.flush()).results["counted"] == counted


async def test_reading_pauses_for_journeys_not_yet_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few records they came in: what is held unpacked takes ten times the memory."""
    monkeypatch.setattr(processor, "MAX_CHANGED", 100)
    keeper = await Keeper(10 * BOUND).own(1, [])
    keeper.fold(0, *((f"j{n}", n) for n in range(99)))
    await asyncio.wait_for(keeper.processor.wait_for_room(), 60)
    keeper.fold(1, ("j99", 99))
    waiting = asyncio.create_task(keeper.processor.wait_for_room())
    await asyncio.sleep(0)  # it has had its turn
    assert not waiting.done()
    await keeper.flush()
    await asyncio.wait_for(waiting, 60)


async def test_what_is_kept_is_known_to_the_byte() -> None:
    """To who has counted along, and to a successor."""
    keeper, offset = await filled(10 * BOUND)
    keeper.fold(offset + 1, *((f"j{n}", 5000 + n) for n in range(300)))
    known = await keeper.flush()
    records = {one.key: one.value or b"" for one in keeper.written if (one.key or b"").startswith(b"j:")}
    assert known.kept_bytes == sum(EACH_BYTES + len(one) for one in records.values())
    heir = await Keeper(BOUND).own(2, keeper.written)
    found = await heir.flush()
    assert (found.kept_bytes, found.open_journeys) == (known.kept_bytes, 1000)


@pytest.mark.parametrize("room", [BOUND // 2, 10 * BOUND])
async def test_a_successor_with_other_room_counts_nothing_twice(room: int) -> None:
    """It reads again what its predecessor had refused or taken, and decides otherwise."""
    keeper, offset = await filled()
    written = [one for one in keeper.written if not (one.key or b"").startswith(b"c:")]
    clocks = [one for one in keeper.written if (one.key or b"").startswith(b"c:")]
    heir = await Keeper(room).own(2, [clocks[20], *written])
    for again in range(offset + 1):
        heir.fold(again, *((f"j{n}", n) for n in range(again * BATCH, (again + 1) * BATCH)))
    heir.fold(offset + 1, mark_ms=NOW + 40 * DAY)
    hits = sum(n for name, n in heir.totals().items() if name.startswith("hit/"))
    assert keeper.processor.results["counted"] <= heir.ended() <= 1000
    assert hits <= heir.ended()
