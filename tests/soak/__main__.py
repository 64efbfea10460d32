"""`make soak MINUTES=30`: faults under load on brokers of its own; a table, and 0 when all is exact."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from deploy.alerting import Alerting
from deploy.kafka.kafka import KafkaNode
from streams.settings import SHIPPED_JOURNEY
from tests.kit.brokers import TansuNode, running
from tests.kit.polling import until
from tests.kit.programs import touchpoint
from tests.soak import account, events, poison, watch
from tests.soak.faults import APACHE, CLUSTER, EMBEDDED, Faults
from tests.soak.fleet import Fleet, LoadProcess, SoakError
from tests.soak.kafka_cluster import NODES, KafkaCluster
from tests.soak.machine import Network
from tests.soak.rounds import KILL, WORKERS, Brokers

FAULTS = {"cluster": CLUSTER, "apache": APACHE, "embedded": EMBEDDED}
"""By what they happen to: three nodes of Apache Kafka, one, or the embedded broker."""

EVENTS_PER_S = {"cluster": 2_000, "apache": 12_000, "embedded": 12_000}
"""What two cores can do beside brokers and faults: three brokers and a Prometheus leave the workers one."""

PARTITIONS = 4

INTERRUPTED = 130
"""What a shell makes of Ctrl-C."""

KILLS_PER_MINUTE, LOADED = 50 / 30, 0.9
"""What is promised at least: kills, and the share of the time under full load. The rest is comparing."""

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
    parser.add_argument("--broker", choices=FAULTS, default="cluster")
    parser.add_argument("--events-per-s", type=float, help=f"by broker: {EVENTS_PER_S}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    arguments = parser.parse_args()
    arguments.events_per_s = arguments.events_per_s or EVENTS_PER_S[arguments.broker]
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

    report = directory / "report.json"
    with ExitStack() as stack:
        brokers = _brokers(arguments.broker, directory, stack)
        kafka = stack.enter_context(running(brokers.node)).bootstrap
        settings = {
            "KAFKA": kafka,
            "GROUP": account.GROUP,
            "REPLICATION_FACTOR": str(len(brokers.nodes) or 1),
        }
        created = touchpoint("topics", TOPIC_PARTITIONS=str(PARTITIONS), **settings)
        if created.returncode:
            raise SoakError(created.stderr)
        fleet = stack.enter_context(Fleet(directory, say, **settings))
        seen = Seen(fleet, stack, directory, kafka) if brokers.nodes and not arguments.once else None
        load = stack.enter_context(_load(arguments, kafka, directory))
        faults = Faults(brokers, fleet, load, directory, say, arguments.seed, short=arguments.once)
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
        end_known = arguments.broker != "embedded"
        verdict = account.judge(kafka, expected, published, faults.letters_before, end_known=end_known)
        blind_well = seen is None or seen.told()
    return max(_print(arguments, faults, fleet, verdict), not blind_well)


def _brokers(kind: str, directory: Path, stack: ExitStack) -> Brokers:
    if kind == "embedded":
        return Brokers(TansuNode())
    if kind == "apache":
        return Brokers(KafkaNode(directory / "kafka", config=BROKER_CONFIG))
    network = stack.enter_context(Network(NODES))
    cluster = KafkaCluster(directory / "kafka", BROKER_CONFIG, network.places)
    return Brokers(cluster, cluster.nodes, network)


class Seen:
    """Prometheus with the shipped rules beside the workers, and what Kafka says meanwhile."""

    def __init__(self, fleet: Fleet, stack: ExitStack, directory: Path, kafka: str) -> None:
        nobody = "http://127.0.0.1:9"
        beside = Alerting(directory / "alerting", SHIPPED_JOURNEY, fleet.addresses, nobody)
        self._prometheus = stack.enter_context(beside).prometheus
        self._watch = stack.enter_context(watch.Watch(kafka))
        self._since_s = time.time()

    def told(self) -> bool:
        """Print the moments at which stages were not counted; whether there were some, and all are named."""
        asked = self._prometheus, self._since_s, time.time()
        late = watch.uncounted(self._watch.late, watch.positions(*asked))
        unnamed = watch.unnamed(late, watch.named(*asked))
        print(
            f"\nKafka asked {self._watch.asked:,} times: stages {watch.LATE_S:.0f} s behind or more at "
            f"{len(late):,} moments in {watch.intervals(late)} intervals   "
            f"not named by MonitorBlind {len(unnamed):,}"
        )
        for at_s, stage in unnamed[:10]:
            print(f"{stage} was behind {at_s - self._since_s:.0f} s after the start, and nothing said so")
        return bool(late) and not unnamed


def _load(arguments: argparse.Namespace, kafka: str, directory: Path) -> LoadProcess:
    return LoadProcess(
        directory / "load.log",
        *("--kafka", kafka),
        *("--events-per-s", str(arguments.events_per_s)),
        *("--partitions", str(PARTITIONS)),
        *("--seed", str(arguments.seed)),
        "--no-idempotent" if arguments.broker == "embedded" else "--idempotent",
    )


def _print(arguments: argparse.Namespace, faults: Faults, fleet: Fleet, verdict: account.Verdict) -> int:
    for example in verdict.examples:
        print(example)
    print(f"\n{'fault':34} {'injected':>8} {'rounds':>7} {'survived':>8} {'worst recovery':>15}")
    for name, tally in faults.tallies.items():
        print(f"{name:34} {tally.injected:8} {tally.rounds:7} {tally.survived:8} {tally.worst_s:13.1f} s")
    places = f"{len(events.journey(events.BASE).stages)} stages, {PARTITIONS} partitions each at first"
    missing = [kind for kind in poison.ALL if not verdict.poison[kind]]
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
    print("poison: " + ", ".join(f"{kind} {verdict.poison[kind]}" for kind in poison.ALL))
    too_few = [] if arguments.once else _too_few(arguments, faults.tallies[KILL].injected, verdict)
    for line in too_few:
        print(line)
    is_well = verdict.is_exact and survived and not too_few and not missing
    return 0 if is_well and fleet.peak_bytes <= MOST_BYTES else 1


def _too_few(arguments: argparse.Namespace, kills: int, verdict: account.Verdict) -> list[str]:
    """What the run promises and did not do."""
    minutes = arguments.minutes
    wanted = {
        "kills": (kills, KILLS_PER_MINUTE * minutes),
        "events": (verdict.published, LOADED * 60 * arguments.events_per_s * minutes),
    }
    return [
        f"TOO FEW {name}: {n:,} of {least:,.0f} in {minutes:g} minutes"
        for name, (n, least) in wanted.items()
        if n < round(least)
    ]


if __name__ == "__main__":
    sys.exit(main())
