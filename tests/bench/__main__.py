"""`make bench`: one worker against stock Faust, interleaved; then what a scrape and a recovery cost."""

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from monitor.journey_file.grammar import parse
from streams.commands.shared import ONE_BLAS_THREAD
from streams.demo.broker import EmbeddedBroker
from streams.kafka import topics
from streams.settings import SHIPPED_JOURNEY, Settings
from tests.bench.load import STAGE, publish
from tests.kit.programs import environment

PARTITIONS = 12

RECENT_MS = 600_000

HORIZON_MS = 8 * 86_400_000 - 3_600_000
"""All of the shipped journey's horizon: every pane that can be exists, and memory is what it settles at."""

STOCK_SHARE = 20
"""Stock Faust gets a 20th of the events: at a 20th of the speed both run equally long."""


def main() -> None:
    """Print a table of rounds and the ratio of medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--events", type=int, default=600_000, help="events for our worker in one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kafka", help="HOST:PORT of Apache Kafka; the embedded broker unless given")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"{arguments.kafka or 'embedded broker'}, {PARTITIONS} partitions")  # fmt: skip
    results: dict[str, list[dict[str, Any]]] = {"ours": [], "stock": []}
    for number in range(arguments.rounds):
        for kind in ("ours", "stock"):
            events = arguments.events if kind == "ours" else arguments.events // STOCK_SHARE
            found = _round(kind, events, arguments.kafka, f"{kind}{number}")
            results[kind].append(found)
            print(f"{kind:6} {found['events_per_s']:10,.0f} events/s  {found['peak_mb']:6.0f} MB peak  "
                  f"{events:,} events of {found['bytes']} bytes in {found['seconds']:.1f} s")  # fmt: skip
    ours, stock = (
        statistics.median(found["events_per_s"] for found in results[kind]) for kind in ("ours", "stock")
    )
    print(
        f"median: ours {ours:,.0f}, stock Faust {stock:,.0f} events/s: {ours / stock:.1f} times", flush=True
    )
    full = _round("ours", 2 * arguments.events, arguments.kafka, "full", HORIZON_MS)
    print(
        f"{2 * arguments.events:,} events over the whole horizon: {full['peak_mb']:.0f} MB peak", flush=True
    )
    subprocess.run([sys.executable, "-m", "tests.bench.scrape"], env=os.environ | ONE_BLAS_THREAD, check=True)
    subprocess.run([sys.executable, "-m", "tests.bench.alert_quality"], check=True)
    subprocess.run([sys.executable, "-m", "tests.bench.dedupe"], check=True)
    subprocess.run([sys.executable, "-m", "tests.bench.journeys"], check=True)
    subprocess.run([sys.executable, "-m", "tests.bench.open_journeys"], check=True)
    if shutil.which("prometheus") and shutil.which("prometheus-alertmanager"):
        subprocess.run([sys.executable, "-m", "tests.bench.paging"], check=True)
    else:
        print("paging: not measured, it needs Prometheus and Alertmanager")
    if arguments.kafka or shutil.which("java"):
        on = ["--kafka", arguments.kafka] if arguments.kafka else []
        subprocess.run([sys.executable, "-m", "tests.bench.recovery", *on], check=True)
    else:
        print("recovery: not measured, it needs Apache Kafka (--kafka) or Java 17")
    if shutil.which("java"):
        subprocess.run([sys.executable, "-m", "tests.bench.backlog"], check=True)


def _round(
    kind: str, events: int, kafka: str | None, name: str, spread_ms: int = RECENT_MS
) -> dict[str, Any]:
    broker = None
    if kafka is None:
        broker = EmbeddedBroker()
        broker.start()
    try:
        bootstrap = kafka or (broker.bootstrap if broker else "")
        size = asyncio.run(
            _prepare(bootstrap, events, name, embedded=broker is not None, spread_ms=spread_ms)
        )
        settings = environment(
            KAFKA=bootstrap, JOURNEY=str(_journey(name)), GROUP=f"bench-{name}", HTTP="127.0.0.1:0",
            SESSION_TIMEOUT_S="6",
        ) | ONE_BLAS_THREAD  # fmt: skip
        command = [sys.executable, "-m", f"tests.bench.{kind}", str(events), str(PARTITIONS)]
        said = subprocess.run(command, env=settings, check=True, capture_output=True, text=True).stdout
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return found | {"bytes": size}
    finally:
        if broker is not None:
            broker.stop()


def _journey(name: str) -> Path:
    """The shipped journey with a topic of the round's own."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"touchpoint-bench-{name}.yaml"  # noqa: S108
    text = SHIPPED_JOURNEY.read_text().replace(
        f"  {STAGE}:\n", f"  {STAGE}:\n    topic: bench.{name}\n    partitions: {PARTITIONS}\n"
    )
    path.write_text(text)
    return path


async def _prepare(bootstrap: str, events: int, name: str, *, embedded: bool, spread_ms: int) -> int:
    journey = parse(_journey(name).read_text())
    settings = Settings(kafka=bootstrap, group=f"bench-{name}")
    async with topics.connected(settings) as admin:
        await topics.create(admin, topics.source_topics(journey), settings)
    return await publish(
        journey, bootstrap, journey.stage(STAGE).topic, events, idempotent=not embedded, spread_ms=spread_ms
    )


if __name__ == "__main__":
    main()
