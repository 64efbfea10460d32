"""A file of history as commands read it: line by line, with progress, and with what is refused told."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.counting.display import counted
from monitor.errors import UserError
from streams.commands.shared import failed
from streams.files import NOT_GZIP, NOT_GZIP_TOLD, lines, unpacked
from streams.terminal import progress

if TYPE_CHECKING:
    from monitor.counting.event import Reason, Refused

PROBLEMS_SHOWN = 20
"""Refused lines that are shown; they are counted all."""

TELL_EVERY = 5_000
"""Lines between two redraws of the progress."""


@contextmanager
def named(name: str) -> Iterator[None]:
    """What goes wrong with a file is told in a line that names it."""
    try:
        yield
    except UserError as error:
        raise failed(f"{name}: {error}") from None
    except NOT_GZIP:
        raise failed(f"{name}: {NOT_GZIP_TOLD}") from None
    except OSError as error:
        raise failed(f"{name}: {error.strerror or error}") from None


class Refusals:
    """What is told of refused lines: the first of all, and the first of each reason."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self._first: dict[str, str] = {}

    def add(self, number: int, refused: "Refused | None") -> None:
        """Remember the line if it is refused, and to be told."""
        if refused is None:
            return
        if len(self.shown) < PROBLEMS_SHOWN:
            self.shown.append(f"line {number}: {refused.reason}: {refused.error}")
        self._first.setdefault(refused.reason, f"line {number}: {refused.error}")

    def most_frequent(self, refused: "Counter[Reason]") -> str:
        """How many were refused, most often why, and where that was first."""
        (reason, n), *others = refused.most_common()
        total = refused.total()
        which = f", {n:,} of them" if others else ", all" if total > 1 else ""
        return f"{counted(total, 'line')} refused{which} as {reason} ({self._first[reason]})"


def read(file: str, why: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers, while progress is shown."""
    return numbered(_lines(file), why)


def numbered(found: Iterable[bytes], why: str) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty, with their numbers, while progress is shown."""
    with progress(why) as advance:
        for number, line in enumerate(found, 1):
            if number % TELL_EVERY == 0:
                advance(TELL_EVERY)
            if text := line.strip():
                yield number, text


def _lines(file: str) -> Iterator[bytes]:
    """Lines of a file or standard input, unpacked when they are packed."""
    if file == "-":
        yield from lines(unpacked(sys.stdin.buffer))
        return
    with Path(file).open("rb") as stream:
        yield from lines(unpacked(stream))
