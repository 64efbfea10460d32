"""Encounters of one experience as `monitor.causes.counts` wants them, and what was found in words."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from monitor.causes.counts import Counts, Part, Where
from monitor.causes.search import Cause, Found, causes
from monitor.counting.conditions import rule_of
from monitor.counting.event import Event
from monitor.counting.times import rfc3339
from monitor.journey_file.model import Experience

ATTRIBUTES = ("segment", "partner", "channel", "location", "touchpoint", "reason")

SLICE_MS = 60_000
"""A minute: since when it is bad is told as finely."""


class Encounters:
    """Counts the judged encounters of one experience; the trouble begins at `begin_ms`."""

    def __init__(self, experience: Experience, begin_ms: int) -> None:
        self.experience = experience
        self._begin_ms = begin_ms
        self._rule = rule_of(experience)
        self._counts: dict[bool, Counter[tuple[Any, ...]]] = {True: Counter(), False: Counter()}

    def add(self, event: Event) -> None:
        """Count an event that the experience judges."""
        is_good = self._rule(event)
        if is_good is not None:
            at = (event.at_ms - self._begin_ms) // SLICE_MS
            self._counts[is_good][(at, *(getattr(event, name) for name in ATTRIBUTES))] += 1

    def found(self) -> Found:
        """What the bad ones have in common. ValueError if nothing was judged before the trouble, or in it."""
        good, bad = self._counts[True], self._counts[False]
        cells = list(good | bad)
        slices, *values = zip(*cells, strict=True) if cells else ((),) * (len(ATTRIBUTES) + 1)
        attributes = dict(zip(ATTRIBUTES, values, strict=True))
        n = [good[cell] + bad[cell] for cell in cells]
        return causes(Counts(attributes, slices, [bad[cell] for cell in cells], n))

    def as_json(self, found: Found) -> dict[str, Any]:
        """For a program: numbers of the whole and of up to three causes, best first; times in RFC 3339."""
        return {
            "experience": self.experience.name,
            "is_everywhere": found.is_everywhere,
            "whole": _numbers(found.whole),
            "causes": [
                {
                    **_numbers(cause.part),
                    "since": self._since(cause),
                    "not_here": [{"without": dict(one.without), **_numbers(one)} for one in cause.not_here],
                }
                for cause in found.causes
            ],
        }

    def told(self, found: Found) -> Iterator[str]:
        """Line by line, for a person."""
        whole = found.whole
        yield f"{self.experience.title}: {_told(whole)}"
        if found.is_everywhere:
            yield "  It is everywhere." + (" Most of it:" if found.causes else "")
        elif not found.causes:
            yield "  Beyond chance they have nothing in common."
        for number, cause in enumerate(found.causes, 1):
            since = f"{self._since(cause)[:16]}Z"
            yield f"  {number}. {_named(cause.part.where)}: {_told(cause.part)}, since {since}"
            for one in cause.not_here:
                others = f"{_named(one.where)} other than {_named(one.without)}".strip()
                yield f"     Not here: {others}: {_told(one)}"

    def _since(self, cause: Cause) -> str:
        return rfc3339(self._begin_ms + cause.since * SLICE_MS)


def _numbers(part: Part) -> dict[str, Any]:
    return {"where": dict(part.where), "bad": part.bad, "n": part.n, "expected": round(part.expected, 1)}


def _named(where: Where) -> str:
    return ", ".join(f"{name} {value}" for name, value in where.items())


def _told(part: Part) -> str:
    return f"{part.bad:,} of {part.n:,} bad, {part.expected:,.1f} were to be expected"
