"""What one event adds to its panes, counter by counter: the plain meaning that columns are held to."""

from bisect import bisect_left
from collections import Counter

from monitor.counting.event import Event
from monitor.counting.judging import BOUNDS_S, Judge, bucket_names

_BUCKETS = {kind: bucket_names(kind) for kind in ("duration", "wait")}
_BOUNDS_S = [float(bound) for bound in BOUNDS_S]


def counts(judge: Judge, event: Event) -> Counter[str]:
    """Counters of one event; those of 0 are left out."""
    verdict = judge.judge(event)
    found = Counter((*verdict.counters, *verdict.spread))
    for kind, seconds in (("duration", event.duration_s), ("wait", event.wait_s)):
        if seconds is not None:
            found[_BUCKETS[kind][bisect_left(_BOUNDS_S, seconds)]] += 1
            found[f"{kind}_ms"] += round(seconds * 1000)
    if event.wait_s is not None:
        found[f"waits/{event.outcome}"] += 1
        found[f"waits_ms/{event.outcome}"] += round(event.wait_s * 1000)
    if event.duration_s is not None and event.system_wait_s is not None:
        found["tool_of_ms"] += round(event.duration_s * 1000)
        found["tool_ms"] += round(event.system_wait_s * 1000)
    if (answer := judge.answer(event)) is not None:
        found[answer] += 1
    return +found
