"""Work that somebody may end before it is done."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from monitor.errors import UserError

T = TypeVar("T")


class StoppedError(UserError):
    """Somebody has ended the command before it was done."""

    def __init__(self) -> None:
        super().__init__("stopped")


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """What comes of work; StoppedError when `stop` is set before, and the work is cancelled."""
    working, told = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, told), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise StoppedError
    finally:
        told.cancel()
        working.cancel()
        await asyncio.wait((working,))


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait for so long, or until `stop` is set; not at all if it is time already."""
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)


@asynccontextmanager
async def entered(stop: asyncio.Event, context: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """The context; StoppedError when `stop` is set before it is entered."""
    async with AsyncExitStack() as stack:
        yield await unless(stop, stack.enter_async_context(context))
