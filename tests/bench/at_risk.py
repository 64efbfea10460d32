"""Which real orders will be late, said three days before by the product's own counting, forward in time.

`python -m tests.bench.at_risk ORDERS.csv.gz`. The promise is the promised date at midnight; late is what is
delivered after it. Its group is the delivery, then the state it goes to: the file names no carrier. At each
look only deadlines that have passed are known. *Three days before* is exactly that, of every order that was
bought by then and is not yet delivered; recall is of the late ones among them. Orders without a delivery
are left out: when they were cancelled is not told, and they are over-represented.

The threshold is the product's. Three days before, all that are open are at risk: two of three will be late.
How far a higher threshold would cut that down is the curve.
"""

import argparse
import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from monitor.journeys.risk import AT_RISK, DAY, Look, Risk, looks_ms

THREE_DAYS_MS = 3 * DAY


class Order(NamedTuple):
    """When it was bought, was promised for, and came; where to."""

    bought_ms: int
    due_ms: int
    came_ms: int
    state: str

    @property
    def is_late(self) -> bool:
        return self.came_ms > self.due_ms

    def looks(self) -> Iterator[tuple[int, Look]]:
        """The moments at which it is open, and what is looked at."""
        for mark_ms, at_ms in looks_ms(self.bought_ms, self.due_ms):
            if self.came_ms > at_ms:
                yield at_ms, Look(mark_ms, ("delivery", self.state))


class Said(NamedTuple):
    """What was said of an open promise with so much time left, and what came."""

    mark_ms: int
    probability: float
    is_late: bool


def read(path: Path) -> list[Order]:
    """The orders that were delivered."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [
            Order(_ms(row["purchased"]), _ms(row["promised"]), _ms(row["delivered"]), row["customer_state"])
            for row in csv.DictReader(file)
            if row["status"] == "delivered" and row["promised"] and row["delivered"]
        ]


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def forward(orders: Sequence[Order]) -> list[Said]:
    """Every look in the order of time. What falls due at the moment of a look is not known to it yet."""
    moments: list[tuple[int, bool, int, Look | None]] = []
    for number, order in enumerate(orders):
        moments += [(at_ms, False, number, look) for at_ms, look in order.looks()]
        moments.append((order.due_ms, True, number, None))
    risk, said = Risk(), []
    for _, _, number, look in sorted(moments, key=lambda moment: moment[:3]):
        order = orders[number]
        if look is None:
            risk.learn([one for _, one in order.looks()], is_late=order.is_late)
        else:
            said.append(Said(look.mark_ms, risk.probability(look), order.is_late))
    return said


def curve(said: Sequence[Said]) -> Iterator[tuple[float, float, float]]:
    """Threshold, precision and recall, for every 5 points of threshold at which something is at risk."""
    late = sum(one.is_late for one in said)
    for threshold in (percent / 100 for percent in range(0, 100, 5)):
        flagged = [one.is_late for one in said if one.probability >= threshold]
        if flagged:
            yield threshold, sum(flagged) / len(flagged), sum(flagged) / late


def calibration(said: Sequence[Said]) -> list[dict[str, float]]:
    """What came of all looks of which 0 to 10 %, 10 to 20 % ... was said."""
    tenths: defaultdict[int, list[Said]] = defaultdict(list)
    for one in said:
        tenths[int(one.probability * 10)].append(one)
    return [
        {
            "said": round(sum(one.probability for one in some) / len(some), 3),
            "came": round(sum(one.is_late for one in some) / len(some), 3),
            "n": len(some),
        }
        for _, some in sorted(tenths.items())
    ]


def measure(path: Path) -> dict[str, Any]:
    """Precision and recall three days before, at the product's threshold; the calibration of all looks."""
    said = forward(read(path))
    then = [one for one in said if one.mark_ms == THREE_DAYS_MS]
    at = {threshold: (precision, recall) for threshold, precision, recall in curve(then)}
    precision, recall = at.get(AT_RISK, (0.0, 0.0))
    return {
        "precision": round(precision, 3),
        "recall": round(recall, 3),
        "open": len(then),
        "late": sum(one.is_late for one in then),
        "curve": [[threshold, *(round(one, 3) for one in both)] for threshold, both in at.items()],
        "calibration": calibration(said),
    }


def main() -> None:
    """Print curve and calibration, and as the last line all as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.at_risk", description=__doc__)
    parser.add_argument("orders", type=Path)
    found = measure(parser.parse_args().orders)
    print(f"three days before: {found['open']} promises open, {found['late']} of them late")
    for threshold, precision, recall in found["curve"]:
        print(f"at risk from {threshold:4.0%}: precision {precision:.3f}, recall {recall:.3f}")
    for one in found["calibration"]:
        print(f"said {one['said']:6.1%}, came {one['came']:6.1%} of {one['n']}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
