"""Dead letters for a person's eyes: whatever a sender wrote, no control character reaches the terminal."""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from monitor.counting.display import printable
from monitor.counting.times import rfc3339
from streams.dead_letters.box import Box, Letter, LettersError, Records, Selection

COLUMNS = ("topic", "partition", "offset", "time", "reason", "attempt", "size", "state", "error")


@dataclass(slots=True)
class Listing:
    """The newest of the selected letters, oldest first, and how many there are of each kind."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: Counter[tuple[str, str]] = field(default_factory=Counter)


async def listing(box: Box, selection: Selection, limit: int) -> Listing:
    """The `limit` newest letters, one of each record; the summary counts all."""
    sent = await box.sent()
    newest: list[tuple[int, str, int, int, Letter]] = []
    found, known = Listing(), Records()
    async for letter in box.letters(selection):
        if letter in known:
            continue
        known.add(letter)
        found.summary[letter.stage, letter.reason] += 1
        heapq.heappush(newest, (*_order(letter), replace(letter, value=None)))
        if len(newest) > limit:
            heapq.heappop(newest)
    found.rows = [row(letter, letter in sent) for *_, letter in sorted(newest, key=lambda one: one[:4])]
    return found


def _order(letter: Letter) -> tuple[int, str, int, int]:
    return letter.at_ms, letter.topic, letter.partition, letter.offset


def row(letter: Letter, is_sent: bool) -> dict[str, Any]:
    """A letter as the listing shows it."""
    return {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "time": _time(letter.at_ms),
        "stage": letter.stage,
        "reason": letter.reason,
        "attempt": letter.attempt,
        "size": letter.size,
        "state": "sent back" if is_sent else "open",
        "error": letter.header("dlq.error"),
    }


def table(found: Listing, width: int | None) -> Iterator[str]:
    """The listing as lines, cut to the width of a terminal; `show` and `--json` have all of an error."""
    if not found.summary:
        yield "no dead letters"
        return
    lines = [COLUMNS, *(tuple(printable(str(row[name])) for name in COLUMNS) for row in found.rows)]
    for line in _aligned(lines):
        yield line if width is None or len(line) <= width else f"{line[: width - 1]}…"
    total = sum(found.summary.values())
    yield ""
    if len(found.rows) < total:
        yield f"the newest {len(found.rows)} of {total}; --limit shows more"
    counts = [(stage, printable(reason), str(count)) for (stage, reason), count in found.summary.items()]
    yield from _aligned([("stage", "reason", "letters"), *sorted(counts)])


def _aligned(lines: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


async def one(box: Box, selection: Selection) -> tuple[Letter, bool]:
    """The one letter of a selection by place, and whether it has been sent back."""
    sent = await box.sent()
    async for letter in box.letters(selection):
        return letter, letter in sent
    assert selection.place is not None  # noqa: S101 - the callers select by place
    (topic, partition), offset = selection.place
    raise LettersError(f"there is no letter {topic}:{partition}:{offset}")


def described(letter: Letter, is_sent: bool) -> Iterator[str]:
    """Everything of a letter, as lines."""
    named = {
        "letter": letter.place,
        "stage": letter.stage,
        "refused": _time(letter.at_ms),
        "reason": letter.reason,
        "error": letter.header("dlq.error"),
        "attempt": str(letter.attempt),
        "from": ":".join(letter.header(f"dlq.{name}") or "?" for name in ("topic", "partition", "offset")),
        "sent at": _time(letter.number("dlq.timestamp")),
        "state": "sent back" if is_sent else "open",
        "key": _text(letter.key),
    }
    yield from _aligned([(name, printable(text)) for name, text in named.items()])
    yield "headers"
    yield from (f"  {printable(name)}: {printable(_text(value))}" for name, value in letter.headers)
    yield f"value, {letter.size} bytes"
    yield from (f"  {line}" for line in value_lines(letter))


def value_lines(letter: Letter) -> Iterator[str]:
    """Its value for a terminal."""
    return map(printable, _text(letter.value).split("\n"))


def _text(value: bytes | None) -> str:
    if value is None:
        return "none"
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"hex {value.hex(' ')}"


def _time(at_ms: int | None) -> str:
    if at_ms is None:
        return "?"
    try:
        return rfc3339(at_ms)
    except OverflowError:
        return f"{at_ms} ms"  # any producer may write any time
