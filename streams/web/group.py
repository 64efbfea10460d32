"""All workers of the group as one: each is asked for what it counts, within a bound of time and bytes.

Who they are is what Faust's assignor told every member, as for a single journey (`streams.web.lookup`). What
was asked by a worker is never asked on. A worker that does not answer is named; its part is missing then.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import orjson

from monitor.live import share
from monitor.live.snapshot import Snapshot
from streams.settings import Settings
from streams.state.latest import Shown, is_shown, newest
from streams.web.asking import FORWARDED, NotAnsweredError, ask, client_ssl

if TYPE_CHECKING:
    from streams.engine.app import App

ASK_S = 1.5
"""Pages ask every 2 s. A worker under load answers within 0.1 s."""

MAX_BYTES = 4_000_000
"""Of an answer: what a worker counts of 8 stages takes some 100 KB."""


@dataclass(frozen=True, slots=True)
class Member:
    """A worker that was asked; `why` says why its part is missing, None if it is not."""

    worker: str
    why: str | None = None


class Group:
    """Asks the other workers. `app` is what this one has of Faust, None until Kafka is reached."""

    def __init__(self, settings: Settings, app: Callable[[], "App | None"]) -> None:
        self._app = app
        self._context = client_ssl(settings)

    async def whole(self, snapshot: Snapshot, authorization: str | None) -> tuple[Snapshot, list[Member]]:
        """What all workers count, and which they are, this one first."""
        members = [Member(snapshot.worker)]
        if not snapshot.ready:
            return snapshot, members
        for url, answer in await self._ask_all("/api/share", authorization):
            if isinstance(answer, str):
                members.append(Member(url, answer))
                continue
            try:
                told = share.decode(answer)
            except msgspec.MsgspecError:
                members.append(Member(url, "it does not answer as a worker of this version does"))
                continue
            why = "; ".join(told.problems) if not told.ready else None
            if why is None and share.overlaps(snapshot, told):
                why = "partitions are moving between the workers"
            members.append(Member(told.worker, why))
            if why is None:
                snapshot = share.added(snapshot, told)
        return snapshot, members

    async def listed(self, path: str, field: str, own: list[Shown], authorization: str | None) -> list[Shown]:
        """A list of all workers, the newest first."""
        found = list(own)
        for _, answer in await self._ask_all(path, authorization):
            if not isinstance(answer, str):
                found += _list_in(answer, field)
        return newest(found)

    async def _ask_all(self, path: str, authorization: str | None) -> list[tuple[str, bytes | str]]:
        """By URL the body of each answer, or why there is none."""
        app = self._app()
        urls = app.other_urls if app is not None else []
        answers = await asyncio.gather(*(self._ask(url, path, authorization) for url in urls))
        return list(zip(urls, answers, strict=True))

    async def _ask(self, url: str, path: str, authorization: str | None) -> bytes | str:
        app = self._app()
        if app is not None and app.url.startswith("https:") and not url.startswith("https:"):
            return "it answers without TLS, as this worker asks nobody"
        headers = {FORWARDED: "1"} | ({"Authorization": authorization} if authorization else {})
        try:
            async with asyncio.timeout(ASK_S):
                answer = await ask(url, path, headers, self._context, MAX_BYTES)
        except TimeoutError:
            return f"it has not answered within {ASK_S:g} s"
        except NotAnsweredError as error:
            return str(error).removeprefix(f"{url} ")
        return answer.body if answer.status == 200 else f"it answered {answer.status}"


def _list_in(body: bytes, field: str) -> list[Shown]:
    """What another worker lists; nothing if it is another version's."""
    try:
        return list(filter(is_shown, orjson.loads(body)[field]))
    except (ValueError, TypeError, KeyError):
        return []
