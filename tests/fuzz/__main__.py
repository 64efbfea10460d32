"""`make fuzz`: feeds a worker INPUTS records, then prints the figures; exits 1 at the first that breaks it.

What libFuzzer found worth keeping stays in .cache/fuzz/corpus, where the next run starts from; a record
that breaks a promise stays as .cache/fuzz/crash-*, and is tried again by giving its path.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from monitor.counting.event import Event
from streams.__main__ import ONE_BLAS_THREAD
from tests.fuzz.fold import fold
from tests.fuzz.holds import holds, readers
from tests.fuzz.record import read, seeds
from tests.kit.programs import ROOT

CACHE = ROOT / ".cache/fuzz"

COVERED = re.compile(r"\bcov: ([0-9]+)")

KEPT = re.compile(r"^#[0-9]+\s+(NEW|REDUCE) ")
"""libFuzzer's line for each record it keeps: some thousands."""


def main() -> None:
    """Fuzz, or try the given files once."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0, help="0 is another one each time")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("files", type=Path, nargs="*", help="records to try instead of fuzzing")
    arguments = parser.parse_args()
    if arguments.files:
        _try(arguments.files)
        return
    corpus = arguments.cache / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    command = [
        *(sys.executable, "-m", "tests.fuzz.target", str(arguments.inputs), f"-seed={arguments.seed}"),
        *(f"-artifact_prefix={arguments.cache}/", "-timeout=1800", "-rss_limit_mb=2048", str(corpus)),
    ]
    sys.exit(_watch(command, arguments.inputs))


def _watch(command: list[str], inputs: int) -> int:
    figures: dict[str, Any] = {}
    covered = 0
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **streams, env=os.environ | ONE_BLAS_THREAD) as fuzzer:
        assert fuzzer.stdout is not None
        for line in fuzzer.stdout:
            if line.startswith("{"):
                figures = json.loads(line)
                if figures["inputs"] < inputs:
                    _print(figures, covered)
                continue
            found = COVERED.search(line)
            covered = int(found[1]) if found else covered
            if "DONE" in line and figures:
                _print(figures, covered)
            elif not KEPT.search(line):
                print(line, end="", flush=True)
    return 1 if fuzzer.returncode else 0


def _print(figures: dict[str, Any], covered: int) -> None:
    counts = dict(figures["counts"])
    inputs, accepted = figures["inputs"], counts.pop("accepted", 0)
    print(
        f"\n{inputs:,} inputs in {figures['seconds']:,.0f} s, {inputs / figures['seconds']:,.0f} per second"
    )
    print(f"{accepted:12,} accepted, by stage ({figures['counted']:,} counted by a worker):")
    for stage, count in sorted(figures["stages"].items(), key=lambda item: -item[1]):
        print(f"{count:12,}   {stage}")
    print(f"{sum(counts.values()):12,} refused, by reason:")
    for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:12,}   {reason}")
    # What is left uncovered are constructors and the counters' names: made once, before the first input.
    code = max(0, covered - figures["sights"])
    print(f"edges: {code} of {figures['edges']} in monitor.event and monitor.judging; "
          f"{figures['sights']} different refusals, fields and counters", flush=True)  # fmt: skip


def _try(files: list[Path]) -> None:
    for file in files:
        record = file.read_bytes()
        result, stage, _ = holds(record, readers())
        fold([(stage, *read(record))])
        print(f"{file}: accepted by {stage}" if isinstance(result, Event) else f"{file}: {result}")


if __name__ == "__main__":
    main()
