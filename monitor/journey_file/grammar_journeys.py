"""The `journeys` section of a journey file: how a customer's events make up one journey."""

from collections.abc import Sequence
from decimal import Decimal

from monitor.journey_file.model import FOLLOW_UP, OTHER, Edge, FollowUp, Journeys, Match, PromiseKind, Stage
from monitor.journey_file.nodes import UNIT_MS, At

MATCH_FIELDS = ("stage", "outcome", "channel", "touchpoint", "partner", "reason", "initiator")

MAX_LIMIT_MS = 365 * UNIT_MS["d"]
"""A journey is kept in memory until it is over."""


REQUIRED = ("owner", "starts", "goal", "target", "limit")


def read_journeys(
    at: At,
    stages: Sequence[Stage],
    segments: Sequence[str],
    channels: Sequence[str],
    partners: Sequence[str],
) -> Journeys | None:
    """The section's rules; None, with what is wrong noted, when they cannot be read."""
    fields = at.fields(
        required=REQUIRED,
        optional=(
            "runbook", "targets", "ends", "quiet", "promises", "follow_up", "contacts", "handoffs", "moves",
            "understood",
        ),
    )  # fmt: skip
    if not set(REQUIRED) <= fields.keys():
        return None
    names = tuple(stage.name for stage in stages)
    known = {
        "stage": names,
        "outcome": tuple(dict.fromkeys(outcome for stage in stages for outcome in stage.outcomes)),
        "channel": tuple(channels),
        "partner": tuple(partners),
        "reason": tuple(dict.fromkeys(reason for stage in stages for reason in stage.reasons)),
        "initiator": ("company", "customer"),
    }
    limit_ms = _duration(fields["limit"], otherwise=MAX_LIMIT_MS)
    if limit_ms > MAX_LIMIT_MS:
        fields["limit"].wrong("must be at most 365d")
    quiet_ms = _duration(fields["quiet"], otherwise=limit_ms) if "quiet" in fields else limit_ms
    if quiet_ms > limit_ms:
        fields["quiet"].wrong("must not be longer than `limit`")
    kinds = fields["promises"].members() if "promises" in fields else {}
    for kind, member in kinds.items():
        member.check_name(kind)
        if kind in (OTHER, FOLLOW_UP):
            member.wrong(f"`{kind}` is reserved")
    followed = _follow_up(fields["follow_up"], stages, known, limit_ms) if "follow_up" in fields else None
    promises = [
        promise for kind, member in kinds.items() if (promise := _promise(kind, member, stages)) is not None
    ]
    if followed is not None:
        promises.append(followed[0])
    return Journeys(
        starts=_match(fields["starts"], known),
        goal=_match(fields["goal"], known),
        ends=_match(fields["ends"], known) if "ends" in fields else None,
        quiet_ms=quiet_ms,
        limit_ms=limit_ms,
        owner=fields["owner"].text(),
        runbook=fields["runbook"].address() if "runbook" in fields else "",
        target=fields["target"].target(),
        segment_targets=fields["targets"].targets(segments) if "targets" in fields else {},
        promises=tuple(promises),
        follow_up=followed[1] if followed is not None else None,
        contacts=fields["contacts"].names(names, "stage") if "contacts" in fields else (),
        edges=_edges(fields["handoffs"], stages, limit_ms) if "handoffs" in fields else (),
        moves_target=_only_target(fields["moves"]) if "moves" in fields else None,
        understood_target=_only_target(fields["understood"]) if "understood" in fields else None,
    )


def _only_target(at: At) -> Decimal | None:
    fields = at.fields(required=("target",))
    return fields["target"].target() if fields else None


def _stage(at: At, stages: Sequence[Stage]) -> str:
    """The name of a stage; that of a partner is a usual slip, since events may name either."""
    name = at.text()
    names = [stage.name for stage in stages]
    of = next((stage.name for stage in stages if name in stage.partners), None)
    if of is not None and name not in names:
        at.wrong(f"`{name}` is a partner of stage `{of}`: name the stage")
        return name
    return at.one_of(names, "stage") if name else name


def _promise(kind: str, at: At, stages: Sequence[Stage]) -> PromiseKind | None:
    fields = at.fields(required=("stage", "target"))
    if len(fields) < 2:
        return None
    return PromiseKind(kind, _stage(fields["stage"], stages), fields["target"].target())


def _match(at: At, known: dict[str, tuple[str, ...]]) -> Match:
    members = at.fields(required=(), optional=MATCH_FIELDS)
    at.check_not_empty("must hold at least one condition")
    return Match(
        tuple((field, frozenset(member.values(known.get(field), field))) for field, member in members.items())
    )


def _follow_up(
    at: At, stages: Sequence[Stage], known: dict[str, tuple[str, ...]], limit_ms: int
) -> tuple[PromiseKind, FollowUp] | None:
    """The promise, and how it is kept."""
    fields = at.fields(required=("stage", "outcome", "within", "target"))
    if len(fields) < 4:
        return None
    stage = _stage(fields["stage"], stages)
    outcomes = frozenset(fields["outcome"].values(known["outcome"], "outcome"))
    match = Match((("stage", frozenset({stage})), ("outcome", outcomes)))
    promise = PromiseKind(FOLLOW_UP, stage, fields["target"].target())
    return promise, FollowUp(match, _within(fields["within"], limit_ms))


def _edges(at: At, stages: Sequence[Stage], limit_ms: int) -> tuple[Edge, ...]:
    found: dict[tuple[str, str], Edge] = {}
    names: dict[str, tuple[str, str]] = {}
    known = {stage.name for stage in stages}
    for item in at.items():
        fields = item.fields(required=("from", "to", "within", "target"))
        if len(fields) < 4:
            continue
        sender, receiver = _stage(fields["from"], stages), _stage(fields["to"], stages)
        if sender == receiver and sender in known:
            item.wrong("must lead from one stage to another")
        if (sender, receiver) in found:
            item.wrong(f"`{sender}` to `{receiver}` is given twice")
        first = names.setdefault(f"{sender}_{receiver}", (sender, receiver))
        if first != (sender, receiver):
            item.wrong(f"`{sender}` to `{receiver}` cannot be told from `{first[0]}` to `{first[1]}`")
        found[sender, receiver] = Edge(
            sender, receiver, _within(fields["within"], limit_ms), fields["target"].target()
        )
    return tuple(found.values())


def _within(at: At, limit_ms: int) -> int:
    """Milliseconds; what may come after the journey's end is never seen to come, or not to."""
    milliseconds = _duration(at, otherwise=limit_ms)
    if milliseconds > limit_ms:
        at.wrong("must not be longer than `limit`")
    return milliseconds


def _duration(at: At, otherwise: int) -> int:
    """Milliseconds; after a noted error `otherwise`."""
    milliseconds = at.duration_ms(otherwise)
    if milliseconds == 0:
        at.wrong("must be above 0")
        return otherwise
    return milliseconds
