"""Files read within a bound and written whole: never a line without end, never half a file."""

import asyncio
import contextlib
import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from monitor.counting.event import MAX_BYTES
from monitor.counting.formats import encoding_of, packed_with
from monitor.errors import UserError

STDIN = "standard input"

CHUNK = 64 * 1024

NOT_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)
NOT_GZIP_TOLD = "is cut short, or is not a gzip file"

MAX_LINE = MAX_BYTES + CHUNK
"""A line that is longer is no event; what lies beyond is passed over."""

MAX_PASSED_OVER = 64 * 1024 * 1024
"""Bytes of a line, after which nobody waits for its end: these are no lines of JSON."""

MAX_COPY = 16 * 1024**3
"""Bytes of the copy of a pipe, or of what gzip has packed: half a month of a busy shop."""

MAX_TEXT = 1_000_000
"""Bytes of a file that people write: a journey file of 50 stages has a tenth of that, all CAs a quarter."""


class FileProblemError(UserError):
    """A file that cannot be read or written; one line that names it."""

    def __init__(self, file: object, problem: str | None) -> None:
        super().__init__(f"{file}: {problem}")
        self.problem = problem
        """Without the name, which may be a misplaced secret."""


class LinesError(UserError):
    """No lines, or one without end; whoever opened the file names it."""


def content_of(file: Path, most: int = MAX_TEXT) -> bytes:
    """All of a file; FileProblemError when it cannot be read or has more than `most` bytes."""
    try:
        with file.open("rb") as stream:
            found = stream.read(most + 1)
    except OSError as error:
        raise FileProblemError(file, error.strerror) from None
    if len(found) > most:
        raise FileProblemError(file, f"is larger than {most:,} bytes")
    return found


def text_of(file: Path) -> str:
    """The same of a text."""
    content = content_of(file)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        said = _no_text(content) or "is not UTF-8 text: save it as UTF-8"
        raise FileProblemError(file, said) from None


def _no_text(content: bytes) -> str | None:
    """What it is and what to do, where its first bytes tell that it is no text in UTF-8."""
    if packing := packed_with(content):
        return f"is packed with {packing}: unpack it first"
    encoding = encoding_of(content)
    return f"is {encoding}: save it as UTF-8" if encoding else None


class _Lines:
    """Cuts chunks into lines."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_first = True
        self._number = 1
        self._length = 0

    def of(self, chunk: bytes) -> list[bytes]:
        """The lines that end in the chunk, without their end; an empty chunk ends the last.

        LinesError names the line that does not end, or says what it is that has no lines.
        """
        if self._is_first and (said := _no_text(chunk)):
            raise LinesError(said)
        self._is_first = False
        end = chunk.find(b"\n")
        if self._length + (len(chunk) if end < 0 else end) > MAX_PASSED_OVER:
            bound = f"{MAX_PASSED_OVER >> 20} MiB; an event has at most {MAX_BYTES:,} bytes"
            raise LinesError(f"line {self._number}: has no end within {bound}")
        *whole, rest = (self._rest + chunk).split(b"\n")
        self._length = len(rest) if whole else self._length + len(chunk)
        self._number += len(whole)
        self._rest = rest[:MAX_LINE]
        return whole if chunk else [*whole, rest]


def lines(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """Lines of a stream, of one that is too long its beginning; LinesError for one without end."""
    cut = _Lines()
    while True:
        chunk = stream.read(CHUNK)
        yield from cut.of(chunk)
        if not chunk:
            return


def copy(stream: IO[bytes] | gzip.GzipFile, to: IO[bytes]) -> None:
    """Write the same lines elsewhere; LinesError also when they are too many for a copy."""
    for line in lines(stream):
        if to.tell() > MAX_COPY:
            raise LinesError(f"holds more than {MAX_COPY >> 30} GiB; give it as a file, and unpacked")
        to.write(line + b"\n")


def unpacked(stream: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    """The same, or what gzip has packed in it. Reading raises one of `NOT_GZIP` where that is spoilt."""
    beginning = stream.peek(2)  # type: ignore[attr-defined] # a buffered reader's
    return gzip.open(stream) if packed_with(beginning) == "gzip" else stream


@contextmanager
def reread(file: Path, name: str | None = None) -> Iterator[IO[bytes]]:
    """The file, or a copy of what a pipe gives or gzip has packed, for who reads it more than once.

    UserError, also for what reading it within the context raises, names the file, as `name` if given.
    """
    try:
        with file.open("rb") as stream, tempfile.TemporaryFile() as copied:
            plain = unpacked(stream)
            if plain is stream and stream.seekable():
                yield stream
            else:
                copy(plain, copied)
                copied.seek(0)
                yield copied
    except NOT_GZIP:
        raise UserError(f"{name or file}: {NOT_GZIP_TOLD}") from None
    except LinesError as error:
        raise UserError(f"{name or file}: {error}") from None
    except OSError as error:
        raise UserError(f"{name or file}: {error.strerror}") from None


async def arriving(descriptor: int, stop: asyncio.Event) -> AsyncIterator[bytes]:
    """Lines of standard input, as they come, until `stop`: Ctrl-C is heard also while nothing comes."""
    cut = _Lines()
    try:
        while await _is_readable(descriptor, stop):
            chunk = os.read(descriptor, CHUNK)
            for line in cut.of(chunk):
                yield line
            if not chunk:
                return
    except OSError as error:
        raise FileProblemError(STDIN, error.strerror) from None
    except LinesError as error:
        raise FileProblemError(STDIN, str(error)) from None


async def _is_readable(descriptor: int, stop: asyncio.Event) -> bool:
    """Wait until there is something to read, or its end; False when told to stop before."""
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # a file on a disk, or `/dev/zero`, which never keep anybody waiting
        await asyncio.sleep(0)  # but signals are heard
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
        raise FileProblemError(path, error.strerror) from None
    finally:
        for written in beside.values():
            with contextlib.suppress(OSError):
                written.unlink(missing_ok=True)
