"""Counts of encounters by what they have in common, before and during a trouble.

`n` of a part is how many encounters have its values. A reason only bad encounters have, and many an encounter
ends at a touchpoint because it is bad: who left at the cart did not pay. So these two narrow the bad ones of
a part, and not its `n`: they are held against all encounters that they could have hit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.counting.measures import wilson_lower
from monitor.counting.panes import Numbers

OF_BAD = ("reason", "touchpoint")
"""The attributes that say how an encounter was bad rather than what kind of encounter it was."""

PRIOR_N = 100.0
"""Encounters that every part gets on top of its own of the time before, as bad as all were then: a part with
few of its own is expected to be as usual."""

MOST_KEYS = 2**62
"""Numbers of combinations of values stay below it, so that 64 bits hold them."""

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Where = Mapping[str, str]
"""Attribute to value: the encounters that have all of these."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Lists of one length, an entry for each count of encounters alike in all attributes and in time.

    `slices` numbers slices of time of one length: negative ones before the trouble, 0 and later ones in it.
    A value that is None or empty is not known: no part that names the attribute holds such encounters.
    """

    attributes: Mapping[str, Sequence[str | None]]
    slices: Sequence[int]
    bad: Sequence[int]
    n: Sequence[int]


@dataclass(frozen=True, slots=True)
class Part:
    """Encounters during the trouble, and how many of them the time before leads to expect to be bad.

    They have all values of `where`; if `without` names some, they lack those.
    """

    where: Where
    bad: int
    n: int
    expected: float
    without: Where


class Spell(NamedTuple):
    """Bad and all encounters of each row in some of the slices."""

    bad: Numbers
    n: Numbers


def _kind_of(where: Where) -> Where:
    return {name: value for name, value in where.items() if name not in OF_BAD}


def rate(bad: Any, n: Any) -> Any:
    """Share that is usually bad, never 0: what has not come so far may come (Jeffreys: half of one more)."""
    return (bad + 0.5) / (n + 1)


def expected(bad: Any, n: Any, usual: Any, n_now: Any) -> Any:
    """How many of `n_now` are to be expected bad in a part with `bad` of `n` before. Numbers or arrays."""
    return (bad + PRIOR_N * usual) / (n + PRIOR_N) * n_now


class Table:
    """Counts by combination of values: one row each, with codes for the values, -1 for one not known."""

    def __init__(self, counts: Counts) -> None:
        """ValueError if there is nothing before the trouble, or nothing during it."""
        bad, n = (np.asarray(one, dtype=np.float64) for one in (counts.bad, counts.n))
        self.slices, of_slice = np.unique(np.asarray(counts.slices, dtype=np.int64), return_inverse=True)
        self.names = tuple(counts.attributes)
        coded = [_coded(values) for values in counts.attributes.values()]
        self.values = tuple(values for values, _ in coded)
        wide = np.stack([codes for _, codes in coded], axis=1)
        first, row = grouped(wide)
        self.codes: Codes = wide[first]
        cells = row * len(self.slices) + of_slice
        shape = (len(first), len(self.slices))
        self.bad, self.n = (np.bincount(cells, one, shape[0] * shape[1]).reshape(shape) for one in (bad, n))
        self.is_now = self.slices >= 0
        self.before, self.during = (
            Spell(self.bad[:, of].sum(1), self.n[:, of].sum(1))
            for of in (_usual(self.slices, self.bad.sum(0), self.n.sum(0)), self.is_now)
        )
        if not self.before.n.sum() or not self.during.n.sum():
            raise ValueError("nothing happened before the trouble, or nothing during it")

    def rows(self, where: Where, without: Where) -> Mask:
        """Which rows have all of these values, and not all of those."""
        return self._having(where) & (~self._having(without) if without else np.True_)

    def _having(self, where: Where) -> Mask:
        mask = np.ones(len(self.codes), dtype=np.bool_)
        for name, value in where.items():
            at = self.names.index(name)
            mask &= self.codes[:, at] == self.values[at].index(value)
        return mask

    def of_all(self, where: Where, without: Where) -> Mask:
        """Which rows count for the `n` of a part."""
        return self.rows(_kind_of(where), _kind_of(without))

    def part(self, where: Where, without: Where) -> Part:
        """Count one part."""
        rows, of_all = self.rows(where, without), self.of_all(where, without)
        alike = self._having({name: one for name, one in where.items() if name in OF_BAD})
        usual = rate(self.before.bad[alike].sum(), self.before.n.sum())
        bad, n = self.during.bad[rows].sum(), self.during.n[of_all].sum()
        foreseen = expected(self.before.bad[rows].sum(), self.before.n[of_all].sum(), usual, n)
        return Part(where, int(bad), int(n), float(foreseen), without)


def grouped(codes: Codes) -> tuple[Codes, Codes]:
    """Rows with equal codes are one group: the first row of each group, and the group of each row."""
    key, keys = np.zeros(len(codes), dtype=np.int64), 1
    for column in codes.T:
        width = int(column.max(initial=0)) + 2
        if keys * width > MOST_KEYS:
            key, keys = np.unique(key, return_inverse=True)[1], len(codes)
        key, keys = key * width + column + 1, keys * width
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    return first, group


def _coded(values: Sequence[str | None]) -> tuple[tuple[str, ...], Codes]:
    """The values there are, and the place of each in them."""
    known = tuple(dict.fromkeys(filter(None, values)))
    codes: dict[str | None, int] = {None: -1, "": -1, **{value: at for at, value in enumerate(known)}}
    return known, np.fromiter(map(codes.__getitem__, values), dtype=np.int64, count=len(values))


def _usual(slices: Codes, bad: Numbers, n: Numbers) -> Codes:
    """The slices before that are no worse than their median beyond chance: earlier trouble is not usual."""
    before = np.flatnonzero((slices < 0) & (n > 0))
    median = np.median(bad[before] / n[before]) if len(before) else 0.0
    is_usual: Mask = wilson_lower(bad[before], n[before]) <= median
    return before[is_usual]
