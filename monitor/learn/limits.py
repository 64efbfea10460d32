"""How long customers wait before they leave, as one of the waits that people name."""

from itertools import accumulate
from typing import NamedTuple

from monitor.learn.seen import STEPS_S, Waits

SHORT_S = 5
"""Who leaves sooner hung up before anybody could answer. Service levels of contact centres leave them out."""

HALF = 0.5

ANSWERED = 0.7
"""Of those who stayed: a limit that most miss leaves a target no room (`targets.ROOM`)."""


class WaitLimit(NamedTuple):
    """A wait in seconds, and why it is the limit."""

    at_most_s: int
    why: str


def wait_limit(waits: Waits) -> WaitLimit | None:
    """Where half of those who leave have left, those who left at once aside; where nearly nobody leaves, what
    nine of ten wait at most. None where nobody ever waits longer than the least or the greatest wait."""
    at_once = STEPS_S.index(SHORT_S) + 1
    left = [0] * at_once + waits.left[at_once:]
    both = [stayed + gone for stayed, gone in zip(waits.stayed, waits.left, strict=True)]
    if sum(left) >= MIN_LEFT:
        at = _reached(left, HALF)
        at = max(at, _reached(waits.stayed, ANSWERED))
        why = f"half of the {sum(left):,} who waited longer than {SHORT_S} s and left had left by then"
    else:
        at, why = _reached(both, MOST), "nine of ten wait no longer"
    return WaitLimit(STEPS_S[at], why) if at < len(STEPS_S) else None


MIN_LEFT = 30
"""Fewer say little of when customers leave."""

MOST = 0.9


def _reached(counts: list[int], share: float) -> int:
    """The first place up to which so much of all is counted."""
    return next(i for i, n in enumerate(accumulate(counts)) if n >= share * sum(counts))
