"""Limits are crossed beyond chance and not before, at exactly the line they name."""

from decimal import Decimal

import pytest

from monitor.counting.measures import Share, wilson_lower
from monitor.rules.limits import (
    budget_limits,
    fast_limits,
    page_limits,
    page_recovery,
    stopped,
    ticket_recovery,
)
from monitor.rules.verdict import State, state

QUIET = Share(0, 0)


def shares(**windows: tuple[int, int]) -> dict[str, Share]:
    """Good and bad by window label (`w1m` for 1m); nothing elsewhere."""
    empty = dict.fromkeys(("20s", "1m", "5m", "30m", "1h"), QUIET)
    return empty | {label[1:]: Share(*share) for label, share in windows.items()}


@pytest.mark.parametrize(
    ("good", "bad", "target", "fires"),
    [
        (0, 30, "0.98", True),  # everything fails
        (0, 29, "0.98", False),  # too few events
        (21, 9, "0.98", False),  # too few bad ones
        (18, 12, "0.98", True),  # 40 %, surely (12.7 %) above 12 %
        (68, 32, "0.98", True),  # exactly 32 %
        (681, 319, "0.98", False),  # 31.9 %
        (500, 500, "0.80", True),  # exactly 50 %, surely (43 %) above 30 %
        (50, 50, "0.80", False),  # by chance perhaps (29 %)
        (51, 49, "0.80", False),
        (32, 28, "0.85", False),  # 47 %, by chance perhaps (21.8 %) not above 25 %
        (17, 13, "0.90", False),  # 43 %, by chance perhaps not above 20 %
        (0, 0, "0.98", False),
    ],
)
def test_outage_rules(good: int, bad: int, target: str, fires: bool) -> None:
    """An outage page needs 30 events, 10 bad, 30 points over what is allowed, 10 surely."""
    sure, outage, _ = fast_limits(Decimal(target))
    assert sure.crossed(shares(w20s=(good, bad))) == fires
    assert outage.crossed(shares(w1m=(good, bad))) == fires
    assert not sure.crossed(shares(w1m=(good, bad)))


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
        ((700, 300), (7, 3), "0.80", True),  # exactly 30 %, surely (24 %) above 20 %
        ((70, 30), (7, 3), "0.80", False),  # by chance perhaps (14 %)
        ((24, 11), (7, 4), "0.80", False),  # 31 %, by chance perhaps (9 %)
        ((85, 15), (17, 3), "0.95", True),  # exactly 15 %
    ],
)
def test_fast_rule(five: tuple[int, int], one: tuple[int, int], target: str, fires: bool) -> None:
    """A fast page needs 5 minutes beyond chance, and the last minute as bad."""
    assert fast_limits(Decimal(target))[2].crossed(shares(w5m=five, w1m=one)) == fires


@pytest.mark.parametrize("target", [f"0.{n:02}" for n in range(1, 100)])
def test_fast_limits_can_be_crossed(target: str) -> None:
    """Half way from what is allowed to all at most, also for the loosest target; the decimals are exact."""
    allowed = 1 - Decimal(target)
    for limit in fast_limits(Decimal(target)):
        assert limit.bad_ratio <= (1 + allowed) / 2
        assert limit.crossed({window: Share(0, 100_000) for window in limit.windows})
    assert fast_limits(Decimal("0.05"))[0].bad_ratio == Decimal("0.975")
    assert fast_limits(Decimal("0.95"))[0].bad_ratio == Decimal("0.35")


@pytest.mark.parametrize("target", [f"0.{n}" for n in range(50, 100)])
def test_rules_fire_at_their_line(target: str) -> None:
    """At exactly the points a rule names it fires, whatever the binary fractions of the target."""
    for limit in fast_limits(Decimal(target)):
        bad = int(limit.bad_ratio * 10_000)
        for n_bad, fires in ((bad, True), (bad - 1, False)):
            share = (10_000 - n_bad, n_bad)
            known = shares(w20s=share, w1m=share, w5m=share)
            assert limit.crossed(known) == fires


@pytest.mark.parametrize(
    ("known", "target", "expected"),
    [
        (shares(), "0.95", State.QUIET),
        (shares(w1h=(1, 0)), "0.95", State.TOO_FEW),
        (shares(w1h=(29, 0)), "0.95", State.TOO_FEW),
        (shares(w1h=(30, 0)), "0.95", State.GOOD),
        (shares(w1h=(1, 2)), "0.85", State.TOO_FEW),
        (shares(w1h=(34, 6)), "0.85", State.GOOD),  # exactly on target
        (shares(w1h=(93, 7)), "0.93", State.GOOD),  # exactly, also in binary fractions
        (shares(w1h=(0, 29)), "0.95", State.TOO_FEW),  # all of 29
        (shares(w1h=(0, 30)), "0.95", State.BELOW),
        (shares(w1h=(27, 2)), "0.95", State.TOO_FEW),  # 93 % of 29
        (shares(w1m=(28, 2)), "0.95", State.WITHIN_CHANCE),  # 93 %
        (shares(w1m=(25, 5), w5m=(25, 5)), "0.90", State.WITHIN_CHANCE),  # bound .073
        (shares(w1m=(22, 8), w5m=(22, 8)), "0.90", State.BELOW),  # bound .142
        (shares(w1m=(10, 20), w5m=(10, 20)), "0.90", State.DEGRADED),
        (shares(w20s=(0, 30), w1m=(900, 30), w5m=(900, 30)), "0.90", State.DEGRADED),
        (shares(w1m=(16, 4), w5m=(80, 20), w1h=(980, 20)), "0.98", State.DEGRADED),
        (shares(w1m=(30, 0), w5m=(80, 20)), "0.98", State.GOOD),  # mended
    ],
)
def test_state(known: dict[str, Share], target: str, expected: State) -> None:
    """Quiet without events, degraded when a fast rule fires; fewer than 30 tell nothing, and of more it is
    said whether they meet the target, or miss it by chance or beyond.
    """
    assert state(known, Decimal(target)) is expected


@pytest.mark.parametrize(
    ("five", "thirty", "six", "is_over"),
    [
        ((560, 40), (0, 0), (400, 100), True),  # the upper bound of 6.7 % is 9 %
        ((540, 60), (3590, 10), (40_000, 10), False),  # exactly 10 %, whatever was before
        ((56, 4), (100, 30), (1000, 500), False),  # 16 % perhaps
        ((56, 4), (560, 40), (1000, 500), True),  # too few in five minutes: half an hour is asked
        ((54, 6), (560, 40), (1000, 500), True),  # exactly the middle
        ((53, 7), (5600, 40), (10_000, 10), False),  # above it: no wider window says that all is over
        ((53, 7), (560, 40), (7, 7), True),  # hardly anything any more
        ((60, 0), (500, 100), (1000, 500), False),  # 6 % perhaps, but it may be chance at 15 %
        ((80, 0), (500, 100), (1000, 500), True),  # it is none
        ((137, 1), (300, 100), (400, 100), True),
        ((29, 0), (60, 40), (1000, 500), False),  # none bad, where twelve would be: it may be chance
        ((29, 0), (40, 60), (1000, 500), True),  # where 17 would be: it is none
        ((15, 0), (20, 80), (1000, 500), True),
        ((14, 0), (20, 80), (1000, 500), False),  # of too few
        ((57, 3), (100, 100), (1000, 500), True),  # as many as allowed, where 30 would be
        ((56, 4), (100, 100), (1000, 500), False),  # more than allowed
        ((10, 2), (20, 4), (95, 5), True),  # too few in all: no more bad than allowed
        ((10, 2), (20, 4), (94, 6), False),
        ((7, 7), (7, 7), (7, 7), True),  # hardly anything any more
        ((8, 7), (8, 7), (8, 7), False),
    ],
)
def test_a_page_is_over_when_it_surely_is(
    five: tuple[int, int], thirty: tuple[int, int], six: tuple[int, int], is_over: bool
) -> None:
    """At a target of 95 % the middle between what is allowed and the least limit is 10 %; 138 events tell."""
    target = Decimal("0.95")
    recovery = page_recovery(target, page_limits(target))
    assert (recovery.ratio, recovery.tells) == (Decimal("0.10"), 138)
    known = shares(w5m=five, w30m=thirty)
    assert bool(recovery.over(known | {"2h": known["30m"], "6h": Share(*six)})) is is_over


def test_a_target_of_all_has_a_recovery() -> None:
    """Its burn rates allow nothing, and half way from there to nothing is nowhere: the fast limits count."""
    assert page_recovery(Decimal(1), page_limits(Decimal(1))).ratio == Decimal("0.05")


def test_journeys_of_which_most_miss_their_goal_have_a_recovery() -> None:
    """No limit of theirs lies beyond what is allowed; then a page is over half way from there to all."""
    assert page_recovery(Decimal("0.4"), budget_limits(Decimal("0.4"))).ratio == Decimal("0.7")


@pytest.mark.parametrize(("bad", "n"), [(10, 300), (1, 1_000), (40, 400)])
def test_below_is_wilsons_upper_bound(bad: int, n: int) -> None:
    """The same as the bound of the good ratio, from the other side."""
    recovery = page_recovery(Decimal("0.95"), page_limits(Decimal("0.95")))
    upper = 1 - wilson_lower(n - bad, n)
    assert bool(recovery.below({"30m": Share(n - bad, bad)}, "30m")) is bool(upper < 0.10)


def test_a_ticket_is_over_after_a_day_on_target() -> None:
    """Or three, where a day holds too few."""
    recovery = ticket_recovery(Decimal("0.95"))
    bad = Share(50, 50)
    assert recovery.over({"1d": Share(96, 4), "3d": bad, "7d": bad})
    assert not recovery.over({"1d": Share(95, 5), "3d": Share(990, 10), "7d": bad})
    assert recovery.over({"1d": Share(20, 9), "3d": Share(96, 4), "7d": bad})


@pytest.mark.parametrize(
    ("bad", "came", "is_over"),
    [
        ((0, 0, 0, 240), (100, 200, 600, 2400), True),  # ten were expected in the hour
        ((1, 1, 1, 240), (100, 200, 600, 2400), True),
        ((2, 2, 2, 240), (100, 200, 600, 2400), True),  # two of twenty in two hours
        ((2, 4, 12, 240), (100, 200, 600, 2400), False),
        ((0, 1, 12, 239), (100, 100, 600, 2400), False),  # hardly any journey was over for an hour
        ((0, 0, 12, 239), (100, 201, 600, 2400), True),  # two hours tell
        ((0, 0, 0, 14), (100, 200, 600, 2400), False),  # one in 100 minutes
        ((0, 0, 0, 40), (100, 200, 600, 2400), True),
        ((0, 0, 0, 0), (0, 0, 0, 0), False),
    ],
)
def test_what_is_bad_has_stopped_where_far_more_was_expected(
    bad: tuple[int, ...], came: tuple[int, ...], is_over: bool
) -> None:
    """In an hour, two, six; by what a day says of as many journeys."""
    windows = ("1h", "2h", "6h", "1d")
    assert (
        bool(stopped(dict(zip(windows, bad, strict=True)), dict(zip(windows, came, strict=True)))) is is_over
    )
