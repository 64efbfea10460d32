"""A window of counts to a verdict: too few to tell, good, off target by chance or beyond, degraded."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from monitor.counting.measures import Share, headline_window, wilson_lower
from monitor.rules.limits import MIN_N, fast_limits


class State(StrEnum):
    """What a stage or an experience looks like now, the mildest first; only a stage is silent
    (`Snapshot.silence`)."""

    QUIET = "quiet"
    TOO_FEW = "too_few"
    GOOD = "good"
    WITHIN_CHANCE = "within_chance"
    BELOW = "below"
    SILENT = "silent"
    DEGRADED = "degraded"


def state(shares: Mapping[str, Share], target: Decimal) -> State:
    """The state of one experience from its shares by window label.

    Fewer than `MIN_N` events are `too_few`, however good or bad. `good` meets the target, `within_chance`
    misses it by what may be chance (Wilson), `below` by more.
    """
    if any(limit.crossed(shares) for limit in fast_limits(target)):
        return State.DEGRADED
    share = shares[headline_window(shares)]
    if share.n < MIN_N:
        return State.TOO_FEW if share.n else State.QUIET
    if wilson_lower(share.bad, share.n) > float(1 - target):
        return State.BELOW
    return State.GOOD if share.good / share.n >= float(target) else State.WITHIN_CHANCE


MIN_SEGMENT_EVENTS = 10
"""Below this a segment is not called the worst served; three failures of four say little."""

SEVERITY = {state: rank for rank, state in enumerate(State)}
"""A stage is as its most severe experience: one of which too little is known hides none that is known."""
