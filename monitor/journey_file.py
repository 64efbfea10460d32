"""YAML text in, a `Journey` or every error at once out: each with line, YAML path, nearest valid name.

The text is read as YAML nodes, not as Python values, for two reasons: nodes know their line, and a
target written `0.98` stays the exact decimal 0.98.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import get_args
from zoneinfo import ZoneInfo, available_timezones

import yaml

from monitor.journey import (
    ALL,
    CHANGES_TOPIC,
    NONE,
    OTHER,
    OUTCOMES,
    Condition,
    Experience,
    Hours,
    Journey,
    Kind,
    Links,
    Stage,
)

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Names become label values, topic names and Grafana uids (at most 40 characters)."""

TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,200}")
"""Kafka allows 249 characters; the changelog topic derived from it adds to them."""

NUMBER = re.compile(r"-?(?=\.?[0-9])[0-9]{0,12}(\.[0-9]{0,12})?")
"""Digits enough for any target, few enough that no float overflows and 1 - target is never 0."""

LINK = re.compile(r"https?://[^\s\"'`{}<>]+")

SURROGATE = re.compile("[\ud800-\udfff]")

DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d)")
UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

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


@dataclass(frozen=True, slots=True)
class FileError:
    """One thing wrong in a journey file."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.path}: {self.message}"


class JourneyFileError(ValueError):
    """A journey file that cannot be used; `errors` holds everything wrong with it."""

    def __init__(self, errors: Iterable[FileError]) -> None:
        self.errors = sorted(errors, key=lambda error: (error.line, error.path))
        super().__init__("; ".join(map(str, self.errors)))


@dataclass(slots=True)
class At:
    """A YAML node and where it stands; the typed readers below report instead of raising."""

    node: yaml.Node | None
    path: str
    line: int
    errors: list[FileError]

    def wrong(self, message: str) -> None:
        self.errors.append(FileError(self.line, self.path, message))

    def fields(self, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, "At"]:
        """The mapping's members, after reporting unknown, repeated and missing keys."""
        members = self.members()
        required = tuple(required)
        known = (*required, *optional)
        for key, member in members.items():
            if key not in known:
                member.wrong(f"unknown key{nearest(key, known)}")
        if isinstance(self.node, yaml.MappingNode):
            for key in required:
                if key not in members:
                    self.wrong(f"missing key `{key}`")
        return {key: member for key, member in members.items() if key in known}

    def members(self) -> dict[str, "At"]:
        if not isinstance(self.node, yaml.MappingNode):
            self.wrong("must be a mapping of keys to values")
            return {}
        found: dict[str, At] = {}
        for key_node, value_node in self.node.value:
            key = _text(key_node)
            line = key_node.start_mark.line + 1
            if key is None:
                self.errors.append(FileError(line, self.path, "a key must be a text"))
                continue
            path = f"{self.path}.{key}" if self.path != "file" else key
            at = At(value_node, path, line, self.errors)
            if key in found:
                at.wrong("is given twice")
            found[key] = at
        return found

    def items(self) -> list["At"]:
        if not isinstance(self.node, yaml.SequenceNode):
            self.wrong("must be a list")
            return []
        return [
            At(node, f"{self.path}[{i}]", node.start_mark.line + 1, self.errors)
            for i, node in enumerate(self.node.value)
        ]

    def text(self) -> str:
        text = _text(self.node)
        if text is None:
            self.wrong("must be a text")
        return text or ""

    def name(self) -> str:
        text = self.text()
        if text and not NAME.fullmatch(text):
            self.wrong(f"`{text}` must be lower case letters, digits and _, at most 40, a letter first")
        return text

    def one_of(self, known: Iterable[str], what: str) -> str:
        text, known = self.text(), tuple(known)
        if text and text not in known:
            self.wrong(f"unknown {what} `{text}`{nearest(text, known)}")
        return text

    def names(self, known: Iterable[str] | None = None, what: str = "name") -> tuple[str, ...]:
        """A list of names without repeats; with `known`, each must be one of them."""
        known = None if known is None else tuple(known)
        found: list[str] = []
        for item in self.items():
            name = item.name() if known is None else item.one_of(known, what)
            if known is None and name in (ALL, NONE, OTHER):
                item.wrong(f"`{name}` is reserved")
            if name in found:
                item.wrong(f"`{name}` is given twice")
            found.append(name)
        return tuple(found)

    def decimal(self, otherwise: str = "1") -> Decimal:
        """The exact number, after a noted error `otherwise`, which passes the caller's own checks."""
        text = self.text()
        if NUMBER.fullmatch(text):
            return Decimal(text)
        if text:
            self.wrong(f"`{text}` must be a number such as 0.98 or 20")
        return Decimal(otherwise)

    def target(self) -> Decimal:
        value = self.decimal(otherwise="0.5")
        if not 0 < value < 1:
            self.wrong(f"target {value} must lie between 0 and 1, both excluded; 98 % is written 0.98")
            return Decimal("0.5")
        return value

    def duration_ms(self) -> int:
        text = self.text()
        match = DURATION.fullmatch(text)
        if match:
            return int(match[1]) * UNIT_MS[match[2]]
        if text:
            self.wrong(f"`{text}` must be a duration such as 30s, 5m, 6h or 8d")
        return MIN_HORIZON_MS


def _text(node: yaml.Node | None) -> str | None:
    """A scalar's text; None for null, blanks, and half a surrogate pair, which no output takes."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        return None
    text = str(node.value)
    return text if text.strip() and not SURROGATE.search(text) else None


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint of an error: the known name most like `name`, or all of them when none is near."""
    known = tuple(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; known are {', '.join(known)}" if known else "; none is declared"


def parse(text: str) -> Journey:
    """Build the journey of a YAML text; JourneyFileError names everything wrong with it."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"character U+{error.character:04X} is not allowed"
        raise JourneyFileError([FileError(line, "file", problem)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise JourneyFileError([FileError(mark.line + 1 if mark else 1, "file", problem)]) from None
    except RecursionError:
        raise JourneyFileError([FileError(1, "file", "is nested too deeply")]) from None
    except (ValueError, OverflowError):  # PyYAML's own slips: "\\UFFFFFFFF", %YAML 1.<5000 digits>
        problem = "holds an escape or a version number out of range"
        raise JourneyFileError([FileError(1, "file", problem)]) from None
    root = At(node, "file", 1, [])
    journey = _journey(root)
    if root.errors or journey is None:
        raise JourneyFileError(root.errors)
    return journey


def _journey(root: At) -> Journey | None:
    fields = root.fields(
        required=("version", "journey", "segments", "stages"),
        optional=("title", "timezone", "horizon", "links", "channels", "partners", "changes_topic"),
    )
    if "version" in fields and fields["version"].text() not in ("1", ""):
        fields["version"].wrong("this version of the monitor reads version 1")
    name = fields["journey"].name() if "journey" in fields else ""
    timezone = fields["timezone"].text() if "timezone" in fields else "UTC"
    if timezone not in ("UTC", "") and timezone not in (zones := available_timezones()):
        hint = nearest(timezone, sorted(zones))[:80]
        fields["timezone"].wrong(f"unknown time zone `{timezone}`{hint}")
    horizon_ms = fields["horizon"].duration_ms() if "horizon" in fields else 8 * UNIT_MS["d"]
    if "horizon" in fields and horizon_ms < MIN_HORIZON_MS:
        fields["horizon"].wrong("must be at least 7d, the longest window")
    if horizon_ms > MAX_HORIZON_MS:
        fields["horizon"].wrong("must be at most 3650d")
    segments = fields["segments"].names() if "segments" in fields else ()
    channels = fields["channels"].names() if "channels" in fields else ()
    partners = fields["partners"].names() if "partners" in fields else ()
    links = _links(fields["links"]) if "links" in fields else Links()
    changes_topic = _topic(fields["changes_topic"]) if "changes_topic" in fields else CHANGES_TOPIC
    if "stages" not in fields:
        return None
    stage_fields = fields["stages"].members()
    if not stage_fields:
        fields["stages"].wrong("must name at least one stage")
    if len(stage_fields) > MAX_STAGES:
        fields["stages"].wrong(f"are {len(stage_fields)}; one journey may have {MAX_STAGES}")
    stages = tuple(
        _stage(stage_name, at, tuple(stage_fields), segments, channels, partners)
        for stage_name, at in stage_fields.items()
    )
    _no_shared_topic(changes_topic, stages, stage_fields)
    _no_dependency_cycle(stages, stage_fields)
    title = fields["title"].text() if "title" in fields else name
    return Journey(
        name, title, timezone, horizon_ms, segments, channels, partners, links, changes_topic, stages
    )


def _topic(at: At) -> str:
    topic = at.text()
    if topic and not TOPIC.fullmatch(topic):
        at.wrong(f"`{topic}` is no Kafka topic name")
    return topic


def _links(at: At) -> Links:
    found = {}
    for key, member in at.fields(required=(), optional=("monitor", "grafana", "webhook")).items():
        found[key] = member.text().rstrip("/")
        if found[key] and not LINK.fullmatch(found[key]):
            member.wrong(f"`{found[key]}` must be an http or https address")
    return Links(**found)


def _stage(
    name: str,
    at: At,
    stage_names: tuple[str, ...],
    segments: tuple[str, ...],
    channels: tuple[str, ...],
    partners: tuple[str, ...],
) -> Stage:
    if not NAME.fullmatch(name):
        at.wrong(f"`{name}` must be lower case letters, digits and _, at most 40, a letter first")
    if name == ALL:
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
    if "experiences" in fields and not experience_fields:
        fields["experiences"].wrong("must name at least one experience")
    return Stage(
        name=name,
        title=fields["title"].text() if "title" in fields else name.replace("_", " ").capitalize(),
        kind=kind,
        topic=topic,
        partitions=partitions,
        owner=fields["owner"].text() if "owner" in fields else "",
        runbook=fields["runbook"].text() if "runbook" in fields else "",
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
    if isinstance(at.node, yaml.MappingNode) and not members:
        at.wrong("must name at least one day")
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
    if not NAME.fullmatch(name):
        at.wrong(f"`{name}` must be lower case letters, digits and _, at most 40, a letter first")
    fields = at.fields(required=("judges", "good", "target"), optional=("title", "ignores", "targets"))

    def conditions(key: str) -> tuple[Condition, ...]:
        if key not in fields:
            return ()
        members = fields[key].fields(required=(), optional=CONDITION_FIELDS)
        return tuple(_condition(field, member, known_values) for field, member in members.items())

    judges, ignores, good = conditions("judges"), conditions("ignores"), conditions("good")
    if "good" in fields and not good:
        fields["good"].wrong("must hold at least one condition")
    targets: dict[str, Decimal] = {}
    if "targets" in fields:
        for segment, member in fields["targets"].fields(required=(), optional=segments).items():
            targets[segment] = member.target()
    return Experience(
        name=name,
        title=fields["title"].text() if "title" in fields else name.replace("_", " ").capitalize(),
        judges=judges,
        ignores=ignores,
        good=good,
        target=fields["target"].target() if "target" in fields else Decimal("0.5"),
        segment_targets=targets,
    )


def _condition(field: str, at: At, known_values: dict[str, tuple[str, ...]]) -> Condition:
    if field in TEXT_FIELDS:
        names = at.names(known_values.get(field), field)
        if not names:
            at.wrong("must name at least one value")
        return Condition(field, one_of=frozenset(names))
    if field in BOOLEAN_FIELDS:
        return Condition(field, is_true=at.one_of(("true", "false"), "truth value") == "true")
    bounds = at.fields(required=(), optional=("at_most", "at_least"))
    if not bounds:
        at.wrong("needs at_most or at_least")
    read: Callable[[str], float | None] = lambda key: (  # noqa: E731 - two uses, one line
        float(bounds[key].decimal()) if key in bounds else None
    )
    return Condition(field, at_most=read("at_most"), at_least=read("at_least"))


def _no_shared_topic(changes_topic: str, stages: Iterable[Stage], fields: dict[str, At]) -> None:
    owner = {changes_topic: "`changes_topic`"}
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
