"""The command `touchpoint backtest`."""

import heapq
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from monitor.counting.display import counted
from monitor.counting.times import local
from monitor.errors import UserError
from monitor.journey_file.model import Journey
from streams.commands.shared import configured, failed, write_files
from streams.files import NOT_GZIP, NOT_GZIP_TOLD, STDIN, lines, unpacked
from streams.terminal import Row, progress, say, show_table

if TYPE_CHECKING:
    from monitor.backtest.history import History
    from monitor.backtest.run import Backtest, Fired
    from monitor.counting.event import Refused

PROBLEMS_SHOWN = 20
"""Refused lines that are shown; they are counted all."""

ALERTS_SHOWN = 50
"""Rows of the table: what somebody reads through. A bad month has thousands; to lay out a table of ten
thousand takes half a minute."""

TELL_EVERY = 5_000
"""Lines between two redraws of the progress."""


AndWhere = Annotated[
    bool,
    typer.Option(
        "--where", help="Say what the bad encounters of degraded stages have in common; reads FILE twice."
    ),
]


def backtest(
    file: Annotated[
        str, typer.Argument(help="History: JSON lines in any order, plain or .gz; - is standard input.")
    ],
    journey: Annotated[
        Path | None, typer.Option("--journey", help="Journey file; TOUCHPOINT_JOURNEY unless given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Write a picture of quality, targets and alerts to this SVG file."),
    ] = None,
    where: AndWhere = False,
) -> None:
    """Show which alerts a history would have fired, when, and with what text. Needs no Kafka.

    Each event counts once, at its own time; a repeated id within `dedupe_s` does not count. A real Prometheus
    fires later by the time it waits between scrapes and evaluations. A stage without any event is left out,
    not called silent.

    Example: touchpoint backtest january.jsonl.gz --picture january.svg
    """
    from monitor.backtest.history import History
    from monitor.backtest.run import backtest as judge
    from monitor.backtest.svg import picture as draw
    from monitor.backtest.where import Whereabouts
    from monitor.rules.plan import plan

    if where and file == "-":
        raise failed("--where reads the history twice: give a file")
    settings, read = configured(journey)
    held_to = plan(read)
    history = History(held_to, refuse_personal_data=settings.refuse_personal_data)
    refusals = _Refusals()
    name = STDIN if file == "-" else file
    with _named(name):
        for number, line in _read(file, "read"):
            refusals.add(number, history.add_line(line))
        history.end()
        if not history.counted and history.refused:
            raise failed(f"{name}: it has no event to judge: {refusals.most_frequent(history)}")
        found = judge(held_to, history)
        asked = _worst(found) if where else ()
        whereabouts = Whereabouts(held_to, asked, refuse_personal_data=settings.refuse_personal_data)
        for _, line in _read(file, "where") if asked else ():
            whereabouts.add_line(line)
    if picture is not None:
        write_files({picture: draw(held_to, history.heard(), found)})
    for problem in refusals.shown:
        typer.echo(f"touchpoint: {problem}", err=True)
    if as_json:
        whole = history.as_json() | found.as_json() | {"where": whereabouts.as_json()}
        typer.echo(json.dumps(whole))
    else:
        _show(read, history, found)
        for told in whereabouts.told():
            say(told)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """What goes wrong with a file is told in a line that names it."""
    try:
        yield
    except UserError as error:
        raise failed(f"{name}: {error}") from None
    except NOT_GZIP:
        raise failed(f"{name}: {NOT_GZIP_TOLD}") from None
    except OSError as error:
        raise failed(f"{name}: {error.strerror or error}") from None


class _Refusals:
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

    def most_frequent(self, history: "History") -> str:
        """How many were refused, most often why, and where that was first."""
        (reason, n), *others = history.refused.most_common()
        total = history.refused.total()
        which = f", {n:,} of them" if others else ", all" if total > 1 else ""
        return f"{counted(total, 'line')} refused{which} as {reason} ({self._first[reason]})"


def _read(file: str, why: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers, while progress is shown."""
    with progress(why) as advance:
        for number, line in enumerate(_lines(file), 1):
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


def _worst(found: "Backtest") -> list["Fired"]:
    """What the table shows: pages before tickets, the longest of them, in the order of time."""

    def badness(one: "Fired") -> tuple[bool, int]:
        ended_ms = found.to_ms if one.resolved_ms is None else one.resolved_ms
        return one.key.severity == "page", ended_ms - one.noticed_ms

    worst = heapq.nlargest(ALERTS_SHOWN, found.fired, key=badness)
    return sorted(worst, key=lambda one: (one.noticed_ms, one.key))


def _show(journey: Journey, history: "History", found: "Backtest") -> None:
    zone = ZoneInfo(journey.timezone)

    def told(at_ms: int | None) -> str:
        return "not yet" if at_ms is None else local(at_ms, zone)

    rows = [
        Row(
            (
                told(one.noticed_ms),
                told(one.resolved_ms),
                one.key.severity,
                one.summary,
                one.reason or "",
                one.hits or "",
            ),
            is_loud=one.key.severity == "page",
        )
        for one in _worst(found)
    ]
    headings = (
        f"Noticed ({journey.timezone})",
        "Resolved",
        "Severity",
        "What it says",
        "Reason",
        "Hits most",
    )
    if rows:
        show_table(headings, rows)
    if (more := len(found.fired) - len(rows)) > 0:
        say(f"and {more:,} more: these are the longest, pages before tickets; --json has all")
    totals = [
        Row(
            (
                name,
                f"{one.events:,}",
                str(one.pages),
                f"{one.page_minutes:,.0f}",
                str(one.tickets),
                f"{one.ticket_minutes:,.0f}",
            ),
            is_loud=one.pages > 0,
        )
        for name, one in found.totals.items()
    ]
    show_table(("Stage", "Events", "Pages", "Minutes paged", "Tickets", "Minutes ticketed"), totals)
    say(f"{told(found.from_ms)} to {told(found.to_ms)}: {counted(history.counted, 'event')} counted")
    if history.refused:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(history.refused.items()))
        say(f"refused: {reasons}")
    if found.unheard:
        say(f"no events, not judged: {', '.join(found.unheard)}")
    if found.unsettled:
        say(f"less than three days of journeys, not judged: {', '.join(found.unsettled)}")
    from monitor.backtest.run import NOT_JUDGED

    say(f"about the monitor itself, not judged: {', '.join(NOT_JUDGED)}")
