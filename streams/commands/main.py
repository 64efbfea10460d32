"""The command `touchpoint`: reads settings, composes the parts, says what went wrong in one line.

Each command imports what it needs when it runs: Faust takes most of a second, and `check` needs none of it.
"""

import asyncio
import contextlib
import itertools
import json
import os
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.counting.display import counted
from monitor.errors import UserError
from monitor.journey_file.model import Journey
from streams import settings as settings_reader
from streams.clock import now_ms
from streams.commands.backtest import backtest
from streams.commands.dead_letters import dead_letters
from streams.commands.drift import drift
from streams.commands.init import init
from streams.commands.journey import journey_command, journeys_command, rescue_command
from streams.commands.learn import learn
from streams.commands.prometheus.report import report
from streams.commands.prometheus.verdict import verdict
from streams.commands.render import render
from streams.commands.shared import (
    above_zero,
    configured,
    failed,
    moment,
    not_negative,
    read_journey,
    read_settings,
    run,
    run_at_once,
    tell_of_thread,
)
from streams.commands.validate import validate
from streams.commands.where import where
from streams.demo.faults import FAULTS, WRITTEN, Fault, parse_fault
from streams.files import arriving, reread
from streams.settings import Settings
from streams.stopping import entered

if TYPE_CHECKING:
    from streams.publish.lines import Report

HTTP = "TOUCHPOINT_HTTP"

SETTINGS_HELP = "Settings (environment):\n\n" + "\n\n".join(
    f"{name} ({default}): {meaning}" for name, default, meaning in settings_reader.describe()
)


FAULTS_TOLD = "; ".join(f"{name}: {told}" for name, told in FAULTS.items())

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Windowed quality of customer touchpoints, from Kafka to Prometheus.",
    epilog=SETTINGS_HELP,
)


app.add_typer(dead_letters, name="dead-letters")
app.command()(backtest)
app.command()(drift)
app.command()(init)
app.command("journey")(journey_command)
app.command("journeys")(journeys_command)
app.command("rescue")(rescue_command)
app.command()(learn)
app.command()(render)
app.command()(report)
app.command()(validate)
app.command()(verdict)
app.command()(where)


def main() -> None:
    """Run the command that was typed."""
    threading.excepthook = tell_of_thread
    _open_standard_files()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:  # a full disk, or nothing, under standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo(f"touchpoint: {error.filename or 'standard output'}: {error.strerror or error}", err=True)
        sys.exit(1)


def _open_standard_files() -> None:
    """Hold the places of standard files that are closed: a connection to Kafka would get their numbers.

    Reading and writing fail as they do with a closed file, for `/dev/null` is opened the wrong way round
    (https://www.gnu.org/software/gnulib/manual/html_node/stdopen.html); only errors go nowhere.
    """
    for number, (name, mode, way) in enumerate(
        (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))
    ):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, way), number)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - for good
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # what a terminal cannot show


@app.command()
def demo(
    for_: Annotated[
        float | None,
        typer.Option("--for", callback=above_zero, help="End after this many seconds of live traffic."),
    ] = None,
    http: Annotated[
        str | None, typer.Option(help="HOST:PORT of the live page; TOUCHPOINT_HTTP unless given.")
    ] = None,
    kafka_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the embedded broker; any free one unless given."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{WRITTEN}, repeatable: its start, and how long it lasts. STRENGTH is the share of"
            f" what the fault names, by default the one in brackets. {FAULTS_TOLD}"
        ),
    ] = None,
) -> None:
    """Run everything on this machine: embedded broker, simulated customers, one worker, live page.

    Example: touchpoint demo --for 60 --fault checkout-payment-failure@20
    """
    from streams.demo import run as demo_run

    settings = read_settings()
    if http is not None:
        settings = _with_http(http)
    journey = read_journey(settings.journey)
    faults = _faults(fault or (), journey)
    summary = run(
        lambda stop: demo_run.run(journey, settings, demo_run.Wanted(kafka_port, for_, faults), stop)
    )
    typer.echo(json.dumps(summary))


def _faults(texts: Sequence[str], journey: Journey) -> list[Fault]:
    try:
        return [parse_fault(text, journey) for text in texts]
    except ValueError as error:
        raise failed(str(error)) from None


def _with_http(address: str) -> Settings:
    """The settings with `--http`, which is named where it is wrong."""
    try:
        return settings_reader.read({**os.environ, HTTP: address})
    except UserError as error:
        raise failed(str(error).replace(f"{HTTP}: ", "--http: ")) from None


@app.command()
def worker() -> None:
    """Run one worker of the consumer group; start more to scale out.

    Example: TOUCHPOINT_KAFKA=kafka:9092 TOUCHPOINT_HTTP=0.0.0.0:8080 touchpoint worker
    """
    from streams.worker import Worker

    settings, journey = configured()

    async def work(stop: asyncio.Event) -> None:
        one = Worker(journey, settings)
        await one.run(stop, started=lambda: typer.echo(f"{one.url}/", err=True))

    run(work)


@app.command()
def pages(
    http: Annotated[str, typer.Option(help="HOST:PORT to listen on.")] = "127.0.0.1:9095",
    findings: Annotated[
        bool, typer.Option(help="Also publish each change of an alert to Kafka, as a finding.")
    ] = False,
) -> None:
    """Print each alert that Alertmanager or Grafana posts here; report when their heartbeat stops.

    Example: touchpoint pages --http 127.0.0.1:9095 --findings
    """
    from streams.publish.findings import sharing
    from streams.web.pager import Pages

    read_settings()  # sets logging up, which keeps Kafka's client quiet
    settings = _with_http(http)
    journey = read_journey(settings.journey) if findings else None

    async def receive(stop: asyncio.Event) -> None:
        shared = sharing(journey, settings) if journey else contextlib.nullcontext()
        async with entered(stop, shared) as share:
            await Pages(typer.echo, share).serve(settings, stop)

    run(receive)


@app.command()
def gateway(
    http: Annotated[str, typer.Option(help="HOST:PORT to listen on.")] = "127.0.0.1:8090",
) -> None:
    """Take events over HTTP, for services without Kafka; answer once Kafka has them, and what is refused.

    Example: TOUCHPOINT_KAFKA=kafka:9092 touchpoint gateway --http 127.0.0.1:8090
    """
    from streams.web.gateway import Gateway

    _, journey = configured()
    settings = _with_http(http)

    async def take(stop: asyncio.Event) -> None:
        await Gateway(journey, settings, partial(typer.echo, err=True)).serve(stop)

    run(take)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="Journey file.")]) -> None:
    """Validate a journey file; report all errors, with line, YAML path and the nearest valid name.

    Example: touchpoint check monitor/journey.yaml
    """
    journey = read_journey(file)
    experiences = sum(len(stage.experiences) for stage in journey.stages)
    holds = f"{counted(len(journey.stages), 'stage')}, {counted(experiences, 'experience')}"
    typer.echo(f"{file}: journey `{journey.name}`, {holds}")


@app.command()
def topics(
    grow: Annotated[bool, typer.Option("--grow", help="Add the partitions that a topic lacks.")] = False,
) -> None:
    """Create the Kafka topics of the journey; check those that exist.

    Example: TOUCHPOINT_KAFKA=kafka:9092 touchpoint topics
    """
    from streams.kafka import topics as topics_of

    settings, journey = configured()

    async def work() -> None:
        async with topics_of.connected(settings) as admin:
            counts = await topics_of.ensure(admin, journey, settings, grow=grow)
            for name, partitions in counts.items():
                typer.echo(f"{name}: {counted(partitions, 'partition')}")
            await topics_of.require_room(admin, journey, settings.group, counts)

    run_at_once(work)


@app.command()
def publish() -> None:
    """Publish events from standard input, one JSON line each; refuse what a worker would refuse.

    Example: touchpoint publish < events.jsonl
    """
    from streams.publish import lines

    settings, journey = configured()
    at_ms = now_ms()
    report = run(
        lambda stop: lines.publish(journey, settings, arriving(sys.stdin.fileno(), stop), stop, at_ms)
    )
    _tell(report)


@app.command()
def change(
    title: Annotated[str, typer.Argument(help="What changed, in at most 80 characters.")],
    kind: Annotated[str, typer.Option(help="Kind of change: deploy, incident or other.")] = "deploy",
    stage: Annotated[str | None, typer.Option(help="Stage that changed; all unless given.")] = None,
    at: Annotated[str | None, typer.Option(help="RFC 3339 time of the change; now unless given.")] = None,
) -> None:
    """Publish a deploy or an incident; alerts and boards then show it as the last change.

    Later `touchpoint verdict` says what it did.

    Example: touchpoint change "checkout 4.2.0" --stage web_checkout
    """
    from streams.publish import changes

    settings, journey = configured()
    told = changes.Told(title, kind, stage, moment(at))
    try:
        value = changes.record(journey, told, now_ms())
    except ValueError as error:
        raise failed(str(error)) from None
    run_at_once(lambda: changes.publish(journey, settings, value))
    typer.echo(value.decode())


@app.command()
def replay(
    file: Annotated[
        Path,
        typer.Argument(
            help="History: JSON lines, oldest first; may be packed with gzip."
            " What gzip or a pipe gives has at most 16 GiB."
        ),
    ],
    speed: Annotated[
        float,
        typer.Option(
            callback=not_negative,
            help="1 is the pace at which they happened, 60 an hour per minute, 0 as fast as possible.",
        ),
    ] = 0.0,
    until_now: Annotated[bool, typer.Option(help="Shift all times so that the newest event is now.")] = False,
) -> None:
    """Publish the events of a file, as fast as possible or at a multiple of their pace.

    Says beforehand how many events are too old for journeys or for workers, and what to do instead.

    Example: touchpoint replay january.jsonl --until-now
    """
    from streams.publish import replay as replaying

    settings, journey = configured()
    try:
        with reread(file) as stream:
            known = replaying.History(journey, settings, stream, now_ms(), until_now=until_now)
            for told in known.too_old(str(file), speed):
                typer.echo(f"touchpoint: {told}", err=True)
            _tell(run(lambda stop: replaying.replay(known, settings, speed, stop)))
    except UserError as error:
        raise failed(str(error)) from None


def _tell(report: "Report") -> None:
    for problem in report.problems:
        typer.echo(f"touchpoint: {problem}", err=True)
    if report.ended:
        typer.echo(f"touchpoint: {report.ended}", err=True)
    typer.echo(json.dumps({"published": report.published, "refused": report.refused}))
    if report.refused or report.ended:
        raise typer.Exit(1)


@app.command()
def simulate(
    seed: Annotated[int, typer.Option(help="The same seed and start give the same events.")] = 7,
    events: Annotated[int | None, typer.Option(min=1, help="Number of events; endless unless given.")] = None,
    start: Annotated[
        str | None, typer.Option(help="RFC 3339 time of the first event; now unless given.")
    ] = None,
    rate: Annotated[
        float,
        typer.Option(callback=above_zero, help="Multiple of the traffic that the journey file expects."),
    ] = 1.0,
    compress: Annotated[
        float,
        typer.Option(callback=above_zero, help="Divide the time between the stages of a journey by this."),
    ] = 1.0,
    fault: Annotated[
        list[str] | None, typer.Option(help="As for `demo`; its start counts from --start.")
    ] = None,
    to_kafka: Annotated[
        bool, typer.Option(help="Publish to Kafka at the events' own pace, instead of printing.")
    ] = False,
) -> None:
    """Print realistic traffic as JSON lines, the same for the same seed, or publish it.

    Example: touchpoint simulate --events 1000 --start 2026-01-01T00:00:00Z > events.jsonl
    """
    from streams.demo.feed import publish_simulated
    from streams.demo.simulator import Simulator

    settings, journey = configured()
    faults = _faults(fault or (), journey)
    simulator = Simulator(
        journey, seed=seed, start_ms=moment(start), rate=rate, compress=compress, faults=faults
    )
    stream = itertools.islice(simulator.events(), events)
    if to_kafka:
        _tell(run(lambda stop: publish_simulated(settings, stream, stop)))
        return
    with contextlib.suppress(BrokenPipeError):
        for event in stream:
            sys.stdout.buffer.write(event.value + b"\n")
        sys.stdout.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader is gone; exit quietly
