"""Real history through everything a user runs: file, replay, Kafka protocol, worker, tables, /metrics."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from monitor.panes import LONG, Counts, merge_into
from streams.embedded import EmbeddedBroker
from streams.partition import PaneRecord, Partition
from tests import history
from tests.polling import until
from tests.programs import WorkerProcess, counted, touchpoint

pytestmark = pytest.mark.full

WEEK_MS = 7 * 86_400_000


@pytest.fixture
def broker() -> Any:
    """An embedded broker of the test's own."""
    broker = EmbeddedBroker()
    broker.start()
    yield broker
    broker.stop()


def _write(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in events))
    return path


def _journey(tmp_path: Path, horizon: str) -> str:
    path = tmp_path / "journey.yaml"
    path.write_text(history.JOURNEY.format(horizon=horizon))
    return str(path)


def _long_panes(bootstrap: str, topic: str) -> Counts:
    """Every 5 min pane in a changelog, added up: what a successor of the worker would recover."""

    async def read() -> dict[int, Partition]:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        partitions: dict[int, Partition] = {}
        try:
            while batches := await consumer.getmany(timeout_ms=3000):
                for tp, records in batches.items():
                    panes = partitions.setdefault(tp.partition, Partition(40 * 86_400_000))
                    for record in records:
                        panes.restore(PaneRecord(record.key, record.value))
        finally:
            await consumer.stop()
        return partitions

    summed: Counts = {}
    for partition in asyncio.run(read()).values():
        for key, counts in partition.panes():
            if key.grain_ms == LONG.ms:
                merge_into(summed, counts)
    return summed


def _total(counts: Counts, prefix: str) -> int:
    return sum(n for name, n in counts.items() if name.startswith(prefix))


def test_january_calls_are_counted_once_and_agree_with_the_file(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """All 31,359 calls of a month, shifted to end now, count once; the 7d window is what the file says."""
    events = history.shifted_to(datetime.now(UTC), list(history.calls()))
    file = _write(tmp_path / "calls.jsonl", events)
    settings = {"KAFKA": broker.bootstrap, "JOURNEY": _journey(tmp_path, "40d")}
    assert touchpoint("topics", **settings).returncode == 0
    with WorkerProcess(**settings) as worker:
        replayed = touchpoint("replay", str(file), **settings)
        assert orjson.loads(replayed.stdout) == {"published": 31_359, "refused": 0}, replayed.stderr
        until(lambda: counted(worker) >= 31_359, "every call counted")
        scrape = worker.scrape()
        now_ms = round(datetime.fromisoformat(worker.json("/api/stages")["at"]).timestamp() * 1000)
        assert worker.end()[0] == 0
    assert (
        scrape.sum("touchpoint_records_total", topic="touchpoint.call-queue.v1", result="counted") == 31_359
    )
    assert scrape.sum("touchpoint_records_total", result="refused") == 0

    panes = _long_panes(broker.bootstrap, "touchpoint-monitor-call_queue-changelog")
    assert (panes["outcome/ok"], panes["outcome/abandoned"]) == (27_060, 4_299)
    good, bad = _total(panes, "good/served_within_20s/"), _total(panes, "bad/served_within_20s/")
    assert good + bad == 27_060
    assert round(100 * good / (good + bad), 1) == 60.6
    assert round(panes["wait_ms"] / 1000) == sum(event["wait_s"] for event in events)

    # The same window from the file: events whose 5 min pane is one of the last 2016 up to the pane of now.
    newest = LONG.start_of(now_ms)
    expected: Counter[tuple[str, str]] = Counter()
    for event in events:
        at_ms = round(datetime.fromisoformat(event["time"]).timestamp() * 1000)
        if newest - WEEK_MS < LONG.start_of(at_ms) <= newest and event["outcome"] == "ok":
            segment = event.get("segment", "other")
            expected[segment, "events"] += 1
            expected[segment, "good"] += event["wait_s"] <= 20
    assert expected.total() > 0
    for (segment, which), n in expected.items():
        measured = scrape.sum(
            f"touchpoint_window_{which}", experience="served_within_20s", segment=segment, window="7d"
        )
        assert measured == n, (segment, which)


def test_olist_orders_keep_the_promises_the_file_says(broker: EmbeddedBroker, tmp_path: Path) -> None:
    """Of 3,965 delivered orders 91.88 % arrived by the estimated date; every checkout is counted."""
    events = history.shifted_to(datetime.now(UTC), list(history.orders()))
    file = _write(tmp_path / "orders.jsonl", events)
    settings = {"KAFKA": broker.bootstrap, "JOURNEY": _journey(tmp_path, "800d")}
    assert touchpoint("topics", **settings).returncode == 0
    with WorkerProcess(**settings) as worker:
        assert touchpoint("replay", str(file), **settings).returncode == 0
        until(lambda: counted(worker) >= len(events), "every order counted")
        assert worker.scrape().sum("touchpoint_records_total", result="counted") == 4_071 + 3_965
        assert worker.end()[0] == 0
    checkouts = _long_panes(broker.bootstrap, "touchpoint-monitor-web_checkout-changelog")
    assert _total(checkouts, "outcome/") == 4_071
    panes = _long_panes(broker.bootstrap, "touchpoint-monitor-delivery-changelog")
    good, bad = _total(panes, "good/delivered_as_promised/"), _total(panes, "bad/delivered_as_promised/")
    assert good + bad == 3_965
    assert round(100 * good / (good + bad), 2) == 91.88
