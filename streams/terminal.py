"""The one place that draws on a terminal: views, tables, progress; what others wrote cannot steer it."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from monitor.counting.display import aimed, bar, counted, percent, printable
from monitor.counting.measures import Share

STYLES = {"good": "green", "within_chance": "green", "below": "yellow"}
STYLES |= dict.fromkeys(("too_few", "quiet"), "dim") | dict.fromkeys(("silent", "degraded"), "bold red")
"""By `verdict.State`. Colour and word say the same, so that nothing hangs on seeing colours."""


class _Console(Console):
    """Standard error whose reader may leave: then it says so once, and is silent.

    As it comes, rich would end the program there and then: from within a task of the event loop, which leaves
    every other task and the threads of Kafka's client where they are.
    """

    def __init__(self, when_unread: Callable[[], None]) -> None:
        super().__init__(stderr=True)
        self._when_unread = when_unread

    def on_broken_pipe(self) -> None:
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())  # for logging, and for what is flushed at the end
        self._when_unread()


class StagesView:
    """The stages on standard error: redrawn in place on a terminal, a line per change of state elsewhere.

    `when_unread` is called once nobody reads it any more.
    """

    def __init__(self, when_unread: Callable[[], None]) -> None:
        self._console = _Console(when_unread)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._states: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, line: str) -> None:
        """A line of its own."""
        self._console.print(_literal(line), soft_wrap=True)

    def show(self, stages: list[dict[str, Any]], caption: str) -> None:
        """Draw the stages of an `/api/stages` answer."""
        if self._live is not None:
            self._live.update(_table(stages, caption), refresh=True)
            return
        for stage in stages:
            name, state = stage["stage"], stage["state"]
            if self._states.get(name) != state:
                self._states[name] = state
                self.say(f"{name}: {state.replace('_', ' ')}{_present(stage)}")


NUMBERS = ("Quality", "Target", "Events/min")
"""Columns whose figures stand below each other."""


def _table(stages: list[dict[str, Any]], caption: str) -> Table:
    table = Table(caption=caption, expand=False)
    for heading in ("Stage", "State", "Quality", "Target", "Events/min", "Last hour", "Weakest", "Why"):
        table.add_column(heading, justify="right" if heading in NUMBERS else "left")
    for stage in stages:
        state = stage["state"]
        table.add_row(
            _literal(stage["title"]),
            Text(state.replace("_", " "), style=STYLES[state]),
            _quality(stage),
            aimed(_target(stage)) if _has_quality(stage) else "",
            "" if stage["silent"] else f"{stage['events_per_minute']:.0f}",
            _spark([quality for _, quality in stage["trend"]][-20:]),
            stage["weakest"]["experience"] if stage["weakest"] else "",
            _literal(stage["silent"]["text"] if stage["silent"] else stage["top_reason"] or ""),
        )
    return table


def _literal(text: str) -> Text:
    """Text that is only text: rich takes `[red]` in a plain one for its own."""
    return Text(printable(text))


def _present(stage: dict[str, Any]) -> str:
    """What the line of a stage says of it besides its state."""
    if stage["silent"]:
        return f". {stage['silent']['text']}"
    share = f"{_quality(stage)} of " if stage["n"] else ""
    return f", {share}{counted(stage['n'], 'event')} in {stage['window']}"


def _has_quality(stage: dict[str, Any]) -> bool:
    """What the last events of a silent stage were like says nothing of the present."""
    return bool(stage["n"]) and not stage["silent"]


def _quality(stage: dict[str, Any]) -> str:
    n, bad = stage["n"], stage["bad"]
    return percent(Share(n - bad, bad), _target(stage)) if _has_quality(stage) else ""


def _target(stage: dict[str, Any]) -> Decimal:
    """What the journey file says: JSON writes the shortest decimal that is the same float."""
    return Decimal(repr(stage["target"]))


def _spark(qualities: list[float | None]) -> str:
    return "".join(" " if quality is None else bar(quality) for quality in qualities)


class Row(NamedTuple):
    """A line of a table; a loud one stands out."""

    cells: tuple[str, ...]
    is_loud: bool


UNBOUNDED = 400
"""Width where standard output is no terminal: a line of a file is not folded."""


def _to_output() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=UNBOUNDED)


def show_table(headings: Sequence[str], rows: Iterable[Row]) -> None:
    """A table on standard output."""
    table = Table(*headings)
    for row in rows:
        table.add_row(*map(_literal, row.cells), style="bold" if row.is_loud else None)
    _to_output().print(table)


def say(line: str) -> None:
    """A line of its own on standard output, after a table."""
    _to_output().print(_literal(line), soft_wrap=True)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Progress on standard error, if a terminal; a bare count where the total is unknown.

    What it gives is told how many more are done.
    """
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        *([BarColumn(), MofNCompleteColumn()] if total else [TextColumn("{task.completed}")]),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # it would leave an empty line there
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.update(task, advance=more)
