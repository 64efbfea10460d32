"""What every command shares: settings and journey, errors in one line each, a loop that heeds signals."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import typer

from monitor.counting.display import printable
from monitor.counting.times import epoch_ms
from monitor.errors import UserError
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.journey_file.nodes import JourneyFileError
from streams import settings as settings_reader
from streams.clock import now_ms
from streams.files import text_of, write
from streams.settings import Settings
from streams.stopping import StoppedError, unless

T = TypeVar("T")

SWITCH_S = 0.001
"""How long a thread that renders a scrape may keep the event loop waiting; Python's default is 5 ms."""

LEFTOVERS_S = 10.0
"""How long tasks that are left when the work is done may take to be cancelled; some of Kafka's and Faust's
clients, with no Kafka there, never are."""


def failed(message: str) -> typer.Exit:
    """Tell what went wrong, a line each; raise what is returned."""
    for line in message.splitlines():
        typer.echo(f"touchpoint: {printable(line)}", err=True)
    return typer.Exit(1)


def read_journey(path: Path) -> Journey:
    """The journey of a file; every error is told and ends the command."""
    try:
        return parse(text_of(path))
    except UserError as error:
        raise failed(str(error)) from None
    except JourneyFileError as error:
        raise failed("\n".join(f"{path}: {wrong}" for wrong in error.errors)) from None


def write_files(texts: Mapping[Path, str]) -> None:
    """Write files whole; one that cannot be written is named and ends the command."""
    try:
        write(texts)
    except UserError as error:
        raise failed(str(error)) from None


def read_settings() -> Settings:
    """The settings of the environment, with logging set up as they say."""
    try:
        settings = settings_reader.read(os.environ)
    except UserError as error:
        raise failed(str(error)) from None
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = settings.log_level.upper()
    logging.basicConfig(level=level, handlers=[handler])
    if level == "WARNING":  # Kafka's clients report each attempt of a retry; what matters is said once, by us
        for chatty in ("aiokafka", "faust", "mode"):
            logging.getLogger(chatty).setLevel("CRITICAL")
    if level == "DEBUG":  # these print whole records: events, dead letters and journeys, with their customers
        for leaky in ("aiokafka.conn", "aiokafka.producer.producer"):
            logging.getLogger(leaky).setLevel("INFO")
    return settings


def configured(file: Path | None = None) -> tuple[Settings, Journey]:
    """The settings of the environment, and the journey file that they name unless one is given."""
    settings = read_settings()
    return settings, read_journey(file or settings.journey)


class _OneLine(logging.Formatter):
    """Log records without traceback, unless debugging."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        debugging = logging.getLogger().isEnabledFor(logging.DEBUG)
        return text if debugging else text.partition("\n")[0]


def moment(text: str | None) -> int:
    """RFC 3339 to ms, now unless given; what is none is told and ends the command."""
    if not text:
        return now_ms()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise failed(f"`{text}` is not an RFC 3339 time") from None
    if at.tzinfo is None:
        raise failed(f"`{text}` has no offset; write 2026-01-01T00:00:00Z")
    if not 1971 <= at.year <= 2200:
        raise failed(f"`{text}` is not between 1971 and 2200")
    return epoch_ms(at)


def run(work: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    """Run until done; SIGINT and SIGTERM set the event that `work` is given, and again end it at once."""

    sys.setswitchinterval(SWITCH_S)

    async def with_signals() -> T:
        stop = asyncio.Event()
        working = asyncio.ensure_future(work(stop))

        def told() -> None:
            if stop.is_set():
                working.cancel()
            stop.set()

        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, told)
        try:
            return await working
        except asyncio.CancelledError:
            raise StoppedError from None

    import uvloop

    end = threading.Timer(LEFTOVERS_S, os._exit)
    end.daemon = True
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                return runner.run(with_signals())
            except StoppedError:
                raise KeyboardInterrupt from None
            except UserError as error:
                raise failed(str(error)) from None
            finally:
                end.args = (int(sys.exc_info()[0] is not None),)
                end.start()
    finally:
        end.cancel()


def run_at_once(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The same of work that has nothing to finish: the first SIGINT or SIGTERM ends it."""
    return run(lambda stop: unless(stop, work()))


def tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    """One line for a thread that failed; Faust cancels its own at every stop, which is none."""
    if not issubclass(failed.exc_type, asyncio.CancelledError):
        name = failed.thread.name if failed.thread else "a thread"
        logging.getLogger(__name__).warning("%s: %r", name, failed.exc_value)


def above_zero(value: float | None) -> float | None:
    """Callback of an option that must be above 0 and finite."""
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter("must be a number above 0")
    return value


def not_negative(value: float) -> float:
    """Callback of an option that may not be negative and must be finite."""
    if not 0 <= value < float("inf"):
        raise typer.BadParameter("must be 0 or a number above it")
    return value
