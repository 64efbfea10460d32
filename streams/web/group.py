"""All workers of the group as one: each is asked for what it counts, within a bound of time and bytes.

Who they are is what Faust's assignor told every member, as for a single journey (`streams.web.lookup`). What
was asked by a worker is never asked on. A worker that does not answer is named; its part is missing then.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import orjson

from monitor.counting.times import rfc3339
from monitor.live import share
from monitor.live.snapshot import Snapshot
from monitor.rules.plan import LAG_S
from streams.settings import Settings
from streams.state.latest import Shown, is_shown
from streams.web.client import NotAnsweredError, ask, client_ssl, forwarded

if TYPE_CHECKING:
    from streams.engine.app import App

ASK_S = 1.5
"""Pages ask every 2 s. A worker under load answers within 0.1 s."""

OTHER_VERSION = "it does not answer as a worker of this version does"

MAX_BYTES = 4_000_000
"""Of an answer: what a worker counts of 8 stages takes some 100 KB."""

MAX_PARTITIONS = 1_000_000
"""Of a group; Kafka's clusters have fewer."""


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
                members.append(Member(url, OTHER_VERSION))
                continue
            why = "; ".join(told.problems) if not told.ready else None
            if abs(told.at_ms - snapshot.at_ms) > LAG_S * 1000:
                why = f"its clock says {rfc3339(told.at_ms)}, this worker's {rfc3339(snapshot.at_ms)}"
            if why is None and share.overlaps(snapshot, told):
                why = "partitions are moving between the workers"
            members.append(Member(told.worker, why))
            if why is None:
                snapshot = share.added(snapshot, told)
        return snapshot, members

    async def listed(
        self, snapshot: Snapshot, path: str, field: str, own: list[Shown], authorization: str | None
    ) -> tuple[Snapshot, list[Member], list[Shown]]:
        """A list of all workers, in no order; how much they count together, and which they are."""
        members, found = [Member(snapshot.worker)], list(own)
        for url, answer in await self._ask_all(path, authorization):
            part = answer if isinstance(answer, str) else _part_in(answer, field)
            if isinstance(part, str):
                members.append(Member(url, part))
                continue
            members.append(Member(url))
            found += part.shown
            snapshot = replace(snapshot, owned=snapshot.owned + part.owned)
        return snapshot, members, found

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
        try:
            async with asyncio.timeout(ASK_S):
                answer = await ask(url, path, forwarded(authorization), self._context, MAX_BYTES)
        except TimeoutError:
            return f"it has not answered within {ASK_S:g} s"
        except NotAnsweredError as error:
            return str(error).removeprefix(f"{url} ")
        return answer.body if answer.status == 200 else f"it answered {answer.status}"


class Part(NamedTuple):
    """What another worker lists, and how many partitions it counts."""

    shown: list[Shown]
    owned: int


def _part_in(body: bytes, field: str) -> Part | str:
    """What an answer holds, or why it cannot be used."""
    try:
        said = orjson.loads(body)
        shown, owned = list(filter(is_shown, said[field])), said["partitions"]["owned"]
        return Part(shown, owned) if 0 <= owned <= MAX_PARTITIONS and owned == int(owned) else OTHER_VERSION
    except (ValueError, TypeError, KeyError):
        return OTHER_VERSION
