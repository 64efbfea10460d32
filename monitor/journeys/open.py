"""One customer's journey while it is under way: steps in, what they and the passing of time add up to out.

Nothing here depends on the order in which steps arrive, only on when they happened: what falls due is looked
at when every event from before then has been read (`steps`), so a worker that lags decides alike.
"""

from bisect import insort
from collections.abc import Iterable
from math import inf
from operator import attrgetter
from typing import NamedTuple

from msgspec import Struct

from monitor.counting.event import epoch_ms
from monitor.journey_file.model import FOLLOW_UP, NONE, OTHER, Edge, Journey
from monitor.journeys.closing import closing_counters, is_unhappy_answer, matches, result_of
from monitor.journeys.counters import label, name
from monitor.journeys.step import Step

MAX_STEPS = 200
"""More than any customer's journey has; a service that gives all its events one id would fill the memory."""

KEEP_MS = 3_600_000
"""For so long after its end a journey is known to be over. A later step of an unknown journey, if it is this
far behind the clock, is late: it opens none."""


class Effect(NamedTuple):
    """Counters to add 1 to, at an event time."""

    at_ms: int
    counters: tuple[str, ...]


class Pledge(Struct, array_like=True):
    """A promise of this journey, made at `made_ms`; at `fulfilled_ms` the service said how it went."""

    id: str
    kind: str
    made_ms: int
    partner: str | None = None
    due_ms: int | None = None
    is_counted: bool = False
    fulfilled_ms: int | None = None
    kept: bool = False
    is_due_told: bool = False

    @property
    def is_pending(self) -> bool:
        """Whether its deadline is still to come."""
        return self.due_ms is not None and not self.is_counted

    @property
    def is_overdue(self) -> bool:
        """Whether its deadline has passed and nothing has been heard."""
        return self.is_counted and self.fulfilled_ms is None

    @property
    def is_kept(self) -> bool:
        """Whether it was kept, by its deadline."""
        return (
            self.kept
            and self.fulfilled_ms is not None
            and (self.due_ms is None or self.fulfilled_ms <= self.due_ms)
        )


class HandOver(Struct, array_like=True):
    """Something handed over between two stages of this journey."""

    id: str
    sender: str
    receiver: str
    partner: str
    sent_ms: int | None = None
    due_ms: int | None = None
    received_ms: int | None = None
    is_counted: bool = False

    @property
    def is_pending(self) -> bool:
        """Whether it may still arrive in time."""
        return self.due_ms is not None and not self.is_counted

    @property
    def is_lost(self) -> bool:
        """Whether it has not arrived in time, nor since."""
        return self.is_counted and self.received_ms is None


class OpenJourney(Struct, array_like=True):
    """What is kept of a journey: its steps in the order of their time, and what waits in it.

    As far as is known it is over at `end_ms`, and time changes it next at `next_ms`. Of one that is over
    only `closed_ms` and its result are left, so that late steps are told, and whoever asks.
    """

    steps: list[Step] = []
    pledges: list[Pledge] = []
    hand_overs: list[HandOver] = []
    end_ms: int = 0
    next_ms: int = 0
    closed_ms: int | None = None
    result: str | None = None

    @property
    def is_full(self) -> bool:
        """Whether it takes no more steps."""
        return len(self.steps) >= MAX_STEPS


class JourneyRules:
    """What a journey file says about journeys, applied to one at a time. Stateless."""

    def __init__(self, journey: Journey) -> None:
        assert journey.journeys is not None  # noqa: S101 - the caller has looked
        self._journey = journey
        self.rules = journey.journeys
        self._stages = {stage.name: stage for stage in journey.stages}
        self._owing = {kind.name: self._stages[kind.stage] for kind in self.rules.promises}

    def take(self, held: OpenJourney, step: Step) -> list[Effect] | None:
        """Add a step; what it adds to at once. None when the step is known, too much, or comes too late."""
        steps = held.steps
        if held.closed_ms is not None or held.is_full:
            return None
        for known in steps:
            if known.offset == step.offset and known.source == step.source:
                return None
        is_first_hit = bool(step.bad_for) and not any(
            one.bad_for and one.stage == step.stage for one in steps
        )
        if steps and steps[-1].at_ms >= step.at_ms:
            insort(steps, step, key=_order)
        else:
            steps.append(step)
        effects = []
        if is_first_hit:
            effects.append(Effect(step.at_ms, (name("hit", step.stage, self._segment(steps)),)))
        if step.promise is not None:
            effects += self._promised(held, step)
        if step.handoff is not None:
            effects += self._handed(held, step)
        effects += self._answered(held, step)
        self._look_ahead(held)
        return effects

    def _look_ahead(self, held: OpenJourney) -> None:
        held.end_ms = held.next_ms = self._end_ms(held)
        for waiting in (held.pledges, held.hand_overs):
            for one in waiting:
                if one.due_ms is not None and one.due_ms < held.next_ms and one.is_pending:
                    held.next_ms = one.due_ms

    def pass_time(self, held: OpenJourney, clock_ms: int) -> list[Effect]:
        """Count what has fallen due by then, in the order of its time; close the journey if it is over."""
        effects: list[Effect] = []
        while held.closed_ms is None and (due_ms := held.next_ms) <= clock_ms:
            for pledge in held.pledges:
                if pledge.is_pending and pledge.due_ms == due_ms:
                    effects += self._due(pledge, due_ms)
            for one in held.hand_overs:
                if one.is_pending and one.due_ms == due_ms:
                    effects += self._arrived(one)
            self._look_ahead(held)
            if due_ms >= held.end_ms:
                effects += self._close(held, due_ms)
        return effects

    # -- promises and hand-overs ---------------------------------------------------------------------

    def _promised(self, held: OpenJourney, step: Step) -> list[Effect]:
        told = step.promise
        assert told is not None  # noqa: S101 - the caller has looked
        pledge = next((one for one in held.pledges if one.id == told.id), None)
        if pledge is None:
            pledge = Pledge(told.id, told.kind if told.kind in self._owing else OTHER, step.at_ms)
            held.pledges.append(pledge)
        pledge.made_ms = min(pledge.made_ms, step.at_ms)
        is_due_yet = pledge.due_ms is not None and pledge.due_ms < step.at_ms
        if pledge.partner in (None, OTHER) and not is_due_yet:  # what has been counted stays whose it was
            pledge.partner = self._partner(pledge.kind, step) or pledge.partner
        if told.due is not None and not pledge.is_due_told and not pledge.is_counted:
            pledge.due_ms, pledge.is_due_told = epoch_ms(told.due), True
        if told.kept is None:
            return []
        if pledge.due_ms is None:  # nobody said when: it falls due with the word that it is done
            pledge.due_ms = step.at_ms
        return self._fulfilled(pledge, step.at_ms, kept=told.kept)

    def _fulfilled(self, pledge: Pledge, at_ms: int, *, kept: bool) -> list[Effect]:
        """Word has come of how it went; the first word counts."""
        if pledge.fulfilled_ms is not None and pledge.fulfilled_ms <= at_ms:
            return []
        was_overdue = pledge.is_overdue
        pledge.fulfilled_ms, pledge.kept = at_ms, kept
        return [Effect(at_ms, (_promise_counter(pledge, "late"),))] if was_overdue else []

    def _answered(self, held: OpenJourney, step: Step) -> list[Effect]:
        """An unhappy customer's answer is to be followed up; what follows up may have come before it."""
        rule = self.rules.follow_up
        if rule is None:
            return []
        effects = []
        if matches(rule.match, step):
            for pledge in held.pledges:
                if pledge.kind == FOLLOW_UP and step.at_ms >= pledge.made_ms:
                    effects += self._fulfilled(pledge, step.at_ms, kept=True)
        if is_unhappy_answer(step):
            pledge = Pledge(f"{FOLLOW_UP}/{len(held.pledges)}", FOLLOW_UP, step.at_ms)
            pledge.due_ms = step.at_ms + rule.within_ms
            held.pledges.append(pledge)
            following = (one for one in held.steps if one.at_ms >= step.at_ms and matches(rule.match, one))
            for one in following:
                effects += self._fulfilled(pledge, one.at_ms, kept=True)
        return effects

    def _partner(self, kind: str, step: Step) -> str | None:
        """The partner who has to keep a promise: the step's, or whom it hands over to.

        `other` for one that the stage which owes it names and the journey file does not.
        """
        owing = self._owing.get(kind)
        if owing is None:
            return None
        told = (step.partner, step.handoff.to if step.handoff is not None else None)
        strange = OTHER if step.stage == owing.name and step.partner is not None else None
        return next((one for one in told if one in owing.partners), strange)

    def _due(self, pledge: Pledge, at_ms: int) -> list[Effect]:
        """The deadline has come, or the journey is over before it."""
        pledge.is_counted = True
        if pledge.is_kept:
            return [Effect(at_ms, (_promise_counter(pledge, "due"), _promise_counter(pledge, "kept")))]
        effects = [Effect(at_ms, (_promise_counter(pledge, "due"),))]
        if pledge.fulfilled_ms is not None:
            effects.append(Effect(max(pledge.fulfilled_ms, at_ms), (_promise_counter(pledge, "late"),)))
        return effects

    def _handed(self, held: OpenJourney, step: Step) -> list[Effect]:
        told = step.handoff
        assert told is not None  # noqa: S101 - the caller has looked
        edge = next((edge for edge in self.rules.edges if self._is_on(edge, told.from_, told.to)), None)
        if edge is None or step.stage not in (edge.sender, edge.receiver):
            return []
        partners = self._stages[edge.receiver].partners
        partner = label(told.to if told.to in partners else step.partner, partners)
        one = next((one for one in held.hand_overs if one.id == told.id), None)
        if one is None:
            one = HandOver(told.id, edge.sender, edge.receiver, partner)
            held.hand_overs.append(one)
        if step.stage == edge.sender and one.due_ms is None:
            one.partner = partner
            one.sent_ms, one.due_ms = step.at_ms, step.at_ms + edge.within_ms
            effects = [Effect(step.at_ms, (self._handed_counter(one, "sent"),))]
            if one.received_ms is not None:
                effects.append(Effect(one.received_ms, (self._handed_counter(one, "received"),)))
            return effects
        if step.stage == edge.receiver and one.received_ms is None:
            was_lost = one.is_lost
            one.received_ms = step.at_ms
            if one.sent_ms is None:  # to which partner it went, the sender has to say
                return []
            what = ("received", "late") if was_lost else ("received",)
            return [Effect(step.at_ms, tuple(self._handed_counter(one, each) for each in what))]
        return []

    def _is_on(self, edge: Edge, sender: str, receiver: str) -> bool:
        """Whether it runs there: the receiver may be named by its stage or as one of its partners."""
        known = (edge.receiver, *self._stages[edge.receiver].partners)
        return sender == edge.sender and receiver in known

    def _arrived(self, one: HandOver) -> list[Effect]:
        """It should have arrived by now."""
        assert one.due_ms is not None  # noqa: S101 - it is pending
        one.is_counted = True
        if one.received_ms is not None and one.received_ms <= one.due_ms:
            return []
        effects = [Effect(one.due_ms, (self._handed_counter(one, "lost"),))]
        if one.received_ms is not None:
            effects.append(Effect(one.received_ms, (self._handed_counter(one, "late"),)))
        return effects

    def _handed_counter(self, one: HandOver, what: str) -> str:
        return name("handoff", one.sender, one.receiver, one.partner, what)

    # -- the end -------------------------------------------------------------------------------------

    def _end_ms(self, held: OpenJourney) -> int:
        """When the journey is over, as far as is known."""
        steps = held.steps
        limit_ms = steps[0].at_ms + self.rules.limit_ms
        end_ms = limit_ms
        waits = _waits(held)
        for step in steps:
            at_ms = step.at_ms
            if at_ms > end_ms:
                break
            pending_ms = [due_ms for begun_ms, done_ms, due_ms in waits if begun_ms <= at_ms < done_ms]
            known_ms = max([at_ms, *pending_ms])
            if self.rules.ends is not None and matches(self.rules.ends, step):
                return min(known_ms, limit_ms)
            end_ms = min(known_ms + self.rules.quiet_ms, limit_ms)
        return end_ms

    def _close(self, held: OpenJourney, at_ms: int) -> list[Effect]:
        steps = [step for step in held.steps if step.at_ms <= at_ms]
        counters = closing_counters(self._journey, steps, self._segment(steps))
        pledges = [pledge for pledge in held.pledges if pledge.made_ms <= at_ms]
        effects = [effect for one in pledges if one.is_pending for effect in self._due(one, at_ms)]
        effects += [
            Effect(one.received_ms, (self._handed_counter(one, "received"),))
            for one in held.hand_overs
            if one.sent_ms is None and one.received_ms is not None and one.received_ms <= at_ms
        ]
        counters += [_promise_counter(pledge, "missed") for pledge in pledges if pledge.is_overdue]
        held.steps, held.pledges, held.hand_overs, held.closed_ms = [], [], [], at_ms
        held.result = result_of(counters)
        return [*effects, *[Effect(at_ms, (one,)) for one in counters]]

    def _segment(self, steps: Iterable[Step]) -> str:
        """The segment that the journey's first event to name a known one names."""
        known = (step.segment for step in steps if step.segment in self._journey.segments)
        return next(known, None) or OTHER


_order = attrgetter("order")


def _waits(held: OpenJourney) -> list[tuple[int, float, int]]:
    """What was promised or handed over: since when (ms), until it was there, and when it is due."""
    found = [
        (one.made_ms, inf if one.fulfilled_ms is None else one.fulfilled_ms, one.due_ms)
        for one in held.pledges
        if one.due_ms is not None
    ]
    return found + [
        (one.sent_ms, inf if one.received_ms is None else one.received_ms, one.due_ms)
        for one in held.hand_overs
        if one.due_ms is not None and one.sent_ms is not None
    ]


def _promise_counter(pledge: Pledge, what: str) -> str:
    return name("promise", pledge.kind, pledge.partner or NONE, what)
