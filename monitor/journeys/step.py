"""Steps: what the journey of a customer needs of an event, on its way to whoever keeps that journey.

Services choose their own keys, so the events of one journey arrive on many partitions. Each worker sends the
steps it reads on to the partition of their journey, all of one source partition and flush in one record. With
them goes a *mark*: no event of that source partition from before it is still to come. A case may span
journeys, so a contact goes to the partition of its case, beside the step that goes to that of its journey.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from monitor.counting.event import Event, Handoff, Promise, Score
from monitor.counting.judging import Verdict

Ms = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
"""A moment that a calendar knows, in ms since 1970."""

KeptMs = Annotated[int, Meta(ge=-(2**53), le=2**53)]
"""A moment as journeys keep it: days may be added to it, and it still fits a header of 8 bytes."""

GRACE_MS = 60_000
"""How far behind its partition's newest an event may come and still be in time for what falls due."""


class Step(Struct, frozen=True, array_like=True, gc=False):
    """One encounter of a journey. `stage`, `partition` and `offset` say where it was read: its identity."""

    journey_id: str
    stage: str
    partition: int
    offset: int
    at_ms: Ms
    outcome: str
    judged: int
    bad_for: tuple[str, ...]
    segment: str | None = None
    channel: str | None = None
    touchpoint: str | None = None
    partner: str | None = None
    reason: str | None = None
    initiator: str | None = None
    internal_ok: bool | None = None
    score: Score | None = None
    promise: Promise | None = None
    handoff: Handoff | None = None

    @property
    def source(self) -> tuple[str, int, int]:
        """Stage, partition and offset."""
        return self.stage, self.partition, self.offset

    @property
    def order(self) -> tuple[int, str, int, int]:
        """By time; steps of the same ms in an order that does not depend on how they arrived."""
        return self.at_ms, *self.source


class Contact(Struct, frozen=True, array_like=True, order=True, gc=False):
    """A customer turned to us. Ordered by time; those of the same ms by stage and id, not by arrival."""

    at_ms: Ms
    stage: str
    id: str
    case: str


class Steps(Struct, frozen=True, array_like=True, gc=False):
    """A record of the steps topic: steps and contacts of one source partition, oldest first, and its mark."""

    stage: str
    partition: int
    mark_ms: Ms
    steps: tuple[Step, ...]
    contacts: tuple[Contact, ...] = ()


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Steps).decode


def step_of(event: Event, at_ms: int, partition: int, offset: int, verdict: Verdict) -> Step:
    """The step of an event of that time that names its journey."""
    assert event.journey_id is not None  # noqa: S101 - the caller has looked
    return Step(
        event.journey_id,
        event.stage,
        partition,
        offset,
        at_ms,
        event.outcome,
        verdict.judged,
        verdict.bad_for,
        event.segment,
        event.channel,
        event.touchpoint,
        event.partner,
        event.reason,
        event.initiator,
        event.internal_ok,
        event.score,
        event.promise,
        event.handoff,
    )


def contact_of(event: Event) -> Contact | None:
    """The contact that an event of a contact stage is; None when we called, or when nothing names its case.

    Where no case is given, the journey is the case, whatever a service calls the cases it gives.
    """
    if event.initiator == "company" or event.id is None:
        return None
    if event.case_id is not None:
        return Contact(event.at_ms, event.stage, event.id, f"case:{event.case_id}")
    if event.journey_id is not None:
        return Contact(event.at_ms, event.stage, event.id, f"journey:{event.journey_id}")
    return None
