"""Faults of one partner, one location, one reason are named; what is not there is not named."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from monitor.causes.counts import Counts, grouped
from monitor.causes.search import Found, causes

SHARES: dict[str, dict[str, float]] = {
    "segment": {"new": 0.3, "returning": 0.7},
    "partner": {"klarna": 0.2, "posti": 0.3, "postnord": 0.45, "dhl": 0.05},
    "channel": {"web": 0.97, "phone": 0.03},
    "location": {"espoo": 0.1, "helsinki": 0.4, "oulu": 0.15, "turku": 0.15, "tampere": 0.2},
    "touchpoint": {"address": 0.4, "payment": 0.35, "receipt": 0.25},
    "reason": {"timeout": 0.5, "payment_error": 0.3, "out_of_stock": 0.15, "no_answer": 0.05},
}
USUALLY = 0.03
SLICES = range(-20, 2)


@dataclass(frozen=True, slots=True)
class Fault:
    """What hits: this share of the encounters with these values is bad, with this reason if one is named."""

    where: Mapping[str, str]
    share: float
    per_slice: int = 250
    slices: range = field(default=range(0, 2))


def drawn(fault: Fault, seed: int) -> Counts:
    """Encounters of 20 slices before the fault and two slices in it, each counted by itself."""
    rng = np.random.default_rng(seed)
    at = np.repeat(np.array(SLICES), fault.per_slice)
    values = {name: rng.choice(list(of), len(at), p=list(of.values())) for name, of in SHARES.items()}
    hit = np.isin(at, fault.slices) & (rng.random(len(at)) < fault.share)
    for name, value in fault.where.items():
        if name == "reason":
            values[name] = np.where(hit, value, values[name])
        else:
            hit &= values[name] == value
    bad = hit | (rng.random(len(at)) < USUALLY)
    values["reason"] = np.where(bad, values["reason"], "")
    return Counts(
        {name: column.tolist() for name, column in values.items()},
        at.tolist(),
        bad.astype(int).tolist(),
        [1] * len(at),
    )


def named(found: Found) -> list[dict[str, str]]:
    """The causes as attributes and values."""
    return [dict(cause.part.where) for cause in found.causes]


@pytest.mark.long
@pytest.mark.parametrize(
    ("where", "share"),
    [
        ({"partner": "klarna"}, 0.4),
        ({"partner": "posti"}, 0.2),
        ({"location": "espoo"}, 0.5),
        ({"location": "helsinki"}, 0.15),
        ({"reason": "out_of_stock"}, 0.06),
        ({"reason": "no_answer"}, 0.1),
    ],
)
def test_a_fault_is_named(where: dict[str, str], share: float) -> None:
    """In 95 of 100 the first cause is the fault, without a value that goes with it: 97 % use the web."""
    right = [named(causes(drawn(Fault(where, share), seed)))[:1] == [where] for seed in range(100)]
    assert sum(right) >= 95, f"{sum(right)} of 100"


def test_a_fault_of_all_is_everywhere() -> None:
    """What hits every fifth customer, whoever he is, is not blamed on those who are most."""
    found = [causes(drawn(Fault({}, 0.2), seed)).is_everywhere for seed in range(20)]
    assert sum(found) >= 19
    assert not any(causes(drawn(Fault({"partner": "posti"}, 0.4), seed)).is_everywhere for seed in range(20))


def test_chance_is_no_cause() -> None:
    """A healthy time has no cause, though the best of hundreds of candidates looks bad."""
    assert sum(bool(causes(drawn(Fault({}, 0.0), seed)).causes) for seed in range(20)) <= 1


def counts(*rows: tuple[int, str, str, int, int]) -> Counts:
    """Rows of slice, partner, reason, bad, n."""
    at, partners, reasons, bad, n = zip(*rows, strict=True)
    return Counts({"partner": partners, "reason": reasons}, at, bad, n)


def before(slices: range) -> list[tuple[int, str, str, int, int]]:
    """Two partners with 100 encounters a slice each, 2 and 4 of them bad."""
    return [
        row
        for at in slices
        for partner, bad in (("x", 2), ("y", 4))
        for row in ((at, partner, "", 0, 100 - bad), (at, partner, "slow", bad, bad))
    ]


def test_a_cause_says_how_many_since_when_and_where_not() -> None:
    """Partner x has 40 bad of 100 where 2 are usual, since the slice before; partner y has 4 as usual."""
    trouble = [
        row
        for at in (-1, 0)
        for row in (
            (at, "x", "", 0, 60),
            (at, "x", "slow", 40, 40),
            (at, "y", "", 0, 96),
            (at, "y", "slow", 4, 4),
        )
    ]
    found = causes(counts(*before(range(-9, -1)), *trouble))
    assert not found.is_everywhere
    assert (found.whole.bad, found.whole.n, round(found.whole.expected)) == (44, 200, 6)
    cause = found.causes[0]
    assert (dict(cause.part.where), cause.part.bad, cause.part.n) == ({"partner": "x"}, 40, 100)
    assert round(cause.part.expected, 1) == 2.1
    assert cause.since == -1
    (rest,) = cause.not_here
    assert (dict(rest.where), dict(rest.without), rest.bad, rest.n) == ({}, {"partner": "x"}, 4, 100)
    assert round(rest.expected, 1) == 3.9


def test_a_reason_is_held_against_all_that_it_could_have_hit() -> None:
    """Everybody with a reason is bad: it is a cause when more of all have it than before."""
    trouble = [
        row
        for partner in "xy"
        for row in ((0, partner, "", 0, 76), (0, partner, "slow", 4, 4), (0, partner, "lost", 20, 20))
    ]
    found = causes(counts(*before(range(-9, 0)), *trouble))
    cause = found.causes[0]
    assert (dict(cause.part.where), cause.part.bad, cause.part.n) == ({"reason": "lost"}, 40, 200)
    assert cause.part.expected < 0.2
    (rest,) = cause.not_here
    assert (rest.bad, rest.n, round(rest.expected)) == (8, 200, 6)


def test_where_people_leave_is_no_cause_by_itself() -> None:
    """All who left at the cart are bad, as ever; it is a cause when more of all leave there."""
    usual = [(at, step, bad, n) for at in range(-9, 1) for step, bad, n in (("cart", 3, 3), ("paid", 0, 97))]
    assert causes(_by_touchpoint(usual)).causes == ()
    (cause,) = causes(_by_touchpoint([*usual[:-2], (0, "cart", 30, 30), (0, "paid", 0, 70)])).causes
    assert (dict(cause.part.where), cause.part.bad, cause.part.n) == ({"touchpoint": "cart"}, 30, 100)


def _by_touchpoint(rows: list[tuple[int, str, int, int]]) -> Counts:
    at, steps, bad, n = zip(*rows, strict=True)
    return Counts({"touchpoint": steps}, at, bad, n)


def test_an_earlier_trouble_is_not_what_to_expect() -> None:
    """Two bad slices of nine before are no excuse."""
    earlier = [(at, "x", "slow", 60, 100) for at in (-5, -4)]
    trouble = [(0, "x", "slow", 60, 100), (0, "y", "slow", 4, 100)]
    found = causes(counts(*before(range(-9, 0)), *earlier, *trouble))
    assert round(found.causes[0].part.expected, 1) == 2.1


def test_what_is_not_known_is_no_value() -> None:
    """All that is bad has no partner told: nothing is named for it, and it counts in the whole."""
    found = causes(counts(*before(range(-9, 0)), *before(range(0, 1)), (0, "", "", 50, 50)))
    assert (named(found), found.whole.bad) == ([], 56)


@pytest.mark.parametrize("slices", [range(-9, 0), range(0, 3), range(0)])
def test_without_a_before_or_a_now_there_is_no_answer(slices: range) -> None:
    """Nothing can be expected from nothing."""
    for some in (
        counts((0, "x", "", 0, 0), *before(slices)),
        Counts({"partner": [], "reason": []}, [], [], []),
    ):
        with pytest.raises(ValueError, match="nothing happened before the trouble, or nothing during it"):
            causes(some)


def test_rows_alike_are_one_group_however_many_combinations_there_could_be() -> None:
    """Groups are in the order of their codes, also where 64 bits cannot number all that could be."""
    rng = np.random.default_rng(1)
    for most in (2, 10**15):
        codes = rng.choice([-1, 0, most], (400, 5))
        first, group = grouped(codes)
        assert [tuple(row) for row in codes[first].tolist()] == sorted(set(map(tuple, codes.tolist())))
        assert (codes[first][group] == codes).all()
        assert all((group[:at] != group[at]).all() for at in first)
