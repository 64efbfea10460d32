"""No events means no opinion; rules fire beyond chance and not before."""

from decimal import Decimal
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.measures import FAST_RULES, Share, State, headline_window, state, wilson_lower

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


SURE, OUTAGE, FAST = FAST_RULES


@pytest.mark.parametrize(
    ("good", "bad", "target", "fires"),
    [
        (0, 30, "0.98", True),  # everything fails
        (0, 29, "0.98", False),  # too few events
        (21, 9, "0.98", False),  # too few bad ones
        (18, 12, "0.98", True),  # 40 %, surely above 12 %
        (68, 32, "0.98", True),  # exactly 32 %
        (681, 319, "0.98", False),  # 31.9 %
        (50, 50, "0.80", True),  # exactly 50 %
        (51, 49, "0.80", False),
        (32, 28, "0.85", True),  # 47 %, surely (34.6 %) above 25 %
        (17, 13, "0.90", True),  # 43 %: surely (27.4 %) above 20 %
        (0, 0, "0.98", False),
    ],
)
def test_outage_rules(good: int, bad: int, target: str, fires: bool) -> None:
    """An outage page needs 30 events, 10 bad, 30 points over what is allowed, 10 surely."""
    assert SURE.fires(shares(w20s=(good, bad)), Decimal(target)) is fires
    assert OUTAGE.fires(shares(w1m=(good, bad)), Decimal(target)) is fires
    assert not SURE.fires(shares(w1m=(good, bad)), Decimal(target))


@pytest.mark.parametrize(
    ("five", "one", "target", "fires"),
    [
        ((80, 20), (16, 4), "0.98", True),
        ((80, 20), (0, 0), "0.98", False),  # over: nothing came in the last minute
        ((80, 20), (18, 2), "0.98", False),  # mended: 10 % of the last minute
        ((880, 120), (44, 6), "0.98", True),  # exactly 12 % in both
        ((881, 119), (44, 6), "0.98", False),
        ((880, 120), (45, 6), "0.98", False),  # 11.8 % of the last minute
        ((20, 9), (0, 5), "0.98", False),  # too few
        ((21, 9), (0, 5), "0.98", False),  # too few bad ones
        ((70, 30), (7, 3), "0.80", True),  # exactly 30 %, surely (21.9 %) above 20 %
        ((24, 11), (7, 4), "0.80", False),  # 31 %, by chance perhaps (18.6 %)
        ((85, 15), (17, 3), "0.95", True),  # exactly 15 %
    ],
)
def test_fast_rule(five: tuple[int, int], one: tuple[int, int], target: str, fires: bool) -> None:
    """A fast page needs 5 minutes beyond chance, and the last minute as bad."""
    assert FAST.fires(shares(w5m=five, w1m=one), Decimal(target)) is fires


@pytest.mark.parametrize("target", [f"0.{n}" for n in range(50, 100)])
def test_rules_fire_at_their_line(target: str) -> None:
    """At exactly the points a rule names it fires, whatever the binary fractions of the target."""
    allowed = 100 - int(target[2:])
    for rule in FAST_RULES:
        bad = (allowed + round(rule.points * 100)) * 100
        for n_bad, fires in ((bad, True), (bad - 1, False)):
            share = (10_000 - n_bad, n_bad)
            known = shares(w20s=share, w1m=share, w5m=share)
            assert rule.fires(known, Decimal(target)) is fires


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


@pytest.mark.parametrize(
    ("known", "target", "expected"),
    [
        (shares(), "0.95", State.QUIET),
        (shares(w1h=(1, 0)), "0.95", State.GOOD),
        (shares(w1h=(0, 9)), "0.95", State.GOOD),  # nine of nine: too few to say anything
        (shares(w1h=(0, 10)), "0.95", State.BELOW),
        (shares(w1m=(28, 2)), "0.95", State.GOOD),  # 93 %: below target, within chance
        (shares(w1m=(25, 5), w5m=(25, 5)), "0.90", State.GOOD),  # bound .073
        (shares(w1m=(22, 8), w5m=(22, 8)), "0.90", State.BELOW),  # bound .142
        (shares(w1m=(10, 20), w5m=(10, 20)), "0.90", State.DEGRADED),
        (shares(w20s=(0, 30), w1m=(900, 30), w5m=(900, 30)), "0.90", State.DEGRADED),
        (shares(w1m=(16, 4), w5m=(80, 20), w1h=(980, 20)), "0.98", State.DEGRADED),
        (shares(w1m=(30, 0), w5m=(80, 20)), "0.98", State.GOOD),  # mended
    ],
)
def test_state(known: dict[str, Share], target: str, expected: State) -> None:
    """Quiet without events, degraded when a fast rule fires, below when surely below target."""
    assert state(known, Decimal(target)) is expected
