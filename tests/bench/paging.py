"""From a fault to the webhook: seconds until a page comes, through broker, worker, Prometheus, Alertmanager.

Scrape and evaluation every 5 s, 20 events a second and stage, three stages that do not explain each other.
"""

import tempfile
import time
from pathlib import Path

from streams.settings import SHIPPED_JOURNEY
from tests.kit.pager import Rig, rig
from tests.kit.shipped import SHIPPED as JOURNEY

PROMISED_S = {"outage": 30, "20 % failures, target 98 %": 180, "silence": 90}


def main() -> None:
    """One fault of each kind, one after another, in one run."""
    with tempfile.TemporaryDirectory() as directory, rig(Path(directory), JOURNEY, SHIPPED_JOURNEY) as parts:
        taken_s = {
            "outage": _outage(parts),
            "20 % failures, target 98 %": _failures(parts),
            "silence": _silence(parts),
        }
        lines = [line for _, line in parts.pager.lines if line.startswith("PAGE firing")]
    for fault, seconds in taken_s.items():
        print(f"{fault:28} {seconds:6.1f} s to the webhook, promised {PROMISED_S[fault]} s")
    print(f"{len(lines)} pages for {len(taken_s)} faults")
    for line in lines:
        print("   ", line)


def _outage(parts: Rig) -> float:
    parts.traffic.bad_every["store"] = 1
    return _until(parts, "PAGE firing StageDegraded: Store")


def _failures(parts: Rig) -> float:
    parts.traffic.bad_every["warehouse"] = 5
    return _until(parts, "PAGE firing StageDegraded: Warehouse")


def _silence(parts: Rig) -> float:
    parts.traffic.silent.add("call_queue")
    return _until(parts, "PAGE firing StageSilent: Call queue")


def _until(parts: Rig, start: str) -> float:
    began = time.monotonic()
    return parts.page(start, 600)[0] - began


if __name__ == "__main__":
    main()
