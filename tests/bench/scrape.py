"""How long a scrape of 10,000 series holds the event loop: the longest gap between two turns of the loop."""

import asyncio
import gc
import itertools
import statistics
import sys
import time

import uvloop

from monitor.counting.judging import counter_names
from monitor.counting.panes import LONG, PaneKey
from monitor.counting.windows import StageWindows
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.live.snapshot import Snapshot, stage_snapshot
from streams.__main__ import COLLECT_AFTER
from streams.commands.shared import SWITCH_S
from streams.settings import Settings
from streams.web.server import HttpServer, Sources
from streams.worker import rest_collector

SCRAPES = 20

CLIENT = """
import sys, urllib.request
for _ in sys.stdin:
    lines = urllib.request.urlopen(sys.argv[1]).read().splitlines()
    print(sum(not line.startswith(b"#") for line in lines), flush=True)
"""

EXPERIENCES = 14
"""With the four stages, segments and partners below, some 10,000 series."""


def journey() -> Journey:
    """Four stages with enough experiences, segments and partners."""
    experience = "{judges: {}, good: {outcome: [ok]}, target: 0.9}"
    experiences = ", ".join(f"e{i}: {experience}" for i in range(EXPERIENCES))
    stage = f"{{kind: customer, owner: me, partners: [x], experiences: {{{experiences}}}}}"
    stages = ", ".join(f"s{i}: {stage}" for i in range(4))
    return parse(f"version: 1\njourney: big\nsegments: [a, b]\npartners: [x]\nstages: {{{stages}}}\n")


async def main() -> None:
    """Print the series count and the gaps with and without scraping."""
    big = journey()
    now_ms = round(time.time() * 1000)
    windows = {}
    for stage in big.stages:
        names = counter_names(big, stage)
        windows[stage.name] = StageWindows(names)
        for slot in range(2016):
            key = PaneKey(LONG.ms, LONG.start_of(now_ms) - slot * LONG.ms)
            windows[stage.name].add(key, dict.fromkeys(names, slot))

    async def snapshot() -> Snapshot:
        stages = []
        for stage in big.stages:
            stages.append(stage_snapshot(big, stage, windows[stage.name], now_ms))
            await asyncio.sleep(0)
        return Snapshot(journey=big, at_ms=now_ms, ready=True, stages=tuple(stages), version="bench")

    server = HttpServer(Settings(http="127.0.0.1:0"), Sources(snapshot, lambda _: None))
    url = f"http://{await server.start()}/metrics"
    rest_collector()
    ticks: list[tuple[float, float]] = []

    async def tick() -> None:
        while True:
            ticks.append((time.perf_counter(), time.thread_time()))
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())

    # From another process, as Prometheus does; started once, because a fork holds the loop too.
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert client.stdin is not None
    assert client.stdout is not None
    to_client, from_client = client.stdin, client.stdout

    async def fetch() -> int:
        to_client.write(b"\n")
        return int(await from_client.readline())

    await fetch()
    idle: list[tuple[float, float]] = []
    busy: list[tuple[float, float]] = []
    for _ in range(SCRAPES):
        for gaps, work in ((idle, asyncio.sleep(0.2)), (busy, fetch())):
            ticks.clear()
            series = await work
            pairs = list(itertools.pairwise(ticks))
            wall, cpu = (1000 * max(after[i] - before[i] for before, after in pairs) for i in (0, 1))
            gaps.append((wall, cpu))
    print(f"{series:,} series, {SCRAPES} scrapes; longest gap between two turns of the loop")
    for name, gaps in (("idle", idle), ("while scraped", busy)):
        walls, cpus = ([gap[i] for gap in gaps] for i in (0, 1))
        print(f"{name:14} median {statistics.median(walls):5.1f} ms (worst {max(walls):5.1f}), of which "
              f"the loop's own work {statistics.median(cpus):5.1f} ms (worst {max(cpus):5.1f})")  # fmt: skip
    ticking.cancel()
    client.stdin.close()
    await client.wait()
    await server.stop()


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*COLLECT_AFTER)
    sys.exit(uvloop.run(main()))
