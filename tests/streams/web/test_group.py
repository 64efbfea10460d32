"""What the workers of a group answer is added up; one that does not answer is named, with why."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from monitor.live.snapshot import Snapshot
from streams.settings import Settings
from streams.web import group as group_module
from streams.web.group import Group
from streams.web.server import HttpServer, Sources
from tests.monitor.live.test_share import worker
from tests.streams.web.snapshots import FAILED, FAILURES, GOOD
from tests.streams.web.test_lookup import answering, endless


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers has the time for it, also on a loaded machine."""
    monkeypatch.setattr(group_module, "ASK_S", 60)


@asynccontextmanager
async def serving(
    snapshot: Snapshot, others: tuple[str, ...] = (), failures: Any = (), rescued: Any = ()
) -> AsyncIterator[str]:
    """A worker that knows where the others answer."""
    app = SimpleNamespace(url="http://here", other_urls=list(others))

    async def taken() -> Snapshot:
        return snapshot

    async def rescue() -> list[Any]:
        return list(rescued)

    group = Group(Settings(), lambda: app)  # type: ignore[arg-type,return-value]
    sources = Sources(taken, lambda _: list(failures), group=group, rescue=rescue)
    server = HttpServer(Settings(http="127.0.0.1:0"), sources)
    try:
        yield f"http://{await server.start()}"
    finally:
        await server.stop()


async def said(url: str, path: str = "/api/stages") -> Any:
    """What it answers, in JSON."""
    async with aiohttp.ClientSession() as session, session.get(url + path) as answer:
        assert answer.status == 200
        return await answer.json()


async def test_both_speak_of_both() -> None:
    """Checkouts, partitions and failing encounters of two workers; nobody asks in circles."""
    earlier = {**FAILURES[0], "id": "e0", "time": "2026-07-01T12:00:00.000Z"}
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(
            serving(worker("b", [FAILED] * 10, 1), ("http://loop",), FAILURES)
        )
        mine = worker("a", [GOOD] * 30, 0)
        here = await stack.enter_async_context(serving(mine, (there,), [earlier]))
        answer = await said(here)
        (checkout,) = [one for one in answer["stages"] if one["stage"] == "web_checkout"]
        assert (checkout["n"], checkout["bad"], checkout["top_reason"]) == (40, 10, "payment_error")
        assert answer["workers"] == [{"worker": "a", "missing": None}, {"worker": "b", "missing": None}]
        assert (answer["partitions"]["owned"], answer["only_part"]) == (answer["partitions"]["of"], None)
        listed = await said(here, "/api/stages/web_checkout/failures")
        assert [one["id"] for one in listed["failures"]] == ["e1", "e0"]


async def test_who_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs, is gone, refuses, talks nonsense, never stops, is not ready, or counts the same."""
    monkeypatch.setattr(group_module, "ASK_S", 0.5)
    monkeypatch.setattr(group_module, "MAX_BYTES", 100_000)
    tired = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        await tired.wait()
        return web.Response()

    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=401)

    async def babble(_: web.Request) -> web.StreamResponse:
        return web.Response(text="nonsense")

    unready = replace(worker("c", [], 1), ready=False, problems=("recovering",))
    slow = worker("e", [GOOD], 1)
    slow = replace(slow, at_ms=slow.at_ms - 3_600_000)
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(answering(one)) for one in (hang, refuse, babble, endless)]
        urls += [
            await stack.enter_async_context(serving(one)) for one in (unready, worker("d", [GOOD], 0), slow)
        ]
        urls.append("http://127.0.0.1:9")
        here = await stack.enter_async_context(serving(worker("a", [GOOD] * 30, 0), tuple(urls)))
        answer = await said(here)
        tired.set()
    missing = {one["worker"]: one["missing"] for one in answer["workers"]}
    assert missing.pop("a") is None
    assert [missing[name] for name in (*urls[:4], "c", "d", "e")] == [
        "it has not answered within 0.5 s",
        "it answered 401",
        "it does not answer as a worker of this version does",
        "answers with more than any journey holds",
        "recovering",
        "partitions are moving between the workers",
        "its clock says 2027-01-15T07:00:30.000Z, this worker's 2027-01-15T08:00:30.000Z",
    ]
    assert missing[urls[-1]].startswith("cannot be reached")
    assert all(f"{name}: {why}" in answer["only_part"] for name, why in missing.items())


async def test_a_list_asks_each_worker_once() -> None:
    """What it lists, and how much of the whole it counts, come with one answer; who gives none is named."""
    asked: list[str] = []

    def counted(status: int) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            asked.append(request.path)
            return web.json_response(
                {"failures": FAILURES, "partitions": {"owned": 8, "of": 16}}, status=status
            )

        return answer

    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(answering(counted(200)))
        gone = await stack.enter_async_context(answering(counted(401)))
        mine = worker("a", [], 0)
        here = await stack.enter_async_context(serving(mine, (there, gone)))
        listed = await said(here, "/api/stages/web_checkout/failures")
    assert asked == ["/api/stages/web_checkout/failures"] * 2
    assert [one["id"] for one in listed["failures"]] == [one["id"] for one in FAILURES]
    assert listed["partitions"]["owned"] == mine.owned + 8
    assert f"{gone}: it answered 401" in listed["only_part"]
    assert there not in listed["only_part"]


@pytest.mark.parametrize("owned", ["1e30", '"99999999999999999999"', "-1", "null", "1.5"])
async def test_partitions_that_nobody_can_own_are_not_added(owned: str) -> None:
    """The first two made an answer that cannot be written: 500, from every worker of the group."""

    async def forge(_: web.Request) -> web.StreamResponse:
        return web.Response(text=f'{{"failures": [], "partitions": {{"owned": {owned}}}}}')

    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(answering(forge))
        here = await stack.enter_async_context(serving(worker("a", [GOOD], 0), (there,)))
        listed = await said(here, "/api/stages/web_checkout/failures")
        assert listed["only_part"].endswith(group_module.OTHER_VERSION)


async def test_who_can_be_helped_is_listed_by_what_can_be_done() -> None:
    """Of two workers, those in time first, the soonest first; one that knows no such list is named."""

    def one(name: str, due: str | None, time: str, *, in_time: bool) -> dict[str, Any]:
        return {"journey_id": name, "due": due, "time": time, "in_time": in_time}

    mine = [one("b", "2026-07-02T12:00:00.000Z", "", in_time=True), one("d", None, "1", in_time=False)]
    theirs = [one("a", "2026-07-02T11:00:00.000Z", "", in_time=True), one("c", None, "2", in_time=False)]

    async def old(_: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(serving(worker("b", [], 1), rescued=theirs))
        older = await stack.enter_async_context(answering(old))
        here = await stack.enter_async_context(serving(worker("a", [], 0), (there, older), rescued=mine))
        answer = await said(here, "/api/rescue")
    assert [one["journey_id"] for one in answer["journeys"]] == ["a", "b", "c", "d"]
    assert f"{older}: it answered 404" in answer["only_part"]
