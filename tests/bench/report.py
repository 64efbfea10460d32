"""What a benchmarked process says when it is done: one JSON line."""

import json
import resource
import sys


def tell(events: int, seconds: float) -> None:
    """Print events per second and peak resident memory (MB)."""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"events_per_s": events / seconds, "seconds": seconds, "peak_mb": peak_mb}))
    sys.stdout.flush()
