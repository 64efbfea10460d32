"""How often the product's own code names the right cause of a real incident, and how long that takes.

`python -m tests.bench.where CASES.csv.gz CAUSES.json`. A cause is right if it has exactly the values of a
true one. True values of attributes that the cases do not have at all are left out: nobody could name them.
What is tuned (`monitor/causes`) is tuned on every second case, those with even numbers. The trouble is two
minutes from when it was noticed.
"""

import argparse
import csv
import gzip
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor.causes.counts import Counts, Where
from monitor.causes.search import causes

LAST_MINUTE = 1
NOT_ATTRIBUTES = ("case", "minute", "bad", "total")


@dataclass(slots=True)
class Judged:
    """How the causes of some cases were named."""

    cases: int = 0
    true: int = 0
    first: int = 0
    among_three: int = 0
    seconds: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, float]:
        """F1 of naming one cause a case; the share of cases with a right one among three; the mean time."""
        return {
            "f1": round(2 * self.first / (self.cases + self.true), 3),
            "top3": round(self.among_three / self.cases, 3),
            "ms_per_case": round(1000 * sum(self.seconds) / self.cases, 2),
        }


def read(path: Path) -> dict[str, Counts]:
    """The counts of each case."""
    rows: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if int(row["minute"]) <= LAST_MINUTE:
                rows[row["case"]].append(row)
    return {
        case: Counts(
            {name: [row[name] for row in held] for name in held[0] if name not in NOT_ATTRIBUTES},
            *([int(row[name]) for row in held] for name in ("minute", "bad", "total")),
        )
        for case, held in rows.items()
    }


def judge(cases: dict[str, Counts], true: dict[str, list[Where]]) -> Judged:
    """Name the causes of these cases."""
    judged = Judged(cases=len(cases), true=sum(len(true[case]) for case in cases))
    for case, counts in cases.items():
        began = time.perf_counter()
        named = [cause.part.where for cause in causes(counts).causes]
        judged.seconds.append(time.perf_counter() - began)
        there = {name for name, values in counts.attributes.items() if any(values)}
        right = [{name: value for name, value in one.items() if name in there} for one in true[case]]
        judged.first += any(one in right for one in named[:1])
        judged.among_three += any(one in right for one in named)
    return judged


def measure(cases_path: Path, causes_path: Path) -> dict[str, Any]:
    """All cases, and each half."""
    cases = read(cases_path)
    true = {one["case"]: one["causes"] for one in json.loads(causes_path.read_text(encoding="utf-8"))}
    halves = {"tuned on (even)": list(cases)[1::2], "stated on (odd)": list(cases)[::2]}
    named = {"all": cases} | {half: {case: cases[case] for case in of} for half, of in halves.items()}
    return {name: judge(some, true).as_json() for name, some in named.items() if some}


def main() -> None:
    """Print the numbers of each half, and as the last line those of all cases as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.where", description=__doc__)
    parser.add_argument("cases", type=Path)
    parser.add_argument("causes", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.cases, arguments.causes)
    for name, numbers in found.items():
        print(f"{name:16} " + "  ".join(f"{what} {number}" for what, number in numbers.items()))
    print(json.dumps(found["all"]))


if __name__ == "__main__":
    main()
