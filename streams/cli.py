"""The command `touchpoint`: reads settings, composes the parts, says what went wrong in one line.

Each command imports what it needs when it runs: Faust takes most of a second, and `check` needs none of it.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from monitor.errors import UserError
from monitor.faults import FAULTS, Fault, parse_fault
from monitor.journey import Journey
from monitor.journey_file import JourneyFileError, parse
from streams import settings as settings_reader
from streams.clock import now_ms
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.traffic import Report

SETTINGS_HELP = "Settings (environment):\n\n" + "\n\n".join(
    f"{name} ({default}): {meaning}" for name, default, meaning in settings_reader.describe()
)

T = TypeVar("T")


def _above_zero(value: float | None) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter("must be a number above 0")
    return value


def _not_negative(value: float) -> float:
    if not 0 <= value < float("inf"):
        raise typer.BadParameter("must be 0 or a number above it")
    return value


SWITCH_S = 0.001
"""How long a thread that renders a scrape may keep the event loop waiting; Python's default is 5 ms."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Windowed quality of customer touchpoints, from Kafka to Prometheus.",
    epilog=SETTINGS_HELP,
)


ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy reads it when imported. With more threads a window sum spun for up to 70 ms on a busy machine,
waiting for a second thread that had no core; alone it takes under 2 ms."""


def main() -> None:
    """Entry point of the console script."""
    os.environ.update(ONE_BLAS_THREAD)
    threading.excepthook = _tell_of_thread
    try:
        app()
    except OSError as error:  # a full disk or a closed pipe under standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo(f"touchpoint: {error.strerror or error}", err=True)
        sys.exit(1)


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    """One line for a thread that failed; Faust cancels its own at every stop, which is none."""
    if not issubclass(failed.exc_type, asyncio.CancelledError):
        name = failed.thread.name if failed.thread else "a thread"
        logging.getLogger(__name__).warning("%s: %r", name, failed.exc_value)


def _fail(message: str) -> typer.Exit:
    for line in message.splitlines():
        typer.echo(f"touchpoint: {line}", err=True)
    return typer.Exit(1)


def _read_journey(path: Path) -> Journey:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _fail(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _fail(f"{path}: is no UTF-8 text") from None
    except JourneyFileError as error:
        raise _fail("\n".join(f"{path}: {wrong}" for wrong in error.errors)) from None


def _settings() -> Settings:
    try:
        settings = settings_reader.read(os.environ)
    except UserError as error:
        raise _fail(str(error)) from None
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = settings.log_level.upper()
    logging.basicConfig(level=level, handlers=[handler])
    if level == "WARNING":  # Kafka's clients report each attempt of a retry; what matters is said once, by us
        for chatty in ("aiokafka", "faust", "mode"):
            logging.getLogger(chatty).setLevel("CRITICAL")
    return settings


class _OneLine(logging.Formatter):
    """Log records without traceback, unless debugging."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return super().formatException(ei) if logging.getLogger().isEnabledFor(logging.DEBUG) else ""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        debugging = logging.getLogger().isEnabledFor(logging.DEBUG)
        return text if debugging else text.partition("\n")[0]


def _run(work: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    """Run until done; SIGINT and SIGTERM set the event that `work` is given."""

    sys.setswitchinterval(SWITCH_S)

    async def with_signals() -> T:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, stop.set)
        return await work(stop)

    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(with_signals())
    except UserError as error:
        raise _fail(str(error)) from None


@app.command()
def demo(
    for_: Annotated[
        float | None,
        typer.Option("--for", callback=_above_zero, help="End by itself after this many seconds."),
    ] = None,
    http: Annotated[str | None, typer.Option(help="HOST:PORT of the live page.")] = None,
    kafka_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the embedded broker; free unless set.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="NAME[=STRENGTH]@SECONDS, repeatable: " + ", ".join(FAULTS)),
    ] = None,
) -> None:
    """Run everything on this machine: embedded broker, simulated journey, a worker, the live page.

    Example: touchpoint demo --for 60 --fault checkout-payment-failure@20
    """
    from streams import demo as demo_run

    settings = _settings()
    if http:
        settings = _replace("TOUCHPOINT_HTTP", http)
    journey = _read_journey(settings.journey)
    faults = _faults(fault or (), journey)
    summary = _run(
        lambda stop: demo_run.run(
            journey, settings, kafka_port=kafka_port, for_s=for_, faults=faults, stop=stop
        )
    )
    typer.echo(json.dumps(summary))


def _faults(texts: Sequence[str], journey: Journey) -> list[Fault]:
    try:
        return [parse_fault(text, journey) for text in texts]
    except ValueError as error:
        raise _fail(str(error)) from None


def _replace(name: str, value: str) -> Settings:
    try:
        return settings_reader.read({**os.environ, name: value})
    except UserError as error:
        raise _fail(str(error)) from None


@app.command()
def worker() -> None:
    """Run one worker of the consumer group; start more to scale out.

    Example: TOUCHPOINT_KAFKA=kafka:9092 TOUCHPOINT_HTTP=0.0.0.0:8080 touchpoint worker
    """
    from streams.worker import Worker

    settings = _settings()
    journey = _read_journey(settings.journey)

    async def work(stop: asyncio.Event) -> None:
        one = Worker(journey, settings)
        await one.run(stop, started=lambda: typer.echo(f"{one.url}/", err=True))

    _run(work)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="The journey file.")]) -> None:
    """Validate a journey file: every error at once, with line, YAML path and the nearest valid name.

    Example: touchpoint check monitor/journey.yaml
    """
    journey = _read_journey(file)
    experiences = sum(len(stage.experiences) for stage in journey.stages)
    typer.echo(f"{file}: journey `{journey.name}`, {len(journey.stages)} stages, {experiences} experiences")


@app.command()
def topics() -> None:
    """Create the Kafka topics of the journey, or compare those that exist.

    Example: TOUCHPOINT_KAFKA=kafka:9092 touchpoint topics
    """
    from streams import topics as topics_of

    settings = _settings()
    journey = _read_journey(settings.journey)

    async def work(_: asyncio.Event) -> dict[str, int]:
        async with topics_of.connected(settings) as admin:
            return await topics_of.ensure(admin, journey, settings)

    for name, partitions in _run(work).items():
        typer.echo(f"{name}: {partitions} partitions")


@app.command()
def publish() -> None:
    """Publish events, a JSON line each, from standard input; refuses what a worker would refuse.

    Example: touchpoint publish < events.jsonl
    """
    from streams import traffic

    settings = _settings()
    journey = _read_journey(settings.journey)
    lines = ((number, line) for number, line in enumerate(sys.stdin.buffer, 1))
    report = _run(lambda stop: traffic.publish(journey, settings, lines, stop, now_ms=now_ms()))
    _tell(report)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="History: JSON lines, oldest first.")],
    speed: Annotated[
        float,
        typer.Option(
            callback=_not_negative, help="1 is its own pace, 60 an hour a minute, 0 as fast as possible."
        ),
    ] = 0.0,
    until_now: Annotated[
        bool, typer.Option(help="Shift all times so that the newest event happened now.")
    ] = False,
) -> None:
    """Publish history from a file, at its own pace times a speed.

    Example: touchpoint replay january.jsonl --until-now
    """
    from streams import traffic

    settings = _settings()
    journey = _read_journey(settings.journey)
    _tell(_run(lambda stop: traffic.replay(journey, settings, file, speed, until_now, stop)))


def _tell(report: "Report") -> None:
    for problem in report.problems:
        typer.echo(f"touchpoint: {problem}", err=True)
    typer.echo(json.dumps({"published": report.published, "refused": report.refused}))
    if report.refused:
        raise typer.Exit(1)


dead_letters = typer.Typer(no_args_is_help=True, help="Look at refused events, send mended ones back.")
app.add_typer(dead_letters, name="dead-letters")

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
    from streams import letters, letters_shown

    settings = _settings()
    journey = _read_journey(settings.journey)

    async def work(_: asyncio.Event) -> letters_shown.Listing:
        selection = letters.select(journey, stage, reason)
        async with letters.Box.opened(journey, settings) as box:
            return await letters_shown.listing(box, selection, limit)

    found = _run(work)
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
    from streams import letters, letters_shown

    settings = _settings()
    journey = _read_journey(settings.journey)

    async def work(_: asyncio.Event) -> tuple[letters.Letter, bool]:
        selection = letters.select(journey, place=letter)
        async with letters.Box.opened(journey, settings) as box:
            return await letters_shown.one(box, selection)

    found, is_sent = _run(work)
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
    from streams import letters, resend

    if value is not None and letter is None:
        raise _fail("--value needs the letter it mends: TOPIC:PARTITION:OFFSET")
    try:
        new_value = value.read_bytes() if value is not None else None
    except OSError as error:
        raise _fail(f"{value}: {error.strerror}") from None
    settings = _settings()
    journey = _read_journey(settings.journey)
    way = resend.Way(max_attempts, rate, typer.echo if dry_run else None)

    async def work(stop: asyncio.Event) -> resend.Replayed:
        selection = letters.select(journey, stage, reason, letter)
        async with letters.Box.opened(journey, settings) as box:
            return await resend.resend(box, selection, way, stop, new_value, now_ms())

    report = _run(work)
    for problem in report.problems:
        typer.echo(f"touchpoint: {problem}", err=True)
    summary = {name: getattr(report, name) for name in ("sent", "sent_before", "left", "refused")}
    typer.echo(json.dumps(summary | ({"dry_run": True} if dry_run else {})))
    if report.refused:
        raise typer.Exit(1)


@app.command()
def simulate(
    seed: Annotated[int, typer.Option(help="Same seed and start, same events.")] = 7,
    events: Annotated[int | None, typer.Option(min=1, help="How many events; endless unless set.")] = None,
    start: Annotated[
        str | None, typer.Option(help="RFC 3339 time of the first event; now unless set.")
    ] = None,
    rate: Annotated[
        float, typer.Option(callback=_above_zero, help="Multiple of the journey's expected rhythm.")
    ] = 1.0,
    compress: Annotated[
        float, typer.Option(callback=_above_zero, help="Shortens the time between stages of a journey.")
    ] = 1.0,
    fault: Annotated[list[str] | None, typer.Option(help="As for demo; seconds after the start.")] = None,
    to_kafka: Annotated[bool, typer.Option(help="To Kafka at the events' own pace, not to stdout.")] = False,
) -> None:
    """Write seeded realistic traffic as JSON lines, or publish it.

    Example: touchpoint simulate --events 1000 --start 2026-01-01T00:00:00Z > events.jsonl
    """
    from streams import traffic

    settings = _settings()
    journey = _read_journey(settings.journey)
    faults = _faults(fault or (), journey)
    try:
        start_ms = traffic.read_time(start) if start else now_ms()
    except ValueError as error:
        raise _fail(str(error)) from None
    stream = traffic.simulated(journey, seed, start_ms, rate, compress, faults, events)
    if to_kafka:
        _tell(_run(lambda stop: traffic.publish_simulated(settings, stream, stop)))
        return
    with contextlib.suppress(BrokenPipeError):
        for event in stream:
            sys.stdout.buffer.write(event.value + b"\n")
        sys.stdout.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader is gone; exit quietly
