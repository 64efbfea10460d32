"""Files read within a bound and written whole: never a line without end, never half a file."""

import asyncio
import contextlib
import gzip
import os
import shutil
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import IO

from monitor.counting.event import MAX_BYTES
from monitor.errors import UserError

CHUNK = 64 * 1024

GZIP_MAGIC = b"\x1f\x8b"

NOT_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)
NOT_GZIP_TOLD = "is cut short, or is not a gzip file"

MAX_LINE = MAX_BYTES + CHUNK
"""A line that is longer is no event; what lies beyond is passed over."""


class FileProblemError(UserError):
    """A file that cannot be read or written; one line that names it."""


class _Lines:
    """Cuts chunks into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, chunk: bytes) -> list[bytes]:
        """The lines that end in the chunk, without their end; an empty chunk ends the last."""
        *whole, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest[:MAX_LINE]
        return whole if chunk else [*whole, rest]


def lines(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """Lines of a stream, of one that is too long its beginning."""
    cut = _Lines()
    while True:
        chunk = stream.read(CHUNK)
        yield from cut.of(chunk)
        if not chunk:
            return


def unpacked(stream: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    """The same, or what gzip has packed in it. Reading raises one of `NOT_GZIP` where that is spoilt."""
    packed = stream.peek(2)[:2] == GZIP_MAGIC  # type: ignore[attr-defined] # a buffered reader's
    return gzip.open(stream) if packed else stream


async def arriving(descriptor: int, stop: asyncio.Event) -> AsyncIterator[bytes]:
    """The same of a descriptor, as they come, until `stop`: Ctrl-C is heard also while nothing comes."""
    cut = _Lines()
    try:
        while await _is_readable(descriptor, stop):
            chunk = os.read(descriptor, CHUNK)
            for line in cut.of(chunk):
                yield line
            if not chunk:
                return
    except OSError as error:
        raise FileProblemError(f"standard input: {error.strerror}") from None


async def _is_readable(descriptor: int, stop: asyncio.Event) -> bool:
    """Wait until there is something to read, or its end; False when told to stop before."""
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # a file on a disk, which never keeps anybody waiting
        return not stop.is_set()
    waiting = [asyncio.create_task(one.wait()) for one in (ready, stop)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(descriptor)
        for one in waiting:
            one.cancel()
    return not stop.is_set()


def write(texts: Mapping[Path, str]) -> None:
    """Write all of the files, or leave all as they are; FileProblemError names the one that failed.

    Each is written beside its place first, so that neither a full disk nor Ctrl-C leaves half a file.
    """
    beside: dict[Path, Path] = {}
    path = Path()
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            place = path.resolve()
            if place.exists() and not place.is_file():  # a terminal, a pipe: nothing can be put in its place
                place.write_text(text, encoding="utf-8")
                continue
            beside[place] = place.with_name(f".{place.name}.{os.getpid()}.tmp")
            beside[place].write_text(text, encoding="utf-8")
            if place.exists():
                shutil.copymode(place, beside[place])
        for path, written in beside.items():
            written.replace(path)
    except OSError as error:
        raise FileProblemError(f"{path}: {error.strerror}") from None
    finally:
        for written in beside.values():
            with contextlib.suppress(OSError):
                written.unlink(missing_ok=True)
