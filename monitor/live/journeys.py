"""What a worker knows of whole journeys at one moment, as plain data."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monitor.counting.panes import Numbers
from monitor.journey_file.model import NONE, Journey
from monitor.journeys.counters import RESULTS, edge_partners, name

AGES_MS = {"1h": 3_600_000, "1d": 86_400_000, "3d": 259_200_000, "+Inf": None}
"""Upper bounds of how long something has been overdue."""

HIT_WINDOW, OVER_WINDOWS, FOUND_WINDOW = "5m", ("1h", "1d"), "1d"
"""What is hit now, what is over lately, and what a day's journeys tell: few go astray in an hour."""

Source = tuple[str, int]
"""A stage, and a partition of its topic."""


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far one partition is behind; for `blocked_s` its records have waited for a transaction to end.

    Windows hold all of it since `whole_since_ms` (event time); 0 unless one of them lacks something.
    `position` is the offset up to which it is counted; None before this worker has read from it.
    """

    partition: int
    records: int
    seconds: float
    blocked_s: float = 0
    whole_since_ms: int = 0
    position: int | None = None


@dataclass(frozen=True, slots=True)
class JourneysSnapshot:
    """Journeys. `sums` are columns of counters named by `column`; none while not ready.

    `overdue` is by what (`promise/<kind>` or `handoff/<from>/<to>`), partner and age.
    """

    topic: str
    column: Mapping[str, int]
    sums: Mapping[str, Numbers]
    results: Mapping[str, int]
    open_journeys: int
    overdue: Mapping[tuple[str, str, str], int]
    clocks_ms: Mapping[int, int]
    """By partition, up to when (event time) its journeys are judged."""
    lags: tuple[PartitionLag, ...]
    kept_bytes: int = 0
    max_bytes: int = 0
    """The memory that they take, and that they may take, on this worker."""
    slowest: Mapping[int, Source | None] = field(default_factory=dict)
    """By partition, the source that its clock waits for; None while none has been heard of."""

    def count(self, name: str, window: str) -> int:
        """A counter's sum over a window."""
        return int(self.sums[window][self.column[name]]) if self.sums else 0


@dataclass(frozen=True, slots=True)
class JourneyFacts:
    """What people read first of whole journeys; numbers are of journeys, whatever their segment."""

    open_journeys: int
    over: dict[str, dict[str, int]]
    """By window of `OVER_WINDOWS` and result."""
    hit: dict[str, int]
    """In `HIT_WINDOW`, by stage; not of staff, through whom no customer passes."""
    weakest: tuple[str, int] | None
    """The stage that most often was a journey's weakest in `FOUND_WINDOW`, and of how many it was."""
    overdue: dict[str, int]
    """Promises overdue now, by the partner who has to keep them, most first."""
    labyrinths: int
    """Journeys that went astray in `FOUND_WINDOW`."""
    handoffs_lost: int
    """What one stage handed over and the next did not receive in time, in `FOUND_WINDOW`; some of it may have
    come later."""
    judged_ms: int | None
    """Up to when (event time) all of them are judged; None until every source has been heard of."""
    slowest: Source | None
    """The source that those judged up to then wait for."""


def journey_facts(journey: Journey, held: JourneysSnapshot) -> JourneyFacts:
    """The facts of a worker that is ready."""

    def total(window: str, *counter: str) -> int:
        return sum(held.count(name(*counter, segment), window) for segment in journey.segment_labels)

    weakest = {stage.name: total(FOUND_WINDOW, "weakest", stage.name) for stage in journey.stages}
    most = max(weakest, key=weakest.__getitem__)
    edges = journey.journeys.edges if journey.journeys is not None else ()
    lost = (
        name("handoff", edge.sender, edge.receiver, partner, "lost")
        for edge in edges
        for partner in edge_partners(journey, edge)
    )
    overdue: Counter[str] = Counter()
    for (what, partner, _), n in held.overdue.items():
        if what.startswith("promise/"):
            overdue[partner] += n
    furthest_behind = min(held.clocks_ms, key=held.clocks_ms.__getitem__, default=None)
    return JourneyFacts(
        judged_ms=None if furthest_behind is None else held.clocks_ms[furthest_behind] or None,
        slowest=None if furthest_behind is None else held.slowest[furthest_behind],
        open_journeys=held.open_journeys,
        over={w: {result: total(w, "closed", result) for result in RESULTS} for w in OVER_WINDOWS},
        hit={s.name: total(HIT_WINDOW, "hit", s.name) for s in journey.stages if s.kind != "staff"},
        weakest=(most, weakest[most]) if weakest[most] else None,
        overdue=dict(overdue.most_common()),
        labyrinths=total(FOUND_WINDOW, "labyrinth"),
        handoffs_lost=sum(held.count(counter, FOUND_WINDOW) for counter in lost),
    )


def ages(overdue: Iterable[tuple[str, str, int]], now_ms: int) -> Counter[tuple[str, str, str]]:
    """What is overdue by what, partner and age, from what, of which partner, and since when (ms)."""
    found: Counter[tuple[str, str, str]] = Counter()
    for what, partner, due_ms in overdue:
        age_ms = now_ms - due_ms
        age = next(name for name, bound_ms in AGES_MS.items() if bound_ms is None or age_ms <= bound_ms)
        found[what, partner or NONE, age] += 1
    return found
