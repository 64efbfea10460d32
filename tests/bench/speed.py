"""Events a second of one worker beside stock Faust, on Apache Kafka: `python -m tests.bench speed`.

Each load is published once. Every round reads it anew with a group of its own, one contender after the other,
and every contender must end with each event in its panes once. README.md has the figures.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.kafka.kafka import KafkaNode, KafkaNodeError
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from streams.__main__ import ONE_BLAS_THREAD
from streams.demo.simulator import SimulatedEvent
from streams.kafka import topics
from streams.settings import SHIPPED_JOURNEY, Settings
from tests.bench import page
from tests.bench.load import (
    DENSE_MS,
    STAGE,
    Record,
    checkouts,
    dense_journeys,
    publish,
    sparse_journeys,
)
from tests.kit.brokers import running
from tests.kit.programs import ROOT, environment

ROUNDS = 5

STAGE_EVENTS, JOURNEY_EVENTS = 2_400_000, 1_000_000
"""Of the dense loads at size 1."""

SPARSE_EVENTS, SPARSE_DAYS = 100_000, 7
"""At any size: there is about one for every pane that can be."""

PARTITIONS = 12
"""Of the dense stage; all other topics have as many as the shipped file gives them."""

STOCK_SHARE = 20
"""Stock Faust counts a 20th of the events: so both run for seconds."""

POM = ROOT / "deploy/kafka/pom.xml"

WIDTHS = {"events_per_s": "12,.0f", "cpu_us": "8.1f", "peak_mb": "8,.0f"}

JOURNEYS_SECTION = re.compile(r"(?m)^journeys:\n((  .*)?\n)*")


@dataclass(frozen=True)
class Load:
    """A journey file with topics of its own, what has been published to them, what stages send on of that."""

    file: Path
    events: int
    sent_on: int = 0


@dataclass(frozen=True)
class Contender:
    """Which load it reads, by which module, and how its measurement is called."""

    name: str
    load: str
    module: str = "ours"


CONTENDERS = (
    Contender("stock", "stages", "stock"),
    Contender("stages", "stages"),
    Contender("journeys", "journeys"),
    Contender("sparse", "sparse"),
    Contender("sparse_journeys", "sparse_journeys"),
)
"""`sparse` counts stages alone, as `stages` does; the other two keep journeys."""


def main(arguments: Sequence[str]) -> None:
    """Measure, print a table of medians and, if wanted, the same as one line of JSON at the end."""
    names = [contender.name for contender in CONTENDERS]
    parser = argparse.ArgumentParser(prog="python -m tests.bench speed", description=__doc__)
    parser.add_argument("contenders", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all if none")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--size", type=float, default=1.0, help="of the dense loads: 0.1 is a tenth")
    parser.add_argument("--kafka", help="HOST:PORT of an Apache Kafka; one is started unless given")
    parser.add_argument("--json", action="store_true", help="medians as JSON in the last line")
    parser.add_argument("--page", type=Path, help="a Markdown page to write, with a picture beside it")
    options = parser.parse_args(arguments)
    if unknown := set(options.contenders) - set(names):
        parser.error(f"no contender {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    wanted = [one for one in CONTENDERS if not options.contenders or one.name in options.contenders]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            kafka = options.kafka or stack.enter_context(running(KafkaNode(directory / "kafka"))).bootstrap
        except KafkaNodeError as error:
            raise SystemExit(f"speed: {error}") from None
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()} "
              f"({platform.python_compiler()}), Apache Kafka on {kafka}", flush=True)  # fmt: skip
        loads = {name: _load(name, kafka, options.size, directory) for name in {one.load for one in wanted}}
        found: dict[str, list[dict[str, float]]] = {one.name: [] for one in wanted}
        for number in range(options.rounds):
            for one in wanted:
                found[one.name].append(_round(one, loads[one.load], kafka, number))
                print(_line(one.name, found[one.name][-1]), flush=True)
    medians = _medians(found)
    print(f"medians of {options.rounds} rounds:")
    for name, figures in medians.items():
        print(_line(name, figures))
    if options.page:
        conditions = {"Apache Kafka": _version(options.kafka), "rounds": options.rounds, "size": options.size}
        page.write(options.page, medians, conditions)
    if options.json:
        print(json.dumps(medians))


def _version(given: str | None) -> str:
    """That of the Apache Kafka started here; one that is given tells none."""
    if given:
        return "not started by the benchmark"
    (version,) = re.findall("<kafka.version>(.+)</kafka.version>", POM.read_text())
    return str(version)


def _load(name: str, kafka: str, size: float, directory: Path) -> Load:
    """Publish a load of that name."""
    text = SHIPPED_JOURNEY.read_text()
    if name in ("stages", "sparse"):
        text = JOURNEYS_SECTION.sub("", text)
    for stage in parse(text).stages:
        own = f"topic: bench-{os.getpid()}.{name}.{stage.name}"
        if (name, stage.name) == ("stages", STAGE):
            own += f"\n    partitions: {PARTITIONS}"
        text = text.replace(f"\n  {stage.name}:\n", f"\n  {stage.name}:\n    {own}\n")
    file = directory / f"{name}.yaml"
    file.write_text(text)
    journey = parse(text)
    if name == "stages":
        events = round(STAGE_EVENTS * size)
        load, records = Load(file, events), checkouts(journey, events, DENSE_MS, in_journeys=False)
    else:
        dense = name == "journeys"
        traffic = (
            dense_journeys(journey, round(JOURNEY_EVENTS * size))
            if dense
            else sparse_journeys(journey, SPARSE_EVENTS, SPARSE_DAYS)
        )
        load = Load(file, len(traffic), _sent_on(journey, traffic))
        records = ((one.topic, one.key, one.value) for one in traffic)
    bytes_each = asyncio.run(_publish(journey, kafka, records))
    print(
        f"load {name}: {load.events:,} events of {bytes_each} bytes, {load.sent_on:,} steps and contacts",
        flush=True,
    )
    return load


def _sent_on(journey: Journey, traffic: Iterable[SimulatedEvent]) -> int:
    """How much stages send on to whoever keeps journeys: every step, and beside it contacts of customers."""
    if journey.journeys is None:
        return 0
    contact_topics = {journey.stage(name).topic for name in journey.journeys.contacts}
    sent_on = 0
    for one in traffic:
        sent_on += b'"journey_id"' in one.value
        if one.topic in contact_topics:
            event = json.loads(one.value)
            sent_on += event.get("initiator") != "company" and bool(event.keys() & {"case_id", "journey_id"})
    return sent_on


async def _publish(journey: Journey, kafka: str, records: Iterable[Record]) -> int:
    settings = Settings(kafka=kafka)
    async with topics.connected(settings) as admin:
        await topics.create(admin, topics.source_topics(journey), settings)
    return await publish(kafka, records)


def _round(contender: Contender, load: Load, kafka: str, number: int) -> dict[str, float]:
    if contender.module == "stock":
        numbers = (load.events // STOCK_SHARE, PARTITIONS)
    else:
        numbers = (load.events, load.sent_on)
    with tempfile.TemporaryDirectory() as state:
        settings = environment(
            KAFKA=kafka, JOURNEY=str(load.file), GROUP=f"bench-{os.getpid()}-{contender.name}-{number}",
            HTTP="127.0.0.1:0", STATE_DIR=state,
        )  # fmt: skip
        command = [sys.executable, "-m", f"tests.bench.{contender.module}", *map(str, numbers)]
        said = subprocess.run(
            command, env=settings | ONE_BLAS_THREAD, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    figures: dict[str, float] = json.loads(said.splitlines()[-1])
    return figures


def _medians(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """The median of each figure; of ours also how often it has stock Faust's events a second."""
    medians: dict[str, dict[str, float]] = {
        name: {figure: round(statistics.median(one[figure] for one in rounds), 2) for figure in WIDTHS}
        for name, rounds in found.items()
    }
    stock = medians.get("stock", {}).get("events_per_s")
    for name, figures in medians.items():
        if stock and name != "stock":
            figures["times_stock"] = round(figures["events_per_s"] / stock, 2)
    return medians


def _line(name: str, figures: Mapping[str, Any]) -> str:
    shown = "  ".join(f"{figures[figure]:{width}} {figure}" for figure, width in WIDTHS.items())
    times = f"  {figures['times_stock']:.1f} times stock" if "times_stock" in figures else ""
    return f"{name:16}{shown}{times}"
