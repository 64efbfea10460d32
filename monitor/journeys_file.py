"""The `journeys` section of a journey file: how a customer's events make up one journey."""

from collections.abc import Sequence

from monitor.journey import FOLLOW_UP, OTHER, Edge, FollowUp, Journeys, Match, PromiseKind, Stage
from monitor.yaml_reader import UNIT_MS, At

MATCH_FIELDS = ("stage", "outcome", "channel", "touchpoint", "partner", "reason", "initiator")

MAX_LIMIT_MS = 365 * UNIT_MS["d"]
"""A journey is kept in memory until it is over."""


def read_journeys(
    at: At, stages: Sequence[Stage], channels: Sequence[str], partners: Sequence[str]
) -> Journeys | None:
    """The section's rules; None, with what is wrong noted, when they cannot be read."""
    fields = at.fields(
        required=("starts", "goal", "limit"),
        optional=("ends", "quiet", "promises", "follow_up", "contacts", "handoffs"),
    )
    if not {"starts", "goal", "limit"} <= fields.keys():
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
    limit_ms = _duration(fields["limit"])
    if limit_ms > MAX_LIMIT_MS:
        fields["limit"].wrong("must be at most 365d")
    quiet_ms = _duration(fields["quiet"]) if "quiet" in fields else limit_ms
    if quiet_ms > limit_ms:
        fields["quiet"].wrong("must not be longer than `limit`")
    kinds = fields["promises"].members() if "promises" in fields else {}
    for kind, member in kinds.items():
        member.check_name(kind)
        if kind in (OTHER, FOLLOW_UP):
            member.wrong(f"`{kind}` is reserved")
    followed = _follow_up(fields["follow_up"], names, known) if "follow_up" in fields else None
    promises = [
        PromiseKind(kind, member.one_of(names, "stage") or names[0]) for kind, member in kinds.items()
    ]
    if followed is not None:
        promises.append(PromiseKind(FOLLOW_UP, followed[0]))
    return Journeys(
        starts=_match(fields["starts"], known),
        goal=_match(fields["goal"], known),
        ends=_match(fields["ends"], known) if "ends" in fields else None,
        quiet_ms=quiet_ms,
        limit_ms=limit_ms,
        promises=tuple(promises),
        follow_up=followed[1] if followed is not None else None,
        contacts=fields["contacts"].names(names, "stage") if "contacts" in fields else (),
        edges=_edges(fields["handoffs"], names) if "handoffs" in fields else (),
    )


def _match(at: At, known: dict[str, tuple[str, ...]]) -> Match:
    members = at.fields(required=(), optional=MATCH_FIELDS)
    if not members:
        at.wrong("must hold at least one condition")
    return Match(
        tuple((field, frozenset(member.names(known.get(field), field))) for field, member in members.items())
    )


def _follow_up(
    at: At, names: Sequence[str], known: dict[str, tuple[str, ...]]
) -> tuple[str, FollowUp] | None:
    """The stage that follows up, and how."""
    fields = at.fields(required=("stage", "outcome", "within"))
    if len(fields) < 3:
        return None
    stage = fields["stage"].one_of(names, "stage")
    outcomes = frozenset(fields["outcome"].names(known["outcome"], "outcome"))
    match = Match((("stage", frozenset({stage})), ("outcome", outcomes)))
    return stage if stage in names else names[0], FollowUp(match, _duration(fields["within"]))


def _edges(at: At, stages: Sequence[str]) -> tuple[Edge, ...]:
    found: dict[tuple[str, str], Edge] = {}
    for item in at.items():
        fields = item.fields(required=("from", "to", "within"))
        if len(fields) < 3:
            continue
        sender, receiver = fields["from"].one_of(stages, "stage"), fields["to"].one_of(stages, "stage")
        if sender == receiver:
            item.wrong("must lead from one stage to another")
        if (sender, receiver) in found:
            item.wrong(f"`{sender}` to `{receiver}` is given twice")
        found[sender, receiver] = Edge(sender, receiver, _duration(fields["within"]))
    return tuple(found.values())


def _duration(at: At) -> int:
    milliseconds = at.duration_ms(otherwise=UNIT_MS["d"])
    if milliseconds == 0:
        at.wrong("must be above 0")
    return milliseconds
