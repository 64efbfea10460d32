"""What one stage hands over to another in a journey, and whether it has arrived.

Of several steps that say the same the first in time counts. What is read after something was counted takes
that back, if it is no longer so, and it is counted anew: no order of arrival matters.
"""

from collections.abc import Iterable
from math import inf

from msgspec import Struct

from monitor.journey_file.model import Edge, Journey
from monitor.journeys.counters import Effect, label, name, taken_back
from monitor.journeys.step import KeptMs, Step


class HandOver(Struct, array_like=True, gc=False):
    """Something handed over between two stages of this journey."""

    id: str
    sender: str
    receiver: str
    partner: str
    sent_ms: KeptMs | None = None
    due_ms: KeptMs | None = None
    received_ms: KeptMs | None = None
    is_counted: bool = False
    """Whether it was looked at when it was due."""
    is_sent_counted: bool = True
    is_received_counted: bool = True
    """So it is with what an earlier version has heard of."""

    @property
    def about(self) -> tuple[str, str, str]:
        """What tells it from others of the journey."""
        return self.id, self.sender, self.receiver

    @property
    def begun_ms(self) -> float:
        """When it was first heard of."""
        return min(inf if at_ms is None else at_ms for at_ms in (self.sent_ms, self.received_ms))

    @property
    def is_pending(self) -> bool:
        """Whether it may still arrive in time."""
        return self.due_ms is not None and not self.is_counted

    @property
    def is_lost(self) -> bool:
        """Whether it has not arrived in time, nor since."""
        return self.is_counted and self.received_ms is None

    @property
    def next_ms(self) -> float:
        """When something of it is counted next."""
        if self.sent_ms is None or self.due_ms is None:
            return inf
        sent_ms = inf if self.is_sent_counted else self.sent_ms
        due_ms = inf if self.is_counted else self.due_ms
        is_told = self.received_ms is None or self.is_received_counted
        received_ms = inf if is_told else max(self.sent_ms, self.received_ms or 0)
        return min(sent_ms, due_ms, received_ms)

    def failed_ms(self, by_ms: int) -> int | None:
        """Since when it was lost; None if it was not by then."""
        if self.due_ms is None or self.due_ms > by_ms or not self._is_late:
            return None
        return self.due_ms

    @property
    def _is_late(self) -> bool:
        """Whether it had not been received by its time."""
        return self.due_ms is not None and (self.received_ms or inf) > self.due_ms

    @property
    def sent(self) -> Effect:
        """What its sending adds to."""
        return self.effect(self.sent_ms, "sent")

    @property
    def due(self) -> list[Effect]:
        """What its time adds to, when that has come."""
        return [self.effect(self.due_ms, "lost")] if self._is_late else []

    @property
    def received(self) -> Effect:
        """What its receipt adds to."""
        return self.effect(self.received_ms, *(("received", "late") if self._is_late else ("received",)))

    def effect(self, at_ms: int | None, *what: str) -> Effect:
        """What is counted of it at that time."""
        assert at_ms is not None  # noqa: S101 - it has happened
        return Effect(at_ms, tuple(name("handoff", *self.about[1:], self.partner, one) for one in what))

    def counted(self) -> list[Effect]:
        """What has been added to for it, as long as the journey is under way."""
        if self.sent_ms is None:
            return []
        effects = [self.sent] if self.is_sent_counted else []
        if self.is_counted:
            effects += self.due
        if self.is_received_counted and self.received_ms is not None:
            effects.append(self.received)
        return effects

    def reopen(self) -> None:
        """What was counted is taken back."""
        self.is_counted = self.is_sent_counted = self.is_received_counted = False


class HandOvers:
    """What a journey file says about hand-overs. Stateless."""

    def __init__(self, journey: Journey) -> None:
        self._edges = _edges(journey)
        self._partners = {stage.name: stage.partners for stage in journey.stages}

    def take(self, hand_overs: list[HandOver], step: Step) -> list[Effect]:
        """Note what this step says of one; returns what is taken back. Of two partners that are named in the
        same ms it is the one whose name comes first."""
        told, at_ms = step.handoff, step.at_ms
        edge = None if told is None else self._edges.get((told.from_, told.to))
        if told is None or edge is None or step.stage not in (edge.sender, edge.receiver):
            return []
        partners = self._partners[edge.receiver]
        partner = label(told.to if told.to in partners else step.partner, partners)
        about = told.id, edge.sender, edge.receiver
        one = next((one for one in hand_overs if one.about == about), None)
        if one is None:
            one = HandOver(*about, partner, is_sent_counted=False, is_received_counted=False)
            hand_overs.append(one)
        before = one.counted()
        if step.stage == edge.sender:
            if one.sent_ms is None or (at_ms, partner) < (one.sent_ms, one.partner):
                one.partner, one.sent_ms, one.due_ms = partner, at_ms, at_ms + edge.within_ms
        elif one.received_ms is None or at_ms <= one.received_ms:
            if one.sent_ms is None:
                one.partner = partner if at_ms != one.received_ms else min(partner, one.partner)
            one.received_ms = at_ms
        if not before or one.counted() == before:
            return []
        one.reopen()
        return taken_back(before)

    def read(self, steps: Iterable[Step], until_ms: int) -> list[HandOver]:
        """What these steps, all there are, tell of, when all that has happened by then was counted."""
        found: list[HandOver] = []
        for step in steps:
            self.take(found, step)
        for one in found:
            one.is_sent_counted = one.sent_ms is not None
            one.is_counted = one.due_ms is not None and one.due_ms <= until_ms
            one.is_received_counted = one.is_sent_counted and one.received_ms is not None
        return found

    def fall_due(self, one: HandOver, now_ms: int) -> list[Effect]:
        """It was sent, it was received, or it should have been by now."""
        if not one.is_sent_counted:
            one.is_sent_counted = True
            return [one.sent]
        if one.received_ms is not None and not one.is_received_counted and one.received_ms <= now_ms:
            one.is_received_counted = True
            return [one.received]
        one.is_counted = True
        return one.due

    def close(self, one: HandOver, at_ms: int) -> list[Effect]:
        """The journey is over: what it has received and not sent, and what it waits for no more."""
        received_ms = inf if one.received_ms is None else one.received_ms
        if one.sent_ms is None or one.sent_ms > at_ms:
            return [one.received] if received_ms <= at_ms else []
        if one.is_counted or received_ms <= at_ms:
            return []
        one.is_counted = True
        return [one.effect(at_ms, "lost")]


def _edges(journey: Journey) -> dict[tuple[str, str], Edge]:
    """Hand-overs by sender and receiver; the receiver may be named by its stage or as one of its partners."""
    assert journey.journeys is not None  # noqa: S101 - the caller has looked
    found: dict[tuple[str, str], Edge] = {}
    for edge in journey.journeys.edges:
        for receiver in (edge.receiver, *journey.stage(edge.receiver).partners):
            found.setdefault((edge.sender, receiver), edge)
    return found
