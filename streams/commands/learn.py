"""The command `touchpoint learn`: a journey file from history, and what it would have told."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, available_timezones

import typer

from monitor.counting.display import counted, duration, printable
from monitor.counting.times import local
from monitor.errors import UserError
from monitor.journey_file.begin import NameProblemError, name_of
from monitor.journey_file.nodes import JourneyFileError, nearest
from streams.commands.history import PROBLEMS_SHOWN, Refusals, named, numbered
from streams.commands.shared import failed, read_settings, write_files
from streams.files import STDIN, lines, reread

if TYPE_CHECKING:
    from monitor.backtest.run import Backtest
    from monitor.counting.event import Reason
    from monitor.learn.seen import Seen
    from monitor.learn.written import Learned

LEAST_DAYS = 1.0
"""What a morning achieves says nothing of a night."""


def learn(
    file: Annotated[
        str, typer.Argument(help="History: JSON lines in any order, plain or .gz; - is standard input.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="To be written; there may be none yet. Unless given, it is printed."),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(help="Of opening hours, like Europe/Helsinki; that of the events' clocks unless given."),
    ] = None,
) -> None:
    """Write a journey file as a history suggests, with a reason beside every number. Needs no Kafka.

    Then says which pages and tickets it would have given over that history, and on which days.

    Example: touchpoint learn january.jsonl.gz --out journey.yaml
    """
    if out is not None and out.exists():
        raise failed(f"{out} is there already; name another, or move it away")
    if timezone is not None and timezone not in (zones := available_timezones()):
        raise failed(f"unknown time zone `{timezone}`{nearest(timezone, sorted(zones))[:80]}")
    settings = read_settings()
    name = STDIN if file == "-" else file
    try:
        with reread(Path("/dev/stdin" if file == "-" else file), name) as stream, named(name):
            learned, found = _learned(
                stream, _journey(file), timezone, refuse_personal_data=settings.refuse_personal_data
            )
    except UserError as error:
        raise failed(str(error)) from None
    except JourneyFileError as error:  # a stage called `changes` has the topic of changes
        raise failed("\n".join(f"{name}: no journey file: {wrong}" for wrong in error.errors)) from None
    from monitor.learn.written import written

    text = written(learned)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_files({out: text})
    for told in _told(learned, found):
        typer.echo(printable(told), err=True)


def _learned(
    stream: IO[bytes], journey: str, timezone: str | None, *, refuse_personal_data: bool
) -> tuple["Learned", "Backtest"]:
    """What was learned of a history, and what that says of the same history."""
    from monitor.backtest.history import History
    from monitor.backtest.run import backtest
    from monitor.journey_file.grammar import parse
    from monitor.learn.propose import timezone_of
    from monitor.learn.targets import achieved
    from monitor.learn.written import Learned, written
    from monitor.rules.plan import plan

    seen = _seen(stream)
    learned = Learned(journey, timezone or timezone_of(seen.offsets), seen)
    draft = plan(parse(written(learned)))
    history = History(draft, refuse_personal_data=refuse_personal_data)
    stream.seek(0)
    for _, line in numbered(lines(stream), "judge"):
        history.add_line(line)
    history.end()
    learned = replace(learned, achieved=achieved(draft, history))
    return learned, backtest(plan(parse(written(learned))), history)


def _seen(stream: IO[bytes]) -> "Seen":
    """What the history holds; UserError when nothing can be learned of it."""
    from monitor.counting.event import Event, Refused, decoded, refuse_year
    from monitor.learn.seen import Seen

    seen, refusals, refused = Seen(), Refusals(), Counter["Reason"]()
    for number, line in numbered(lines(stream), "read"):
        event = decoded(line)
        why = event if isinstance(event, Refused) else refuse_year(event.at_ms)
        if why is not None:
            refusals.add(number, why)
            refused[why.reason] += 1
        elif isinstance(event, Event):
            seen.add(event)
    if not seen.n:
        told = f": {refusals.most_frequent(refused)}" if refused else ""
        told = told or next((f": `{name}` is no name of a stage or an outcome" for name in seen.unnamed), "")
        raise UserError(f"it has no event to learn from{told}")
    if seen.days < LEAST_DAYS:
        spanned = duration((seen.last_ms - seen.first_ms) // 1000)
        raise UserError(f"{counted(seen.n, 'event')} within {spanned} tell too little: it takes a day")
    for problem in refusals.shown:
        typer.echo(f"touchpoint: {problem}", err=True)
    return seen


def _journey(file: str) -> str:
    """Its name, by that of the file."""
    try:
        return name_of(Path(file).name.partition(".")[0])
    except NameProblemError:
        return "learned"


def _told(learned: "Learned", found: "Backtest") -> Iterator[str]:
    """What was learned, and the pages and tickets by day."""
    zone = ZoneInfo(learned.timezone)
    seen = learned.seen
    yield (
        f"learned from {counted(seen.n, 'event')} of {counted(len(seen.stages), 'stage')},"
        f" {local(seen.first_ms, zone)} to {local(seen.last_ms, zone)}"
    )
    for name, n in seen.unnamed.most_common(PROBLEMS_SHOWN):
        yield f"left out: {counted(n, 'event')} of `{name}`, which no journey file can name"
    for severity in ("page", "ticket"):
        days = Counter(
            local(one.noticed_ms, zone)[:10] for one in found.fired if one.key.severity == severity
        )
        on = ", ".join(f"{day} ({n})" if n > 1 else day for day, n in sorted(days.items()))
        yield f"over this history it gives {counted(days.total(), severity)}{': ' if on else ''}{on}"
