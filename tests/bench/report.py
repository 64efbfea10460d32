"""What a benchmarked process says when it is done: one JSON line."""

import json
import re
import sys
from pathlib import Path


def peak_mb() -> float:
    """The most resident memory so far; getrusage would carry over the parent's peak."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1024


def tell(events: int, seconds: float, **more: float) -> None:
    """Print events per second and peak resident memory (MB), and whatever else was measured."""
    found = {"events_per_s": events / seconds, "seconds": seconds, "peak_mb": peak_mb()}
    print(json.dumps(found | more))
    sys.stdout.flush()
