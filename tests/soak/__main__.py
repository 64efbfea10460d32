"""`make soak MINUTES=30`: faults under load on a broker of its own; a table, and 0 when all is exact."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from deploy.kafka.kafka import KafkaNode
from tests.kit.brokers import Node, TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import touchpoint
from tests.soak import account, events
from tests.soak.faults import (
    BROKER_KILL,
    BROKER_STOP,
    CHANGELOG,
    CLOCK,
    DISK,
    JOURNEY,
    KILL,
    SCALE,
    SLEEP,
    SLOW,
    STOP,
    WORKERS,
    Faults,
)
from tests.soak.fleet import Fleet, LoadProcess, SoakError

FAULTS = {
    "apache": (
        *(KILL, STOP, SCALE, SLEEP, BROKER_STOP, BROKER_KILL),
        *(CHANGELOG, SLOW, DISK, CLOCK, JOURNEY),
    ),
    "embedded": (KILL, STOP, SLEEP),
}

PARTITIONS = 4

INTERRUPTED = 130
"""What a shell makes of Ctrl-C."""

KILLS, EVENTS = 50, 20_000_000
"""What half an hour promises at least, a shorter or longer run its share."""

MOST_BYTES = 500_000_000
"""What a worker may need at most: some 110 MB, and 8 batches of 4,000 records waiting for each of 7 stages,
at about 1 KB as Python holds them. Measured while one worker caught up alone: 306 MB."""

BROKER_CONFIG = {
    "log.segment.bytes": str(4 * 1024 * 1024),
    "log.cleaner.min.cleanable.ratio": "0.05",
    "log.cleaner.backoff.ms": "2000",
    "log.retention.ms": "-1",
}
"""Small segments, so that changelogs are compacted while the soak runs: a record that should have won must
not be what compaction removes."""


def main() -> int:
    """Run the soak; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--once", action="store_true", help="each fault once and quickly, whatever --minutes")
    parser.add_argument("--broker", choices=FAULTS, default="apache")
    parser.add_argument("--events-per-s", type=float, default=12_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # started in the background, Ctrl-C is ignored otherwise
        signal.signal(number, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="touchpoint-soak-"))
    code = 1
    try:
        code = _soak(arguments, directory)
    except (SoakError, AssertionError) as error:
        print(f"the soak itself failed: {error}")
    except KeyboardInterrupt:
        code = INTERRUPTED
        print("the soak was interrupted")
    if code == 0:
        shutil.rmtree(directory)
    else:
        print(f"logs are in {directory}")
    return code


def _soak(arguments: argparse.Namespace, directory: Path) -> int:
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", flush=True)

    is_apache = arguments.broker == "apache"
    node: Node = KafkaNode(directory / "kafka", config=BROKER_CONFIG) if is_apache else TansuNode()
    report = directory / "report.json"
    with ExitStack() as stack:
        stack.enter_context(running(node))
        settings = {"KAFKA": node.bootstrap, "GROUP": account.GROUP}
        created = touchpoint("topics", TOPIC_PARTITIONS=str(PARTITIONS), **settings)
        if created.returncode:
            raise SoakError(created.stderr)
        fleet = stack.enter_context(Fleet(directory, say, **settings))
        load = stack.enter_context(_load(arguments, node, directory))
        faults = Faults(node, fleet, load, directory, say, arguments.seed, short=arguments.once)
        for _ in range(WORKERS):
            fleet.start()
        until(fleet.are_ready, "workers ready")
        say(f"{arguments.broker}, seed {arguments.seed}, {arguments.events_per_s:,.0f} events/s, ready")
        faults.run(FAULTS[arguments.broker], arguments.minutes * 60)
        say("the load ends")
        faults.finish(report)
        published = account.read_report(report)
        expected = faults.expected.panes(published)
        say("reading changelogs and dead letters")
        verdict = account.judge(node.bootstrap, expected, published, end_known=is_apache)
    return _print(arguments, faults, fleet, verdict)


def _load(arguments: argparse.Namespace, node: Node, directory: Path) -> LoadProcess:
    return LoadProcess(
        directory / "load.log",
        *("--kafka", node.bootstrap),
        *("--events-per-s", str(arguments.events_per_s)),
        *("--partitions", str(PARTITIONS)),
        *("--seed", str(arguments.seed)),
        "--idempotent" if arguments.broker == "apache" else "--no-idempotent",
    )


def _print(arguments: argparse.Namespace, faults: Faults, fleet: Fleet, verdict: account.Verdict) -> int:
    for example in verdict.examples:
        print(example)
    print(f"\n{'fault':34} {'injected':>8} {'rounds':>7} {'survived':>8} {'worst recovery':>15}")
    for name, tally in faults.tallies.items():
        print(f"{name:34} {tally.injected:8} {tally.rounds:7} {tally.survived:8} {tally.worst_s:13.1f} s")
    places = f"{len(events.journey(events.BASE).stages)} stages x {PARTITIONS} partitions"
    survived = all(0 < tally.rounds == tally.survived for tally in faults.tallies.values())
    print(
        f"\nevents published {verdict.published:,}   counted {verdict.counted:,}   "
        f"lost {verdict.lost:,}   double {verdict.double:,}\n"
        f"counters compared {verdict.counters:,} ({places}, by pane)   differing {verdict.differing:,}\n"
        f"bad records published {verdict.bad:,}   dead letters {verdict.letters:,}   "
        f"lost {verdict.letters_lost:,}   unknown {verdict.letters_extra:,}   "
        f"written again {verdict.rewritten_letters:,}\n"
        f"workers restarted after ending by themselves {fleet.restarts}   "
        f"most memory of a worker {fleet.peak_bytes / 1e6:,.0f} MB of {MOST_BYTES / 1e6:,.0f} MB"
    )
    too_few = [] if arguments.once else _too_few(arguments.minutes, faults.tallies[KILL].injected, verdict)
    for line in too_few:
        print(line)
    return 0 if verdict.is_exact and survived and not too_few and fleet.peak_bytes <= MOST_BYTES else 1


def _too_few(minutes: float, kills: int, verdict: account.Verdict) -> list[str]:
    """What a run of so many minutes promises and did not do."""
    reached = {"kills": (kills, KILLS), "events": (verdict.published, EVENTS)}
    return [
        f"TOO FEW {name}: {n:,} of {round(wanted * minutes / 30):,} in {minutes:g} minutes"
        for name, (n, wanted) in reached.items()
        if n < round(wanted * minutes / 30)
    ]


if __name__ == "__main__":
    sys.exit(main())
