"""Whole journeys as a history shows them: where they begin and lead, how long they take, what is owed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from monitor.journey_file.model import FOLLOW_UP, Kind
from monitor.learn.propose import GOOD, MOSTLY, frequent
from monitor.learn.seen import Seen

DURATIONS = {
    f"{n}{unit}": n * {"m": 60_000, "h": 3_600_000, "d": 86_400_000}[unit]
    for unit, numbers in (
        ("m", (1, 5, 15, 30)),
        ("h", (1, 2, 6, 12)),
        ("d", (1, 2, 3, 5, 7, 14, 30, 60, 90, 180, 365)),
    )
    for n in numbers
}
"""Times that people name, the least first, in ms."""

NEARLY_ALL = 0.99

LEAST = 30
"""Of fewer journeys, promises or hand-overs nothing is said."""

REACHED = 0.3
"""So many of the journeys that begin must come to a stage for it to be their goal: others are under way."""


@dataclass(frozen=True, slots=True)
class Owed:
    """A kind of promise and the stage that has to keep it."""

    kind: str
    stage: str

    @property
    def experience(self) -> str:
        """What whole journeys call it."""
        return f"promise_{self.kind}"


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What one stage hands to another, within how long nearly all of it arrived, and how much did."""

    sender: str
    receiver: str
    within: str
    n: int = 0

    @property
    def experience(self) -> str:
        """What whole journeys call it."""
        return f"handoff_{self.sender}_{self.receiver}"


@dataclass(frozen=True, slots=True)
class Whole:
    """The `journeys` section. Times are as a journey file has them."""

    starts: str
    goal: str
    goal_outcomes: tuple[str, ...]
    limit: str
    quiet: str
    promises: tuple[Owed, ...]
    handoffs: tuple[HandedOver, ...]
    contacts: tuple[str, ...]
    has_moves: bool


def whole(seen: Seen, order: Sequence[str], kinds: Mapping[str, Kind]) -> Whole | None:
    """What the journeys of a history have in common; None where too few pass more than one stage."""
    passed = [journey for journey in seen.journeys.values() if len(journey.stages) > 1]
    if len(passed) < LEAST:
        return None
    ((starts, n),) = Counter(journey.first for journey in passed).most_common(1)
    reached = Counter(stage for journey in passed if journey.first == starts for stage in journey.stages)
    goals = [
        stage
        for stage in order
        if reached[stage] >= REACHED * n and kinds[stage] not in ("feedback", "staff") and stage != starts
    ]
    outcomes = {stage: tuple(one for one in GOOD if one in seen.stages[stage].outcomes) for stage in goals}
    goal = next((stage for stage in reversed(goals) if outcomes[stage]), None)
    if goal is None:
        return None
    handed_over = tuple(handoffs(seen))
    limits = [_nearly_all(journey.took_ms for journey in passed), *(one.within for one in handed_over)]
    return Whole(
        starts,
        goal,
        outcomes[goal],
        limit=max(limits, key=lambda name: DURATIONS[name]),
        quiet=_nearly_all(journey.quiet_ms for journey in passed),
        promises=tuple(promises(seen)),
        handoffs=handed_over,
        contacts=tuple(stage for stage in order if seen.stages[stage].cases > MOSTLY * seen.stages[stage].n),
        has_moves=len(frequent(seen.channels)) > 1,
    )


def promises(seen: Seen) -> Iterator[Owed]:
    """Kinds for which a deadline was told, each with the stage that mostly tells whether it was kept."""
    for kind in frequent(seen.due):
        if kind == FOLLOW_UP:
            continue
        keeper = max(seen.stages, key=lambda stage: seen.stages[stage].kept[kind])
        if seen.stages[keeper].kept[kind] >= LEAST:
            yield Owed(kind, keeper)


def handoffs(seen: Seen) -> Iterator[HandedOver]:
    """Those that were sent and received, by sender and receiver."""
    took: dict[tuple[str, str], list[int]] = {}
    for one in seen.handoffs.values():
        if one.sent_ms is None or one.received_ms is None or one.receiver is None:
            continue
        took.setdefault((one.sender, one.receiver), []).append(max(0, one.received_ms - one.sent_ms))
    for (sender, receiver), times_ms in sorted(took.items()):
        if len(times_ms) >= LEAST:
            yield HandedOver(sender, receiver, _nearly_all(times_ms), len(times_ms))


def _nearly_all(times_ms: Iterable[int]) -> str:
    """The least time that people name within which nearly all of these are; the greatest if none is."""
    ordered = sorted(times_ms)
    enough_ms = ordered[min(int(NEARLY_ALL * len(ordered)), len(ordered) - 1)]
    return next((name for name, ms in DURATIONS.items() if ms >= enough_ms), "365d")
