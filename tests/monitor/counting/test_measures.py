"""No events means no opinion; rules fire beyond chance and not before."""

from decimal import Decimal
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.counting.measures import Share, headline_window, nps, wilson_lower

QUIET = Share(0, 0)


def shares(**windows: tuple[int, int]) -> dict[str, Share]:
    """Good and bad by window label (`w1m` for 1m); nothing elsewhere."""
    empty = dict.fromkeys(("20s", "1m", "5m", "30m", "1h"), QUIET)
    return empty | {label[1:]: Share(*share) for label, share in windows.items()}


@pytest.mark.parametrize(
    ("bad", "n", "bound"),
    [(1, 1, 0.207), (3, 3, 0.438), (5, 30, 0.073), (8, 30, 0.142), (0, 0, 0.0)],
)
def test_wilson(bad: int, n: int, bound: float) -> None:
    """The lower bound equals the values worked out by hand; no events bound nothing."""
    assert round(wilson_lower(bad, n), 3) == bound


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_wilson_is_a_bound(n: int, bad: int) -> None:
    """The lower bound lies between 0 and the ratio seen, and nears it as events grow."""
    bad = min(bad, n)
    bound = wilson_lower(bad, n)
    assert -1e-12 <= bound <= bad / n + 1e-12
    assert bound <= wilson_lower(100 * bad, 100 * n) + 1e-12


@pytest.mark.parametrize(
    ("answers", "score", "margin"),
    [
        ((50, 30, 20), 30.0, 15.31),  # variance 0.7 - 0.09 = 0.61 over 100
        ((60, 0, 40), 20.0, 19.2),  # 1 - 0.04 = 0.96 over 100
        ((0, 10, 0), 0.0, 0.0),
        ((7, 0, 0), 100.0, 0.0),  # all agree: nothing to tell them apart by
        ((0, 0, 7), -100.0, 0.0),
        ((1, 0, 1), 0.0, 138.59),  # two answers say nothing
    ],
)
def test_nps(answers: tuple[int, int, int], score: float, margin: float) -> None:
    """Score and margin equal the values worked out by hand."""
    found = nps(*answers)
    assert found is not None
    assert isclose(found[0], score)
    assert round(found[1], 2) == margin


def test_nps_of_nobody() -> None:
    """No answers, no opinion."""
    assert nps(0, 0, 0) is None


ANSWERS = st.integers(0, 10**6)


@given(ANSWERS, ANSWERS, ANSWERS)
def test_nps_has_no_favourites(promoters: int, passives: int, detractors: int) -> None:
    """Turned round, the score turns its sign and keeps its margin; four times the answers halve that."""
    one, other = nps(promoters, passives, detractors), nps(detractors, passives, promoters)
    more = nps(4 * promoters, 4 * passives, 4 * detractors)
    if one is None or other is None or more is None:
        assert promoters + passives + detractors == 0
        return
    assert -100 <= one[0] <= 100
    assert isclose(one[0], -other[0], abs_tol=1e-9)
    assert isclose(one[1], other[1])
    assert isclose(more[1], one[1] / 2, abs_tol=1e-9)


def test_no_events_no_opinion() -> None:
    """A share of nothing has no quality and no attainment."""
    assert QUIET.quality is None
    assert QUIET.attainment(Decimal("0.95")) is None


def test_quality_against_target() -> None:
    """Quality is good of judged; attainment divides it by the exact target."""
    share = Share(19, 1)
    assert (share.n, share.quality, share.attainment(Decimal("0.95"))) == (20, 0.95, 1.0)
    weaker = Share(9, 1).attainment(Decimal("0.95"))
    assert weaker is not None
    assert isclose(weaker, 0.9 / 0.95)


@pytest.mark.parametrize(
    ("known", "window"),
    [
        (shares(), "1h"),
        (shares(w1m=(30, 0), w5m=(99, 0), w1h=(999, 0)), "1m"),
        (shares(w1m=(20, 10), w1h=(999, 0)), "1m"),
        (shares(w1m=(29, 0), w5m=(30, 0), w1h=(30, 0)), "5m"),
        (shares(w1m=(29, 0), w5m=(29, 0), w1h=(29, 0)), "1h"),
    ],
)
def test_headline_window(known: dict[str, Share], window: str) -> None:
    """The headline is of the shortest window with 30 events, otherwise of the hour."""
    assert headline_window(known) == window
