"""One customer's journey while it is under way: steps in, what they and the passing of time add up to out.

Nothing here depends on the order in which steps arrive, only on when they happened: what falls due is looked
at when every event from before then has been read (`steps`), so a worker that lags decides alike.
"""

from bisect import insort
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from math import inf
from operator import attrgetter

from msgspec import Struct

from monitor.journey_file.model import FOLLOW_UP, OTHER, Journey
from monitor.journeys.closing import Closing, Failure, matches
from monitor.journeys.counters import HANDOFF, PROMISE, Effect, edge_name, name, taken_back
from monitor.journeys.handovers import HandOver, HandOvers
from monitor.journeys.pledge import Pledge
from monitor.journeys.promises import Promises
from monitor.journeys.step import KeptMs, Step

MAX_STEPS = 200
"""More than any customer's journey has; a service that gives all its events one id would fill the memory."""

KEEP_MS = 3_600_000
"""A step up to so long after the end of its journey is late; a later one begins another with the same id. One
of an unknown journey, if it is this far behind the clock, is late as well: it opens none."""


Overdue = tuple[str, str, int]
"""What is overdue (`promise/<kind>` or `handoff/<from>/<to>`), its partner, and since when (ms)."""


class OpenJourney(Struct, array_like=True, gc=False):
    """What is kept of a journey: its steps in the order of their time, and what waits in it.

    As far as is known it is over at `end_ms`, and time changes it next at `next_ms`. One that is over holds
    what belonged to it by then, and in `ending` the counters of its end, until it is published (`strip`).
    Then only `closed_ms`, its result and what was `hit` are left, so that late steps are told, and whoever
    asks.
    """

    steps: list[Step] = []
    pledges: list[Pledge] = []
    hand_overs: list[HandOver] = []
    end_ms: KeptMs = 0
    next_ms: KeptMs = 0
    closed_ms: KeptMs | None = None
    result: str | None = None
    ending: list[str] = []
    hit: list[str] = []
    """Stages with which an encounter was bad, after the end too."""
    after_ms: KeptMs = 0
    """Up to then a step belongs to the journey before it with its id, or is late for that."""

    def strip(self) -> None:
        """Leave nothing but when it was over, its result and what was hit."""
        self.steps, self.pledges, self.hand_overs, self.ending = [], [], [], []

    @property
    def is_full(self) -> bool:
        """Whether it takes no more steps."""
        return len(self.steps) >= MAX_STEPS

    def leave_hit(self, ours: Iterable[Step]) -> list[str]:
        """Leave it what these steps hit; returns what others hit, which belong to the next with its id."""
        hit, by_ours = self.hit, {step.stage for step in ours if step.bad_for}
        self.hit = [stage for stage in hit if stage in by_ours]
        return [stage for stage in hit if stage not in by_ours]

    def overdue(self) -> Iterator[Overdue]:
        """What should have come in it by now."""
        for pledge in self.pledges:
            if pledge.is_overdue:
                yield f"promise/{pledge.kind}", pledge.partner or "", pledge.due_ms or 0
        for one in self.hand_overs:
            if one.is_lost:
                yield f"handoff/{one.sender}/{one.receiver}", one.partner, one.due_ms or 0


class JourneyRules:
    """What a journey file says about journeys, applied to one at a time. Stateless."""

    def __init__(self, journey: Journey) -> None:
        assert journey.journeys is not None  # noqa: S101 - the caller has looked
        self._segments = frozenset(journey.segments)
        self.rules = journey.journeys
        self._handovers = HandOvers(journey)
        self._promises = Promises(journey)
        self._closing = Closing(journey)

    def take(self, held: OpenJourney, step: Step) -> list[Effect] | None:
        """Add a step; what it adds to or takes back at once. None when the step is known or too much. Of one
        that comes after the end nothing is kept but what it hit."""
        steps = held.steps
        if held.closed_ms is not None:
            return self._hit(held, step)
        if held.is_full:
            return None
        for known in steps:
            if known.offset == step.offset and known.source == step.source:
                return None
        is_newest = not steps or steps[-1].at_ms < step.at_ms
        if is_newest:
            steps.append(step)
        else:
            insort(steps, step, key=_order)
        effects = self._hit(held, step) if step.bad_for else []
        if step.handoff is not None:
            effects += self._handovers.take(held.hand_overs, step)
        reaches_back, taken_back = self._promises.take(held.pledges, steps, step, is_newest=is_newest)
        effects += taken_back
        over_ms = held.end_ms
        held.end_ms = self._end_ms(held) if reaches_back else self._later_end_ms(held, step)
        if held.end_ms < over_ms:
            effects += _reopen(held)
        _look_ahead(held)
        return effects

    def _hit(self, held: OpenJourney, step: Step) -> list[Effect]:
        """The first bad encounter with a stage counts when it is read."""
        if not step.bad_for or step.stage in held.hit:
            return []
        held.hit.append(step.stage)
        return [Effect(step.at_ms, (name("hit", step.stage, self._segment([*held.steps, step])),))]

    def pass_time(self, held: OpenJourney, clock_ms: int) -> list[Effect]:
        """Count what has fallen due by then, in the order of its time; close the journey if it is over."""
        effects: list[Effect] = []
        if held.closed_ms is not None or held.next_ms > clock_ms:
            return effects
        until_ms = min(clock_ms, held.end_ms)
        ones: list[Pledge | HandOver] = [*held.pledges, *held.hand_overs]
        due = [(at_ms, number) for number, one in enumerate(ones) if (at_ms := one.next_ms) <= until_ms]
        heapify(due)
        while due:
            now_ms, number = heappop(due)
            one = ones[number]
            effects += self._fall_due(one, int(now_ms))
            if (next_ms := one.next_ms) <= until_ms:
                heappush(due, (next_ms, number))
        _look_ahead(held)
        if held.end_ms <= clock_ms:
            effects += self._close(held, held.end_ms)
        return effects

    def _fall_due(self, one: Pledge | HandOver, now_ms: int) -> list[Effect]:
        if isinstance(one, HandOver):
            return self._handovers.fall_due(one, now_ms)
        return (self._promises.fall_due if one.is_pending else self._promises.count_word)(one, now_ms)

    # -- the end -------------------------------------------------------------------------------------

    def _end_ms(self, held: OpenJourney) -> int:
        """When the journey is over, as far as is known, from all its steps."""
        steps = held.steps
        limit_ms = steps[0].at_ms + self.rules.limit_ms
        end_ms = limit_ms
        coming = sorted(_waits(held), reverse=True)
        pending: list[tuple[int, float]] = []  # a heap: the latest deadline, and until when it was waited for
        for step in steps:
            at_ms = step.at_ms
            if at_ms > end_ms:
                break
            while coming and coming[-1][0] <= at_ms:
                _, done_ms, due_ms = coming.pop()
                heappush(pending, (-due_ms, done_ms))
            while pending and pending[0][1] <= at_ms:
                heappop(pending)
            known_ms = max(at_ms, -pending[0][0]) if pending else at_ms
            if self.rules.ends is not None and matches(self.rules.ends, step):
                return min(known_ms, limit_ms)
            end_ms = min(known_ms + self.rules.quiet_ms, limit_ms)
        return end_ms

    def _later_end_ms(self, held: OpenJourney, newest: Step) -> int:
        """As `_end_ms`, from what that was before the newest step came, which reaches not back."""
        at_ms, ends, steps = newest.at_ms, self.rules.ends, held.steps
        if len(steps) > 1 and at_ms > held.end_ms:
            return held.end_ms
        if ends is not None:
            for step in steps[:-1]:
                if matches(ends, step):
                    return held.end_ms
        known_ms = at_ms
        for pledge in held.pledges:
            if pledge.kept_ms is None and (until_ms := pledge.waits_until_ms) is not None:
                known_ms = max(known_ms, until_ms)
        for one in held.hand_overs:
            if one.received_ms is None and one.due_ms is not None:
                known_ms = max(known_ms, one.due_ms)
        quiet_ms = 0 if ends is not None and matches(ends, newest) else self.rules.quiet_ms
        return min(known_ms + quiet_ms, steps[0].at_ms + self.rules.limit_ms)

    def _close(self, held: OpenJourney, at_ms: int) -> list[Effect]:
        steps = [step for step in held.steps if step.at_ms <= at_ms]
        pledges = [pledge for pledge in held.pledges if pledge.made_ms <= at_ms]
        if len(steps) < len(held.steps):  # what came after the end says nothing of it
            self._promises.read(pledges, steps)
            held.hand_overs = self._handovers.read(steps, at_ms)
        effects = [effect for pledge in pledges for effect in self._promises.close(pledge, at_ms)]
        effects += [effect for one in held.hand_overs for effect in self._handovers.close(one, at_ms)]
        failures = list(_failures(pledges, held.hand_overs, at_ms))
        counters = self._closing.counters(steps, self._segment(steps), failures)
        held.steps, held.pledges, held.closed_ms = steps, pledges, at_ms
        held.result, held.ending = counters[0].split("/")[1], counters
        return [*effects, *[Effect(at_ms, (one,)) for one in counters]]

    def _segment(self, steps: Iterable[Step]) -> str:
        """The segment that the journey's first event to name a known one names."""
        known = (step.segment for step in steps if step.segment in self._segments)
        return next(known, None) or OTHER


_order = attrgetter("order")


def _look_ahead(held: OpenJourney) -> None:
    """When time changes it next."""
    next_ms: float = held.end_ms
    ones: list[Pledge | HandOver] = [*held.pledges, *held.hand_overs]
    for one in ones:
        if (due_ms := one.next_ms) < next_ms:
            next_ms = due_ms
    held.next_ms = int(next_ms)


def _reopen(held: OpenJourney) -> list[Effect]:
    """Take back what was counted after the end, which has turned out to be earlier; it is counted anew."""
    effects: list[Effect] = []
    ones: list[Pledge | HandOver] = [*held.pledges, *held.hand_overs]
    for one in ones:
        counted = one.counted()
        if any(effect.at_ms > held.end_ms for effect in counted):
            effects += taken_back(counted)
            one.reopen()
    return effects


def _failures(pledges: Iterable[Pledge], hand_overs: Iterable[HandOver], at_ms: int) -> Iterator[Failure]:
    """What was not kept and what was lost by then; whether the unhappy were called back is another matter."""
    for pledge in pledges:
        if pledge.kind != FOLLOW_UP and (failed_ms := pledge.failed_ms(at_ms)) is not None:
            yield Failure(failed_ms, PROMISE, pledge.kind)
    for one in hand_overs:
        if (failed_ms := one.failed_ms(at_ms)) is not None:
            yield Failure(failed_ms, HANDOFF, edge_name(one.sender, one.receiver))


def _waits(held: OpenJourney) -> list[tuple[int, float, int]]:
    """What was promised or handed over: since when (ms), until it was there, and when it is due."""
    found = [
        (one.waits_from_ms, inf if one.kept_ms is None else one.kept_ms, until_ms)
        for one in held.pledges
        if (until_ms := one.waits_until_ms) is not None
    ]
    return found + [
        (one.sent_ms, inf if one.received_ms is None else one.received_ms, one.due_ms)
        for one in held.hand_overs
        if one.due_ms is not None and one.sent_ms is not None
    ]
