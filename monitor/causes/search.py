"""What bad encounters have in common: of all values, pairs and triples of values, those of the best score.

    score = excess · (excess / bad)²        excess = bad - expected

A candidate too narrow misses excess. One too wide holds bad encounters that were to be expected anyway. The
share decides alike for few and for many: a likelihood cuts causes in pieces once there is enough traffic. The
square is tuned on half of 73 real incidents (`tests/bench/where.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from monitor.causes.counts import OF_BAD, Codes, Counts, Part, Table, Where, expected, grouped, rate
from monitor.counting.panes import Numbers

AT_ONCE = 3
"""Values a cause has at most. 8 of the 73 incidents have three: with two at most, one of the best three is
right in 86 %, with three in 95 %."""

NAMED = 3
"""Causes named; what follows is parts of them."""

BEYOND_CHANCE = 4.0
"""Standard errors by which a cause exceeds what is expected. Hundreds of candidates are asked: at 3, ten of
60 healthy times had a cause, at 4 one had (`tests/monitor/causes/test_search.py`)."""

SURE = 2.0
"""Standard errors by which what a value leaves out must be better than the cause, or the value goes with it
only by chance. Without this, a channel that nearly all use came with every fourth cause."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A part of which more is bad than expected, and since which slice without a break.

    `not_here` are its neighbours: for each of its values, what has all the others but not that one.
    """

    part: Part
    since: int
    not_here: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The causes, best first. The trouble `is_everywhere` if the `whole` has a better score than any."""

    whole: Part
    causes: tuple[Cause, ...]
    is_everywhere: bool


class _Scored(NamedTuple):
    score: float
    where: dict[str, str]


def causes(counts: Counts) -> Found:
    """Up to three causes of the trouble. ValueError if nothing happened before it, or nothing during it."""
    table = Table(counts)
    whole = table.part({}, {})
    best = sorted(_candidates(table), key=lambda one: (-one.score, len(one.where)))
    named = []
    for one in best[:NAMED]:
        named += [_widened(table, one.where), one.where]
    distinct = {frozenset(where.items()): where for where in named}
    found = tuple(_cause(table, where) for where in list(distinct.values())[:NAMED])
    is_everywhere = _score(whole.bad, whole.expected) > max((one.score for one in best), default=0.0)
    return Found(whole, found, bool(is_everywhere))


def _widened(table: Table, where: Where) -> Where:
    """Without the values that go with it only by chance: the rest of what has all the others is as bad."""
    part = table.part(where, {})
    for name in where if len(where) > 1 else ():
        kept = {other: value for other, value in where.items() if other != name}
        rest = table.part(kept, {name: where[name]})
        alike = part.bad / part.expected * rest.expected
        if rest.bad >= alike - SURE * alike**0.5:
            return _widened(table, kept)
    return where


def _score(bad: Any, foreseen: Any) -> Any:
    """Of numbers or arrays; 0 where chance explains the excess."""
    excess = bad - foreseen
    is_beyond = excess > BEYOND_CHANCE * np.sqrt(foreseen + 1)
    return np.where(is_beyond, excess * (excess / np.maximum(bad, 1)) ** 2, 0.0)


def _candidates(table: Table) -> Iterator[_Scored]:
    """The best of every combination of attributes."""
    for size in range(1, AT_ONCE + 1):
        for chosen in combinations(range(len(table.names)), size):
            yield from _best_of(table, chosen)


def _best_of(table: Table, chosen: tuple[int, ...]) -> Iterator[_Scored]:
    """The best values of these attributes."""
    codes = table.codes[:, chosen]
    first, group = grouped(codes)
    _, of_all = grouped(table.codes[:, [i for i in chosen if table.names[i] not in OF_BAD]])
    _, alike = grouped(table.codes[:, [i for i in chosen if table.names[i] in OF_BAD]])

    def summed(what: Numbers, by: Codes) -> Any:
        return np.bincount(by, what)[by[first]]

    usual = rate(summed(table.before.bad, alike), table.before.n.sum())
    n_now, bad_now = summed(table.during.n, of_all), summed(table.during.bad, group)
    foreseen = expected(summed(table.before.bad, group), summed(table.before.n, of_all), usual, n_now)
    score = np.where((codes[first] >= 0).all(1), _score(bad_now, foreseen), 0.0)
    for i in np.argsort(-score, kind="stable")[:NAMED].tolist():
        if score[i] > 0:
            places = zip(chosen, codes[first[i]].tolist(), strict=True)
            yield _Scored(float(score[i]), {table.names[at]: table.values[at][code] for at, code in places})


def _cause(table: Table, where: Where) -> Cause:
    part = table.part(where, {})
    kept = [({name: where[name] for name in where if name != left}, {left: where[left]}) for left in where]
    return Cause(part, _since(table, part), tuple(table.part(*one) for one in kept))


def _since(table: Table, part: Part) -> int:
    """The first slice of the trouble, or of those right before it that are more like it than usual."""
    bad = table.bad[table.rows(part.where, {})].sum(0)
    n = table.n[table.of_all(part.where, {})].sum(0)
    is_raised = bad * 2 * part.n > (part.bad + part.expected) * n
    since = int(table.slices[table.is_now][0])
    for at in np.flatnonzero(~table.is_now)[::-1].tolist():
        if not is_raised[at]:
            break
        since = int(table.slices[at])
    return since
