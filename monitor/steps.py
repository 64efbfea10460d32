"""Steps: what the journey of a customer needs of an event, on its way to whoever keeps that journey.

Services choose their own keys, so the events of one journey arrive on many partitions. Each worker sends the
steps it reads on to the partition of their journey, all of one source partition and flush in one record. With
them goes a *mark*: no event of that source partition from before it is still to come.
"""

import msgspec
from msgspec import Struct

from monitor.event import Event, Handoff, Promise, Score
from monitor.judging import Verdict

GRACE_MS = 60_000
"""How far behind its partition's newest an event may come and still be in time for what falls due."""


class Step(Struct, frozen=True, array_like=True, gc=False):
    """One encounter of a journey. `stage`, `partition` and `offset` say where it was read: its identity."""

    journey_id: str
    stage: str
    partition: int
    offset: int
    at_ms: int
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


class Steps(Struct, frozen=True, array_like=True):
    """A record of the steps topic: steps of one source partition, oldest offset first, and its mark."""

    stage: str
    partition: int
    mark_ms: int
    steps: tuple[Step, ...]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Steps).decode


def step_of(event: Event, partition: int, offset: int, verdict: Verdict) -> Step:
    """The step of an event that names its journey."""
    assert event.journey_id is not None  # noqa: S101 - the caller has looked
    return Step(
        event.journey_id, event.stage, partition, offset, event.at_ms, event.outcome, verdict.judged,
        verdict.bad_for, event.segment, event.channel, event.touchpoint, event.partner, event.reason,
        event.initiator, event.internal_ok, event.score, event.promise, event.handoff,
    )  # fmt: skip
