"""The commands `touchpoint dead-letters list | show | replay`."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from streams.clock import now_ms
from streams.commands.shared import configured, failed, run, run_at_once
from streams.files import FileProblemError, content_of
from streams.stopping import entered

dead_letters = typer.Typer(no_args_is_help=True, help="List and show refused events, and send them back.")

StageOption = Annotated[str | None, typer.Option("--stage", help="Only refused events of this stage.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only events refused for this reason.")]


@dead_letters.command("list")
def list_letters(
    stage: StageOption = None,
    reason: ReasonOption = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Show at most this many, the newest; the summary counts all.")
    ] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON line per refused event, without summary.")
    ] = False,
) -> None:
    """List refused events: place, time and reason of each, and whether it was sent back.

    Example: touchpoint dead-letters list --stage web_checkout --reason bad_value
    """
    from streams.dead_letters import box as letters
    from streams.dead_letters import shown as letters_shown

    settings, journey = configured()

    async def work() -> letters_shown.Listing:
        selection = letters.select(journey, stage, reason)
        async with letters.Box.opened(journey, settings) as box:
            return await letters_shown.listing(box, selection, limit)

    found = run_at_once(work)
    width = os.get_terminal_size(sys.stdout.fileno()).columns or None if sys.stdout.isatty() else None
    for line in map(json.dumps, found.rows) if as_json else letters_shown.table(found, width):
        typer.echo(line)


@dead_letters.command("show")
def show_letter(
    letter: Annotated[str, typer.Argument(help="TOPIC:PARTITION:OFFSET, as `list` prints it.")],
    value: Annotated[
        bool, typer.Option("--value", help="Print only the value; byte for byte, except on a terminal.")
    ] = False,
) -> None:
    """Show one refused event: its value and headers, why it was refused and where it came from.

    Example: touchpoint dead-letters show touchpoint.store.v1.dlq:0:17 --value > event.json
    """
    from streams.dead_letters import box as letters
    from streams.dead_letters import shown as letters_shown

    settings, journey = configured()

    async def work() -> tuple[letters.Letter, bool]:
        selection = letters.select(journey, place=letter)
        async with letters.Box.opened(journey, settings) as box:
            return await letters_shown.one(box, selection)

    found, is_sent = run_at_once(work)
    if value and not sys.stdout.isatty():
        sys.stdout.buffer.write(found.value or b"")
        return
    for line in letters_shown.value_lines(found) if value else letters_shown.described(found, is_sent):
        typer.echo(line)


@dead_letters.command("replay")
def replay_letters(
    letter: Annotated[str | None, typer.Argument(help="TOPIC:PARTITION:OFFSET of one refused event.")] = None,
    stage: StageOption = None,
    reason: ReasonOption = None,
    all_: Annotated[bool, typer.Option("--all", help="All refused events, of every stage.")] = False,
    value: Annotated[
        Path | None, typer.Option(help="File with the corrected value of that one event.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")
    ] = False,
    rate: Annotated[
        float | None, typer.Option(min=0.01, max=1e6, help="Send at most this many a second.")
    ] = None,
    max_attempts: Annotated[int, typer.Option(min=1, help="Leave out what was refused this often.")] = 3,
) -> None:
    """Send refused events back to the topics they came from, each once.

    Choose them: one letter, --stage, --reason, or --all. Without a choice, or with --dry-run, it prints what
    it would send, and sends nothing.

    Apache Kafka gets each exactly once: the events and the record that they were sent are one transaction.
    The embedded broker has no transactions: after a killed replay it may get up to 200 events again.

    Left out is what was refused `--max-attempts` times, is too large for its topic, or will never be counted
    whatever the journey file says: that has to be mended (`--value`). If one does not name the topic of a
    stage that it came from, it is not sent, and the exit code is 1.

    Example: touchpoint dead-letters replay --stage web_checkout --reason unknown_outcome --dry-run
    """
    from streams.dead_letters import box as letters
    from streams.dead_letters import resend
    from streams.kafka.topics import MAX_RECORD_BYTES

    if value is not None and letter is None:
        raise failed("--value needs the letter it mends: TOPIC:PARTITION:OFFSET")
    try:
        new_value = content_of(value, MAX_RECORD_BYTES) if value is not None else None
    except FileProblemError as error:
        raise failed(str(error)) from None
    settings, journey = configured()
    is_chosen = all_ or any(choice is not None for choice in (letter, stage, reason))
    only_told = dry_run or not is_chosen
    way = resend.Way(max_attempts, rate, typer.echo if only_told else None, new_value)

    async def work(stop: asyncio.Event) -> resend.Replayed:
        selection = letters.select(journey, stage, reason, letter)
        async with entered(stop, letters.Box.opened(journey, settings)) as box:
            return await resend.resend(box, selection, way, stop, now_ms())

    report = run(work)
    for problem in report.problems:
        typer.echo(f"touchpoint: {problem}", err=True)
    summary = {name: getattr(report, name) for name in ("sent", "sent_before", "left", "refused")}
    typer.echo(json.dumps(summary | ({"dry_run": True} if only_told else {})))
    if report.sent and not (is_chosen or dry_run):
        raise failed("nothing was sent: choose a letter, --stage or --reason, or give --all")
    if report.refused:
        raise typer.Exit(1)
