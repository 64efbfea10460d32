"""Two workers that are killed while events come; what they say together, as rows of the oracle."""

import asyncio
import re
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zlib import crc32

import orjson
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, touchpoint
from tests.oracle.oracle import Event, Rows

JOURNEY = Path(__file__).parent / "journey.yaml"
PARTITIONS = 2
TABLE = Path(__file__).parents[2] / "deploy/README.md"


def labels_of() -> dict[str, list[str]]:
    """The labels of each metric, in the order of the table of metrics."""
    rows = re.findall(r"^\| `(touchpoint_\w+)` \| ([\w, ]*) \|", TABLE.read_text(), re.MULTILINE)
    return {name: [label for label in labels.split(", ") if label != "window"] for name, labels in rows}


class Fleet:
    """Workers of one group on one broker."""

    def __init__(self, kafka: str, directory: Path) -> None:
        self._settings = {
            "KAFKA": kafka,
            "JOURNEY": str(JOURNEY),
            "TOPIC_PARTITIONS": str(PARTITIONS),
        }
        self._kafka = kafka
        self._directory = directory
        self._started = 0
        self.workers: list[WorkerProcess] = []
        made = touchpoint("topics", **self._settings)
        assert made.returncode == 0, made.stderr

    def start(self) -> None:
        """One more worker."""
        self._started += 1
        state = str(self._directory / f"state-{self._started}")
        self.workers.append(WorkerProcess(**self._settings, STATE_DIR=state).__enter__())

    def kill(self) -> None:
        """The oldest worker, with -9; another one begins."""
        self.workers.pop(0).end(signal.SIGKILL)
        self.start()

    def stop(self) -> None:
        """All of them."""
        for worker in self.workers:
            worker.__exit__(None, None, None)

    def publish(self, events: Sequence[Event]) -> None:
        """In this order; each service keys by id, so that an event sent again finds its partition."""
        asyncio.run(self._publish(events))

    async def _publish(self, events: Sequence[Event]) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self._kafka, acks="all") as producer:
            for event in events:
                partition = event.get("attributes", {}).get("partition")
                if partition is None:
                    partition = crc32(event["id"].encode()) % PARTITIONS
                topic = f"touchpoint.{event['stage'].replace('_', '-')}.v1"
                await producer.send(topic, orjson.dumps(event), event["id"].encode(), partition)

    def rows(self) -> Rows:
        """What all workers say of seven days, added up."""
        rows: Rows = Counter()
        order = labels_of()
        for worker in self.workers:
            for family in text_string_to_metric_families(worker.get("/metrics").decode()):
                for name, labels, value, *_ in family.samples:
                    if value and (labels.get("window") == "7d" or name == "touchpoint_open_journeys"):
                        row = tuple(
                            labels[label]
                            for label in order[re.sub("_g?(count|sum)$|_bucket$", "", name)]
                            if label
                        )
                        rows[name.removeprefix("touchpoint_"), *row] += value  # type: ignore[assignment]
        return rows


@contextmanager
def fleet(kafka: str, directory: Path) -> Iterator[Fleet]:
    """Two ready workers; whoever is left is stopped at the end."""
    group = Fleet(kafka, directory)
    try:
        group.start()
        group.start()
        yield group
    finally:
        group.stop()


def ledger(time: datetime, tag: str) -> list[Event]:
    """One event for each partition of the ledger. While the last one is old, the time of journeys stands."""
    return [
        {
            "id": f"{tag}-{partition}",
            "time": time.isoformat(),
            "stage": "ledger",
            "outcome": "ok",
            "attributes": {"partition": partition},
        }
        for partition in range(PARTITIONS)
    ]


def present(stages: Iterable[str]) -> list[Event]:
    """One event of the present for each partition of each stage: all before it has been read."""
    now = datetime.now(UTC)
    return [
        {**event, "id": f"now-{stage}-{event['id']}", "stage": stage, "outcome": "ok"}
        for stage in stages
        for event in ledger(now, "present")
    ]


def old() -> list[Event]:
    """Older than every journey."""
    return ledger(datetime.now(UTC) - timedelta(days=7, hours=20), f"old-{datetime.now(UTC).timestamp()}")


def settled(group: Fleet, expected: Rows, deadline_s: float) -> dict[tuple[str, ...], tuple[float, float]]:
    """The rows that differ when nothing differs any more, or when the deadline comes: said and expected."""
    found: dict[tuple[str, ...], tuple[float, float]] = {}

    def agrees() -> bool:
        try:
            said = group.rows()
        except OSError:  # a worker that is busy, or not yet there
            return False
        metrics = {row[0] for row in expected}
        found.clear()
        for row in said.keys() | expected.keys():
            if row[0] in metrics and abs(said[row] - expected[row]) > 1e-6:
                found[row] = (said[row], expected[row])
        return not found

    try:
        until(agrees, "the oracle's count", deadline_s)
    except AssertionError:
        return found
    return {}
