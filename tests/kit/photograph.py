"""Pictures of a page at any width, over Chromium's DevTools protocol, once the page has come to rest.

`tests.kit.chromium.screenshot` lays a page out at 500 px at least, and turns its clock ahead: on a page that
asks for the last minutes, time would run off the end of the data.
"""

import asyncio
import base64
import itertools
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.kit.chromium import arguments

REST_S = 2.0
"""A page whose text has not changed for so long has come to rest."""

DEADLINE_S = 60.0

LISTENING = re.compile(rb"DevTools listening on (ws://\S+)")


class Picture(NamedTuple):
    """What to look at, through a window of so many CSS pixels, and where to put the PNG.

    A page that says for seconds that it is loading has not come to rest before it `holds` a text.
    """

    url: str
    width: int
    height: int
    file: Path
    holds: str = ""


async def photograph(pictures: Sequence[Picture]) -> None:
    """Take one after another; TimeoutError for a page that does not come to rest."""
    async with (
        _browser() as address,
        aiohttp.ClientSession() as session,
        session.ws_connect(address, max_msg_size=0) as socket,
    ):
        for picture in pictures:
            async with asyncio.timeout(DEADLINE_S):
                picture.file.write_bytes(await _taken(_Protocol(socket), picture))


@asynccontextmanager
async def _browser() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        options = *arguments(Path(directory)), "--remote-debugging-port=0", "about:blank"
        process = await asyncio.create_subprocess_exec(*options, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        try:
            while not (found := LISTENING.search(await process.stderr.readline())):
                assert process.returncode is None
            draining = asyncio.create_task(process.stderr.read())
            yield found[1].decode()
        finally:
            process.terminate()
            await process.wait()
        await draining


class _Protocol:
    """Commands to one tab, each with its answer."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count()
        self.session: dict[str, str] = {}

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters, **self.session})
        while (answer := await self._socket.receive_json()).get("id") != number:
            pass  # an event that nobody waits for
        found: dict[str, Any] = answer["result"]
        return found


async def _taken(tab: _Protocol, picture: Picture) -> bytes:
    target = (await tab.ask("Target.createTarget", url="about:blank"))["targetId"]
    opened = await tab.ask("Target.attachToTarget", targetId=target, flatten=True)
    tab.session = {"sessionId": opened["sessionId"]}
    size = {"width": picture.width, "height": picture.height, "deviceScaleFactor": 1, "mobile": False}
    await tab.ask("Emulation.setDeviceMetricsOverride", **size)
    await tab.ask("Page.navigate", url=picture.url)
    before = None
    while before != (text := await _text(tab)) or not text or picture.holds not in text:
        before = text
        await asyncio.sleep(REST_S)
    shot = await tab.ask("Page.captureScreenshot", format="png")
    await tab.ask("Page.close")
    return base64.b64decode(shot["data"])


async def _text(tab: _Protocol) -> str:
    found = await tab.ask("Runtime.evaluate", expression="document.body ? document.body.innerText : ''")
    return str(found["result"]["value"])
