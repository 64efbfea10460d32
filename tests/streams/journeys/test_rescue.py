"""Whoever keeps a journey lists its customer while there is something to be helped, also after a restart."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from monitor.counting.event import Promise
from monitor.journeys.step import Step, Steps, encode
from monitor.live.rescue import MOST
from streams.journeys import partition
from tests.streams.journeys.test_bound import BOUND, DAY, NOW, Keeper

HOUR = 3_600_000


def fold(keeper: Keeper, offset: int, *steps: Step, clock_ms: int = NOW) -> None:
    """Read a record of steps, and that all is read up to then."""
    value = encode(Steps("store", 0, clock_ms, steps))
    record = SimpleNamespace(offset=offset, value=value, timestamp=NOW, partition=0, topic="steps")
    keeper.processor.fold(SimpleNamespace(value=[record], partition=0), NOW)


def visit(who: str, number: int, *, bad: bool = False, due_ms: int | None = None, **more: Any) -> Step:
    """At the store, where a delivery may be promised."""
    due = None if due_ms is None else datetime.fromtimestamp(due_ms / 1000, UTC)
    promise = None if due is None else Promise(f"p-{who}", "delivery_window", None, due, None)
    return Step(who, "store", 0, number, NOW + number, "ok", 1, ("x",) * bad, promise=promise, **more)


async def listed(keeper: Keeper, now_ms: int) -> list[str]:
    """Who is listed then, by a worker, and by one that has only its changelog."""
    await keeper.flush()
    found = await keeper.processor.rescue(now_ms)
    successor = await Keeper(10 * BOUND).own(2, keeper.written)
    assert await successor.processor.rescue(now_ms) == found
    return [one["journey_id"] for one in found]


async def test_by_what_can_still_be_done() -> None:
    """Due soon, hurt while something is still to come, overdue and hurt; not who is well or made well."""
    keeper = await Keeper(10 * BOUND).own(1, [])
    fold(
        keeper,
        0,
        visit("well", 1),
        visit("hurt", 2, bad=True),
        visit("far", 3, due_ms=NOW + 2 * DAY),
        visit("soon", 4, due_ms=NOW + DAY + HOUR),
        visit("hurt, far", 5, bad=True, due_ms=NOW + 2 * DAY),
        visit("made good", 6, bad=True),
        visit("overdue", 7, due_ms=NOW + HOUR),
        visit("made good", 8),
    )
    assert await listed(keeper, NOW) == ["overdue", "hurt, far", "hurt"]
    fold(keeper, 1, clock_ms=NOW + DAY)
    assert await listed(keeper, NOW + DAY) == ["soon", "hurt, far", "overdue", "hurt"]
    fold(keeper, 2, clock_ms=NOW + 40 * DAY)
    assert await listed(keeper, NOW + 40 * DAY) == []


async def test_the_latest_of_many_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are hurt or owed something, what is unpacked of a partition is bounded, and told."""
    keeper = await Keeper(10 * BOUND).own(1, [])
    fold(keeper, 0, *(visit(f"hurt-{n}", n, bad=True) for n in range(2 * MOST)))
    fold(keeper, 1, *(visit(f"due-{n}", 1_000 + n, due_ms=NOW + 60_000 * n) for n in range(1, 60)))
    expected = [f"due-{n}" for n in range(1, MOST + 1)] + [f"hurt-{2 * MOST - n}" for n in range(1, MOST + 1)]
    assert await listed(keeper, NOW + 2_000) == expected
    monkeypatch.setattr(partition, "LOOKED_AT", 5)
    assert await listed(keeper, NOW + 2_000) == expected[:5] + expected[MOST : MOST + 5]
    held = keeper.processor._partitions[0]
    assert len(list(held.troubled(NOW + HOUR))) == 10


async def test_who_recovers_lists_nobody_yet() -> None:
    """What is not owned may be another's."""
    keeper = Keeper(BOUND)
    assert await keeper.processor.rescue(NOW) == []
