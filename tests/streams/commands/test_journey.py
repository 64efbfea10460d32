"""What `touchpoint journey` and `touchpoint journeys` say in words."""

import asyncio
import re

import pytest

from streams.commands.journey import why_missed
from streams.settings import Settings
from streams.web.server import HttpServer, Sources
from tests.kit.programs import touchpoint
from tests.streams.web.snapshots import MEANT
from tests.streams.web.test_server import Worker


def test_what_made_a_journey_miss_its_goal() -> None:
    """Where nothing went wrong that anybody saw it says so, instead of "failed by none none"."""
    assert why_missed("stage", "web_checkout") == "failed by stage web_checkout"
    assert why_missed("none", "none").startswith("missed its goal, though no encounter was bad")


async def said(*arguments: str) -> str:
    """What `touchpoint journeys` prints, lines of its table and blanks as one blank."""
    known, earlier = Worker(), {**MEANT[0], "journey_id": "j0", "time": "2026-06-30T12:30:00.000Z"}
    meant = {"postnord": [earlier, *MEANT]}
    sources = Sources(
        known.snapshot, known.failures, meant=lambda _, labels: meant.get(labels.get("partner", ""), [])
    )
    server = HttpServer(Settings(http="127.0.0.1:0"), sources)
    url = f"http://{await server.start()}"
    try:
        done = await asyncio.to_thread(touchpoint, "journeys", *arguments, "--worker", url)
    finally:
        await server.stop()
    assert (done.returncode, done.stderr) == (0, "")
    return " ".join(re.sub(r"[│\s]+", " ", done.stdout).split())


async def test_the_journeys_that_an_alert_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, when, which, what was bad, and the labels; that there are none is said."""
    monkeypatch.setenv("COLUMNS", "300")
    text = await said("promise_delivery_window", "partner=postnord")
    assert re.search(r"2026-07-01 \S+ j1 overdue postnord .*2026-06-30 \S+ j0 overdue postnord", text), text
    assert (await said("promise_delivery_window", "partner=matkahuolto")).endswith(
        "no journeys of promise_delivery_window seen lately"
    )
