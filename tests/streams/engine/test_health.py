"""The watchdog and the steady clock, stepped by hand."""

from collections.abc import Hashable

import pytest

from streams import clock
from streams.clock import SteadyClock
from streams.engine.health import Watchdog


def test_work_without_progress_is_timed_from_its_beginning() -> None:
    """Stalled counts from the last change; a change starts it over; no work is never stalled."""
    state: Hashable | None = None
    dog = Watchdog(lambda: state, patience_s=60)
    assert dog.stalled_s(0) == 0
    state = ("lag", 1)
    assert dog.stalled_s(100) == 0
    assert dog.stalled_s(130) == 30
    state = ("lag", 2)
    assert dog.stalled_s(140) == 0
    assert dog.stalled_s(155) == 15
    state = None
    assert dog.stalled_s(500) == 0
    state = ("lag", 2)
    assert dog.stalled_s(900) == 0


async def test_it_barks_once_patience_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """With work that never moves, the wait ends after the patience."""
    monkeypatch.setattr("streams.engine.health.CHECK_S", 0.001)
    dog = Watchdog(lambda: "stuck", patience_s=0.01)
    assert await dog.bark() >= 0.01


def test_the_steady_clock_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the machine's clock jumps back an hour, the steady one runs on until it is caught up."""
    hour = 3_600_000
    walls = iter([1_000_000, 1_000_500, 1_001_000 - hour, 1_002_000 - hour, 1_009_000])
    ticks = iter([50.0, 50.5, 51.0, 52.0, 53.0])
    monkeypatch.setattr(clock, "now_ms", lambda: next(walls))
    monkeypatch.setattr("time.monotonic", lambda: next(ticks))
    steady = SteadyClock()
    assert [steady.now_ms() for _ in range(4)] == [1_000_500, 1_001_000, 1_002_000, 1_009_000]
