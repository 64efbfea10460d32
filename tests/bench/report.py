"""What a benchmarked process says, one JSON line for each round, and how it is started and heard."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from streams.__main__ import ONE_BLAS_THREAD
from tests.kit.programs import environment


def peak_mb() -> float:
    """The most resident memory so far; getrusage would carry over the parent's peak."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1024


def resident_mb() -> float:
    """Memory held now."""
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert resident is not None
    return int(resident[1]) / 1024


def say(**found: float) -> None:
    """Print one line."""
    print(json.dumps(found), flush=True)


def child(module: str, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    """A process of the benchmark, with settings such as HTTP="127.0.0.1:0"."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment(**settings) | ONE_BLAS_THREAD,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line a child says."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"exit code {process.wait()}"
    found: dict[str, Any] = json.loads(line)
    return found


def tell(events: int, seconds: float, **more: float) -> None:
    """Print events per second and peak resident memory (MB), and whatever else was measured."""
    say(events_per_s=events / seconds, seconds=seconds, peak_mb=peak_mb(), **more)
