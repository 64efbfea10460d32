"""The command `touchpoint backtest`."""

import heapq
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from monitor.counting.display import counted
from monitor.counting.times import local
from monitor.journey_file.model import Journey
from streams.commands.history import Refusals, named, read
from streams.commands.shared import configured, failed, write_files
from streams.files import STDIN
from streams.terminal import Row, say, show_table

if TYPE_CHECKING:
    from monitor.backtest.history import History
    from monitor.backtest.run import Backtest, Fired

ALERTS_SHOWN = 50
"""Rows of the table: what somebody reads through. A bad month has thousands; to lay out a table of ten
thousand takes half a minute."""

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
    settings, judged = configured(journey)
    held_to = plan(judged)
    history = History(held_to, refuse_personal_data=settings.refuse_personal_data)
    refusals = Refusals()
    name = STDIN if file == "-" else file
    with named(name):
        for number, line in read(file, "read"):
            refusals.add(number, history.add_line(line))
        history.end()
        if not history.counted and history.refused:
            raise failed(f"{name}: it has no event to judge: {refusals.most_frequent()}")
        found = judge(held_to, history)
        asked = _worst(found) if where else ()
        whereabouts = Whereabouts(held_to, asked, refuse_personal_data=settings.refuse_personal_data)
        for _, line in read(file, "where") if asked else ():
            whereabouts.add_line(line)
    if picture is not None:
        write_files({picture: draw(held_to, history.heard(), found)})
    for problem in refusals.shown:
        typer.echo(f"touchpoint: {problem}", err=True)
    if as_json:
        whole = history.as_json() | found.as_json() | {"where": whereabouts.as_json()}
        typer.echo(json.dumps(whole))
    else:
        _show(judged, history, found)
        _tell_fixes(judged, history)
        for told in whereabouts.told():
            say(told)


def _worst(found: "Backtest") -> list["Fired"]:
    """What the table shows: pages before tickets, the longest of them, in the order of time."""

    def badness(one: "Fired") -> tuple[bool, int]:
        ended_ms = found.to_ms if one.resolved_ms is None else one.resolved_ms
        return one.key.severity == "page", ended_ms - one.noticed_ms

    worst = heapq.nlargest(ALERTS_SHOWN, found.fired, key=badness)
    return sorted(worst, key=lambda one: (one.noticed_ms, one.key))


def _tell_fixes(journey: Journey, history: "History") -> None:
    """What would have made most journeys good."""
    from monitor.journeys.counters import fixable, worth_most

    words = fixable(journey)
    worth = (
        f"{' and '.join(words[one] for one in things)} ({counted(n)})"
        for things, n in worth_most(history.fixes)
    )
    if told := "; ".join(worth):
        say(f"fixes worth most, of journeys that one thing made bad, or two: {told}")


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
