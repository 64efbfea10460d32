"""Numbers from counts. No events means no opinion (`None`), never 100 %; an experience is never averaged.

Formulas: Google SRE workbook "Implementing SLOs" (good / valid events); Wilson 1927 (score interval).
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

Z = Decimal("1.96")
"""Two-sided 95 %: what is certain to this degree is wrong once in 40 tries by chance."""


class Share(NamedTuple):
    """How many of the judged events were good; two arrays when it is asked of many moments at once."""

    good: int
    bad: int

    @property
    def n(self) -> int:
        return self.good + self.bad

    @property
    def quality(self) -> float | None:
        """Good of judged, of one moment."""
        return self.good / self.n if self.n else None

    def attainment(self, target: Decimal) -> float | None:
        """Quality against target: 1 or more meets it."""
        return None if self.quality is None else self.quality / float(target)


def wilson_lower(bad: Any, n: Any, z: Decimal = Z) -> Any:
    """Lower bound of the true bad ratio given `bad` of `n`; 0 when none was bad. Numbers or arrays.

    Written as PromQL writes it (`promql.wilson_lower`), operation by operation, so that both round alike.
    """
    import numpy as np  # takes a third of the start of a command that needs none of it

    some = np.maximum(n, 1)
    p = bad / some
    zz, half, quarter = float(z * z), float(z * z / 2), float(z * z / 4)
    spread = float(z) * np.sqrt(p * (1 - p) / some + quarter / some**2)
    return np.where(bad == 0, 0.0, (p + half / some - spread) / (1 + zz / some))[()]


def nps(promoters: int, passives: int, detractors: int) -> tuple[float, float] | None:
    """The Net Promoter Score, -100 to 100, and how far the true one may lie to either side (95 %).

    Promoters count 1, passives 0, detractors -1: the score is the mean of those, the margin `Z` standard
    errors of that mean, both times 100. Few answers that all agree have a margin of 0: ask for more of them.
    """
    n = promoters + passives + detractors
    if not n:
        return None
    mean = (promoters - detractors) / n
    variance = max((promoters + detractors) / n - mean**2, 0.0)
    return 100 * mean, float(100 * Z) * math.sqrt(variance / n)


HEADLINE_WINDOWS = ("1m", "5m", "1h")
"""The headline figure comes from the shortest of these that holds enough events, otherwise the longest."""

HEADLINE_MIN_N = 30


def headline_window(shares: Mapping[str, Share]) -> str:
    """The window whose quality is shown as the present one."""
    return next((w for w in HEADLINE_WINDOWS if shares[w].n >= HEADLINE_MIN_N), HEADLINE_WINDOWS[-1])


KINDS = {
    "nps": (
        "NPS",
        "Net Promoter Score: the share of answers 9-10 less that of 0-6, from -100 to 100. Above 0 is good.",
    ),
    "csat": (
        "CSAT",
        "Customer satisfaction: the share of answers 4 or 5 on 1 to 5. 100 % is best.",
    ),
    "ces": ("CES", "Customer effort: the share of answers 5 or more on 1 to 7, easy. 100 % is best."),
}
"""What each kind of score is called, and what its figure is."""
