"""The real data of `shared/data` as touchpoint events, and the journey file that judges them."""

import csv
import gzip
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.kit.programs import ROOT

DATA = Path(os.environ.get("TOUCHPOINT_TEST_DATA", ROOT.parent / "shared" / "data"))

CALLS = DATA / "bank-calls-1999-01.tsv.gz"
ORDERS = DATA / "olist-orders.csv.gz"

JOURNEY = """
version: 1
journey: history
horizon: {horizon}
segments: [high, regular]
partners: [carrier]
stages:
  call_queue:
    kind: customer
    owner: contact-centre
    experiences:
      served_within_20s:
        judges: {{outcome: [ok]}}
        good: {{wait_s: {{at_most: 20}}}}
        target: 0.80
      not_abandoned:
        judges: {{outcome: [ok, abandoned]}}
        good: {{outcome: [ok]}}
        target: 0.90
  web_checkout:
    kind: customer
    owner: web
    experiences:
      order_approved:
        judges: {{outcome: [ok, failed]}}
        good: {{outcome: [ok]}}
        target: 0.98
  delivery:
    kind: partner
    owner: logistics
    partners: [carrier]
    experiences:
      delivered_as_promised:
        judges: {{promise.kind: [delivery_window]}}
        good: {{promise.kept: true}}
        target: 0.92
"""

SEGMENTS = {"2": "high", "1": "regular"}


def calls() -> Iterator[dict[str, Any]]:
    """January 1999 at a bank's call centre; PHANTOM rows are no calls. Ids repeat, so the row is the id."""
    with gzip.open(CALLS, "rt", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines, delimiter="\t")):
            outcome = {"AGENT": "ok", "HANG": "abandoned"}.get(row["outcome"].strip())
            if outcome is None:
                continue
            at = datetime.strptime(f"{row['date']} {row['vru_entry'].strip()} +0200", "%y%m%d %H:%M:%S %z")
            event: dict[str, Any] = {
                "id": f"call-{number}",
                "time": at.isoformat(),
                "stage": "call_queue",
                "outcome": outcome,
                "wait_s": int(row["q_time"]),
                "duration_s": int(row["ser_time"]),
            }
            if row["priority"].strip() in SEGMENTS:
                event["segment"] = SEGMENTS[row["priority"].strip()]
            yield event


def orders() -> Iterator[dict[str, Any]]:
    """Olist orders: a purchase is a checkout, a delivered order a promise, kept by the estimated date."""
    with gzip.open(ORDERS, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            journey_id = row["order_id"]
            yield {
                "id": f"{journey_id}-checkout",
                "time": _utc(row["order_purchase_timestamp"]),
                "stage": "web_checkout",
                "outcome": "ok" if row["order_approved_at"] else "failed",
                "journey_id": journey_id,
            }
            if row["order_status"] != "delivered":
                continue
            due, done = row["order_estimated_delivery_date"], row["order_delivered_customer_date"]
            yield {
                "id": f"{journey_id}-delivery",
                "time": _utc(done or due),  # one order is delivered without a date
                "stage": "delivery",
                "outcome": "ok",
                "journey_id": journey_id,
                "partner": "carrier",
                "promise": {
                    "id": f"{journey_id}-window",
                    "kind": "delivery_window",
                    "due": _utc(due),
                    "kept": bool(done) and done <= due,
                },
            }


def _utc(text: str) -> str:
    return text.replace(" ", "T") + "Z"


def shifted_to(end: datetime, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events in order of time, all moved so that the newest happened at `end`."""
    times = [datetime.fromisoformat(event["time"]) for event in events]
    shift = end - max(times)
    shift -= timedelta(microseconds=shift.microseconds)
    moved = [event | {"time": (at + shift).isoformat()} for event, at in zip(events, times, strict=True)]
    return sorted(moved, key=lambda event: datetime.fromisoformat(event["time"]))
