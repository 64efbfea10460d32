"""The grammar of the journey file: YAML text in, a `Journey` or every error at once out.

Each error says line, YAML path and nearest valid name; how they are noted is the business of `nodes`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import cast, get_args
from zoneinfo import available_timezones

from monitor.journey_file.grammar_journeys import read_journeys
from monitor.journey_file.model import (
    ALL,
    CHANGES_TOPIC,
    FINDINGS_TOPIC,
    JOURNEYS_TOPIC,
    OUTCOMES,
    WHOLE,
    Condition,
    Experience,
    Hours,
    Journey,
    Kind,
    Links,
    Stage,
)
from monitor.journey_file.nodes import FIXED, UNIT_MS, At, JourneyFileError, Known, nearest, read

TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,200}")
"""Kafka allows 249 characters; the changelog topic derived from it adds to them."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SPAN = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00))")
SPAN_EXAMPLE = "09:00-21:00 or 09:00-12:00, 13:00-24:00"

MAX_STAGES = 50
"""Each stage is a topic, a changelog and some 1,500 series; Prometheus gets those of fifty in a second."""

MAX_DEDUPE_S = 86_400
"""Ids are kept in memory for so long, 16 bytes each."""

MAX_HORIZON_MS = 3650 * UNIT_MS["d"]

MIN_HORIZON_MS = 7 * UNIT_MS["d"]
"""The longest window; a shorter horizon would leave it never full."""

TEXT_FIELDS = (
    *("outcome", "touchpoint", "channel", "partner", "location", "reason", "initiator", "segment"),
    *("score.kind", "promise.kind"),
)
NUMBER_FIELDS = ("duration_s", "wait_s", "system_wait_s", "score.value")
BOOLEAN_FIELDS = ("internal_ok", "promise.kept")
CONDITION_FIELDS = (*TEXT_FIELDS, *NUMBER_FIELDS, *BOOLEAN_FIELDS)


OWN_TOPICS = ("changes_topic", "findings_topic", "journeys_topic")
"""Topics of the journey, none of which may be another's."""


def parse(text: str) -> Journey:
    """Build the journey of a YAML text; JourneyFileError names everything wrong with it."""
    root = read(text)
    journey = _journey(root)
    if root.errors:
        raise JourneyFileError(root.errors)
    return journey


def _journey(root: At) -> Journey:
    fields = root.fields(
        ("version", "journey", "segments", "stages"),
        (
            *("title", "timezone", "horizon", "links", "channels", "partners"),
            *("changes_topic", "findings_topic", "journeys_topic", "journeys"),
        ),
    )
    if fields.take("version", At.text, "") not in ("1", ""):
        fields["version"].wrong("this version of the monitor reads version 1")
    name = fields.take("journey", At.name, "")
    journey = Journey(
        name,
        title=fields.take("title", At.text, name),
        timezone=fields.take("timezone", _timezone, "UTC"),
        horizon_ms=fields.take("horizon", _horizon_ms, 8 * UNIT_MS["d"]),
        segments=fields.take("segments", At.names, ()),
        channels=fields.take("channels", At.names, ()),
        partners=fields.take("partners", At.names, ()),
        links=fields.take("links", _links, Links()),
        changes_topic=fields.take("changes_topic", _topic, CHANGES_TOPIC),
        findings_topic=fields.take("findings_topic", _topic, FINDINGS_TOPIC),
        journeys_topic=fields.take("journeys_topic", _topic, JOURNEYS_TOPIC),
        stages=(),
    )
    if "stages" not in fields:
        return journey
    members = fields["stages"].members("must name at least one stage")
    if len(members) > MAX_STAGES:
        fields["stages"].wrong(f"are {len(members)}; one journey may have {MAX_STAGES}")
    stages = tuple(_stage(name, at, tuple(members), journey) for name, at in members.items())
    journey = replace(journey, stages=stages)
    others: dict[str, str] = {}
    for key in OWN_TOPICS:
        if (topic := getattr(journey, key)) in others:
            fields.get(key, root).wrong(f"topic `{topic}` already belongs to {others[topic]}")
        others.setdefault(topic, f"`{key}`")
    _no_shared_topic(others, stages, members)
    for stage in stages:
        if stage.name in journey.upstream(stage):
            members[stage.name].wrong("depends on itself through `depends_on`")
    return replace(journey, journeys=fields.take("journeys", read_journeys, None, journey))


def _timezone(at: At) -> str:
    timezone = at.text()
    if timezone not in ("UTC", "") and timezone not in (zones := available_timezones()):
        at.wrong(f"unknown time zone `{timezone}`{nearest(timezone, sorted(zones))[:80]}")
    return timezone


def _horizon_ms(at: At) -> int:
    horizon_ms = at.duration_ms(MIN_HORIZON_MS)
    at.check(horizon_ms >= MIN_HORIZON_MS, "must be at least 7d, the longest window")
    at.check(horizon_ms <= MAX_HORIZON_MS, "must be at most 3650d")
    return horizon_ms


def _topic(at: At) -> str:
    topic = at.text()
    _check_topic(at, topic)
    return topic


def _check_topic(at: At, topic: str) -> None:
    if topic and not TOPIC.fullmatch(topic):
        at.wrong(f"`{topic}` is not a Kafka topic name")


def _links(at: At) -> Links:
    found = {}
    for key, member in at.fields(optional=("monitor", "grafana", "webhook", "webhook_token_file")).items():
        if key == "webhook_token_file":
            found[key] = member.text()
            continue
        text = member.address()
        if key != "webhook" and ("?" in text or "#" in text):
            member.wrong(f"`{text}` must end with its path: the rest of each link is put behind it")
        found[key] = text if "?" in text else text.rstrip("/")
    return Links(**found)


def _stage(name: str, at: At, names: Sequence[str], journey: Journey) -> Stage:
    at.check_name(name)
    at.check(name not in (ALL, WHOLE), f"`{name}` is reserved")
    fields = at.fields(
        ("kind", "owner", "experiences"),
        (
            *("title", "topic", "partitions", "runbook", "depends_on", "outcomes", "partners"),
            *("locations", "reasons", "touchpoints", "expects", "hours", "dedupe_s"),
        ),
    )
    topic = fields.take("topic", At.text, f"touchpoint.{name.replace('_', '-')}.v1")
    _check_topic(fields.get("topic", at), topic)
    per_hour, by_hour = fields.take("expects", _expects, (None, ()))
    known = FIXED | {
        "outcome": OUTCOMES + fields.take("outcomes", _further_outcomes, ()),
        "segment": journey.segments,
        "channel": journey.channels,
        "partner": fields.take("partners", At.names, (), journey.partners, "partner"),
        "location": fields.take("locations", At.names, ()),
        "reason": fields.take("reasons", At.names, ()),
    }
    touchpoints = fields.take("touchpoints", At.names, ())
    if touchpoints:
        known["touchpoint"] = touchpoints
    return Stage(
        name=name,
        title=fields.take("title", At.text, _titled(name)),
        kind=cast(Kind, fields.take("kind", At.one_of, "", get_args(Kind), "kind")),
        topic=topic,
        partitions=fields.take("partitions", _whole, None),
        owner=fields.take("owner", At.text, ""),
        runbook=fields.take("runbook", At.address, ""),
        depends_on=fields.take("depends_on", At.names, (), [s for s in names if s != name], "stage"),
        outcomes=known["outcome"],
        partners=known["partner"],
        locations=known["location"],
        reasons=known["reason"],
        touchpoints=touchpoints,
        per_hour=per_hour,
        by_hour=by_hour,
        hours=fields.take("hours", _hours, ()),
        dedupe_ms=fields.take("dedupe_s", _dedupe_ms, 0),
        experiences=fields.take("experiences", _experiences, (), journey.segments, known),
    )


def _titled(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _further_outcomes(at: At) -> tuple[str, ...]:
    further = at.names()
    for outcome in (known for known in OUTCOMES if known in further):
        at.wrong(f"`{outcome}` is an outcome of every stage; declare only others")
    return further


def _dedupe_ms(at: At) -> int:
    seconds = _whole(at)
    at.check(seconds <= MAX_DEDUPE_S, f"must be at most {MAX_DEDUPE_S}, one day")
    return seconds * 1000


def _expects(at: At) -> tuple[float | None, tuple[float, ...]]:
    fields = at.fields(("per_hour",), ("by_hour",))
    return fields.take("per_hour", _positive, None), fields.take("by_hour", _by_hour, ())


def _by_hour(at: At) -> tuple[float, ...]:
    by_hour = tuple(item.number() for item in at.items())
    if len(by_hour) != 24 or min(by_hour) < 0 or sum(by_hour) == 0:
        at.wrong("must be 24 weights from midnight on, none negative, not all 0")
    return by_hour


def _hours(at: At) -> Hours:
    week: list[tuple[tuple[int, int], ...]] = [()] * len(DAYS)
    given: set[int] = set()
    for key, member in at.members("must name at least one day").items():
        spans = _spans(member)
        for day in _days(key, member):
            member.check(day not in given, f"`{DAYS[day]}` is given twice")
            given.add(day)
            week[day] = spans
    return tuple(week)


def _days(key: str, at: At) -> Iterable[int]:
    names = key.split("-")
    unknown = [name for name in names if name not in DAYS]
    for name in unknown:
        at.wrong(f"unknown day `{name}`{nearest(name, DAYS)}")
    if unknown:
        return ()
    first, last = DAYS.index(names[0]), DAYS.index(names[-1])
    if len(names) > 2 or (len(names) == 2 and first >= last):
        at.wrong(f"`{key}` must be a day such as mon, or days from one to a later one such as mon-fri")
        return ()
    return range(first, last + 1)


def _spans(at: At) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    text = at.text()
    for part in text.split(",") if text else ():
        match = SPAN.fullmatch(part.strip())
        if not match:
            at.wrong(f"`{part.strip()}` must be hours such as {SPAN_EXAMPLE}")
            continue
        times = [int(number) for number in match.groups() if number is not None]
        start, end = times[0] * 60 + times[1], times[2] * 60 + times[3]
        if start >= end:
            at.wrong(f"`{match[0]}` must end after it begins; write a night as two, to 24:00 and from 00:00")
        elif found and start < found[-1][1]:
            at.wrong(f"`{match[0]}` must begin where the hours before it end, or later")
        found.append((start, end))
    return tuple(found)


def _positive(at: At) -> float:
    value = at.number()
    at.check(value > 0, "must be above 0")
    return value


def _whole(at: At) -> int:
    value = at.decimal()
    at.check(value > 0 and value == value.to_integral_value(), "must be a whole number above 0")
    return int(value)


def _experiences(at: At, segments: Sequence[str], known: Known) -> tuple[Experience, ...]:
    members = at.members("must name at least one experience")
    return tuple(_experience(name, member, segments, known) for name, member in members.items())


def _experience(name: str, at: At, segments: Sequence[str], known: Known) -> Experience:
    at.check_name(name)
    fields = at.fields(("judges", "good", "target"), ("title", "ignores", "targets"))
    return Experience(
        name=name,
        title=fields.take("title", At.text, _titled(name)),
        judges=fields.take("judges", _conditions, (), known),
        ignores=fields.take("ignores", _conditions, (), known),
        good=fields.take("good", _conditions, (), known, "must hold at least one condition"),
        target=fields.take("target", At.target, Decimal("0.5")),
        segment_targets=fields.take("targets", At.targets, {}, segments),
    )


def _conditions(at: At, known: Known, empty: str | None = None) -> tuple[Condition, ...]:
    members = at.fields(optional=CONDITION_FIELDS, empty=empty)
    return tuple(_condition(field, member, known) for field, member in members.items())


def _condition(field: str, at: At, known: Known) -> Condition:
    if field in TEXT_FIELDS:
        return Condition(field, one_of=frozenset(at.values(known.get(field), field)))
    if field in BOOLEAN_FIELDS:
        return Condition(field, is_true=at.one_of(("true", "false"), "truth value") == "true")
    bounds = at.fields(optional=("at_most", "at_least"), empty="needs at_most or at_least")
    at_most, at_least = (bounds.take(bound, At.number, None) for bound in ("at_most", "at_least"))
    return Condition(field, at_most=at_most, at_least=at_least)


def _no_shared_topic(owner: dict[str, str], stages: Iterable[Stage], fields: dict[str, At]) -> None:
    for stage in stages:
        for topic in (stage.topic, stage.dead_letter_topic):
            if topic in owner:
                fields[stage.name].wrong(f"topic `{topic}` already belongs to {owner[topic]}")
            owner.setdefault(topic, f"stage `{stage.name}`")
