"""The command `touchpoint learn`: a journey file from history, and what it would have told."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, available_timezones

import typer

from monitor.counting.display import counted, duration, printable
from monitor.counting.times import local
from monitor.errors import UserError
from monitor.journey_file.begin import NameProblemError, name_of
from monitor.journey_file.nodes import JourneyFileError, nearest
from streams.commands.history import (
    LATELY,
    PROBLEMS_SHOWN,
    Days,
    FromKafka,
    Twice,
    numbered,
    seen_in,
    span_of,
    twice,
)
from streams.commands.shared import failed, read_settings, write_files
from streams.files import lines

if TYPE_CHECKING:
    from monitor.backtest.run import Backtest
    from monitor.learn.written import Learned

LEAST_DAYS = 1.0
"""What a morning achieves says nothing of a night."""


def learn(
    file: Annotated[
        str | None,
        typer.Argument(help="History: JSON lines in any order, plain or .gz; - is standard input."),
    ] = None,
    from_kafka: FromKafka = None,
    days: Days = LATELY,
    out: Annotated[
        Path | None,
        typer.Option(help="To be written; there may be none yet. Unless given, it is printed."),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(help="Of opening hours, like Europe/Helsinki; that of the events' clocks unless given."),
    ] = None,
) -> None:
    """Write a journey file as a history suggests, with a reason beside every number.

    Then says which pages and tickets it would have given over that history, and on which days. A file needs
    no Kafka. Of topics it reads what lies there now, as no member of a group, and disturbs nobody.

    Example: touchpoint learn january.jsonl.gz --out journey.yaml
    """
    if out is not None and out.exists():
        raise failed(f"{out} is there already; name another, or move it away")
    if timezone is not None and timezone not in (zones := available_timezones()):
        raise failed(f"unknown time zone `{timezone}`{nearest(timezone, sorted(zones))[:80]}")
    settings = read_settings()
    with twice(file, from_kafka, days, settings) as history:
        try:
            learned, found = _learned(
                history, _journey(file), timezone, refuse_personal_data=settings.refuse_personal_data
            )
        except JourneyFileError as error:  # a stage called `changes` has the topic of changes
            wrong = (f"{history.name}: no journey file: {wrong}" for wrong in error.errors)
            raise failed("\n".join(wrong)) from None
    from monitor.learn.written import written

    for problem in history.refusals.shown:
        typer.echo(f"touchpoint: {problem}", err=True)
    text = written(learned)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_files({out: text})
    for told in _told(learned, found):
        typer.echo(printable(told), err=True)


def _learned(
    read: Twice, journey: str, timezone: str | None, *, refuse_personal_data: bool
) -> tuple["Learned", "Backtest"]:
    """What was learned of a history, and what that says of the same history."""
    from monitor.backtest.history import History
    from monitor.backtest.run import backtest
    from monitor.journey_file.grammar import parse
    from monitor.learn.propose import timezone_of
    from monitor.learn.targets import achieved
    from monitor.learn.written import Learned, written
    from monitor.rules.plan import plan

    seen = seen_in(read)
    if seen.days < LEAST_DAYS:
        spanned = duration((seen.last_ms - seen.first_ms) // 1000)
        raise UserError(f"{counted(seen.n, 'event')} within {spanned} tell too little: it takes a day")
    learned = Learned(journey, timezone or timezone_of(seen.offsets), seen, topics=read.topics)
    draft = plan(parse(written(learned)))
    history = History(draft, refuse_personal_data=refuse_personal_data)
    for _, line in numbered(lines(read.stream), "judge"):
        history.add_line(line)
    history.end()
    learned = replace(learned, achieved=achieved(draft, history))
    return learned, backtest(plan(parse(written(learned))), history)


def _journey(file: str | None) -> str:
    """Its name, by that of the file."""
    try:
        return name_of(Path(file or "").name.partition(".")[0])
    except NameProblemError:
        return "learned"


def _told(learned: "Learned", found: "Backtest") -> Iterator[str]:
    """What was learned, and the pages and tickets by day."""
    zone = ZoneInfo(learned.timezone)
    seen = learned.seen
    yield f"learned from {span_of(seen, zone)}"
    for name, n in seen.unnamed.most_common(PROBLEMS_SHOWN):
        yield f"left out: {counted(n, 'event')} of `{name}`, which no journey file can name"
    for severity in ("page", "ticket"):
        days = Counter(
            local(one.noticed_ms, zone)[:10] for one in found.fired if one.key.severity == severity
        )
        on = ", ".join(f"{day} ({n})" if n > 1 else day for day, n in sorted(days.items()))
        yield f"over this history it gives {counted(days.total(), severity)}{': ' if on else ''}{on}"
