"""An experience with a limit of time is bad when the limit passes: once, though the encounter ends later.

While an encounter is open, `late` says what it adds to. The event that ends it decides: what it is bad for
counts when the limit passed (`backdated`), and what it is not bad for was never so. Nothing is written when a
limit passes, so nothing can be lost or counted twice then: panes hold only what events say.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from monitor.counting.conditions import Rule, test_of
from monitor.counting.event import Event
from monitor.counting.judging import Judge, counter_name
from monitor.counting.panes import LONG, SHORT, Counts, PaneKey, PaneTally
from monitor.counting.windows import Late
from monitor.journey_file.hours import is_open
from monitor.journey_file.model import Experience, Journey, Stage
from monitor.journeys.encounters import Encounter, Encounters

SINCE = {"wait_s": "queued_ms", "duration_s": "started_ms"}
"""What has a limit, and since when an encounter lasts that long."""

KNOWN = ("segment", "partner", *SINCE)
"""What is known of an encounter before it ends; of how long it takes, that it is more than the limit."""


class Backdated(NamedTuple):
    """A counter that an event adds to earlier than its own time.

    A call is queued at 12:00:00 and may wait for 20 s. Taken at 12:01:03, its event counts as bad at 12:00:20
    (`to_ms`), and not at 12:01:03 (`from_ms`).
    """

    counter: str
    from_ms: int
    to_ms: int


class Limit(NamedTuple):
    """One limit of an experience, and whom it is for."""

    experience: str
    field: str
    limit_ms: int
    judges: tuple[Rule, ...]
    ignores: tuple[Rule, ...]

    @property
    def longer_s(self) -> float:
        """What is more than the limit."""
        return (self.limit_ms + 1) / 1000

    def passed_ms(self, one: Encounter) -> int | None:
        """When it passes, unless the wait has ended before."""
        since_ms: int | None = getattr(one, SINCE[self.field])
        if since_ms is None:
            return None
        at_ms = since_ms + self.limit_ms
        is_served = self.field == "wait_s" and one.started_ms is not None and one.started_ms <= at_ms
        return None if is_served else at_ms

    def is_for(self, one: Encounter) -> bool:
        """Whether the encounter is judged, whatever its outcome."""
        known = Event(
            stage="",
            outcome="",
            segment=one.segment,
            partner=one.partner,
            wait_s=self.longer_s if self.field == "wait_s" else None,
            duration_s=self.longer_s if self.field == "duration_s" else None,
        )
        is_ignored = bool(self.ignores) and all(test(known) for test in self.ignores)
        return all(test(known) for test in self.judges) and not is_ignored


class Deadlines:
    """The limits of a stage that an open encounter can pass. An experience that judges or ignores by more
    than outcome and what is `KNOWN` has none: its encounters are judged when they end."""

    def __init__(self, journey: Journey, stage: Stage, judge: Judge) -> None:
        self._journey, self._stage, self._judge = journey, stage, judge
        self._limits = [one for experience in stage.experiences for one in _limits(experience)]

    def passed(self, one: Encounter, up_to_ms: int) -> dict[str, int]:
        """When it became bad for each experience: as soon as one of its limits had passed."""
        found: dict[str, int] = {}
        for limit in self._limits:
            at_ms = limit.passed_ms(one)
            if at_ms is None or at_ms >= up_to_ms or not limit.is_for(one):
                continue
            if is_open(self._journey, self._stage, at_ms):
                found[limit.experience] = min(at_ms, found.get(limit.experience, at_ms))
        return found

    def late(self, read: Iterable[tuple[Encounters, int]]) -> Late:
        """What the open ones of partitions are bad for, each up to the moment to which it has been read."""
        found: Counter[tuple[int, str]] = Counter()
        for encounters, up_to_ms in read if self._limits else ():
            for one in encounters.begun():
                for experience, at_ms in self.passed(one, up_to_ms).items():
                    counter = counter_name("bad", experience, one.segment, one.partner)
                    found[SHORT.start_of(at_ms), counter] += 1
        return found

    def backdated(self, one: Encounter, event: Event, at_ms: int) -> list[Backdated]:
        """What the event that ends it counts when a limit passed, instead of now."""
        passed = self.passed(one, at_ms)
        if not passed:
            return []
        verdict = self._judge.judge(event)
        late = {experience: passed[experience] for experience in verdict.bad_for if experience in passed}
        heads = [counter.split("/", 2) for counter in (*verdict.counters, *verdict.spread)]
        return [
            Backdated("/".join(head), at_ms, late[head[1]])
            for head in heads
            if head[0] in ("bad", "spread_bad") and head[1] in late
        ]


def _limits(experience: Experience) -> Iterator[Limit]:
    asked = (*experience.judges, *experience.ignores)
    if any(one.field not in ("outcome", *KNOWN) for one in asked):
        return
    judges = tuple(test_of(one) for one in experience.judges if one.field != "outcome")
    ignores = tuple(test_of(one) for one in experience.ignores)
    for one in experience.good:
        if one.field in SINCE and one.at_most is not None:
            yield Limit(experience.name, one.field, round(one.at_most * 1000), judges, ignores)


class BackdatingTally:
    """Counts as another tally, but for what some events (by Python's `id`) count earlier."""

    def __init__(self, tally: PaneTally, backdated: Mapping[int, Sequence[Backdated]]) -> None:
        self._tally = tally
        self._backdated = backdated
        self._found: list[Backdated] = []

    def add(self, events: Sequence[Event], times_ms: Sequence[int]) -> list[tuple[str, ...]]:
        """As the other does."""
        self._found += [one for event in events for one in self._backdated.get(id(event), ())]
        return self._tally.add(events, times_ms)

    def panes(self) -> Iterator[tuple[PaneKey, Counts]]:
        """Its panes, and those that something was moved to."""
        panes = dict(self._tally.panes())
        for counter, from_ms, to_ms in self._found:
            for grain in (SHORT, LONG):
                for at_ms, n in ((from_ms, -1), (to_ms, 1)):
                    counts = panes.setdefault(PaneKey(grain.ms, grain.start_of(at_ms)), {})
                    counts[counter] = counts.get(counter, 0) + n
        for key, counts in panes.items():
            yield key, {counter: n for counter, n in counts.items() if n}
