"""The command `touchpoint init`: five questions, and a first journey file."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar
from zoneinfo import available_timezones

import typer

from monitor.journey_file.begin import Answers, NameProblemError, name_of, names_of, written
from streams.commands.shared import failed, read_journey, write_files
from streams.files import STDIN

T = TypeVar("T")


def init(
    file: Annotated[Path, typer.Argument(help="To be written; there may be none yet.")],
) -> None:
    """Ask five questions, and write a first journey file that `check` accepts.

    Example: touchpoint init journey.yaml
    """
    if file.exists():
        raise failed(f"{file} is there already; name another, or move it away")
    try:
        os.read(sys.stdin.fileno(), 0)
    except OSError as error:  # it is closed
        raise failed(f"{STDIN}: {error.strerror}") from None
    journey = _asked("1/5 What is the journey called?", name_of, "shop")
    met = _asked("2/5 What do customers meet, in this order?", _some, "web_checkout, call_queue, delivery")
    behind = _asked("3/5 What do they wait for and never see? Empty if nothing", _others(met), "")
    owner = _asked("4/5 Which team is told?", name_of, "operations")
    timezone = _asked("5/5 In which time zone are opening hours?", _zone, "UTC")
    write_files({file: written(Answers(journey, met, behind, owner, timezone))})
    read_journey(file)
    typer.echo(f"{file} is written. Now: TOUCHPOINT_JOURNEY={file} touchpoint validate < your-events.jsonl")


def _asked(question: str, read: Callable[[str], T], usual: str) -> T:
    """The answer; asked again, and told why, while it cannot be one."""
    while True:
        try:
            answer = str(typer.prompt(question, default=usual))
        except typer.Abort:  # Ctrl-C, or the end of what answers were read from
            typer.echo()
            raise failed("the answers ended early; nothing is written") from None
        try:
            return read(answer)
        except NameProblemError as error:
            typer.echo(f"  {error}", err=True)


def _some(text: str) -> tuple[str, ...]:
    names = names_of(text)
    if not names:
        raise NameProblemError("name at least one")
    return names


def _others(met: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        names = names_of(text)
        if both := next((name for name in names if name in met), None):
            raise NameProblemError(f"customers meet `{both}` already")
        return names

    return read


def _zone(text: str) -> str:
    if text.strip() not in available_timezones():
        raise NameProblemError(f"`{text.strip()}` is no time zone; one is written like Europe/Helsinki")
    return text.strip()
