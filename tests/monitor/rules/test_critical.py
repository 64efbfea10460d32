"""A stage is called critical by what the counts of answered journeys say, and never by too few of them."""

import random

import numpy as np
import pytest

from monitor.rules.critical import LEAST_LIFT, LEAST_SHARE, MIN_BAD, MIN_DETRACTORS, Touchpoint, is_critical

CHECK = Touchpoint(40, 60, 60, 840)
"""The check of the definition of measures: lift 4, a third of the detractors, phi a third."""


def test_the_check_of_the_measures() -> None:
    """40, 60, 60, 840 come to phi .33, lift 4.0, share .33: critical."""
    assert (CHECK.bad, CHECK.detractors, CHECK.n) == (100, 100, 1000)
    assert CHECK.lift == pytest.approx(4.0)
    assert CHECK.share == pytest.approx(1 / 3)
    assert CHECK.phi == pytest.approx(1 / 3)
    assert CHECK.is_enough
    assert is_critical(*CHECK)


@pytest.mark.parametrize("seed", range(5))
def test_phi_is_the_correlation(seed: int) -> None:
    """It is what the correlation coefficient of bad and detractor is, over the journeys one by one."""
    rng = random.Random(seed)
    cells = Touchpoint(*(rng.randint(1, 60) for _ in range(4)))
    a, b, c, d = cells
    bad, detractor = [1] * (a + b) + [0] * (c + d), [1] * a + [0] * b + [1] * c + [0] * d
    assert cells.phi == pytest.approx(np.corrcoef(bad, detractor)[0, 1])


@pytest.mark.parametrize(
    ("cells", "critical"),
    [
        ((20, 10, 20, 350), True),
        ((20, 9, 20, 351), False),  # 29 bad
        ((8, 22, 2, 400), True),
        ((7, 23, 2, 400), False),  # 9 detractors
        ((20, 30, 80, 870), False),  # four times as often, yet but a few of them: a share of .16
        ((30, 70, 120, 780), False),  # twice as often, but a share of .11
        ((30, 30, 10, 90), True),  # twice as often, no more
        ((30, 31, 10, 90), False),
        ((0, 0, 0, 0), False),
        ((0, 100, 50, 100), False),
        ((50, 50, 0, 0), False),  # always bad: it cannot be told
        ((0, 50, 0, 50), False),  # nobody speaks ill of us
    ],
)
def test_what_is_critical(cells: tuple[int, int, int, int], critical: bool) -> None:
    """Twice as often ill spoken of, a fifth of all who do, of 30 bad and 10 detractors."""
    assert bool(is_critical(*cells)) is critical


def test_no_opinion() -> None:
    """Where nothing can be told there is no share and no correlation, and no error."""
    always, nobody = Touchpoint(30, 20, 0, 0), Touchpoint(0, 50, 0, 50)
    assert (always.share, always.phi, nobody.phi) == (None, None, None)
    assert Touchpoint(MIN_BAD, 0, 0, 0).is_enough
    assert not Touchpoint(MIN_BAD - 1, 0, MIN_DETRACTORS, 9).is_enough


def test_arrays_are_judged_element_by_element() -> None:
    """Many moments at once give what each gives alone, and what its own figures say."""
    rng = np.random.default_rng(1)
    cells = rng.integers(0, 80, size=(4, 500)) * rng.integers(0, 4, size=(4, 500))
    together = is_critical(*cells)
    assert together.shape == (500,)
    assert 10 < together.sum() < 490
    for moment, found in zip(cells.T.tolist(), together.tolist(), strict=True):
        one = Touchpoint(*moment)
        assert bool(is_critical(*moment)) is found
        told = one.is_enough and one.share is not None
        assert found is (told and one.lift >= LEAST_LIFT and (one.share or 0) >= LEAST_SHARE)
