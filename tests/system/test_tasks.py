"""What a worker runs beside counting: if it ends, the worker says so and ends, too."""

import asyncio
from pathlib import Path

import pytest

from monitor.errors import UserError
from monitor.journey_file.grammar import parse
from streams.publish.changes import ChangesReader
from streams.settings import Settings
from streams.worker import Worker
from tests.kit.brokers import TansuNode, running
from tests.kit.shipped import SHIPPED

JOURNEY = parse(
    "version: 1\njourney: x\nsegments: []\n"
    "stages: {a: {kind: customer, owner: me, topic: source, partitions: 1, experiences:"
    " {e: {judges: {}, good: {outcome: [ok]}, target: 0.9}}}}\n"
)


async def test_a_worker_without_its_reader_of_changes_is_not_ready_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, it went on for ever, ready, and showed no deploy any more."""

    async def run(_: ChangesReader) -> None:
        raise UnicodeDecodeError("utf-8", b"h\xe4", 1, 2, "invalid")

    monkeypatch.setattr(ChangesReader, "run", run)
    with running(TansuNode()) as node:
        settings = Settings(kafka=node.bootstrap, http="127.0.0.1:0", state_dir=tmp_path, session_timeout_s=6)
        worker = Worker(SHIPPED, settings)
        working = asyncio.create_task(worker.run(asyncio.Event()))
        problems: set[str] = set()
        async with asyncio.timeout(60):
            while not working.done():
                await asyncio.wait([working], timeout=0.1)
                snapshot = await worker.snapshot()
                assert not snapshot.ready
                problems |= set(snapshot.problems)
        with pytest.raises(UserError, match="the reader of changes has ended 4 times: Unicode"):
            await working
    assert "the reader of changes has ended (UnicodeDecodeError)" in problems


@pytest.mark.parametrize("work", ["App.flush_until", "Health.wait_for_failure", "Health._hear_refusal"])
async def test_a_worker_of_which_a_task_is_cancelled_ends(tmp_path: Path, work: str) -> None:
    """Before, it went on without, ready, or ended in a traceback."""
    with running(TansuNode()) as node:
        settings = Settings(kafka=node.bootstrap, http="127.0.0.1:0", state_dir=tmp_path, session_timeout_s=6)
        worker = Worker(JOURNEY, settings)
        working = asyncio.create_task(worker.run(asyncio.Event()))
        async with asyncio.timeout(60):
            while not ((await worker.snapshot()).ready and _tasks(work)):  # writing begins a moment later
                await asyncio.wait([working], timeout=0.1)
        for task in _tasks(work):
            task.cancel()
        try:
            with pytest.raises(UserError, match="has ended: CancelledError: nobody ends it"):
                await asyncio.wait_for(asyncio.shield(working), 20)
        finally:
            working.cancel()
            await asyncio.wait([working])


def _tasks(work: str) -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "") == work]
