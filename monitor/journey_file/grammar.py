"""The grammar of the journey file: YAML text in, a `Journey` or every error at once out.

Each error says line, YAML path and nearest valid name; how they are noted is the business of `yaml_reader`.
"""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import get_args
from zoneinfo import ZoneInfo, available_timezones

from monitor.journey_file.grammar_journeys import read_journeys
from monitor.journey_file.model import (
    ALL,
    CHANGES_TOPIC,
    FINDINGS_TOPIC,
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
from monitor.journey_file.nodes import UNIT_MS, At, read
from monitor.journey_file.nodes import (
    JourneyFileError as JourneyFileError,  # readers of a journey file catch it
)
from monitor.journey_file.nodes import nearest as nearest  # and name what they do not know in the same words

TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,200}")
"""Kafka allows 249 characters; the changelog topic derived from it adds to them."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SPAN = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00))")
SPAN_EXAMPLE = "09:00-21:00 or 09:00-12:00, 13:00-24:00"

MAX_STAGES = 50
"""Each stage is a topic, a changelog and some 700 series; 10,000 series are the sane most of one instance."""

MAX_DEDUPE_S = 86_400
"""Ids are kept in memory for so long, 16 bytes each."""

MAX_HORIZON_MS = 3650 * UNIT_MS["d"]

MIN_HORIZON_MS = 7 * UNIT_MS["d"]
"""The longest window; a shorter horizon would leave it never full."""

TEXT_FIELDS = (
    "outcome", "touchpoint", "channel", "partner", "location", "reason", "initiator", "segment",
    "score.kind", "promise.kind",
)  # fmt: skip
NUMBER_FIELDS = ("duration_s", "wait_s", "system_wait_s", "score.value")
BOOLEAN_FIELDS = ("internal_ok", "promise.kept")
CONDITION_FIELDS = (*TEXT_FIELDS, *NUMBER_FIELDS, *BOOLEAN_FIELDS)


def parse(text: str) -> Journey:
    """Build the journey of a YAML text; JourneyFileError names everything wrong with it."""
    root = read(text)
    journey = _journey(root)
    if root.errors or journey is None:
        raise JourneyFileError(root.errors)
    return journey


def _journey(root: At) -> Journey | None:
    fields = root.fields(
        required=("version", "journey", "segments", "stages"),
        optional=(
            "title",
            "timezone",
            "horizon",
            "links",
            "channels",
            "partners",
            "changes_topic",
            "findings_topic",
            "journeys",
        ),
    )
    if "version" in fields and fields["version"].text() not in ("1", ""):
        fields["version"].wrong("this version of the monitor reads version 1")
    name = fields["journey"].name() if "journey" in fields else ""
    timezone = fields["timezone"].text() if "timezone" in fields else "UTC"
    if timezone not in ("UTC", "") and timezone not in (zones := available_timezones()):
        hint = nearest(timezone, sorted(zones))[:80]
        fields["timezone"].wrong(f"unknown time zone `{timezone}`{hint}")
    horizon_ms = fields["horizon"].duration_ms(MIN_HORIZON_MS) if "horizon" in fields else 8 * UNIT_MS["d"]
    if "horizon" in fields and horizon_ms < MIN_HORIZON_MS:
        fields["horizon"].wrong("must be at least 7d, the longest window")
    if horizon_ms > MAX_HORIZON_MS:
        fields["horizon"].wrong("must be at most 3650d")
    segments = fields["segments"].names() if "segments" in fields else ()
    channels = fields["channels"].names() if "channels" in fields else ()
    partners = fields["partners"].names() if "partners" in fields else ()
    links = _links(fields["links"]) if "links" in fields else Links()
    changes_topic = _topic(fields["changes_topic"]) if "changes_topic" in fields else CHANGES_TOPIC
    findings_topic = _topic(fields["findings_topic"]) if "findings_topic" in fields else FINDINGS_TOPIC
    if "stages" not in fields:
        return None
    stage_fields = fields["stages"].members()
    fields["stages"].check_not_empty("must name at least one stage")
    if len(stage_fields) > MAX_STAGES:
        fields["stages"].wrong(f"are {len(stage_fields)}; one journey may have {MAX_STAGES}")
    stages = tuple(
        _stage(stage_name, at, tuple(stage_fields), segments, channels, partners)
        for stage_name, at in stage_fields.items()
    )
    journeys = None
    if "journeys" in fields:
        journeys = read_journeys(fields["journeys"], stages, segments, channels, partners)
    if changes_topic == findings_topic:
        fields.get("findings_topic", root).wrong(
            f"topic `{findings_topic}` already belongs to `changes_topic`"
        )
    others = {changes_topic: "`changes_topic`", findings_topic: "`findings_topic`"}
    _no_shared_topic(others, stages, stage_fields)
    _no_dependency_cycle(stages, stage_fields)
    title = fields["title"].text() if "title" in fields else name
    return Journey(
        name,
        title,
        timezone,
        horizon_ms,
        segments,
        channels,
        partners,
        links,
        changes_topic,
        findings_topic,
        stages,
        journeys,
    )


def _topic(at: At) -> str:
    topic = at.text()
    if topic and not TOPIC.fullmatch(topic):
        at.wrong(f"`{topic}` is no Kafka topic name")
    return topic


def _links(at: At) -> Links:
    found = {}
    for key, member in at.fields(required=(), optional=("monitor", "grafana", "webhook")).items():
        text = member.address()
        if key != "webhook" and ("?" in text or "#" in text):
            member.wrong(f"`{text}` must end with its path: the rest of each link is put behind it")
        found[key] = text if "?" in text else text.rstrip("/")
    return Links(**found)


def _stage(
    name: str,
    at: At,
    stage_names: tuple[str, ...],
    segments: tuple[str, ...],
    channels: tuple[str, ...],
    partners: tuple[str, ...],
) -> Stage:
    at.check_name(name)
    if name in (ALL, WHOLE):
        at.wrong(f"`{name}` is reserved")
    fields = at.fields(
        required=("kind", "owner", "experiences"),
        optional=(
            "title", "topic", "partitions", "runbook", "depends_on", "outcomes", "partners",
            "locations", "reasons", "expects", "hours", "dedupe_s",
        ),
    )  # fmt: skip
    topic = fields["topic"].text() if "topic" in fields else f"touchpoint.{name.replace('_', '-')}.v1"
    if topic and not TOPIC.fullmatch(topic):
        fields.get("topic", at).wrong(f"`{topic}` is no Kafka topic name")
    partitions = int(_positive(fields["partitions"], whole=True)) if "partitions" in fields else None
    kind: Kind = "customer"
    if "kind" in fields:
        given = fields["kind"].one_of(get_args(Kind), "kind")
        kind = next((known for known in get_args(Kind) if known == given), kind)
    per_hour, by_hour = _expects(fields["expects"]) if "expects" in fields else (None, ())
    more_outcomes = fields["outcomes"].names() if "outcomes" in fields else ()
    for outcome in (known for known in OUTCOMES if known in more_outcomes):
        fields["outcomes"].wrong(f"`{outcome}` is an outcome of every stage, declare only further ones")
    outcomes = OUTCOMES + more_outcomes
    stage_partners = fields["partners"].names(partners, "partner") if "partners" in fields else ()
    locations = fields["locations"].names() if "locations" in fields else ()
    reasons = fields["reasons"].names() if "reasons" in fields else ()
    depends_on: tuple[str, ...] = ()
    if "depends_on" in fields:
        depends_on = fields["depends_on"].names([s for s in stage_names if s != name], "stage")
    known_values = {
        "outcome": outcomes, "segment": segments, "channel": channels, "partner": stage_partners,
        "location": locations, "reason": reasons, "initiator": ("company", "customer"),
        "score.kind": ("nps", "csat", "ces"),
    }  # fmt: skip
    experience_fields = fields["experiences"].members() if "experiences" in fields else {}
    if "experiences" in fields:
        fields["experiences"].check_not_empty("must name at least one experience")
    return Stage(
        name=name,
        title=fields["title"].text() if "title" in fields else name.replace("_", " ").capitalize(),
        kind=kind,
        topic=topic,
        partitions=partitions,
        owner=fields["owner"].text() if "owner" in fields else "",
        runbook=fields["runbook"].address() if "runbook" in fields else "",
        depends_on=depends_on,
        outcomes=outcomes,
        partners=stage_partners,
        locations=locations,
        reasons=reasons,
        per_hour=per_hour,
        by_hour=by_hour,
        hours=_hours(fields["hours"]) if "hours" in fields else (),
        dedupe_ms=_dedupe_ms(fields["dedupe_s"]) if "dedupe_s" in fields else 0,
        experiences=tuple(
            _experience(key, member, segments, known_values) for key, member in experience_fields.items()
        ),
    )


def _dedupe_ms(at: At) -> int:
    seconds = _positive(at, whole=True)
    if seconds > MAX_DEDUPE_S:
        at.wrong(f"must be at most {MAX_DEDUPE_S}, one day")
    return int(seconds * 1000)


def _expects(at: At) -> tuple[float | None, tuple[float, ...]]:
    fields = at.fields(required=("per_hour",), optional=("by_hour",))
    per_hour = _positive(fields["per_hour"]) if "per_hour" in fields else None
    if "by_hour" not in fields:
        return per_hour, ()
    by_hour = tuple(float(item.decimal()) for item in fields["by_hour"].items())
    if len(by_hour) != 24 or min(by_hour) < 0 or sum(by_hour) == 0:
        fields["by_hour"].wrong("must be 24 weights from midnight on, none negative, not all 0")
    return per_hour, by_hour


def _hours(at: At) -> Hours:
    week: list[tuple[tuple[int, int], ...]] = [()] * len(DAYS)
    given: set[int] = set()
    members = at.members()
    at.check_not_empty("must name at least one day")
    for key, member in members.items():
        spans = _spans(member)
        for day in _days(key, member):
            if day in given:
                member.wrong(f"`{DAYS[day]}` is given twice")
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
            at.wrong(f"`{match[0]}` must end after it begins; a night is until 24:00, and from 00:00 on")
        elif found and start < found[-1][1]:
            at.wrong(f"`{match[0]}` must begin where the hours before it end, or later")
        found.append((start, end))
    return tuple(found)


def _positive(at: At, *, whole: bool = False) -> float:
    value = at.decimal()
    if value <= 0 or (whole and value != value.to_integral_value()):
        at.wrong("must be a whole number above 0" if whole else "must be above 0")
        return 1.0
    return float(value)


def _experience(
    name: str, at: At, segments: tuple[str, ...], known_values: dict[str, tuple[str, ...]]
) -> Experience:
    at.check_name(name)
    fields = at.fields(required=("judges", "good", "target"), optional=("title", "ignores", "targets"))

    def conditions(key: str) -> tuple[Condition, ...]:
        if key not in fields:
            return ()
        members = fields[key].fields(required=(), optional=CONDITION_FIELDS)
        return tuple(_condition(field, member, known_values) for field, member in members.items())

    judges, ignores, good = conditions("judges"), conditions("ignores"), conditions("good")
    if "good" in fields:
        fields["good"].check_not_empty("must hold at least one condition")
    return Experience(
        name=name,
        title=fields["title"].text() if "title" in fields else name.replace("_", " ").capitalize(),
        judges=judges,
        ignores=ignores,
        good=good,
        target=fields["target"].target() if "target" in fields else Decimal("0.5"),
        segment_targets=fields["targets"].targets(segments) if "targets" in fields else {},
    )


def _condition(field: str, at: At, known_values: dict[str, tuple[str, ...]]) -> Condition:
    if field in TEXT_FIELDS:
        return Condition(field, one_of=frozenset(at.values(known_values.get(field), field)))
    if field in BOOLEAN_FIELDS:
        return Condition(field, is_true=at.one_of(("true", "false"), "truth value") == "true")
    bounds = at.fields(required=(), optional=("at_most", "at_least"))
    at.check_not_empty("needs at_most or at_least")
    read: Callable[[str], float | None] = lambda key: (  # noqa: E731 - two uses, one line
        float(bounds[key].decimal()) if key in bounds else None
    )
    return Condition(field, at_most=read("at_most"), at_least=read("at_least"))


def _no_shared_topic(owner: dict[str, str], stages: Iterable[Stage], fields: dict[str, At]) -> None:
    for stage in stages:
        for topic in (stage.topic, stage.dead_letter_topic):
            if topic in owner:
                fields[stage.name].wrong(f"topic `{topic}` already belongs to {owner[topic]}")
            owner.setdefault(topic, f"stage `{stage.name}`")


def _no_dependency_cycle(stages: Iterable[Stage], fields: dict[str, At]) -> None:
    upstream = {stage.name: stage.depends_on for stage in stages}
    for name in upstream:
        seen: set[str] = set()
        todo = list(upstream[name])
        while todo:
            other = todo.pop()
            if other == name:
                fields[name].wrong("depends on itself through `depends_on`")
                break
            if other not in seen:
                seen.add(other)
                todo.extend(upstream.get(other, ()))


def zone(journey: Journey) -> ZoneInfo:
    """The journey's time zone, in which hours of the day are meant."""
    return ZoneInfo(journey.timezone)
