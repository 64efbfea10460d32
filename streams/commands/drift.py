"""The command `touchpoint drift`: what differs between a journey file and the events that come."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from monitor.counting.display import printable
from streams.commands.history import LATELY, Days, FromKafka, Twice, numbered, seen_in, span_of, twice
from streams.commands.shared import read_journey, read_settings
from streams.files import lines

if TYPE_CHECKING:
    from monitor.learn.drift import Came
    from monitor.rules.plan import Plan

DIFFERS = 3
"""Exit code, as `verdict` ends with when a change made things worse: an error is 1, a wrong option 2."""


def drift(
    journey: Annotated[Path, typer.Argument(help="Journey file.")],
    file: Annotated[
        str | None,
        typer.Argument(help="Events: JSON lines in any order, plain or .gz; - is standard input."),
    ] = None,
    from_kafka: FromKafka = None,
    days: Days = LATELY,
) -> None:
    """Say what differs between a journey file and the events that come, as the lines to change in the file.

    Names that count as `other`, stages and outcomes that are refused, fields whose absence leaves events
    unjudged, opening hours and rhythm that are off, and targets that are missed by far: each with counts.
    Exits 0 if nothing differs, 3 if something does, 1 on an error.

    Example: touchpoint drift journey.yaml last-week.jsonl.gz
    """
    from monitor.learn.drift import drift as differences
    from monitor.learn.drift import exceeded
    from monitor.rules.plan import plan

    settings = read_settings()
    held_to = plan(read_journey(journey))
    with twice(file, from_kafka, days, settings) as read:
        came = _came(held_to, read, refuse_personal_data=settings.refuse_personal_data)
    for problem in read.refusals.shown:
        typer.echo(f"touchpoint: {problem}", err=True)
    found = differences(held_to, came)
    for line in found:
        typer.echo(line)
    for told in exceeded(held_to, came):
        typer.echo(f"no difference: {told}", err=True)
    told = "something" if found else "nothing"
    against = span_of(came.seen, ZoneInfo(held_to.journey.timezone))
    typer.echo(printable(f"{told} differs between {journey} and {against}"), err=True)
    if found:
        raise typer.Exit(DIFFERS)


def _came(held_to: "Plan", read: Twice, *, refuse_personal_data: bool) -> "Came":
    """The events of a history, judged by a file."""
    from monitor.backtest.history import History
    from monitor.learn.drift import Came, Lacking
    from monitor.learn.targets import achieved

    lacking = Lacking(held_to.journey)
    in_kafka = read.refusals.n.copy()
    seen = seen_in(read, lacking.add)
    history = History(held_to, refuse_personal_data=refuse_personal_data)
    for _, line in numbered(lines(read.stream), "judge"):
        history.add_line(line)
    history.end()
    counted = history.counted + history.repeated
    return Came(seen, achieved(held_to, history), lacking, history.refused + in_kafka, counted, read.topics)
