"""Which open promises will be late: counted by who owes them and time left, from those that have fallen due.

A promise is looked at when it has exactly as much time left as a mark says, and is still open. Of all that
were open at that mark, some were late: that share is said of the next. A promise teaches nothing before its
deadline, whatever became of it: those kept early would make the others look good.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

MARKS_MS = (
    *(15 * MINUTE, 30 * MINUTE, 1 * HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 16 * HOUR),
    *(1 * DAY, 2 * DAY, 3 * DAY, 4 * DAY, 5 * DAY, 7 * DAY, 10 * DAY, 14 * DAY, 21 * DAY, 28 * DAY),
)
"""Time left: from a call back today to a parcel next month."""

AT_RISK = 0.5
"""From here on a promise is at risk: it will rather be late than not."""

FIRST_N, OWN_N = 2.0, 20.0
"""Promises that what was known before is worth: of all, that any share is as likely; of a finer group, the
share of the coarser one. So what is said of real orders comes within 4 points (`tests/bench/at_risk.py`).
With 5 for the second, small groups are believed too soon: three days before, 91 % of the late are at risk."""


class Look(NamedTuple):
    """An open promise at one of the marks. The group goes from coarse to fine: kind, then partner."""

    mark_ms: int
    group: tuple[str, ...]


def looks_ms(made_ms: int, due_ms: int) -> Iterator[tuple[int, int]]:
    """When a promise is to be looked at, as time left and moment, first to last."""
    for mark_ms in reversed(MARKS_MS):
        if due_ms - mark_ms >= made_ms:
            yield mark_ms, due_ms - mark_ms


class Risk:
    """How many promises were open at each mark, and how many of those were late."""

    def __init__(self) -> None:
        self._open: Counter[Look] = Counter()
        self._late: Counter[Look] = Counter()

    def learn(self, looks: Iterable[Look], *, is_late: bool) -> None:
        """A deadline has passed. `looks` are those at which the promise was open."""
        for look in looks:
            for part in _coarse_to_fine(look):
                self._open[part] += 1
                self._late[part] += is_late

    def probability(self, look: Look) -> float:
        """That it will be late; 0.5 while nothing is known. A small group is taken to be as a coarser one."""
        said, worth = 0.5, FIRST_N
        for part in _coarse_to_fine(look):
            said = (self._late[part] + worth * said) / (self._open[part] + worth)
            worth = OWN_N
        return said


def _coarse_to_fine(look: Look) -> Iterator[Look]:
    for depth in range(1, len(look.group) + 1):
        yield Look(look.mark_ms, look.group[:depth])
