"""On real calls, where nothing was changed, next to nothing is called better or worse."""

from bisect import bisect_left
from datetime import datetime
from decimal import Decimal
from random import Random

import pytest

from monitor.changes.effect import Compared, Effect, Spans, judged
from monitor.changes.questions import DAYS
from monitor.counting.measures import Share
from monitor.report.digest import DAY_S
from tests.kit import history

TRIES = 400


class Calls:
    """Times and running sums of answered and other calls of some callers."""

    def __init__(self, calls: list[tuple[float, bool]]) -> None:
        self._at_s = [at_s for at_s, _ in calls]
        self._good = [0]
        for _, is_good in calls:
            self._good.append(self._good[-1] + is_good)

    def share(self, from_s: float, to_s: float) -> Share:
        """Between two times."""
        first, end = bisect_left(self._at_s, from_s), bisect_left(self._at_s, to_s)
        good = self._good[end] - self._good[first]
        return Share(good, end - first - good)

    def around(self, at_s: float, seconds: int) -> Spans:
        """As `around` lays the spans."""
        return Spans(self.share(at_s - seconds, at_s), self.share(at_s + 120, at_s + 120 + seconds))


@pytest.mark.full
@pytest.mark.parametrize("hours", [1, 3, 6, 24])
def test_nothing_is_rarely_called_something(hours: int) -> None:
    """At random moments of the month, high callers against all others, or all callers without a control."""
    of_all = sorted(
        (datetime.fromisoformat(call["time"]).timestamp(), call["outcome"] == "ok" and call["wait_s"] <= 20,
         call.get("segment") == "high")
        for call in history.calls()
    )  # fmt: skip
    high, others, everybody = (
        Calls([(at_s, good) for at_s, good, is_high in of_all if is_high in who])
        for who in ((True,), (False,), (True, False))
    )
    rng, wrong, tried = Random(1), {"control": 0, "alone": 0}, {"control": 0, "alone": 0}
    for _ in range(TRIES):
        at_s = rng.uniform(of_all[0][0] + (DAYS + 1) * DAY_S, of_all[-1][0] - hours * 3600)
        for name, touched, untouched in (("control", high, others), ("alone", everybody, None)):
            now, *days = (
                [
                    Compared(
                        "calls", "answered", Decimal("0.8"),
                        touched.around(at_s - day * DAY_S, hours * 3600),
                        untouched.around(at_s - day * DAY_S, hours * 3600) if untouched is not None else None,
                    )
                ]
                for day in range(DAYS + 1)
            )  # fmt: skip
            (found,) = judged(now, days)
            if found.difference is not None and found.days >= 3:
                tried[name] += 1
                wrong[name] += found.effect in (Effect.BETTER, Effect.WORSE)
    assert min(tried.values()) > 30
    assert all(wrong[name] <= 0.1 * tried[name] for name in tried)
