"""Critical touchpoints: which stages go with what customers say of us. Association, not cause.

Of answered journeys, at each stage: bad or ok there, by detractor or not (MEASURES: critical touchpoint).
"""

import math
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

MIN_BAD, MIN_DETRACTORS = 30, 10
"""Below these a stage's weight on satisfaction may be chance, and nothing is said of it."""

WINDOW = "7d"
"""A day holds too few answers of those who had it bad."""

LEAST_LIFT, LEAST_SHARE = Decimal("2"), Decimal("0.2")
"""A stage is critical when those who have it bad speak ill of us at least twice as often as people do, and a
fifth of all who do would not, were it never bad. In the example of MEASURES: 4 times, and a third."""


class Touchpoint(NamedTuple):
    """Counts of answered journeys at one stage; arrays when it is asked of many moments at once."""

    bad_detractor: int
    bad_other: int
    ok_detractor: int
    ok_other: int

    @property
    def bad(self) -> int:
        """Journeys that were bad at the stage."""
        return self.bad_detractor + self.bad_other

    @property
    def detractors(self) -> int:
        """Journeys whose customer speaks ill of us."""
        return self.bad_detractor + self.ok_detractor

    @property
    def n(self) -> int:
        """All answered journeys."""
        return sum(self)

    @property
    def is_enough(self) -> bool:
        """Whether anything can be said of the stage."""
        return self.bad >= MIN_BAD and self.detractors >= MIN_DETRACTORS

    @property
    def lift(self) -> float:
        """How many times as often those who had it bad speak ill of us as people do; of `is_enough` only."""
        return (self.bad_detractor / self.bad) / (self.detractors / self.n)

    @property
    def share(self) -> float | None:
        """The share of detractors that would not be, were the stage never bad; None if it always was."""
        ok = self.ok_detractor + self.ok_other
        return 1 - (self.ok_detractor / ok) / (self.detractors / self.n) if ok else None

    @property
    def phi(self) -> float | None:
        """Correlation of bad and detractor, -1 to 1; None when one of them is always or never so."""
        a, b, c, d = self
        spread = (a + b) * (c + d) * (a + c) * (b + d)
        return (a * d - b * c) / math.sqrt(spread) if spread else None


def is_critical(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Whether a stage with the counts of a `Touchpoint` is critical; numbers or arrays.

    Written as PromQL writes it (`series.critical_share`), operation by operation, so that both round alike.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # what cannot be told is not critical
        a, b, c, d = (np.asarray(one, dtype=np.float64) for one in (a, b, c, d))
        base = (a + c) / (a + b + c + d)
        return (
            (1 - c / (c + d) / base >= float(LEAST_SHARE))
            & (a / (a + b) / base >= float(LEAST_LIFT))
            & (a + b >= MIN_BAD)
            & (a + c >= MIN_DETRACTORS)
        )
