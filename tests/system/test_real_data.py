"""Real history through everything a user runs: file, replay, Kafka protocol, worker, tables, /metrics."""

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from monitor.counting.event import Codec, Event
from monitor.counting.judging import Judge
from monitor.counting.panes import LONG, Counts, merge_into
from monitor.journey_file.grammar import parse
from monitor.journey_file.model import Journey
from monitor.journeys.counters import CRITICAL_CELLS
from monitor.journeys.open import JourneyRules, OpenJourney
from monitor.journeys.step import step_of
from monitor.rules.critical import Touchpoint
from streams.demo.broker import EmbeddedBroker
from streams.state.partition import PaneRecord, Partition
from tests.kit import history
from tests.kit.polling import until
from tests.kit.programs import WorkerProcess, counted, touchpoint
from tests.system.test_worker import read_topic

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

    partitions: dict[int, Partition] = {}
    for record in read_topic(bootstrap, topic):
        panes = partitions.setdefault(record.partition, Partition(40 * 86_400_000))
        panes.restore(PaneRecord(record.key, record.value))
    summed: Counts = {}
    for partition in partitions.values():
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


WHOLE = """
  feedback:
    kind: feedback
    owner: customer-insight
    experiences:
      content: {judges: {score.kind: [csat]}, good: {score.value: {at_least: 3}}, target: 0.90}
journeys:
  owner: customer-insight
  starts: {stage: [web_checkout]}
  goal: {stage: [delivery], outcome: [ok]}
  target: 0.90
  limit: 365d
"""
"""No step ends a journey: some are asked on the promised day, and answer before the late delivery comes."""


def _with_reviews() -> Iterator[dict[str, Any]]:
    """Orders, and what their buyers answered: a review of 1 to 5 is a csat as it stands."""
    yield from history.orders()
    for row in _orders():
        if row["review_score"]:
            yield {
                "id": f"{row['order_id']}-review",
                "time": row["review_answer_timestamp"].replace(" ", "T") + "Z",
                "stage": "feedback",
                "outcome": "ok",
                "journey_id": row["order_id"],
                "score": {"kind": "csat", "value": float(row["review_score"])},
            }


def _orders() -> list[dict[str, str]]:
    with gzip.open(history.ORDERS, "rt", newline="") as lines:
        return list(csv.DictReader(lines))


def _critical_cells(journey: Journey, events: Iterable[dict[str, Any]], stage: str) -> Touchpoint:
    """What the product's rules count at a stage once every journey is over."""
    codecs = {one.name: (Codec(journey, one), Judge(journey, one)) for one in journey.stages}
    rules, found = JourneyRules(journey), Counter[str]()
    held: dict[str, OpenJourney] = defaultdict(OpenJourney)
    for offset, fields in enumerate(events):
        codec, judge = codecs[fields["stage"]]
        event = codec.decode(orjson.dumps(fields))
        assert isinstance(event, Event), event
        rules.take(held[fields["journey_id"]], step_of(event, event.at_ms, 0, offset, judge.judge(event)))
    for one in held.values():
        for effect in rules.pass_time(one, one.end_ms):
            found.update(effect.counters)
        assert one.closed_ms is not None
    return Touchpoint(*(found[f"critical/{stage}/{cell}"] for cell in CRITICAL_CELLS))


def test_late_olist_deliveries_weigh_on_reviews_as_the_file_says() -> None:
    """The 2x2 of late and unhappy (1 or 2 of 5) is that of the file, and so are the figures made of it.

    Only 17 of the 242 reviewed deliveries were late, too few for the product to say anything of them.
    """
    journey = parse(history.JOURNEY.format(horizon="8d") + WHOLE)
    found = _critical_cells(journey, _with_reviews(), "delivery")

    a = b = c = d = 0
    for row in _orders():
        if row["order_status"] == "delivered" and row["review_score"]:
            is_late = row["order_delivered_customer_date"] > row["order_estimated_delivery_date"]
            is_unhappy = int(row["review_score"]) <= 2
            a, b = a + (is_late and is_unhappy), b + (is_late and not is_unhappy)
            c, d = c + (not is_late and is_unhappy), d + (not is_late and not is_unhappy)
    assert found == (a, b, c, d) == (4, 13, 14, 211)
    n = a + b + c + d
    assert found.lift == pytest.approx((a / (a + b)) / ((a + c) / n))
    assert found.lift == pytest.approx(3.16, abs=0.005)
    assert found.share == pytest.approx(1 - (c / (c + d)) / ((a + c) / n))
    assert found.phi == pytest.approx(
        np.corrcoef([1] * 17 + [0] * 225, [1] * a + [0] * b + [1] * c + [0] * d)[0, 1]
    )
    assert not found.is_enough
