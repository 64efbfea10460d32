"""`touchpoint rescue` says who can still be helped, as a worker knows it, in words."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from monitor.counting.event import Handoff, Promise
from monitor.journeys.step import Step
from monitor.live.rescue import rescue
from tests.kit.programs import touchpoint
from tests.monitor.live.test_journey import DAY, HOUR, MINUTE, START, journey, step
from tests.monitor.live.test_share import worker
from tests.streams.web.test_group import serving

LIVED = frozenset({"store", "warehouse", "delivery"})


def listed(name: str, *steps: Step, clock: int) -> dict[str, Any]:
    """As a worker would a quarter of an hour later."""
    found = rescue(name, journey(*steps, clock=clock), LIVED, START + clock + 15 * MINUTE)
    assert found is not None
    return found


async def said(*found: dict[str, Any]) -> str:
    """What the command prints, lines of its table and blanks as one blank."""
    async with serving(worker("a", [], 1), rescued=found) as url:
        done = await asyncio.to_thread(touchpoint, "rescue", "--worker", url)
    assert (done.returncode, done.stderr) == (0, "")
    return " ".join(re.sub(r"[│\s]+", " ", done.stdout).split())


async def test_each_with_what_happened_what_was_promised_and_how_long_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A promise due soon, a parcel that is late, and somebody who was hurt and is owed nothing."""
    monkeypatch.setenv("COLUMNS", "300")
    due = Promise("p", "call_back", None, datetime.fromtimestamp((START + HOUR) / 1000, UTC), None)
    bad = step(MINUTE, "store", "failed", bad_for=("served",), reason="queue")
    text = await said(
        listed("j-soon", step(0, promise=due), clock=15 * MINUTE),
        listed("j-lost", step(0, "warehouse", handoff=Handoff("h", "warehouse", "postnord")), clock=2 * DAY),
        listed("j-hurt", bad, clock=2 * MINUTE),
    )
    assert "30 minutes j-soon call_back, due 2023-11-14 23:13:20Z" in text
    assert (
        "15 minutes late j-lost hand-over warehouse to delivery of postnord, due 2023-11-16 22:13:20Z" in text
    )
    assert "j-hurt 2023-11-14 22:14:20Z bad at store (queue)" in text
    assert text.index("j-soon") < min(text.index("j-lost"), text.index("j-hurt"))


async def test_nobody_to_be_helped() -> None:
    """That is said in words."""
    assert (await said()).endswith("nobody under way was hurt or is about to be")
