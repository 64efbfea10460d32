"""The latest of what people look at one by one, in short lists by name: failing encounters, journeys meant by
an alert. How late a partition's events came is kept the same way, as one entry for each owner, and when it
was first owned.

A list is `MOST` places in the changelog, `l:<place>:<list>`; what is new takes the place of the oldest. No
count rests on it. So a former owner that writes late may cost an entry, and nothing else.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, TypeGuard

import msgspec
from msgspec import Meta

from monitor.journeys.alerted import meant
from monitor.journeys.counters import Effect

MOST = 50
"""As many as somebody reads; of each list and partition."""

MAX_SAID = 20_000
"""Characters of an entry: a failing encounter takes a tenth. An earlier version wrote names at any length."""

MOMENTS_MS = range(-62_135_596_800_000, 253_402_300_800_000)
"""All that RFC 3339 has words for."""

Shown = dict[str, Any]
"""An entry as the API shows it, with its `time` (RFC 3339)."""


class Entry(NamedTuple):
    """What happened when, to whom or what, and what is to be said of it: words, or JSON of what is shown."""

    at_ms: Annotated[int, Meta(ge=MOMENTS_MS[0], le=MOMENTS_MS[-1])]
    id: str
    said: Annotated[str, Meta(max_length=MAX_SAID)]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Latest:
    """The lists of one partition."""

    def __init__(self) -> None:
        self._lists: dict[str, dict[int, Entry]] = {}
        self._changed: set[tuple[str, int]] = set()

    def add(self, name: str, entry: Entry) -> None:
        """Keep an entry, in the place of an earlier one of the same id, or of the oldest."""
        held = self._lists.setdefault(name, {})
        known = (place for place, one in held.items() if one.id == entry.id)
        place = next(known, None)
        if place is None and len(held) < MOST:
            place = next(place for place in range(MOST) if place not in held)
        if place is None:
            place = min(held, key=lambda one: held[one].at_ms)
            if held[place].at_ms > entry.at_ms:
                return
        held[place] = entry
        self._changed.add((name, place))

    def newest(self, name: str) -> list[Entry]:
        """A list, the newest first."""
        held = sorted(self._lists.get(name, {}).values(), key=lambda one: one.at_ms)
        return list({one.id: one for one in held}.values())[::-1]

    @property
    def names(self) -> list[str]:
        """Of all lists that hold anything."""
        return list(self._lists)

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Apply one changelog record; raises if it is none of ours."""
        _, place_text, name = key.decode().split(":", 2)
        place = int(place_text)
        if value is None or not 0 <= place < MOST:
            raise ValueError("not a place of a list")
        entry = _decode(value)
        self._lists.setdefault(name, {})[place] = entry

    def take_changes(self) -> list[tuple[bytes, bytes]]:
        """Keys and values of the places that have changed since the last call."""
        changed, self._changed = self._changed, set()
        return [
            (f"l:{place}:{name}".encode(), _encode(self._lists[name][place]))
            for name, place in sorted(changed)
        ]


def is_shown(said: Any) -> TypeGuard[Shown]:
    """Whether it is such an entry; others may write to a changelog, or be of another version."""
    return isinstance(said, dict) and isinstance(said.get("time"), str)


def newest(found: Iterable[Shown]) -> list[Shown]:
    """The newest of several lists."""
    return sorted(found, key=lambda one: one["time"], reverse=True)[:MOST]


def add_meant(latest: Latest, journey_id: str, effects: Iterable[Effect]) -> None:
    """Keep a journey in the lists that these put it into."""
    for one in effects:
        for name, what in _lists(one.counters):
            latest.add(name, Entry(one.at_ms, journey_id, what))


@lru_cache(maxsize=4096)
def _lists(counters: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """As `meant`. Journeys add to few combinations of counters, over and over."""
    return tuple(meant(counters))
