"""A window of counts to a verdict: good, degraded, below target, or too few to tell."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from monitor.counting.measures import Share, headline_window, wilson_lower
from monitor.journey_file.model import Stage
from monitor.rules.limits import MIN_N, fast_limits


class State(StrEnum):
    """What a stage or an experience looks like now; only a stage is silent (`Snapshot.silence`)."""

    QUIET = "quiet"
    GOOD = "good"
    TOO_FEW = "too_few"
    BELOW = "below"
    SILENT = "silent"
    DEGRADED = "degraded"


BELOW_MIN_N = 10
"""Three failures of three exceed any target with certainty, and yet say little."""


def state(shares: Mapping[str, Share], target: Decimal) -> State:
    """The state of one experience from its shares by window label.

    `below` means below target beyond chance (Wilson), so that a healthy stage does not flicker; `too_few`
    that it looks below target, and so few events may do so by chance.
    """
    if any(limit.crossed(shares) for limit in fast_limits(target)):
        return State.DEGRADED
    share = shares[headline_window(shares)]
    if share.n == 0:
        return State.QUIET
    if share.n >= BELOW_MIN_N and wilson_lower(share.bad, share.n) > float(1 - target):
        return State.BELOW
    misses = share.good / share.n < float(target)
    return State.TOO_FEW if misses and share.n < MIN_N else State.GOOD


MIN_SEGMENT_EVENTS = 10
"""Below this a segment is not called the worst served; three failures of four say little."""

MIN_GROUP = 5
"""What staff answer is shown only of this many or more together: in a smaller group people are known by
their answers. The least that surveys of employees usually name."""


def tells_on_staff(stage: Stage, n: float) -> bool:
    """Whether so few of the staff answered that what they said must not be shown; that nobody did, may."""
    return stage.kind == "staff" and 0 < n < MIN_GROUP


MILDEST_FIRST = (State.QUIET, State.GOOD, State.TOO_FEW, State.BELOW, State.SILENT, State.DEGRADED)
SEVERITY = {state: rank for rank, state in enumerate(MILDEST_FIRST)}
