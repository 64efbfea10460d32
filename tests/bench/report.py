"""What a benchmarked process says when it is done: one JSON line."""

import json
import re
import sys
from pathlib import Path


def tell(events: int, seconds: float) -> None:
    """Print events per second and peak resident memory (MB)."""
    status = Path("/proc/self/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)  # getrusage would carry over the parent's peak
    peak_mb = int(peak[1]) / 1024 if peak else None
    print(json.dumps({"events_per_s": events / seconds, "seconds": seconds, "peak_mb": peak_mb}))
    sys.stdout.flush()
