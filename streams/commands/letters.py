"""The commands `touchpoint dead-letters list | show | replay`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from streams.clock import now_ms
from streams.commands.shared import failed, read_journey, read_settings, run, run_at_once
from streams.stopping import entered

dead_letters = typer.Typer(no_args_is_help=True, help="Look at refused events, send mended ones back.")

StageOption = Annotated[str | None, typer.Option("--stage", help="Only letters of this stage.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only letters refused for this reason.")]


@dead_letters.command("list")
def list_letters(
    stage: StageOption = None,
    reason: ReasonOption = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Letters shown, the newest; the summary counts all.")
    ] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line per letter, no summary.")] = False,
) -> None:
    """List refused events: where each lies, when and why it was refused, whether it was sent back.

    Example: touchpoint dead-letters list --stage web_checkout --reason bad_value
    """
    from streams.letters import box as letters
    from streams.letters import shown as letters_shown

    settings = read_settings()
    journey = read_journey(settings.journey)

    async def work() -> letters_shown.Listing:
        selection = letters.select(journey, stage, reason)
        async with letters.Box.opened(journey, settings) as box:
            return await letters_shown.listing(box, selection, limit)

    found = run_at_once(work)
    for line in map(json.dumps, found.rows) if as_json else letters_shown.table(found):
        typer.echo(line)


@dead_letters.command("show")
def show_letter(
    letter: Annotated[str, typer.Argument(help="TOPIC:PARTITION:OFFSET, as `list` shows them.")],
    value: Annotated[
        bool, typer.Option("--value", help="Only the value, byte for byte unless to a terminal.")
    ] = False,
) -> None:
    """Show one refused event: its headers, why it was refused, where it came from, its value.

    Example: touchpoint dead-letters show touchpoint.store.v1.dlq:0:17 --value > event.json
    """
    from streams.letters import box as letters
    from streams.letters import shown as letters_shown

    settings = read_settings()
    journey = read_journey(settings.journey)

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
    letter: Annotated[
        str | None, typer.Argument(help="TOPIC:PARTITION:OFFSET; all letters unless set.")
    ] = None,
    stage: StageOption = None,
    reason: ReasonOption = None,
    value: Annotated[Path | None, typer.Option(help="File with the mended value of the one letter.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    rate: Annotated[float | None, typer.Option(min=0.01, help="At most this many letters a second.")] = None,
    max_attempts: Annotated[int, typer.Option(min=1, help="Leave letters refused this often.")] = 3,
) -> None:
    """Send refused events back to the topics they came from; what was sent back once is not sent again.

    Exactly once on Apache Kafka, where letters and the note that they were sent are one transaction. The
    embedded broker has none: a replay that is killed may send up to 200 letters again.

    Letters refused by then `--max-attempts` times, or too large for their topic, are left alone. One that
    does not say which stage's topic it came from is refused, and the exit code is 1.

    Example: touchpoint dead-letters replay --stage web_checkout --reason unknown_outcome --dry-run
    """
    from streams.letters import box as letters
    from streams.letters import resend

    if value is not None and letter is None:
        raise failed("--value needs the letter it mends: TOPIC:PARTITION:OFFSET")
    try:
        new_value = value.read_bytes() if value is not None else None
    except OSError as error:
        raise failed(f"{value}: {error.strerror}") from None
    settings = read_settings()
    journey = read_journey(settings.journey)
    way = resend.Way(max_attempts, rate, typer.echo if dry_run else None, new_value)

    async def work(stop: asyncio.Event) -> resend.Replayed:
        selection = letters.select(journey, stage, reason, letter)
        async with entered(stop, letters.Box.opened(journey, settings)) as box:
            return await resend.resend(box, selection, way, stop, now_ms())

    report = run(work)
    for problem in report.problems:
        typer.echo(f"touchpoint: {problem}", err=True)
    summary = {name: getattr(report, name) for name in ("sent", "sent_before", "left", "refused")}
    typer.echo(json.dumps(summary | ({"dry_run": True} if dry_run else {})))
    if report.refused:
        raise typer.Exit(1)
