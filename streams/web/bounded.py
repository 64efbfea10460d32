"""What others answer over HTTP, read within a bound."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

PLAIN = {"Accept-Encoding": "identity"}
"""To be asked for, in a session that unpacks nothing: a packed answer can be a thousand times as large."""


class TooLongError(Exception):
    """The answer is longer than any good one."""


async def body(response: "aiohttp.ClientResponse", most: int) -> bytes:
    """The body as it came; TooLongError as soon as it has more than `most` bytes."""
    found = bytearray()
    async for chunk in response.content.iter_any():
        found += chunk
        if len(found) > most:
            raise TooLongError
    return bytes(found)
