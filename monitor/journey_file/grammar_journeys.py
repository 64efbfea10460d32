"""The `journeys` section of a journey file: how a customer's events make up one journey."""

from decimal import Decimal

from monitor.journey_file.model import (
    FOLLOW_UP,
    OTHER,
    SCALES,
    UNHAPPY,
    Edge,
    FollowUp,
    Journey,
    Journeys,
    Match,
    PromiseKind,
)
from monitor.journey_file.nodes import FIXED, UNIT_MS, At, Known

MATCH_FIELDS = ("stage", "outcome", "channel", "touchpoint", "partner", "reason", "initiator")

MAX_LIMIT_MS = 365 * UNIT_MS["d"]
"""A journey is kept in memory until it is over."""


def read_journeys(at: At, journey: Journey) -> Journeys | None:
    """The section's rules for the stages of a journey; None, with what is wrong noted, if unreadable."""
    fields = at.fields(
        ("owner", "starts", "goal", "target", "limit"),
        (
            *("runbook", "targets", "ends", "quiet", "promises", "follow_up", "contacts", "handoffs"),
            *("unhappy", "moves", "understood"),
        ),
    )
    if not fields.complete:
        return None
    stages = journey.stages
    known = FIXED | {
        "stage": tuple(stage.name for stage in stages),
        "outcome": tuple(dict.fromkeys(outcome for stage in stages for outcome in stage.outcomes)),
        "channel": journey.channels,
        "partner": journey.partners,
        "reason": tuple(dict.fromkeys(reason for stage in stages for reason in stage.reasons)),
    }
    limit_ms = _duration(fields["limit"], MAX_LIMIT_MS)
    fields["limit"].check(limit_ms <= MAX_LIMIT_MS, "must be at most 365d")
    promises = fields.take("promises", _promises, (), journey)
    promise, follow_up = fields.take("follow_up", _follow_up, (None, None), journey, known, limit_ms)
    return Journeys(
        starts=_match(fields["starts"], known),
        goal=_match(fields["goal"], known),
        ends=fields.take("ends", _match, None, known),
        quiet_ms=fields.take("quiet", _within, limit_ms, limit_ms),
        limit_ms=limit_ms,
        owner=fields["owner"].text(),
        runbook=fields.take("runbook", At.address, ""),
        target=fields["target"].target(),
        segment_targets=fields.take("targets", At.targets, {}, journey.segments),
        promises=(*promises, promise) if promise else promises,
        follow_up=follow_up,
        unhappy={**UNHAPPY, **fields.take("unhappy", _unhappy, {})},
        contacts=fields.take("contacts", At.names, (), known["stage"], "stage"),
        edges=fields.take("handoffs", _edges, (), journey, limit_ms),
        moves_target=fields.take("moves", _only_target, None),
        understood_target=fields.take("understood", _only_target, None),
    )


def _unhappy(at: At) -> dict[str, float]:
    """The best answer of the unhappy, of the kinds given; not the best there is, for that is everybody."""
    found = {}
    for kind, member in at.fields(optional=SCALES).items():
        least, greatest = SCALES[kind]
        found[kind] = member.number()
        member.check(least <= found[kind] < greatest, f"must be at least {least} and below {greatest}")
    return found


def _only_target(at: At) -> Decimal | None:
    return at.fields(("target",)).take("target", At.target, None)


def _stage(at: At, journey: Journey) -> str:
    """The name of a stage; that of a partner is a usual slip, since events may name either."""
    name = at.text()
    names = [stage.name for stage in journey.stages]
    of = next((stage.name for stage in journey.stages if name in stage.partners), None)
    if of is not None and name not in names:
        at.wrong(f"`{name}` is a partner of stage `{of}`: name the stage")
        return name
    return at.one_of(names, "stage") if name else name


def _promises(at: At, journey: Journey) -> tuple[PromiseKind, ...]:
    found = []
    for kind, member in at.members().items():
        member.check_name(kind)
        member.check(kind not in (OTHER, FOLLOW_UP), f"`{kind}` is reserved")
        fields = member.fields(("stage", "target"))
        if fields.complete:
            found.append(PromiseKind(kind, _stage(fields["stage"], journey), fields["target"].target()))
    return tuple(found)


def _match(at: At, known: Known) -> Match:
    members = at.fields(optional=MATCH_FIELDS, empty="must hold at least one condition")
    return Match(
        tuple((field, frozenset(member.values(known.get(field), field))) for field, member in members.items())
    )


def _follow_up(
    at: At, journey: Journey, known: Known, limit_ms: int
) -> tuple[PromiseKind, FollowUp] | tuple[None, None]:
    """The promise, and how it is kept."""
    fields = at.fields(("stage", "outcome", "within", "target"))
    if not fields.complete:
        return None, None
    stage = _stage(fields["stage"], journey)
    outcomes = frozenset(fields["outcome"].values(known["outcome"], "outcome"))
    match = Match((("stage", frozenset({stage})), ("outcome", outcomes)))
    promise = PromiseKind(FOLLOW_UP, stage, fields["target"].target())
    return promise, FollowUp(match, _within(fields["within"], limit_ms))


def _edges(at: At, journey: Journey, limit_ms: int) -> tuple[Edge, ...]:
    found: dict[tuple[str, str], Edge] = {}
    names: dict[str, tuple[str, str]] = {}
    known = {stage.name for stage in journey.stages}
    for item in at.items():
        fields = item.fields(("from", "to", "within", "target"))
        if not fields.complete:
            continue
        sender, receiver = _stage(fields["from"], journey), _stage(fields["to"], journey)
        if sender == receiver and sender in known:
            item.wrong("must lead from one stage to another")
        item.check((sender, receiver) not in found, f"`{sender}` to `{receiver}` is given twice")
        first = names.setdefault(f"{sender}_{receiver}", (sender, receiver))
        if first != (sender, receiver):
            item.wrong(f"`{sender}` to `{receiver}` has the same name as `{first[0]}` to `{first[1]}`")
        within_ms = _within(fields["within"], limit_ms)
        found[sender, receiver] = Edge(sender, receiver, within_ms, fields["target"].target())
    return tuple(found.values())


def _within(at: At, limit_ms: int) -> int:
    """Milliseconds; what may come after the journey's end is never seen to come, or not to."""
    milliseconds = _duration(at, limit_ms)
    at.check(milliseconds <= limit_ms, "must not be longer than `limit`")
    return milliseconds


def _duration(at: At, otherwise: int) -> int:
    """Milliseconds; after a noted error `otherwise`."""
    milliseconds = at.duration_ms(otherwise)
    at.check(milliseconds, "must be above 0")
    return milliseconds or otherwise
