"""A change is called better or worse beyond chance only; one that nobody can tell of is not called good."""

from decimal import Decimal
from math import isclose

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.changes.effect import Compared, Effect, Spans, difference, judged, overall
from monitor.counting.measures import Share

NONE = Share(0, 0)


def share(bad: int, n: int) -> Share:
    """So many bad of so many."""
    return Share(n - bad, bad)


def compared(*shares: Share, target: str = "0.95") -> Compared:
    """Touched before and after, and untouched if there are four."""
    untouched = Spans(*shares[2:]) if shares[2:] else None
    return Compared("store", "served", Decimal(target), Spans(*shares[:2]), untouched)


def effect(*shares: Share, target: str = "0.95") -> Effect | None:
    """Of one experience."""
    return judged([compared(*shares, target=target)])[0].effect


def test_newcombe() -> None:
    """Method 10 on 56 of 70 against 48 of 80, as in table II of the paper: .2, from .0524 to .3339."""
    found = difference(compared(share(48, 80), share(56, 70)), 1)
    assert isclose(found.at, 0.2)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)


def test_what_befell_everybody_falls_out() -> None:
    """Both twice as bad: worse alone, nothing beside the others."""
    before, after = share(500, 10_000), share(1_000, 10_000)
    assert effect(before, after) is Effect.WORSE
    assert effect(before, after, before, after) is Effect.NO_EFFECT
    assert effect(before, before, before, after) is Effect.BETTER


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ((share(50, 1000), share(90, 1000)), Effect.WORSE),
        ((share(90, 1000), share(50, 1000)), Effect.BETTER),
        ((share(50, 1000), share(50, 1000)), Effect.NO_EFFECT),
        ((share(5, 100), share(5, 100)), Effect.CANNOT_TELL),  # between 8 points less and more
        ((share(0, 29), share(29, 29)), Effect.CANNOT_TELL),
        ((share(1, 1000), NONE), Effect.CANNOT_TELL),
        ((share(50, 1000), share(90, 1000), share(1, 20), share(50, 1000)), Effect.CANNOT_TELL),
        ((NONE, NONE, share(50, 1000), share(50, 1000)), None),
    ],
)
def test_one_experience(shares: tuple[Share, ...], told: Effect | None) -> None:
    """Each word where it is due; few events say nothing, and none are no opinion."""
    assert effect(*shares) is told


def test_the_target_says_how_much_would_matter() -> None:
    """What is no effect where five of a hundred may be bad is unknown where one of a thousand may."""
    same = share(20, 1000)
    assert effect(same, same, target="0.95") is Effect.NO_EFFECT
    assert effect(same, same, target="0.999") is Effect.CANNOT_TELL
    assert effect(share(0, 10**6), share(0, 10**6), target="1") is Effect.NO_EFFECT


def test_the_weakest_decides() -> None:
    """Worse before unknown, unknown before better, better before nothing; without events nobody can tell."""
    worse, unknown = compared(share(50, 1000), share(99, 1000)), compared(share(0, 9), share(0, 9))
    better, same = compared(share(99, 1000), share(50, 1000)), compared(share(50, 1000), share(50, 1000))
    silent = compared(NONE, NONE)
    assert overall(judged([same, better, unknown, worse, silent])) is Effect.WORSE
    assert overall(judged([same, better, unknown])) is Effect.CANNOT_TELL
    assert overall(judged([same, better, silent])) is Effect.BETTER
    assert overall(judged([same, silent])) is Effect.NO_EFFECT
    assert overall(judged([silent])) is Effect.CANNOT_TELL
    assert overall([]) is Effect.CANNOT_TELL


def test_many_experiences_are_each_told_more_surely() -> None:
    """The interval of one is wider beside nine others; those with too few events do not count."""
    one, few = compared(share(50, 1000), share(70, 1000)), compared(share(0, 9), share(0, 9))
    alone, beside = judged([one])[0].difference, judged([one] * 10)[0].difference
    assert alone is not None
    assert beside is not None
    assert beside.low < alone.low < alone.high < beside.high
    assert judged([one, few])[0].difference == alone


@pytest.mark.parametrize(
    ("usual", "told"),
    [
        ([0.02, -0.02, 0.02], Effect.CANNOT_TELL),  # 2 points times 3.18 are more than the 5 it rose
        ([0.01, -0.01, 0.01], Effect.WORSE),
        ([0.05, -0.05], Effect.WORSE),  # two days say too little
        ([0.02] * 7, Effect.WORSE),  # times 2.36
    ],
)
def test_what_moves_by_itself_is_no_effect(usual: list[float], told: Effect) -> None:
    """On days before, when nothing was changed, the same share rose and fell as well."""
    days = [[compared(share(5000, 10_000), share(5000 + round(10_000 * one), 10_000))] for one in usual]
    found = judged([compared(share(500, 10_000), share(1000, 10_000))], days)[0]
    assert (found.effect, found.days) == (told, len(usual))


@pytest.mark.parametrize(
    ("days", "experiences", "t"), [(3, 1, 3.182), (7, 1, 2.365), (7, 10, 4.029), (7, 5, 3.499)]
)
def test_student(days: int, experiences: int, t: float) -> None:
    """The interval is as wide as tables say, within 3 %."""
    same = share(5 * 10**8, 10**9)
    found = difference(compared(same, same), experiences, [0.1] * days)
    assert found.high == pytest.approx(0.1 * t, rel=0.03)
    assert found.low == -found.high


COUNTS = st.integers(1, 10**6).flatmap(lambda n: st.integers(0, n).map(lambda bad: share(bad, n)))


@given(st.lists(COUNTS, min_size=4, max_size=4), st.integers(1, 50))
def test_it_is_symmetric(shares: list[Share], experiences: int) -> None:
    """Before for after, touched for untouched, or good for bad: the same effect with the other sign."""
    b, a, ub, ua = shares
    found = difference(compared(b, a, ub, ua), experiences)
    assert found.low - 1e-9 <= found.at <= found.high + 1e-9
    others = [(a, b, ua, ub), (ub, ua, b, a), tuple(Share(one.bad, one.good) for one in shares)]
    for other in others:
        mirrored = difference(compared(*other), experiences)
        for one, two in ((found.at, mirrored.at), (found.low, mirrored.high), (found.high, mirrored.low)):
            assert isclose(one, -two, abs_tol=1e-9)


def drawn(rng: np.random.Generator, n: int, p: float) -> Share:
    """What chance makes of it."""
    return share(int(rng.binomial(n, p)), n)


SIZES = [(60, 60), (300, 3000), (5000, 20_000)]
TRIES = 500


@pytest.mark.long
@pytest.mark.parametrize(("touched", "untouched"), SIZES)
@pytest.mark.parametrize("p", [0.005, 0.05, 0.4])
@pytest.mark.parametrize("experiences", [1, 6])
def test_nothing_is_rarely_called_something(touched: int, untouched: int, p: float, experiences: int) -> None:
    """Changes that do nothing while all becomes twice as bad: at most one in twenty is better or worse.

    Of 500 tries up to 40 may be, three standard errors above 25.
    """
    rng, wrong = np.random.default_rng(7), 0
    for _ in range(TRIES):
        one = [
            compared(
                *(drawn(rng, touched, share) for share in (p, 2 * p)),
                *(drawn(rng, untouched, share) for share in (p, 2 * p)),
            )
            for _ in range(experiences)
        ]
        wrong += any(each.effect in (Effect.WORSE, Effect.BETTER) for each in judged(one))
    assert wrong <= 40


@pytest.mark.long
@pytest.mark.parametrize(("change", "told"), [(0.03, Effect.WORSE), (-0.03, Effect.BETTER)])
def test_what_is_planted_is_found(change: float, told: Effect) -> None:
    """Three points of 5,000 events beside 20,000 others, in six experiences: at least 95 in 100."""
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(200):
        n = drawn(rng, 5000, 0.05), drawn(rng, 20_000, 0.05), drawn(rng, 20_000, 0.06)
        hit = compared(n[0], drawn(rng, 5000, 0.06 + change), n[1], n[2])
        calm = [compared(*(drawn(rng, 20_000, 0.05) for _ in range(4))) for _ in range(5)]
        found += judged([hit, *calm])[0].effect is told
    assert found >= 190
