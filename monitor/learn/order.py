"""The order of stages: that in which most journeys pass them, else that in which they appear."""

from collections import Counter
from itertools import combinations

from monitor.learn.seen import Seen


def in_order(seen: Seen) -> list[str]:
    """The stages; those that no journey passes come last, for nobody knows where else.

    A stage stands before another the more stages it comes before in most of the journeys that pass both.
    """
    ahead: Counter[tuple[str, str]] = Counter()
    for journey in seen.journeys.values():
        by_time = sorted(journey.stages, key=lambda stage: journey.stages[stage])
        ahead.update(combinations(by_time, 2))
    passed = {stage for pair in ahead for stage in pair}
    after = {one: sum(ahead[other, one] > ahead[one, other] for other in seen.stages) for one in seen.stages}
    return sorted(seen.stages, key=lambda stage: (stage not in passed, after[stage]))
