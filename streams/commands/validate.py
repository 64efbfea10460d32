"""The command `touchpoint validate`: what a worker would make of events, before any is published."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from monitor.counting.display import counted, printable
from monitor.counting.event import Codecs, Refused
from monitor.counting.explained import Explained, explained
from streams.commands.shared import configured, failed, moment, run
from streams.files import FileProblemError, arriving


@dataclass(slots=True)
class Tally:
    """How many events there were, and how it ended."""

    counted: int = 0
    refused: int = 0
    warnings: int = 0
    ended: str | None = None

    def add(self, found: Explained | Refused) -> None:
        """One more."""
        if isinstance(found, Refused):
            self.refused += 1
        else:
            self.counted += 1
            self.warnings += len(found.warnings)


def validate(
    stage: Annotated[
        str | None,
        typer.Option(help="Read all as events of this stage's topic; unless given, of the stage each names."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="RFC 3339 time at which a worker reads them; now unless given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object for each event.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 also for a warning.")] = False,
) -> None:
    """Say what a worker would make of events from standard input, one JSON line each. Needs no Kafka.

    Each is refused, and why; or counted, with what each experience says of it. Warnings tell of fields that
    nobody reads, and of names that count as `other`. Exits 1 if any was refused.

    Example: touchpoint validate --stage web_checkout < events.jsonl
    """
    settings, journey = configured()
    stages = [one.name for one in journey.stages]
    if stage is not None and stage not in stages:
        raise failed(f"no stage `{stage}`; known are {', '.join(stages)}")
    codecs = Codecs(journey, refuse_personal_data=settings.refuse_personal_data)
    asked = _Asked(codecs, stage, moment(at), as_json)
    tally = run(lambda stop: _validate(asked, arriving(sys.stdin.fileno(), stop), stop))
    read = tally.counted + tally.refused
    if read or not tally.ended:
        typer.echo(
            f"{counted(read, 'event')}: {tally.counted:,} would be counted,"
            f" {tally.refused:,} refused; {counted(tally.warnings, 'warning')}",
            err=True,
        )
    if tally.ended:
        raise failed(tally.ended)
    if tally.refused or (strict and tally.warnings):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Asked:
    codecs: Codecs
    stage: str | None
    at_ms: int
    as_json: bool


async def _validate(asked: _Asked, lines: AsyncIterator[bytes], stop: asyncio.Event) -> Tally:
    tally, number = Tally(), 0
    try:
        async for line in lines:
            number += 1
            if stop.is_set():
                break
            if value := line.strip():
                found = explained(asked.codecs.of(value, asked.stage), value, asked.at_ms)
                tally.add(found)
                _print_json(number, found) if asked.as_json else _print(number, found)
    except FileProblemError as error:
        tally.ended = str(error)
    return tally


def _print(number: int, found: Explained | Refused) -> None:
    if isinstance(found, Refused):
        told = [f"refused, {found.reason}: {found.error}"]
    else:
        told = [f"counted at {found.stage}"]
        told += [f"{one.said}, {one.experience}: {one.why}" for one in found.judged]
        told += [f"warning: {one}" for one in found.warnings]
    for one in told:
        typer.echo(printable(f"line {number}: {one}"))


def _print_json(number: int, found: Explained | Refused) -> None:
    if isinstance(found, Refused):
        typer.echo(json.dumps({"line": number, "refused": found.reason, "error": found.error}))
    else:
        typer.echo(json.dumps({"line": number, **asdict(found)}))
